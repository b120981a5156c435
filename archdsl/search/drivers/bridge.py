"""Optuna's samplers as pure functions: each proposal fills a study in memory from the history, with a sampler seeded for this trial.

Works with Optuna 4 and 5. Decisions are asked one by one as the space opens them, so those that depend on others are handled as Optuna
does: TPE groups what comes up together; the others know one flat list of decisions, where an absent one is filled in (see `filled`).
"""

from __future__ import annotations

import inspect
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

from archdsl.search.base import Choice, Goal, Proposal, Space, Trial, seeded
from archdsl.search.drivers.common import Options, Steps, Walks, fresh, live, nearest, strayed
from archdsl.search.fronts import standings, violation, worths

Filler = Callable[[Trial, Choice], int]
ASKS = 4  # then neighbours of the last answer are tried: over many unordered decisions TPE likes to repeat a good trial exactly
MOST_DECISIONS = 200  # of the flat list: the decisions met most often; a recursive grammar has no end of rare ones


@contextmanager
def _quiet() -> Iterator[None]:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(before)


@cache
def constraints_are_arguments() -> bool:
    """Whether constraints are an argument of a trial (Optuna 5), not an attribute that the sampler reads (Optuna 4)."""
    import optuna

    return "constraints" in inspect.signature(optuna.create_trial).parameters


def label(choice: Choice) -> str:
    """The parameter's name. A path with another number of options elsewhere in the space is another parameter."""
    return f"{choice.path} {'<' if choice.ordered else '|'}{len(choice.options)}"


def distribution(choice: Choice) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if choice.ordered:
        return IntDistribution(0, len(choice.options) - 1)
    return CategoricalDistribution(range(len(choice.options)))


def often_met(space: Space, known: Sequence[Trial], walks: Walks) -> dict[str, Choice]:
    """The decisions of a flat list, by label: those that trials met, at most MOST_DECISIONS."""
    times: Counter[str] = Counter()
    met: dict[str, Choice] = {}
    for trial in known:
        for choice, _ in walks.steps(space, trial.point) or ():
            if len(choice.options) > 1:
                times[label(choice)] += 1
                met[label(choice)] = choice
    return {name: met[name] for name in sorted(name for name, _ in times.most_common(MOST_DECISIONS))}


class Bridge:
    """A driver around an Optuna sampler. Subclasses say which sampler, and what else its trials need."""

    name = ""
    startup = 10  # trials before the sampler has a say; these are drawn from the space
    flat = True  # whether absent decisions are filled in
    one_goal = False  # whether goals and constraints are told as one number, each trial's place among all

    def __init__(self, options: Any) -> None:
        self.options: Options = options
        self._walks = Walks()

    def sampler(self, seed: int, goals: Sequence[Goal], extra: dict[str, Any]) -> Any:
        raise NotImplementedError

    def attributes(self, sampler: Any, complete: int) -> dict[str, Any]:
        """System attributes of the trial that `complete` others came before."""
        return {}

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        known = [t for t in history if t.status != "duplicate"]
        done = [t for t in known if worths(t, goals) is not None]
        if len(done) < self.startup:
            return fresh(space, history, self.options, lambda _: Proposal(space.sample(rng, self.options.by), note="drawn"))
        with _quiet():
            study = self._study(space, goals, known, done, rng.getrandbits(32))
            asked: dict[str, int] = {}

            def ask(attempt: int) -> Proposal:
                nonlocal asked
                if attempt < ASKS:
                    asked = self._ask(space, study)
                    return Proposal(asked)
                return Proposal(strayed(space, asked, rng, attempt - ASKS), note="mutated")

            return fresh(space, history, self.options, ask)

    def _ask(self, space: Space, study: Any) -> dict[str, int]:
        trial = study.ask()
        return self._walks.finish(space, {}, lambda choice: _suggest(trial, choice))

    def _study(self, space: Space, goals: Sequence[Goal], known: Sequence[Trial], done: Sequence[Trial], seed: int) -> Any:
        """The history as an Optuna study. known: trials to tell of; done: those of them that were measured."""
        import optuna

        extra = {} if constraints_are_arguments() else {"constraints_func": lambda trial: trial.system_attrs.get("constraints", (0.0,))}
        width = max(len(t.violations) for t in known)  # 0 if there are no constraints
        if self.one_goal and (width or len(goals) > 1):
            places, goals, width = standings(known, goals), [Goal("place", "max")], 0
            known = done = [replace(t, status="complete", values=(places[t.number],), violations=()) for t in known]
        sampler = self.sampler(seed, goals, extra if width else {})
        directions: list[Any] = ["maximize" if goal.best == "max" else "minimize" for goal in goals]
        study = optuna.create_study(directions=directions, sampler=sampler)
        worst = [min((t.values[i] for t in done if t.values), key=goal.worth) for i, goal in enumerate(goals)]
        union = often_met(space, known, self._walks) if self.flat else {}
        complete = 0
        for trial in known:
            steps = self._walks.steps(space, trial.point)
            made = steps and self._trial(trial, goals, steps, union, worst, width, self.attributes(sampler, complete))
            if made:
                study.add_trial(made)
                complete += made.state == optuna.trial.TrialState.COMPLETE
        return study

    def _trial(self, trial: Trial, goals: Sequence[Goal], steps: Steps, union: dict[str, Choice], worst: list[float],
               width: int, attributes: dict[str, Any]) -> Any:  # fmt: skip
        """The trial as Optuna's, or None if it tells its sampler nothing."""
        import optuna

        params = {label(choice): (choice, option) for choice, option in steps if len(choice.options) > 1}
        for name, choice in union.items():
            params.setdefault(name, (choice, self.filled(trial, choice)))
        if self.flat:
            params = {name: params[name] for name in union}
        more: dict[str, Any] = {}
        state = optuna.trial.TrialState.COMPLETE
        if worths(trial, goals) is not None:
            more["values"] = list(trial.values or ())
        elif violation(trial) > 0:
            more["values"] = worst  # not measured; its constraints alone place it
        else:  # a failed trial counts as stopped before its first report, which TPE takes for the worst
            state = optuna.trial.TrialState.PRUNED
            more["intermediate_values"] = dict(trial.reports) if trial.status == "pruned" and len(goals) == 1 else {}
        if width:
            missed = [0.0] * width
            missed[: len(trial.violations)] = [min(max(v, -1e300), 1e300) if v == v else 1e300 for v in trial.violations]
            if constraints_are_arguments():
                more["constraints"] = {str(i): v for i, v in enumerate(missed)}
            else:
                attributes = {**attributes, "constraints": missed}
        return optuna.create_trial(
            state=state,
            params={name: option for name, (_, option) in params.items()},
            distributions={name: distribution(choice) for name, (choice, _) in params.items()},
            system_attrs=attributes,
            **more,
        )

    def filled(self, trial: Trial, choice: Choice) -> int:
        """The option of a decision that the trial did not have: the same draw whenever this trial is looked at, telling nothing."""
        return seeded("filled", trial.number, choice.path).randrange(len(choice.options))


def _suggest(asked: Any, choice: Choice) -> int:
    """The sampler's option, or the next one that has points below."""
    count = len(choice.options)
    if count == 1:
        return 0
    if choice.ordered:
        option = asked.suggest_int(label(choice), 0, count - 1)
    else:
        option = asked.suggest_categorical(label(choice), range(count))
    return nearest(live(choice), option)
