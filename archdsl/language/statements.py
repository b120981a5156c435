"""Bodies, statements, declarations and files -> documents of pretty.py."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from archdsl.language import syntax as s
from archdsl.language.comments import Remarks
from archdsl.language.edges import reads_as_condition
from archdsl.language.pretty import HARD, LINE, SOFT, Doc, IfFlat, Suffix, concat, group, indent, join
from archdsl.language.printer import SUM, ExpressionPrinter

Line = tuple[int, int, Doc]  # where it stood, from and to, and its document


class Printer(ExpressionPrinter):
    """Prints any node."""

    def __init__(self, remarks: Remarks | None = None) -> None:
        super().__init__(remarks)
        self.printers |= {
            s.Body: self.body, s.Input: lambda n: concat("in ", self.input(n)), s.State: self.state, s.ParamDecl: self.param,
            s.Bind: self.bind, s.Target: self.target, s.Where: lambda n: concat("where ", self.expression(n.condition)),
            s.Aux: lambda n: concat("aux ", n.name, " = ", self.expression(n.value)),
            s.Tap: lambda n: concat("tap ", n.name, " = ", self.expression(n.value)),
            s.Return: lambda n: concat("return ", self.values(n.values)), s.Yield: lambda n: concat("yield ", self.values(n.values)),
            s.Shape: self.shape, s.Parameter: self.parameter, s.LearnedParameter: self.learned, s.Argument: self.argument,
            s.Import: self.import_, s.BlockDecl: self.block, s.ScanDecl: self.scan, s.ActDecl: self.act, s.Constant: self.constant,
            s.Expect: self.expect,
        }  # fmt: skip

    # ---- bodies ----

    def body(self, body: s.Body, doc: str | None = None) -> Doc:
        """`{ … }` on one line where the author had it so and it fits, else one statement a line."""
        remarks = self.remarks
        entries = remarks.entries.get(body, []) if remarks else []
        heads = [Suffix(text) for text in (remarks.heads.get(body, []) if remarks else [])]
        nodes: list[Any] = [body.expression] if body.expression else list(body.statements)
        if not nodes:
            return "{}"
        if remarks:
            places = [(body.span.start, body.span.start), *((n.span.start, n.span.end) for n in nodes), (body.span.end, body.span.end)]
            broken = any(remarks.line_between(a[1], b[0]) for a, b in pairwise(places))
        else:
            broken = body.expression is None and (len(nodes) > 2 or not isinstance(nodes[-1], (s.Return, s.Yield)))
        lines = self.lines(nodes, one=not broken)
        if body.expression and reads_as_condition(body.expression):
            lines = [(*lines[0][:2], concat("(", lines[0][2], ")"))]
        lines += [(e.order, e.end, e.text) for e in entries]
        lines.sort(key=lambda line: (line[0], line[1]))
        head: list[Doc] = [self.doc(doc), HARD] if doc else []
        content = concat(*head, self.stacked(lines, entries))
        return group("{", *heads, indent(LINE, content), LINE, "}", broken=broken or bool(entries or heads or doc))

    def lines(self, nodes: list[Any], one: bool) -> list[Line]:
        """Statements as lines: those the author put on one line stay together."""
        rows: list[list[Any]] = []
        for node in nodes:
            together = rows and (one or (self.remarks and not self.remarks.line_between(rows[-1][-1].span.end, node.span.start)))
            if together:
                rows[-1].append(node)
            else:
                rows.append([node])
        return [self.row(row) for row in rows]

    def row(self, nodes: list[Any]) -> Line:
        parts: list[Doc] = []
        for position, node in enumerate(nodes):
            between = self.between(nodes[position - 1], node) if position else ""
            if between == "," and isinstance(node, s.Input):
                parts[-1] = concat(parts[-1], ", ", self.input(node))
                continue
            parts += [IfFlat(between), LINE] if position else []
            parts.append(self.expression(node))
        doc = parts[0] if len(parts) == 1 else group(*parts)
        suffixes = [suffix for node in nodes for suffix in self.behind(node)]
        return nodes[0].span.start, nodes[-1].span.end, concat(doc, *suffixes)

    def between(self, one: s.Node, two: s.Node) -> str:
        """The author's separator of two statements on a line: `;`, `,` (inputs) or nothing before a keyword."""
        if self.remarks is None:
            return ";"
        text = self.remarks.text[one.span.end : two.span.start]
        return ";" if ";" in text else "," if "," in text else ""

    def stacked(self, lines: list[Line], entries: Iterable[Any] = ()) -> Doc:
        """Lines below each other, with the author's blank lines (at most one in a row)."""
        out: list[Doc] = []
        comments = {(e.order, e.end): e for e in entries}
        end = -1
        for order, stop, doc in lines:
            entry = comments.get((order, stop))
            start = entry.start if entry else order
            if out:
                blank = self.remarks is not None and self.remarks.blank_between(end, start)
                out += [HARD, HARD] if blank else [HARD]
            out.append(doc)
            end = stop
        return concat(*out)

    # ---- statements ----

    def values(self, values: list[s.Expr]) -> Doc:
        return join(", ", [self.expression(v) for v in values])

    def input(self, node: s.Input) -> Doc:
        parts: list[Doc] = [node.name]
        if node.shape:
            parts += [": ", self.shape(node.shape)]
        parts += [" lengths"] if node.lengths else []
        parts += [f" over {node.over}"] if node.over else []
        parts += [" = ", self.expression(node.default)] if node.default else []
        parts += [" where ", self.expression(node.where)] if node.where else []
        return concat(*parts)

    def shape(self, node: s.Shape) -> Doc:
        kind = "" if node.kind == "float" else node.kind
        dims = join(", ", [self.expression(d, SUM) for d in node.dims])
        groups = concat(join(", ", [self.expression(g, SUM) for g in node.groups]), ": " if node.dims else ":") if node.groups else ""
        return concat(kind, "[", groups, dims, "]")

    def state(self, node: s.State) -> Doc:
        init = concat(" ~ " if node.learned else " = ", self.expression(node.init)) if node.init else ""
        return concat("state ", node.name, ": ", self.shape(node.shape), init)

    def param(self, node: s.ParamDecl) -> Doc:
        init = concat(" ~ ", self.expression(node.init)) if node.init else ""
        return concat("param ", node.name, ": ", self.shape(node.shape), init)

    def bind(self, node: s.Bind) -> Doc:
        return concat(join(", ", [self.target(t) for t in node.targets]), " = ", self.expression(node.value))

    def target(self, node: s.Target) -> Doc:
        return node.id + "'" * node.primed

    # ---- declarations ----

    def parameters(self, nodes: list[s.Parameter]) -> Doc:
        return self.items("(", nodes, ")", self.parameter) if nodes else ""

    def parameter(self, node: s.Parameter) -> Doc:
        parts: list[Doc] = [node.name]
        parts += [": ", node.kind] if node.kind else []
        parts += [" in ", self.domain(node.domain)] if node.domain else []
        parts += [" = ", self.expression(node.default)] if node.default else []
        return concat(*parts)

    def learned(self, node: s.LearnedParameter) -> Doc:
        shape = concat(": ", self.shape(node.shape)) if node.shape else ""
        return concat(node.name, shape, " = ", self.expression(node.default))

    def block(self, node: s.BlockDecl, doc_inside: bool = False) -> Doc:
        head: list[Doc] = ["arch " if node.is_arch else "block ", node.name, self.parameters(node.parameters)]
        head += [" on ", self.shape(node.on)] if node.on else []
        if node.body.expression and not doc_inside and not self.keeps_braces(node.body):
            return concat(*head, " = ", self.expression(node.body.expression))
        return concat(*head, " ", self.body(node.body, node.doc if doc_inside else None))

    def keeps_braces(self, body: s.Body) -> bool:
        """Comments within the braces need a line to stand on."""
        remarks = self.remarks
        return remarks is not None and (body in remarks.entries or body in remarks.heads or body.expression in remarks.trailing)

    def scan(self, node: s.ScanDecl, doc_inside: bool = False) -> Doc:
        doc = node.doc if doc_inside else None
        return concat("scan ", node.name, self.parameters(node.parameters), " ", self.body(node.body, doc))

    def act(self, node: s.ActDecl) -> Doc:
        learned: list[Doc] = []
        if node.learned:
            learned = [";", LINE, join(concat(",", LINE), [self.commented(n, self.learned(n)) for n in node.learned])]
        inputs = group("(", indent(SOFT, ", ".join(node.inputs), *learned), SOFT, ")")
        head = concat("act ", node.name, self.parameters(node.parameters), inputs, " = ", self.expression(node.forward))
        if node.backward is None:
            return head
        broken = self.parted(node.forward, node.backward)
        return group(head, indent(LINE, "backward ", self.expression(node.backward)), broken=broken)

    def commented(self, node: s.Node, doc: Doc) -> Doc:
        return concat(*self.before(node), doc, *self.behind(node))

    def constant(self, node: s.Constant) -> Doc:
        return concat(node.name, " = ", self.expression(node.value))

    def expect(self, node: s.Expect) -> Doc:
        head = concat("expect ", self.expression(node.condition))
        return group(head, indent(LINE, "with ", join(", ", [self.argument(a) for a in node.overrides]))) if node.overrides else head

    def import_(self, node: s.Import) -> Doc:
        path = self.quoted(node.path)
        return f"import {path} as {node.alias}" if node.alias else f"import {path}"

    # ---- doc strings ----

    def doc(self, text: str) -> Doc:
        rows = text.split("\n")
        if len(rows) > 1 and all(row.startswith(" ") for row in rows[1:] if row):
            rows.insert(0, "")  # the first line counts for the margin only if it stands on a line of its own
        last = [HARD, '"""'] if len(rows) > 1 else ['"""' if not text.endswith('"') else ' """']
        return concat('"""', rows[0], *(part for row in rows[1:] for part in (HARD, row)), *last)

    def declaration(self, node: s.Node, first: bool) -> Doc:
        """A declaration with its doc string before it; at the head of a file, where that would be the file's, within its body."""
        doc = getattr(node, "doc", None)
        if not doc:
            return self.expression(node)
        if first and isinstance(node, s.BlockDecl):
            return self.block(node, doc_inside=True)
        if first and isinstance(node, s.ScanDecl):
            return self.scan(node, doc_inside=True)
        own = self.doc(doc)
        return concat('"""', HARD, '"""', HARD, own, HARD, self.expression(node)) if first else concat(own, HARD, self.expression(node))
