"""Forms of the standard scans against the plain loop: `archdsl bench` for all of them, kept, and as a page.

    python benchmarks/scans.py            measures; writes benchmarks/results/scans.json (with --grid the 40 shapes: scans_grid.json)
    python benchmarks/scans.py --docs     writes docs/scans.md and docs/scans.svg from what was measured last

`--pairs N` and names of scans choose less: what is kept of the other scans stays as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from archdsl.bench import page, run

HERE = Path(__file__).resolve().parent
RESULTS, DOCS = HERE / "results", HERE.parent / "docs"


def tell(rows: list[dict[str, Any]]) -> None:
    if rows:
        sys.stdout.write(page.plain(rows) + "\n\n")
        sys.stdout.flush()


def write_docs() -> None:
    """The page and its plot."""
    result = json.loads((RESULTS / "scans.json").read_text(encoding="utf-8"))
    grid = RESULTS / "scans_grid.json"
    if grid.exists():
        result["grid"] = json.loads(grid.read_text(encoding="utf-8"))["rows"]
    (DOCS / "scans.svg").write_text(page.svg(result["rows"]), encoding="utf-8")
    (DOCS / "scans.md").write_text(page.markdown(result, "scans.svg"), encoding="utf-8")


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Old results, with new rows in place of the old ones of the same scans. Rows of another machine are dropped."""
    if any(old["machine"].get(key) != new["machine"].get(key) for key in ("processor", "threads")):
        return new
    measured = {row["scan"] for row in new["rows"]}
    order = list(dict.fromkeys(row["scan"] for row in (*old["rows"], *new["rows"])))
    rows = [row for row in old["rows"] if row["scan"] not in measured] + new["rows"]
    return {**new, "alone": sorted({*old["alone"], *new["alone"]}), "rows": sorted(rows, key=lambda row: order.index(row["scan"]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("scans", nargs="*")
    parser.add_argument("--pairs", type=int, default=5)
    for flag in ("--grid", "--compiled", "--docs"):
        parser.add_argument(flag, action="store_true")
    given = parser.parse_args()
    if given.docs:
        write_docs()
        return
    if given.grid:
        result = run.grid(given.scans, given.pairs, tell)
    else:
        result = run.bench(given.scans, pairs=given.pairs, compiled=given.compiled, tell=tell)
    path = RESULTS / ("scans_grid.json" if given.grid else "scans.json")
    if given.scans and path.exists():
        result = merged(json.loads(path.read_text(encoding="utf-8")), result)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
