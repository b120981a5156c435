"""Putting expressions together and laying them out."""

from __future__ import annotations

import ast

import pytest

from archdsl.compiler.names import Scope, camel
from archdsl.compiler.text import statement, substitute, tidy, usage
from archdsl.primitives.library import collect, index


@pytest.mark.parametrize(
    ("template", "table", "want"),
    [
        ("F.silu((a))", {"a": "x + y"}, "F.silu(x + y)"),
        ("a * b", {"a": "x + y"}, "(x + y) * b"),
        ("a.transpose(-1, -2)", {"a": "-x"}, "(-x).transpose(-1, -2)"),
        ("a[..., None]", {"a": "x @ y"}, "(x @ y)[..., None]"),
        ("a ** 2", {"a": "x * y"}, "(x * y) ** 2"),
        ("f(a, mode='sum')", {"a": "g(x)"}, 'f(g(x), mode="sum")'),
        ("a - b", {"b": "x - y"}, "a - (x - y)"),
    ],
)
def test_brackets_only_where_needed(template: str, table: dict[str, str], want: str) -> None:
    assert substitute(template, table) == want


def test_usage_counts_and_marks_what_may_not_run_once() -> None:
    counts, deferred = usage("a + f(b, b) + (c if d else e) + g(lambda x: x + h)")
    assert counts["a"] == 1
    assert counts["b"] == 2
    assert {"c", "e", "h"} <= deferred
    assert "a" not in deferred


LONG = (
    "function(self.first_projection(x), self.second_projection(y), another_call(with_many, arguments, that_are_long), key=one, more=2)",
    "some_first_operand_of_a_sum(x, y, z) + another_operand_of_the_sum(x, y, z) * a_factor_of_it - the_third_operand_of_the_sum(x, y, z)",
    "self.module(some_argument_name, other_argument_name, third_argument_name).transpose(-3, -2).flatten(-2).unflatten(-1, (3, 64))",
    '{"first.weight": ("uniform", -0.041666666, 0.041666666), "second.weight": ("uniform", -0.041666666, 0.041666666), "third": ("ones",)}',
)


@pytest.mark.parametrize("expression", LONG)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_long_statements_are_broken_and_mean_the_same(expression: str, width: int) -> None:
    written = statement("result = ", expression, 1, width)
    assert max(map(len, written.splitlines())) <= max(width, 90)
    tree = ast.parse("if 1:\n" + written).body[0].body[0]  # type: ignore[attr-defined]
    assert ast.unparse(tree.value) == ast.unparse(ast.parse(expression, mode="eval"))


def test_tidy_keeps_strings_and_refuses_statements() -> None:
    assert tidy("f('a', \"it's\")") == 'f("a", "it\'s")'
    with pytest.raises(ValueError, match="not a Python expression"):
        tidy("x = 1")


def test_names() -> None:
    scope = Scope()
    assert [scope.claim("x") for _ in range(3)] == ["x", "x2", "x3"]
    assert scope.claim("len") == "len2"
    assert scope.claim("h2") == "h2"
    assert scope.claim("h") == "h"
    assert scope.claim("h") == "h3"
    assert camel("gated_linear") == "GatedLinear"
    assert camel("SwiGLU") == "SwiGLU"


def test_the_library_is_complete() -> None:
    pieces, imports = collect(index())
    names = {p.name for p in pieces}
    assert names == set(index())
    assert all(need in names for p in pieces for need in p.needs)
    assert not [line for line in imports if "archdsl" in line]
    source = "\n".join(["from __future__ import annotations", "import torch", "import torch.nn as nn", "import torch.nn.functional as F"])
    namespace: dict[str, object] = {}
    exec(compile("\n".join([source, *imports, *(p.text for p in pieces)]), "<library>", "exec"), namespace)


def test_a_piece_comes_after_what_it_needs() -> None:
    pieces, _ = collect(["attend_step"])
    order = [p.name for p in pieces]
    assert order[-1] == "attend_step"
    assert "Clock" in order
