"""Rows on gates and noise: GLU variants, stochastic gates, stochastic activations."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import archdsl
from archdsl.training.reinforce import Baseline, surrogate
from tests.catalogue.reference import IMPORTS, block, falls, lin

LOGITS = torch.tensor([-1.5, -0.4, 0.0, 0.3, 0.9, 2.0], dtype=torch.float64)
MANY = 100_000


def built(use: str, shape: str = "[6]", outputs: str = "") -> Any:
    return archdsl.parse(f"{IMPORTS}arch A {{ in x: {shape}; return x -> it: {use} }}").build(dtype="float64")


# ---- glu_variants


@pytest.mark.row("glu_variants")
def test_plain_and_gated_layers_have_4718592_parameters() -> None:
    for use in ("FFN(3072, bias=false)", "GLU(2048)", "Bilinear(2048)", "ReGLU(2048)", "GEGLU(2048)", "SwiGLU(2048)"):
        spec = archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 768]; return x -> {use} }}")
        assert spec.parameters == 4_718_592


@pytest.mark.row("glu_variants")
@torch.no_grad()
def test_bilinear_is_quadratic_and_the_others_meet_far_out() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    bilinear, _ = block("Bilinear(6)")
    torch.testing.assert_close(bilinear(2 * x), 4 * bilinear(x))
    outs = []
    for use in ("ReGLU(6)", "GEGLU(6)", "SwiGLU(6)"):
        model, w = block(use)
        for i, p in enumerate(w.values()):
            p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=torch.Generator().manual_seed(i)))
        outs.append(model(1e4 * x))
    for other in outs[1:]:
        assert (other - outs[0]).abs().max() < 1e-5 * outs[0].abs().max()


@pytest.mark.row("glu_variants")
@pytest.mark.slow
@pytest.mark.parametrize("use", ["GLU(16)", "Bilinear(16)", "ReGLU(16)", "GEGLU(16)", "SwiGLU(16)"])
def test_gated_layers_learn_a_product(use: str) -> None:
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [4]; return x -> {use} -> linear(1) }}").build()
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    before, after = falls(model, lambda step: F.mse_loss(model(x), x[:, :1] * x[:, 1:2]), 200)
    assert after < 0.3 * before


# ---- stochastic-gates: with six gates every outcome can be written down

WEIGHTS = torch.tensor([0.7, -1.1, 0.4, 1.3, -0.6, 0.9], dtype=torch.float64)


def crooked(h: Tensor) -> Tensor:
    """A loss that no gate enters alone."""
    return (h @ WEIGHTS - 0.5).square() + h[..., 0] * h[..., 3]


def exact(loss: Any) -> Tensor:
    """dE[loss]/dlogits, by listing all 64 outcomes."""
    a = LOGITS.clone().requires_grad_()
    p = torch.sigmoid(a)
    total = sum(
        torch.stack([p[i] if bit else 1 - p[i] for i, bit in enumerate(bits)]).prod() * loss(torch.tensor(bits, dtype=torch.float64))
        for bits in itertools.product((0, 1), repeat=6)
    )
    return torch.autograd.grad(total, a)[0]


@pytest.mark.row("stochastic-gates")
def test_reinforce_is_unbiased_and_the_baseline_lowers_its_variance() -> None:
    model = built("Fire")
    a = LOGITS.repeat(MANY, 1).requires_grad_()
    h, logp = model(a)
    baseline = Baseline(keep=0.9)
    for part in range(20):  # what earlier batches would have told
        some = slice(part * 500, part * 500 + 500)
        baseline.update(crooked(h[some].detach()), logp[some].detach())
    spreads = []
    for given in (None, baseline):
        (each,) = torch.autograd.grad(surrogate(crooked(h), logp, given) * MANY, a, retain_graph=True)
        error = each.std(0) / MANY**0.5
        assert ((each.mean(0) - exact(crooked)).abs() < 4.5 * error).all()
        spreads.append(each.var(0).sum())
    assert spreads[1] < 0.8 * spreads[0]
    torch.testing.assert_close(logp.detach(), torch.where(h > 0.5, torch.sigmoid(LOGITS), 1 - torch.sigmoid(LOGITS)).log())


def mean_gradient(use: str) -> tuple[Tensor, Tensor]:
    """Mean gate and mean gradient of the linear loss h . WEIGHTS, over many draws."""
    model = built(use)
    a = LOGITS.repeat(MANY, 1).requires_grad_()
    h = model(a)
    (grad,) = torch.autograd.grad((h @ WEIGHTS).sum(), a)
    return h.detach().mean(0), grad.mean(0)


@pytest.mark.row("stochastic-gates")
def test_straight_through() -> None:
    p = torch.sigmoid(LOGITS)
    for use, expected in (("StraightThrough(true)", exact(lambda h: h @ WEIGHTS)), ("StraightThrough", WEIGHTS)):
        h, grad = mean_gradient(use)
        assert (h - p).abs().max() < 0.01
        torch.testing.assert_close(grad, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.row("stochastic-gates")
def test_stochastic_times_smooth_gives_p_and_half_the_gradient() -> None:
    h, grad = mean_gradient("StochasticTimesSmooth")
    assert (h - torch.sigmoid(LOGITS)).abs().max() < 0.01
    assert (grad - exact(lambda h: h @ WEIGHTS) / 2).abs().max() < 0.01


@pytest.mark.row("stochastic-gates")
def test_noisy_rectifier_has_exact_zeros_where_its_slope_is_zero() -> None:
    x = torch.randn(1000, 6, dtype=torch.float64, requires_grad=True)
    y = built("NoisyReLU(0.5)")(x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, (y > 0).double())
    assert 0.3 < (y == 0).double().mean() < 0.7
    assert (y[(x < 0)] > 0).any()


@pytest.mark.row("stochastic-gates")
def test_groups_whose_gate_is_zero_are_left_out() -> None:
    more = "act shut(x) = if x > 0 then 1 else 0 backward 1"
    model, w = block("ConditionalFFN(12, 3, shut)", more=more)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    gates = (lin(w, "gater_out", torch.tanh(lin(w, "gater_in", x))) > 0).double()
    assert 0 < gates.mean() < 1
    ran: list[int] = []
    experts = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList))
    for expert in experts:
        expert.register_forward_hook(lambda m, a, out: ran.append(a[0].numel() // 8))
    out = model(x)
    parts = [n.removesuffix("fc_in.weight") for n in w if n.endswith("fc_in.weight")]
    dense = sum(gates[..., i : i + 1] * lin(w, f"{n}fc_out", torch.relu(lin(w, f"{n}fc_in", x))) for i, n in enumerate(parts))
    torch.testing.assert_close(out, dense)
    assert sum(ran) == gates.sum()


@pytest.mark.row("stochastic-gates")
@pytest.mark.slow
@pytest.mark.parametrize("gate", ["StraightThrough", "StraightThrough(true)", "StochasticTimesSmooth"])
def test_gated_groups_learn(gate: str) -> None:
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 4]; return x -> ConditionalFFN(32, 4, {gate}, rate=0.5) }}").build()
    torch.manual_seed(0)
    x = torch.randn(4, 64, 4)
    before, after = falls(model, lambda step: F.mse_loss(model(x), x.abs()), 200)
    assert after < 0.6 * before


# ---- stochastic_activation

GRID = torch.linspace(-4, 4, 33, dtype=torch.float64)


@pytest.mark.row("stochastic_activation")
@pytest.mark.parametrize("region", ["negative", "all"])
@pytest.mark.parametrize("once", ["entry", "position", "sample"])
def test_the_mean_over_draws(region: str, once: str) -> None:
    model = built(f'SiluOrRelu(0.7, "{region}", "{once}")', "[1, 33]")
    mean = model(GRID.expand(20_000, 1, 33)).mean(0)[0]
    expected = 0.7 * F.silu(GRID) + 0.3 * F.relu(GRID) if region == "all" else torch.where(GRID > 0, GRID, 0.7 * F.silu(GRID))
    assert (mean - expected).abs().max() < 0.01


@pytest.mark.row("stochastic_activation")
def test_draws_are_shared_as_asked() -> None:
    x = -torch.ones(500, 2, 33, dtype=torch.float64)
    for once, kinds in (("entry", 500 * 2 * 33), ("position", 1000), ("sample", 500)):
        zero = (built(f'SiluOrRelu(0.5, once="{once}")', "[2, 33]")(x) == 0).double()
        rows = {"entry": zero.flatten(), "position": zero.mean(-1).flatten(), "sample": zero.mean((1, 2))}[once]
        assert rows.numel() == kinds
        assert set(rows.tolist()) == {0.0, 1.0}
        assert abs(rows.mean() - 0.5) < 0.12


@pytest.mark.row("stochastic_activation")
def test_ends_seeds_and_what_is_left_after_the_switch() -> None:
    assert torch.equal(built('SiluOrRelu(0.0, "all")', "[33]")(GRID[None]), F.relu(GRID)[None])
    assert torch.equal(built('SiluOrRelu(1.0, "all")', "[33]")(GRID[None]), F.silu(GRID)[None])
    model = built("StochasticActivation(0.7)", "[33]").train()
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(model(GRID.expand(8, 33)))
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    model.eval()
    assert torch.equal(model(GRID[None]), F.relu(GRID)[None])
    assert (model(GRID[None]) == 0).double().mean() == (GRID <= 0).double().mean()
    soft = built("StochasticActivation(0.7, softened(0.7))", "[33]").eval()
    torch.testing.assert_close(soft(GRID[None])[0], torch.where(GRID > 0, GRID, 0.7 * F.silu(GRID)))


@pytest.mark.row("stochastic_activation")
@torch.no_grad()
def test_zeros_can_be_skipped_exactly() -> None:
    model, w = block("FFN(64, StochasticActivation)")
    x = torch.randn(8, dtype=torch.float64)
    hidden = F.relu(w["fc_in.weight"] @ x + w["fc_in.bias"])
    awake = hidden.nonzero().squeeze(-1)
    assert len(awake) < 64
    torch.testing.assert_close(model(x[None, None])[0, 0], w["fc_out.weight"][:, awake] @ hidden[awake] + w["fc_out.bias"])


@pytest.mark.row("stochastic_activation")
@pytest.mark.slow
def test_trains_with_draws_and_works_with_relu() -> None:
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [4]; return x -> FFN(64, StochasticActivation(0.7)) -> linear(1) }}").build()
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    y = x.abs().sum(-1, keepdim=True)
    before, _ = falls(model, lambda step: F.mse_loss(model(x), y), 200)
    model.eval()
    falls(model.eval(), lambda step: F.mse_loss(model.eval()(x), y), 20, lr=1e-3)  # the last tenth with relu
    assert F.mse_loss(model.eval()(x), y) < 0.1 * before
