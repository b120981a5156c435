"""Scalar expressions: the function table, simplification, derivatives and torch text."""

from __future__ import annotations

import ast
import math

import pytest
import torch

from archdsl.graph.calculus import NoDerivative, derivative, partial, pullback
from archdsl.graph.expressions import (
    ONE,
    ZERO,
    Apply,
    Builder,
    apply,
    call,
    const,
    count_ops,
    custom,
    evaluate,
    order,
    substitute,
    text,
    var,
)
from archdsl.graph.functions import CALL, FUNCTIONS, Refused
from archdsl.graph.torch_text import to_torch
from tests.graph.formulas import run

f = Builder()
x, y, c = var("x"), var("y"), var("c")

POSITIVE = ("log", "sqrt", "rsqrt", "lgamma", "digamma", "pow")
POINTS = [-2.3, -0.71, -0.2, 0.3, 0.9, 1.7, 3.1]


def inputs(name: str) -> list[tuple[float, ...]]:
    """Argument tuples inside a function's domain, away from kinks."""
    points = [abs(p) + 0.1 for p in POINTS] if name in POSITIVE else [abs(p) - 0.5 if name == "log1p" else p for p in POINTS]
    if name in ("asin", "acos"):
        points = [p / 4 for p in POINTS]
    arity = FUNCTIONS[name].arity
    return [tuple(points[(i + 3 * j) % len(points)] for j in range(arity)) for i in range(len(points))]


@pytest.mark.parametrize("name", [n for n, row in FUNCTIONS.items() if not isinstance(row.rules, Refused) and row.result == "number"])
def test_derivative_rules_against_finite_differences(name):
    row = FUNCTIONS[name]
    names = [f"v{i}" for i in range(row.arity)]
    node = call(name, *(var(n) for n in names))
    first = 1 if name == "where" else 0
    for values in inputs(name):
        point = dict(zip(names, values))
        for n in names[first:]:
            h = 1e-6
            up, down = evaluate(node, {**point, n: point[n] + h}), evaluate(node, {**point, n: point[n] - h})
            assert evaluate(derivative(node, n), point) == pytest.approx((up - down) / (2 * h), rel=2e-5, abs=2e-7)


def test_complex_functions_have_values_but_no_derivative():
    z = torch.tensor([1.5 - 2j, -0.3 + 0.4j])
    assert torch.equal(run(f.real(x), x=z), z.real)
    assert torch.allclose(run(f.angle(x), x=z), torch.angle(z))
    assert evaluate(f.conj(x), {"x": 1 + 2j}) == 1 - 2j
    with pytest.raises(NoDerivative, match="imag"):
        derivative(f.imag(x), "x")


def test_equal_expressions_are_one_object():
    assert f.exp(x + 1) is f.exp(x + 1)
    assert const(1.0) is const(1)
    assert const(True) is ONE
    assert x + 1 is 1 + x
    assert f.exp(x) is not f.exp(y)


@pytest.mark.parametrize(
    ("built", "simple"),
    [
        (x + 0, x),
        (0 * f.exp(x), ZERO),
        (1 * x, x),
        (x - (-y), x + y),
        (x + -y, x - y),
        (-f.neg(x), x),
        (x + x, 2 * x),
        (x * x, f.square(x)),
        (2 * (3 * x), 6 * x),
        ((2 * x) * (3 * y), 6 * (x * y)),
        (x ** 1, x),
        (x ** 0.5, f.sqrt(x)),
        (x ** -1, 1 / x),
        (x * (1 / y), x / y),
        (f.exp(x) * f.exp(y), f.exp(x + y)),
        (x * f.exp(y) * f.exp(-y), x),
        (f.exp(x) / f.exp(y), f.exp(x - y)),
        (f.exp(x) - 1, f.expm1(x)),
        (f.log(1 + x), f.log1p(x)),
        (1 / (1 + f.exp(-x)), f.sigmoid(x)),
        (x / (1 + f.exp(-x)), x * f.sigmoid(x)),
        (f.log(1 + f.exp(x)), f.softplus(x)),
        (f.log(f.sigmoid(x)), f.logsigmoid(x)),
        ((f.exp(x) - f.exp(-x)) / (f.exp(x) + f.exp(-x)), f.tanh(x)),
        (f.where(f.gt(x, 0), y, y), y),
        (f.where(f.gt(x, 0), x, 0) * y, f.where(f.gt(x, 0), x * y, 0)),
        (f.where(f.gt(x, 0), x, 0) + f.where(f.gt(x, 0), 0, y), f.where(f.gt(x, 0), x, y)),
        (f.where(f.not_(f.gt(x, 0)), x, y), f.where(f.gt(x, 0), y, x)),
        (f.where(f.gt(2, 1), x, y), x),
        (f.max(0, x), f.max(x, 0)),
        (f.sin(-x), -f.sin(x)),
        (f.cos(-x), f.cos(x)),
        (f.tanh(const(0.5)), const(math.tanh(0.5))),
        (f.and_(f.gt(2, 1), f.gt(x, 0)), f.gt(x, 0)),
        (math.e ** x, f.exp(x)),
    ],
)  # fmt: skip
def test_simplification(built, simple):
    assert built is simple, f"{text(built)} is not {text(simple)}"


def test_truth_values_and_numbers_convert():
    step = f.gt(x, 0) + f.gt(x, 1)
    assert evaluate(step, {"x": 2.0}) == 2
    values = torch.tensor([-1.0, 0.5, 2.0])
    assert run(step, x=values).tolist() == [0, 1, 2]
    assert run(f.where(x, 3, 5), x=torch.tensor([0.0, 2.0])).tolist() == [5, 3]
    assert run(f.gt(x, 0), x=values.bfloat16()).dtype is torch.bfloat16


def test_constant_folding_cannot_fill_the_memory():
    huge = const(9)
    for _ in range(6):
        huge = huge**huge
    assert huge.value == math.inf
    assert call("lgamma", const(-1)).value == math.inf
    assert math.isnan(call("log", const(-1)).value)


def test_derivative_shares_parts_and_grows_linearly():
    value = x
    for _ in range(200):
        value = f.tanh(value) * f.sigmoid(value)
    slope = derivative(value, "x")
    assert count_ops(slope) < 20 * count_ops(value)
    assert len(order(slope)) == len(set(order(slope)))


def test_forward_and_reverse_agree():
    value = f.where(f.gt(x, y), x * f.exp(-y), f.sin(x * y)) + f.max(x, c) / (1 + f.square(y))
    back = pullback({value: const(1)}, ["x", "y", "c"])
    for px, py, pc in [(0.5, 1.5, 0.2), (1.5, 0.5, 2.0), (-1.0, 0.3, -2.0)]:
        point = {"x": px, "y": py, "c": pc}
        for name in point:
            assert evaluate(back[name], point) == pytest.approx(evaluate(derivative(value, name), point), rel=1e-12, abs=1e-14)
    assert pullback({value: const(1)}, ["z"])["z"] is ZERO


def test_the_side_not_taken_cannot_reach_the_gradient():
    safe = f.where(f.gt(x, 0), f.sqrt(x), 0)
    assert run(derivative(safe, "x"), x=torch.tensor([-1.0, 0.0, 4.0])).tolist() == [0, 0, 0.25]
    assert run(pullback({safe: var("g")}, ["x"])["x"], x=torch.tensor([-1.0, 4.0]), g=torch.tensor([3.0, 3.0])).tolist() == [0, 0.75]


def test_custom_slopes_survive():
    surrogate = custom(f.where(f.gt(x, 0), 1, 0), [x], [f.exp(-f.square(x))])
    assert evaluate(surrogate, {"x": 0.3}) == 1
    assert derivative(2 * surrogate, "x") is 2 * f.exp(-f.square(x))
    moved = substitute(surrogate, {"x": 3 * y})
    assert evaluate(derivative(moved, "y"), {"y": 0.1}) == pytest.approx(3 * math.exp(-0.09))
    assert pullback({moved: ONE}, ["y"])["y"] is derivative(moved, "y")


def test_partial_is_in_terms_of_the_arguments():
    node = x * f.exp(y)
    assert isinstance(node, Apply)
    assert partial(node, 0) is f.exp(y)
    assert partial(node, 1) is x


@pytest.mark.parametrize(
    ("expr", "source"),
    [
        ((x - y) - c, "x - y - c"),
        (x - (y - c), "x - (y - c)"),
        (x * (y + c), "x * (y + c)"),
        (x / (y * c), "x / (y * c)"),
        (-f.square(x), "-x ** 2"),
        (f.square(-x * y), "(x * y) ** 2"),
        (x ** (y + 1), "x ** (y + 1)"),
        (2**x, "2 ** x"),
        (f.max(x, 0), "torch.relu(x)"),
        (f.min(f.max(x, -1), 1), "torch.clamp(x, -1, 1)"),
        (f.min(x, 6), "torch.clamp(x, max=6)"),
        (f.max(x, y), "torch.maximum(x, y)"),
        (f.where(f.gt(x, 0), 1, 0), "(x > 0).to(x.dtype)"),
        (f.where(f.gt(x, 0), 2, 3), "torch.where(x > 0, 2, 3).to(x.dtype)"),
        (const(3), "torch.full_like(x, 3)"),
    ],
)
def test_torch_text(expr, source):
    assert to_torch([expr], {"x": "x", "y": "y", "c": "c"}) == ([], [source])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_choice_between_numbers_has_the_inputs_precision(dtype):
    values = torch.tensor([1.0, -1.0], dtype=dtype)
    assert torch.equal(run(f.where(f.gt(x, 0), 1, 0.01), x=values), torch.tensor([1, 0.01], dtype=dtype))


def test_shared_parts_get_names():
    s = f.sigmoid(x)
    assert to_torch([s * (1 - s)], {"x": "x"}) == (["sigmoid_x = torch.sigmoid(x)"], ["sigmoid_x * (1 - sigmoid_x)"])
    lines, results = to_torch([f.exp(x * y), f.exp(x * y) + 1], {"x": "a.b", "y": "exp"}, taken=["product"])
    assert (lines, results) == ([], ["torch.exp(a.b * exp)", "torch.exp(a.b * exp) + 1"]) or lines[0].startswith("exp2 = ")


def test_text_parses_back_to_the_same_value():
    """Parentheses: every pair of infix operators, both ways round."""
    infix = [n for n in ("add", "sub", "mul", "div", "pow", "neg", "square", "gt") if FUNCTIONS[n].level < CALL]
    point = {"x": 1.7, "y": 0.6, "c": 2.2}
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in point.items()}
    for outer in infix:
        for inner in infix:
            for side in range(FUNCTIONS[outer].arity):
                part = call(inner, *[x, y][: FUNCTIONS[inner].arity])
                args = [part if i == side else c for i in range(FUNCTIONS[outer].arity)]
                node = apply(outer, *args) if not part.is_bool else call(outer, *args)
                lines, (source,) = to_torch([node], {n: n for n in point})
                ast.parse(source)
                assert run(node, **tensors).item() == pytest.approx(float(evaluate(node, point)), rel=1e-13, nan_ok=True), source
                assert not lines
