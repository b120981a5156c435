"""Results of a benchmark with what is needed to read them: date, processor, load and versions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from archdsl.bench.machine import machine

RESULTS = Path(__file__).with_name("results")


def write_result(name: str, figures: dict[str, Any]) -> None:
    """Writes benchmarks/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"figures": figures, "machine": machine()}, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}\n")
