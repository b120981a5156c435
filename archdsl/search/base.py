"""What spaces, drivers and evaluators agree on. A point is a choice at each decision met; a driver reads finished trials and proposes the next."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Point = Mapping[str, int]  # decision path -> index of the option taken; just the decisions that its earlier choices open, in order


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision that a half-made point has open.

    path: where it stands (`layers.3/Mixer/choice`). kind: "choice" for `a | b`, "domain" for a parameter's values. options: as written.
    ordered: whether the options are numbers in order, so that neighbours are alike. weights: how many points lie below each option (a bound
    where the space can only be bounded), or None where that is not known.
    """

    path: str
    kind: str
    options: tuple[str, ...]
    ordered: bool = False
    weights: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many points a space has. exact: false if it is an upper bound (some combinations may not fit together)."""

    number: int
    exact: bool


class Rejected(Exception):
    """A point that is no candidate: shapes that do not meet, or a contract that fails. Says why in one line."""


class Exhausted(Exception):
    """A driver has no point left: every point of the space is in the history. The study ends."""


class Space(Protocol):
    """All points of a search. A space is a program to run: which decisions come up depends on the choices made before."""

    name: str

    def open(self, made: Point) -> Choice | None:
        """The next decision after those made; None if the point is complete."""

    def count(self) -> Count: ...

    def sample(self, rng: random.Random, by: Literal["derivations", "choices"] = "derivations") -> dict[str, int]:
        """A point: each derivation alike, or each option of a decision alike."""

    def mutate(self, point: Point, rng: random.Random) -> dict[str, int]:
        """A neighbour: one decision changed, what it opens anew drawn afresh. Never the point itself if there is another."""

    def cross(self, a: Point, b: Point, rng: random.Random) -> dict[str, int]:
        """A child: parts of one point put in the other where they fit."""

    def points(self) -> Iterator[dict[str, int]]:
        """Every point, in order of its choices."""

    def candidate(self, point: Point) -> Candidate:
        """The point's model, checked and costed. Raises Rejected."""


class Candidate(Protocol):
    """A point that stands for a model."""

    point: Point
    key: str  # equal for points that mean the same
    costs: Mapping[str, float]  # what is known without training: parameters, flops, state_bytes

    def text(self) -> str:
        """The candidate as a spec a person can read."""


Status = Literal["complete", "pruned", "failed", "duplicate"]


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended. values: the objectives in the study's order, None unless complete. reports: (step, value of the first objective)
    while it ran. violations: how far hard constraints are missed, 0 or below is met. parents: numbers of the trials it was made from."""

    number: int
    point: Point
    status: Status
    values: tuple[float, ...] | None = None
    key: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    violations: tuple[float, ...] = ()
    reports: tuple[tuple[int, float], ...] = ()
    parents: tuple[int, ...] = ()
    note: str = ""
    seconds: float = 0.0

    @property
    def feasible(self) -> bool:
        return self.values is not None and all(v <= 0 for v in self.violations)


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective: a metric and which way is better."""

    metric: str
    best: Literal["min", "max"] = "min"

    def worth(self, value: float) -> float:
        """The value with its sign turned so that more is better."""
        return value if self.best == "max" else -value


@dataclass(frozen=True, slots=True)
class Proposal:
    point: dict[str, int]
    parents: tuple[int, ...] = ()
    note: str = ""


class Driver(Protocol):
    """A way to search. A driver keeps nothing that `history` does not tell: the same seed, history and number give the same proposal, so
    that a killed study goes on as if nothing had happened. What it caches between calls is for speed alone."""

    name: str

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        """The point of trial `number`. history: the ended trials it may know of, by number: all up to number - jobs. rng: seeded from
        (seed, number). A driver avoids keys that history holds where it can; the study marks what comes twice as a duplicate.
        Raises Exhausted."""


Report = Callable[[int, float], bool]  # (step, value of the first objective) -> whether to stop here


class Evaluator(Protocol):
    """Measures candidates. budget: training steps or another measure of effort, as the study's fidelities say."""

    metrics: tuple[str, ...]

    def __call__(self, candidate: Any, seed: int, budget: int, report: Report) -> dict[str, float]:
        """Values by metric name. Stops early where `report` answers true."""


def seeded(*parts: object) -> random.Random:
    """A random stream that the parts fix, alike on every machine: seeded(seed, "trial", 7)."""
    digest = hashlib.sha256("\x1f".join(map(str, parts)).encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big"))
