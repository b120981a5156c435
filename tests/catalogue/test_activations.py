"""Rows on activations: formulas, slopes and landmarks against torch and the papers; what the survey's table says against what is measured.

That every act equals an independent formula in value, slope and extremes is tested in tests/graph/test_acts.py.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.analysis.activations import Curve, fixed_point, library, moments, properties
from archdsl.analysis.entropy import correction, entropy_gain
from tests.catalogue.reference import IMPORTS, block, falls, kept_bytes, moved, same
from tests.pages import writer

ROOT = Path(__file__).parents[2]
GRID = torch.linspace(-20, 20, 401, dtype=torch.float64) + 0.0137


def act(use: str, shape: str = "[d]") -> Any:
    return archdsl.parse(f"{IMPORTS}arch A {{ in x: {shape}; return x -> {use} }}").build(dtype="float64").eval()


def slope(model: Any, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x[None]).sum(), x)[0]


def equal(use: str, theirs: Any, x: Tensor = GRID) -> None:
    x = x.clone().requires_grad_()
    same(act(use)(x[None])[0], theirs(x), x, tolerance=1e-9)


# ---- elu, selu


@pytest.mark.row("elu")
def test_elu_is_torchs_with_a_continuous_slope_only_at_one() -> None:
    equal("elu", F.elu)
    equal("elu(0.3)", lambda x: F.elu(x, 0.3))
    assert properties(library()["elu"]).smooth == 1
    near = torch.tensor([-1e-9, 1e-9], dtype=torch.float64)
    assert slope(act("elu(0.3)"), near).tolist() == pytest.approx([0.3, 1])
    assert act("elu(0.3)")(torch.tensor([[-50.0]]).double()).item() == pytest.approx(-0.3)
    y = act("elu")(GRID[None])[0]
    torch.testing.assert_close(slope(act("elu"), GRID), torch.where(GRID > 0, 1.0, y + 1).double())  # from the output alone


@pytest.mark.row("elu")
def test_units_of_an_elu_net_are_nearer_zero_on_average() -> None:
    def mean(use: str) -> float:
        torch.manual_seed(0)
        x, total = torch.randn(2048, 128), 0.0
        for _ in range(8):
            x = act(use)(x.double() @ torch.randn(128, 128).double() * (2 / 128) ** 0.5)
            total += abs(x.mean().item())
        return total

    assert mean("elu") < mean("relu")


@pytest.mark.row("selu")
def test_selu_and_its_fixed_point() -> None:
    equal("selu", F.selu)
    mean, variance = moments(Curve(library()["selu"]))
    assert abs(mean) < 1e-6 and abs(variance - 1) < 1e-6
    for start in ((0.0, 0.5), (0.0, 2.0)):
        m, v = start
        for _ in range(100):
            m, v = moments(Curve(library()["selu"]), 0.0, v + m * m)
        assert abs(m) < 1e-3 and abs(v - 1) < 1e-3
    assert fixed_point(Curve(library()["relu"]), 32)[1] < 1e-8


@pytest.mark.row("selu")
def test_alpha_dropout_keeps_mean_and_variance_and_takes_two_values_where_it_drops() -> None:
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [d]; return x -> AlphaDropout(0.1) }}").build(dtype="float64").train()
    torch.manual_seed(0)
    x = F.selu(torch.randn(200, 5000, dtype=torch.float64))
    y, theirs = model(x), nn.AlphaDropout(0.1).train()(x)
    for z in (y, theirs):
        assert abs(z.mean()) < 0.01 and abs(z.var() - 1) < 0.02
    low = y[~torch.isclose((y - y.min()).abs() * 0 + y, x * ((y - y.min()) * 0 + 1))].min()
    assert low.item() == pytest.approx(theirs.min().item(), rel=1e-6)
    torch.testing.assert_close(model.eval()(x), x)


@pytest.mark.row("selu")
def test_a_deep_random_net_normalises_itself_where_relu_collapses() -> None:
    spec = archdsl.load("snn", inputs=512, hidden=512, depth=32, p=0)
    model: Any = spec.build()
    assert [float(m.weight.var() * 512) for n, m in model.named_modules() if n.endswith("linear")] == pytest.approx([1.0] * 32, abs=0.05)
    torch.manual_seed(0)
    for variance in (0.5, 1.0, 2.0):
        x = y = torch.randn(128, 512) * variance**0.5
        for layer in model.layers:
            x = layer(x)
            y = F.relu(F.linear(y, next(layer.parameters())))
        assert abs(x.mean()) < 0.2 and 0.7 < x.var() < 1.4
        assert y.var() < 1e-6


@pytest.mark.row("selu")
@pytest.mark.slow
def test_snn_learns() -> None:
    model = archdsl.load("snn", inputs=8, hidden=32, depth=16, classes=2).build()
    torch.manual_seed(0)
    x = torch.randn(128, 8)
    before, after = falls(model, lambda step: F.cross_entropy(model(x), (x[:, 0] * x[:, 1] > 0).long()), 400, lr=1e-3)
    assert after < 0.5 * before


# ---- prelu and He's initialisation


@pytest.mark.row("prelu-he")
def test_prelu_is_torchs_in_value_and_gradients() -> None:
    for use, count in (("prelu(axis=0)", 5), ("prelu_shared", 1)):
        model, w = block(use, "[5, H, W]")
        x = torch.randn(2, 5, 3, 4, dtype=torch.float64, requires_grad=True)
        (a,) = w.values()
        assert a.numel() == count
        same(model(x), F.prelu(x, a.view(-1)), x, a)
        with torch.no_grad():
            assert torch.equal(F.relu(x), (a.zero_(), model(x))[1])
            assert torch.equal(x, (a.fill_(1), model(x))[1])


@pytest.mark.row("prelu-he")
def test_fourteen_layers_and_thirteen_slopes() -> None:
    counts = {act: archdsl.load("prelu_net", **({"act": act} if act else {})).parameters for act in ("relu", "prelu_shared", "")}
    assert counts["prelu_shared"] - counts["relu"] == 13
    assert counts[""] - counts["relu"] == 64 + 4 * 128 + 6 * 256 + 2 * 4096
    assert len([n for n in archdsl.load("prelu_net").weight_shapes if n.endswith("weight")]) == 14


@pytest.mark.row("prelu-he")
def test_the_optimizer_never_decays_slopes() -> None:
    from archdsl.training.config import TrainConfig
    from archdsl.training.loop import optimizer_for

    model = archdsl.load("prelu_net", contracts=False, width=4, hidden=8, levels=[2, 1], classes=3).build(device="meta")
    slopes = {id(p) for n, p in model.named_parameters() if n.endswith(".a")}
    decayed = {id(p) for g in optimizer_for(model, TrainConfig()).param_groups if g["weight_decay"] for p in g["params"]}
    assert len(slopes) == 13 and not slopes & decayed


@pytest.mark.row("prelu-he")
def test_he_initialisation_holds_the_variance_through_fifty_layers() -> None:
    def variance(init: str, a: float) -> float:
        use = f"repeat 50 {{ linear(256, weight ~ {init}, bias ~ zeros) -> leaky_relu({a}) }}"
        torch.manual_seed(0)
        spec = archdsl.parse(f"arch A {{ in x: [256]; return x -> {use} }}")
        return sum(spec.build(seed=s)(torch.randn(64, 256)).var().item() for s in range(2)) / 2

    assert 0.1 < variance("kaiming_normal", 0.0) < 10
    assert 0.1 < variance("kaiming_normal(0.25)", 0.25) < 10
    assert 2**-57 < variance("lecun_normal", 0.0) < 2**-43
    out = archdsl.parse('arch A { in x: [64]; return x -> linear(256, weight ~ kaiming_normal(0, "out"), bias=false) }').build()
    assert next(out.parameters()).var().item() == pytest.approx(2 / 256, rel=0.05)


@pytest.mark.row("prelu-he")
@pytest.mark.slow
def test_prelu_net_learns() -> None:
    model = archdsl.load("prelu_net", contracts=False, width=8, hidden=32, levels=[2, 1], classes=4).build()
    torch.manual_seed(0)
    x, kinds = torch.randn(16, 3, 32, 32), torch.arange(16) % 4
    before, after = falls(model, lambda step: F.cross_entropy(model(x), kinds), 100, lr=1e-3)
    assert after < 0.5 * before


# ---- smooth ones


@pytest.mark.row("mish")
def test_mish_is_torchs_in_every_dtype_with_its_landmarks() -> None:
    equal("mish", F.mish)
    p = properties(library()["mish"])
    assert p.minimum == pytest.approx((-1.192431, -0.308843), abs=1e-5)
    assert slope(act("mish"), torch.zeros(1).double()).item() == 0.6
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        x = torch.linspace(-30, 30, 999).to(dtype)
        model = archdsl.parse("arch A { in x: [d]; return x -> mish }").build(dtype=dtype)
        torch.testing.assert_close(model(x[None])[0], F.mish(x), rtol=torch.finfo(dtype).eps * 2, atol=0)


@pytest.mark.row("golu")
def test_golu_formula_landmarks_and_extremes() -> None:
    equal("golu", lambda x: x * torch.exp(-torch.exp(-x)), GRID[GRID > -6])
    equal("golu(0.8, 1.5, 0.5)", lambda x: 0.8 * x * torch.exp(-1.5 * torch.exp(-0.5 * x)), GRID[GRID > -12])
    p = properties(library()["golu"])
    assert p.minimum == pytest.approx((-0.567143, -0.09726), abs=1e-4)
    slopes = slope(act("golu"), torch.linspace(0, 5, 5001, dtype=torch.float64))
    assert slopes[0].item() == pytest.approx(1 / math.e)
    assert slopes.max().item() == pytest.approx(1.113397, abs=1e-6)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        model = archdsl.parse("arch A { in x: [d]; return x -> golu }").build(dtype=dtype)
        x = torch.tensor([[-1e4, -100.0, -11.0, -0.0, 11.0, 1e4]], dtype=dtype, requires_grad=True)
        y = model(x)
        y.sum().backward()
        assert y.isfinite().all() and x.grad is not None and x.grad.isfinite().all()


@pytest.mark.row("smelu")
def test_smelu_nears_relu_and_its_predictions_are_repeatable() -> None:
    for beta in (0.1, 1.0):
        gap = (act(f"smelu({beta})")(GRID[None]) - F.relu(GRID)).abs()
        assert gap.max() <= beta / 4 + 1e-12
    equal("gsmelu(0.5, 0.5)", lambda x: torch.where(x.abs() <= 0.5, (x + 0.5) ** 2 / 2, F.relu(x)))
    assert properties(library()["smelu"]).smooth == 1 and properties(library()["relu"]).smooth == 0


def predictions(use: str, seed: int, shuffle: int, steps: int = 60) -> Tensor:
    """A small classifier's probabilities on held-out points after training."""
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [4]; return x -> linear(24) -> {use} -> linear(24) -> {use} -> linear(1) }}").build(
        seed=seed
    )
    torch.manual_seed(0)
    x, held = torch.randn(256, 4), torch.randn(200, 4)
    y = ((x[:, :1] * x[:, 1:2] + x[:, 2:3]) > 0).float()

    def loss(step: int) -> Tensor:
        chosen = torch.randperm(256, generator=torch.Generator().manual_seed(1000 * shuffle + step))[:64]
        return F.binary_cross_entropy_with_logits(model(x[chosen]), y[chosen])

    falls(model, loss, steps)
    return torch.sigmoid(model(held)).detach()


def difference(runs: list[Tensor]) -> float:
    """The mean gap of two models' predictions for one example."""
    pairs = [(a, b) for i, a in enumerate(runs) for b in runs[:i]]
    return sum(float((a - b).abs().mean()) for a, b in pairs) / len(pairs)


@pytest.mark.row("smelu")
@pytest.mark.slow
def test_equal_seeds_give_equal_predictions_and_smooth_units_differ_less() -> None:
    assert difference([predictions("smelu", 0, 0, 20), predictions("smelu", 0, 0, 20)]) == 0
    gaps = {use: difference([predictions(use, s, s, 400) for s in range(6)]) for use in ("relu", "smelu(1.0)")}
    print(gaps)
    assert gaps["smelu(1.0)"] < gaps["relu"]  # about 0.7 times


@pytest.mark.row("sau")
def test_sau_is_furthest_from_leaky_relu_at_zero() -> None:
    for a, b in ((0.25, 1.0), (0.1, 3.0)):
        gap = (act(f"sau({a}, {b})")(GRID[None])[0] - F.leaky_relu(GRID, a)).abs()
        top = (1 - a) / (b * math.sqrt(2 * math.pi))
        assert act(f"sau({a}, {b})")(torch.zeros(1, 1).double()).item() == pytest.approx(top)
        assert gap.max() <= top
        derivative = (1 + a) / 2 + (1 - a) / 2 * torch.erf(b * GRID / math.sqrt(2))
        torch.testing.assert_close(slope(act(f"sau({a}, {b})"), GRID), derivative)


# ---- polycom


@pytest.mark.row("polycom")
def test_polynorm_is_its_equation_and_blind_to_scale() -> None:
    model, w = block("PolyNorm", "[8]")
    x = torch.randn(4, 8, dtype=torch.float64, requires_grad=True)
    a = w["a"]

    def norm(v: Tensor) -> Tensor:
        return v / (v.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    same(model(x), a[0] + sum(a[i] * norm(x**i) for i in (1, 2, 3)), x, a)
    exact, _ = block("PolyNorm(3, 1e-14)", "[8]")
    torch.testing.assert_close(exact(3 * x), exact(x))
    assert archdsl.parse(f"{IMPORTS}arch A {{ in x: [8]; return x -> PolyNorm }}").build().state_dict().popitem()[
        1
    ].tolist() == pytest.approx([0, *[1 / 3] * 3])


@pytest.mark.row("polycom")
def test_equal_widths_cost_the_same_and_four_numbers() -> None:
    def count(use: str) -> int:
        return archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 2048]; return x -> {use} }}").parameters

    assert 5504 * 3 == 8256 * 2
    for unit in ("polyrelu", "PolyNorm"):
        assert count(f"FFN(8256, {unit}, bias=false)") == count("SwiGLU(5504)") + 4


@pytest.mark.row("polycom")
@pytest.mark.slow
def test_polyrelu_fits_a_cube_better_than_relu() -> None:
    def after(unit: str) -> float:
        spec = archdsl.parse(f"{IMPORTS}arch A {{ in x: [1]; return x -> linear(4) -> {unit} -> linear(1) }}")
        x, total = torch.linspace(-1.5, 1.5, 128)[:, None], 0.0
        for seed in range(4):
            model = spec.build(seed=seed)
            total += falls(model, lambda step, model=model: F.mse_loss(model(x), x**3), 600)[1]
        return total

    assert after("polyrelu") < 0.7 * after("relu")


# ---- crrelu and entropy


@pytest.mark.row("crrelu-eafo")
def test_crrelu_gradients() -> None:
    model, w = block("crrelu", "[d]")
    x, (eps,) = GRID.clone().requires_grad_(), w.values()
    same(model(x[None])[0], F.relu(x) + eps * x * torch.exp(-(x**2) / 2), x, eps)
    gx, ge = torch.autograd.grad(model(x[None]).sum(), (x, eps))
    torch.testing.assert_close(gx, (x > 0) + eps * (1 - x**2) * torch.exp(-(x**2) / 2))
    torch.testing.assert_close(ge, (x * torch.exp(-(x**2) / 2)).sum())


@pytest.mark.row("crrelu-eafo")
def test_the_correction_for_normal_inputs_is_the_papers() -> None:
    samples = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.0005, 0.9995, 1000)).tolist()
    at = [i / 4 for i in range(-10, 11)]
    found = correction(lambda x: 1.0, lambda x: 0.0, samples, at, width=0.1)
    paper = [x * math.exp(-x * x / 2) for x in at]
    factor = sum(f * p for f, p in zip(found, paper)) / sum(p * p for p in paper)
    assert factor == pytest.approx(1 / math.sqrt(2 * math.pi), rel=0.05)
    assert max(abs(f - factor * p) for f, p in zip(found, paper)) < 0.02 * factor


@pytest.mark.row("crrelu-eafo")
def test_the_normal_distribution_function_has_the_most_entropy() -> None:
    samples = torch.distributions.Normal(0.0, 1.0).icdf(torch.linspace(0.0005, 0.9995, 1000)).tolist()
    cdf = entropy_gain(lambda x: 2 / math.sqrt(2 * math.pi) * math.exp(-x * x / 2), samples)  # all from -1 to 1
    tanh = entropy_gain(lambda x: 1 - math.tanh(x) ** 2, samples)
    sigmoid = entropy_gain(lambda x: 2 * math.exp(-x) / (1 + math.exp(-x)) ** 2, samples)
    assert cdf > tanh and cdf > sigmoid
    assert entropy_gain(lambda x: float(x > 0), samples) == -math.inf


# ---- helu


@pytest.mark.row("helu")
def test_helu_with_a_margin_of_zero_is_relu_and_keeps_a_bit_an_entry() -> None:
    x = torch.randn(64, 100, dtype=torch.float64)
    assert torch.equal(slope(act("helu(0.0)"), x[0]), slope(act("relu"), x[0]))
    kept = {use: kept_bytes(partial(act(use), x.clone().requires_grad_())) for use in ("helu", "relu", "gelu")}
    assert kept["helu"] == 6400 // 8
    assert kept["relu"] == kept["gelu"] == 6400 * 8


@pytest.mark.row("helu")
def test_dead_units_come_back_with_helu_only() -> None:
    def moves(use: str) -> bool:
        model: Any = archdsl.parse(f"arch A {{ in x: [4]; return x -> inner: linear(8) -> {use} -> linear(1) }}").build()
        with torch.no_grad():
            model.inner.weight.zero_()
            model.inner.bias.fill_(-0.05)
        x = torch.randn(64, 4)
        falls(model, lambda step: F.mse_loss(model(x), x[:, :1].abs()), 100)
        return bool((model.inner.bias != -0.05).any())

    assert moves("helu(0.1)") and not moves("relu")


# ---- velu


@pytest.mark.row("velu")
def test_velu_is_its_formula_and_its_scale_is_bounded() -> None:
    model, w = block("VeLU(1.0, 0.7, 0.9, 0.3, 2.0)", "[T, 8]")
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    (scale,) = w.values()
    gate = torch.sigmoid(torch.atan(0.7 * x) + torch.asin((0.9 * x).clamp(1e-6 - 1, 1 - 1e-6)))
    louder = 1 + 0.3 * torch.tanh(2 * x.std((1, 2), correction=0, keepdim=True))
    assert ((louder >= 1) & (louder <= 1.3)).all()
    same(model(x), scale * x * gate * louder, x, scale)
    assert model(torch.zeros(1, 5, 8).double()).abs().max() == 0
    far = torch.tensor([[[-1e6, -1.0, -1 / 0.9, 0.0, 1 / 0.9, 1.0, 1e6, 1e3]]], dtype=torch.float64, requires_grad=True)
    model(far).sum().backward()
    assert far.grad is not None and far.grad.isfinite().all()


@pytest.mark.row("velu")
def test_velus_side_loss_is_zero_for_standardised_inputs() -> None:
    from archdsl.compiler.collect import collect_aux

    model, _ = block("VeLU(pull=1.0)", "[T, 8]")
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    z = (x - x.mean((1, 2), keepdim=True)) / x.std((1, 2), correction=0, keepdim=True)
    model.train()
    for given, expected in ((z, 0.0), (2 * z + 3, 3.0**2 + 1.0)):
        model(given)
        ((_, distance),) = collect_aux(model).items()
        assert distance.tolist() == pytest.approx([expected] * 2, abs=1e-12)


@pytest.mark.row("velu")
@pytest.mark.slow
def test_velu_learns() -> None:
    model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [T, 4]; return x -> FFN(32, VeLU) -> linear(1) }}").build()
    torch.manual_seed(0)
    x = torch.randn(8, 32, 4)
    before, after = falls(model, lambda step: F.mse_loss(model(x), x.abs().sum(-1, keepdim=True)), 200)
    assert after < 0.3 * before


# ---- approx-bp

STEPS = {"regelu2": (F.gelu, [0, -0.0492226, 1.0487406, 1.0]), "resilu2": (F.silu, [0, -0.0406036, 1.0403219, 1.0])}


@pytest.mark.row("approx-bp")
@pytest.mark.parametrize("use", STEPS)
def test_forward_is_exact_and_four_slopes_take_two_bits(use: str) -> None:
    torch_own, slopes = STEPS[use]
    x = torch.linspace(-8, 8, 1024)
    model = archdsl.parse(f"arch A {{ in x: [d]; return x -> {use} }}").build()
    assert torch.equal(model(x[None])[0], torch_own(x))
    found = slope(model, x).unique()
    assert found.tolist() == pytest.approx(sorted(slopes), abs=1e-6)
    assert kept_bytes(lambda: model(x[None].requires_grad_())) == 1024 * 2 // 8


@pytest.mark.row("approx-bp")
@pytest.mark.parametrize("kind", ["rmsnorm", "layernorm"])
def test_norms_that_keep_their_output_share_it_with_the_linear_layer(kind: str) -> None:
    off = "scale=false" if kind == "rmsnorm" else "scale=false, bias=false"
    usual, _ = block(f"{kind}({off}) -> linear(4)", "[T, 64]", move=0)
    shared, _ = block(f'{kind}({off}, saves="output") -> linear(4)', "[T, 64]", move=0)
    shared.load_state_dict(usual.state_dict())
    x = torch.randn(2, 50, 64, dtype=torch.float64, requires_grad=True)
    same(shared(x), usual(x), x, tolerance=1e-9)
    kept = [kept_bytes(lambda m=m: m(x * 1)) for m in (usual, shared)]
    assert kept[0] - kept[1] >= 0.9 * x.numel() * 8  # the norm's input


@pytest.mark.row("approx-bp")
@torch.no_grad()
def test_a_norms_scale_and_bias_can_be_part_of_the_next_layer() -> None:
    model, _ = block("layernorm -> second: linear(4)", "[T, 8]", move=0.3)
    bare, _ = block("layernorm(scale=false, bias=false) -> second: linear(4)", "[T, 8]")
    values = dict(model.named_parameters())
    gain, shift = values["it.weight"], values["it.bias"]
    merged = dict(bare.named_parameters())
    merged["second.weight"].copy_(values["second.weight"] * gain)
    merged["second.bias"].copy_(values["second.bias"] + values["second.weight"] @ shift)
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.testing.assert_close(bare(x), model(x))


@pytest.mark.row("approx-bp")
@pytest.mark.slow
def test_a_short_run_ends_as_well_as_with_the_true_slope() -> None:
    def after(unit: str) -> tuple[float, float]:
        model = archdsl.parse(f"{IMPORTS}arch A {{ in x: [4]; return x -> FFN(32, {unit}) -> linear(1) }}").build()
        torch.manual_seed(0)
        x = torch.randn(256, 4)
        return falls(model, lambda step: F.mse_loss(model(x), x[:, :1] * x[:, 1:2]), 300)

    (start, approximate), (_, true) = after("regelu2"), after("gelu")
    assert approximate < 0.2 * start
    assert approximate < 3 * true + 0.02


# ---- the survey

# What the survey says of its functions: range, monotone, smooth (at least once differentiable everywhere), symmetry.
SURVEY: dict[str, tuple[float, float, str, bool, str]] = {
    "sigmoid": (0, 1, "rising", True, ""), "tanh": (-1, 1, "rising", True, "odd"), "elliott": (0, 1, "rising", True, ""),
    "relu": (0, math.inf, "rising", False, ""), "leaky_relu": (-math.inf, math.inf, "rising", False, ""),
    "prelu_shared": (-math.inf, math.inf, "rising", False, ""), "elu": (-1, math.inf, "rising", True, ""),
    "selu": (-1.7581, math.inf, "rising", False, ""), "celu": (-1, math.inf, "rising", True, ""),
    "gelu": (-0.17, math.inf, "", True, ""), "softplus": (0, math.inf, "rising", True, ""), "swish": (-0.2785, math.inf, "", True, ""),
    "lisht": (0, math.inf, "", True, "even"), "srs": (-1.4162, 5, "", True, ""), "mish": (-0.3088, math.inf, "", True, ""),
    "pdelu": (-1, math.inf, "rising", True, ""), "scaled_tanh": (-1.7159, 1.7159, "rising", True, "odd"),
    "hardsigmoid": (0, 1, "rising", False, ""), "hardtanh": (-1, 1, "rising", False, "odd"), "isru": (-1, 1, "rising", True, "odd"),
    "isrlu": (-1, math.inf, "rising", True, ""), "softsign": (-1, 1, "rising", True, "odd"), "atan": (-math.pi / 2, math.pi / 2, "rising", True, "odd"),
    "relu_squared": (0, math.inf, "rising", True, ""), "relu6": (0, 6, "rising", False, ""), "brelu": (0, 1, "rising", False, ""),
    "elish": (-0.1716, math.inf, "", True, ""), "hardelish": (-0.0997, math.inf, "", False, ""), "pelu": (-1, math.inf, "rising", True, ""),
    "displaced_relu": (-1, math.inf, "rising", False, ""),
}  # fmt: skip


@pytest.mark.row("activation_survey")
@pytest.mark.parametrize("name", SURVEY)
def test_what_is_read_off_the_formula_is_what_the_survey_says(name: str) -> None:
    low, high, monotone, smooth, symmetry = SURVEY[name]
    p = properties(library()[name])
    assert (p.low, p.high) == pytest.approx((low, high), abs=1e-3)
    assert (p.monotone, p.smooth >= 1, p.symmetry) == (monotone, smooth, symmetry)


@pytest.mark.row("activation_survey")
def test_what_is_read_off_agrees_with_what_is_measured() -> None:
    """Range and monotony of the emitted function on [-20, 20], for every activation."""
    x = torch.linspace(-20, 20, 2001, dtype=torch.float64)
    for name, given in library().items():
        if len(given.inputs) > 1 or any(p.per_axis for p in given.learned):
            continue
        p, y = properties(given), act(name)(x[None])[0].detach()
        assert p.low - 1e-6 <= y.min() and y.max() <= p.high + 1e-3, name
        if p.monotone:
            steps = y.diff() if p.monotone == "rising" else -y.diff()
            assert (steps >= -1e-9).all(), name


@pytest.mark.row("activation_survey")
@torch.no_grad()
def test_units_that_look_beyond_one_entry() -> None:
    x = torch.randn(2, 5, 8, dtype=torch.float64)
    w: Any
    for use, formula in {
        "AverageBiasedReLU": lambda w: F.relu(x - x.mean((1, 2), keepdim=True)),
        "ConcatReLU": lambda w: torch.cat([F.relu(x), F.relu(-x)], -1),
        "ConcatReLU(0)": lambda w: torch.cat([F.relu(x), F.relu(-x)], 1),
        "PairedReLU": lambda w: torch.cat([F.relu(w["scale"][i] * x - w["at"][i]) for i in (0, 1)], -1),
        "Maxout(4)": lambda w: torch.stack([x[..., :4].amax(-1), x[..., 4:].amax(-1)], -1),
        "RandomizedReLU": lambda w: F.rrelu(x, training=False),
    }.items():
        model, w = block(use)
        torch.testing.assert_close(model(x), formula(w))
    two = archdsl.parse(f"{IMPORTS}arch A {{ in a: [d]; in b: [d]; return dual_relu(a, b) }}").build()
    torch.testing.assert_close(two(x[:, 0], x[:, 1]), F.relu(x[:, 0]) - F.relu(x[:, 1]))
    noisy, _ = block("RandomizedReLU(0.2, 0.3)")
    y = noisy.train()(-torch.ones(2000, 5, 8).double())
    assert y.min() >= -0.3 and y.max() <= -0.2 and abs(y.mean() + 0.25) < 1e-3


@pytest.mark.row("activation_survey")
def test_the_page_is_current() -> None:
    assert (ROOT / "docs" / "activations.md").read_text(encoding="utf-8") == writer("activations").page(), "run `make docs`"


@pytest.mark.row("activation_survey")
def test_edges_of_the_reading() -> None:
    assert properties(library()["hardshrink"]).smooth == -1
    assert properties(library()["silu"]).smooth == math.inf
    assert properties(library()["sine"]).minimum is None
    assert properties(library()["relu"]).flat == (True, False) and properties(library()["relu"]).kinks == (0.0,)
    with pytest.raises(ValueError, match="2 values"):
        Curve(archdsl_act("act f(a, b) = a * b"))


def archdsl_act(text: str) -> Any:
    from tests.graph.formulas import act as lowered

    return lowered(text)


@pytest.mark.row("activation_survey")
@pytest.mark.slow
@pytest.mark.parametrize(
    "unit",
    ["sigmoid", "elliott", "prelu_shared", "selu", "gelu", "swish", "lisht", "srs", "mish", "pau", "pdelu", "apl", "soft_exponential"],
)
def test_a_network_learns_with_it(unit: str) -> None:
    """The survey's comparison in small: only the activation differs, and learned parameters move."""
    model = moved(archdsl.parse(f"{IMPORTS}arch A {{ in x: [4]; return x -> FFN(32, {unit}) -> linear(1) }}").build(), 0)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    torch.manual_seed(0)
    x = torch.randn(256, 4)
    before, after = falls(model, lambda step: F.mse_loss(model(x), x[:, :1] * x[:, 1:2]), 250)
    assert after < 0.7 * before
    assert all(not torch.equal(p, start[n]) for n, p in model.named_parameters())
