"""solve, detach, feedback, the LegS matrix, and attention to a part of a sequence with what came before it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.primitives.support.random import initialise


def test_solve() -> None:
    model = archdsl.parse("arch A { in a: [3, 4, 4]; in b: [4, 2]; return solve(a, b) }").build(dtype="float64")
    a, b = torch.randn(2, 3, 4, 4, dtype=torch.float64), torch.randn(2, 4, 2, dtype=torch.float64)
    assert (a @ model(a, b) - b[:, None]).abs().max() < 1e-9
    with pytest.raises(ArchError):
        archdsl.parse("arch A { in a: [3, 4]; in b: [3, 2]; return solve(a, b) }")


def test_detach() -> None:
    model = archdsl.parse("arch A { in x: [4]; return 2 * x + 3 * detach(x) }").build()
    x = torch.randn(1, 4, requires_grad=True)
    y = model(x)
    y.sum().backward()
    assert torch.allclose(y, 5 * x)
    assert torch.equal(x.grad, torch.full((1, 4), 2.0))


def test_feedback_steers_in_training_only() -> None:
    model = archdsl.parse("arch A { in x: [4]; return x * feedback(x, target=1, rate=2, start=1) }").build()
    low, high = torch.zeros(2, 4), torch.full((2, 4), 3.0)
    assert torch.equal(model.train()(high), high)  # as it stands, then it moves
    assert float(model.get_buffer("feedback.factor")) == 0.5
    model(low), model(low)
    assert float(model.get_buffer("feedback.factor")) == 2.0
    model.eval()(low)
    assert float(model.get_buffer("feedback.factor")) == 2.0
    for wrong in ("rate=1", "start=0"):
        with pytest.raises(ArchError):
            archdsl.parse(f"arch A {{ in x: [4]; return x * feedback(x, target=1, {wrong}) }}")


def test_legs() -> None:
    found = torch.empty(3, 3)
    initialise(found, ("legs",), 0, "A")
    r3, r5, r15 = 3**0.5, 5**0.5, 15**0.5
    assert torch.allclose(found, torch.tensor([[-1, 0, 0], [-r3, -2, 0], [-r5, -r15, -3]]))
    with pytest.raises(ArchError):
        archdsl.parse("arch A { in x: [4]; return x * param([4] ~ legs) }")


@pytest.mark.parametrize("window", ["", ", window=3"])
def test_attention_with_earlier_keys(window: str) -> None:
    """The last queries of a causal attention, given all keys, are those of the whole."""
    text = "arch A {{ in q: [{0}, 4]; in k: [6, 4]; in v: [6, 4]; return attend(q, k, v, causal=true{1}{2}) }}"
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 6, 4) for _ in range(3))
    whole = archdsl.parse(text.format(6, window, "")).build()(q, k, v)
    part = archdsl.parse(text.format(2, window, ", offset=4")).build()(q[:, 4:], k, v)
    assert torch.allclose(part, whole[:, 4:], atol=1e-6)
    if not window:
        assert torch.allclose(whole, F.scaled_dot_product_attention(q, k, v, is_causal=True), atol=1e-6)


def test_attention_in_chunks_costs_what_it_computes() -> None:
    text = "arch A {{ in x: [2, 64, 4]; return attend(x, x, x{}) }}"
    assert archdsl.parse(text.format("")).flops() == 8 * archdsl.parse(text.format(", chunk=8")).flops()
