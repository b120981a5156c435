"""Every driver against random search at equal budget, on spaces whose best is known. docs/drivers.md holds larger measurements."""

from statistics import mean

import pytest

from archdsl.search.drivers.registry import driver
from tests.search.toys import Bounded, Conditional, Ordered, search

SLOW = pytest.mark.slow
CASES = [
    ("evolution", 100, 6), ("mcts", 100, 6), ("policy", 100, 6), ("cmaes", 100, 4), ("tpe", 50, 3),
    pytest.param("nsga2", 150, 5, marks=SLOW), pytest.param("nsga3", 150, 5, marks=SLOW), pytest.param("gp", 25, 3, marks=SLOW),
]  # fmt: skip


def best(space, name, budget, seed):
    return min(t.values[0] for t in search(space, driver(name), budget, seed) if t.feasible)


@pytest.mark.parametrize(("name", "budget", "seeds"), CASES)
@pytest.mark.parametrize("toy", [Conditional, Ordered])
def test_better_than_random_at_equal_budget(name, budget, seeds, toy):
    space = toy()
    ours, drawn = ([best(space, n, budget, seed) for seed in range(seeds)] for n in (name, "random"))
    print(f"{toy.__name__}, {budget} trials: {name} {mean(ours):.2f}, random {mean(drawn):.2f}")
    assert mean(ours) < mean(drawn)
    assert sum(a < b for a, b in zip(ours, drawn)) > sum(a > b for a, b in zip(ours, drawn))


@pytest.mark.parametrize("name", ["evolution", "mcts", "cmaes"])
def test_the_best_that_the_constraint_allows(name):
    """The bowl's middle is not allowed; the best that is has a loss of 9."""
    found = [best(Bounded(), name, 90, seed) for seed in range(4)]
    drawn = [best(Bounded(), "random", 90, seed) for seed in range(4)]
    assert min(found) >= 9
    assert mean(found) < mean(drawn)
