"""A real search, killed with SIGKILL at random moments and resumed: nothing that ended may be lost, and the result must be the undisturbed one.

    python benchmarks/search_kills.py [--kills 50] [--folder runs/search-kills]

Trains small hybrids on parity with two workers. One life of the command in five ends anywhere in its first seconds, most of which are its start; the
others end within two seconds after a trial of theirs has ended, in later trials, baselines or the report. After each kill every line that the log
held before must still be there, unchanged. When a study has come to its end, its trials are compared with those of the same study left alone
(points, values at every step), and its database is asked whether a trial is still running. Writes benchmarks/results/search_kills.json.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record import write_result

STUDY = """\
name: kills
space: spaces/hybrids.arch
set: {d: 16, depth: 1}
task: {name: parity, length: 16}
goals: [accuracy]
budget: 24
training: {steps: 12, batch: 8, eval_every: 4, eval_batches: 1}
pruning: {at: [4, 8], keep: 0.5, after: 4}
driver: {name: evolution, population: 6}
confirm: 2
jobs: 2
"""
MEASURED = ("latency_ms", "train_seconds")  # these differ from run to run


def command(study: Path, seed: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "archdsl", "search", str(study), "--seed", str(seed), "--resume", "--out", str(folder)]


def ended(folder: Path) -> list[str]:
    """The whole lines of a study's log."""
    log = folder / "trials.jsonl"
    return log.read_text(encoding="utf-8").split("\n")[:-1] if log.exists() else []


def facts(folder: Path) -> dict[str, Any]:
    """A study's trials, without what is measured in time."""
    trials = json.loads((folder / "results.json").read_text(encoding="utf-8"))["trials"]
    for one in (trial for phase in trials.values() for trial in phase):
        one.pop("seconds", None)
        one["metrics"] = {k: v for k, v in one["metrics"].items() if k not in MEASURED}
    return trials


def stuck(folder: Path) -> int:
    """Trials that the database still calls waiting or running."""
    import optuna

    storage = f"sqlite:///{folder}/study.db"
    studies = [optuna.load_study(study_name=s.study_name, storage=storage) for s in optuna.get_all_study_summaries(storage)]
    return sum(not trial.state.is_finished() for study in studies for trial in study.trials)


def life(line: list[str], folder: Path, seconds: float | None, awake: bool) -> dict[str, Any]:
    """Starts or resumes the study and kills it after so many seconds, counted from its first trial's end if `awake`; None: lets it end."""
    before = ended(folder)
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while awake and process.poll() is None and len(ended(folder)) <= len(before):
        time.sleep(0.02)
    try:
        code = process.wait(timeout=seconds)
        if code:
            raise SystemExit(f"{' '.join(line)} ended with {code}")
        killed = False
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = True
    after = ended(folder)
    return {"killed": killed, "awake": awake, "before": len(before), "after": len(after), "lost": len(set(before) - set(after))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=Path("runs/search-kills"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    study = given.folder / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    rng, seed, lives, studies = random.Random(0), 0, [], []
    while sum(one["killed"] for one in lives) < given.kills:
        alone, cut = given.folder / f"alone-{seed}", given.folder / f"killed-{seed}"
        subprocess.run(command(study, seed, alone), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        own: list[dict[str, Any]] = []
        while not own or own[-1]["killed"]:
            awake = rng.random() < 0.8
            seconds = rng.uniform(0, 2 if awake else 8) if sum(one["killed"] for one in (*lives, *own)) < given.kills else None
            own.append(life(command(study, seed, cut), cut, seconds, awake))
        lives += own
        studies.append({"seed": seed, "kills": len(own) - 1, "equal": facts(cut) == facts(alone), "stuck": stuck(cut), "lives": own})
        lost = sum(one["lost"] for one in own)
        sys.stdout.write(f"seed {seed}: {len(own) - 1} kills, lost {lost}, stuck {studies[-1]['stuck']}, equal {studies[-1]['equal']}\n")
        sys.stdout.flush()
        seed += 1
    figures = {"kills": given.kills, "lost": sum(one["lost"] for one in lives), "stuck": sum(s["stuck"] for s in studies)}
    write_result("search_kills", {**figures, "equal": all(s["equal"] for s in studies), "studies": studies})


if __name__ == "__main__":
    main()
