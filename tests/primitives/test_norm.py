from __future__ import annotations

import pytest
import torch

from archdsl.graph.ir import Axis, Init
from archdsl.graph.sizes import symbol
from tests.primitives.helpers import refused, value
from tests.primitives.made import Made, close, close_with_gradients


def f64(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def along(weight, axis):
    return weight.view(-1, *[1] * (-axis - 1))


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize(("scale", "unit_offset"), [(True, False), (False, False), (True, True)])
def test_rmsnorm(axis, scale, unit_offset):
    made = Made("rmsnorm", value(4, 5, 6), axis=axis, scale=scale, unit_offset=unit_offset, eps=1e-3)
    if scale:
        (made.module.weight.data if made.text else made.module.weight.detach()).normal_()
    at = axis - 3 if axis >= 0 else axis

    def reference(x):
        out = x / torch.sqrt((x * x).mean(at, keepdim=True) + 1e-3)
        return out * along(made.module.weight + unit_offset, at) if scale else out

    close_with_gradients(made, reference, [f64(3, 4, 5, 6)])


def test_rmsnorm_equals_transformers():
    pytest.importorskip("transformers")
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    theirs = LlamaRMSNorm(64, eps=1e-6)
    made = Made("rmsnorm", value(5, 64))
    theirs.weight.data.normal_()
    made.module.float().weight.data.copy_(theirs.weight)
    x = torch.randn(2, 5, 64)
    torch.testing.assert_close(made(x), theirs(x), rtol=1e-6, atol=1e-6)
    assert made.text == "nn.RMSNorm(64, eps=1e-06)"


@pytest.mark.parametrize("axis", [-1, 0])
@pytest.mark.parametrize(("scale", "bias"), [(True, True), (True, False), (False, False), (False, True)])
def test_layernorm(axis, scale, bias):
    made = Made("layernorm", value(4, 5, 6), axis=axis, scale=scale, bias=bias, eps=1e-3)
    for tensor in made.parameters():
        tensor.data.normal_()
    at = axis - 3 if axis >= 0 else axis

    def reference(x):
        centred = x - x.mean(at, keepdim=True)
        out = centred / torch.sqrt((centred * centred).mean(at, keepdim=True) + 1e-3)
        out = out * along(made.module.weight, at) if scale else out
        return out + along(made.module.bias, at) if bias else out

    close_with_gradients(made, reference, [f64(3, 4, 5, 6)])


def test_norms_without_weights_take_unknown_sizes():
    x = f64(2, 5, 7)
    close(Made("layernorm", value(5, "d"), scale=False, bias=False)(x), torch.nn.functional.layer_norm(x, (7,)))
    assert Made("rmsnorm", value(5, "d"), scale=False)(x).shape == x.shape
    assert refused("rmsnorm", value(5, "d")).code == "AD0305"


def test_l2norm():
    for axis in (-1, 0):
        made = Made("l2norm", value(4, 5), axis=axis)
        at = axis - 2 if axis >= 0 else axis
        close_with_gradients(made, lambda x, at=at: x / x.square().sum(at, keepdim=True).sqrt(), [f64(3, 4, 5)])
    zero = torch.zeros(1, 4, requires_grad=True)
    Made("l2norm", value(4), eps=1e-6)(zero).sum().backward()
    assert torch.isfinite(zero.grad).all()


@pytest.mark.parametrize(("sizes", "axis"), [((4,), 0), ((4, 5), 0), ((4, 5, 3), 0), ((4, 5, 3, 2), 0), ((5, 4), -1), ((2, 4, 5), 1)])
@pytest.mark.parametrize("training", [True, False])
def test_batchnorm(sizes, axis, training):
    made = Made("batchnorm", value(*sizes), axis=axis)
    made.module.train(training)
    made.module.weight.data.normal_()
    made.module.bias.data.normal_()
    made.module.running_mean.normal_()
    made.module.running_var.uniform_(0.5, 2)
    before = made.module.running_mean.clone(), made.module.running_var.clone()
    at = axis - len(sizes) if axis >= 0 else axis
    x = f64(7, *sizes)
    others = [i for i in range(-x.dim(), 0) if i != at]

    def moments(x):
        return x.mean(others, keepdim=True), x.var(others, correction=0, keepdim=True)

    def reference(x):
        mean, var = moments(x) if training else (along(before[0], at), along(before[1], at))
        return (x - mean) / torch.sqrt(var + 1e-5) * along(made.module.weight, at) + along(made.module.bias, at)

    close_with_gradients(made, reference, [x])
    if training:
        n = x.numel() // 4
        close(made.module.running_mean, 0.9 * before[0] + 0.1 * moments(x)[0].flatten())
        close(made.module.running_var, 0.9 * before[1] + 0.1 * moments(x)[1].flatten() * n / (n - 1))
        assert made.module.num_batches_tracked == 1


def test_batchnorm_without_scale_and_begun_otherwise():
    bare = Made("batchnorm", value(4, 5), scale=False, bias=False)
    assert bare.text == "nn.BatchNorm1d(4, affine=False)"
    assert not bare.parameters()
    x = f64(3, 4, 5)
    assert float(bare(x).mean((0, 2)).abs().max()) < 1e-12
    time = Axis(symbol("T"), ragged="x")
    ragged = Made("batchnorm", value(4, time), scale=False, bias=False)
    close(ragged(x, lengths=torch.tensor([5, 5, 5])), bare(x))
    assert not Made("batchnorm", value(4, 5), scale=Init("zeros")).module.weight.any()
    assert refused("batchnorm", value(4, 5), scale=False).code == "AD0260"


@pytest.mark.parametrize(("layout", "axis"), [("ct", 0), ("tc", -1)])
def test_batchnorm_counts_no_padding(layout, axis):
    time = Axis(symbol("T"), ragged="x")
    made = Made("batchnorm", value(4, time) if layout == "ct" else value(time, 4), axis=axis)
    x = f64(3, 4, 8) if layout == "ct" else f64(3, 8, 4)
    lengths = torch.tensor([8, 3, 5])
    t = x if layout == "ct" else x.mT
    real = torch.cat([t[b, :, :n] for b, n in enumerate(lengths.tolist())], -1)
    for training in (True, False):
        made.module.train(training)
        made.module.reset_running_stats()
        result = made(x, lengths=lengths)
        result = result if layout == "ct" else result.mT
        running = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand(2, 4)
        mean, var = (real.mean(-1), real.var(-1, correction=0)) if training else running
        for b, n in enumerate(lengths.tolist()):
            close(result[b, :, :n], (t[b, :, :n] - mean[:, None]) / torch.sqrt(var + 1e-5)[:, None])
        if training:
            close(made.module.running_mean, 0.1 * real.mean(-1))
            close(made.module.running_var, 0.9 + 0.1 * real.var(-1))
            assert made.module.num_batches_tracked == 1


@pytest.mark.parametrize(("sizes", "axis"), [((6,), 0), ((6, 5), 0), ((6, 5, 3), 0), ((5, 6), -1), ((2, 6, 5), 1)])
@pytest.mark.parametrize(("scale", "bias"), [(True, True), (True, False), (False, False)])
def test_groupnorm(sizes, axis, scale, bias):
    made = Made("groupnorm", value(*sizes), groups=3, axis=axis, scale=scale, bias=bias)
    for tensor in made.parameters():
        tensor.data.normal_()
    at = axis - len(sizes) if axis >= 0 else axis

    def reference(x):
        parts = []
        for g in range(3):
            part = x.narrow(at, 2 * g, 2)
            over = list(range(at, 0))
            part = (part - part.mean(over, keepdim=True)) / torch.sqrt(part.var(over, correction=0, keepdim=True) + 1e-5)
            parts.append(part)
        out = torch.cat(parts, at)
        out = out * along(made.module.weight, at) if scale else out
        return out + along(made.module.bias, at) if bias else out

    close_with_gradients(made, reference, [f64(4, *sizes)])


@pytest.mark.parametrize("name", ["groupnorm", "instancenorm"])
def test_padded_batches_equal_single_runs(name):
    time = Axis(symbol("T"), ragged="x")
    made = Made(name, value(2, 6, time), axis=1, **({"groups": 3} if name == "groupnorm" else {}))
    x, lengths = f64(3, 2, 6, 8), torch.tensor([8, 3, 5])
    result = made(x, lengths=lengths)
    for b, n in enumerate(lengths.tolist()):
        close(result[b : b + 1, ..., :n], made(x[b : b + 1, ..., :n]))


def test_instancenorm():
    made = Made("instancenorm", value(4, 5, 3), scale=True, bias=Init("ones"))
    x = f64(2, 4, 5, 3)
    close(made(x), torch.nn.functional.instance_norm(x) + 1)
    free = Made("instancenorm", value("c", 5, 3))
    close(free(x, sizes={"c": 4}), torch.nn.functional.instance_norm(x))


def test_values_without_a_batch():
    x = f64(6, 5)
    one = Made("batchnorm", value(6, 5, batched=False))
    one.module.eval()
    close(one(x), one.module(x[None])[0])
    close(Made("groupnorm", value(6, 5, batched=False), groups=2)(x), torch.nn.functional.group_norm(x[None], 2)[0])


def test_time_rules():
    for name, args in (("rmsnorm", {}), ("layernorm", {}), ("l2norm", {}), ("groupnorm", {"axis": -1, "groups": 2})):
        made = Made(name, value("T", 4), **args)
        assert made.p.time(made.node, 0, -2).ahead is None, name
        assert made.p.time(made.node, 0, -1).ahead, name
    made = Made("groupnorm", value(4, "T"), groups=2)
    assert "averages" in made.p.time(made.node, 0, -1).ahead
    batch = Made("batchnorm", value("T", 4), axis=-1)
    assert batch.p.time(batch.node, 0, -2).ahead is None


def test_refused():
    assert refused("rmsnorm", value(4), axis=2).code == "AD0304"
    assert refused("layernorm", value(4), eps=-1.0).code == "AD0261"
    assert refused("groupnorm", value(4, 5), groups=3).code == "AD0302"
    assert refused("batchnorm", value("T", 5)).code == "AD0305"
    assert refused("batchnorm", value(4), momentum=2.0).code == "AD0261"
    assert refused("rmsnorm", value(4, kind="int")).code == "AD0314"
    assert refused("rmsnorm", value(4), scale="yes").code == "AD0260"


@pytest.mark.parametrize("name", ["rmsnorm", "layernorm"])
def test_second_derivatives_of_a_norm_that_keeps_its_output_are_refused(name):
    off = {"rmsnorm": {"scale": False}, "layernorm": {"scale": False, "bias": False}}[name]
    made, plain = (Made(name, value(4, 6), saves=saves, **off) for saves in ("output", "input"))
    x = f64(3, 4, 6).requires_grad_()
    close(*(torch.autograd.grad(m(x).pow(3).sum(), x, create_graph=True)[0] for m in (made, plain)))
    for loss in (made(x).pow(3).sum(), made(x).sum()):  # the second's gradient depends on what was kept alone
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        with pytest.raises(RuntimeError, match="no second derivatives"):
            torch.autograd.grad(gradient.sum(), x)
