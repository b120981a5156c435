"""Rows on recursion over depth: Universal Transformer, SReT, MoR, R2U-Net, CGAR."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.compiler.collect import collect_aux, rounds, set_rounds
from archdsl.diagnostics import ArchError
from archdsl.training.stages import curriculum
from archdsl.training.supervision import CGAR, FULL, blank, calls, mean_cost, supervise, supervision_weights
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


def norm(w: dict[str, Tensor], name: str, x: Tensor, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w[f"{name}.weight"], w[f"{name}.bias"], eps)


def lin(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def attended(w: dict[str, Tensor], name: str, x: Tensor, heads: int) -> Tensor:
    q, k, v = (lin(w, f"{name}.{p}_proj", x).unflatten(-1, (heads, -1)).transpose(-3, -2) for p in "qkv")
    return lin(w, f"{name}.o_proj", F.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2))


# ---- universal_transformer

UT = {"vocab": 11, "d": 8, "heads": 2, "hidden": 12}


def coordinates(time: int, step: int, d: int) -> Tensor:
    speed = 10_000 ** (-torch.arange(0, d, 2) / d)
    found = torch.zeros(time, d)
    angle = torch.arange(float(time))[:, None] * speed
    found[:, 0::2], found[:, 1::2] = angle.sin() + (step * speed).sin(), angle.cos() + (step * speed).cos()
    return found


def encoder_step(w: dict[str, Tensor], x: Tensor, step: int) -> Tensor:
    x = x + coordinates(x.shape[1], step, x.shape[2])
    a = norm(w, "encode.PostNorm.norm", x + attended(w, "encode.PostNorm.f", x, 2))
    f = lin(w, "encode.PostNorm_2.f.fc_out", F.relu(lin(w, "encode.PostNorm_2.f.fc_in", a)))
    return norm(w, "encode.PostNorm_2.norm", a + f)


def encoder(adaptive: bool, steps: int, cost: float = 0.0) -> tuple[nn.Module, dict[str, Tensor]]:
    """The encoder alone: what it makes of [B, T, 8]."""
    halting = f" until halt(threshold=0.99, bias=1, cost={cost})" if adaptive else ""
    text = f"""import "language/universal_transformer.arch" as lib
        arch A {{ in x: [T, 8]; encode = lib.EncoderStep(2, 12); return x -> run: loop i in 0..{steps}{halting} {{ in x; return encode(x, i) }} }}"""
    model = moved(archdsl.parse(text).build(dtype="float64").eval())
    return model, dict(model.named_parameters())


@pytest.mark.row("universal_transformer")
def test_universal_transformer_repeats_one_layer() -> None:
    x = torch.randn(2, 5, 8)
    for steps in (1, 3):
        model, w = encoder(False, steps)
        wanted = x
        for t in range(steps):
            wanted = encoder_step(w, wanted, t)
        assert difference(model(x), wanted) < CLOSE
    sizes = {n: archdsl.load("universal_transformer", contracts=False, steps=n).parameters for n in (1, 6, 12)}
    assert len(set(sizes.values())) == 1
    shapes = archdsl.load("universal_transformer", contracts=False).weight_shapes
    encode, decode = (
        sum(torch.Size(s).numel() for n, s in shapes.items() if n.startswith(p) and len(s) == 2) for p in ("encode", "decode")
    )
    assert (encode, decode) == (12_582_912, 16_777_216)


@pytest.mark.row("universal_transformer")
def test_adaptive_halting() -> None:
    """Weights sum to one, halted positions stay, a unit that never halts runs to the last step with what remains."""
    x = torch.randn(2, 5, 8)
    model, w = encoder(True, 4, cost=0.5)
    with torch.no_grad():
        w["run.halt.bias"].fill_(0.3)
        w["run.halt.weight"].mul_(30)
    state, left, mean, ponder, shares = x, torch.ones(2, 5, 1), torch.zeros_like(x), torch.zeros(2, 5, 1), torch.zeros(2, 5, 1)
    for t in range(4):
        new = encoder_step(w, state, t)
        p = torch.sigmoid(lin(w, "run.halt", new))
        stops = (1 - left + p >= 0.99) if t < 3 else torch.ones_like(left, dtype=torch.bool)
        share = torch.where(left > 0, torch.where(stops, left, p), torch.zeros(()))
        ponder = ponder + (left > 0) + torch.where(stops & (left > 0), left, torch.zeros(()))
        mean, shares = mean + share * new, shares + share
        state = torch.where(left > 0, new, state)
        left = left - share
    assert difference(shares, torch.ones(2, 5, 1)) < CLOSE
    assert difference(model.train()(x), mean) < CLOSE
    assert len({round(float(v)) for v in ponder.floor().flatten()}) > 1  # positions stop at different steps
    ours = collect_aux(model)["run_ponder"]
    assert difference(ours, 0.5 * ponder.mean()) < CLOSE
    for a, b in zip(*(torch.autograd.grad(v, w["run.halt.weight"], retain_graph=True) for v in (ours, 0.5 * ponder.mean()))):
        assert difference(a, b) < 1e-9
    with torch.no_grad():
        w["run.halt.bias"].fill_(-1e3)
    model(x)
    assert float(collect_aux(model)["run_ponder"]) == pytest.approx(0.5 * (4 + 1))


@pytest.mark.row("universal_transformer")
@pytest.mark.parametrize("adaptive", [False, True])
def test_universal_transformer_decodes(adaptive: bool) -> None:
    model, _ = made("universal_transformer", **UT, steps=3, adaptive=adaptive)
    source, target = torch.randint(0, 11, (2, 6)), torch.randint(0, 11, (2, 7))
    assert difference(decoded(model, target, 3, source), model(source, target)) < CLOSE


@pytest.mark.slow
@pytest.mark.row("universal_transformer")
def test_universal_transformer_learns_to_copy() -> None:
    """Copies five symbols; seven, which it has not seen, are reported only to be better than chance."""
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("universal_transformer", contracts=False, vocab=8, d=32, heads=2, steps=2, adaptive=True).build()

    def loss(step: int, n: int = 5) -> Tensor:
        torch.manual_seed(step)
        rows = torch.randint(1, 8, (32, n))
        return F.cross_entropy(model(rows, F.pad(rows, (1, 0))[:, :-1]).flatten(0, 1), rows.flatten()) + 0.0 * step

    first, last = falls(model, loss, 250, lr=3e-3)
    assert last < 0.5 * first
    with torch.no_grad():
        assert float(loss(10**6, 6)) < first


# ---- sret

SRET: dict[str, Any] = {"size": 32, "width": 4, "heads": [1, 2, 4], "blocks": [1, 1, 1], "slices": [[2, 2], [1, 1], [1, 1]], "classes": 5}


@pytest.mark.row("sret")
def test_sret_sizes() -> None:
    assert archdsl.load("sret").parameters == 4_755_979
    large = archdsl.load("sret", contracts=False, ratio=4.0)
    small = archdsl.load("sret", contracts=False, ratio=3.0, width=42, heads=[3, 6, 12], between=2)
    assert [round(s.parameters / 1e6, 1) for s in (large, small)] == [5.0, 20.9]
    for sizes, published in (({}, (1.4, 1.1)), ({"ratio": 3.0, "width": 42, "heads": [3, 6, 12], "between": 2}, (4.7, 4.2))):
        whole, sliced = (archdsl.load("sret", contracts=False, **sizes, **s).flops() / 2e9 for s in ({"slices": [[1, 1]] * 3}, {}))
        assert round(whole, 1) == published[0]
        assert sliced < whole
        assert abs(sliced / whole - published[1] / published[0]) < 0.05


def sret_block(w: dict[str, Tensor], p: str, x: Tensor, heads: int) -> Tensor:
    """One run of a block on slices [.., n, d]."""
    n = norm(w, f"{p}Scaled.norm", x, 1e-6)
    x = w[f"{p}Scaled.a"] * x + w[f"{p}Scaled.b"] * attended(w, f"{p}Scaled.f", n, heads)
    return _mlp(w, f"{p}Scaled_2", x)


def _mlp(w: dict[str, Tensor], p: str, x: Tensor) -> Tensor:
    n = norm(w, f"{p}.norm", x, 1e-6)
    return w[f"{p}.a"] * x + w[f"{p}.b"] * lin(w, f"{p}.f.fc_out", F.gelu(lin(w, f"{p}.f.fc_in", n)))


@pytest.mark.row("sret")
@pytest.mark.parametrize("slices", [[2, 1], [1, 1]])
def test_sret_runs_each_block_twice_with_a_layer_of_its_own_after_each_run(slices: list[int]) -> None:
    text = f'import "vision/sret.arch" as lib\narch A {{ in x: [8, 4, 4]; return x -> it: lib.Stage(1, 2, 2, {slices}, 2.0, 1) }}'
    model = moved(archdsl.parse(text).build(dtype="float64").eval())
    w = {n.removeprefix("it."): p for n, p in model.named_parameters()}
    x = torch.randn(2, 8, 4, 4)
    y = x.flatten(2).mT
    for run, count in enumerate(slices):
        y = sret_block(w, "blocks.0.block.", y.unflatten(1, (count, -1)), 2).flatten(1, 2)
        y = _mlp(w, f"blocks.0.runs.{run}.between", y)
    assert difference(model(x), y.mT.unflatten(2, (4, 4))) < CLOSE


@pytest.mark.row("sret")
def test_a_permutation_before_whole_attention_changes_nothing() -> None:
    """One slice is no slice; the random order of the tokens is put back after."""
    head = 'import "vision/sret.arch" as lib\narch A {{ in x: [8, 4]; f = linear(4); return x -> {} }}'
    x = torch.randn(2, 8, 4)
    for text in ("lib.Sliced(f, 1, true)", "lib.Mixed(f)", "lib.Sliced(f, 2, true)", "lib.Sliced(f, 2, false)"):
        model = archdsl.parse(head.format(text)).build(dtype="float64")
        assert difference(model(x), lin(dict(model.named_parameters()), "f", x)) < CLOSE


@pytest.mark.slow
@pytest.mark.row("sret")
def test_sret_learns() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("sret", contracts=False, **{**SRET, "classes": 2}).build()

    def loss(step: int) -> Tensor:
        torch.manual_seed(step)
        y = torch.randint(0, 2, (16,))
        images = torch.randn(16, 3, 32, 32)
        images[:, :, :16] += y[:, None, None, None]
        return F.cross_entropy(model(images), y)

    first, last = falls(model, loss, 60)
    assert last < 0.6 * first


# ---- mor

MOR: dict[str, Any] = {"vocab": 11, "d": 16, "depth": 5, "heads": 4, "kv_heads": 2, "hidden": 24, "loops": 3}


def recursion(capacities: str, alpha: float = 0.1, predict: float = 0.0) -> tuple[nn.Module, dict[str, Tensor]]:
    """The routed loops alone, around one causal layer without positions: [B, T, 8] -> [B, T, 8]."""
    text = f"""import "language/mor.arch" as lib
        import "std/transformer.arch"
        block F = residual(rmsnorm -> Attention(2, rope=none)) -> residual(rmsnorm -> SwiGLU(12))
        arch A {{ in x: [T, 8]; f = F; return x -> lib.Recur(f, 0, {capacities}, {alpha}, {predict}) }}"""
    model = moved(archdsl.parse(text).build(dtype="float64"))
    return model, dict(model.named_parameters())


def routers(w: dict[str, Tensor]) -> list[Tensor]:
    return [w[n] for n in sorted((n for n in w if n.endswith("router.weight")), key=len)]


@pytest.mark.row("mor")
def test_mor_counts() -> None:
    def size(**of: Any) -> int:
        return archdsl.load("mor", contracts=False, routed=False, **of).parameters

    assert size(loops=1) == 361_821_120
    assert size(loops=1) - 49152 * 960 == 314_635_200
    assert size(loops=2) - 49152 * 960 == size(loops=2, sharing="sequence") - 49152 * 960 == 167_150_400
    assert archdsl.load("mor", contracts=False, loops=2).parameters == size(loops=2) + 2 * 960


@pytest.mark.row("mor")
def test_full_capacity_is_the_plain_loop() -> None:
    """Everything chosen and gates wide open (alpha = 1): x + f(x), three times."""
    model, w = recursion("[1, 1, 1]", alpha=1.0)
    with torch.no_grad():
        for r in routers(w):
            r.zero_()
            r[0, 0] = 1e4
    x = torch.randn(2, 6, 8)
    x[..., 0] = x[..., 0].abs() + 1e6  # the residual stream keeps this feature far above zero, and rmsnorm bounds what f adds
    f = model.get_submodule("f")
    wanted = x
    for _ in range(3):
        wanted = wanted + f(wanted)
    assert difference(model.train()(x), wanted) < CLOSE


@pytest.mark.row("mor")
def test_each_loop_runs_on_the_chosen_only() -> None:
    model, w = recursion("[1, 2 / 3, 1 / 3]", predict=0.5)
    x, f = torch.randn(2, 6, 8), model.get_submodule("f")
    ours = model.train()(x)
    for row in range(2):
        y, alive = x[row].clone(), torch.arange(6)
        for k, router in zip((6, 4, 2), routers(w)):
            scores = y[alive] @ router[0]
            alive = alive[scores.topk(k).indices.sort().values]
            part = y[alive]
            y[alive] = part + 0.1 * torch.sigmoid(part @ router[0])[:, None] * f(part[None])[0]
        assert difference(ours[row], y) < CLOSE
    aux = collect_aux(model)
    assert len(aux) == 3
    assert float(aux[min(aux, key=len)]) == pytest.approx(0.5 * float(F.softplus(-(x @ routers(w)[0][0])).mean()))  # all chosen


@pytest.mark.row("mor")
def test_mor_decodes_by_threshold_and_leaves_the_others_alone() -> None:
    model, _ = made("mor", **MOR)
    tokens = torch.randint(0, 11, (2, 9))
    assert difference(decoded(model, tokens, 4), model(tokens)) < CLOSE
    loops, w = recursion("[1, 2 / 3, 1 / 3]")
    x = torch.randn(1, 9, 8)
    open_ = (x @ routers(w)[0][0]) > 0
    assert torch.equal(loops.eval()(x)[~open_], x[~open_])
    assert 0 < int(open_.sum()) < 9


@pytest.mark.slow
@pytest.mark.row("mor")
def test_mor_learns_to_copy() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("mor", contracts=False, **{**MOR, "vocab": 6, "d": 32, "loops": 2, "depth": 4, "alpha": 1.0}).build()
    first, last = falls(model, copying(model, 6, half=3, batch=32), 250)
    assert last < 0.6 * first


# ---- r2unet


@pytest.mark.row("r2unet")
def test_r2unet_size_and_cost() -> None:
    sizes = {t: archdsl.load("r2unet", contracts=False, steps=t) for t in (0, 1, 2, 3)}
    assert {s.parameters for s in sizes.values()} == {39_091_393}
    flops = [s.flops(H=64, W=64) for s in sizes.values()]
    maps = [(c, 64 // 2**i) for i, c in enumerate((64, 128, 256, 512, 1024))]
    step = sum(2 * 2 * 9 * c * c * h * h * (1 if c == 1024 else 2) for c, h in maps)  # two per unit, a unit on either side
    assert {b - a for a, b in itertools.pairwise(flops)} == {step}


@pytest.mark.row("r2unet")
@pytest.mark.parametrize("steps", [0, 2])
def test_r2unet_unit(steps: int) -> None:
    """h + RCL(RCL(h)), h a 1x1 convolution; without steps a plain residual unit of two convolutions."""
    text = f'import "vision/r2unet.arch" as lib\narch A {{ in x: [3, 8, 8]; return x -> it: lib.Unit(4, {steps}, true) }}'
    model = moved(archdsl.parse(text).build(dtype="float64").eval())
    w = {n.removeprefix("it."): p for n, p in model.named_parameters()}
    x = torch.randn(2, 3, 8, 8)

    def recurrent(p: str, x: Tensor) -> Tensor:
        def f(x: Tensor) -> Tensor:
            y = F.conv2d(x, w[f"{p}.f.conv2d.weight"], w[f"{p}.f.conv2d.bias"], padding=1)
            return F.relu(F.batch_norm(y, torch.zeros(4), torch.ones(4), w[f"{p}.f.batchnorm.weight"], w[f"{p}.f.batchnorm.bias"]))

        y = f(x)
        for _ in range(steps):
            y = f(x + y)
        return y

    h = F.conv2d(x, w["fit.weight"], w["fit.bias"])
    assert difference(model(x), h + recurrent("second", recurrent("first", h))) < CLOSE


@pytest.mark.slow
@pytest.mark.row("r2unet")
def test_r2unet_segments_discs() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("r2unet", contracts=False, levels=2, width=8, channels=1).build()
    grid = torch.arange(32.0)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(step)
        cx, cy, r = torch.rand(8) * 16 + 8, torch.rand(8) * 16 + 8, torch.rand(8) * 4 + 4
        mask = (((grid - cx[:, None]) ** 2)[:, None] + ((grid - cy[:, None]) ** 2)[:, :, None] < r[:, None, None] ** 2).float()[:, None]
        return mask + 0.5 * torch.randn(8, 1, 32, 32), mask

    falls(model, lambda s: F.binary_cross_entropy_with_logits(model(batch(s)[0]), batch(s)[1]), 60, lr=1e-2)
    images, mask = batch(10**6)
    found = (model.eval()(images) > 0).float()
    assert float(2 * (found * mask).sum() / (found.sum() + mask.sum())) > 0.9


# ---- cgar

TRM: dict[str, Any] = {"vocab": 5, "d": 16, "heads": 2, "hidden": 32}


@pytest.mark.row("cgar")
def test_cgar_costs() -> None:
    """41.4 % saved (D = T (n + 1) n_L, up to a factor the count of net calls); 3, 10, 21 calls; weights that sum to one."""
    assert 1 - mean_cost(CGAR, FULL) == pytest.approx(1 - 24.6 / 42)
    assert [calls(s) for _, s in CGAR] + [calls(FULL)] == [3, 10, 21]
    weights = supervision_weights(16, 0.7)
    assert sum(weights) == pytest.approx(1)
    assert all(b / a == pytest.approx(0.7) for a, b in itertools.pairwise(weights))


@pytest.mark.row("cgar")
def test_depth_is_an_argument_of_the_built_model() -> None:
    """Net calls follow the counts, weights do not change, and running shallow equals the shallow spec."""
    spec = archdsl.load("trm", contracts=False, **TRM)
    model = moved(spec.build(dtype="float64").eval())
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    model.get_submodule("net").register_forward_hook(note)
    tokens = torch.randint(0, 5, (2, 16))
    carry = blank(tokens, 16, torch.float64)
    assert rounds(model) == {"deep": 2, "think": 6}
    for settings, wanted in ((CGAR[0][1], 3), (CGAR[1][1], 10), (FULL, 21)):
        set_rounds(model, think=settings["n"], deep=settings["cycles"] - 1)
        count = 0
        out = model(tokens, *carry)
        assert count == wanted
        shallow = archdsl.load("trm", contracts=False, **TRM, **settings).build(dtype="float64").eval()
        shallow.load_state_dict(model.state_dict())
        assert difference(shallow(tokens, *carry)[0], out[0]) < CLOSE
    stages = curriculum(spec, model, CGAR)
    assert all(s.model.state_dict().keys() == model.state_dict().keys() for s in stages)
    with pytest.raises(ArchError):
        set_rounds(model, thinks=2)


@pytest.mark.row("cgar")
def test_only_the_last_cycle_is_learned_from() -> None:
    model = archdsl.load("trm", contracts=False, **TRM, n=2, cycles=3).build(dtype="float64")
    tokens = torch.randint(0, 5, (1, 16))
    y, z = (c.requires_grad_() for c in blank(tokens, 16, torch.float64))
    logits = model(tokens, y, z)[0]
    assert torch.autograd.grad(logits.sum(), [y, z], allow_unused=True) == (None, None)
    set_rounds(model, deep=0)


def sudoku(step: int, size: int) -> tuple[Tensor, Tensor]:
    """4 x 4 Sudokus by relabelling one grid, half of the fields hidden (0)."""
    torch.manual_seed(step)
    base = torch.tensor([[0, 1, 2, 3], [2, 3, 0, 1], [1, 0, 3, 2], [3, 2, 1, 0]])
    rows = []
    for _ in range(size):
        a, b = torch.randperm(2), torch.randperm(2)
        order = torch.cat([2 * a[:, None] + torch.randperm(2)[None]]).flatten()
        columns = torch.cat([2 * b[:, None] + torch.randperm(2)[None]]).flatten()
        rows.append((torch.randperm(4)[base[order][:, columns]] + 1).flatten())
    full = torch.stack(rows)
    return full * (torch.rand(full.shape) < 0.5), full


@pytest.mark.slow
@pytest.mark.row("cgar")
def test_cgar_reaches_what_constant_depth_reaches() -> None:
    torch.set_default_dtype(torch.float32)
    found = {}
    for name, plan in (("constant", ()), ("cgar", CGAR)):
        model = archdsl.load("trm", contracts=False, **{**TRM, "d": 32, "hidden": 64}).build()
        adam, spent, steps, weights = torch.optim.Adam(model.parameters(), 3e-3), 0, 120, supervision_weights(3)

        def update(loss: Tensor, adam: torch.optim.Optimizer = adam, model: nn.Module = model) -> None:
            adam.zero_grad()
            (3 * loss).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            adam.step()

        for step in range(steps):
            settings = next((s for until, s in plan if step < until * steps), FULL)
            set_rounds(model, think=settings["n"], deep=settings["cycles"] - 1)
            tokens, full = sudoku(step, 32)
            supervise(
                model,
                tokens,
                lambda logits, stop, full=full: F.cross_entropy(logits.flatten(0, 1), full.flatten()),
                blank(tokens, 32),
                weights,
                update,
            )
            spent += 3 * calls(settings)
        set_rounds(model, think=6, deep=2)
        tokens, full = sudoku(10**6, 64)
        with torch.no_grad():
            carry = blank(tokens, 32)
            for _ in range(3):
                logits, _, *after = model.eval()(tokens, *carry)
                carry = (after[0], after[1])
        found[name] = (float((logits.argmax(-1) == full)[tokens == 0].float().mean()), spent)
    assert found["cgar"][1] < 0.6 * found["constant"][1]
    assert found["cgar"][0] > max(0.4, found["constant"][0] - 0.1)
