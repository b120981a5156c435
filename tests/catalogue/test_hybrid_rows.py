"""Rows on models that mix scans, convolutions, attention and memory: GAM, DC-BiLSTM, TrellisNet, SambaY, TRecViT, block-recurrent Transformer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from tests.catalogue.reference import copying, decoded, falls, moved
from tests.recurrence.steps import difference

CLOSE = 1e-10
pytestmark = pytest.mark.filterwarnings("ignore:scans run")


@pytest.fixture(autouse=True)
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setenv("ARCHDSL_KERNELS", "0")
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def made(name: str, **sizes: Any) -> tuple[nn.Module, dict[str, Tensor]]:
    model = moved(archdsl.load(name, contracts=False, **sizes).build(dtype="float64").eval())
    return model, dict(model.named_parameters())


def reached(model: nn.Module, tokens: Tensor, at: int, table: str) -> list[int]:
    """Positions whose embedding the output at one position depends on."""
    found: list[Tensor] = []
    module = model.get_submodule(table)
    hook = module.register_forward_hook(lambda m, i, o: found.append(o.requires_grad_() if o.is_leaf else o))
    out = model(tokens)
    hook.remove()
    (grad,) = torch.autograd.grad(out[:, at].sum(), found[0])
    return [t for t in range(tokens.shape[1]) if grad[:, t].any()]


# ---- gam

GAM = {"vocab": 11, "context": 32, "d": 16, "depth": 2, "slots": 5}


@pytest.mark.row("gam")
def test_gam_sees_two_positions_back_per_layer() -> None:
    model, _ = made("gam", **GAM)
    tokens = torch.randint(0, 11, (1, 12))
    assert reached(model, tokens, 8, "table") == [4, 5, 6, 7, 8]
    assert difference(decoded(model, tokens, 5), model(tokens)) < CLOSE


@pytest.mark.row("gam")
@torch.no_grad()
def test_gam_mixes_as_the_paper_says_whatever_the_order_of_slots() -> None:
    text = 'import "language/gam.arch" as lib\narch A { in x: [T, 8]; return x -> it: lib.AssociativeMixer(5, 3, true, true, true) }'
    model = moved(archdsl.parse(text).build(dtype="float64"))
    w = {n.removeprefix("it."): p for n, p in model.named_parameters()}
    x, M = torch.randn(2, 6, 8), w["bank.rows"]
    local = F.conv1d(F.pad(x.mT, (2, 0)), w["conv.weight"], w["conv.bias"], groups=8).mT
    a, b = torch.sigmoid(F.linear(x, w["gate.weight"], w["gate.bias"])).chunk(2, -1)
    wanted = a * local + b * ((x @ M.mT).softmax(-1) @ M)
    assert difference(model(x), wanted) < CLOSE
    M.copy_(M[torch.randperm(5)])
    assert difference(model(x), wanted) < CLOSE


@pytest.mark.row("gam")
def test_gam_sizes() -> None:
    assert archdsl.load("gam").parameters == 22_599_680
    rounded = [
        archdsl.load("gam", contracts=False, **o).parameters
        for o in ({"gated": False, "local": False}, {"gated": False}, {"gated": False, "global": False})
    ]
    assert [round(n / 1e6, 1) for n in rounded] == [19.4, 19.4, 17.9]


# ---- dc_bilstm


@pytest.mark.row("dc_bilstm")
def test_dc_bilstm_widths_and_padding() -> None:
    spec = archdsl.load("dc_bilstm")
    shapes = spec.weight_shapes
    assert next(s for n, s in shapes.items() if n.startswith("last") and n.endswith("input.weight"))[1] == 300 + 14 * 26
    assert spec.parameters == 1_315_248 + 20000 * 300 + 2 * 201
    model, _ = made("dc_bilstm", vocab=11, d=8, depth=4, narrow=3, wide=4)
    tokens, lengths = torch.randint(0, 11, (2, 9)), torch.tensor([9, 5])
    other = tokens.clone()
    other[1, 5:] = (other[1, 5:] + 3) % 11
    assert difference(model(other, lengths=lengths), model(tokens, lengths=lengths)) < CLOSE
    assert difference(model(tokens[1:, :5])[0], model(tokens, lengths=lengths)[1]) < CLOSE


@pytest.mark.row("dc_bilstm")
def test_dc_bilstm_equals_torch_lstms() -> None:
    model, w = made("dc_bilstm", vocab=11, d=6, depth=3, narrow=3, wide=4, classes=2)
    tokens = torch.randint(0, 11, (2, 7))

    def lstm(prefix: str, x: Tensor) -> Tensor:
        i, h = w[f"{prefix}.input.weight"], w[f"{prefix}.recurrent.weight"]
        net = nn.LSTM(i.shape[1], h.shape[1], batch_first=True)
        for theirs, ours in (("weight_ih_l0", i), ("weight_hh_l0", h), ("bias_ih_l0", w[f"{prefix}.input.bias"])):
            getattr(net, theirs).data.copy_(ours)
        net.bias_hh_l0.data.zero_()
        return net(x)[0]

    def both(prefix: str, x: Tensor) -> Tensor:
        return torch.cat([lstm(f"{prefix}.forward", x), lstm(f"{prefix}.backward", x.flip(1)).flip(1)], -1)

    x = w["words.weight"][tokens]
    for i in range(2):
        x = torch.cat([x, both(f"layers.{i}.BiLSTM", x)], -1)
    y = both("last", x).mean(1)
    assert difference(model(tokens), F.linear(y, w["head.weight"], w["head.bias"])) < CLOSE


@pytest.mark.slow
@pytest.mark.row("dc_bilstm")
def test_dc_bilstm_learns_keywords() -> None:
    """Is a rare word in the row? Twenty layers."""
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("dc_bilstm", contracts=False, vocab=12, d=12, depth=20, narrow=3, wide=8, drop=0.0).build()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(step)
        rows, wanted = torch.randint(1, 12, (32, 5)), torch.randint(0, 2, (32,))
        rows[torch.arange(32), torch.randint(0, 5, (32,))] *= 1 - wanted
        return rows, wanted

    falls(model, lambda step: F.cross_entropy(model(batch(step)[0]), batch(step)[1]), 50, lr=1e-2)
    rows, wanted = batch(10**6)
    assert float((model.eval()(rows).argmax(-1) == wanted).float().mean()) > 0.95


# ---- trellisnet


@pytest.mark.row("trellisnet")
def test_trellisnet_counts_and_depends_on_nothing_later() -> None:
    spec = archdsl.load("trellisnet")
    core = sum(torch.Size(s).numel() for n, s in spec.weight_shapes.items() if n.startswith("core"))
    assert core == 20_165_600
    small = archdsl.load("trellisnet", contracts=False, d=200, hidden=1000).weight_shapes
    assert sum(torch.Size(s).numel() for n, s in small.items() if n.startswith("core")) == 13_444_800
    model, _ = made("trellisnet", vocab=11, d=6, hidden=5, levels=4, dilations=[1, 2])
    tokens = torch.randint(0, 11, (1, 16))
    assert reached(model, tokens, 12, "table") == list(range(12 - 6, 13))  # 1 + 2 + 1 + 2 back
    assert difference(decoded(model, tokens, 5), model(tokens)) < CLOSE
    assert difference(model(tokens[:, 4:])[:, 6:], model(tokens)[:, 10:]) < CLOSE  # a suffix with its history


@pytest.mark.row("trellisnet")
def test_trellisnet_feeds_the_input_once_per_dilation() -> None:
    """Two distinct dilations: two convolutions of the input, however many levels."""
    graph = archdsl.load("trellisnet", contracts=False, vocab=11, d=6, hidden=5, levels=6, dilations=[1, 2]).graph
    (core,) = [r for _, r in graph.walk() if r.name == "Trellis"]
    assert sum(n.op == "causal_conv" for n in core.nodes) == 2


@pytest.mark.row("trellisnet")
@torch.no_grad()
def test_truncated_recurrent_network_is_a_trellis() -> None:
    """Two tanh layers run over the last M steps: a group of channels for each; the second has no bias, since it begins one level later."""
    n, M, d = 3, 4, 2
    text = (
        f'import "sequence/trellisnet.arch" as lib\narch A {{ in x: [T, {d}]; return x -> it: lib.Trellis({2 * n}, {M + 1}, gated=false) }}'
    )
    model = archdsl.parse(text).build(dtype="float64")
    w = {k.removeprefix("it."): p.zero_() for k, p in model.named_parameters()}
    W1, U1, b1, W2, U2 = (torch.randn(*s) for s in ((n, d), (n, n), (n,), (n, n), (n, n)))
    w["input"][:n, :, 1], w["bias"][:n] = W1, b1
    w["weight"][:n, :n, 0], w["weight"][n:, n:, 0], w["weight"][n:, :n, 1] = U1, U2, W2
    x = torch.randn(2, 9, d)
    for t in range(M, 9):
        first, second = torch.zeros(2, n), torch.zeros(2, n)
        for s in range(t - M + 1, t + 1):
            first = torch.tanh(x[:, s] @ W1.mT + first @ U1.mT + b1)
            second = torch.tanh(first @ W2.mT + second @ U2.mT)
        assert difference(model(x)[:, t, n:], second) < CLOSE


# ---- sambay

SAMBAY = {"vocab": 11, "d": 16, "head": 4, "window": 4, "hidden": 24, "n": 3, "heads": 4, "kv_heads": 2}


@pytest.mark.row("sambay")
def test_sambay_projections_follow_the_published_formula() -> None:
    for n in (8, 16, 32):
        spec = archdsl.load("sambay", contracts=False, depth=n)
        assert spec.arguments["d"] == 124 * n
        small = ("conv1d", "x_proj", "dt_proj", "table", "norm", "A_log", ".D")
        w = 124 * n
        total = sum(torch.Size(s).numel() for k, s in spec.weight_shapes.items() if len(s) > 1 and not any(p in k for p in small))
        assert total == (29 * n + 4) * w**2 // 2 + 144 * n**2 * w + 64 * n * w
    phi = archdsl.load("sambay", contracts=False, depth=32, d=2560, heads=40, kv_heads=20, head=64, hidden=10240, vocab=200064, window=512)
    assert 3.8e9 < phi.parameters < 3.9e9


@pytest.mark.row("sambay")
def test_sambay_decodes_with_one_cache_for_the_upper_half() -> None:
    model, _ = made("sambay", depth=8, **SAMBAY)
    tokens = torch.randint(0, 11, (2, 12))
    whole = model(tokens)
    assert difference(decoded(model, tokens, 6), whole) < CLOSE
    last, state = model.prefill(tokens[:, :9], last_only=True)  # the rest of the prompt's logits are not asked for
    assert difference(last[:, 0], whole[:, 8]) < CLOSE
    assert difference(model.step(tokens[:, 9:10], state)[0], whole[:, 9:10]) < CLOSE
    deep, shallow = (
        archdsl.load("sambay", contracts=False, depth=n, **SAMBAY).state_bytes(T=4096)
        - archdsl.load("sambay", contracts=False, depth=n, **SAMBAY).state_bytes(T=2048)
        for n in (16, 8)
    )
    assert deep == shallow == 2048 * 2 * 2 * 4 * 4  # keys and values of one layer grow, whatever the depth


@pytest.mark.row("sambay")
@torch.no_grad()
def test_a_gated_memory_unit_of_ones_is_a_silu_layer() -> None:
    text = 'import "std/gates.arch"\narch A { in x: [T, 6]; in m: [T, 8]; return GMU(x, m) }'
    model = archdsl.parse(text).build(dtype="float64")
    a, b = model.parameters()
    x = torch.randn(2, 5, 6)
    assert difference(model(x, torch.ones(2, 5, 8)), F.silu(x @ a.mT) @ b.mT) < CLOSE


# ---- trecvit

TRECVIT = {"patch": 4, "size": 8, "d": 8, "depth": 2, "heads": 2, "rep": 12, "classes": 5}


@pytest.mark.row("trecvit")
def test_trecvit_counts_and_streams() -> None:
    spec = archdsl.load("trecvit")
    assert spec.parameters == 136_778_128
    space = sum(
        torch.Size(s).numel() for k, s in spec.weight_shapes.items() if k.startswith("blocks.0.") and ("SelfAttention" in k or "FFN" in k)
    )
    assert space + 4 * 768 == 7_087_872  # with its two norms
    model, _ = made("trecvit", **TRECVIT)
    video = torch.randn(2, 6, 3, 8, 8)
    whole = model(video)
    assert difference(decoded(model, video, 1), whole) < CLOSE
    other = video.clone()
    other[:, 4] += 1
    assert torch.equal(model(other)[:, :4], whole[:, :4])
    assert not torch.equal(model(other)[:, 4:], whole[:, 4:])


@pytest.mark.row("trecvit")
@torch.no_grad()
def test_trecvit_knows_patches_by_their_positions_only() -> None:
    """Permuted patches with permuted position vectors give the same class tokens."""
    model, w = made("trecvit", **TRECVIT)
    video = torch.randn(1, 3, 3, 8, 8)
    before = model(video)
    order = [3, 1, 0, 2]
    patches = [video[..., r : r + 4, c : c + 4] for r in (0, 4) for c in (0, 4)]
    turned = torch.cat([torch.cat([patches[order[2 * r + c]] for c in (0, 1)], -1) for r in (0, 1)], -2)
    (places,) = [p for p in w.values() if p.shape == (1, 4, 8)]
    places.copy_(places[:, order])
    assert difference(model(turned), before) < CLOSE


@pytest.mark.slow
@pytest.mark.row("trecvit")
def test_trecvit_sees_direction_of_motion() -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load("trecvit", contracts=False, **{**TRECVIT, "d": 16, "classes": 2}).build()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        torch.manual_seed(step)
        video, right = torch.zeros(16, 4, 3, 8, 8), torch.randint(0, 2, (16,))
        for i in range(16):
            start = int(torch.randint(0, 8, ()))
            for t in range(4):
                video[i, t, :, :, (start + (2 * t if right[i] else -2 * t)) % 8] = 1
        return video, right

    falls(model, lambda step: F.cross_entropy(model(batch(step)[0])[:, -1], batch(step)[1]), 120, lr=3e-3)
    video, right = batch(10**6)
    assert float((model.eval()(video)[:, -1].argmax(-1) == right).float().mean()) > 0.9
    assert difference(model(video.flip(1))[:, 0], model(video)[:, 0]) > 0  # one frame alone does not tell


# ---- block_recurrent_transformer

BLOCKS = {"vocab": 11, "d": 16, "depth": 3, "heads": 2, "head": 8, "hidden": 24, "window": 4, "states": 3, "recurrent": 2}


@pytest.mark.row("block_recurrent_transformer")
@pytest.mark.parametrize("gate", ["fixed", "lstm"])
def test_segments_with_carried_state_equal_one_sequence(gate: str) -> None:
    model, _ = made("block_recurrent_transformer", **BLOCKS, gate=gate)
    tokens = torch.randint(0, 11, (2, 6, 4))
    assert difference(decoded(model, tokens, 2), model(tokens)) < CLOSE


@pytest.mark.row("block_recurrent_transformer")
@torch.no_grad()
def test_the_state_of_a_block_recurrent_transformer() -> None:
    """A gate that stays open keeps the state; states with their names may be permuted; without names equal states stay equal."""
    model, w = made("block_recurrent_transformer", **BLOCKS)
    tokens = torch.randint(0, 11, (1, 5, 4))
    before = model(tokens)
    names = {n: p for n, p in w.items() if "memory" in n}
    order = torch.tensor([2, 0, 1])
    for p in (p for n, p in names.items() if n.endswith((".id", ".C"))):
        p.copy_(p[order])
    assert difference(model(tokens), before) < CLOSE
    (share,) = [p for n, p in names.items() if p.shape == (16,) and "norm" not in n and "bias" not in n]
    share.fill_(60.0)
    _, state = model.prefill(tokens)
    start = next(p for n, p in names.items() if n.endswith(".C"))
    assert any(difference(t[0], start) < CLOSE for t in _tensors(state) if t.shape[1:] == (3, 16))
    next(p for n, p in names.items() if n.endswith(".id")).zero_()
    start.copy_(start[:1].expand(3, 16))
    share.fill_(0.0)
    _, state = model.prefill(tokens)
    (kept,) = [t for t in _tensors(state) if t.shape[1:] == (3, 16)]
    assert difference(kept, kept[:, :1].expand_as(kept)) < CLOSE
    assert difference(kept[0], start) > 1e-3


def _tensors(state: Any) -> list[Tensor]:
    if isinstance(state, Tensor):
        return [state]
    parts = state.values() if isinstance(state, dict) else state if isinstance(state, (list, tuple)) else ()
    return [t for p in parts for t in _tensors(p)]


@pytest.mark.row("block_recurrent_transformer")
def test_block_recurrent_transformer_size() -> None:
    spec = archdsl.load("block_recurrent_transformer", contracts=False, recurrent=None)
    assert (
        sum(torch.Size(s).numel() for n, s in spec.weight_shapes.items() if n.startswith("layers") and len(s) > 1 and s[0] != 32)
        == 150_994_944
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        pytest.param("gam", {**GAM, "vocab": 6, "d": 32, "k": 5}, marks=pytest.mark.row("gam")),
        pytest.param("trellisnet", {"vocab": 6, "d": 16, "hidden": 32, "levels": 6}, marks=pytest.mark.row("trellisnet")),
        pytest.param("sambay", {**SAMBAY, "vocab": 6, "depth": 4, "d": 32, "head": 8}, marks=pytest.mark.row("sambay")),
    ],
)
def test_language_models_learn_to_copy(name: str, sizes: dict[str, Any]) -> None:
    torch.set_default_dtype(torch.float32)
    model = archdsl.load(name, contracts=False, **sizes).build()
    first, last = falls(model, copying(model, 6, half=3, batch=32), 300, lr=5e-3)
    assert last < 0.5 * first


@pytest.mark.slow
@pytest.mark.row("block_recurrent_transformer")
def test_the_state_carries_a_word_beyond_the_window() -> None:
    """The first token, asked for three blocks later: learned with the recurrent layer, out of reach of the window without it."""
    torch.set_default_dtype(torch.float32)
    losses = {}
    for recurrent in (1, None):
        sizes = {**BLOCKS, "vocab": 5, "d": 32, "depth": 2, "window": 2, "recurrent": recurrent}
        model = archdsl.load("block_recurrent_transformer", contracts=False, **sizes).build()

        def loss(step: int, model: nn.Module = model) -> Tensor:
            torch.manual_seed(step)
            tokens = torch.zeros(32, 4, 2, dtype=torch.long)
            tokens[:, 0, 0] = torch.randint(1, 5, (32,))
            return F.cross_entropy(model(tokens)[:, -1, -1], tokens[:, 0, 0])

        losses[recurrent] = falls(model, loss, 400, lr=1e-3)[1]
    assert losses[1] < 0.3 < 1.2 < losses[None]
