"""Successive halving and Hyperband: bounds and brackets are functions of the ended trials."""

from collections import Counter

import pytest

from archdsl.search.base import Goal, Trial, seeded
from archdsl.search.fidelity import bounds, bracket, effort, rungs

LOSS = Goal("loss")


def stopped(number, *values):
    return Trial(number, {"x": number}, "pruned", reports=tuple((10 * 3**i, v) for i, v in enumerate(values)))


def test_rungs_grow_by_the_factor_and_end_below_the_whole():
    assert rungs(10, 270) == (10, 30, 90)
    assert rungs(10, 271) == (10, 30, 90, 270)
    assert rungs(10, 10) == ()


def test_a_third_goes_on_at_each_rung():
    known = [stopped(i, float(i), 10.0 + i) if i < 3 else stopped(i, float(i)) for i in range(9)]
    assert bounds((10, 30), 1 / 3, 3, known, LOSS) == ((10, 2.0), (30, 10.0))
    assert bounds((10, 30), 1 / 3, 4, known, LOSS) == ((10, 2.0),)  # too few came to the second rung
    assert bounds((10,), 1 / 3, 3, known, Goal("accuracy", "max")) == ((10, 6.0),)


def test_no_number_is_the_worst():
    known = [stopped(0, float("nan")), stopped(1, 3.0), stopped(2, 5.0), stopped(3, float("nan"))]
    assert bounds((10,), 0.5, 1, known, LOSS) == ((10, 5.0),)


@pytest.mark.parametrize("brackets", [1, 2, 3, 9])
def test_brackets_share_the_effort(brackets):
    at, most, keep, trials = (10, 30, 90), 270, 1 / 3, 3000
    dealt = Counter(bracket(n, at, most, keep, brackets) for n in range(trials))
    assert sorted(dealt) == list(range(min(brackets, 4)))
    spent = [count * effort(at[b:], most, keep) for b, count in dealt.items()]
    assert max(spent) / min(spent) < 1.02
    first = Counter(bracket(n, at, most, keep, brackets) for n in range(40))
    assert all(abs(first[b] / 40 - dealt[b] / trials) < 0.06 for b in dealt)  # at any time, not only in the end


def test_effort_is_the_mean_of_what_is_run():
    assert effort((10, 30), 90, 1 / 3) == pytest.approx(10 + 20 / 3 + 60 / 9)
    assert effort((), 90, 1 / 3) == 90


def test_halving_spends_less_and_keeps_the_best():
    """Curves that cross little: at the same number of trials the best is kept, for a fraction of the effort."""
    rng = seeded("curves")
    known, spent = [], 0
    ends = [rng.random() for _ in range(200)]
    for number, end in enumerate(ends):
        reports = []
        limits = dict(bounds((10, 30, 90), 1 / 3, 3, known, LOSS))
        status = "complete"
        for step in (10, 30, 90, 270):
            value = end + 0.3 * rng.random() / step
            spent += step - (reports[-1][0] if reports else 0)
            reports.append((step, value))
            if step in limits and value > limits[step]:
                status = "pruned"
                break
        known.append(Trial(number, {"x": number}, status, (end,) if status == "complete" else None, reports=tuple(reports)))
    best = ends.index(min(ends))
    assert known[best].status == "complete"
    assert spent < 0.3 * 270 * 200
