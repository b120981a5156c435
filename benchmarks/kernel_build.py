"""Seconds to compile the C kernel of each standard scan, and to load it again from the cache. Writes benchmarks/results/kernel_build.json.

    python benchmarks/kernel_build.py

Bounds: 1 s to build, 50 ms to load what is built (in a process that has torch and the checked spec).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

CODE = """
import json, sys, time
import torch
from archdsl.bench.alone import Shape, scans
from archdsl.bench.cases import Case
from archdsl.kernels.build import _identity, _openmp
_identity(), _openmp()
found = {}
for name, decl in scans().items():
    own = Case(decl, Shape(1, 4, 64, 16)).own
    if own is not None and own.kernel is not None:
        start = time.perf_counter()
        own.kernel.library(torch.float32)
        found[name] = time.perf_counter() - start
print(json.dumps(found))
"""


def measured(cache: str) -> dict[str, float]:
    """Milliseconds for each scan in a process of its own."""

    done = subprocess.run(
        [sys.executable, "-c", CODE], env={**os.environ, "ARCHDSL_CACHE": cache}, capture_output=True, text=True, check=True
    )
    return {name: round(seconds * 1000, 1) for name, seconds in json.loads(done.stdout).items()}


def main() -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        built, loaded = measured(cache), measured(cache)
    result: dict[str, Any] = {
        "slowest_build_ms": max(built.values()),
        "slowest_load_ms": max(loaded.values()),
        "scans": {name: {"build_ms": built[name], "load_ms": loaded[name]} for name in built},
    }
    write_result("kernel_build", result)
    sys.stdout.write(
        f"{len(built)} kernels: built in {result['slowest_build_ms']:.0f} ms at most, loaded in {result['slowest_load_ms']:.1f} ms at most\n"
    )
    sys.stdout.write(f"{time.perf_counter() - start:.0f} s in all\n")


if __name__ == "__main__":
    main()
