"""Slopes that are steps keep one code an entry; anything else keeps its inputs."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.graph.levels import Levels, levels
from archdsl.primitives.support.levels import pack_levels, unpack_levels
from tests.graph.formulas import act, generated


@pytest.mark.parametrize(
    ("slope", "found"),
    [
        ("if x > 0 then 1 else 0", Levels((0.0,), (False,), (0.0, 1.0))),
        ("if x < -2 then 3 else 1", Levels((-2.0,), (True,), (3.0, 1.0))),
        ("if 0 >= x then 0.5 else 2", Levels((0.0,), (False,), (0.5, 2.0))),
        ("0.25 * (x > -1) + 0.5 * (x >= 1)", Levels((-1.0, 1.0), (False, True), (0.0, 0.25, 0.75))),
        ("if x > 1 then 1 else if x > 0 then 2 else 3", Levels((0.0, 1.0), (False, False), (3.0, 2.0, 1.0))),
        ("if x == 0 then 7 else 0", None),
        ("if x > 0 then x else 0", None),
        ("if x * x > 1 then 1 else 0", None),
        ("max(1 - x, 0)", None),
        ("1", None),
    ],
)
def test_what_counts_as_steps(slope: str, found: Levels | None) -> None:
    assert levels(act(f"act f(x) = max(x, 0) backward {slope}").backward["x"], "x") == found


@pytest.mark.parametrize(("count", "bits"), [(1, 1), (3, 2), (8, 4)])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5, 2)])
def test_codes_come_back(count: int, bits: int, shape: tuple[int, ...]) -> None:
    edges, values = tuple(float(i) for i in range(count)), tuple(10.0 + i for i in range(count + 1))
    closed = tuple(i % 2 == 0 for i in range(count))
    x = torch.randint(-2, count + 1, shape).double()
    packed = pack_levels(x, edges, closed, bits)
    assert packed.numel() == -(-x.numel() * bits // 8)
    expected = torch.tensor(values)[sum((x >= e) if c else (x > e) for e, c in zip(edges, closed)).long()].double()  # type: ignore[union-attr]
    assert torch.equal(unpack_levels(packed, values, bits, x), expected)


def test_the_act_of_a_spec_keeps_codes_alone() -> None:
    two = act("act f(x) = max(x, 0) backward if x > -1 then 1 else 0")
    four = act("act f(x) = x * x backward (x > -1) + (x > 0) + (x > 1)")
    for given, size in ((two, 125), (four, 250)):
        kept: list[torch.Tensor] = []
        x = torch.randn(1000, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t, kept=kept: kept.append(t) or t, lambda t: t):
            y = generated(given).apply(x)
        assert [t.numel() * t.element_size() for t in kept] == [size]
        (grad,) = torch.autograd.grad(y.sum(), x)
        expected = (x > -1).float() if given is two else sum((x > e).float() for e in (-1, 0, 1))
        assert torch.equal(grad, expected)


def test_the_memory_formula_knows() -> None:
    spec = archdsl.parse("act f(x) = max(x, 0) backward if x > -1 then 1 else 0\narch A { in x: [d]; return x -> f }")
    assert spec.activation_bytes(d=320) == 320 * 4 + 320 // 8
