"""Rows on routers, and on weights that are values: ReMoE, RMoE, global workspace, D'OH, magnitude-invariant hypernetworks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.compiler.collect import collect_aux
from tests.catalogue.reference import copying, decoded, falls, moved
from tests.recurrence.steps import difference

CLOSE = 1e-10


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name: str, **sizes: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    model = moved(archdsl.load(name, contracts=False, **sizes).build(dtype="float64").eval())
    return model, dict(model.named_parameters())


# ---- remoe

REMOE: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 8, "experts": 4}


def routed(router: str) -> tuple[nn.Module, dict[str, Tensor]]:
    text = f"""import "std/transformer.arch"
        arch A {{ in x: [T, 6]; in logits: [T, 4]; return x -> route({router}, logits=logits) {{ SwiGLU(5) }} }}"""
    model = moved(archdsl.parse(text).build(dtype="float64"))
    return model, dict(model.named_parameters())


@pytest.mark.row("remoe")
def test_relu_routing_is_the_dense_sum_and_continuous() -> None:
    model, w = routed("relu()")
    x, logits = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    logits[0, 0] = -1.0  # a token that uses no expert
    names = [f"experts.{e}.SwiGLU" for e in range(4)]
    each = torch.stack(
        [
            F.linear(F.silu(F.linear(x, w[f"{n}.gate_proj.weight"])) * F.linear(x, w[f"{n}.up_proj.weight"]), w[f"{n}.down_proj.weight"])
            for n in names
        ],
        -1,
    )
    assert difference(model(x, logits), (each * logits.relu()[..., None, :]).sum(-1)) < CLOSE
    assert not model(x, logits)[0, 0].any()
    edge = torch.tensor([[[0.5, 1e-9, -1.0, -1.0]]])
    across = edge * torch.tensor([1.0, -1.0, 1.0, 1.0])
    assert (model(x[:1, :1], edge) - model(x[:1, :1], across)).abs().max() < 1e-8
    top, _ = routed("topk(1)")
    near = torch.tensor([[[0.5, 0.5 - 1e-9, -1.0, -1.0]]])
    assert (top(x[:1, :1], near) - top(x[:1, :1], near[..., [1, 0, 2, 3]])).abs().max() > 1e-4


@pytest.mark.row("remoe")
def test_remoe_penalty_and_controller() -> None:
    """The weight moves once a step by 1.2, up while fewer than 1 - k / E gates are zero; the loss is as written."""
    model, _ = made("remoe", **REMOE)
    tokens = torch.randint(0, 11, (3, 7))
    seen: list[Tensor] = []
    for layer in ("layers.0", "layers.1"):
        model.get_submodule(f"{layer}.gate").register_forward_hook(lambda m, i, o: seen.append(o.detach().flatten(0, 1)))
    factor = model.get_buffer("feedback.factor")
    before = float(factor)
    assert before == pytest.approx(1e-8)
    model.train()(tokens)
    zeros = float(torch.cat(seen).le(0).double().mean())
    assert float(factor) == pytest.approx(before * 1.2 if zeros < 0.75 else before / 1.2)
    wanted = sum(4 / 1 * (R.gt(0).double().mean(0) * R.relu().mean(0)).sum() for R in seen) / 2
    (ours,) = collect_aux(model).values()
    assert float(ours) == pytest.approx(before * float(wanted), rel=1e-6)
    now = float(factor)
    model.eval()(tokens)
    assert float(factor) == now
    assert difference(decoded(model, tokens, 3), model(tokens)) < CLOSE


@pytest.mark.row("remoe")
def test_remoe_granularity_keeps_the_experts_weights() -> None:
    shapes = [archdsl.load("remoe", contracts=False, granularity=g).parameters for g in (1, 2, 4)]
    assert [b - a for a, b in itertools.pairwise(shapes)] == [12 * 8 * 768, 12 * 16 * 768]  # wider gates alone


@pytest.mark.slow
@pytest.mark.row("remoe")
def test_remoe_steers_to_its_sparsity() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("remoe", contracts=False, **{**REMOE, "vocab": 6, "depth": 1, "start": 1e-3}).build()
    base = copying(model, 6, half=3, batch=32)
    shares: list[float] = []
    model.get_submodule("layers.0.gate").register_forward_hook(lambda m, i, o: shares.append(float(o.le(0).float().mean())))
    first, last = falls(model, lambda step: base(step) + sum(v.mean() for v in collect_aux(model).values()), 400, lr=5e-3)
    assert abs(sum(shares[-100:]) / 100 - 0.75) < 0.03
    assert last < first


# ---- rmoe

RMOE: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 3, "heads": 2, "hidden": 8, "experts": 4, "router": 6}


@pytest.mark.row("rmoe")
def test_rmoe_counts_one_gru() -> None:
    p, experts, d, depth = 256, 8, 768, 12
    shapes = archdsl.load("rmoe").weight_shapes
    own = sum(math.prod(s) for n, s in shapes.items() if n.startswith("cell") or ".into." in n or ".gate." in n)
    assert (
        own
        == 6 * p**2 + 6 * p + depth * (p * d + experts * p)
        == sum(x.numel() for x in nn.GRUCell(p, p).parameters()) + depth * (p * d + experts * p)
    )


@pytest.mark.row("rmoe")
def test_rmoe_router_is_torch_gru_over_depth() -> None:
    """Logits of every layer from torch's cell; a token's routing follows its own first layer, even where experts add nothing."""
    model, w = made("rmoe", **RMOE)
    cell = nn.GRUCell(6, 6)
    with torch.no_grad():
        for theirs, ours in (
            ("weight_ih", "input.weight"),
            ("weight_hh", "recurrent.weight"),
            ("bias_ih", "input.bias"),
            ("bias_hh", "recurrent.bias"),
        ):
            getattr(cell, theirs).copy_(w[f"cell.{ours}"])
        for name, p in w.items():
            if name.endswith(("down_proj.weight", "o_proj.weight")):
                p.zero_()
    ins: dict[str, Tensor] = {}
    outs: dict[str, Tensor] = {}
    for i in range(3):
        prefix = next(n for n in w if n.startswith(f"layers.{i}.") and n.endswith("into.weight")).removesuffix(".into.weight")
        model.get_submodule(f"{prefix}.into").register_forward_hook(lambda m, x, o, i=i: ins.__setitem__(str(i), o))
        model.get_submodule(f"{prefix}.gate").register_forward_hook(lambda m, x, o, i=i: outs.__setitem__(str(i), o))
    tokens = torch.randint(0, 11, (2, 5))
    model(tokens)
    h = torch.zeros(10, 6)
    for i in range(3):
        h = cell(ins[str(i)].flatten(0, 1), h)
        gate = next(p for n, p in w.items() if n.startswith(f"layers.{i}.") and n.endswith("gate.weight"))
        assert difference(outs[str(i)].flatten(0, 1), h @ gate.mT) < 1e-6
    before = outs["2"].clone()
    other = tokens.clone()
    other[0, 2] = (other[0, 2] + 1) % 11
    model(other)
    changed = (outs["2"] - before).abs().amax(-1) > 1e-12
    assert changed.nonzero().tolist() == [[0, 2]]
    assert difference(decoded(model, tokens, 2), model(tokens)) < CLOSE


@pytest.mark.slow
@pytest.mark.row("rmoe")
def test_rmoe_learns_to_copy() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("rmoe", contracts=False, **{**RMOE, "vocab": 6, "d": 32, "depth": 2}).build()
    first, last = falls(model, copying(model, 6, half=3, batch=32), 300, lr=5e-3)
    assert last < 0.5 * first


# ---- global_workspace


@pytest.mark.row("global_workspace")
def test_the_workspace_adds_by_increments() -> None:
    """Input, then b increments, then keep: a + b for all pairs, exactly."""
    text = """import "sequence/global_workspace.arch" as lib
        arch A { in w: [19]; in first: [19]; in gates: [3]; return lib.Workspace(w, first, gates) }"""
    step = archdsl.parse(text).build(dtype="float64")
    a, b = (t.flatten() for t in torch.meshgrid(torch.arange(10), torch.arange(10), indexing="ij"))
    first, w = F.one_hot(a, 19).double(), torch.zeros(100, 19)
    for t in range(12):
        call = torch.zeros_like(b) if t == 0 else torch.where(t <= b, 1, 2)
        w = step(w, first, F.one_hot(call, 3).double())
    assert torch.equal(w, F.one_hot(a + b, 19).double())


@pytest.mark.slow
@pytest.mark.row("global_workspace")
def test_the_controller_learns_to_count() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("global_workspace", contracts=False, digits=9, n=32, steps=7).build()
    pairs = torch.tensor([(a, b) for a in range(5) for b in range(5)])
    held = (pairs.sum(1) + pairs[:, 0]) % 5 == 1
    train, rest = pairs[~held], pairs[held]
    falls(model, lambda step: F.nll_loss(model(train[:, 0], train[:, 1]), train.sum(1)), 500, lr=1e-2)
    with torch.no_grad():
        right = model.eval()(rest[:, 0], rest[:, 1]).argmax(-1) == rest.sum(1)
    assert float(right.float().mean()) > 0.9


# ---- doh

DOH: dict[str, Any] = {"latent": 200, "hidden": 20, "depth": 3, "octaves": 4}


@pytest.mark.row("doh")
def test_doh_weights_are_projections_of_the_code() -> None:
    spec = archdsl.load("doh", contracts=False, **DOH)
    model, again = spec.build(dtype="float64", seed=7), spec.build(dtype="float64", seed=7)
    (code,) = model.parameters()
    assert code.numel() == spec.parameters == 200
    with torch.no_grad():
        next(again.parameters()).copy_(code)  # seed and code are all there is to send
    x = torch.rand(1, 9, 2)
    assert torch.equal(model(x), again(x))
    layers = dict(model.named_buffers())
    turns = torch.cat([2**k * math.pi * x for k in range(4)], -1)
    y, leaves = torch.cat([turns.sin(), turns.cos()], -1), []
    for i, P in enumerate(layers.values()):
        W = (P @ code.detach()).view(-1, y.shape[-1]).requires_grad_()
        leaves.append((P, W))
        y = y @ W.mT if i == len(layers) - 1 else F.relu(y @ W.mT)
    assert difference(model(x), y) < CLOSE
    seed = torch.randn_like(y)
    ours = torch.autograd.grad((model(x) * seed).sum(), code)[0]
    found = torch.autograd.grad((y * seed).sum(), [W for _, W in leaves])
    assert difference(ours, sum(P.mT @ g.flatten() for (P, _), g in zip(leaves, found))) < CLOSE


@pytest.mark.row("doh")
def test_doh_begins_with_the_spread_of_plain_layers() -> None:
    model = archdsl.load("doh", contracts=False, latent=2000, hidden=64, depth=3).build(dtype="float64")
    (code,) = model.parameters()
    for P in model.buffers():
        rows = 3 if P.shape[0] < 1000 else 64
        spread = 1 / math.sqrt(3 * P.shape[0] // rows)
        assert float((P @ code).std()) == pytest.approx(spread, rel=0.1 if rows == 3 else 0.05)


@pytest.mark.slow
@pytest.mark.row("doh")
def test_longer_codes_fit_an_image_better() -> None:
    torch.set_default_dtype(torch.float32)
    at = torch.stack(torch.meshgrid(torch.linspace(-1, 1, 32), torch.linspace(-1, 1, 32), indexing="ij"), -1).view(1, -1, 2)
    image = torch.stack([torch.sin(3 * at[..., 0]), torch.cos(4 * at[..., 1] + at[..., 0]), (at.square().sum(-1) < 0.5).float()], -1)
    psnr = []
    for latent in (20, 100, 500):
        model = archdsl.load("doh", contracts=False, latent=latent, hidden=20, depth=2, octaves=4).build()
        last = falls(model, lambda step, model=model: (model(at) - image).square().mean(), 150, lr=1e-2)[1]
        psnr.append(-10 * math.log10(last))
    assert psnr == sorted(psnr)
    assert psnr[2] > psnr[0] + 3


# ---- mip-hypernet


@pytest.mark.row("mip-hypernet")
def test_mip_encoding_and_magnitudes() -> None:
    """The encoding's norm is sqrt(d); predicted changes do not grow with gamma; the usual form's grow in proportion."""
    gamma = torch.rand(50, 3)
    e = torch.cat([torch.cos(math.pi * gamma / 2), torch.sin(math.pi * gamma / 2)], -1)
    assert (e.norm(dim=-1) - math.sqrt(3)).abs().max() < 1e-6
    spreads = {}
    for mip in (True, False):
        model = archdsl.load("mip_hypernet", contracts=False, gammas=1, features=8, width=64, encoded=mip, residual=mip).build(
            dtype="float64"
        )
        seen: list[Tensor] = []
        hook = next(m for n, m in model.named_modules() if n.startswith("layers.1") and n.endswith(".weight"))
        hook.register_forward_hook(lambda m, i, o, seen=seen: seen.append(o))
        for g in (0.1, 1.0):
            model(torch.full((1, 1), g), torch.randn(1, 4, 8))
        base = next((p for n, p in model.named_parameters() if n.startswith("layers.1") and p.shape == (64, 64)), torch.zeros(64, 64))
        spreads[mip] = [float((base.flatten() + s.flatten()).std()) for s in seen]
    assert spreads[False][1] / spreads[False][0] == pytest.approx(10)
    assert max(spreads[True]) / min(spreads[True]) < 1.05


@pytest.mark.row("mip-hypernet")
@torch.no_grad()
def test_without_the_last_matrices_the_plain_network_remains() -> None:
    model = archdsl.load("mip_hypernet", contracts=False, features=3, width=5).build(dtype="float64")
    w = dict(model.named_parameters())
    for name, p in w.items():
        if name.endswith((".weight.weight", ".bias.weight")):
            p.zero_()
    x = torch.randn(2, 4, 3)
    y = x
    plain = [p for n, p in w.items() if p.dim() == 2 and "hyper" not in n and not n.endswith((".weight.weight", ".bias.weight"))]
    for i, W in enumerate(plain):
        y = y @ W.mT
        y = F.relu(y) if i < len(plain) - 1 else y
    assert difference(model(torch.rand(2, 1), x), y) < CLOSE
    assert difference(model(torch.rand(2, 1), x), model(torch.rand(2, 1), x)) < CLOSE


@pytest.mark.slow
@pytest.mark.row("mip-hypernet")
def test_mip_learns_faster() -> None:
    """y = sin(3 gamma x): the mean loss over a short run, median of five seeds."""
    torch.set_default_dtype(torch.float32)
    found = {}
    for mip in (True, False):
        runs = []
        for seed in range(5):
            model = archdsl.load("mip_hypernet", contracts=False, width=16, encoded=mip, residual=mip).build(seed=seed)

            def loss(step: int, model: nn.Module = model) -> Tensor:
                torch.manual_seed(step)
                gamma, x = torch.rand(32, 1), 2 * torch.rand(32, 16, 1) - 1
                return (model(gamma, x) - torch.sin(3 * gamma[:, None] * x)).square().mean()

            runs.append(falls(model, loss, 120)[1])
        found[mip] = sorted(runs)[2]
    assert found[True] < found[False]
