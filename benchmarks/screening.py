"""How many candidates of a space are judged in a minute on one core: drawn, elaborated, held against contracts, costed and hashed.

    python benchmarks/screening.py

Writes benchmarks/results/screening.json: candidates a minute of the processor's time, from the first one on (cold) and once the parts of the
space have been seen (warm), with the bound the project set itself. The spaces are those of specs/spaces.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

from archdsl.search.base import Rejected
from archdsl.search.space import SpecSpace, open_space

BOUND = 5_000  # candidates a minute, for six-layer hybrids


def judged(space: SpecSpace, rng: random.Random, number: int) -> dict[str, float]:
    """Judges a number of samples."""
    keys, rejected = set(), 0
    start = time.process_time()
    for _ in range(number):
        try:
            keys.add(space.candidate(space.sample(rng)).key)
        except Rejected:
            rejected += 1
    seconds = time.process_time() - start
    return {"per_minute": round(60 * number / seconds), "samples": number, "different": len(keys), "rejected": rejected}


def measure(name: str, cold: int, warm: int) -> dict[str, Any]:
    start = time.process_time()
    space = open_space(name)
    count = space.count()
    opened = time.process_time() - start
    rng = random.Random(0)
    found = {"points": f"{count.number:.3e}", "exact": count.exact, "counted_in_ms": round(1000 * opened)}
    return found | {"cold": judged(space, rng, cold), "warm": judged(space, rng, warm)}


def main() -> None:
    found: dict[str, Any] = {}
    for name, bound, cold, warm in (("hybrids", BOUND, 1_000, 2_000), ("expressions", None, 300, 300)):
        found[name] = figures = measure(f"spaces/{name}", cold, warm) | {"bound_per_minute": bound}
        limit = f"bound {bound:,}" if bound else "no bound set"
        sys.stdout.write(
            f"{name:<12} {figures['points']} points, counted in {figures['counted_in_ms']} ms; a minute:"
            f" cold {figures['cold']['per_minute']:>7,}   warm {figures['warm']['per_minute']:>7,}   {limit}\n"
        )
    write_result("screening", found)


if __name__ == "__main__":
    main()
