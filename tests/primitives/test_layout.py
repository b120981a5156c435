import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import symbol
from archdsl.primitives import TABLE
from tests.primitives.helpers import check, matches, refused, run, value, warned, written

LEADS = [(), (2,), (2, 3)]
CASES = [
    ("flatten", {}, lambda x: x.flatten(-3)),
    ("flatten", {"first": 1}, lambda x: x.flatten(-2)),
    ("flatten", {"first": 0, "last": 1}, lambda x: x.flatten(-3, -2)),
    ("flatten", {"first": 1, "last": 1}, lambda x: x),
    ("unsqueeze", {"axis": 0}, lambda x: x.unsqueeze(-4)),
    ("unsqueeze", {"axis": -1}, lambda x: x.unsqueeze(-1)),
    ("unsqueeze", {"axis": 3}, lambda x: x.unsqueeze(-1)),
    ("pad", {"before": 2, "after": 1}, lambda x: torch.cat((torch.zeros_like(x[..., :2]), x, torch.zeros_like(x[..., :1])), -1)),
    ("pad", {"before": 1, "axis": 0, "value": 3}, lambda x: torch.cat((torch.full_like(x[..., :1, :, :], 3), x), -3)),
    ("pad", {"before": 2, "after": 2, "mode": "circular"}, lambda x: torch.cat((x[..., -2:], x, x[..., :2]), -1)),
    ("pad", {"before": 2, "after": 1, "mode": "reflect"}, lambda x: torch.cat((x[..., [2, 1]], x, x[..., [-2]]), -1)),
    ("pad", {"before": 2, "after": 1, "mode": "replicate"}, lambda x: torch.cat((x[..., [0, 0]], x, x[..., [-1]]), -1)),
    ("pad", {"before": 0}, lambda x: torch.nn.functional.pad(x, (0, 0))),
    ("flip", {"axis": 1}, lambda x: x.flip(-2)),
    ("flip", {"axis": [0, 2]}, lambda x: x.flip(-3, -1)),
    ("roll", {"n": 2, "axis": 1}, lambda x: x.roll(2, -2)),
    ("roll", {"n": -1, "axis": -1}, lambda x: x.roll(-1, -1)),
]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("op", "args", "reference"), CASES)
def test_equals_torch(op, args, reference, lead):
    x = torch.randn(*lead, 3, 4, 5, dtype=torch.float64)
    node = check(op, value(3, 4, 5), **args)
    result = run(node, x)
    matches(node, result, len(lead))
    assert torch.equal(result, reference(x))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("axis", "dims"), [(0, -3), ([0, 2], (-3, -1))])
def test_squeeze(axis, dims, lead):
    node = check("squeeze", value(1, 4, 1), axis=axis)
    x = torch.randn(*lead, 1, 4, 1)
    matches(node, run(node, x), len(lead))
    assert torch.equal(run(node, x), x.squeeze(dims))


def test_refuses():
    assert refused("squeeze", value(2, 4), axis=0).code == "AD0316"
    assert refused("flatten", value(2, 4), first=1, last=0).code == "AD0304"
    assert refused("unsqueeze", value(2, 4), axis=4).code == "AD0304"
    assert refused("pad", value(2, 4), before=-1).code == "AD0316"
    assert refused("pad", value(2, 4), before=1, mode="wrap").code == "AD0316"


def test_identity_and_time():
    t = Axis(symbol("T"))
    kept = check("flatten", value(1, t, 1))
    assert kept.outputs[0].type.axes == (t,)
    assert TABLE["flatten"].time(kept, 0, -2).ahead is None
    merged = check("flatten", value(t, 4))
    assert "regroups" in TABLE["flatten"].time(merged, 0, -2).ahead
    assert "reverses" in TABLE["flip"].time(check("flip", value(t, 4), axis=0), 0, -2).ahead
    assert TABLE["flip"].time(check("flip", value(t, 4), axis=1), 0, -2).ahead is None
    assert "wraps" in TABLE["roll"].time(check("roll", value(t, 4), n=1), 0, -2).ahead
    assert TABLE["pad"].time(check("pad", value(t, 4), before=1), 0, -2).ahead is None
    assert TABLE["pad"].time(check("pad", value(t, 4), before=1, axis=0), 0, -2).ahead


def test_flip_turns_real_positions_only():
    x = torch.randn(3, 5, 2)
    lengths = torch.tensor([5, 2, 0])
    node = check("flip", value("T", 2, ragged=[0]), axis=0)
    result = run(node, x, lengths=lengths)
    assert torch.equal(result[0], x[0].flip(0))
    assert torch.equal(result[1, :2], x[1, :2].flip(0))
    assert torch.equal(result[2], x[2])
    assert torch.equal(run(node, x, ragged=True), x.flip(1))


def test_lengths_lost():
    check("pad", value("T", 4, ragged=[0]), before=1, axis=0)
    assert warned() == ["AD0313"]
    check("pad", value("T", 4, ragged=[0]), before=1)
    assert warned() == []


def test_text():
    assert written(check("pad", value(3, 4), before=2, axis=0), "x") == "F.pad(x, (0, 0, 2, 0))"
    assert written(check("flatten", value(3, 4)), "x") == "x.flatten(-2)"
