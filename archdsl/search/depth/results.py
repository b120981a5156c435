"""What a depth search is told to do, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.search.depth.oracle import Oracle
from archdsl.search.depth.program import Program
from archdsl.search.depth.questions import Task
from archdsl.search.depth.scoring import Scores, wilson
from archdsl.search.depth.search import SEARCHES


@dataclass(frozen=True)
class Settings:
    """What a depth search does.

    budget: programs each search may measure. tasks: names of generators (all known if empty); chosen: how many informative ones are searched.
    screen, search, held_out, oracle: questions in each split (oracle=0 leaves it out). simulations: of the oracle, for each question.
    searches: which are run; random is always among them. batch: questions run at once. memory: bytes of shared states.
    """

    budget: int = 100
    tasks: tuple[str, ...] = ()
    chosen: int = 1
    screen: int = 96
    search: int = 32
    held_out: int = 256
    oracle: int = 16
    simulations: int = 50
    searches: tuple[str, ...] = tuple(SEARCHES)
    seed: int = 0
    batch: int = 32
    memory: int = 1 << 30


@dataclass(frozen=True)
class Screened:
    """How the plain model does on a task. blind: the accuracy without seeing the question. enough: whether the other splits could be filled,
    at least by half."""

    task: Task
    questions: int
    choices: int
    correct: int
    margin: float
    blind: float
    enough: bool = True

    @property
    def floor(self) -> float:
        """What the interval must clear: chance, and what the answers' frequencies alone give."""
        return max(1 / self.choices, self.blind) if self.choices else 1.0

    @property
    def informative(self) -> bool:
        return self.enough and wilson(self.correct, self.questions)[0] > self.floor

    @property
    def verdict(self) -> str:
        if not self.questions:
            return "no item is short enough"
        return "informative" if self.informative else "uninformative" if self.enough else "too few different items"


@dataclass(frozen=True)
class Row:
    """One method's choice: the program, what it cost to find, and how it does. p: of the sign test against the plain model, held out."""

    method: str
    program: Program
    evaluations: int
    found: Scores
    held_out: Scores
    p: float
    gained: int
    lost: int


@dataclass
class TaskReport:
    """A data set's part of the report. winner: the row whose program did best on the search split."""

    screened: Screened
    rows: list[Row]
    winner: Row
    influence: list[float]
    visited: int
    asked_runs: int
    distinct: int
    made_runs: float
    seconds: float
    oracle: Oracle | None = None
    spec: str = ""
