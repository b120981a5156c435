"""How far each driver of the search comes on toy spaces whose best is known, beside random search with the same budget and seeds.

    python benchmarks/search_drivers.py

Takes some ten minutes. Writes benchmarks/results/search_drivers.json and prints the table of docs/drivers.md: the mean of the best loss after 25,
50 and 150 trials.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

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


def measure(space: toys.Toy, name: str, drawn: list[list[Trial]]) -> dict[int, dict[str, float]]:
    seeds = SEEDS.get(name, MOST)
    last = SHORT.get(name, BUDGETS[-1])
    runs = drawn if name == "random" else [toys.search(space, driver(name), last, seed) for seed in range(seeds)]
    figures = {}
    for budget in (b for b in BUDGETS if b <= last):
        ours, other = ([best(run, budget) for run in some[:seeds]] for some in (runs, drawn))
        figures[budget] = {
            "best": mean(ours),
            "random": mean(other),
            "better": sum(a < b for a, b in zip(ours, other, strict=True)),
            "worse": sum(a > b for a, b in zip(ours, other, strict=True)),
            "seeds": seeds,
        }
    return figures


def main() -> None:
    figures: dict[str, dict[str, dict[int, dict[str, float]]]] = {}
    for space in SPACES:
        drawn = [toys.search(space, driver("random"), BUDGETS[-1], seed) for seed in range(MOST)]
        kind = type(space).__name__
        figures[kind] = {}
        for name in NAMES:
            if name == "exhaustive":
                continue
            figures[kind][name] = measure(space, name, drawn)
            cells = [f"{f['best']:.2f} ({f['better']}:{f['worse']})" for f in figures[kind][name].values()]
            sys.stdout.write(f"| {kind} | {name} | {' | '.join(cells)} |\n")
            sys.stdout.flush()
    write_result("search_drivers", figures)


if __name__ == "__main__":
    main()
