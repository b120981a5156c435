import pytest
import torch

from archdsl.primitives import TABLE
from tests.primitives.helpers import check, matches, refused, run, value, written

LEADS = [(2,), (2, 3)]


def rand(sizes, on, lead):
    return torch.randn((*(lead if on else ()), *sizes), dtype=torch.float64, requires_grad=True)


def whole(n, sizes, on, lead):
    return torch.randint(n, (*(lead if on else ()), *sizes))


def each(function, x, index, own, index_own, lead):
    """The function on every entry of the batch, stacked: what batching must mean."""
    xs = x.reshape(-1, *x.shape[len(lead) :]) if x.dim() > own else [x] * torch.Size(lead).numel()
    rows = index.reshape(-1, *index.shape[len(lead) :]) if index.dim() > index_own else [index] * torch.Size(lead).numel()
    out = torch.stack([function(a, b) for a, b in zip(xs, rows)])
    return out.reshape(*lead, *out.shape[1:])


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(), (6,), (3, 2)])
def test_take(axis, shape, batched, lead):
    node = check("take", value(4, 5, 3, batched=batched[0]), value(*shape, kind="int", batched=batched[1]), axis=axis)
    x, index = rand((4, 5, 3), batched[0], lead), whole((4, 5, 3)[axis], shape, batched[1], lead)
    result = run(node, x, index)
    matches(node, result, len(lead))

    def one(a, i):
        return a[(slice(None),) * axis + (i,)]

    expected = each(one, x, index, 3, len(shape), lead)
    assert torch.equal(result, expected)
    weight = torch.randn_like(result)
    for a, b in zip(torch.autograd.grad((result * weight).sum(), x), torch.autograd.grad((expected * weight).sum(), x)):
        torch.testing.assert_close(a, b)


def test_take_of_a_table_is_plain_indexing():
    node = check("take", value(10, 4, batched=False), value("T", kind="int"))
    assert written(node, "table", "ids") == "table[ids]"
    assert str(node.outputs[0].type) == "[T, 4]"
    assert node.outputs[0].type.batched
    assert TABLE["take"].time(node, 1, -1).ahead is None
    assert TABLE["take"].time(node, 0, -2).ahead


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("axis", [0, 1])
def test_gather_and_scatter(axis, batched, lead):
    index_sizes = (6, 5) if axis == 0 else (4, 6)
    node = check("gather", value(4, 5, batched=batched[0]), value(*index_sizes, kind="int", batched=batched[1]), axis=axis)
    x, index = rand((4, 5), batched[0], lead), whole((4, 5)[axis], index_sizes, batched[1], lead)
    result = run(node, x, index)
    matches(node, result, len(lead))
    assert torch.equal(result, each(lambda a, i: a.gather(axis, i), x, index, 2, 2, lead))
    node = check("scatter_add", value(4, 5, batched=batched[0]), value(4, 5, kind="int", batched=batched[1]), size=7, axis=axis)
    places = whole(7, (4, 5), batched[1], lead)
    result = run(node, x, places)
    matches(node, result, len(lead))
    size = (7, 5) if axis == 0 else (4, 7)
    expected = each(lambda a, i: torch.zeros(size, dtype=a.dtype).scatter_add(axis, i, a), x, places, 2, 2, lead)
    torch.testing.assert_close(result, expected)


def test_refuses():
    assert refused("gather", value(4, 5), value(4, kind="int")).code == "AD0310"
    assert refused("gather", value(4, 5), value(6, 4, kind="int")).code == "AD0301"
    assert refused("gather", value(4, 5), value(4, 5)).code == "AD0314"
    assert refused("take", value(4, 5), value(4)).code == "AD0314"
    assert refused("take", value(4, 5), value(4, kind="int"), axis=2).code == "AD0304"
    assert refused("scatter_add", value(4), value(4, 5, kind="int"), size=3).code == "AD0310"
    assert refused("one_hot", value(4), n=3).code == "AD0314"
    assert refused("segment_sum", value(4, 2), value(4, 2, kind="int"), n=3).code == "AD0303"
    assert refused("segment_sum", value(4, 2), value(5, kind="int"), n=3).code == "AD0301"


def test_one_hot():
    node = check("one_hot", value("T", kind="int"), n=5)
    index = torch.tensor([[0, 4, 2]])
    result = run(node, index)
    matches(node, result, sizes={"T": 3})
    assert torch.equal(result.argmax(-1), index)
    assert torch.equal(result.sum(-1), torch.ones(1, 3, dtype=torch.float64))


def plain_segments(name, x, index, n):
    out = x.clone() if name == "segment_softmax" else torch.zeros(n, *x.shape[1:], dtype=x.dtype)
    rows = []
    for g in range(n):
        mine = index == g
        if name == "segment_softmax":
            wide = mine.view(-1, *[1] * (x.dim() - 1))
            out = torch.where(wide, x.masked_fill(~wide, -torch.inf).softmax(0), out)
        elif not mine.any():
            rows.append(torch.zeros(x.shape[1:], dtype=x.dtype))
        else:
            part = x[mine]
            rows.append({"segment_sum": part.sum(0), "segment_mean": part.mean(0), "segment_max": part.amax(0)}[name])
    return out if name == "segment_softmax" else torch.stack(rows)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("batched", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("others", [(), (3,), (2, 3)])
@pytest.mark.parametrize("name", ["segment_sum", "segment_mean", "segment_max", "segment_softmax"])
def test_segments(name, others, batched, lead):
    node = check(name, value(6, *others, batched=batched[0]), value(6, kind="int", batched=batched[1]), n=4)
    x, index = rand((6, *others), batched[0], lead), whole(3, (6,), batched[1], lead)  # the last group stays empty
    result = run(node, x, index)
    matches(node, result, len(lead))
    expected = each(lambda a, i: plain_segments(name, a, i, 4), x, index, 1 + len(others), 1, lead)
    torch.testing.assert_close(result, expected)
    weight = torch.randn_like(result)
    (a,) = torch.autograd.grad((result * weight).sum(), x)
    (b,) = torch.autograd.grad((expected * weight).sum(), x)
    torch.testing.assert_close(a, b)


def test_segment_softmax_of_large_scores_is_finite():
    node = check("segment_softmax", value(4), value(4, kind="int"), n=2)
    result = run(node, torch.tensor([[1e4, -1e4, 1e4, 3.0]]), torch.tensor([[0, 0, 1, 1]]))
    torch.testing.assert_close(result, torch.tensor([[1.0, 0.0, 1.0, 0.0]]))
