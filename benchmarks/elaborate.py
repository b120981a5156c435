"""How long a spec takes to become a checked graph with its costs, warm: SmolLM2, and a spec of 1,000 layers.

    python benchmarks/elaborate.py

Writes benchmarks/results/elaborate.json: median and best of the runs in milliseconds, with the bound the project set itself. Equal layers
are elaborated once; the third case shows what a thousand layers cost that all differ.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

from archdsl import api

DEEP = """import "std/transformer.arch"

arch Deep(d = 64, depth = 1000, heads = 4) {
    in tokens: int[T] lengths
    table = embedding(256, d)
    return table(tokens)
        -> layers: repeat depth { residual(rmsnorm -> Attention(heads)) -> residual(rmsnorm -> SwiGLU(4 * d)) }
        -> rmsnorm
        -> unembed(table)
}
expect causal
"""
VARIED = """import "std/transformer.arch"

arch Varied(d = 64, depth = 1000, heads = 4) {
    in tokens: int[T] lengths
    table = embedding(256, d)
    return table(tokens)
        -> layers: repeat i in 0..depth { residual(rmsnorm -> Attention(heads)) -> residual(rmsnorm -> FFN(64 + i)) }
        -> rmsnorm
        -> unembed(table)
}
expect causal
"""


def costs(spec: api.Spec) -> None:
    """Reads every figure, so that the time covers them."""
    assert spec.parameters > 0
    spec.flops(T=1024)
    spec.state_bytes(T=1024)
    spec.activation_bytes(T=1024)


def measure(make: Callable[[], api.Spec], runs: int) -> dict[str, Any]:
    """Times of `make()` in milliseconds, after one run that is not counted."""
    costs(make())
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        costs(make())
        times.append(1000 * (time.perf_counter() - start))
    return {"median_ms": round(statistics.median(times), 2), "best_ms": round(min(times), 2), "runs": runs}


def main() -> None:
    cases = {
        "smollm2 (30 equal layers)": (lambda: api.load("smollm2"), 30, 30),
        "1,000 equal layers": (lambda: api.parse(DEEP), 10, 500),
        "1,000 different layers": (lambda: api.parse(VARIED), 3, None),
    }
    found: dict[str, Any] = {}
    for name, (make, runs, bound) in cases.items():
        found[name] = figures = measure(make, runs) | {"bound_ms": bound}
        limit = f"bound {bound} ms" if bound else "no bound set"
        sys.stdout.write(f"{name:<28} median {figures['median_ms']:>9} ms   best {figures['best_ms']:>9} ms   {limit}\n")
    write_result("elaborate", found)


if __name__ == "__main__":
    main()
