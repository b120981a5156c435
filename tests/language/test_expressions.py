"""Precedence, association and the forms of expressions."""

from __future__ import annotations

import pytest

from archdsl.diagnostics import ArchError
from archdsl.language import syntax as s
from tests.language.helpers import expression, sketch

FORMS = {
    "1 + 2 * 3": [1, "+", [2, "*", 3]],
    "1 - 2 - 3": [[1, "-", 2], "-", 3],
    "a / b * c": [["a", "/", "b"], "*", "c"],
    "a @ b + c // d % e": [["a", "@", "b"], "+", [["c", "//", "d"], "%", "e"]],
    "-x ** 2": ["-", ["x", "**", 2]],
    "2 ** -x ** 3": [2, "**", ["-", ["x", "**", 3]]],
    "2 ** 3 ** 4": [2, "**", [3, "**", 4]],
    "-a * b": [["-", "a"], "*", "b"],
    "a - -b": ["a", "-", ["-", "b"]],
    "not a == b and c or d": [[["not", ["a", "==", "b"]], "and", "c"], "or", "d"],
    "a < b + 1": ["a", "<", ["b", "+", 1]],
    "0..n + 1": ["Range", 0, ["n", "+", 1], False],
    "1..=2 * n": ["Range", 1, [2, "*", "n"], True],
    "a -> b -> c": ["->", "a", "b", "c"],
    "a -> (b -> c)": ["->", "a", ["->", "b", "c"]],
    "a -> b | c -> d": ["->", "a", ["|", "b", "c"], "d"],
    "x -> name: f | g": ["->", "x", ["name", ":", ["|", "f", "g"]]],
    "a or b | c": ["|", ["a", "or", "b"], "c"],
    "a + 1 -> f": ["->", ["a", "+", 1], "f"],
    "if a then b else c -> d": ["if", "a", "b", ["->", "c", "d"]],
    "if a then b -> c else if d then e else f": ["if", "a", ["->", "b", "c"], ["if", "d", "e", "f"]],
    "if a -> b then c else d": ["if", ["->", "a", "b"], "c", "d"],
    "f(x)(y).z[0]": [[[["f", ["x"]], ["y"]], ".", "z"], "[]", [0]],
    "-f(x) ** 2": ["-", [["f", ["x"]], "**", 2]],
    "linear(d, bias=false, init ~ zeros)": ["linear", ["d", ["bias", "=", False], ["init", "~", "zeros"]]],
    "param([e] ~ ones)": ["param", [["~", ["ListExpr", "e"], "ones"]]],
    "param((e) ~ ones)": ["param", [["~", "e", "ones"]]],
    "x[.., 0, 1.., ..=k, a..b]": [
        "x",
        "[]",
        [["Slice", None, None, False], 0, ["Slice", 1, None, False], ["Slice", None, "k", True], ["Slice", "a", "b", False]],
    ],
    "[.., d]": ["ListExpr", "Ellipsis_", "d"],
    "(a, b)": ["TupleExpr", "a", "b"],
    "(a,)": ["TupleExpr", "a"],
    "((a))": "a",
    "q @ S'": ["q", "@", "S'"],
    "100_000 + 1e-3": [100_000, "+", 1e-3],
    '"a\\n\\"b\\"\\\\"': 'a\n"b"\\',
    "base.layers[11..14]": [["base", ".", "layers"], "[]", [["Slice", 11, 14, False]]],
    "step(charged - threshold)": ["step", [["charged", "-", "threshold"]]],
    "f(step=1, state, in_=2, scan)": ["f", [["step", "=", 1], "state", ["in_", "=", 2], "scan"]],
    "skip + route - loop": [["skip", "+", "route"], "-", "loop"],
    "f(\n  a,\n  b,\n)": ["f", ["a", "b"]],
    "a\n -> b": ["->", "a", "b"],
    "(a\n + b\n)": ["a", "+", "b"],
}


@pytest.mark.parametrize("text", FORMS)
def test_form(text: str) -> None:
    assert sketch(expression(text)) == FORMS[text]


def test_numbers_keep_their_type() -> None:
    assert isinstance(expression("1e3").value, float)  # type: ignore[union-attr]
    assert isinstance(expression("1_000").value, int)  # type: ignore[union-attr]
    assert expression("9_007_199_254_740_992").value == 2**53  # type: ignore[union-attr]


REFUSED = ["a < b < c", "a == b != c", "1..2..3", "a ~ b", "a b", "f(x y)", "[a", "x -> if a then b else c", "", "a; b"]


@pytest.mark.parametrize("text", REFUSED)
def test_not_expressions(text: str) -> None:
    with pytest.raises(ArchError):
        expression(text)


def test_modules_with_a_body() -> None:
    loop = expression("loop i in 0..8 until halt(threshold=0.99) step 1/3 { f }")
    assert isinstance(loop, s.Loop)
    assert (loop.variable, sketch(loop.until), sketch(loop.step)) == ("i", ["halt", [["threshold", "=", 0.99]]], [1, "/", 3])
    assert sketch(loop.count) == ["Range", 0, 8, False]
    assert sketch(loop.body.expression) == "f"
    repeat = expression("reversible repeat depth { in x; return f(x) }")
    assert isinstance(repeat, s.Repeat)
    assert repeat.reversible
    assert [type(i) for i in repeat.body.statements] == [s.Input, s.Return]
    skip = expression("skip(router, capacity=1/8) { Layer(heads) }")
    assert isinstance(skip, s.Route)
    assert (skip.kind, len(skip.arguments)) == ("skip", 2)
    train = expression("train { dropout(0.1) } else { f }")
    assert isinstance(train, s.Train)
    assert train.otherwise is not None
    assert isinstance(expression("{ in x, h; return x + h }"), s.Lambda)
    comprehension = expression("[f(i) for i in 0..n if i % 2 == 0]")
    assert isinstance(comprehension, s.Comprehension)
    assert comprehension.condition is not None
    nested = expression("loop 2 { repeat i in {1, 2} { f(i) } }")
    assert isinstance(nested, s.Loop)
    assert isinstance(nested.body.expression, s.Repeat)
    assert sketch(nested.body.expression.count) == ["SetExpr", 1, 2]


def test_a_call_of_route_without_a_body_is_a_call() -> None:
    assert sketch(expression("route(x)")) == ["route", ["x"]]


def test_spans_cover_the_text() -> None:
    node = expression("(a + b) * f(x)")
    assert isinstance(node, s.Binary)
    assert node.span.text == "(a + b) * f(x)"
    assert node.right.span.text == "f(x)"
    assert isinstance(node.left, s.Binary)
    assert node.left.span.text == "a + b"
