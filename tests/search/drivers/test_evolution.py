"""Regularised evolution: age, tournaments, parents."""

from dataclasses import replace

import pytest

from archdsl.search.base import Trial, seeded
from archdsl.search.drivers.registry import driver
from archdsl.search.fronts import front
from tests.search.toys import Bounded, Ordered, TwoGoals, search, trial


def away(space, a, b):
    return sum(a[p] != b[p] for p in a)


def test_a_child_is_one_mutation_from_its_parent():
    space = Ordered()
    history = search(space, driver("evolution", {"population": 10, "tournament": 3}), 40)
    assert all(not t.parents for t in history[:10])
    assert all(len(t.parents) == 1 and away(space, t.point, history[t.parents[0]].point) == 1 for t in history[10:])


def test_the_old_die_even_if_they_are_the_best():
    space = Ordered()
    history = search(space, driver("random"), 15)
    history[0] = replace(history[0], values=(-1.0,))
    young = driver("evolution", {"population": 10, "tournament": 10})
    best = driver("evolution", {"population": 10, "tournament": 10, "ageing": False})
    lead = min(history[5:], key=lambda t: t.values)
    assert young.propose(space, space.goals, history, seeded(1), 15).parents == (lead.number,)
    assert best.propose(space, space.goals, history, seeded(1), 15).parents == (0,)


def test_failed_and_doubled_trials_do_not_take_part():
    space = Ordered()
    history = search(space, driver("random"), 10)
    more = [*history, *(Trial(n, history[0].point, "failed" if n % 2 else "duplicate") for n in range(10, 40))]
    evolution = driver("evolution", {"population": 10, "tournament": 10})
    lead = min(history, key=lambda t: t.values)
    assert evolution.propose(space, space.goals, more, seeded(1), 40).parents == (lead.number,)


def test_the_feasible_win_the_tournament():
    space = Bounded()
    points = [{"x0": 9, "x1": 4, "x2": 12}] * 5 + [{"x0": 0, "x1": 0, "x2": i} for i in range(5)]
    history = [trial(space, i, p) for i, p in enumerate(points)]  # the first five are best, and not allowed
    parents = driver("evolution", {"population": 10, "tournament": 10}).propose(space, space.goals, history, seeded(1), 10).parents
    assert parents == (9,)


def test_crossed_children_have_parts_of_both():
    space = Ordered()
    history = search(space, driver("random"), 10)
    evolution = driver("evolution", {"population": 10, "tournament": 2, "crossover": 1.0, "mutation": 0.0})
    for number in range(10, 20):
        child = evolution.propose(space, space.goals, history, seeded(number), number)
        mother, father = (history[n].point for n in child.parents)
        assert all(child.point[p] in (mother[p], father[p]) for p in child.point)


def test_several_goals_spread_along_the_front():
    space = TwoGoals()
    history = search(space, driver("evolution", {"population": 12, "tournament": 4}), 150)
    drawn = search(space, driver("random"), 150)
    assert len(front(history, space.goals)) >= len(front(drawn, space.goals))
    assert len({t.values for t in front(history, space.goals)}) >= 6


@pytest.mark.parametrize("seed", range(3))
def test_duplicates_are_avoided(seed):
    history = search(Ordered(), driver("evolution"), 120, seed)
    assert len({t.key for t in history}) == 120
