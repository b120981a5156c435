"""Expressions -> documents of pretty.py. Parentheses stand only where the tree would read differently without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from archdsl.language import syntax as s
from archdsl.language.arch_parser import KEYWORDS
from archdsl.language.comments import Remarks
from archdsl.language.edges import begins_with_body, calls_router, ends_in_train, plain_start
from archdsl.language.pretty import HARD, LINE, SOFT, Doc, Suffix, concat, flat, flat_width, group, indent, join, must_break

# how tightly each kind of expression binds
IF, PIPE, LABEL, CHOICE, OR, AND, NOT, COMPARE, RANGE, SUM, TERM, UNARY, POWER, POSTFIX, ATOM = range(15)
_BINARY = {"or": OR, "and": AND, "+": SUM, "-": SUM, "*": TERM, "/": TERM, "//": TERM, "%": TERM, "@": TERM, "**": POWER}
_LEVELS: dict[type, int] = {
    s.If: IF, s.Pipe: PIPE, s.Labelled: LABEL, s.Choice: CHOICE, s.Range: RANGE, s.Slice: RANGE, s.Tilde: IF,
    s.Call: POSTFIX, s.Index: POSTFIX, s.Attribute: POSTFIX,
}  # fmt: skip
_HUGGED = (s.Lambda, s.ListExpr, s.Comprehension)
_WITH_BODY = (s.Repeat, s.Loop, s.Route, s.Train, s.Lambda)


def level_of(node: s.Node) -> int:
    if isinstance(node, s.Binary):
        return _BINARY.get(node.op, COMPARE)
    if isinstance(node, s.Unary):
        return NOT if node.op == "not" else UNARY
    if isinstance(node, s.Number) and (node.value < 0 or str(node.value).startswith("-")):
        return UNARY
    return _LEVELS.get(type(node), ATOM)


class ExpressionPrinter:
    """Prints expressions. With `remarks` (when a text is formatted) comments, line breaks and the spelling of numbers are kept."""

    def __init__(self, remarks: Remarks | None = None) -> None:
        self.remarks = remarks
        self.printers: dict[type, Callable[[Any], Doc]] = {
            s.Number: self.number, s.String: self.string, s.Bool: lambda n: "true" if n.value else "false", s.NoneLit: lambda n: "none",
            s.Name: lambda n: n.id + "'" * n.primed, s.Unary: self.unary, s.Binary: self.binary, s.If: self.if_, s.Call: self.call,
            s.Slice: self.slice_, s.Index: self.index, s.Attribute: self.attribute, s.Range: self.range_, s.ListExpr: self.list_,
            s.Comprehension: self.comprehension, s.Ellipsis_: lambda n: "..", s.TupleExpr: self.tuple_, s.SetExpr: self.set_,
            s.Tilde: self.tilde, s.Labelled: self.labelled, s.Pipe: self.pipe, s.Choice: self.choice, s.Repeat: self.repeat,
            s.Loop: self.loop, s.Route: self.route, s.Train: self.train, s.Lambda: lambda n: self.body(n.body),
        }  # fmt: skip

    def expression(self, node: s.Node, level: int = IF) -> Doc:
        """The document of an expression in a place that takes what binds at least as tightly as `level`."""
        doc = self.printers[type(node)](node)
        return self.parentheses(doc) if level_of(node) < level else doc

    def parentheses(self, doc: Doc) -> Doc:
        return group("(", indent(SOFT, doc), SOFT, ")")

    def body(self, body: s.Body) -> Doc:
        raise NotImplementedError  # printed by the subclass, which knows statements

    # ---- atoms ----

    def number(self, node: s.Number) -> str:
        if self.remarks:
            return node.span.text
        if isinstance(node.value, int):
            return f"{node.value:_}" if abs(node.value) >= 100_000 else str(node.value)
        return repr(node.value)

    def string(self, node: s.String) -> str:
        return self.quoted(node.value)

    def quoted(self, text: str) -> str:
        for char, escape in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
            text = text.replace(char, escape)
        return f'"{text}"'

    # ---- operators ----

    def unary(self, node: s.Unary) -> Doc:
        if node.op == "not":
            return concat("not ", self.expression(node.operand, NOT))
        return concat("-", self.expression(node.operand, UNARY))

    def binary(self, node: s.Binary) -> Doc:
        level = level_of(node)
        if level == POWER:
            return concat(self.expression(node.left, POSTFIX), " ** ", self.expression(node.right, UNARY))
        if level == COMPARE:
            return group(self.expression(node.left, RANGE), indent(LINE, node.op, " ", self.expression(node.right, RANGE)))
        rest: list[Doc] = []
        left: s.Expr = node
        while isinstance(left, s.Binary) and level_of(left) == level:
            rest += [concat(LINE, left.op, " ", self.expression(left.right, level + 1))]
            left = left.left
        return group(self.expression(left, level + 1), indent(*reversed(rest)))

    def range_(self, node: s.Range) -> Doc:
        return concat(self.expression(node.low, SUM), "..=" if node.closed else "..", self.expression(node.high, SUM))

    def slice_(self, node: s.Slice) -> Doc:
        low = self.expression(node.low, SUM) if node.low else ""
        return concat(low, "..=" if node.closed else "..", self.expression(node.high, SUM) if node.high else "")

    def if_(self, node: s.If) -> Doc:
        parts: list[Doc] = []
        rest: list[Doc] = []
        tails: list[Doc] = []
        broken = False
        word = ""
        current: s.Expr = node
        while isinstance(current, s.If):
            then = self.expression(current.then, PIPE if isinstance(current.then, s.If) else IF)
            if ends_in_train(current.then):
                then = self.parentheses(self.expression(current.then))
            broken = broken or self.parted(current.then, current.otherwise)
            condition = self.expression(current.condition, PIPE)
            short = not must_break(condition) and flat_width(condition) <= 50
            condition = flat(condition) if short else condition
            doc = concat(word, "if ", condition, " " if short else indent(HARD), "then ", then, *self.behind(current.then))
            (rest if parts else parts).append(doc)
            rest.append(concat(LINE, *self.before(current.otherwise)))
            word, current = "else ", current.otherwise
            tails += self.behind(current)
        rest.append(concat("else ", self.expression(current), *tails))
        return group(*parts, indent(*rest), broken=broken)

    # ---- postfix ----

    def call(self, node: s.Call) -> Doc:
        function = self.expression(node.function, POSTFIX)
        if isinstance(node.function, s.Name) and node.function.id in ("repeat", "loop"):
            function = concat("(", function, ")")
        return concat(function, self.items("(", node.arguments, ")", self.argument))

    def argument(self, node: s.Argument) -> Doc:
        if node.name is None:
            return self.expression(node.value)
        return concat(node.name, " ~ " if node.tilde else "=", self.expression(node.value))

    def tilde(self, node: s.Tilde) -> Doc:
        shape = self.expression(node.shape, PIPE)
        shape = concat("(", shape, ")") if isinstance(node.shape, s.Name) else shape  # a bare name would name the argument
        return concat(shape, " ~ ", self.expression(node.init))

    def index(self, node: s.Index) -> Doc:
        return concat(self.expression(node.value, POSTFIX), self.items("[", node.items, "]", self.expression))

    def attribute(self, node: s.Attribute) -> Doc:
        return concat(self.expression(node.value, POSTFIX), ".", node.name)

    # ---- lists ----

    def items(self, opening: str, nodes: Sequence[Any], closing: str, show: Callable[[Any], Doc], last: str = "") -> Doc:
        """A bracketed list: on one line, or one item a line."""
        if len(nodes) == 1 and not self.before(nodes[0]) and not self.behind(nodes[0]):
            value = nodes[0].value if isinstance(nodes[0], s.Argument) else nodes[0]
            if isinstance(value, _HUGGED):
                return concat(opening, show(nodes[0]), last, closing)
        if not nodes:
            return opening + closing
        docs: list[Doc] = []
        for position, node in enumerate(nodes):
            comma = "," if position < len(nodes) - 1 else last
            docs.append(concat(*self.before(node), show(node), comma, *self.behind(node)))
        return group(opening, indent(SOFT, join(LINE, docs)), SOFT, closing)

    def list_(self, node: s.ListExpr) -> Doc:
        return self.items("[", node.items, "]", self.expression)

    def tuple_(self, node: s.TupleExpr) -> Doc:
        return self.items("(", node.items, ")", self.expression, last="," if len(node.items) == 1 else "")

    def set_(self, node: s.SetExpr) -> Doc:
        return self.items("{", node.items, "}", self.expression)

    def comprehension(self, node: s.Comprehension) -> Doc:
        source = self.domain(node.source, PIPE)
        parts: list[Doc] = [self.expression(node.value), LINE, "for ", node.variable, " in ", source]
        if node.condition:
            parts += [LINE, "if ", self.expression(node.condition)]
        return group("[", indent(SOFT, *parts), SOFT, "]")

    def domain(self, node: s.Expr, level: int = IF) -> Doc:
        """What stands behind `in`, where a `{` would open a set of options."""
        doc = self.expression(node, level)
        return concat("(", doc, ")") if begins_with_body(node) and level_of(node) >= level else doc

    # ---- modules ----

    def labelled(self, node: s.Labelled) -> Doc:
        return concat(node.label, ": ", self.expression(node.value, CHOICE))

    def pipe(self, node: s.Pipe) -> Doc:
        docs = [self.expression(stage, LABEL) for stage in node.stages]
        broken = any(self.parted(a, b) for a, b in zip(node.stages, node.stages[1:])) or any(map(self.behind, node.stages))
        last = node.stages[-1].value if isinstance(node.stages[-1], s.Labelled) else node.stages[-1]
        if not broken and isinstance(last, _WITH_BODY) and must_break(docs[-1]) and not any(map(must_break, docs[:-1])):
            if sum(flat_width(d) + 4 for d in docs[:-1]) <= 60:
                return join(" -> ", [*map(flat, docs[:-1]), docs[-1]])
        return self.chain("-> ", node.stages, docs)

    def choice(self, node: s.Choice) -> Doc:
        return self.chain("| ", node.options, [self.expression(option, OR) for option in node.options])

    def chain(self, sign: str, nodes: Sequence[s.Expr], docs: list[Doc]) -> Doc:
        """Parts on one line if they fit. Where the author began new lines, they stay; a line too long is broken at each part."""
        rows: list[list[Doc]] = [[concat(docs[0], *self.behind(nodes[0]))]]
        for last, node, doc in zip(nodes, nodes[1:], docs[1:]):
            part = concat(*self.before(node), sign, doc, *self.behind(node))
            if self.parted(last, node):
                rows.append([part])
            else:
                rows[-1] += [LINE, part]
        if len(rows) == 1:
            return group(rows[0][0], indent(*rows[0][1:]))
        first = group(rows[0][0], indent(*rows[0][1:]))
        return concat(first, indent(*(concat(HARD, group(*row)) for row in rows[1:])))

    # ---- expressions with a body ----

    def repeat(self, node: s.Repeat) -> Doc:
        word = "reversible repeat " if node.reversible else "repeat "
        return concat(word, self.count(node.variable, node.count), " ", self.body(node.body))

    def loop(self, node: s.Loop) -> Doc:
        parts: list[Doc] = ["loop ", self.count(node.variable, node.count)]
        for word, value in ((" until ", node.until), (" step ", node.step)):
            if value:
                doc = self.expression(value)
                parts += [word, concat("(", doc, ")") if calls_router(value) else doc]
        return concat(*parts, " ", self.body(node.body))

    def count(self, variable: str | None, node: s.Expr) -> Doc:
        if variable:
            doc = self.domain(node)
            return concat(variable, " in ", concat("(", doc, ")") if calls_router(node) else doc)
        doc = self.expression(node)
        return doc if plain_start(node, KEYWORDS) and not calls_router(node) else concat("(", doc, ")")

    def route(self, node: s.Route) -> Doc:
        return concat(node.kind, self.items("(", node.arguments, ")", self.argument), " ", self.body(node.body))

    def train(self, node: s.Train) -> Doc:
        doc = concat("train ", self.body(node.training))
        return concat(doc, " else ", self.body(node.otherwise)) if node.otherwise else doc

    # ---- what the author did ----

    def parted(self, one: s.Node, two: s.Node) -> bool:
        """Whether the author put two neighbours on different lines."""
        return self.remarks is not None and self.remarks.line_between(one.span.end, two.span.start)

    def before(self, node: s.Node) -> list[Doc]:
        """Comments on lines of their own before an item."""
        texts = self.remarks.leading.get(node, []) if self.remarks else []
        return [part for text in texts for part in (text, HARD)]

    def behind(self, node: s.Node) -> list[Doc]:
        """Comments at the end of an item's line."""
        texts = self.remarks.trailing.get(node, []) if self.remarks else []
        return [Suffix(text) for text in texts]
