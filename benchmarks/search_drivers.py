"""How far each driver of the search comes on toy spaces whose best is known, beside random search with the same budget and seeds.

    python benchmarks/search_drivers.py [SPACE ...]

Takes some ten minutes for all spaces. Prints the table of docs/drivers.md: the mean of the best loss after 25, 50 and 150 trials, and with how many
seeds that was better and worse than random search.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from archdsl.search.base import Trial
from archdsl.search.drivers.registry import NAMES, driver
from tests.search import toys

SPACES = (toys.Conditional(), toys.Ordered(), toys.Grammar(), toys.Depth(), toys.Bounded())
BUDGETS = (25, 50, 150)
SEEDS = {"tpe": 6, "nsga2": 6, "nsga3": 6, "gp": 3}  # the slow ones; others have MOST
MOST = 12
SHORT = {"gp": 25}  # trials, where 150 would take too long


def best(history: list[Trial], budget: int) -> float:
    return min((t.values[0] for t in history[:budget] if t.feasible and t.values), default=99.0)


def cells(space: toys.Toy, name: str, drawn: list[list[Trial]]) -> list[str]:
    seeds = SEEDS.get(name, MOST)
    last = SHORT.get(name, BUDGETS[-1])
    runs = drawn if name == "random" else [toys.search(space, driver(name), last, seed) for seed in range(seeds)]
    found = []
    for budget in (b for b in BUDGETS if b <= last):
        ours, other = ([best(run, budget) for run in some[:seeds]] for some in (runs, drawn))
        better, worse = (sum(sign * a < sign * b for a, b in zip(ours, other, strict=True)) for sign in (1, -1))
        found.append(f"{mean(ours):.2f} ({better}:{worse})")
    return found


def main() -> None:
    for space in SPACES:
        kind = type(space).__name__
        if sys.argv[1:] and kind not in sys.argv[1:]:
            continue
        drawn = [toys.search(space, driver("random"), BUDGETS[-1], seed) for seed in range(MOST)]
        for name in NAMES:
            if name != "exhaustive":
                sys.stdout.write(f"| {kind} | {name} | {' | '.join(cells(space, name, drawn))} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
