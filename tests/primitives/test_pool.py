from functools import partial

import pytest
import torch
import torch.nn.functional as F

from archdsl.graph.sizes import Facts, symbol
from archdsl.primitives import TABLE
from tests.primitives.helpers import assumed, check, matches, refused, run, value, warned, written

WINDOWS = [
    {"k": 2},
    {"k": 3, "stride": 2, "padding": 1},
    {"k": 3, "stride": 1, "padding": 1},
    {"k": 2, "ceil": True},
    {"k": 3, "stride": 2, "padding": 1, "ceil": True},
    {"k": 2, "stride": 3},
]
SIZES = {1: (4, 9), 2: (4, 9, 8), 3: (2, 5, 8, 6)}
LEADS = [(), (2,), (2, 3)]


def flat(function, x, axes):
    out = function(x.reshape(-1, *x.shape[-axes:]))
    return out.reshape(*x.shape[:-axes], *out.shape[1:])


@pytest.mark.parametrize("args", WINDOWS)
@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_equals_torch(kind, n, args):
    function = getattr(F, f"{kind}_pool{n}d")
    for lead in LEADS:
        x = torch.randn(*lead, *SIZES[n], dtype=torch.float64)
        given = SIZES[n] if len(lead) < 2 else (lead[1], *SIZES[n])
        node = check(f"{kind}pool{n}d", value(*given), **args)
        result = run(node, x)
        matches(node, result, min(len(lead), 1))
        k, stride = args["k"], args.get("stride") or args["k"]
        pool = partial(function, kernel_size=k, stride=stride, padding=args.get("padding", 0), ceil_mode=args.get("ceil", False))
        expected = flat(pool, x, n + 1)
        assert torch.equal(result, expected)


def test_windows_per_axis_and_count():
    x = torch.randn(2, 3, 4, 8, 6)
    node = check("maxpool3d", value(3, 4, 8, 6), k=[2, 1, 3], stride=[2, 1, 1], padding=[0, 0, 1])
    assert torch.equal(run(node, x), F.max_pool3d(x, (2, 1, 3), (2, 1, 1), (0, 0, 1)))
    matches(node, run(node, x))
    node = check("avgpool1d", value(3, 6), k=3, stride=1, padding=1, count_pad=False)
    y = torch.randn(2, 3, 6)
    assert torch.equal(run(node, y), F.avg_pool1d(y, 3, 1, 1, count_include_pad=False))


def test_sizes_follow_facts():
    facts = Facts()
    facts.divisible(symbol("H"), 4)
    node = check("maxpool2d", value(3, "H", "W"), facts=facts, k=2)
    assert str(node.outputs[0].type) == "[3, H/2, floor(W/2)]"
    again = check("maxpool2d", node.outputs[0], facts=facts, k=2)
    assert str(again.outputs[0].type) == "[3, H/4, floor(W/4)]"
    same = check("avgpool1d", value(3, "T"), k=3, stride=1, padding=1)
    assert same.outputs[0].type.axes[1].identity == same.inputs[0].type.axes[1].identity
    assert assumed() == []


def test_text():
    assert written(check("maxpool2d", value(3, 8, 8), k=2), "x") == "F.max_pool2d(x, kernel_size=2)"
    strided = check("avgpool2d", value(3, 8, 8), k=3, stride=2, padding=1)
    assert written(strided, "x") == "F.avg_pool2d(x, kernel_size=3, stride=2, padding=1)"


def test_refuses():
    assert refused("maxpool2d", value(3, 8), k=2).code == "AD0303"
    assert refused("maxpool2d", value(3, 8, 8), k=0).code == "AD0316"
    assert refused("maxpool2d", value(3, 8, 8), k=[2, 2, 2]).code == "AD0316"
    assert refused("maxpool2d", value(3, 8, 8), k=2, padding=2).code == "AD0316"
    assert refused("maxpool2d", value(3, 8, 8), k=9).code == "AD0316"
    assert refused("maxpool2d", value(3, 8, 8, kind="int"), k=2).code == "AD0314"


def test_time_rule():
    node = check("maxpool1d", value(3, "T"), k=2)
    assert "window" in TABLE["maxpool1d"].time(node, 0, -1).ahead
    assert TABLE["maxpool1d"].time(node, 0, -2).ahead is None
    assert TABLE["avgpool1d"].time(check("avgpool1d", value(3, "T"), k=1), 0, -1).ahead is None


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(("k", "stride", "padding"), [(2, 2, 0), (3, 1, 1), (3, 2, 1)])
def test_pools_leave_padding_out(kind, k, stride, padding):
    x = torch.randn(3, 4, 10, dtype=torch.float64)
    lengths = torch.tensor([10, 4, 7])
    node = check(f"{kind}pool1d", value(4, "T", ragged=[1]), k=k, stride=stride, padding=padding)
    result = run(node, x, lengths=lengths)
    matches(node, result, sizes={"T": 10})
    for i, n in enumerate(lengths.tolist()):
        for j in range(result.shape[-1]):
            part = x[i, :, max(j * stride - padding, 0) : min(j * stride - padding + k, n)]
            expected = torch.zeros(4, dtype=x.dtype) if part.shape[-1] == 0 else part.amax(-1) if kind == "max" else part.mean(-1)
            torch.testing.assert_close(result[i, :, j], expected)
    if stride > 1:
        assert warned() == ["AD0313"]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_adaptive(kind, n):
    for out in (1, 3):
        for lead in LEADS:
            x = torch.randn(*lead, *SIZES[n])
            given = SIZES[n] if len(lead) < 2 else (lead[1], *SIZES[n])
            node = check(f"adaptive_{kind}pool{n}d", value(*given), out=out)
            result = run(node, x)
            matches(node, result, min(len(lead), 1))
            assert torch.equal(result, flat(partial(getattr(F, f"adaptive_{kind}_pool{n}d"), output_size=out), x, n + 1))


MODES = [("nearest", 1), ("nearest", 2), ("nearest", 3), ("linear", 1), ("bilinear", 2), ("linear", 3), ("cubic", 2)]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("mode", "n"), MODES)
def test_upsample(mode, n, lead):
    x = torch.randn(*lead, *SIZES[n], dtype=torch.float64)
    node = check("upsample", value(*SIZES[n]), scale=2, mode=mode)
    result = run(node, x)
    matches(node, result, len(lead))
    full = {"linear": ["linear", "bilinear", "trilinear"][n - 1], "cubic": "bicubic"}.get(mode, mode)
    extra = {} if mode == "nearest" else {"align_corners": False}
    torch.testing.assert_close(result, flat(lambda y: F.interpolate(y, scale_factor=2, mode=full, **extra), x, n + 1))


def test_upsample_to_a_size():
    x = torch.randn(2, 3, 5, 7)
    node = check("upsample", value(3, 5, 7), size=[8, 14])
    assert torch.equal(run(node, x), F.interpolate(x, size=(8, 14)))
    assert written(check("upsample", value(3, 5, 7), scale=2), "x") == "x.repeat_interleave(2, -2).repeat_interleave(2, -1)"
    assert str(check("upsample", value(3, "H", "W"), scale=2).outputs[0].type) == "[3, 2*H, 2*W]"
    for wrong in ({}, {"scale": 2, "size": 8}, {"scale": 1.5}, {"scale": 2, "mode": "area"}, {"size": [1]}):
        assert refused("upsample", value(3, 5, 7), **wrong).code == "AD0316"


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_upsample_keeps_the_corners(mode):
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64)
    out = run(check("upsample", value(3, 5, 7), size=[9, 11], mode=mode, corners=True), x)
    assert torch.equal(out, F.interpolate(x, (9, 11), mode=f"bi{mode}", align_corners=True))
    assert torch.allclose(out[..., ::8, ::10], x[..., ::4, ::6])
    assert refused("upsample", value(3, 5, 7), scale=2, corners=True).code == "AD0316"
