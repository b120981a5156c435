import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import symbol
from archdsl.primitives import TABLE
from archdsl.primitives.support.clock import Clock
from tests.primitives.helpers import check, matches, refused, run, value, written

LEADS = [(), (2,), (2, 3)]
WHOLE = {
    "cumsum": lambda x, d: x.cumsum(d),
    "cumprod": lambda x, d: x.cumprod(d),
    "cummax": lambda x, d: x.cummax(d).values,
}


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("op", sorted(WHOLE))
def test_whole(op, axis, lead):
    x = torch.randn(*lead, 4, 5, dtype=torch.float64)
    node = check(op, value(4, 5), axis=axis)
    assert torch.equal(run(node, x), WHOLE[op](x, axis - 2))
    matches(node, run(node, x), len(lead))


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("n", [0, 1, 2, 4, 7, -1, -3, -9])
def test_shift(n, lead):
    x = torch.randn(*lead, 4, 5)
    node = check("shift", value(4, 5), n=n)
    result = run(node, x)
    expected = torch.zeros_like(x)
    for t in range(4):
        if 0 <= t - n < 4:
            expected[..., t, :] = x[..., t - n, :]
    assert torch.equal(result, expected)


def test_shift_ahead_takes_nothing_from_padding():
    x = torch.randn(2, 4, 3)
    node = check("shift", value("T", 3, ragged=[0]), n=-1)
    result = run(node, x, lengths=torch.tensor([4, 2]))
    assert torch.equal(result[1, 0], x[1, 1])
    assert not result[1, 1].any()


CUTS = [[(0, 3), (3, 4), (4, 5), (5, 9)], [(0, 1), (1, 2), (2, 9)], [(0, 9)]]


@pytest.mark.parametrize("cuts", CUTS)
@pytest.mark.parametrize(("op", "args"), [("cumsum", {}), ("cumprod", {}), ("cummax", {}), ("shift", {"n": 1}), ("shift", {"n": 4})])
def test_steps_equal_whole(op, args, cuts):
    t = Axis(symbol("T"))
    for position in (0, 1):
        axes = (t, 3) if position == 0 else (3, t)
        x = torch.randn(2, *((9, 3) if position == 0 else (3, 9)), dtype=torch.float64)
        node = check(op, value(*axes), axis=position, **args)
        clock, slot, parts = Clock(), {}, []
        for a, b in cuts:
            clock.begin(b - a)
            parts.append(run(node, x.narrow(position + 1, a, b - a), time=t, slot=slot, clock=clock))
            clock.advance()
        torch.testing.assert_close(torch.cat(parts, position + 1), run(node, x))
        (kept,) = slot.values()
        (declared,) = TABLE[op].slots(node)
        assert list(kept.shape[1:]) == list(declared.shape)
        assert list(slot) == [declared.name]
        assert declared.along == position - 2


@pytest.mark.parametrize(("op", "args"), [("cumsum", {}), ("cumprod", {}), ("cummax", {}), ("shift", {"n": 1}), ("shift", {"n": 3})])
def test_steps_after_prompts_of_unequal_length(op, args):
    """A right-padded prompt, then single steps: each sequence as if it had been alone."""
    t = Axis(symbol("T"))
    node = check(op, value(t, 3), axis=0, **args)
    prompts = torch.tensor([4, 1, 0])
    x = torch.randn(3, 6, 3, dtype=torch.float64)
    clock, slot = Clock(), {}
    first = x[:, :4].clone()
    for i, n in enumerate(prompts.tolist()):
        first[i, n:] = 99.0  # padding must leave no trace
    clock.begin(4, prompts)
    head = run(node, first, time=t, slot=slot, clock=clock)
    clock.advance()
    tails = []
    for j in range(2):
        clock.begin(1)
        tails.append(run(node, torch.stack([x[i, n + j] for i, n in enumerate(prompts.tolist())])[:, None], time=t, slot=slot, clock=clock))
        clock.advance()
    tail = torch.cat(tails, 1)
    for i, n in enumerate(prompts.tolist()):
        alone = run(node, x[i : i + 1, : n + 2])
        torch.testing.assert_close(head[i : i + 1, :n], alone[:, :n])
        torch.testing.assert_close(tail[i : i + 1], alone[:, n:])


def test_whole_numbers_and_bools():
    node = check("cumsum", value(4, kind="bool"))
    x = torch.tensor([[True, False, True, True]])
    assert run(node, x).tolist() == [[1, 1, 2, 3]]
    t = Axis(symbol("T"))
    node = check("cummax", value(t, kind="int"))
    clock, slot = Clock(), {}
    clock.begin(2)
    assert run(node, torch.tensor([[-3, -5]]), time=t, slot=slot, clock=clock).tolist() == [[-3, -3]]


def test_rules():
    along = check("cumsum", value("T", 4), axis=0)
    assert TABLE["cumsum"].time(along, 0, -2).ahead is None
    assert TABLE["shift"].time(check("shift", value("T", 4)), 0, -2).ahead is None
    assert "ahead" in TABLE["shift"].time(check("shift", value("T", 4), n=-1), 0, -2).ahead
    assert refused("cummax", value(3, kind="complex")).code == "AD0314"
    assert refused("shift", value(3), n=10**9).code == "AD0316"
    other = check("cumsum", value("T", 4), axis=1)
    assert written(other, step=True) == written(other) == "torch.cumsum(a, -1)"
