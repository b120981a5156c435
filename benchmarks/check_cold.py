"""How long `archdsl check` takes from a cold process: the whole command, as typed.

    python benchmarks/check_cold.py

Writes benchmarks/results/check_cold.json. The files are in the system's cache and the .pyc files exist, as on any second call.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

ROOT = Path(__file__).resolve().parents[1]
RUNS = 15


def seconds(*command: str) -> list[float]:
    """Wall time of a command, several times, after one that is not counted."""
    times = []
    for _ in range(RUNS + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return times[1:]


def main() -> None:
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "archdsl --version": (sys.executable, "-m", "archdsl", "--version"),
        "archdsl check specs/language/smollm2.arch": (sys.executable, "-m", "archdsl", "check", "specs/language/smollm2.arch"),
    }
    found = {}
    for name, command in commands.items():
        times = seconds(*command)
        found[name] = {"median_ms": round(1000 * statistics.median(times), 1), "best_ms": round(1000 * min(times), 1), "runs": RUNS}
        sys.stdout.write(f"{name:<44} median {found[name]['median_ms']:>7} ms   best {found[name]['best_ms']:>7} ms\n")
    found["archdsl check specs/language/smollm2.arch"]["bound_ms"] = 300
    write_result("check_cold", found)


if __name__ == "__main__":
    main()
