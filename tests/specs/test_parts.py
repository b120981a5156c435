"""The library's blocks against their papers' formulas, written out in torch with the blocks' own weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl

CLOSE = 1e-10
Named = dict[str, Tensor]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(use: str, shape: str, *files: str) -> tuple[nn.Module, Named]:
    """A module that is one block, and its weights by their names within it, moved a little from where they begin."""
    imports = "\n".join(f'import "{f}.arch"' for f in files)
    model = archdsl.parse(f"{imports}\narch A {{ in x: {shape}; return x -> it: {use} }}").build(dtype="float64").eval()
    torch.manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model, {n.removeprefix("it."): p for n, p in model.named_parameters()}


def lin(w: Named, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def norm(w: Named, name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    """LayerNorm, or RMSNorm where there is no bias."""
    if f"{name}.bias" in w:
        return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)
    return F.rms_norm(x, x.shape[-1:], w[f"{name}.weight"], eps)


def check(use: str, shape: str, size: tuple[int, ...], formula: Callable[[Named, Tensor], Tensor], *files: str) -> None:
    model, weights = made(use, shape, *files)
    torch.manual_seed(0)
    x = torch.randn(2, *size)
    assert (model(x) - formula(weights, x)).abs().max() < CLOSE


# ---- residual forms

RESIDUALS: dict[str, Callable[[Named, Tensor], Tensor]] = {
    "PreNorm(linear(6))": lambda w, x: x + lin(w, "f", norm(w, "norm", x)),
    "PostNorm(linear(6))": lambda w, x: norm(w, "norm", x + lin(w, "f", x)),
    "Sandwich(linear(6))": lambda w, x: x + norm(w, "after", lin(w, "f", norm(w, "before", x, 1e-6)), 1e-6),
    "DeepNorm(linear(6), 2.5)": lambda w, x: norm(w, "norm", 2.5 * x + lin(w, "f", x)),
    "ReZero(linear(6))": lambda w, x: x + w["scale"] * lin(w, "f", x),
    "LayerScale(linear(6))": lambda w, x: x + w["scale"] * lin(w, "f", x),
    "StochasticDepth(linear(6), 0.5)": lambda w, x: x + lin(w, "f", x),
    "Highway(linear(6))": lambda w, x: x + torch.sigmoid(lin(w, "gate", x)) * (lin(w, "f", x) - x),
    "GatedResidual(linear(6))": lambda w, x: x + torch.sigmoid(lin(w, "gate", x)) * lin(w, "f", x),
    "Parallel(linear(6), linear(6))": lambda w, x: x + lin(w, "f", norm(w, "norm", x)) + lin(w, "g", norm(w, "norm", x)),
}


@pytest.mark.parametrize("use", RESIDUALS)
def test_residual(use: str) -> None:
    check(use, "[T, 6]", (5, 6), RESIDUALS[use], "std/residual")


def test_gtrxl_gate() -> None:
    def formula(w: Named, x: Tensor) -> Tensor:
        y = torch.relu(lin(w, "f", x))
        r = torch.sigmoid(lin(w, "reset_y", y) + lin(w, "reset_x", x))
        z = torch.sigmoid(lin(w, "update_y", y) + lin(w, "update_x", x) - w["shift"])
        return (1 - z) * x + z * torch.tanh(lin(w, "new_y", y) + lin(w, "new_x", r * x))

    check("GatedTransformerResidual(linear(6))", "[T, 6]", (5, 6), formula, "std/residual")


def test_identity_at_the_start() -> None:
    x = torch.randn(2, 5, 6)
    for use, near in (("ReZero(linear(6))", 0.0), ("LayerScale(linear(6), 0.0)", 0.0)):
        model = archdsl.parse(f'import "std/residual.arch"\narch A {{ in x: [T, 6]; return x -> {use} }}').build(dtype="float64")
        assert (model(x) - x).abs().max() <= near


# ---- gates

GLU: dict[str, Callable[[Tensor], Tensor]] = {
    "GLU": torch.sigmoid, "Bilinear": lambda x: x, "ReGLU": torch.relu, "GEGLU": F.gelu,
}  # fmt: skip


@pytest.mark.row("glu_variants")
@pytest.mark.parametrize("name", [*GLU, "SwiGLU"])
def test_glu_variants(name: str) -> None:
    act = GLU.get(name, F.silu)
    inner = "" if name == "SwiGLU" else "GatedFFN."

    def formula(w: Named, x: Tensor) -> Tensor:
        return lin(w, f"{inner}down_proj", act(lin(w, f"{inner}gate_proj", x)) * lin(w, f"{inner}up_proj", x))

    check(f"{name}(8)", "[T, 6]", (5, 6), formula, "std/gates", "std/transformer")


@pytest.mark.row("glu_variants")
def test_two_thirds_of_the_hidden_features_cost_the_same() -> None:
    text = 'import "std/gates.arch"\nimport "std/transformer.arch"\narch A {{ in x: [T, 768]; return x -> {} }}'
    plain = archdsl.parse(text.format("FFN(3072, bias=false)"))
    for name in (*GLU, "SwiGLU"):
        gated = archdsl.parse(text.format(f"{name}(2048)"))
        assert (gated.parameters, gated.flops(T=64)) == (plain.parameters, plain.flops(T=64))


def test_half_gate_is_torch_glu() -> None:
    check("HalfGate", "[T, 6]", (5, 6), lambda w, x: F.glu(x, -1), "std/gates")


def test_gate_multiplies_by_a_function_of_itself() -> None:
    check("gate(silu)", "[T, 6]", (5, 6), lambda w, x: x * F.silu(x), "std/gates")


def test_spatial_gate() -> None:
    def formula(w: Named, x: Tensor) -> Tensor:
        u, v = x.chunk(2, -1)
        return u * (lin(w, "mix", norm(w, "norm", v).mT).mT)

    check("SpatialGate(5)", "[5, 6]", (5, 6), formula, "std/gates")


def test_squeeze_and_excitation() -> None:
    def formula(w: Named, x: Tensor) -> Tensor:
        s = torch.relu(F.linear(x.mean((2, 3)), w["reduce.weight"][:, :, 0, 0], w["reduce.bias"]))
        s = torch.sigmoid(F.linear(s, w["expand.weight"][:, :, 0, 0], w["expand.bias"]))
        return x * s[:, :, None, None]

    check("SqueezeExcite(2)", "[6, H, W]", (6, 5, 4), formula, "std/gates")


def test_efficient_channel_attention() -> None:
    def formula(w: Named, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.conv1d(x.mean((2, 3))[:, None], w["mix.weight"], padding=1))[:, 0, :, None, None]

    check("EfficientChannelAttention", "[6, H, W]", (6, 5, 4), formula, "std/gates")


def test_gated_memory_unit() -> None:
    text = 'import "std/gates.arch"\narch A { in x: [T, 6]; in memory: [T, 4]; return GMU(x, memory) }'
    model = archdsl.parse(text).build(dtype="float64")
    w = {n.removeprefix("GMU."): p for n, p in model.named_parameters()}
    x, m = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    assert (model(x, m) - lin(w, "out_proj", F.silu(lin(w, "in_proj", x)) * m)).abs().max() < CLOSE


# ---- attention

MASK = torch.ones(5, 5).tril().bool()


def heads(x: Tensor, h: int) -> Tensor:
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def attended(q: Tensor, k: Tensor, v: Tensor, bias: Any = 0.0) -> Tensor:
    scores = q @ k.mT * q.shape[-1] ** -0.5 + bias
    return scores.masked_fill(~MASK, float("-inf")).softmax(-1) @ v


def test_alibi() -> None:
    def formula(w: Named, x: Tensor) -> Tensor:
        slopes = torch.tensor([2.0**-4, 2.0**-8])[:, None, None]
        distance = torch.arange(5)[:, None] - torch.arange(5)
        q, k, v = (heads(lin(w, f"{n}_proj", x), 2) for n in "qkv")
        return lin(w, "o_proj", merged(attended(q, k, v, -slopes * distance)))

    check("AlibiAttention(2)", "[T, 8]", (5, 8), formula, "std/transformer")


def test_differential_attention() -> None:
    """As the paper has it: one map less the other, then the values."""

    def formula(w: Named, x: Tensor) -> Tensor:
        q, k = (heads(lin(w, f"{n}_proj", x), 4) for n in "qk")  # per head two queries of half its width
        v = heads(lin(w, "v_proj", x), 2)
        maps = (q @ k.mT * 2**-0.5).masked_fill(~MASK, float("-inf")).softmax(-1).unflatten(1, (2, 2))
        less = ((w["q1"] * w["k1"]).sum()).exp() - ((w["q2"] * w["k2"]).sum()).exp() + 0.8
        y = norm(w, "norm", (maps[:, :, 0] - less * maps[:, :, 1]) @ v)
        return lin(w, "o_proj", merged((1 - 0.8) * y))

    check("DifferentialAttention(2, rope=none)", "[T, 8]", (5, 8), formula, "std/transformer")


# ---- convolutional units


def bn(model: nn.Module, path: str, x: Tensor) -> Tensor:
    part = model.get_submodule(path)
    return F.batch_norm(x, part.running_mean, part.running_var, part.weight, part.bias)  # type: ignore[arg-type]


def conv(model: nn.Module, path: str, x: Tensor, **how: Any) -> Tensor:
    weight = model.get_submodule(path).weight
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2, **how)  # type: ignore[arg-type,operator]


@torch.no_grad()
def test_basic_unit_with_a_strided_shortcut() -> None:
    model, _ = made("BasicUnit(6, 2)", "[4, H, W]", "std/convolution")
    x = torch.randn(2, 4, 8, 8)
    y = torch.relu(bn(model, "it.ConvNormAct.norm", conv(model, "it.ConvNormAct.conv", x, stride=2)))
    y = bn(model, "it.ConvNorm.norm", conv(model, "it.ConvNorm.conv", y))
    s = bn(model, "it.Shortcut.ConvNorm.norm", conv(model, "it.Shortcut.ConvNorm.conv", x, stride=2))
    assert (model(x) - torch.relu(y + s)).abs().max() < CLOSE


@torch.no_grad()
def test_inverted_residual_adds_only_where_the_shape_stays() -> None:
    model, _ = made("InvertedResidual(4, widen=2)", "[4, H, W]", "std/convolution")
    x = torch.randn(2, 4, 8, 8)
    y = F.relu6(bn(model, "it.expand.norm", conv(model, "it.expand.conv", x)))
    y = F.relu6(bn(model, "it.depthwise.norm", conv(model, "it.depthwise.conv", y, groups=8)))
    assert (model(x) - x - bn(model, "it.project.norm", conv(model, "it.project.conv", y))).abs().max() < CLOSE
    narrower, _ = made("InvertedResidual(3)", "[4, H, W]", "std/convolution")
    assert narrower(x).shape == (2, 3, 8, 8)


@torch.no_grad()
def test_convnext_unit() -> None:
    model, w = made("ConvNeXtUnit", "[4, H, W]", "std/convolution")
    x = torch.randn(2, 4, 8, 8)
    y = F.conv2d(x, w["depthwise.weight"], w["depthwise.bias"], padding=3, groups=4).permute(0, 2, 3, 1)
    y = w["scale"] * lin(w, "project", F.gelu(lin(w, "expand", norm(w, "norm", y, 1e-6))))
    assert (model(x) - x - y.permute(0, 3, 1, 2)).abs().max() < CLOSE


def test_inception_and_dense_layers_lay_channels_side_by_side() -> None:
    text = 'import "std/convolution.arch"\narch A { in x: [4, H, W]; return x -> Inception(2, 3, 5, 2, 3, 1) -> DenseLayer(6) }'
    assert archdsl.parse(text).build()(torch.randn(2, 4, 8, 8, dtype=torch.float32)).shape == (2, 2 + 5 + 3 + 1 + 6, 8, 8)


# ---- HorNet and Res2Net


@pytest.mark.row("hornet")
@pytest.mark.parametrize("order", [1, 2, 3, 5])
@torch.no_grad()
def test_recursive_gated_convolution_has_its_degree(order: int) -> None:
    """Without biases, an input t times as large gives an output t^(order + 1) times as large."""
    model, w = made(f"GatedConv({order})", "[16, H, W]", "vision/hornet")
    for n, p in w.items():
        if n.endswith("bias"):
            p.zero_()
    x = torch.randn(1, 16, 8, 8)
    assert (model(1.5 * x) - 1.5 ** (order + 1) * model(x)).abs().max() < CLOSE * model(x).abs().max()


@pytest.mark.row("hornet")
@torch.no_grad()
def test_order_one_is_a_plain_gated_convolution() -> None:
    model, w = made("GatedConv(1)", "[4, H, W]", "vision/hornet")
    x = torch.randn(2, 4, 8, 8)
    a, b = F.conv2d(x, w["conv2d.weight"], w["conv2d.bias"]).chunk(2, 1)
    b = F.conv2d(b, w["conv2d_2.weight"], w["conv2d_2.bias"], padding=3, groups=4) / 3
    assert (model(x) - F.conv2d(a * b, w["conv2d_3.weight"], w["conv2d_3.bias"])).abs().max() < CLOSE


@pytest.mark.row("hornet", "res2net")
def test_published_counts() -> None:
    assert archdsl.load("hornet").parameters == 22_409_512
    spec = archdsl.load("res2net")
    assert spec.parameters == 25_699_120
    assert round(spec.flops(H=224, W=224) / 2e9, 1) == 4.3


@pytest.mark.row("res2net")
@torch.no_grad()
def test_each_split_sees_further_than_the_one_before() -> None:
    model, w = made("Parts(2, 4, 1, false)", "[8, H, W]", "vision/res2net")
    for n, p in w.items():
        if n.endswith("conv.weight"):
            p.abs_()  # above zero, so that no activation cuts
        elif n.endswith("bias"):
            p.zero_()
    image = torch.zeros(1, 8, 15, 15)
    image[:, :, 7, 7] = 1
    for i, wide in enumerate((3, 5, 7, 1)):
        part = model(image)[0, 2 * i : 2 * i + 2]
        assert int((part.sum((0, 1)) != 0).sum()) == wide


@pytest.mark.row("res2net")
@torch.no_grad()
def test_without_additions_it_is_a_grouped_convolution() -> None:
    model, _ = made("Parts(2, 4, 1, true)", "[8, H, W]", "vision/res2net")
    x = torch.randn(2, 8, 6, 6)
    convs = [m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    norms = [m for n, m in model.named_modules() if hasattr(m, "running_mean")]
    weight = torch.cat([c.weight for c in convs])
    y = F.conv2d(x[:, :6], weight, padding=1, groups=3)
    scale, shift = torch.cat([n.weight for n in norms]), torch.cat([n.bias for n in norms])  # type: ignore[arg-type]
    y = torch.relu(F.batch_norm(y, torch.zeros(6), torch.ones(6), scale, shift))
    whole = torch.cat([y, F.avg_pool2d(x[:, 6:], 3, 1, 1)], 1)
    assert (model(x) - whole).abs().max() < CLOSE


# ---- mixers made of scans


@pytest.mark.row("retnet")
@torch.no_grad()
def test_retention_in_its_parallel_form() -> None:
    """(Q K^T * D) V with the phases of the paper; each head normalised, gated."""
    model, w = made("Retention(2, 2)", "[T, 8]", "std/mixers")
    x = torch.randn(2, 5, 8)
    q, k, v = (heads(lin(w, f"{n}_proj", x), 2) for n in "qkv")
    turn = torch.exp(1j * torch.arange(5)[:, None] * 10000 ** -torch.linspace(0, 1, 2))
    q, k = (torch.view_as_complex(a.unflatten(-1, (2, 2)).contiguous()) * turn for a in (q, k))
    apart = torch.arange(5)[:, None] - torch.arange(5)
    gamma = model.get_buffer("it.decay").exp()[:, None, None]
    assert (gamma.flatten() - (1 - 2.0 ** torch.tensor([-5, -6]))).abs().max() < 1e-8
    decay = (gamma ** apart.clamp(min=0)).masked_fill(~MASK, 0)
    y = ((q @ k.conj().mT).real * 4**-0.5 * decay) @ v
    y = F.silu(lin(w, "g_proj", x)) * merged(F.rms_norm(y, (8,), eps=1e-6))
    assert (model(x) - lin(w, "o_proj", y)).abs().max() < CLOSE


@pytest.mark.row("gla")
@torch.no_grad()
def test_gated_linear_attention_in_its_parallel_form() -> None:
    """P_ij = sum_d q_id k_jd exp(B_id - B_jd) for j <= i, read by the values."""
    model, w = made("GatedLinearAttention(2, 1)", "[T, 8]", "std/mixers")
    x = torch.randn(2, 5, 8)
    q, k, v = (heads(lin(w, f"{n}_proj", x), 2) for n in "qkv")
    total = heads(F.logsigmoid(lin(w, "gate_out", lin(w, "gate_in", x))) / 16, 2).cumsum(2)
    between = (total[:, :, :, None] - total[:, :, None]).exp()
    scores = torch.einsum("bhic,bhjc,bhijc->bhij", q * 4**-0.5, k, between).masked_fill(~MASK, 0)
    y = merged(norm(w, "norm", scores @ v)) * F.silu(lin(w, "r_proj", x))
    assert (model(x) - lin(w, "o_proj", y)).abs().max() < CLOSE


@pytest.mark.row("aaren")
@torch.no_grad()
def test_aaren_is_softmax_attention_of_one_query_over_each_prefix() -> None:
    model, w = made("Aaren(2)", "[T, 8]", "std/mixers")
    x = torch.randn(2, 5, 8)
    q = lin(w, "q_proj", w["query"]).view(1, 2, 1, 4).expand(2, 2, 5, 4)
    k, v = (heads(lin(w, f"{n}_proj", x), 2) for n in "kv")
    assert (model(x) - lin(w, "o_proj", merged(attended(q, k, v)))).abs().max() < CLOSE


@torch.no_grad()
def test_mamba2_as_a_masked_product() -> None:
    """The state-space dual: (C B^T * L) (dt x), L the products of the decays between two positions."""
    model, w = made("Mamba2(n=3, p=4)", "[T, 8]", "std/mixers")
    x = torch.randn(2, 5, 8)
    z, u, dt = lin(w, "in_proj", x).split([16, 22, 4], -1)
    u = F.silu(F.conv1d(F.pad(u.mT, (3, 0)), w["conv1d.weight"], w["conv1d.bias"], groups=22).mT)
    v, B, C = u.split([16, 3, 3], -1)
    step = F.softplus(dt + w["dt_bias"]).mT  # [b, h, t]
    total = (-w["A_log"].exp()[:, None] * step).cumsum(-1)
    decay = (total[..., :, None] - total[..., None, :]).masked_fill(~MASK, float("-inf")).exp()
    y = ((C @ B.mT)[:, None] * decay) @ (step[..., None] * heads(v, 4)) + w["D"][:, None, None] * heads(v, 4)
    y = norm(w, "norm", merged(y) * F.silu(z))
    assert (model(x) - lin(w, "out_proj", y)).abs().max() < CLOSE
