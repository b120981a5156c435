"""Rows on scans: GLA, RetNet, LSSL, Aaren, ParaRNN, SpikeGPT."""

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
from archdsl.recurrence.forms import implicit
from archdsl.recurrence.forms.newton import Newton
from archdsl.recurrence.forms.plan import Setting
from archdsl.recurrence.forms.program import Program
from tests.catalogue.reference import copying, decoded, falls, moved, same
from tests.recurrence.steps import Reference, Tensors, classified, difference, step_of

CLOSE = 1e-10


@pytest.fixture(autouse=True)
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """float64, and the steps as written: that kernels do the same is shown where kernels are tested."""
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setenv("ARCHDSL_KERNELS", "0")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


pytestmark = pytest.mark.filterwarnings("ignore:scans run")


def made(name: str, **sizes: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    model = moved(archdsl.load(name, contracts=False, **sizes).build(dtype="float64").eval())
    return model, dict(model.named_parameters())


def alone(use: str, begin: Tensor | None = None, **inputs: Tensor) -> tuple[Tensor, Tensor]:
    """A scan with one state, by its parallel form: (what it yields, its last state)."""
    yields, ends = Program(classified(use)).run([inputs[t.name] for t in step_of(use).of("input")], [], [begin])
    return yields[0], ends[0]


# ---- gla and retnet

CHUNKED = {"one by one": Setting(chunk=1, sub=1), "sixteen": Setting(chunk=16, sub=4), "whole": Setting(chunk=128)}


@pytest.mark.parametrize("setting", CHUNKED)
@pytest.mark.parametrize(
    "use", [pytest.param("gated_linear", marks=pytest.mark.row("gla")), pytest.param("retention", marks=pytest.mark.row("retnet"))]
)
@pytest.mark.parametrize("time", [64, 37])
def test_chunks_equal_the_step(use: str, setting: str, time: int) -> None:
    """Outputs, final state and every gradient, also where chunks do not divide the length."""
    given = Tensors(use, time)
    Reference(use, given).check(*Program(classified(use)).run(given.inputs, given.weights, given.begin, None, CHUNKED[setting]))


@pytest.mark.row("gla")
def test_gla_special_decays() -> None:
    """No decay is plain linear attention, one decay for all channels is retention, a run may be cut anywhere."""
    q, k, v = torch.randn(2, 20, 5), torch.randn(2, 20, 5), torch.randn(2, 20, 3)
    qkv = {"q": q, "k": k, "v": v}
    plain = alone("linear_attention", **qkv)[0]
    assert difference(alone("gated_linear", **qkv, g=torch.zeros(2, 20, 5))[0], plain) < CLOSE
    g = torch.full((2, 20), math.log(1 - 2**-5))
    assert difference(alone("gated_linear", **qkv, g=g[..., None].expand(2, 20, 5))[0], alone("retention", **qkv, g=g)[0]) < CLOSE
    gated = {**qkv, "g": F.logsigmoid(torch.randn(2, 20, 5))}
    whole, end = alone("gated_linear", **gated)
    first, state = alone("gated_linear", **{n: x[:, :7] for n, x in gated.items()})
    rest, last = alone("gated_linear", begin=state, **{n: x[:, 7:] for n, x in gated.items()})
    assert difference(torch.cat([first, rest], 1), whole) < CLOSE
    assert difference(last, end) < CLOSE


@pytest.mark.row("gla")
def test_gla_sizes() -> None:
    spec = archdsl.load("gla")
    assert spec.parameters == sum(p.numel() for p in spec.build(device="meta").parameters()) == 1_365_514_240
    assert (
        archdsl.load("gla", contracts=False, d=1024).parameters
        == 24 * (2 * 1024**2 + 2 * 1024**2 + 1024 * 16 + 17 * 512 + 64 * 4 + 3 * 1024 * 2816 + 2048) + 2 * 32000 * 1024 + 1024
    )


@pytest.mark.row("retnet")
def test_retnet_sizes() -> None:
    spec = archdsl.load("retnet")
    layers = next(n.instance for n in spec.graph.root.nodes if n.op == "repeat")
    assert sum(spec.costs.parameters(r) for r in layers.rounds) == 1_220_640_768
    own = archdsl.load("retnet", contracts=False, gated=False, width=4096)
    per_layer = sum(math.prod(s) for n, s in own.weight_shapes.items() if n.startswith("layers.0.") and len(s) > 1)
    assert per_layer == 12 * 2048**2


@pytest.mark.row("retnet")
def test_retention_without_decay_and_phases_is_linear_attention() -> None:
    q, k, v = torch.randn(3, 33, 5), torch.randn(3, 33, 5), torch.randn(3, 33, 3)
    ours, _ = alone("retention", q=q, k=k, v=v, g=torch.zeros(3, 33))
    assert difference(ours, ((q @ k.mT) * torch.ones(33, 33).tril()) @ v) < CLOSE


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        pytest.param("gla", {"d": 16, "heads": 2, "hidden": 24}, marks=pytest.mark.row("gla")),
        pytest.param("retnet", {"d": 16, "heads": 2, "width": 24}, marks=pytest.mark.row("retnet")),
        pytest.param("spikegpt", {"d": 16}, marks=pytest.mark.row("spikegpt")),
        pytest.param("pararnn", {"d": 8, "hidden": 12}, marks=pytest.mark.row("pararnn")),
        pytest.param("pararnn", {"d": 8, "hidden": 12, "cell": "para_lstm"}, marks=pytest.mark.row("pararnn")),
    ],
)
def test_language_models_decode(name: str, sizes: dict[str, Any]) -> None:
    model, _ = made(name, vocab=11, depth=2, **sizes)
    tokens = torch.randint(0, 11, (2, 9))
    assert difference(decoded(model, tokens, 4), model(tokens)) < CLOSE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        pytest.param("gla", {"d": 32, "heads": 2, "hidden": 64}, marks=pytest.mark.row("gla")),
        pytest.param("retnet", {"d": 32, "heads": 2, "width": 64}, marks=pytest.mark.row("retnet")),
        pytest.param("pararnn", {"d": 32, "hidden": 64}, marks=pytest.mark.row("pararnn")),
    ],
)
def test_language_models_learn_to_copy(name: str, sizes: dict[str, Any]) -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load(name, contracts=False, vocab=6, depth=2, **sizes).build()
    first, last = falls(model, copying(model, 6, half=3, batch=32), 400, lr=5e-3)
    assert last < 0.5 * first


# ---- lssl

SYSTEM = {"d": 3, "depth": 1, "n": 4, "channels": 2, "classes": 2}


def lssl_by_convolution(u: Tensor, w: dict[str, Tensor], gamma: float, rate: float = 1.0) -> Tensor:
    """y = K * u + D u with K_t = C Ab^t Bb: the paper's matrices, feature by feature."""
    _, time, d = u.shape
    ys = []
    for h in range(d):
        dt, A, eye = rate * w["log_dt"][h].exp(), w["A"], torch.eye(len(w["A"]))
        inverse = torch.linalg.inv(eye - gamma * dt * A)
        Ab, Bb = inverse @ (eye + (1 - gamma) * dt * A), dt * inverse @ w["B"]
        powers = [Bb]
        for _ in range(time - 1):
            powers.append(Ab @ powers[-1])
        kernel = torch.stack(powers) @ w["C"][h].mT  # [T, m]
        y = torch.stack([sum(kernel[t - s] * u[:, s, h, None] for s in range(t + 1)) for t in range(time)], 1)
        ys.append(y + u[..., h, None] * w["D"][h])
    return torch.stack(ys, 2).flatten(2)


def system(**more: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    args = {
        "n": 4,
        "m": 2,
        "gamma": "1 / 2",
        "low": 1e-2,
        "high": 1.0,
        "fixed": "false",
        "rate": 1,
    } | more
    inner = ", ".join(f"{k}={v}" for k, v in args.items())
    text = f'import "sequence/lssl.arch" as lib\narch A {{ in x: [T, 3]; return x -> it: lib.LinearStateSpace({inner}) }}'
    model = archdsl.parse(text).build(dtype="float64").eval()
    return model, {n.removeprefix("it."): p for n, p in [*model.named_parameters(), *model.named_buffers()]}


@pytest.mark.row("lssl")
@pytest.mark.parametrize("gamma", ["1 / 2", "1", "0"])
def test_lssl_convolution_equals_recurrence(gamma: str) -> None:
    model, w = system(gamma=gamma, low=1e-3, high=1e-1)
    x = torch.randn(2, 12, 3)
    wanted = lssl_by_convolution(x, w, eval(gamma))
    assert difference(model(x), wanted) < CLOSE
    assert difference(model.train()(x), wanted) < CLOSE
    assert difference(decoded(model.eval(), x, 5), wanted) < CLOSE


@pytest.mark.row("lssl")
def test_lssl_gate_identity() -> None:
    """N = 1, A = -1, B = C = 1, D = 0, backward Euler, dt = exp(z): a sigmoid forget gate."""
    model, w = system(n=1, m=1, gamma=1)
    z = torch.tensor([-1.0, 0.3, 2.0])
    with torch.no_grad():
        for name, value in (("A", -1.0), ("B", 1.0), ("C", 1.0), ("D", 0.0)):
            w[name].fill_(value)
        w["log_dt"].copy_(z)
    x, h, wanted = torch.randn(1, 10, 3), torch.zeros(3), []
    for t in range(10):
        h = (1 - torch.sigmoid(z)) * h + torch.sigmoid(z) * x[0, t]
        wanted.append(h)
    assert difference(model(x)[0], torch.stack(wanted)) < CLOSE


@pytest.mark.row("lssl")
def test_lssl_legs_is_stable_and_follows_the_sampling_rate() -> None:
    _, w = system(n=32)
    A = w["A"].detach()
    root = torch.sqrt(2 * torch.arange(32.0) + 1)
    assert torch.allclose(A.tril(-1), -torch.outer(root, root).tril(-1), atol=1e-5)
    assert torch.equal(A.diagonal(), -torch.arange(1.0, 33))
    for dt in (1e-3, 1e-2, 1e-1):
        eye = torch.eye(32)
        assert torch.linalg.eigvals(torch.linalg.solve(eye - dt / 2 * A, eye + dt / 2 * A)).abs().max() < 1
    fine, _ = system(n=16, low=2e-3, high=1e-2)
    coarse, _ = system(n=16, low=2e-3, high=1e-2, rate=2)
    coarse.load_state_dict(fine.state_dict())
    t = torch.arange(400) / 400
    u = torch.stack([torch.sin(2 * math.pi * f * t) for f in (1, 2, 3)], -1)[None]
    a, b = fine(u)[:, 1::2], coarse(u[:, 1::2])
    assert float((a - b).norm() / a.norm()) < 0.1 < float((a - fine(u[:, 1::2])).norm() / a.norm())


@pytest.mark.slow
@pytest.mark.row("lssl")
def test_lssl_remembers_over_a_hundred_steps() -> None:
    """Recall of six values, the newest 60 and the oldest 180 steps ago, with a fixed A: LegS learns it, a random matrix does not.

    One value alone would tell nothing: any system slow enough keeps it.
    """
    torch.set_default_dtype(torch.float32)
    errors = {}
    for start in ("legs", "random"):
        model = archdsl.load("lssl", contracts=False, d=16, depth=1, n=32, classes=6, fixed=True, low=5e-3, high=5e-2).build()
        if start == "random":
            next(t for n, t in model.named_buffers() if n.endswith(".A")).normal_(std=32**-0.5)

        def loss(step: int, model: nn.Module = model) -> Tensor:
            torch.manual_seed(step)
            values = torch.randn(32, 6)
            x = F.pad(values.repeat_interleave(20, 1), (0, 60)).unsqueeze(-1)
            return (model(x)[:, -1] - values).square().mean()

        errors[start] = falls(model, loss, 150, lr=3e-3)[1]
    assert errors["legs"] < 0.2 < 0.6 < errors["random"]


# ---- aaren


@pytest.mark.row("aaren")
def test_aaren_counts_and_streams() -> None:
    spec = archdsl.load("aaren")
    layer = nn.TransformerEncoderLayer(512, 8, 2048)
    assert sum(p.numel() for p in layer.parameters()) == 3_152_384
    assert spec.parameters == 3_152_384 + 512
    assert isinstance(spec.state_bytes(), int)
    model, _ = made("aaren", d=16, depth=2, heads=2, hidden=24)
    x = torch.randn(2, 9, 16)
    assert difference(decoded(model, x, 4), model(x)) < 1e-12


@pytest.mark.row("aaren")
@torch.no_grad()
def test_aaren_merges_in_any_order() -> None:
    """(m, u, w) of two stretches give that of both: the states of a split run, merged, are those of the whole; also with nothing before."""
    s, v = 1e4 * torch.randn(1, 12), torch.randn(1, 12, 5)

    def state(a: int, b: int) -> list[Tensor]:
        return Program(classified("aaren")).run([s[:, a:b], v[:, a:b]], [], [None] * 3)[1]

    def merge(x: list[Tensor], y: list[Tensor]) -> list[Tensor]:
        m = torch.maximum(x[0], y[0])
        left, right = (x[0] - m).exp(), (y[0] - m).exp()
        return [m, x[1] * left + y[1] * right, x[2] * left[:, None] + y[2] * right[:, None]]

    nothing = [torch.full((1,), -math.inf), torch.zeros(1), torch.zeros(1, 5)]
    a, b, c = state(0, 3), state(3, 7), state(7, 12)
    for merged in (merge(merge(a, b), c), merge(a, merge(b, c)), merge(merge(nothing, a), merge(b, c))):
        for x, y in zip(merged, state(0, 12)):
            assert difference(x, y) < 1e-12


@pytest.mark.slow
@pytest.mark.row("aaren")
def test_aaren_learns() -> None:
    """The largest value so far, position by position."""
    torch.set_default_dtype(torch.float32)
    model = nn.Sequential(
        nn.Linear(1, 16), archdsl.load("aaren", contracts=False, d=16, depth=2, heads=2, hidden=32).build(), nn.Linear(16, 1)
    )

    def loss(step: int) -> Tensor:
        torch.manual_seed(step)
        x = torch.rand(32, 10, 1)
        return (model(x) - x.cummax(1).values).square().mean()

    first, last = falls(model, loss, 200, lr=5e-3)
    assert last < 0.2 * first


# ---- pararnn


@pytest.mark.row("pararnn")
@pytest.mark.parametrize("use", ["para_gru(4)", "para_lstm(4)"])
def test_newton_equals_the_loop(use: str) -> None:
    given = Tensors(use, 65)
    yields, ends = Program(classified(use)).run(given.inputs, given.weights, given.begin, None, Setting(newton=True))
    Reference(use, given).check(yields, ends, 1e-10)


@pytest.mark.row("pararnn")
def test_newton_for_a_dense_network() -> None:
    """tanh(W h + x): every unit is a state of its own, and the Jacobian a full matrix."""
    n, time = 4, 40
    W, x, h0 = (
        (0.4 * torch.randn(n, n)).requires_grad_(),
        torch.randn(2, time, n, requires_grad=True),
        torch.randn(2, n, requires_grad=True),
    )

    def step(before: list[Tensor], read: Any) -> list[Tensor]:
        return list(torch.tanh(torch.stack(before, -1) @ read[1][0, 0].mT + read[0]).unbind(-1))

    solver = Newton()
    ours = torch.stack(implicit.run(step, solver, list(h0.unbind(-1)), [x, W.expand(2, 1, n, n)], time), -1)
    h, wanted = h0, []
    for t in range(time):
        h = torch.tanh(h @ W.mT + x[:, t])
        wanted.append(h)
    same(ours, torch.stack(wanted, 1), W, x, h0)
    assert solver.fallbacks == 0


@pytest.mark.row("pararnn")
def test_newton_needs_one_iteration_where_the_step_is_linear_and_squares_its_residual() -> None:
    x = torch.randn(2, 50, 3)
    linear = Newton(limit=2)  # one to solve, one to see that it is solved
    linear(lambda before, read: [0.9 * before[0] + read[0]], [torch.zeros(2, 3)], [x], 50)
    assert (linear.iterations, linear.fallbacks) == (2, 0)
    residuals = []
    for limit in range(1, 6):
        solver = Newton(tolerance=0.0, limit=limit, otherwise=lambda step, first, read, time: [])
        with pytest.warns(RuntimeWarning):
            solver(lambda before, read: [torch.tanh(0.9 * before[0] + read[0])], [torch.zeros(2, 3)], [x], 50)
        residuals.append(solver.residual)
    steep = [(a, b) for a, b in itertools.pairwise(residuals[1:]) if 1e-7 < a < 0.5]
    assert steep
    assert all(b < 2 * a**2 for a, b in steep)


@pytest.mark.row("pararnn")
def test_a_flip_cell_counts_parity() -> None:
    """One unit: z opens where a bit is set, and the candidate is the opposite of the state. No linear scan with decays above 0 can."""
    model = archdsl.parse('import "std/scans.arch"\narch A { in x: [T, 1]; return x -> cell: para_gru(1) }').build(dtype="float64")
    w = dict(model.named_parameters())
    with torch.no_grad():
        w["cell.a_z"].fill_(0.0)
        w["cell.a_r"].fill_(0.0)
        w["cell.a_c"].fill_(-80.0)
        w["cell.input.weight"].copy_(torch.tensor([[80.0], [0.0], [0.0]]))
        w["cell.input.bias"].copy_(torch.tensor([-40.0, 80.0, 40.0]))
    bits = torch.randint(0, 2, (4, 30))
    assert torch.equal((model(bits[..., None].double())[..., 0] > 0.5).long(), bits.cumsum(1) % 2)


@pytest.mark.row("pararnn")
def test_pararnn_state_does_not_grow() -> None:
    for cell in ("para_gru", "para_lstm"):
        assert isinstance(archdsl.load("pararnn", contracts=False, cell=cell).state_bytes(), int)


# ---- spikegpt


@pytest.mark.row("spikegpt")
def test_spikegpt_branches_add_spikes_only() -> None:
    model, _ = made("spikegpt", vocab=11, d=16, depth=2)
    seen: list[Tensor] = []
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in ("lif1", "lif2"):
            module.register_forward_hook(lambda m, i, o: seen.append(o if isinstance(o, Tensor) else o[0]))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "ln" in name and name.endswith("bias"):
                p.add_(3.0)
    tokens = torch.randint(0, 11, (2, 30))
    model(tokens)
    assert seen
    assert all(((s == 0) | (s == 1)).all() for s in seen)
    assert any(s.any() for s in seen)


@pytest.mark.row("spikegpt")
def test_spike_slope_and_reset() -> None:
    x = torch.tensor([[[2.0], [1.5], [3.0], [0.2]]], requires_grad=True)
    model = archdsl.parse('import "std/scans.arch"\narch A { in x: [T, 1]; return x -> lif_reset }').build(dtype="float64")
    y = model(x)
    v, spikes = 0.0, []
    for value in x[0, :, 0].tolist():
        v = v + (value - v) / 2
        spikes.append(float(v >= 1))
        v = 0.0 if v >= 1 else v
    assert y[0, :, 0].tolist() == spikes == [1.0, 0.0, 1.0, 0.0]
    z = torch.zeros(1, 1, 1, requires_grad=True)
    model(z + 2).sum().backward()  # charged to the threshold exactly
    assert float(z.grad) == pytest.approx(0.5)  # type: ignore[arg-type]  # half the slope alpha / 2 = 1
    assert archdsl.load("spikegpt").parameters == 215_399_424


@pytest.mark.row("spikegpt")
def test_wkv_is_the_double_sum() -> None:
    model = moved(archdsl.parse('import "std/scans.arch"\narch A { in k: [T, 3]; in v: [T, 3]; return wkv4(k, v) }').build(dtype="float64"))
    w, u = (model.get_parameter(f"wkv4.{n}") for n in ("w", "u"))
    k, v = torch.randn(1, 7, 3), torch.randn(1, 7, 3)
    for t in range(7):
        past = [torch.exp(-(t - 1 - i) * w.exp() + k[0, i]) for i in range(t)] + [torch.exp(u + k[0, t])]
        wanted = sum(p * v[0, i] for i, p in enumerate(past)) / sum(past)
        assert difference(model(k, v)[0, t], wanted) < CLOSE


@pytest.mark.slow
@pytest.mark.row("spikegpt")
def test_spikegpt_beats_unigram_entropy() -> None:
    torch.set_default_dtype(torch.float32)
    text = torch.tensor([ord(c) - 97 for c in "abcabcabdabc" * 40]) % 5
    model = archdsl.load("spikegpt", contracts=False, vocab=5, d=32, depth=1, drop=0.0).build()

    def loss(step: int) -> Tensor:
        torch.manual_seed(step)
        at = torch.randint(0, len(text) - 17, (16,))
        rows = torch.stack([text[a : a + 17] for a in at])
        return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())

    share = torch.bincount(text).float() / len(text)
    entropy = -float((share[share > 0] * share[share > 0].log()).sum())
    assert falls(model, loss, 150, lr=1e-2)[1] < 0.8 * entropy
