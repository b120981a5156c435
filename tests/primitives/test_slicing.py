import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import Facts, symbol
from archdsl.primitives import TABLE
from tests.primitives.helpers import FakeEmitter, check, matches, refused, run, value, warned, written

LEADS = [(), (2,), (2, 3)]
T = symbol("T")
CASES = [
    ([(1, None)], lambda x: x[..., 1:, :, :]),
    ([0], lambda x: x[..., 0, :, :]),
    ([-1], lambda x: x[..., -1, :, :]),
    ([Ellipsis, -1], lambda x: x[..., -1]),
    ([Ellipsis, (None, 2)], lambda x: x[..., :2]),
    ([(0, 2), Ellipsis, (1, -1)], lambda x: x[..., :2, :, 1:-1]),
    ([(None, -1), 2], lambda x: x[..., :-1, 2, :]),
    ([(-2, None)], lambda x: x[..., -2:, :, :]),
    ([(-3, -1)], lambda x: x[..., -3:-1, :, :]),
    ([1, 2, 3], lambda x: x[..., 1, 2, 3]),
    ([Ellipsis, None], lambda x: x[..., None]),
    ([None, Ellipsis], lambda x: x[..., None, :, :, :]),
    ([0, None, Ellipsis, (1, 3)], lambda x: x[..., 0, :, 1:3].unsqueeze(-3)),
    ([Ellipsis], lambda x: x),
    ([(None, None), (0, 4)], lambda x: x),
]


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize(("items", "reference"), CASES)
@pytest.mark.parametrize("symbolic", [False, True])
def test_equals_torch(items, reference, lead, symbolic):
    """The same whether the first axis has a known size or not."""
    x = torch.randn(*lead, 3, 4, 5)
    node = check("slice", value("T" if symbolic else 3, 4, 5), items=items)
    result = run(node, x, sizes={"T": 3})
    matches(node, result, len(lead), {"T": 3})
    assert torch.equal(result, reference(x))


def test_sizes():
    def shape(items, facts=None):
        return str(check("slice", value("T", 4), items=items, facts=facts).outputs[0].type)

    assert shape([(1, None)]) == "[T - 1, 4]"
    assert shape([(None, -1)]) == "[T - 1, 4]"
    assert shape([(1, -2)]) == "[T - 3, 4]"
    assert shape([(-2, None)]) == "[2, 4]"
    assert shape([(None, T)]) == "[T, 4]"
    assert shape([(T - 2, None)]) == "[2, 4]"
    assert shape([Ellipsis, 0]) == "[T]"


def test_whole_range_keeps_the_axis():
    t = Axis(T)
    node = check("slice", value(t, 4), items=[(0, None), 1])
    assert node.outputs[0].type.axes == (t,)
    node = check("slice", value(t, 4), items=[(1, None)])
    assert node.outputs[0].type.axes[0].identity != t.identity


def test_text():
    def text(items, facts=None, sizes=(8, 4)):
        return written(check("slice", value(*sizes), items=items, facts=facts), "x", emitter=FakeEmitter({"T": 9}))

    assert text([(1, None)]) == "x[..., 1:, :]"
    assert text([Ellipsis, -1]) == "x[..., -1]"
    assert text([(None, 3), 0]) == "x[..., :3, 0]"
    assert text([(None, 3)], sizes=("T", 4)) == "x.narrow(-2, 0, 3)"
    facts = Facts()
    facts.divisible(T, 4)
    assert text([(None, 3)], facts, ("T", 4)) == "x[..., :3, :]"
    assert written(check("slice", value(3), items=[0]), "x + y") == "(x + y)[..., 0]"


def test_a_range_beyond_an_open_axis_is_found_at_run_time():
    node = check("slice", value("T", 4), items=[(None, 5)])
    assert run(node, torch.randn(2, 6, 4), sizes={"T": 6}).shape == (2, 5, 4)
    with pytest.raises(RuntimeError):
        run(node, torch.randn(2, 3, 4), sizes={"T": 3})


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([3], "AD0316"),
        ([-4], "AD0316"),
        ([(0, 5)], "AD0316"),
        ([(2, 2)], "AD0316"),
        ([(2, 1)], "AD0316"),
        ([0, 0, 0], "AD0304"),
        ([Ellipsis, Ellipsis], "AD0316"),
        (["a"], "AD0316"),
    ],
)
def test_refuses(items, code):
    assert refused("slice", value(3, 4), items=items).code == code


def test_time_rule():
    def rule(*args):
        return TABLE["slice"].time(*args).ahead

    node = check("slice", value("T", 4), items=[Ellipsis, 0])
    assert rule(node, 0, -2) is None
    assert "one position" in rule(node, 0, -1)
    assert "part" in rule(check("slice", value("T", 4), items=[(1, None)]), 0, -2)


def test_lengths():
    check("slice", value("T", 4, ragged=[0]), items=[(1, None)])
    assert warned() == ["AD0313"]
    check("slice", value("T", 4, ragged=[0]), items=[Ellipsis, 1])
    assert warned() == []


@pytest.mark.parametrize("lead", LEADS)
def test_first_and_last(lead):
    x = torch.randn(*lead, 3, 4)
    for op, place in (("first", 0), ("last", -1)):
        node = check(op, value(3, 4))
        assert torch.equal(run(node, x), x[..., place, :])
        matches(node, run(node, x), len(lead))
        assert TABLE[op].time(node, 0, -2).ahead
        assert TABLE[op].time(node, 0, -1).ahead is None


def test_last_real_position():
    x = torch.randn(3, 5, 2, requires_grad=True)
    node = check("last", value("T", 2, ragged=[0]))
    result = run(node, x, lengths=torch.tensor([5, 2, 1]))
    assert torch.equal(result, torch.stack([x[0, 4], x[1, 1], x[2, 0]]))
    assert torch.equal(run(node, x, ragged=True), x[:, -1])
