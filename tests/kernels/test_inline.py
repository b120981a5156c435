"""Temporary matrices that kernels work out again rather than store."""

from __future__ import annotations

import pytest

from archdsl.kernels.inline import inlined
from tests.recurrence.steps import USES, step_of


def temporaries(use: str, rank: int = 2) -> tuple[int, int]:
    """How many temporaries of this rank or more a step has, before and after."""
    step = step_of(use)
    return tuple(sum(len(t.shape) >= rank for t in s.of("temporary")) for s in (step, inlined(step)))  # type: ignore[return-value]


@pytest.mark.parametrize("use", ["gated_delta_rule", "channel_gated_delta_rule"])
def test_a_decayed_state_is_no_matrix_of_its_own(use: str) -> None:
    assert temporaries(use) == (1, 0)


def test_a_function_of_every_entry_stays() -> None:
    before, after = temporaries("outgoing")  # tanh(S')
    assert before == after == 1


@pytest.mark.parametrize("use", USES)
def test_vectors_states_and_yields_stay(use: str) -> None:
    step = step_of(use)
    found = inlined(step)
    assert found.yields == step.yields
    assert found.states == step.states
    kept = [t for t in step.tensors if t.role != "temporary" or len(t.shape) < 2]
    assert [t for t in found.tensors if t in kept] == kept
