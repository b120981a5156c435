"""Pareto fronts, hypervolume and the order of trials, against definitions spelled out."""

import itertools
import math

import pytest

from archdsl.search.base import Goal, Trial, seeded
from archdsl.search.fronts import (
    constrained_dominates,
    contributions,
    crowding,
    dominates,
    front,
    hypervolume,
    layers,
    order,
    standings,
)

LOW = (Goal("loss"), Goal("size"))


def done(number, *values, violations=(), status="complete", reports=()):
    return Trial(number, {"x": number}, status, values or None, str(number), violations=violations, reports=reports)


def slow_layers(points):
    left, found = list(range(len(points))), []
    while left:
        best = [i for i in left if not any(dominates(points[j], points[i]) for j in left)]
        found.append(best)
        left = [i for i in left if i not in best]
    return found


@pytest.mark.parametrize("goals", [1, 2, 3, 4])
def test_layers_are_those_of_the_definition(goals):
    rng = seeded("layers", goals)
    for count in (0, 1, 2, 7, 40):
        points = [tuple(float(rng.randrange(5)) for _ in range(goals)) for _ in range(count)]  # a small grid, so that ties are common
        assert layers(points) == slow_layers(points)


@pytest.mark.parametrize("goals", [1, 2, 3])
def test_hypervolume_counts_the_cells_below(goals):
    rng = seeded("volume", goals)
    points = [tuple(float(rng.randrange(-1, 6)) for _ in range(goals)) for _ in range(6)]
    cells = sum(any(all(c < x for c, x in zip(cell, p)) for p in points) for cell in itertools.product(range(6), repeat=goals))
    assert hypervolume(points, (0.0,) * goals) == cells
    for i, part in enumerate(contributions(points, (0.0,) * goals)):
        assert part == cells - hypervolume(points[:i] + points[i + 1 :], (0.0,) * goals)


def test_crowding_is_infinite_at_the_ends_and_half_boxes_between():
    assert crowding([(0.0, 4.0), (1.0, 3.0), (4.0, 0.0)]) == [math.inf, 4 / 4 + 4 / 4, math.inf]
    assert crowding([]) == []


def test_constraints_come_first():
    good, poor = done(0, 1.0, 1.0), done(1, 9.0, 9.0)
    bad, worse = done(2, 0.0, 0.0, violations=(0.5, -3.0)), done(3, 0.0, 0.0, violations=(0.4, 0.2))
    assert constrained_dominates(good, poor, LOW)
    assert constrained_dominates(poor, bad, LOW)
    assert constrained_dominates(bad, worse, LOW)  # what is met does not make up for what is missed
    assert not constrained_dominates(good, done(4, 0.0, 2.0), LOW)
    assert front([bad, poor, good, done(4, 0.0, 2.0)], LOW) == [good, done(4, 0.0, 2.0)]


def test_the_order_of_everything_that_can_happen():
    goal = (Goal("loss"),)
    history = [
        done(0, status="failed"),
        done(1, 5.0),
        done(2, status="duplicate"),
        done(3, status="pruned", reports=((10, 1.0),)),
        done(4, status="pruned", reports=((10, 9.0), (20, 8.0))),
        done(5, 0.0, violations=(2.0,)),
        done(6, status="failed", violations=(1.0,)),
        done(7, 2.0),
        done(8, math.nan),
        done(9, 5.0),
    ]
    assert [[t.number for t in group] for group in order(history, goal)] == [[7], [1, 9], [4], [3], [6], [5], [0, 8]]
    places = standings(history, goal)
    assert places[7] == 1
    assert places[1] == places[9] == 1 - 1.5 / 8
    assert places[0] == places[8] == 1 - 7.5 / 8
    assert 2 not in places


def test_more_is_better_where_the_goal_says_so():
    history = [done(0, 0.1), done(1, 0.9)]
    assert standings(history, (Goal("accuracy", "max"),)) == {0: 0.0, 1: 1.0}
