"""Forms of the standard scans against the plain loop: `archdsl bench` for all of them, kept, and as a page.

    python benchmarks/scans.py                  every form of every scan at one shape: benchmarks/results/scans.json
    python benchmarks/scans.py --grid           the kernel at 40 shapes: scans_grid.json
    python benchmarks/scans.py --associative    the kernel against torch's compiled associative_scan at these shapes: scans_associative.json
    python benchmarks/scans.py --docs           writes docs/scans.md and docs/scans.svg from what was measured last

Results are written as they come. Names of scans choose less, `--missing` leaves out what is there already; what is kept of the rest stays.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from archdsl.bench import page, run
from archdsl.bench.alone import Shape
from archdsl.bench.cases import GRID

HERE = Path(__file__).resolve().parent
RESULTS, DOCS = HERE / "results", HERE.parent / "docs"


def write_docs() -> None:
    """The page and its plot."""
    result = json.loads((RESULTS / "scans.json").read_text(encoding="utf-8"))
    for part in ("grid", "associative"):
        path = RESULTS / f"scans_{part}.json"
        result[part] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    (DOCS / "scans.svg").write_text(page.svg(result["rows"]), encoding="utf-8")
    (DOCS / "scans.md").write_text(page.markdown(result, "scans.svg"), encoding="utf-8")


def place(row: dict[str, Any]) -> tuple[str, Shape]:
    return row["scan"], Shape(**row["shape"])


def merged(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
    """Old results, with new rows in place of the old ones of the same scan and shape. Rows of another machine are dropped."""
    if old is None or any(old["machine"].get(key) != new["machine"].get(key) for key in ("processor", "threads")):
        return new
    measured = set(map(place, new["rows"]))
    order = list(dict.fromkeys(row["scan"] for row in (*old["rows"], *new["rows"])))
    rows = [row for row in old["rows"] if place(row) not in measured] + new["rows"]
    rows.sort(key=lambda row: (order.index(row["scan"]), GRID.index(place(row)[1]) if place(row)[1] in GRID else -1))
    return {**new, "alone": sorted({*old["alone"], *new["alone"]}), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scans", nargs="*")
    parser.add_argument("--pairs", type=int, default=5)
    for flag in ("--grid", "--associative", "--compiled", "--missing", "--docs"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    if given.docs:
        write_docs()
        return
    path = RESULTS / ("scans_grid.json" if given.grid else "scans_associative.json" if given.associative else "scans.json")
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    done = frozenset(map(place, old["rows"])) if old and given.missing else frozenset()
    so_far: list[dict[str, Any]] = []

    def keep(rows: list[dict[str, Any]]) -> None:
        if rows:
            sys.stdout.write(page.plain(rows) + "\n\n")
            sys.stdout.flush()
            so_far.extend(rows)
            write(run.result(so_far, [], given.pairs, "float32"))

    def write(result: dict[str, Any]) -> None:
        path.write_text(json.dumps(merged(old, result), indent=2) + "\n", encoding="utf-8")

    if given.grid:
        write(run.grid(given.scans, given.pairs, done, keep))
    elif given.associative:
        write(run.associative(given.scans, given.pairs, done, keep))
    else:
        write(run.bench(given.scans, pairs=given.pairs, compiled=given.compiled, tell=keep))
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
