"""A search against random search on recall: the shipped study `recall-by-limit` with ten seeds, its winners beside random search's winners.

    python benchmarks/mqar_search.py [--seeds 10] [--folder runs/mqar-search]

Each seed is a study of its own: 40 trials of the driver, 40 random ones drawn alike, and both winners trained again with three fresh seeds. It may be
stopped at any moment and started again. Writes benchmarks/results/mqar_search.json and prints the table of docs/mqar-search.md. Takes an hour on two
cores, or less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

from archdsl.search.config import read_study
from archdsl.search.intervals import mean_interval
from archdsl.search.plan import prepare
from archdsl.search.space import SpecSpace
from archdsl.share import share

STUDY = "recall-by-limit"
SOLVED = 0.9  # accuracy from which a trial counts as one that solves the task


def run(seed: int, folder: Path) -> dict[str, Any]:
    """One seed's results; trained only where they are not there yet."""
    found = folder / "results.json"
    if not found.is_file():
        command = [sys.executable, "-m", "archdsl", "search", STUDY, "--seed", str(seed), "--jobs", "2", "--resume", "--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return results


def row(seed: int, results: dict[str, Any], space: SpecSpace) -> dict[str, Any]:
    """What one seed says: both winners with their accuracy in the trial and on fresh seeds, and what counting parameters would have picked."""
    baselines, trials = results["baselines"], results["trials"]
    fresh = {each["phase"]: each["values"] for each in baselines["fresh_seeds"]}
    counted = baselines["parameter_count"]
    best = {"search": results["winners"][0]["number"], "random": baselines["random"]["best"]}
    found: dict[str, Any] = {"seed": seed}
    for side, number in best.items():
        trial = next(t for t in trials[side] if t["number"] == number)
        found[side] = {
            "trial": number,
            "accuracy": trial["values"][0],
            "fresh": fresh[side],
            "fresh_mean": statistics.fmean(fresh[side]),
            "mixers": mixers(space, trial["point"]),
            "params": trial["metrics"]["params"],
            "state_bytes": trial["metrics"]["state_bytes"],
            "key": trial["key"],
            "solved": sum(bool(t["values"]) and t["values"][0] >= SOLVED for t in trials[side]),
            "ends": dict(Counter(t["status"] for t in trials[side])),
        }
    found["counting"] = {
        "accuracy": counted["values"][0],
        "place": counted["place"],
        "of": counted["trials"],
        "rank_correlation": counted["correlation"],
    }
    found["training_seconds"] = {phase: round(sum(t["seconds"] for t in some), 1) for phase, some in trials.items()}
    return found


def mixers(space: SpecSpace, point: dict[str, int]) -> list[str]:
    """What mixes the tokens in each layer of a point."""
    named = [choice.options[point[choice.path]] for choice in space.choices(point) if "/Mixer/" in choice.path]
    return ["convolution" if "conv" in name else name.strip("(").partition("(")[0] for name in named]


def paired(rows: list[dict[str, Any]], figure: str) -> dict[str, Any]:
    """The search's winners against random search's over the seeds, at "fresh_mean" or "accuracy"."""
    ahead = [row["search"][figure] - row["random"][figure] for row in rows]
    return {
        "search": statistics.fmean(row["search"][figure] for row in rows),
        "random": statistics.fmean(row["random"][figure] for row in rows),
        "difference": statistics.fmean(ahead),
        "interval_95": mean_interval(ahead),
        "ahead": sum(d > 0 for d in ahead),
        "behind": sum(d < 0 for d in ahead),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as they stand in the document."""
    lines = []
    for each in rows:
        s, r, c = each["search"], each["random"], each["counting"]
        cells = [str(each["seed"])]
        for side in (s, r):
            cells += [" ".join(side["mixers"]), f"{side['accuracy']:.3f}", f"{side['fresh_mean']:.3f}", str(side["solved"])]
        cells += [f"{s['fresh_mean'] - r['fresh_mean']:+.3f}", f"{c['accuracy']:.3f} (place {c['place']} of {c['of']})"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/mqar-search"))
    given = parser.parse_args()
    study = share("search") / f"{STUDY}.yaml"
    space = prepare(read_study(study), study.parent).space
    rows = []
    for seed in range(given.seeds):
        rows.append(row(seed, run(seed, given.folder / f"seed-{seed}"), space))
        sys.stdout.write(table(rows[-1:]) + "\n")
        sys.stdout.flush()
    figures = {"fresh_seeds": paired(rows, "fresh_mean"), "in_the_search": paired(rows, "accuracy"), "seeds": rows}
    sys.stdout.write(json.dumps({k: v for k, v in figures.items() if k != "seeds"}, indent=2) + "\n")
    write_result("mqar_search", figures)


if __name__ == "__main__":
    main()
