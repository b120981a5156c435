from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from archdsl.graph.ir import Axis, Init
from archdsl.graph.sizes import Facts, evaluate, symbol
from tests.primitives.helpers import check, refused
from tests.primitives.made import Made, close, close_with_gradients, decode, decode_ragged, value


def sum_of_taps(x, w, bias, stride, dilation, pads, groups):
    """One-dimensional convolution of [B, c, n], a tap at a time."""
    x = F.pad(x, pads)
    k, out = w.shape[-1], w.shape[0]
    n = (x.shape[-1] - dilation * (k - 1) - 1) // stride + 1
    y = torch.zeros(x.shape[0], out, n, dtype=x.dtype)
    inner, per = x.shape[1] // groups, out // groups
    for g, j in itertools.product(range(groups), range(k)):
        part = x[:, g * inner : (g + 1) * inner, j * dilation : j * dilation + (n - 1) * stride + 1 : stride]
        y = y + F.pad(torch.einsum("oi,bin->bon", w[g * per : (g + 1) * per, :, j], part), (0, 0, g * per, out - (g + 1) * per))
    return y if bias is None else y + bias[:, None]


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("stride", "dilation", "groups"), [(1, 1, 1), (2, 1, 2), (3, 2, 4), (1, 3, 2)])
@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_conv1d(k, stride, dilation, groups, padding):
    n = 17
    made = Made("conv1d", value(4, n), out=8, k=k, stride=stride, dilation=dilation, groups=groups, padding=padding)
    reach = dilation * (k - 1)
    pads = {"same": (reach // 2, reach - reach // 2), "valid": (0, 0), 1: (1, 1)}[padding]
    x = torch.randn(3, 4, n, dtype=torch.float64)
    result = close_with_gradients(made, lambda x: sum_of_taps(x, made.module.weight, made.module.bias, stride, dilation, pads, groups), [x])
    assert made.node.outputs[0].type.sizes == tuple(result.shape[1:])
    if padding == "same":
        assert result.shape[-1] == -(-n // stride)


def test_same_size_keeps_the_axis_and_strides_keep_the_size_symbolic():
    axis = Axis(symbol("T"), ragged="x")
    made = Made("conv1d", value(4, axis), out=4, k=3)
    assert made.node.outputs[0].type.axes[-1] is axis
    strided = Made("conv1d", value(4, axis), out=4, k=3, stride=2).node.outputs[0].type.axes[-1]
    assert strided.ragged == "x;-1,2"
    assert [evaluate(strided.size, {"T": n}) for n in (1, 2, 7, 8)] == [1, 1, 4, 4]
    facts = Facts()
    facts.divisible(symbol("T"), 4)
    half = check("conv1d", value(4, "T"), out=4, k=3, stride=2, facts=facts).outputs[0].type.sizes[-1]
    assert str(half) == str(symbol("T") / 2)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
def test_conv_in_space(dims, mode):
    if mode == "reflect" and dims == 3:
        mode = "replicate"
    sizes = (6, 8, 5)[:dims]
    made = Made(f"conv{dims}d", value(4, *sizes), out=6, k=3, mode=mode, bias=False)
    x = torch.randn(2, 4, *sizes, dtype=torch.float64)
    padded = F.pad(x, (1,) * (2 * dims), mode="constant" if mode == "zeros" else mode)
    conv = F.conv2d if dims == 2 else F.conv3d
    close(made(x), conv(padded, made.module.weight))
    even = Made(f"conv{dims}d", value(4, *sizes), out=6, k=[2, 3, 4][:dims], mode="replicate")
    pads = [p for k in reversed([2, 3, 4][:dims]) for p in ((k - 1) // 2, k - 1 - (k - 1) // 2)]
    close(even(x), conv(F.pad(x, pads, mode="replicate"), even.module.weight, even.module.bias))
    lead = Made(f"conv{dims}d", value(3, 4, *sizes), out=6, k=3)
    y = torch.randn(2, 3, 4, *sizes, dtype=torch.float64)
    close(lead(y)[:, 1], lead.module(y[:, 1]))
    alone = Made(f"conv{dims}d", value(4, *sizes, batched=False), out=6, k=3)
    close(alone(x[0]), alone.module(x)[0])


def test_depthwise():
    made = Made("depthwise_conv2d", value(6, 5, 5), k=3)
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    w, bias = made.module.weight, made.module.bias
    close(made(x), torch.cat([F.conv2d(x[:, i : i + 1], w[i : i + 1], bias[i : i + 1], padding=1) for i in range(6)], 1))


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("k", "stride", "padding", "extra"), [(2, None, 0, 0), (3, 2, 1, 1), (4, 2, 1, 0), (3, 1, 1, 0)])
def test_deconv_is_the_transpose_of_conv(dims, k, stride, padding, extra):
    sizes = (5, 4, 3)[:dims]
    made = Made(f"deconv{dims}d", value(4, *sizes), out=6, k=k, stride=stride, padding=padding, output_padding=extra, groups=2, bias=False)
    x = torch.randn(2, 4, *sizes, dtype=torch.float64)
    y = made(x)
    assert made.node.outputs[0].type.sizes == tuple(y.shape[1:])
    z = torch.randn_like(y)
    conv = (F.conv1d, F.conv2d, F.conv3d)[dims - 1]
    back = conv(z, made.module.weight, None, stride or k, padding, 1, 2)
    close((y * z).sum(), (x * back).sum(), 1e-9)


@pytest.mark.parametrize(
    ("name", "args"), [("conv1d", {"out": 5, "k": 5}), ("conv1d", {"out": 5, "k": 4, "stride": 2}), ("depthwise_conv1d", {"k": 3})]
)
def test_padded_batches_equal_single_runs(name, args):
    axis = Axis(symbol("T"), ragged="x")
    made = Made(name, value(4, axis), **args)
    x = torch.randn(3, 4, 12, dtype=torch.float64)
    lengths = torch.tensor([12, 5, 8])
    result = made(x, lengths=lengths)
    for b, n in enumerate(lengths.tolist()):
        alone = made(x[b : b + 1, :, :n], lengths=lengths[b : b + 1])
        close(result[b : b + 1, :, : alone.shape[-1]], alone)


@pytest.mark.parametrize(
    ("k", "groups", "dilation", "out"),
    [(4, 6, 1, None), (3, 1, 2, 4), (3, 2, 1, None), (1, 1, 1, 3), (10, 6, 1, None), (3, 6, 4, None)],
)
@pytest.mark.parametrize("bias", [True, False])
def test_causal_conv(k, groups, dilation, out, bias):
    axis = Axis(symbol("T"))
    made = Made("causal_conv", value(axis, 6), k=k, groups=groups, dilation=dilation, out=out, bias=bias)
    x = torch.randn(3, 11, 6, dtype=torch.float64)
    pads = ((k - 1) * dilation, 0)
    whole = close_with_gradients(made, lambda x: sum_of_taps(x.mT, made.module.weight, made.module.bias, 1, dilation, pads, groups).mT, [x])
    for chunks in ([1] * 11, [5, 3, 1, 1, 1], [11], [2, 9]):
        close(decode(made, [x], [-2], axis, chunks), whole)
    for plan in ([(5, 2, 3), (1, 1, 1), (1, 1, 1)], [(1, 3, 6), (2, 4, 1), (1, 1, 1), (3, 0, 1), (0, 3, 0)]):
        for b, result in enumerate(decode_ragged(made, [x], [-2], axis, plan)):
            close(result, whole[b, : result.shape[0]])


def test_causal_conv_with_leading_axes_and_state():
    axis = Axis(symbol("T"))
    made = Made("causal_conv", value(2, axis, 6), k=4, groups=6)
    x = torch.randn(3, 2, 11, 6, dtype=torch.float64)
    whole = made(x)
    close(whole[:, 1], made(x[:, 1]))
    for b, result in enumerate(decode_ragged(made, [x], [-2], axis, [(5, 2, 3), (1, 1, 1), (2, 3, 1)])):
        close(result, whole[b, :, : result.shape[1]])
    assert [s.shape for s in made.p.slots(made.node)] == [(2, 3, 6)]
    close(decode(made, [x], [0], Axis(3), [1], out=0), whole)  # another axis is decoded: whole over this one


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("bias", ["own", "none", "value"])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_kernels_that_are_values(batched, bias, lead):
    x, w, b = value(*lead, 4, 7, 6), value(6, 2, 2, 3, batched=batched), value(6, batched=batched)
    args = {"own": {}, "none": {"bias": False}, "value": {"bias": b.type}}[bias]
    given = [w, b] if bias == "value" else [w]
    named = {name: i + 1 for i, name in enumerate(("weight", "bias")[: len(given)])}
    made = Made("conv2d", x, out=6, groups=2, stride=2, mode="circular", weight=w.type, value_inputs=named, **args)
    made.node.inputs += given
    front = (3,) if batched else ()
    tensors = [torch.randn(*s, dtype=torch.float64) for s in ((3, *lead, 4, 7, 6), (*front, 6, 2, 2, 3), (*front, 6))][: len(given) + 1]

    def reference(x, w, *more):
        rows = []
        for i in range(3):
            own = made.module.bias if bias == "own" else (more[0][i] if batched else more[0]) if more else None
            part = x[i] if lead else x[i : i + 1]
            y = F.conv2d(F.pad(part, (1, 1, 0, 1), mode="circular"), w[i] if batched else w, own, 2, 0, 1, 2)
            rows.append(y if lead else y[0])
        return torch.stack(rows)

    result = close_with_gradients(made, reference, tensors)
    assert made.node.outputs[0].type.sizes == tuple(result.shape[1:])


def test_one_kernel_for_several_dilations():
    axis = Axis(symbol("T"))
    w = value(6, 1, 3, batched=False)
    x, given = torch.randn(3, 11, 6, dtype=torch.float64), torch.randn(6, 1, 3, dtype=torch.float64)
    for dilation in (1, 4):
        made = Made("causal_conv", value(axis, 6), groups=6, dilation=dilation, weight=w.type, bias=False, value_inputs={"weight": 1})
        made.node.inputs.append(w)
        whole = made(x, given)
        close(whole, sum_of_taps(x.mT, given, None, 1, dilation, (2 * dilation, 0), 6).mT)
        close(decode(made, [x, given], [-2, 0], axis, [5, 1, 1, 4]), whole)


def test_flops_equal_those_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    for made, shape in (
        (Made("conv2d", value(4, 9, 7), out=6, k=3, stride=2, groups=2), (1, 4, 9, 7)),
        (Made("deconv2d", value(4, 9, 7), out=6, k=2), (1, 4, 9, 7)),
        (Made("causal_conv", value(9, 6), k=3, out=4), (1, 9, 6)),
    ):
        with FlopCounterMode(display=False) as counter:
            made(torch.randn(shape, dtype=torch.float64))
        assert made.p.flops(made.node) == counter.get_total_flops()


def test_weights_begin_as_in_torch():
    made = Made("conv1d", value(4, 9), out=512, k=3)
    assert made.node.instance.weights["weight"].init.args[1] == pytest.approx(12**-0.5)
    assert made.module.weight.abs().max() <= 12**-0.5
    assert float(made.module.weight.std()) == pytest.approx(12**-0.5 / 3**0.5, rel=0.05)
    given = Made("conv1d", value(4, 9), out=5, bias=Init("constant", (2.0,)))
    assert given.module.bias.tolist() == [2.0] * 5


def test_time_rules():
    axis = Axis(symbol("T"))
    wide = Made("conv1d", value(4, axis), out=4, k=3)
    assert "ahead" in wide.p.time(wide.node, 0, -1).ahead
    point = Made("conv1d", value(4, axis), out=4, k=1)
    assert point.p.time(point.node, 0, -1).ahead is None
    causal = Made("causal_conv", value(axis, 4), k=3)
    assert causal.p.time(causal.node, 0, -2).ahead is None
    assert causal.p.time(causal.node, 0, -1).ahead


@pytest.mark.parametrize(
    ("name", "sizes", "args", "code"),
    [
        ("conv1d", (4, 9), {"out": 5, "groups": 2}, "AD0302"),
        ("conv1d", (4, 2), {"out": 5, "k": 5, "padding": "valid"}, "AD0321"),
        ("conv1d", (4, 9), {"out": 5, "padding": "full"}, "AD0261"),
        ("conv2d", (4, 9), {"out": 5}, "AD0303"),
        ("conv2d", (4, 9, 9), {"out": 5, "k": [3, 3, 3]}, "AD0261"),
        ("conv2d", (4, 9, 9), {"out": 5, "stride": 0}, "AD0261"),
        ("conv2d", (4, 9, 9), {"out": 5, "mode": "mirror"}, "AD0260"),
        ("deconv2d", (4, 9, 9), {"out": 5, "output_padding": 2}, "AD0261"),
        ("conv1d", ("c", 9), {"out": 5}, "AD0305"),
        ("causal_conv", (9, 4), {"k": 3, "groups": 3}, "AD0302"),
        ("causal_conv", (9, 4), {"k": 3, "bias": 1.5}, "AD0260"),
        ("causal_conv", (9, 4), {"weight": value(4, 4, 3).type}, "AD0260"),
        ("conv1d", (4, 9), {"out": 5, "weight": value(5, 3, 3).type}, "AD0301"),
        ("conv1d", (4, 9), {"out": 5, "weight": value(5, 4).type}, "AD0303"),
    ],
)
def test_refused(name, sizes, args, code):
    assert refused(name, value(*sizes), **args).code == code
