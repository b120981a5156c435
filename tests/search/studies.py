"""Toy studies, in this process or in one to be killed: `python -m tests.search.studies FOLDER` goes on with one, one trial at a time."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from archdsl.search.base import Goal
from archdsl.search.drivers.registry import driver
from archdsl.search.settings import Budget, Settings
from archdsl.search.study import Outcome, run_study
from archdsl.search.workers import Inline
from tests.search.toy import ToyEvaluator, ToySpace

SETTINGS = Settings(
    "toy", (Goal("loss"),), Budget(trials=8), effort=20, lag=2, driver="evolution", driver_options={"population": 4}, confirm=2
)


def study(folder: Path, space: ToySpace | None = None, evaluator: ToyEvaluator | None = None, **given: Any) -> Outcome:
    """Runs a toy study; what Settings knows changes SETTINGS, the rest goes to run_study."""
    known = {name: given.pop(name) for name in list(given) if name in Settings.__dataclass_fields__}
    settings = replace(SETTINGS, **known)
    space = space or ToySpace()
    chosen = given.pop("chosen", None) or driver(settings.driver, settings.driver_options)
    pool = given.pop("pool", None) or Inline(space, evaluator or ToyEvaluator())
    return run_study(settings, space, chosen, pool, folder, **given)


def facts(outcome: Outcome) -> dict[str, Any]:
    """A study's result without times."""
    return {
        phase: [(t.number, dict(t.point), t.status, t.values, t.key, t.parents, t.reports, t.note) for t in trials]
        for phase, trials in outcome.trials.items()
    }


if __name__ == "__main__":
    study(Path(sys.argv[1]), evaluator=ToyEvaluator(seconds=float(sys.argv[2])), resume=True)
