import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import symbol
from archdsl.primitives import TABLE
from tests.primitives.helpers import assumed, check, matches, refused, run, value, warned, written

LEADS = [(), (2,), (2, 3)]


def tensor(sizes, batched, lead):
    return torch.randn((*(lead if batched else ()), *sizes), dtype=torch.float64)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis, batched, lead):
    sizes = [(3, 4), (5, 4)] if axis == 0 else [(3, 4), (3, 6)]
    node = check("concat", *(value(*s, batched=b) for s, b in zip(sizes, batched)), axis=axis)
    x, y = (tensor(s, b, lead) for s, b in zip(sizes, batched))
    result = run(node, x, y)
    matches(node, result, len(lead))
    wide = lead if any(batched) else ()
    expected = torch.cat((x.expand(*wide, *sizes[0]), y.expand(*wide, *sizes[1])), -2 if axis == 0 else -1)
    assert torch.equal(result, expected)


def test_concat_sizes_kinds_and_time():
    t = Axis(symbol("T"))
    node = check("concat", value(t, 4), value(t, 6, kind="int"), axis=-1)
    assert str(node.outputs[0].type) == "[T, 10]"
    assert node.outputs[0].type.axes[0] is t
    assert TABLE["concat"].time(node, 0, -2).ahead is None
    longer = check("concat", value(t, 4), value(1, 4), axis=0)
    assert str(longer.outputs[0].type) == "[T + 1, 4]"
    assert longer.outputs[0].type.axes[0].identity != t.identity
    assert TABLE["concat"].time(longer, 0, -2).ahead
    assert refused("concat", value(3, 4), value(3, 5), axis=0).code == "AD0301"
    assert refused("concat", value(3, 4), value(3), axis=0).code == "AD0310"
    check("concat", value("T", 4, ragged=[0]), value(2, 4), axis=0)
    assert warned() == ["AD0313"]
    assert written(check("concat", value(3)), "x") == "x"


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_stack(axis, batched, lead):
    node = check("stack", *(value(3, 4, batched=b) for b in batched), axis=axis)
    x, y = (tensor((3, 4), b, lead) for b in batched)
    result = run(node, x, y)
    matches(node, result, len(lead))
    expected = torch.stack((x.expand(*lead, 3, 4), y.expand(*lead, 3, 4)), axis - 3 if axis >= 0 else axis)
    assert torch.equal(result, expected)


def test_stack_refuses():
    assert refused("stack", value(3), value(4)).code == "AD0301"
    assert refused("stack", value(3), value(3), axis=2).code == "AD0304"


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(
    ("parts", "axis", "sizes"),
    [(2, -1, [3, 3]), ([1, 2, 3], -1, [1, 2, 3]), (3, 0, [4, 4, 4]), ([6], -1, [6]), (1, 0, [12])],
)
def test_split(parts, axis, sizes, lead):
    node = check("split", value(12, 6), parts=parts, axis=axis)
    x = torch.randn(*lead, 12, 6)
    result = run(node, x)
    results = [result] if len(sizes) == 1 else list(result)
    matches(node, results, len(lead))
    for a, b in zip(results, x.split(sizes, -2 if axis == 0 else -1)):
        assert torch.equal(a, b)


def test_split_sizes():
    assert refused("split", value(6), parts=4).code == "AD0302"
    wrong = refused("split", value(6), parts=[2, 3])
    assert wrong.code == "AD0317"
    assert "add up to 5, the axis is 6" in wrong.title
    assert refused("split", value(6), parts="x").code == "AD0316"
    assert refused("split", value(6), parts=[0, 6]).code == "AD0316"
    node = check("split", value("d"), parts=2)
    assert assumed() == ["d % 2"]
    assert str(node.outputs[1].type) == "[d/2]"
    assert written(check("split", value(6), parts=2), "x") == "x.chunk(2, -1)"
    assert written(check("split", value(6), parts=[2, 4]), "x") == "x.split([2, 4], -1)"


def test_sums():
    node = check("add", value(3, 4), value(4, batched=False), value(3, 4))
    x, y, z = torch.randn(2, 3, 4), torch.randn(4), torch.randn(2, 3, 4)
    assert torch.equal(run(node, x, y, z), x + y + z)
    assert written(node, "a", "b - c", "d * e") == "a + (b - c) + d * e"
    assert written(check("multiply", value(3), value(3)), "a + b", "c * d") == "(a + b) * (c * d)"
    scalar = check("multiply", value(), value(3, 4))
    x, y = torch.randn(2), torch.randn(2, 3, 4)
    assert torch.equal(run(scalar, x, y), x[:, None, None] * y)


@pytest.mark.parametrize("lead", LEADS)
def test_expand(lead):
    node = check("expand", value(3, 1), shape=[2, 3, 4])
    x = torch.randn(*lead, 3, 1)
    result = run(node, x)
    matches(node, result, len(lead))
    assert torch.equal(result, x.unsqueeze(-3).expand(*lead, 2, 3, 4))
    assert refused("expand", value(3, 2), shape=[3, 4]).code == "AD0301"
    assert refused("expand", value(3, 2), shape=[4]).code == "AD0316"
    plain = check("expand", value(3, 1, batched=False), shape=[2, 3, 4])
    assert run(plain, torch.randn(3, 1)).shape == (2, 3, 4)
