"""Rows on norms and residuals: RMSNorm, layer normalisation, Mix-LN, Dual PatchNorm, LAuReL."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from tests.catalogue.reference import block, copying, decoded, falls, lin, moved, same

X = torch.randn(3, 5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

# ---- rmsnorm


@pytest.mark.row("rmsnorm")
@pytest.mark.parametrize(
    ("use", "formula"),
    [
        ("rmsnorm(eps=1e-6)", lambda x, w: x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * w["rmsnorm.weight"]),
        ("rmsnorm(eps=1e-8, outside=true)", lambda x, w: x / (x.square().mean(-1, keepdim=True).sqrt() + 1e-8) * w["rmsnorm.weight"]),
        (
            "rmsnorm(partial=0.4, bias=true)",
            lambda x, w: x / (x[..., :3].square().mean(-1, keepdim=True) + 1e-6).sqrt() * w["rmsnorm.weight"] + w["rmsnorm.bias"],
        ),
        ("rmsnorm(axis=0, scale=false)", lambda x, w: x / (x.square().mean(1, keepdim=True) + 1e-6).sqrt()),
    ],
)
def test_rms_norm_and_its_options(use: str, formula: Any) -> None:
    model, w = block(use)
    named = {f"rmsnorm.{n.rpartition('.')[2]}": p for n, p in w.items()}
    x = X.clone().requires_grad_()
    same(model(x), formula(x, named), x, *w.values())


@pytest.mark.row("rmsnorm")
def test_scale_does_not_matter_shifts_do_and_without_a_mean_it_is_layer_norm() -> None:
    model, _ = block("rmsnorm(eps=1e-12, scale=false)")
    torch.testing.assert_close(model(7.5 * X), model(X))
    layer = F.layer_norm(X, (8,), eps=1e-12)
    assert (model(X) - layer).abs().max() > 0.1
    centred = X - X.mean(-1, keepdim=True)
    torch.testing.assert_close(model(centred), layer)


@pytest.mark.row("rmsnorm")
def test_partial_norm_looks_at_the_first_features_only() -> None:
    whole, _ = block("rmsnorm(partial=1)", move=0)
    plain, _ = block("rmsnorm", move=0)
    assert torch.equal(whole(X), plain(X))
    model, _ = block("rmsnorm(partial=0.4, scale=false)")
    other = X.clone()
    other[..., 3:] *= 100
    assert torch.equal(model(other)[..., :3], model(X)[..., :3])
    other[..., 2] *= 100
    assert not torch.allclose(model(other)[..., :2], model(X)[..., :2])


@pytest.mark.row("rmsnorm", "approx-bp")
@pytest.mark.parametrize("saves", ["input", "output"])
def test_gradient_is_the_closed_form(saves: str) -> None:
    model, _ = block(f'rmsnorm(eps=1e-8, scale=false, saves="{saves}")')
    x = X.clone().requires_grad_()
    g = torch.randn_like(x)
    (grad,) = torch.autograd.grad(model(x), x, g)
    rms = (X.square().mean(-1, keepdim=True) + 1e-8).sqrt()
    y = X / rms
    torch.testing.assert_close(grad, (g - y * (g * y).mean(-1, keepdim=True)) / rms, rtol=1e-10, atol=1e-12)


@pytest.mark.row("rmsnorm")
def test_gradients_of_the_matrix_before_it_shrink_as_the_matrix_grows() -> None:
    model, w = block("linear(8, bias=false) -> rmsnorm(eps=1e-12)", move=0)
    matrix = w["weight"]
    found = []
    for a in (1.0, 4.0):
        (grad,) = torch.autograd.grad((model(X) * torch.arange(8)).sum(), matrix)
        found.append(grad.norm() * a)
        with torch.no_grad():
            matrix.mul_(4)
    torch.testing.assert_close(found[0], found[1], rtol=1e-8, atol=0)


# ---- layernorm


@pytest.mark.row("layernorm")
def test_layer_norm_is_torchs_and_each_of_its_parts() -> None:
    for use, scale, bias in (
        ("layernorm", True, True),
        ("layernorm(bias=false)", True, False),
        ("layernorm(scale=false, bias=false)", False, False),
    ):
        model, w = block(use)
        named = {n.rpartition(".")[2]: p for n, p in w.items()}
        assert (("weight" in named), ("bias" in named)) == (scale, bias)
        x = X.clone().requires_grad_()
        same(model(x), F.layer_norm(x, (8,), named.get("weight"), named.get("bias")), x, *w.values())


@pytest.mark.row("layernorm")
def test_scaling_and_shifting_all_weights_of_a_layer_changes_nothing() -> None:
    """LN(delta W x + 1 (gamma . x)) = LN(W x), and each case may be scaled by itself."""
    model, _ = block("layernorm(eps=1e-12, scale=false, bias=false)")
    weight, gamma = torch.randn(8, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    torch.testing.assert_close(model(X @ (2.5 * weight + gamma).mT), model(X @ weight.mT))
    torch.testing.assert_close(model(X * torch.rand(3, 5, 1).double().add(0.5)), model(X))
    one = weight.clone()
    one[0] *= 3
    assert (model(X @ one.mT) - model(X @ weight.mT)).abs().max() > 0.1


@pytest.mark.row("layernorm")
@pytest.mark.parametrize("cell", ["elman_layernorm", "lstm_layernorm", "gru_layernorm"])
def test_cells_with_layer_norm_step_as_they_run(cell: str) -> None:
    """Each step against its equations is in tests/specs/test_scans.py."""
    model, _ = block(f"{cell}(6)")
    assert (decoded(model, X, 2) - model(X)).abs().max() < 1e-12


@pytest.mark.row("layernorm")
def test_lstm_with_layer_norm_is_its_equations() -> None:
    model, w = block("lstm_layernorm(6)")
    x = X.clone().requires_grad_()

    def norm(name: str, a: Tensor) -> Tensor:
        y = (a - a.mean(-1, keepdim=True)) / (a.var(-1, correction=0, keepdim=True) + 1e-5).sqrt() * w[f"{name}.weight"]
        return y + w[f"{name}.bias"] if f"{name}.bias" in w else y

    h = c = x.new_zeros(3, 6)
    out = []
    for t in range(5):
        i, f, g, o = (norm("input_norm", lin(w, "input", x[:, t])) + norm("recurrent_norm", lin(w, "recurrent", h))).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(norm("cell_norm", c))
        out.append(h)
    same(model(x), torch.stack(out, 1), x, *w.values(), tolerance=1e-8)


@pytest.mark.row("layernorm")
@pytest.mark.slow
def test_lstm_with_layer_norm_learns() -> None:
    text = 'import "std/scans.arch"\narch A { in tokens: int[T]; return tokens -> embedding(11, 32) -> lstm_layernorm(32) -> linear(11) }'
    model = archdsl.parse(text).build()
    before, after = falls(model, copying(model, 11), 60)
    assert after < 0.3 * before


# ---- mix-ln

MIX: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 4, "heads": 2, "hidden": 24}


@pytest.mark.row("mix-ln")
@pytest.mark.parametrize(("post", "kind"), [(0, "PreNorm"), (4, "PostNorm")])
def test_the_ends_are_the_two_parents_bit_for_bit(post: int, kind: str) -> None:
    text = f"""
import "std/residual.arch"
import "std/transformer.arch"
arch Plain {{
    in tokens: int[T]
    return tokens -> embed: embedding(11, 16)
        -> layers: repeat 4 {{ {kind}(Attention(2), rmsnorm) -> {kind}(SwiGLU(24), rmsnorm) }} -> norm: rmsnorm -> head: linear(11, bias=false)
}}
"""
    plain, mix = archdsl.parse(text).build(), archdsl.load("mix_ln", contracts=False, post=post, **MIX).build()
    plain.load_state_dict(mix.state_dict())
    tokens = torch.randint(0, 11, (2, 9))
    assert torch.equal(plain(tokens), mix(tokens))


@pytest.mark.row("mix-ln")
def test_each_layer_is_normalised_where_it_should_be() -> None:
    """A post-norm layer gives rows of mean square one before its gain; a pre-norm layer's sum does not."""
    model: Any = archdsl.load("mix_ln", contracts=False, **MIX).build(dtype="float64")
    seen: list[Tensor] = []
    for layer in model.layers:
        layer.register_forward_hook(lambda m, a, out: seen.append(out))
    model(torch.randint(0, 11, (2, 9)))
    assert [bool(torch.allclose(x.square().mean(-1), torch.ones(2, 9, dtype=x.dtype), atol=1e-2)) for x in seen] == [
        True,
        False,
        False,
        False,
    ]


def gradient_norms(post: int, seed: int, steps: int) -> Tensor:
    """Per layer, after some steps of training."""
    spec = archdsl.load("mix_ln", contracts=False, vocab=32, d=32, depth=12, heads=4, hidden=64, post=post)
    model: Any = spec.build(seed=seed)
    torch.manual_seed(seed)
    rows = torch.randint(0, 32, (16, 12))
    rows[:, 6:] = rows[:, :6]

    def loss(step: int) -> Tensor:
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    falls(model, loss, steps, lr=1e-3)
    model.zero_grad()
    loss(0).backward()
    return torch.stack([torch.stack([p.grad.norm() for p in layer.parameters()]).norm() for layer in model.layers])


@pytest.mark.row("mix-ln")
@pytest.mark.slow
def test_gradient_norms_of_mix_ln_are_flatter_than_those_of_both_parents() -> None:
    """Ratios of the largest to the smallest layer's gradient after 30 steps (the row asks for 200), the middle one of three seeds."""
    middle = {}
    for post in (0, 3, 12):
        norms = [gradient_norms(post, seed, 30) for seed in range(3)]
        middle[post] = sorted(float(n.max() / n.min()) for n in norms)[1]
    assert middle[3] < middle[0]
    assert middle[3] < middle[12]


# ---- dual-patchnorm

VIT: dict[str, Any] = {"patch": 8, "size": 32, "d": 12, "depth": 2, "heads": 2, "classes": 5}


def patches(image: Tensor, p: int) -> Tensor:
    return F.unfold(image, p, stride=p).mT  # [B, n, c p p]


@pytest.mark.row("dual-patchnorm")
def test_embedding_is_norm_linear_norm_and_a_convolution_without_norms() -> None:
    text = 'import "vision/vit.arch"\narch A { in x: [3, 32, 32]; return x -> Patches(8) -> before: layernorm -> embed: linear(12) -> after: layernorm }'
    model = moved(archdsl.parse(text).build(dtype="float64"))
    w = dict(model.named_parameters())
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    y = F.layer_norm(patches(image, 8), (192,), w["before.weight"], w["before.bias"])
    same(model(image), F.layer_norm(lin(w, "embed", y), (12,), w["after.weight"], w["after.bias"]), image, *w.values())
    plain = archdsl.parse('import "vision/vit.arch"\narch A { in x: [3, 32, 32]; return x -> Patches(8) -> embed: linear(12) }').build(
        dtype="float64"
    )
    v = dict(plain.named_parameters())
    conv = F.conv2d(image, v["embed.weight"].view(12, 3, 8, 8), v["embed.bias"], stride=8)
    torch.testing.assert_close(plain(image), conv.flatten(2).mT)


@pytest.mark.row("dual-patchnorm")
def test_brightness_and_contrast_of_patches_do_not_matter() -> None:
    model = moved(archdsl.load("vit", contracts=False, dual=True, **VIT).build(dtype="float64"))
    image = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    louder = image * torch.rand(2, 1, 4, 4).double().add(0.5).repeat_interleave(8, 2).repeat_interleave(8, 3) * 2 + 0.3
    assert (model(louder) - model(image)).abs().max() < 1e-4
    plain = archdsl.load("vit", contracts=False, **VIT).build(dtype="float64")
    assert (plain(louder) - plain(image)).abs().max() > 1e-3


@pytest.mark.row("dual-patchnorm")
def test_vit_counts() -> None:
    assert archdsl.load("vit").parameters == 86_567_656
    assert archdsl.load("vit", dual=True).parameters == 86_567_656 + 2 * 3 * 16**2 + 2 * 768 == 86_570_728


@pytest.mark.row("dual-patchnorm")
@pytest.mark.slow
def test_vit_with_dual_patch_norm_learns() -> None:
    model = archdsl.load("vit", contracts=False, dual=True, **VIT).build()
    torch.manual_seed(0)
    x, kinds = torch.randn(16, 3, 32, 32), torch.arange(16) % 5
    before, after = falls(model, lambda step: F.cross_entropy(model(x), kinds), 60)
    assert after < 0.3 * before


# ---- laurel


def low(w: dict[str, Tensor], x: Tensor) -> Tensor:
    return lin(w, "up", lin(w, "down", x))


@pytest.mark.row("laurel")
@pytest.mark.parametrize(("use", "extra"), [("", 2), (", 3", 2 + 2 * 3 * 8), (", 3, weighted=false", 2 * 3 * 8)])
def test_laurel_is_its_equation_with_the_papers_parameters(use: str, extra: int) -> None:
    model, w = block(f"Laurel(linear(8){use})")
    assert sum(p.numel() for p in model.parameters()) == 72 + extra
    x = X.clone().requires_grad_()
    a, b = 2 * w["param"].softmax(0) if "param" in w else (1.0, 1.0)
    skip = x + low(w, x) if "up.weight" in w else x
    same(model(x), a * lin(w, "f", x) + b * skip, x, *w.values())


@pytest.mark.row("laurel")
@pytest.mark.parametrize("use", ["Laurel(linear(8))", "Laurel(linear(8), 3)"])
def test_at_the_start_it_is_the_plain_residual_bit_for_bit(use: str) -> None:
    model, w = block(use, move=0)
    assert torch.equal(model(X), lin(w, "f", X) + X)


PAST = """
arch A {
    in x: [T, 8]
    y, _ = (x, zeros([2, T, 8])) -> layers: repeat 4 { in x, past; return LaurelPast(linear(8), 3)(x, past) }
    return y
}
"""


@pytest.mark.row("laurel")
def test_previous_activations_are_weighed_and_only_the_last_are_kept() -> None:
    from tests.catalogue.reference import IMPORTS

    model = moved(archdsl.parse(IMPORTS + PAST).build(dtype="float64"))
    x = X.clone().requires_grad_()
    states = [x]
    w = dict(model.named_parameters())
    for i in range(4):
        own = {n.removeprefix(f"layers.{i}.LaurelPast."): p for n, p in w.items() if n.startswith(f"layers.{i}.")}
        inner = {n.removeprefix("Laurel."): p for n, p in own.items()}
        a, b = 2 * inner["param"].softmax(0)
        y = a * lin(inner, "f", states[-1]) + b * states[-1]
        for gamma, earlier in zip(own["gamma"].flip(0), states[:-1][::-1]):
            y = y + gamma * low(own, earlier)
        states.append(y)
    used = [p for n, p in w.items() if not n.startswith("layers.0.LaurelPast.") or n.split("LaurelPast.")[1].startswith("Laurel.")]
    same(model(x), states[-1], x, *used)


@pytest.mark.row("laurel")
def test_gemmas_form() -> None:
    model, w = block("LaurelNormed(linear(8), 3)")
    x = X.clone().requires_grad_()
    n = F.rms_norm(x, (8,), w["norm.weight"], 1e-6)
    post = F.rms_norm(low(w, n), (8,), w["post_norm.weight"], 1e-6)
    same(model(x), (x + lin(w, "f", n) + n + post) / 2**0.5, x, *w.values())


@pytest.mark.row("laurel")
@pytest.mark.slow
def test_a_deep_net_trains_at_least_as_fast_as_with_plain_sums() -> None:
    def after(around: str) -> float:
        from tests.catalogue.reference import IMPORTS

        text = f"{IMPORTS}arch A {{ in x: [8]; return x -> repeat 24 {{ {around} }} -> linear(1) }}"
        model: nn.Module = archdsl.parse(text).build()
        torch.manual_seed(0)
        x = torch.randn(256, 8)
        y = (x[:, :1] * x[:, 1:2]).sin()
        return falls(model, lambda step: F.mse_loss(model(x), y), 150, lr=3e-3)[1]

    plain, learned = after("residual(layernorm -> FFN(16))"), after("Laurel(layernorm -> FFN(16), 2)")
    assert learned < 1.2 * plain
