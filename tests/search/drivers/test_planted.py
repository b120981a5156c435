"""The planted depth program (one layer is noise, one must run twice) is found in fewer evaluations than by random draws."""

import random
from statistics import mean

import pytest

from archdsl.search.drivers.registry import driver
from tests.search.toys import Depth, search

SEEDS = range(10)


def needed(space, name, budget, **options):
    """Evaluations until the planted program, for each seed; the budget + 1 where it was not found."""
    runs = [search(space, driver(name, options), budget, seed, stop=0.0) for seed in SEEDS]
    return [len(run) if run[-1].values == (0.0,) else budget + 1 for run in runs]


def interval(differences, draws=2000):
    """95% bootstrap interval of the mean."""
    rng = random.Random(0)
    means = sorted(mean(rng.choices(differences, k=len(differences))) for _ in range(draws))
    return means[draws // 40], means[-draws // 40]


@pytest.fixture(scope="module")
def short():
    space = Depth(layers=6, noise=4, twice=1)
    return space, needed(space, "random", space.count().number)


@pytest.mark.parametrize("name", ["mcts", "evolution", "tpe", "policy"])
def test_fewer_evaluations_than_random(short, name):
    space, drawn = short
    found = needed(space, name, space.count().number)
    low, high = interval([b - a for a, b in zip(found, drawn)])
    print(f"{name}: {mean(found):.0f} evaluations, random {mean(drawn):.0f}; saved {low:.0f} to {high:.0f} (95%, 10 pairs)")
    assert low > 50
    assert max(found) <= space.count().number


@pytest.mark.slow
@pytest.mark.parametrize(("name", "at_least"), [("mcts", 3), ("evolution", 8), ("tpe", 10), ("policy", 9)])
def test_a_deeper_program_within_300(name, at_least):
    """6,561 programs: random draws have a chance of one in twenty to find it at all."""
    space = Depth()
    found, drawn = needed(space, name, 300), needed(space, "random", 300)
    print(f"{name}: found {sum(n <= 300 for n in found)} of 10, random {sum(n <= 300 for n in drawn)}")
    assert sum(n <= 300 for n in found) >= at_least
    assert sum(a < b for a, b in zip(found, drawn)) >= at_least
