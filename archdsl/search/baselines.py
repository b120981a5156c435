"""What a search result is worth: against random search with the same budget, against counting parameters, and on fresh seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from archdsl.search.base import Goal, Trial
from archdsl.search.fronts import front, hypervolume, worths
from archdsl.search.settings import Settings
from archdsl.search.study import Outcome, winners

ENOUGH = 4  # trials below which a rank correlation says nothing


@dataclass(frozen=True)
class Retrained:
    """A winner on fresh seeds: which trial of which phase, and its first goal's values there."""

    phase: str
    trial: Trial
    values: tuple[float, ...]

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None of fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Counting:
    """Ranking candidates by their number of parameters: what it would have picked, and how well it ranks.

    on: the phase whose trials were ranked; correlation: Spearman's, between parameters and worth at the first goal (1: more is always
    better); place: of the pick among the trials, 1 is best.
    """

    on: str
    trials: int
    pick: Trial
    place: int
    correlation: float | None


@dataclass
class Comparison:
    """All baselines of a study. volumes: share of the hypervolume of both fronts together that each reaches (several goals only)."""

    done: bool
    random: list[Trial] = field(default_factory=list)
    random_best: Trial | None = None
    counting: Counting | None = None
    retrained: list[Retrained] = field(default_factory=list)
    volumes: dict[str, float] = field(default_factory=dict)


def compare(outcome: Outcome) -> Comparison:
    settings = outcome.settings
    search, random = outcome.trials["search"], outcome.trials["random"]
    if settings.driver == "random":
        random = search
    found = Comparison(settings.baselines, random)
    found.counting = counting(settings, random if settings.baselines else search, "random" if settings.baselines else "search")
    if not settings.baselines:
        return found
    found.random_best = next(iter(winners(random, settings)), None)
    found.retrained = _retrained(outcome)
    if len(settings.goals) > 1:
        found.volumes = volumes({"search": search, "random": random}, settings.goals)
    return found


def counting(settings: Settings, trials: Sequence[Trial], on: str) -> Counting | None:
    """The predictor "more parameters are better" on trials; None where parameters are not known or are the goal themselves."""
    goal = settings.goals[0]
    known = [t for t in trials if t.feasible and "params" in t.metrics and worths(t, settings.goals) is not None]
    if not known or goal.metric == "params":
        return None
    worth = [goal.worth(t.metrics[goal.metric]) for t in known]
    size = [t.metrics["params"] for t in known]
    pick = max(known, key=lambda t: (t.metrics["params"], -t.number))
    place = 1 + sum(w > goal.worth(pick.metrics[goal.metric]) for w in worth)
    return Counting(on, len(known), pick, place, spearman(size, worth))


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Spearman's rank correlation, equal values sharing their mean rank; None of too few values or where one does not vary."""
    if len(a) < ENOUGH or len(set(a)) < 2 or len(set(b)) < 2:
        return None
    return statistics.correlation(_ranks(a), _ranks(b))


def volumes(trials: dict[str, Sequence[Trial]], goals: Sequence[Goal]) -> dict[str, float]:
    """For each side the share of the joint front's hypervolume, measured from the worst values that any trial had."""
    everything = [w for side in trials.values() for t in side if t.feasible and (w := worths(t, goals)) is not None]
    if not everything:
        return {}
    low = [min(axis) for axis in zip(*everything, strict=True)]
    span = [(max(axis) - min(axis)) or 1.0 for axis in zip(*everything, strict=True)]

    def volume(side: Sequence[Trial]) -> float:
        best = [w for t in front(side, goals) if (w := worths(t, goals)) is not None]
        scaled = [tuple((x - least) / s for x, least, s in zip(w, low, span, strict=True)) for w in best]
        return hypervolume(scaled, tuple(-0.01 for _ in goals))

    both = volume([t for side in trials.values() for t in side])
    return {name: volume(side) / both for name, side in trials.items()}


def importance(trials: Sequence[Trial], goal: Goal) -> list[tuple[str, float, int]]:
    """For each decision the share of the goal's variance that its options explain, least first chance taken off (epsilon squared); how many
    trials met it. Decisions that a trial does not meet count as an option of their own."""
    known = [t for t in trials if t.values is not None and goal.metric in t.metrics]
    values = [t.metrics[goal.metric] for t in known]
    if len(known) < ENOUGH or len(set(values)) < 2:
        return []
    mean = statistics.fmean(values)
    total = sum((v - mean) ** 2 for v in values)
    found = []
    for path in dict.fromkeys(path for t in known for path in t.point):
        groups: dict[int, list[float]] = {}
        for trial, value in zip(known, values, strict=True):
            groups.setdefault(trial.point.get(path, -1), []).append(value)
        if 1 < len(groups) <= len(known) / 2:  # of fewer trials per option nothing can be said
            within = sum(sum((v - statistics.fmean(g)) ** 2 for v in g) for g in groups.values())
            share = 1 - (within / (len(known) - len(groups))) / (total / (len(known) - 1))
            found.append((path, max(0.0, share), sum(path in t.point for t in known)))
    return sorted(found, key=lambda item: (-item[1], item[0]))


def to_json(found: Comparison, settings: Settings) -> dict[str, Any]:
    """The baselines as plain data."""
    counted = found.counting
    return {
        "done": found.done,
        "random": {
            "trials": len(found.random),
            "best": found.random_best.number if found.random_best else None,
            "values": list(found.random_best.values or ()) if found.random_best else None,
            "is_the_search": settings.driver == "random",
        }
        if found.done
        else None,
        "parameter_count": {
            "on": counted.on,
            "trials": counted.trials,
            "pick": counted.pick.number,
            "values": list(counted.pick.values or ()),
            "place": counted.place,
            "correlation": counted.correlation,
        }
        if counted
        else None,
        "fresh_seeds": [
            {"phase": r.phase, "trial": r.trial.number, "values": list(r.values), "mean": r.mean, "spread": r.spread}
            for r in found.retrained
        ],
        "hypervolume": found.volumes,
    }


def _retrained(outcome: Outcome) -> list[Retrained]:
    settings, found = outcome.settings, []
    for phase in ("search",) if settings.driver == "random" else ("search", "random"):
        for trial in winners(outcome.trials[phase], settings)[:1]:
            again = [t.values[0] for t in outcome.trials["final"] if t.key == trial.key and t.values is not None]
            found.append(Retrained(phase, trial, tuple(again)))
    return found


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(values)
    first = {v: i for i, v in reversed(list(enumerate(order)))}
    return [first[v] + (order.count(v) - 1) / 2 for v in values]
