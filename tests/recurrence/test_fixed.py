"""What depends on weights alone is worked out before the loop: the same values and gradients, nothing of it left inside."""

from __future__ import annotations

import pytest
import torch

from archdsl.graph.expressions import Apply, order
from archdsl.recurrence.fixed import hoist
from tests.recurrence.steps import step_of


@pytest.mark.parametrize(
    ("use", "moved"), [("lru(4)", {"exp", "cos", "sin", "sqrt"}), ("mega_ema(3)", {"sigmoid"}), ("rg_lru", {"softplus"})]
)
def test_functions_of_weights_leave_the_loop(use, moved):
    found = hoist(step_of(use))
    assert found is not None
    before = {n.function for e in found.prelude for n in order(e.body) if isinstance(n, Apply)}
    assert moved <= before
    inside = {n.function for e in found.step.equations for n in order(e.body) if isinstance(n, Apply)}
    assert not inside & (moved - {"exp", "sigmoid", "sqrt"})  # rg_lru's own exp and gates read the input


@pytest.mark.parametrize("use", ["diagonal", "gated_linear", "gru(4)", "lif"])
def test_nothing_to_move(use):
    assert hoist(step_of(use)) is None


def test_weights_in_the_smaller_steps_order_with_gradients():
    whole = step_of("mega_ema(3)")
    found = hoist(whole)
    given = [torch.rand(p.shape, dtype=torch.float64, requires_grad=True) for p in whole.of("constant", "weight")]
    made = found.weights(given)
    parts = found.step.of("constant", "weight")
    assert [tuple(w.shape) for w in made] == [p.shape for p in parts]
    named = dict(zip((p.name for p in whole.of("constant", "weight")), given))
    kept = torch.sigmoid(named["alpha"])
    assert any(torch.equal(w, 1 - kept * torch.sigmoid(named["delta"])) or torch.equal(w, kept) for w in made)
    assert all(g is not None for g in torch.autograd.grad(sum(w.sum() for w in made), given, allow_unused=True)[:1])
