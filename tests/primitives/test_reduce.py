import pytest
import torch

from archdsl.primitives import TABLE
from tests.primitives.helpers import check, matches, refused, run, value, written

LEADS = [(), (2,), (2, 3)]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axis", [0, -1, [0, 2], [1, -1], "all"])
@pytest.mark.parametrize("op", ["sum", "mean", "variance", "std", "amax", "amin", "logsumexp", "prod", "argmax", "argmin"])
def test_equals_torch(op, axis, keep, lead):
    several = axis == "all" or isinstance(axis, list)
    if op in ("prod", "argmax", "argmin") and several:
        assert refused(op, value(3, 4, 5), axis=axis).code == "AD0315"
        return
    x = torch.randn(*lead, 3, 4, 5, dtype=torch.float64)
    node = check(op, value(3, 4, 5), axis=axis, keep=keep)
    result = run(node, x)
    dims = {0: -3, -1: -1, "all": (-3, -2, -1)}.get(axis if not isinstance(axis, list) else None)
    dims = tuple(a - 3 if a >= 0 else a for a in axis) if isinstance(axis, list) else dims
    expected = getattr(x, {"variance": "var"}.get(op, op))(dims, keepdim=keep)
    assert torch.equal(result, expected)
    matches(node, result, len(lead))


def test_logic_and_whole_numbers():
    bools = torch.tensor([[True, False], [True, True]])
    for op in ("any", "all"):
        node = check(op, value(2, kind="bool"))
        matches(node, run(node, bools))
        assert torch.equal(run(node, bools), getattr(bools, op)(-1))
    counts = check("sum", value(2, kind="bool"))
    matches(counts, run(counts, bools))
    mean = check("mean", value(4, kind="int"))
    matches(mean, run(mean, torch.tensor([[1, 2, 3, 5]])))
    assert run(mean, torch.tensor([[1, 2, 3, 5]])).item() == 2.75


def test_axis_must_be_named_unless_there_is_one():
    found = refused("mean", value(3, 4))
    assert found.code == "AD0315"
    assert "axis=0" in found.hint
    assert written(check("mean", value(3))) == "a.mean(-1)"
    assert refused("mean", value(3, 4), axis=2).code == "AD0304"
    assert refused("mean", value(3, 4), axis=[0, -2]).code == "AD0304"
    assert refused("amax", value(3, kind="complex")).code == "AD0314"
    assert refused("any", value(3)).code == "AD0314"


def test_text():
    assert written(check("mean", value(3, 4, 5), axis=[1, 2]), "x") == "x.mean((-2, -1))"
    kept = check("variance", value(3, 4), axis=-1, correction=0, keep=True)
    assert written(kept, "x + y") == "(x + y).var(-1, correction=0, keepdim=True)"


RAGGED = ["sum", "mean", "variance", "std", "amax", "amin", "logsumexp", "prod", "argmax", "argmin"]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("op", RAGGED)
def test_padding_does_not_count(op, keep):
    x = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 2, 3])
    node = check(op, value("T", 4, ragged=[0]), axis=0, keep=keep)
    result = run(node, x, lengths=lengths)
    matches(node, result, sizes={"T": 6})
    name = {"variance": "var"}.get(op, op)
    rows = [getattr(x[i : i + 1, :n], name)(1, keepdim=keep) for i, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(result, torch.cat(rows))
    if op not in ("argmax", "argmin"):
        (gradient,) = torch.autograd.grad(result.sum(), x)
        assert gradient.isfinite().all()
        assert not gradient[1, 2:].any()


@pytest.mark.parametrize("op", ["mean", "variance", "sum"])
def test_padding_over_two_axes(op):
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    lengths = torch.tensor([6, 2, 3])
    node = check(op, value("T", 4, ragged=[0]), axis=[0, 1])
    name = {"variance": "var"}.get(op, op)
    expected = torch.stack([getattr(x[i, :n], name)() for i, n in enumerate(lengths.tolist())])
    torch.testing.assert_close(run(node, x, lengths=lengths), expected)


@pytest.mark.parametrize("op", ["mean", "variance", "std", "sum", "amax"])
def test_padding_along_both_axes(op):
    """Scores of positions against positions: two axes of the same lengths."""
    x = torch.randn(3, 6, 6, dtype=torch.float64)
    lengths = torch.tensor([6, 2, 3])
    node = check(op, value("T", "T", ragged=[0, 1]), axis=[0, 1])
    name = {"variance": "var"}.get(op, op)
    expected = torch.stack([getattr(x[i, :n, :n], name)() for i, n in enumerate(lengths.tolist())])
    torch.testing.assert_close(run(node, x, lengths=lengths), expected)
    torch.testing.assert_close(run(node, x, ragged=True), getattr(x, name)((1, 2)))


def test_reduction_over_another_axis_ignores_lengths():
    node = check("mean", value("T", 4, ragged=[0]), axis=1)
    assert "lengths" not in written(node)


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "normalise", *RAGGED])
def test_no_lengths_given(op):
    """lengths may be absent in a call: then all positions are real."""
    x = torch.randn(3, 6, 4, dtype=torch.float64)
    ragged, plain = (check(op, value(6, 4, ragged=r), axis=0) for r in ([0], []))
    torch.testing.assert_close(run(ragged, x, ragged=True), run(plain, x))


def test_whole_number_extremes_over_padding():
    x = torch.tensor([[-5, -7, 9], [-3, 8, 9]])
    node = check("amax", value(3, kind="int", ragged=[0]))
    assert run(node, x, lengths=torch.tensor([2, 1])).tolist() == [-5, -3]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("op", "reference"), [
    ("softmax", lambda x: x.softmax(-2)),
    ("log_softmax", lambda x: x.log_softmax(-2)),
    ("normalise", lambda x: x / x.norm(dim=-2, keepdim=True)),
])  # fmt: skip
def test_along_an_axis(op, reference, lead):
    x = torch.randn(*lead, 3, 4, 5, dtype=torch.float64)
    node = check(op, value(3, 4, 5), axis=1)
    torch.testing.assert_close(run(node, x), reference(x))
    assert node.outputs[0].type.axes == node.inputs[0].type.axes
    assert "normalises" in TABLE[op].time(node, 0, -2).ahead
    assert TABLE[op].time(node, 0, -3).ahead is None


@pytest.mark.parametrize("op", ["softmax", "log_softmax", "normalise"])
def test_along_an_axis_with_padding(op):
    x = torch.randn(3, 6, 4, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([6, 2, 1])
    node = check(op, value("T", 4, ragged=[0]), axis=0)
    result = run(node, x, lengths=lengths)
    for i, n in enumerate(lengths.tolist()):
        expected = torch.nn.functional.normalize(x[i, :n], dim=0) if op == "normalise" else getattr(x[i, :n], op)(0)
        torch.testing.assert_close(result[i, :n], expected)
    if op != "log_softmax":
        assert not result[1, 2:].any()
    empty = run(node, x.detach(), lengths=torch.tensor([0, 2, 1]))
    assert empty.isfinite().all()
    assert torch.autograd.grad((result[1, :2] ** 2).sum(), x)[0].isfinite().all()


def test_time_rule_of_reductions():
    node = check("mean", value("T", 4), axis=0)
    assert "averages" in TABLE["mean"].time(node, 0, -2).ahead
    assert TABLE["mean"].time(node, 0, -1).ahead is None
