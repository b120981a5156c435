"""Python text: expressions put together without needless brackets, and statements laid out within a line width."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Mapping, Set
from functools import lru_cache

from archdsl.primitives.text import expression_tree

WIDTH = 140
INDENT = "    "
PLACE = "λ"  # begins a place for what is named later: no name of a spec and none of the writers' holds a letter beyond ASCII
_PLACES = re.compile(rf"{PLACE}\w+")
_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def parse(text: str) -> ast.expr:
    """The expression a text stands for. ValueError names the text if it is not one Python expression."""
    try:
        return expression_tree(text.strip())
    except SyntaxError as error:
        raise ValueError(f"not a Python expression: {text!r}") from error


class _Counter(ast.NodeVisitor):
    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.deferred: set[str] = set()
        self.depth = 0

    def visit_Name(self, node: ast.Name) -> None:
        self.counts[node.id] = self.counts.get(node.id, 0) + 1
        if self.depth:
            self.deferred.add(node.id)

    def _inside(self, node: ast.AST) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_Lambda = visit_ListComp = visit_GeneratorExp = visit_SetComp = visit_DictComp = visit_IfExp = visit_BoolOp = _inside


def tuple_of(items: list[str]) -> str:
    """Source of a tuple."""
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def targets(names: list[str]) -> str:
    """The left side of an unpacking."""
    return tuple_of(names) if len(names) == 1 else ", ".join(names)


@lru_cache(maxsize=4096)
def usage(text: str) -> tuple[Mapping[str, int], Set[str]]:
    """How often each name occurs in an expression, and which ones stand where they may run never or more than once."""
    counter = _Counter()
    counter.visit(parse(text))
    return counter.counts, counter.deferred


class _Replace(ast.NodeTransformer):
    def __init__(self, table: dict[str, ast.expr]):
        self.table = table

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.table.get(node.id, node)


def substitute(text: str, table: Mapping[str, str]) -> str:
    """The expression with names replaced by other expressions; brackets appear only where precedence needs them."""
    if not table:
        return tidy(text)
    tree = _Replace({name: parse(value) for name, value in table.items()}).visit(parse(text))
    return _double_quotes(_unparse(tree))


@lru_cache(maxsize=4096)
def tidy(text: str) -> str:
    """The expression in canonical layout."""
    return _double_quotes(_unparse(parse(text)))


def fill(template: str, table: Mapping[str, str]) -> str:
    """A canonical expression with its places filled: `λ1` by canonical expressions, `**λ2_` by keyword arguments, or by nothing.

    A name, an attribute, a call or an index needs no brackets anywhere, so that the text is put together without parsing it.
    """
    expressions = {}
    for place, value in table.items():
        if not place.startswith("**"):
            expressions[place] = value
        elif value:
            template = template.replace(place, value)
        else:
            template = template.replace(f", {place}", "").replace(f"{place}, ", "").replace(place, "")
    if all(map(_closed, expressions.values())):
        return _PLACES.sub(lambda found: expressions.get(found[0], found[0]), template)
    return _filled(template, tuple(expressions.items()))


@lru_cache(maxsize=4096)
def _filled(template: str, table: tuple[tuple[str, str], ...]) -> str:
    return substitute(template, dict(table))


@lru_cache(maxsize=4096)
def _closed(text: str) -> bool:
    """Whether an expression needs no brackets wherever it is put."""
    return _PATH.fullmatch(text) is not None or isinstance(parse(text), ast.Name | ast.Attribute | ast.Call | ast.Subscript)


def _unparse(tree: ast.expr) -> str:
    text = ast.unparse(tree)
    # A tuple as an index is written without brackets in ordinary code; unparse already does that. A bare tuple needs none either.
    return text[1:-1] if isinstance(tree, ast.Tuple) and tree.elts and text.startswith("(") else text


def _double_quotes(text: str) -> str:
    """Single-quoted strings rewritten with double quotes, where that needs no escape."""
    if "'" not in text:
        return text
    out, last = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.STRING or not token.string.startswith("'") or '"' in token.string:
            continue
        start = token.start[1]
        out.append(text[last:start] + '"' + token.string[1:-1].replace("\\'", "'") + '"')
        last = token.end[1]
    return "".join(out) + text[last:]


def statement(head: str, expression: str, indent: int = 0, width: int = WIDTH) -> str:
    """`head` + expression on as few lines as fit, each ended by a newline. head is e.g. `x = ` or `return `."""
    pad = INDENT * indent
    line = pad + head + expression
    if len(line) <= width:
        return line + "\n"
    return pad + head + "\n".join(_wrap(expression, indent, len(pad) + len(head), width)) + "\n"


def _wrap(expression: str, indent: int, used: int, width: int, tail: str = "") -> list[str]:
    """Lines of an expression that begins at column `used` and is followed by `tail`; the first line has no indentation of its own."""
    if used + len(expression) + len(tail) <= width:
        return [expression + tail]
    tree = expression_tree(expression)
    if isinstance(tree, ast.Call):
        call = _breakable(tree, width - used)
        return _wrap_call(call, indent, width, source(tree)[len(source(call)) :] + tail)
    if isinstance(tree, ast.List | ast.Tuple | ast.Dict):
        return _wrap_display(tree, indent, width, tail)
    if isinstance(tree, ast.BinOp):
        return _wrap_brackets(_operands(tree), indent, width, tail)
    if isinstance(tree, ast.Attribute | ast.Subscript) and isinstance(tree.value, ast.Call):
        inner = source(tree.value)
        return _wrap(inner, indent, used, width, source(tree)[len(inner) :] + tail)
    return [expression + tail]


def source(tree: ast.expr) -> str:
    return _double_quotes(ast.unparse(tree))


def _breakable(tree: ast.Call, room: int) -> ast.Call:
    """The call of a chain `a(…).b(…).c(…)` whose arguments go on lines of their own: the last whose opening still fits."""
    chain = [tree]
    while isinstance(chain[-1].func, ast.Attribute) and isinstance(chain[-1].func.value, ast.Call):
        chain.append(chain[-1].func.value)
    fitting = [call for call in chain if (call.args or call.keywords) and len(source(call.func)) < room]
    return fitting[0] if fitting else tree


def _wrap_call(tree: ast.Call, indent: int, width: int, tail: str) -> list[str]:
    items = [source(a) for a in tree.args]
    items += [f"{k.arg}={source(k.value)}" if k.arg else f"**{source(k.value)}" for k in tree.keywords]
    if not items:
        if isinstance(tree.func, ast.Attribute) and isinstance(tree.func.value, ast.Call):
            return _wrap_call(tree.func.value, indent, width, f".{tree.func.attr}()" + tail)
        return [source(tree) + tail]
    return _block(source(tree.func) + "(", items, ")" + tail, indent, width)


def _wrap_display(tree: ast.List | ast.Tuple | ast.Dict, indent: int, width: int, tail: str) -> list[str]:
    if isinstance(tree, ast.Dict):
        items = [f"{source(k)}: {source(v)}" if k else f"**{source(v)}" for k, v in zip(tree.keys, tree.values)]
        return _block("{", items, "}" + tail, indent, width, one_line=False)
    left, right = ("[", "]") if isinstance(tree, ast.List) else ("(", ")")
    return _block(left, [source(item) for item in tree.elts], right + tail, indent, width)


def _block(opening: str, items: list[str], closing: str, indent: int, width: int, one_line: bool = True) -> list[str]:
    pad = INDENT * (indent + 1)
    together = pad + ", ".join(items)
    if one_line and len(together) <= width and len(items) > 0:
        return [opening, together, INDENT * indent + closing]
    lines = [opening]
    for item in items:
        name, equals, value = _keyword(item)
        wrapped = _wrap(value, indent + 1, len(pad) + len(name) + len(equals), width, ",")
        lines.append(pad + name + equals + wrapped[0])
        lines.extend(wrapped[1:])
    return [*lines, INDENT * indent + closing]


def _keyword(item: str) -> tuple[str, str, str]:
    head, equals, value = item.partition("=")
    if equals and head.isidentifier():
        return head, equals, value
    if item.startswith('"') and '": ' in item:
        key, colon, rest = item.partition(": ")
        return key, colon, rest
    return "", "", item


def _operands(tree: ast.BinOp) -> list[str]:
    """A left-leaning chain of equally strong operators as lines: `a`, `+ b`, `- c`."""
    groups: tuple[tuple[type, ...], ...] = ((ast.Add, ast.Sub), (ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.MatMult))
    group = next((g for g in groups if isinstance(tree.op, g)), (type(tree.op),))
    symbol = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.MatMult: "@"}
    parts: list[str] = []
    node: ast.expr = tree
    while isinstance(node, ast.BinOp) and isinstance(node.op, group) and type(node.op) in symbol:
        whole, left = source(node), source(node.left)
        parts.append(whole[len(left) :].strip() if whole.startswith(left) else f"{symbol[type(node.op)]} ({source(node.right)})")
        node = node.left
    return [source(node), *reversed(parts)] if parts else [source(tree)]


def _wrap_brackets(parts: list[str], indent: int, width: int, tail: str) -> list[str]:
    if len(parts) == 1:
        return [parts[0] + tail]
    pad = INDENT * (indent + 1)
    lines = ["("]
    for part in parts:
        operator, _, rest = part.partition(" ") if part[:1] in "+-*/%@" else ("", "", part)
        head = f"{operator} " if operator else ""
        wrapped = _wrap(rest, indent + 1, len(pad) + len(head), width)
        lines.append(pad + head + wrapped[0])
        lines.extend(wrapped[1:])
    return [*lines, INDENT * indent + ")" + tail]
