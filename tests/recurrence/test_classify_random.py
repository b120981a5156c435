"""Random steps: whatever the algebra calls affine, diagonal or tropical is so in numbers, and what it refuses is not affine."""

from __future__ import annotations

import random

import pytest

from archdsl.graph.expressions import Expr, call, const, var
from archdsl.recurrence.classes import AffineGroup, Kind, MapGroup
from archdsl.recurrence.classify import classify
from archdsl.recurrence.numbers import Point, Shrunk, finite
from archdsl.recurrence.step import Equation, StateOf, Step, Tensor, reindexed

N = 3
UNARY = ("neg", "exp", "tanh", "sigmoid", "square", "abs", "sin")
BINARY = ("add", "sub", "mul", "add", "sub", "mul", "div", "max", "min")


def expression(draw: random.Random, depth: int, state: bool = True) -> Expr:
    """An expression of inputs and, if `state`, of the state and the temporaries that read it."""
    roll = draw.random()
    if depth == 0 or roll < 0.2:
        names = ["x[i]", "g[i]", "f[i]"] + (["h[i]", "h[i]", "t[i]", "m[i]"] if state else [])
        return var(draw.choice(names)) if draw.random() < 0.85 else const(draw.choice((0.5, 2, -1, 3)))
    if roll < 0.32:
        # A function of the state is rarely affine: mostly of the inputs.
        return call(draw.choice(UNARY), expression(draw, depth - 1, state and draw.random() < 0.15))
    if roll < 0.42:
        sides = [expression(draw, depth - 1, False) for _ in range(2)]
        return call("where", call("gt", *sides), expression(draw, depth - 1, state), expression(draw, depth - 1, state))
    function = draw.choice(BINARY)
    one = expression(draw, depth - 1, state)
    linear = function in ("add", "sub", "max", "min")
    other = expression(draw, depth - 1, state and (linear or draw.random() < 0.1))
    return call(function, one, other)


def step(seed: int) -> Step:
    """h'[i] from x, g, h, a temporary t of h, a sum m over h, and a state-free temporary f."""
    draw = random.Random(seed)
    loops = (("i", N),)
    simple = {"t[i]": var("h[i]") * expression(draw, 1, False), "m[i]": var("h[i]")}
    equations = [Equation("f", ("i",), loops, (), call("sigmoid", expression_without(draw, ("x[i]", "g[i]"))))]
    equations.append(Equation("t", ("i",), loops, (), simple["t[i]"]))
    weight = var("W[i,s]") if draw.random() < 0.5 else call("mul", var("x[i]"), var("g[s]"))
    equations.append(Equation("m", ("i",), loops, (("s", N),), call("mul", weight, reindexed(var("h[i]"), {"i": "s"}))))
    body = expression(draw, 3)
    equations.append(Equation("h'", ("i",), loops, (), body))
    tensors = [Tensor(n, (N,), "input") for n in ("x", "g")] + [Tensor("W", (N, N), "weight"), Tensor("h", (N,), "state")]
    tensors += [Tensor(n, (N,), "temporary") for n in ("f", "t", "m")] + [Tensor("h'", (N,), "next")]
    return Step(tuple(tensors), tuple(equations), (StateOf("h", "h'", 0.0),), ("h'",))


def expression_without(draw: random.Random, names: tuple[str, ...]) -> Expr:
    return call("add", var(draw.choice(names)), const(draw.choice((1, -2))))


def next_states(given: Step, seed: int, states: list[float]) -> list[float]:
    point = Point(Shrunk(given), seed, {("h", (k,)): v for k, v in enumerate(states)})
    return [point.entry("h'", (k,)) for k in range(N)]


def affine_at(given: Step, seed: int) -> bool:
    draw = random.Random(seed)
    a, b, c = ([draw.uniform(-2, 2) for _ in range(N)] for _ in range(3))
    mixed = [x + y - z for x, y, z in zip(a, b, c)]
    for d, x, y, z in zip(*(next_states(given, seed % 3, s) for s in (mixed, a, b, c))):
        if all(map(finite, (d, x, y, z))) and abs(d - (x + y - z)) > 1e-7 * (1 + abs(x) + abs(y) + abs(z)):
            return False
    return True


def reads_others(given: Step, seed: int) -> bool:
    draw = random.Random(seed)
    a = [draw.uniform(-2, 2) for _ in range(N)]
    for k in range(N):
        b = [v if n == k else v + draw.uniform(1, 2) for n, v in enumerate(a)]
        x, y = next_states(given, seed % 3, a)[k], next_states(given, seed % 3, b)[k]
        if finite(x) and finite(y) and abs(x - y) > 1e-9 * (1 + abs(x)):
            return True
    return False


@pytest.mark.parametrize("block", range(5))
def test_random_steps(block: int) -> None:
    refused = kinks = affine = 0
    for seed in range(40 * block, 40 * (block + 1)):
        given = step(seed)
        found = classify(given, verify=False)
        holds = all(affine_at(given, k) for k in range(5))
        if all(isinstance(group, AffineGroup | MapGroup) for group in found.groups):
            affine += 1
            assert holds, (seed, str(given), found.reason)
        elif found.kind is not Kind.TROPICAL:
            refused += 1
            # A kink far from the points tried looks affine there; nothing smooth does.
            kinks += holds
            assert not holds or any(f in found.reason for f in ("max(", "min(")), (seed, str(given), found.reason)
        if found.kind in (Kind.DIAGONAL, Kind.CONSTANT_DIAGONAL, Kind.ELEMENTWISE, Kind.TROPICAL, Kind.MAP):
            assert not any(reads_others(given, k) for k in range(3)), (seed, str(given))
        verified = classify(given)
        assert verified.kind is found.kind, (seed, str(given), verified.reason)
    assert affine >= 10
    assert kinks <= refused / 3
