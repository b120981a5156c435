"""What drivers share: options, walking a space, and drawing a point that the history does not hold."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from archdsl.diagnostics import ArchError
from archdsl.search.base import Choice, Exhausted, Point, Proposal, Rejected, Space, Trial

By = Literal["derivations", "choices"]
Frozen = tuple[tuple[str, int], ...]
Steps = list[tuple[Choice, int]]  # the decisions of a point in order, and the option taken at each


class Options(BaseModel):
    """Options of every driver.

    tries: how often to draw again if a point is known already. same: what counts as known, an equal point, or also a point that means the
    same (the candidate is made to see that). by: how points are drawn where nothing is known, each derivation or each option alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tries: int = Field(20, ge=1, le=10_000)
    same: Literal["key", "point"] = "key"
    by: By = "derivations"


class Walks:
    """Walks through a space, with the decisions met remembered by the choices before them (`Space.open` may be slow, and is pure)."""

    def __init__(self) -> None:
        self._space: Space | None = None
        self._met: dict[tuple[int, ...], Choice | None] = {}
        self._steps: dict[Frozen, Steps | None] = {}

    def _turn_to(self, space: Space) -> None:
        if self._space is not space:
            self._space, self._met, self._steps = space, {}, {}

    def at(self, space: Space, taken: tuple[int, ...], made: Point) -> Choice | None:
        """The decision after the options taken; `made` is the same as a point. Raises Rejected where nothing fits."""
        self._turn_to(space)
        if taken not in self._met:
            self._met[taken] = space.open(made)
        return self._met[taken]

    def steps(self, space: Space, point: Point) -> Steps | None:
        """The point's decisions in order; None if it is no point of this space (any more)."""
        self._turn_to(space)
        key = frozen(point)
        if key not in self._steps:
            try:
                self._steps[key] = self._walked(space, point)
            except (ArchError, Rejected, KeyError):
                self._steps[key] = None
        return self._steps[key]

    def _walked(self, space: Space, point: Point) -> Steps | None:
        every = getattr(space, "choices", None)  # a space may know a quicker way than one `open` after the other
        if every is not None:
            steps = [(choice, point[choice.path]) for choice in every(point)]
        else:
            made: dict[str, int] = {}
            steps = []
            while (choice := self.at(space, tuple(made.values()), made)) is not None:
                option = point[choice.path]
                if not 0 <= option < len(choice.options):
                    return None
                made[choice.path] = option
                steps.append((choice, option))
        fits = len(steps) == len(point) and all(0 <= option < len(choice.options) for choice, option in steps)
        return steps if fits else None

    def finish(self, space: Space, made: dict[str, int], pick: Callable[[Choice], int]) -> dict[str, int]:
        """`made` with every further decision picked. Raises Rejected."""
        made = dict(made)
        while (choice := self.at(space, tuple(made.values()), made)) is not None:
            made[choice.path] = pick(choice)
        return made


def live(choice: Choice) -> list[int]:
    """The options with points below them."""
    if choice.weights is None or not any(choice.weights):
        return list(range(len(choice.options)))
    return [i for i, weight in enumerate(choice.weights) if weight]


def nearest(options: Sequence[int], wanted: int) -> int:
    """The option wanted if it is there, or the one next to it."""
    return min(options, key=lambda i: (abs(i - wanted), i))


def draw(choice: Choice, rng: random.Random, by: By = "derivations") -> int:
    """A live option at random: by the number of points below it where that is known, or each alike."""
    if by == "derivations" and choice.weights is not None and any(choice.weights):
        return draw_weighted(choice.weights, rng)
    return rng.choice(live(choice))


def draw_weighted(weights: Sequence[int], rng: random.Random) -> int:
    """A position with a chance by its weight. Weights are whole numbers of any size, so that no count overflows a float."""
    ticket = rng.randrange(sum(weights))
    for position, weight in enumerate(weights):
        ticket -= weight
        if ticket < 0:
            return position
    raise AssertionError("a ticket below the sum of the weights")


def shares(choice: Choice, by: By) -> list[float]:
    """The chance of each option in `draw`."""
    if by == "derivations" and choice.weights is not None and (total := sum(choice.weights)) > 0:
        return [weight / total for weight in choice.weights]
    alive = live(choice)
    return [1 / len(alive) if i in alive else 0.0 for i in range(len(choice.options))]


def frozen(point: Point) -> Frozen:
    return tuple(sorted(point.items()))


def fresh(space: Space, history: Sequence[Trial], options: Options, propose: Callable[[int], Proposal]) -> Proposal:
    """The first proposal that is new and a candidate; after `tries` of them one that is not, for the study to judge and note.

    propose: makes the proposal of a try, from 0. Raises Exhausted if the history holds every point, Rejected if no try gave a point.
    """
    points = {frozen(trial.point) for trial in history}
    keys = {trial.key for trial in history if trial.key}
    known: Proposal | None = None
    refused: Proposal | None = None
    why = Rejected("no point could be drawn")
    for attempt in range(options.tries):
        try:
            proposal = propose(attempt)
        except Rejected as error:
            why = error
            continue
        if frozen(proposal.point) in points:
            known = known or proposal
            continue
        try:
            if options.same == "point" or space.candidate(proposal.point).key not in keys:
                return proposal
            known = proposal  # a new point that means the same as an old one
        except Rejected:
            refused = refused or proposal
    count = space.count()
    if count.exact and len(points) >= count.number:
        raise Exhausted(f"all {count.number:,} points were tried")
    if found := refused or known:
        return found
    raise why


def strayed(space: Space, point: dict[str, int], rng: random.Random, attempt: int) -> dict[str, int]:
    """A neighbour of the point; after some tries a neighbour's neighbour, and so on, when all that is near may be known."""
    for _ in range(1 + attempt // 5):
        point = space.mutate(point, rng)
    return point


def usable(history: Iterable[Trial]) -> list[Trial]:
    """Trials that tell something about their point: not duplicates, not failed."""
    return [t for t in history if t.status in ("complete", "pruned") or any(v > 0 for v in t.violations)]


def softmax(logits: Sequence[float]) -> list[float]:
    top = max(logits)
    raised = [math.exp(value - top) for value in logits]
    total = sum(raised)
    return [value / total for value in raised]
