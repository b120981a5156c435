"""How a phase of a study comes to its next point. What is proposed depends on the settings and on older trials alone, so that it can be
proposed again by whoever takes a trial over."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from archdsl.diagnostics import ArchError
from archdsl.search.base import Choice, Driver, Point, Proposal, Rejected, Space, Trial, seeded
from archdsl.search.settings import Settings, metric_name

TRIES = 200  # proposals for one trial before one that cannot be run is noted as failed or as a duplicate
SAME = 5  # equal proposals in a row: the driver insists


@dataclass(frozen=True, slots=True)
class Made:
    """A trial's point. status: why it is not to be run ("failed", "duplicate"), or None."""

    proposal: Proposal
    key: str = ""
    costs: Mapping[str, float] = None  # type: ignore[assignment]
    status: str | None = None
    why: str = ""
    violations: tuple[float, ...] = ()


def propose(space: Space, driver: Driver, settings: Settings, phase: str, history: Sequence[Trial], keys: set[str], number: int) -> Made:
    """The point of trial `number`. history: what it may know of; keys: of all older trials, running ones too. Raises Exhausted.

    A proposal that is no candidate, misses a limit known without training, or was there already is drawn again.
    """
    first: Made | None = None
    points: list[dict[str, int]] = []
    for attempt in range(TRIES):
        rng = seeded(settings.seed, phase, number) if attempt == 0 else seeded(settings.seed, phase, number, attempt)
        try:
            proposal = driver.propose(space, settings.goals, history, rng, number)
        except Rejected as error:  # the space had no point to give
            first = first or _rejected(settings, Proposal({}), error)
            continue
        made = judge(space, settings, proposal)
        if made.status is None and made.key in keys:
            made = replace(made, status="duplicate", why="tried before")
        if made.status is None:
            return made
        first = first or made
        points.append(dict(proposal.point))
        if len(points) >= SAME and all(p == points[-1] for p in points[-SAME:]):
            break
    assert first is not None
    return first


def judge(space: Space, settings: Settings, proposal: Proposal) -> Made:
    """What is known of a proposal without training it."""
    try:
        candidate = space.candidate(proposal.point)
    except Rejected as error:
        return _rejected(settings, proposal, error)
    costs = {metric_name(name): float(value) for name, value in candidate.costs.items()}
    missed = [
        (limit, costs[limit.metric]) for limit in settings.limits if limit.metric in costs and limit.violation(costs[limit.metric]) > 0
    ]
    if missed:
        why = "; ".join(f"{limit.metric} is {value:,.6g}, not {limit.sense} {limit.bound:,.6g}" for limit, value in missed)
        violations = (*(limit.violation(costs[limit.metric]) if limit.metric in costs else 0.0 for limit in settings.limits), 0.0)
        return Made(proposal, candidate.key, costs, "failed", why, violations)
    return Made(proposal, candidate.key, costs)


def _rejected(settings: Settings, proposal: Proposal, error: Rejected) -> Made:
    """A point that is no candidate. A contract that it misses counts as one more limit, so that a driver may learn from it."""
    gap = float(getattr(error, "gap", 0.0))
    violations = (*(0.0 for _ in settings.limits), gap) if gap > 0 else ()
    return Made(proposal, status="failed", why=f"no candidate: {error}", violations=violations)


def decisions(space: Space, point: Point) -> list[tuple[Choice, int]]:
    """The point's decisions in order, with the options taken; what no longer fits the space is left out."""
    every = getattr(space, "choices", None)  # a space may know a quicker way
    try:
        if every is not None:
            return [(choice, point[choice.path]) for choice in every(point)]
    except (ArchError, KeyError):
        pass
    made: dict[str, int] = {}
    found: list[tuple[Choice, int]] = []
    try:
        while (choice := space.open(made)) is not None and 0 <= point.get(choice.path, -1) < len(choice.options):
            made[choice.path] = point[choice.path]
            found.append((choice, point[choice.path]))
    except Rejected:
        pass
    return found


class Uniform:
    """Random search for the baseline: `space.sample` and nothing else."""

    name = "random"

    def propose(self, space: Space, goals: object, history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        return Proposal(space.sample(rng))
