"""flash-linear-attention through its table: which groups fit, and that a function which disagrees is not used. A stand-in plays its part."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor

from archdsl.recurrence.forms import flash
from archdsl.recurrence.forms.plan import Setting, matrix_plan
from archdsl.recurrence.forms.program import Program
from tests.recurrence.steps import Reference, Tensors, classified

FITS = {
    "linear_attention": "simple", "retention": "simple", "gated_linear": "channels", "columns": "channels", "delta_rule": "delta",
    "gated_delta_rule": "gated delta", "given_decay": None, "outgoing": None, "two_updates": None, "wkv7": None,
    "channel_gated_delta_rule": None,
}  # fmt: skip


@pytest.mark.parametrize("use", FITS)
def test_which_groups_fit(use: str) -> None:
    (group,) = classified(use).groups
    kind, reason = flash.kind_of(group, matrix_plan(group, 2))
    assert kind == FITS[use]
    assert (kind is None) == bool(reason)


def steps(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, beta: Tensor | None, scale: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """The step, in that package's layout: [B, T, H, …]."""
    rows = []
    for t in range(q.shape[1]):
        if g is not None:
            decay = g[:, t].float().exp()
            state = state * (decay.unsqueeze(-1) if decay.dim() == 3 else decay[..., None, None])
        new = v[:, t].float()
        if beta is not None:
            new = (new - torch.einsum("bhk,bhkv->bhv", k[:, t].float(), state)) * beta[:, t].float().unsqueeze(-1)
        state = state + k[:, t].float().unsqueeze(-1) * new.unsqueeze(-2)
        rows.append(torch.einsum("bhk,bhkv->bhv", q[:, t].float(), state) * scale)
    return torch.stack(rows, 1).to(q.dtype), state


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A package `fla` with the four functions; counts calls, and can be told to be wrong."""
    told: dict[str, Any] = {"calls": 0, "wrong": 0.0}

    def function(q, k, v, g=None, beta=None, scale=None, initial_state=None, output_final_state=False, head_first=True):  # type: ignore[no-untyped-def]
        assert not head_first
        assert output_final_state
        told["calls"] += 1
        out, end = steps(q, k, v, g, beta, scale, initial_state)
        return out + told["wrong"], end

    fla: Any = types.ModuleType("fla")
    fla.runs_anywhere = True
    fla.__spec__ = types.SimpleNamespace(name="fla")
    monkeypatch.setitem(sys.modules, "fla", fla)
    monkeypatch.setitem(sys.modules, "fla.ops", types.ModuleType("fla.ops"))
    for module, name in flash.TABLE.values():
        made: Any = types.ModuleType(module)
        setattr(made, name, function)
        monkeypatch.setitem(sys.modules, module, made)
    for cached in (flash.agrees, flash._function):
        cached.cache_clear()
    yield told
    for cached in (flash.agrees, flash._function):
        cached.cache_clear()


@pytest.mark.parametrize("use", [u for u, kind in FITS.items() if kind in ("simple", "channels")])
def test_called_where_it_fits(use: str, standin: dict[str, Any]) -> None:
    exact, given = Tensors(use, 40), Tensors(use, 40, torch.float32)
    yields, ends = Program(classified(use)).run(given.inputs, given.weights, given.begin, None, Setting(fla=True))
    assert standin["calls"] == 2  # the trial, the run
    Reference(use, given).check_rounding(yields, ends, Reference(use, exact))


@pytest.mark.parametrize("use", ["delta_rule", "gated_delta_rule"])
def test_delta_rules_in_bfloat16_only(use: str, standin: dict[str, Any]) -> None:
    given = Tensors(use, 40, torch.float32)
    program = Program(classified(use))
    plain = program.run(given.inputs, given.weights, given.begin, None, Setting(fla=True))
    assert standin["calls"] == 0
    low = program.run(given.inputs, given.weights, given.begin, None, Setting(fla=True, low=torch.bfloat16))
    assert standin["calls"] == 2
    torch.testing.assert_close(low[0][0], plain[0][0], rtol=0.05, atol=0.05)


def test_second_derivatives_are_refused_in_words(standin: dict[str, Any]) -> None:
    given = Tensors("gated_linear", 40, torch.float32)
    yields, _ = Program(classified("gated_linear")).run(given.inputs, given.weights, given.begin, None, Setting(fla=True))
    assert standin["calls"] == 2
    torch.autograd.grad(yields[0].sum(), given.inputs, retain_graph=True)
    with pytest.raises(RuntimeError, match="ARCHDSL_KERNELS=loop"):
        torch.autograd.grad(yields[0].sum(), given.inputs, create_graph=True)


def test_not_used_where_it_disagrees(standin: dict[str, Any]) -> None:
    standin["wrong"] = 0.1
    given = Tensors("gated_linear", 40, torch.float32)
    program = Program(classified("gated_linear"))
    with pytest.warns(RuntimeWarning, match="chunk_gla does not agree"):
        found = program.run(given.inputs, given.weights, given.begin, None, Setting(fla=True))
    again = program.run(given.inputs, given.weights, given.begin, None, Setting(fla=True))
    plain = program.run(given.inputs, given.weights, given.begin, None, Setting())
    torch.testing.assert_close(found[0], plain[0], rtol=0, atol=0)
    torch.testing.assert_close(again[0], plain[0], rtol=0, atol=0)
    assert standin["calls"] == 1


def test_reasons(standin: dict[str, Any]) -> None:
    like = torch.empty(0)
    assert flash.fits("channels", like, 64, 512, False) == (False, "a head wider than 256")
    assert flash.fits("channels", like, 64, 64, True) == (False, "sequences of different lengths")
    assert "float64" in flash.fits("channels", like.double(), 64, 64, False)[1]
    assert "float32" in flash.fits("delta", like, 64, 64, False)[1]


def test_without_the_package() -> None:
    ok, reason = flash.fits("channels", torch.empty(0), 64, 64, False)
    assert not ok
    assert "cpu" in reason
