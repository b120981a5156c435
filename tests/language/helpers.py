"""What the tests of the front end share."""

from __future__ import annotations

from pathlib import Path

from archdsl.diagnostics import ArchError, Source
from archdsl.language import parse, parse_expression, syntax

HERE = Path(__file__).parent
EXAMPLES = [*sorted((HERE / "examples").glob("*.arch")), *sorted(HERE.parents[1].glob("specs/**/*.arch"))]


def tree(text: str) -> syntax.File:
    return parse(Source("t.arch", text))


def expression(text: str) -> syntax.Expr:
    return parse_expression(Source("t.arch", text))


def codes(text: str) -> list[str]:
    """The codes of the diagnostics a text gives."""
    try:
        tree(text)
    except ArchError as error:
        return [d.code for d in error.diagnostics]
    return []


def sketch(node: object) -> object:
    """A tree as nested lists of plain values, to compare with what is written in a test."""
    if isinstance(node, list):
        return [sketch(n) for n in node]
    if isinstance(node, syntax.Number | syntax.String | syntax.Bool):
        return node.value
    if isinstance(node, syntax.Name):
        return node.id + "'" * node.primed
    if isinstance(node, syntax.Binary):
        return [sketch(node.left), node.op, sketch(node.right)]
    if isinstance(node, syntax.Unary):
        return [node.op, sketch(node.operand)]
    if isinstance(node, syntax.Pipe):
        return ["->", *map(sketch, node.stages)]
    if isinstance(node, syntax.Choice):
        return ["|", *map(sketch, node.options)]
    if isinstance(node, syntax.Labelled):
        return [node.label, ":", sketch(node.value)]
    if isinstance(node, syntax.If):
        return ["if", sketch(node.condition), sketch(node.then), sketch(node.otherwise)]
    if isinstance(node, syntax.Call):
        return [sketch(node.function), [sketch(a) for a in node.arguments]]
    if isinstance(node, syntax.Argument):
        return sketch(node.value) if node.name is None else [node.name, "~" if node.tilde else "=", sketch(node.value)]
    if isinstance(node, syntax.Range | syntax.Slice):
        return [type(node).__name__, sketch(node.low), sketch(node.high), node.closed]
    if isinstance(node, syntax.Attribute):
        return [sketch(node.value), ".", node.name]
    if isinstance(node, syntax.Index):
        return [sketch(node.value), "[]", [sketch(i) for i in node.items]]
    if isinstance(node, syntax.ListExpr | syntax.TupleExpr | syntax.SetExpr):
        return [type(node).__name__, *map(sketch, node.items)]
    if isinstance(node, syntax.Tilde):
        return ["~", sketch(node.shape), sketch(node.init)]
    if isinstance(node, syntax.Node):
        return type(node).__name__
    return node
