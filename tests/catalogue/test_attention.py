"""Rows on attention: ResFormer, ReLA, LambdaNetworks, PLM, pointer networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from tests.catalogue.reference import block, copying, decoded, falls, heads, lin, merged, moved, same

MASK = torch.ones(5, 5).tril().bool()
SMALL: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 3, "heads": 2, "hidden": 24}


def ids(*shape: int) -> Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 11, shape)


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None) -> Tensor:
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    return scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), float("-inf")).softmax(-1) @ v


def halves(x: Tensor) -> Tensor:
    """Rotary positions, halves paired, base 10,000."""
    c = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * 10_000 ** (-torch.arange(c, dtype=x.dtype) / c)
    a, b = x[..., :c], x[..., c:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


# ---- resformer


def resformer(model: nn.Module, tokens: Tensor, first: float, own: float) -> Tensor:
    """The paper's equations with the model's weights."""
    w = dict(model.named_parameters())
    x = w["embed.weight"][tokens]
    kept: Tensor | None = None
    for name in ("first.", "layers.0.ValueLayer.", "layers.1.ValueLayer."):
        n = F.rms_norm(x, x.shape[-1:], w[f"{name}input_norm.weight"], 1e-6)
        q, k = (halves(heads(F.linear(n, w[f"{name}attention.{p}_proj.weight"]), 2)) for p in "qk")
        v = heads(F.linear(n, w[f"{name}attention.v_proj.weight"]), 2) if f"{name}attention.v_proj.weight" in w else torch.zeros(())
        u = v if kept is None else first * kept + own * v
        kept = v if kept is None else kept
        x = x + F.linear(merged(softmax_attention(q, k, u)), w[f"{name}attention.o_proj.weight"])
        inner = f"{name}residual.f."
        n = F.rms_norm(x, x.shape[-1:], w[f"{inner}norm.weight"], 1e-6)
        inner += "SwiGLU."
        hidden = F.silu(F.linear(n, w[f"{inner}gate_proj.weight"])) * F.linear(n, w[f"{inner}up_proj.weight"])
        x = x + F.linear(hidden, w[f"{inner}down_proj.weight"])
    return F.linear(F.rms_norm(x, x.shape[-1:], w["norm.weight"], 1e-6), w["head.weight"])


@pytest.mark.row("resformer")
@pytest.mark.parametrize(("first", "own"), [(0.5, 0.5), (0.3, 0.9), (1, 0)])
def test_resformer_is_the_papers_equations(first: float, own: float) -> None:
    model = moved(archdsl.load("resformer", contracts=False, first=first, own=own, **SMALL).build(dtype="float64"))
    tokens = ids(2, 7)
    same(model(tokens), resformer(model, tokens, first, own), *model.parameters())


@pytest.mark.row("resformer")
def test_without_the_first_values_it_is_the_plain_decoder_bit_for_bit() -> None:
    text = """
import "std/transformer.arch"
arch Plain {
    in tokens: int[T]
    return tokens -> embed: embedding(11, 16)
        -> layers: repeat 3 { residual(rmsnorm -> Attention(2)) -> residual(rmsnorm -> SwiGLU(24)) } -> norm: rmsnorm -> head: linear(11, bias=false)
}
"""
    plain = archdsl.parse(text).build()
    mixed = archdsl.load("resformer", contracts=False, first=0, own=1, **SMALL).build()
    taken = dict(zip(plain.state_dict(), moved(mixed).state_dict().values(), strict=True))  # both in the order of their layers
    plain.load_state_dict(taken)
    assert torch.equal(plain(ids(2, 9)), mixed(ids(2, 9)))


@pytest.mark.row("resformer")
@pytest.mark.parametrize(("first", "own"), [(0.5, 0.5), (1, 0)])
def test_resformer_decodes_and_the_shared_values_are_kept_once(first: float, own: float) -> None:
    spec = archdsl.load("resformer", contracts=False, first=first, own=own, **SMALL)
    model = moved(spec.build(dtype="float64")).eval()
    tokens = ids(2, 12)
    assert (decoded(model, tokens, 5) - model(tokens)).abs().max() < 1e-12
    base = archdsl.load("resformer", contracts=False, first=0, own=1, **SMALL)
    part = (3 + 1) / (2 * 3) if own == 0 else 1
    assert spec.state_bytes(T=100) == base.state_bytes(T=100) * part
    with torch.inference_mode():
        _, state = model.prefill(tokens)
    assert stored(state) == part * 3 * 2 * 64 * 16 * 2 * 8  # rows grow by doubling from 64; float64, batch 2


def stored(state: Any) -> int:
    """Bytes of the tensors in a decoding state."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return sum(stored(v) for v in state.values()) if isinstance(state, dict) else 0


@pytest.mark.row("resformer")
@pytest.mark.slow
@pytest.mark.parametrize(("first", "own"), [(0.5, 0.5), (1, 0)])
def test_resformer_learns(first: float, own: float) -> None:
    model = archdsl.load("resformer", contracts=False, first=first, own=own, **SMALL | {"d": 32, "heads": 4}).build()
    before, after = falls(model, copying(model, 11), 60)
    assert after < 0.5 * before


# ---- rela


@pytest.mark.row("rela")
@pytest.mark.parametrize("causal", [False, True])
def test_rela_is_its_equations(causal: bool) -> None:
    model, w = block(f"RectifiedAttention(2, causal={str(causal).lower()})")
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    q, k, v = (heads(lin(w, f"{n}_proj", x), 2) for n in "qkv")
    weights = torch.relu(q @ k.mT * 4**-0.5) * (MASK if causal else 1)
    o = merged(weights @ v)
    y = o / (o.square().mean(-1, keepdim=True) + 1e-8).sqrt() * w["norm.rmsnorm.weight"] * torch.sigmoid(w["norm.gate"] * o)
    same(model(x), lin(w, "o_proj", y), x, *w.values(), tolerance=1e-9)


@pytest.mark.row("rela")
def test_masked_positions_and_rows_without_a_positive_score_give_exactly_nothing() -> None:
    text = "arch A { in q: [1, T, 4]; in k: [1, T, 4]; in v: [1, T, 4]; return attend(q, k, v, causal=true, score=relu) }"
    model = archdsl.parse(text).build()
    torch.manual_seed(0)
    q, v = torch.rand(1, 1, 6, 4), torch.randn(1, 1, 6, 4)
    assert model(q, -torch.rand(1, 1, 6, 4), v).abs().max() == 0
    k = torch.rand(1, 1, 6, 4)
    later = v.clone()
    later[..., 3:, :] = 1e30
    assert torch.equal(model(q, k, v)[..., :3, :], model(q, k, later)[..., :3, :])


@pytest.mark.row("rela")
def test_a_gate_of_zero_halves_the_norm_and_half_the_weights_are_zero_at_first() -> None:
    model, w = block("GatedRMSNorm", move=0)
    x = torch.randn(3, 4, 8, dtype=torch.float64)
    torch.testing.assert_close(model(x), F.rms_norm(x, (8,), eps=1e-8) / 2)
    model, w = block("RectifiedAttention(4)", "[T, 64]", move=0)
    x = torch.randn(4, 64, 64, dtype=torch.float64)
    q, k = (heads(lin(w, f"{n}_proj", x), 4) for n in "qk")
    assert abs(((q @ k.mT) <= 0).double().mean() - 0.5) < 0.05


@pytest.mark.row("rela")
def test_rela_decodes() -> None:
    model = moved(archdsl.load("rela", contracts=False, **SMALL).build(dtype="float64")).eval()
    source, target = ids(2, 7), ids(2, 9)
    assert (decoded(model, target, 4, source) - model(source, target)).abs().max() < 1e-10


@pytest.mark.row("rela")
@pytest.mark.slow
def test_rela_learns_to_copy() -> None:
    model = archdsl.load("rela", contracts=False, **SMALL | {"d": 32, "heads": 4, "depth": 1}).build()

    torch.manual_seed(0)
    rows = torch.randint(1, 11, (16, 5))

    def loss(step: int) -> Tensor:
        logits = model(rows, F.pad(rows[:, :-1], (1, 0)))
        return F.cross_entropy(logits.flatten(0, 1), rows.flatten())

    before, after = falls(model, loss, 100)
    assert after < 0.5 * before


# ---- lambda networks

LAMBDA = 'import "vision/lambda_resnet.arch"'


def lambda_layer(w: dict[str, Tensor], model: nn.Module, x: Tensor, k: int, h: int, u: int) -> Tensor:
    """Every query's own matrix, one offset at a time."""
    batch, _, height, width = x.shape

    def norm(name: str, y: Tensor) -> Tensor:
        part = model.get_submodule(f"it.{name}")
        return F.batch_norm(y, part.running_mean, part.running_var, part.weight, part.bias)  # type: ignore[arg-type]

    q = norm("q_norm", F.conv2d(x, w["q_conv.weight"])).view(batch, h, k, height * width)
    keys = F.conv2d(x, w["k_conv.weight"]).view(batch, u, k, height * width).softmax(-1)
    values = norm("v_norm", F.conv2d(x, w["v_conv.weight"])).view(batch, u, -1, height, width)
    table = w["position.weight"][:, :, 0]  # [k, u, r, r]
    reach = table.shape[-1] // 2, table.shape[-2] // 2
    rows = []
    for y in range(height):
        for z in range(width):
            matrix = torch.einsum("bukm,buvm->bkv", keys, values.flatten(3))
            for i in range(height):
                for j in range(width):
                    dy, dz = i - y + reach[1], j - z + reach[0]
                    if 0 <= dy < table.shape[-2] and 0 <= dz < table.shape[-1]:
                        matrix = matrix + torch.einsum("ku,buv->bkv", table[:, :, dy, dz], values[:, :, :, i, j])
            if "position.bias" in w:
                matrix = matrix + w["position.bias"][:, None]
            rows.append(torch.einsum("bkv,bhk->bhv", matrix, q[..., y * width + z]))
    return torch.stack(rows, -1).view(batch, -1, height, width)


@pytest.mark.row("lambda-networks")
@pytest.mark.parametrize("context", ["3", "none"])
def test_lambda_layer_is_the_sum_over_every_pair(context: str) -> None:
    model, w = block(f"Lambda(6, k=3, heads=2, u=2, context={context})", "[5, 4, 4]", more=LAMBDA)
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64, requires_grad=True)
    same(model(x), lambda_layer(w, model, x, 3, 2, 2), x, *w.values(), tolerance=1e-9)


@pytest.mark.row("lambda-networks")
@torch.no_grad()
def test_wide_contexts_are_global_and_without_positions_it_is_linear_attention() -> None:
    local, w = block("Lambda(6, k=3, heads=2, context=9)", "[5, 4, 4]", more=LAMBDA)
    everywhere, v = block("Lambda(6, k=3, heads=2, context=none)", "[5, 4, 4]", more=LAMBDA)
    for name in v:
        v[name].copy_(w[name][..., 1:-1, 1:-1] if name == "position.weight" else w[name])
    x = torch.randn(2, 5, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(local(x), everywhere(x))
    w["position.weight"].zero_()
    w["position.bias"].zero_()
    q = F.conv2d(x, w["q_conv.weight"]) / (1 + 1e-5) ** 0.5 * w["q_norm.weight"][:, None, None] + w["q_norm.bias"][:, None, None]
    keys = F.conv2d(x, w["k_conv.weight"]).flatten(2).softmax(-1)
    values = F.conv2d(x, w["v_conv.weight"]) / (1 + 1e-5) ** 0.5 * w["v_norm.weight"][:, None, None] + w["v_norm.bias"][:, None, None]
    out = torch.einsum("bhkn,bkm,bvm->bhvn", q.view(2, 2, 3, 16), keys, values.flatten(2))
    torch.testing.assert_close(local(x), out.reshape(2, 6, 4, 4))


@pytest.mark.row("lambda-networks")
@torch.no_grad()
def test_the_position_part_moves_with_the_image() -> None:
    model, w = block("Lambda(6, k=3, heads=2, context=3)", "[5, 9, 9]", more=LAMBDA)
    w["k_conv.weight"].zero_()  # equal keys: the content part is the same for both images
    x = torch.randn(1, 5, 9, 9, dtype=torch.float64)
    a, b = model(x), model(x.roll((1, 2), (2, 3)))
    torch.testing.assert_close(a[..., 2:6, 2:5], b[..., 3:7, 4:7])


@pytest.mark.row("lambda-networks")
def test_lambda_resnet_counts() -> None:
    spec = archdsl.load("lambda_resnet")
    assert len(spec.contracts) == 2
    assert round(spec.parameters / 1e6, 1) == 15.0
    assert round(archdsl.load("lambda_resnet", u=4, context=7).parameters / 1e6, 1) == 16.0


@pytest.mark.row("lambda-networks")
@pytest.mark.slow
def test_lambda_resnet_learns() -> None:
    model = archdsl.load("lambda_resnet", contracts=False, blocks=[1, 1, 1, 1], width=8, k=4, heads=2, context=5, classes=4).build()
    torch.manual_seed(0)
    kinds, x = torch.arange(16) % 4, torch.randn(16, 3, 32, 32)
    for i in range(16):
        x[i, 0, 8 * (i % 4) : 8 * (i % 4) + 8] += 2  # a bright band says which
    before, after = falls(model, lambda step: F.cross_entropy(model(x), kinds), 25)
    assert after < 0.3 * before


# ---- plm


def latent_attention(w: dict[str, Tensor], x: Tensor, h: int, latent: int, plain: int, turned: int) -> Tensor:
    def turn(y: Tensor) -> Tensor:
        pairs = torch.view_as_complex(y.unflatten(-1, (-1, 2)).contiguous())
        speeds = 10_000 ** (-torch.arange(turned // 2, dtype=x.dtype) * 2 / turned)
        return torch.view_as_real(pairs * torch.exp(1j * torch.arange(y.shape[-2])[:, None] * speeds)).flatten(-2)

    q = heads(lin(w, "q_proj", x), h)
    c, r = lin(w, "kv_proj", x).split([latent, turned], -1)
    c = F.rms_norm(c, (latent,), w["kv_norm.weight"], 1e-6)
    expanded = torch.einsum("btr,hcr->bhtc", c, w["up"])
    k = torch.cat([expanded[..., :plain], turn(r)[:, None].expand(-1, h, -1, -1)], -1)
    q = torch.cat([q[..., :plain], turn(q[..., plain:])], -1)
    return lin(w, "o_proj", merged(softmax_attention(q, k, expanded[..., plain:], (plain + turned) ** -0.5)))


@pytest.mark.row("plm")
@pytest.mark.parametrize("absorbed", ["false", "true"])
def test_latent_attention_is_its_equations(absorbed: str) -> None:
    model, w = block(f"LatentAttention(2, 6, 3, 4, absorbed={absorbed})")
    x = torch.randn(2, 5, 8, dtype=torch.float64, requires_grad=True)
    same(model(x), latent_attention(w, x, 2, 6, 3, 4), x, *w.values())


PLM: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 2, "heads": 2, "latent": 6, "plain": 4, "turned": 2, "hidden": 24}


@pytest.mark.row("plm")
def test_plm_decodes_from_the_latent_alone_in_both_forms() -> None:
    tokens, outs = ids(2, 12), []
    for absorbed in (False, True):
        spec = archdsl.load("plm", contracts=False, absorbed=absorbed, **PLM)
        model = moved(spec.build(dtype="float64")).eval()
        outs.append(decoded(model, tokens, 5))
        assert (outs[-1] - model(tokens)).abs().max() < 1e-10
        assert spec.state_bytes(T=1) == 4 * 2 * (6 + 2)
        with torch.inference_mode():
            _, state = model.prefill(tokens)
        assert stored(state) == 2 * 64 * 2 * (6 + 2) * 8  # layers, rows, batch, numbers, bytes
    assert (outs[0] - outs[1]).abs().max() < 1e-10


@pytest.mark.row("plm")
def test_plm_has_the_published_count_and_576_numbers_a_position() -> None:
    spec = archdsl.load("plm")
    assert sum(p.numel() for p in spec.build(device="meta").parameters()) == 1_825_458_176
    assert spec.state_bytes("bfloat16", T=1) == 2 * 32 * 576


@pytest.mark.row("plm")
@torch.no_grad()
def test_units_at_zero_can_be_left_out() -> None:
    model, w = block("FFN(64, relu_squared, bias=false)")
    x = torch.randn(8, dtype=torch.float64)
    hidden = F.relu(w["fc_in.weight"] @ x).square()
    awake = hidden.nonzero().squeeze(-1)
    assert 0 < len(awake) < 64 and int((hidden == 0).sum()) == 64 - len(awake)
    torch.testing.assert_close(model(x[None, None])[0, 0], w["fc_out.weight"][:, awake] @ hidden[awake])


@pytest.mark.row("plm")
@pytest.mark.slow
def test_plm_learns() -> None:
    model = archdsl.load("plm", contracts=False, **PLM | {"d": 32, "heads": 4, "latent": 16, "plain": 8, "turned": 8}).build()
    before, after = falls(model, copying(model, 11), 60)
    assert after < 0.5 * before


# ---- pointer networks


@pytest.mark.row("ptr-net")
def test_pointer_scores_are_the_papers() -> None:
    text = 'import "sequence/pointer.arch"\narch A { in x: [M, 3]; in memory: [N, 4]; return Pointer(5)(x, memory) }'
    model = moved(archdsl.parse(text).build(dtype="float64"))
    w = {n.removeprefix("Pointer."): p for n, p in model.named_parameters()}
    d, e = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True), torch.randn(2, 6, 4, dtype=torch.float64)
    u = torch.stack([torch.tanh(lin(w, "key", e[:, j, None]) + lin(w, "query", d)) @ w["score.weight"][0] for j in range(6)], -1)
    same(model(d, e), u, d, *w.values())
    turn = torch.randperm(6)
    torch.testing.assert_close(model(d, e[:, turn]), model(d, e)[..., turn])  # content alone: order means nothing


def pointer_reference(w: dict[str, Tensor], points: Tensor, order: Tensor) -> Tensor:
    def lstm(name: str, xs: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = []
        for x in xs.unbind(1):
            i, f, g, o = (lin(w, f"{name}.input", x) + lin(w, f"{name}.recurrent", h)).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            out.append(h)
        return torch.stack(out, 1), h, c

    zero = points.new_zeros(len(points), w["encoder.recurrent.weight"].shape[1])
    symbols = torch.cat([w["param"].expand(len(points), 1, -1), points], 1)
    e, h, c = lstm("encoder", symbols, zero, zero)
    d, *_ = lstm("decoder", torch.stack([s[o] for s, o in zip(symbols, order)]), h, c)
    hidden = torch.tanh(lin(w, "Pointer.key", e)[:, None] + lin(w, "Pointer.query", d)[:, :, None])
    return hidden @ w["Pointer.score.weight"][0]


@pytest.mark.row("ptr-net")
def test_pointer_network_is_its_equations_for_any_number_of_points() -> None:
    model = moved(archdsl.load("pointer", hidden=5).build(dtype="float64"))
    w = dict(model.named_parameters())
    for n in (3, 7):
        points, order = torch.rand(2, n, 2, dtype=torch.float64), torch.randint(0, n + 1, (2, 4))
        out = model(points, order)
        assert out.shape == (2, 4, n + 1)
        same(out, pointer_reference(w, points, order), *w.values())


@torch.inference_mode()
def pointed(model: Any, points: Tensor, steps: int) -> Tensor:
    """The greedy order: [B, steps], from 1; 0 is the end."""
    at = torch.zeros(len(points), 1, dtype=torch.long)
    out, state = model.prefill(points, at)
    found = []
    for _ in range(steps):
        at = out[:, -1:].argmax(-1)
        found.append(at)
        out, state = model.step(at, state)
    return torch.cat(found, 1)


@pytest.mark.row("ptr-net")
def test_with_taken_points_closed_every_order_is_a_permutation() -> None:
    model = moved(archdsl.load("pointer", hidden=5, once=True).build(), 1.0).eval()
    orders = pointed(model, torch.rand(16, 8, 2), 9)
    assert torch.equal(orders[:, :8].sort(-1).values, torch.arange(1, 9).expand(16, 8))
    assert (orders[:, 8] == 0).all()


def hull(points: list[tuple[float, float]]) -> list[int]:
    """Andrew's monotone chain: indices of the convex hull, counter-clockwise from the lowest x."""
    order = sorted(range(len(points)), key=lambda i: points[i])

    def chain(indices: list[int]) -> list[int]:
        out: list[int] = []
        for i in indices:
            while len(out) > 1 and turn(points[out[-2]], points[out[-1]], points[i]) <= 0:
                out.pop()
            out.append(i)
        return out[:-1]

    return chain(order) + chain(order[::-1])


def turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@pytest.mark.row("ptr-net")
def test_hulls_agree_with_brute_force() -> None:
    """A point is on the hull where some line through it has all others on one side."""
    torch.manual_seed(0)
    for _ in range(20):
        points = [(float(x), float(y)) for x, y in torch.rand(9, 2)]
        edges = {
            i
            for i in range(9)
            for j in range(9)
            if i != j and all(turn(points[i], points[j], points[k]) > 0 for k in range(9) if k not in (i, j))
        }
        found = hull(points)
        assert set(found) == edges
        area = sum(turn((0, 0), points[a], points[b]) for a, b in zip(found, found[1:] + found[:1]))
        assert area > 0


@pytest.mark.row("ptr-net")
@pytest.mark.slow
def test_pointer_network_learns_to_sort_and_goes_on_to_longer_rows() -> None:
    model = archdsl.load("pointer", d=1, hidden=64, once=True, contracts=False).build()

    def rows(step: int, n: int, batch: int = 64) -> tuple[Tensor, Tensor]:
        torch.manual_seed(step)
        x = torch.rand(batch, n, 1)
        return x, x[..., 0].argsort(-1) + 1

    def loss(step: int) -> Tensor:
        x, wanted = rows(step, 5 + step % 4)
        scores = model(x, F.pad(wanted[:, :-1], (1, 0)))
        return F.cross_entropy(scores.flatten(0, 1), wanted.flatten())

    before, after = falls(model, loss, 1500, lr=2e-3)
    assert after < 0.3 * before
    model.eval()
    x, wanted = rows(10**6, 8, 256)
    assert (pointed(model, x, 8) == wanted).float().mean() > 0.9
    assert pointed(model, rows(10**6, 12)[0], 12).shape == (64, 12)


@pytest.mark.row("ptr-net")
def test_weights_begin_small_and_none_depends_on_the_length() -> None:
    spec = archdsl.load("pointer")
    assert spec.parameters == 2 + 2 * 4 * 512 * (2 + 1 + 512) + 2 * 512**2 + 512
    assert math.isfinite(float(spec.flops(N=500, M=501)))
