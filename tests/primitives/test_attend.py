from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import symbol
from tests.primitives.helpers import SUPPORT, refused
from tests.primitives.made import Emitter, Made, close, close_with_gradients, decode, decode_ragged, value

T = 11
OPTIONS = {
    "plain": {},
    "scale": {"scale": 0.3},
    "window": {"window": 4},
    "alibi": {"bias": "alibi"},
    "softcap": {"softcap": 2.0},
    "sinks": {"sinks": True},
    "relu": {"score": "relu", "normalise": "length"},
    "sigmoid": {"score": "sigmoid", "window": 3},
    "exp": {"score": "exp", "normalise": "sum"},
    "chunk": {"chunk": 4},
    "chunk_one": {"chunk": 1},
    "long_chunk": {"chunk": 20, "bias": "alibi"},
    "narrow": {"window": 2, "bias": "alibi", "score": "relu", "normalise": "length"},
    "many": {"window": 5, "bias": "alibi", "softcap": 3.0, "sinks": True},
}


def attention(q, k, v, node, sinks=None, lengths=None, mask=None):
    """One query at a time, straight from the formula."""
    a = node.attrs
    h, hk = q.shape[-3], k.shape[-3]
    k, v = k.repeat_interleave(h // hk, -3), v.repeat_interleave(h // hk, -3)
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    scale = a.scale or q.shape[-1] ** -0.5
    for i in range(q.shape[-2]):
        scores = (q[..., i : i + 1, :] * k).sum(-1) * scale
        if a.softcap:
            scores = a.softcap * torch.tanh(scores / a.softcap)
        distance = i - torch.arange(k.shape[-2])
        if a.bias == "alibi":
            slopes = torch.tensor([2 ** (-8 * (j + 1) / h) for j in range(h)], dtype=q.dtype)
            scores = scores - slopes[:, None] * distance.abs()
        seen = torch.ones(q.shape[0], k.shape[-2], dtype=torch.bool)
        if a.causal:
            seen &= distance >= 0
        if a.window:
            seen &= distance.abs() < a.window
        if a.chunk:
            seen &= torch.arange(k.shape[-2]) // a.chunk == i // a.chunk
        if lengths is not None:
            seen &= torch.arange(k.shape[-2]) < lengths[:, None]
        seen = seen.view(q.shape[0], *[1] * (q.dim() - 3), -1)
        if mask is not None and mask.dtype == torch.bool:
            seen = seen & mask[..., i, :]
        elif mask is not None:
            scores = scores + mask[..., i, :]
        if a.score == "softmax":
            e = scores.exp() * seen
            w = e / (e.sum(-1, keepdim=True) + (0 if sinks is None else sinks.exp()[:, None]))
        else:
            w = {"relu": torch.relu, "sigmoid": torch.sigmoid, "exp": torch.exp}[a.score](scores) * seen
            if a.normalise == "length":
                w = w / seen.sum(-1, keepdim=True)
            if a.normalise == "sum":
                w = w / w.sum(-1, keepdim=True)
        out = out + 0
        out[..., i, :] = (w[..., None] * v).sum(-2)
    return out


def made_for(options, h=4, hk=2, lead=(), time="T", ragged=False, **extra):
    axis = Axis(symbol(time), ragged="x" if ragged else None)
    q, k, v = value(*lead, h, axis, 6), value(*lead, hk, axis, 6), value(*lead, hk, axis, 5)
    made = Made("attend", q, k, v, **options, **extra)
    if options.get("sinks"):
        made.module.sinks.data.normal_()
    return made, axis


def inputs(h=4, hk=2, lead=(), batch=3):
    torch.manual_seed(0)
    return tuple(torch.randn(batch, *lead, n, T, c, dtype=torch.float64) for n, c in ((h, 6), (hk, 6), (hk, 5)))


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("causal", [True, False])
def test_whole_form_equals_the_formula(name, causal):
    made, _ = made_for(OPTIONS[name], causal=causal)
    sinks = getattr(made.module, "sinks", None)
    close_with_gradients(made, lambda q, k, v: attention(q, k, v, made.node, sinks), inputs())


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("heads", [(4, 4), (4, 1), (6, 3)])
def test_steps_and_chunks_equal_the_whole(name, heads):
    made, axis = made_for(OPTIONS[name], *heads, causal=True)
    tensors = inputs(*heads)
    whole = made(*tensors)
    for chunks in ([1] * T, [5, 3, 1, 1, 1], [T], [2, 9], [7, 1, 1, 2]):
        close(decode(made, tensors, (-2, -2, -2), axis, chunks), whole)


@pytest.mark.parametrize("name", OPTIONS)
def test_ragged_steps_equal_single_runs(name):
    made, axis = made_for(OPTIONS[name], causal=True)
    tensors = inputs()
    whole = made(*tensors)
    for plan in (
        [(5, 2, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1)],
        [(1, 3, 6), (2, 4, 1), (1, 1, 1), (3, 0, 1), (1, 1, 1)],
        [(1, 9, 2), (1, 1, 1), (8, 1, 0), (0, 0, 1)],
    ):
        results = decode_ragged(made, tensors, (-2, -2, -2), axis, plan)
        for b, result in enumerate(results):
            close(result, whole[b, ..., : sum(step[b] for step in plan), :])


def test_leading_axes_behave_like_batch():
    for name, causal in itertools.product(("plain", "window", "sinks", "alibi", "chunk", "narrow"), (True, False)):
        made, axis = made_for(OPTIONS[name], lead=(2,), causal=causal)
        tensors = inputs(lead=(2,))
        whole = made(*tensors)
        close(whole, attention(*tensors, made.node, getattr(made.module, "sinks", None)))
        if causal:
            close(decode(made, tensors, (-2, -2, -2), axis, [4, 1, 1, 5]), whole)
            plan = [(5, 2, 3), (1, 1, 1), (1, 4, 2)]
            for b, result in enumerate(decode_ragged(made, tensors, (-2, -2, -2), axis, plan)):
                close(result, whole[b, ..., : result.shape[-2], :])


def test_no_head_axis():
    axis = Axis(symbol("T"))
    q, k, v = value(axis, 6), value(axis, 6), value(axis, 5)
    made = Made("attend", q, k, v, causal=True)
    tensors = tuple(t[:, 0] for t in inputs())
    whole = made(*tensors)
    close(whole, attention(*(t[:, None] for t in tensors), made.node)[:, 0])
    close(decode(made, tensors, (-2, -2, -2), axis, [3] + [1] * 8), whole)


@pytest.mark.parametrize("name", ["plain", "window", "alibi", "softcap", "sinks", "relu", "chunk", "narrow"])
def test_lengths_hide_padded_keys(name):
    made, _ = made_for(OPTIONS[name], ragged=True)
    q, k, v = inputs()
    lengths = torch.tensor([11, 4, 7])
    sinks = getattr(made.module, "sinks", None)
    result = made(q, k, v, lengths=lengths)
    expected = attention(q, k, v, made.node, sinks, lengths)
    for b, n in enumerate(lengths.tolist()):
        close(result[b, :, :n], expected[b, :, :n])
        close(result[b : b + 1, :, :n], made(q[b : b + 1, :, :n], k[b : b + 1, :, :n], v[b : b + 1, :, :n], lengths=lengths[b : b + 1]))


def test_causal_with_lengths_needs_no_mask():
    made, _ = made_for({}, ragged=True, causal=True)
    assert "lengths" not in made.source(Emitter(lengths=True), 3, False)


@pytest.mark.parametrize(("shape", "batched"), [((T, T), False), ((4, T, T), False), ((T, T), True), ((4, T, T), True), ((1, T, T), False)])
@pytest.mark.parametrize("kind", ["bool", "float"])
@pytest.mark.parametrize("options", [{}, {"softcap": 3.0}, {"bias": "alibi"}])
def test_masks(shape, batched, kind, options):
    q, k, v = value(4, T, 6), value(2, T, 6), value(2, T, 5)
    mask = value(*shape, kind=kind, batched=batched)
    made = Made("attend", q, k, v, mask=mask.type, value_inputs={"mask": 3}, **options)
    made.node.inputs.append(mask)
    tensors = inputs()
    given = torch.randn(*((3,) if batched else ()), *shape, dtype=torch.float64)
    given = (given > 0) | torch.eye(T, dtype=torch.bool) if kind == "bool" else given
    full = given.unsqueeze(-3) if len(shape) == 2 else given
    close(made(*tensors, given), attention(*tensors, made.node, mask=full))


@pytest.mark.parametrize("bias", ["relative", "t5"])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("window", [None, 3])
def test_learned_biases(bias, causal, window):
    axis = Axis(symbol("T"))
    q, k, v, table = value(4, axis, 6), value(2, axis, 6), value(2, axis, 5), value(8, 4, batched=False)
    made = Made("attend", q, k, v, causal=causal, bias=bias, table=table.type, window=window, reach=6, value_inputs={"table": 3})
    made.node.inputs.append(table)
    rows = torch.randn(8, 4, dtype=torch.float64)
    distance = torch.arange(T)[:, None] - torch.arange(T)

    def bucket(d):
        if bias == "relative":
            return min(max(d if causal else d + 4, 0), 7)
        half, first = (8, 0) if causal else (4, 4 if d < 0 else 0)
        d = max(d, 0) if causal else abs(d)
        exact = half // 2
        return first + (d if d < exact else min(half - 1, exact + int(math.log(d / exact) / math.log(6 / exact) * (half - exact))))

    added = torch.stack([torch.stack([rows[bucket(int(d))] for d in line]) for line in distance]).movedim(-1, 0)
    tensors = inputs()
    whole = made(*tensors, rows)
    plain = made.node.attrs
    made.node.attrs = replace(plain, bias=None)
    expected = attention(*tensors, made.node, mask=added)
    made.node.attrs = plain
    close(whole, expected)
    if causal:
        close(decode(made, (*tensors, rows), (-2, -2, -2, 0), axis, [4, 1, 1, 5]), whole)


def test_t5_buckets_are_those_of_transformers():
    pytest.importorskip("transformers")
    from transformers.models.t5.modeling_t5 import T5Attention

    from archdsl.primitives.support.attention import t5_buckets

    distance = torch.arange(-300, 300)
    for causal in (True, False):
        theirs = T5Attention._relative_position_bucket(-distance, not causal, 32, 128)
        assert torch.equal(t5_buckets(distance, 32, causal, 128), theirs)


def test_long_windows_go_in_blocks():
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, h, 53, 6, dtype=torch.float64, requires_grad=True) for h in (4, 2, 2))
    lengths = torch.tensor([53, 20])
    for causal, options in itertools.product((True, False), ({}, {"bias": "alibi"}, {"softcap": 2.0}, {"score": "sigmoid"})):
        ends = None if causal else lengths
        blocks = SUPPORT["attend_window"](q, k, v, 7, causal, ends, **options)
        masked = SUPPORT["attend"](q, k, v, causal, 7, ends, **options)
        for b, n in enumerate([53, 53] if causal else [53, 20]):
            close(blocks[b, :, :n], masked[b, :, :n])
        probe = torch.randn_like(masked)
        probe[1, :, 20:] = 0
        for a, b in zip(*(torch.autograd.grad((y * probe).sum(), (q, k, v), retain_graph=True) for y in (blocks, masked))):
            close(a, b, 1e-9)


def test_cross_attention_keeps_no_keys():
    time, other = Axis(symbol("T")), Axis(symbol("S"))
    made = Made("attend", value(4, time, 6), value(2, other, 6), value(2, other, 5))
    q, k, v = inputs()
    whole = made(q, k[:, :, :7], v[:, :, :7])
    close(decode(made, (q, k[:, :, :7], v[:, :, :7]), (-2, 0, 0), time, [4] + [1] * 7), whole)
    assert made.p.slots(made.node) == []


def test_learned_queries_without_a_batch():
    made = Made("attend", value(4, 5, 6, batched=False), value(2, T, 6), value(2, T, 5))
    q, k, v = inputs()
    assert made.node.outputs[0].type.batched
    close(made(q[0, :, :5], k, v), attention(q[:1, :, :5].expand(3, -1, -1, -1), k, v, made.node))


def test_window_state_is_bounded():
    from archdsl.primitives.support.clock import Clock

    made, axis = made_for({"window": 4}, causal=True)
    q, k, v = inputs()
    clock, slot = Clock(), {}
    for begin, chunk in ((0, 8), (8, 1), (9, 2)):
        clock.begin(chunk)
        made(*(t[:, :, begin : begin + chunk] for t in (q, k, v)), time=axis, clock=clock, slot=slot)
        clock.advance()
        assert slot["k"].shape == (3, 2, 4, 6)
    assert [s.shape for s in made.p.slots(made.node)] == [(2, 4, 6), (2, 4, 5)]


def test_cache_holds_grouped_heads_once_and_doubles():
    from archdsl.primitives.support.clock import Clock

    made, axis = made_for({}, causal=True)
    q, k, v = inputs()
    clock, slot, sizes = Clock(), {}, set()
    for i in range(300):
        clock.begin(1)
        t = i % T
        made(*(x[:, :, t : t + 1] for x in (q, k, v)), time=axis, clock=clock, slot=slot)
        clock.advance()
        sizes.add(slot["k"].shape[-2])
        assert slot["k"].shape[1] == 2
    assert len(sizes) <= 4


def test_length_one_window_and_long_chunks():
    for window in (1, 2, T, T + 5):
        made, axis = made_for({"window": window}, causal=True)
        tensors = inputs()
        whole = made(*tensors)
        for chunks in ([1] * T, [6, 1, 4], [T - 1, 1]):
            close(decode(made, tensors, (-2, -2, -2), axis, chunks), whole)


def test_low_precision_and_meta():
    made, _ = made_for(OPTIONS["many"], causal=True)
    q, k, v = (t.bfloat16() for t in inputs())
    made.module.sinks = made.module.sinks.detach().bfloat16()
    assert made(q, k, v).dtype == torch.bfloat16
    plain, _ = made_for({}, causal=True)
    assert plain(*(t.to("meta") for t in inputs())).shape == (3, 4, T, 5)


def test_flops_equal_those_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    made = Made("attend", value(4, T, 6), value(4, T, 6), value(4, T, 5), softcap=2.0)
    q, k, v = inputs(4, 4, batch=1)
    with FlopCounterMode(display=False) as counter:
        made(q, k, v)
    assert made.p.flops(made.node) == counter.get_total_flops()


def test_time_rules():
    made, _ = made_for({}, causal=False)
    p = made.p
    assert p.time(made.node, 0, -2).ahead is None
    assert "every position" in p.time(made.node, 1, -2).ahead
    causal, _ = made_for({}, causal=True)
    assert p.time(causal.node, 1, -2).ahead is None
    assert p.time(causal.node, 2, -2).ahead is None


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ({"score": "tanh"}, "AD0260"),
        ({"bias": "t6"}, "AD0260"),
        ({"normalise": "sum"}, "AD0260"),
        ({"softcap": 0.0}, "AD0261"),
        ({"dropout": 1.0}, "AD0261"),
        ({"score": "relu", "sinks": True}, "AD0260"),
        ({"mask": 3}, "AD0314"),
        ({"chunk": 3, "window": 2}, "AD0260"),
        ({"bias": "relative"}, "AD0262"),
    ],
)
def test_refused_options(args, code):
    assert refused("attend", value(4, T, 6), value(2, T, 6), value(2, T, 6), **args).code == code


def test_refused_shapes():
    assert refused("attend", value(4, T, 6), value(3, T, 6), value(3, T, 6)).code == "AD0302"
    assert refused("attend", value(4, T, 6), value(4, T, 5), value(4, T, 6)).code == "AD0301"
    assert refused("attend", value(4, T, 6), value(4, 7, 6), value(4, 7, 6), causal=True).code == "AD0301"
    assert refused("attend", value(4, T, 6), value(T, 6), value(T, 6)).code == "AD0303"
    assert refused("attend", value(6), value(6), value(6)).code == "AD0303"
