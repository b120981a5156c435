"""Searches for an activation: python examples/search_activations.py [trials] [driver] [folder]

Candidates are compositions of the acts in grammars/activations.arch; each is the activation of a small network that fits a curve. Prints the best
as lines of the language, beside SiLU and ReLU. With a folder the search can be interrupted and goes on when it is started again.
"""

import sys
import tempfile
from pathlib import Path

from archdsl.search.activations import ActivationSpace
from archdsl.search.base import Goal
from archdsl.search.drivers.registry import driver
from archdsl.search.regression import CurveFit
from archdsl.search.settings import Budget, Settings
from archdsl.search.study import run_study
from archdsl.search.workers import Inline


def main() -> None:
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    name = sys.argv[2] if len(sys.argv) > 2 else "evolution"
    space, fit = ActivationSpace(units=2), CurveFit()
    settings = Settings(
        name="activations", goals=(Goal("loss"),), budget=Budget(trials=trials), effort=150, driver=name, identity={"space": space.name}
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(scratch)
        outcome = run_study(settings, space, driver(name), Inline(space, fit), folder, resume=True)
    for phase, found in outcome.trials.items():
        done = sorted((t.values[0], t.number) for t in found if t.values)
        print(f"{phase}: {len(found)} trials, best loss {done[0][0]:.5f}" if done else f"{phase}: nothing")
    one = ActivationSpace()
    for words in ({"left": "identity", "right": "logistic", "join": "times"}, {"left": "positive", "right": "positive", "join": "greater"}):
        candidate = one.candidate(one.point(**words))
        print(f"{fit(candidate, 0, settings.effort, lambda *_: False)['loss']:.5f}  {candidate.text()}", end="")
    for trial in sorted((t for t in outcome.trials["search"] if t.values), key=lambda t: t.values[0])[:5]:
        print(f"{trial.values[0]:.5f}  {space.candidate(trial.point).text()}", end="")


if __name__ == "__main__":
    main()
