"""The judge of a depth search: programs by their mean margin, each distinct program measured once, within a budget of programs."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Protocol

from archdsl.search.depth.program import Program, layer_runs, sort_key
from archdsl.search.depth.scoring import Scores


class Marked(Protocol):
    """Whatever scores a program (`scoring.Exam`)."""

    def score(self, program: Program) -> Scores: ...


class Spent(Exception):
    """The budget is spent: no further program is measured."""


class Judge:
    """Judges programs for one search. `visited` holds what the search saw, in order.

    marks: results known from other searches on the same questions; they count for the budget like any other, so that searches compare at
    equal numbers of programs, but they cost no time.
    """

    def __init__(self, exam: Marked, budget: int, marks: dict[Program, Scores]):
        self.exam, self.budget, self.marks = exam, budget, marks
        self.visited: dict[Program, float] = {}
        self.seconds = 0.0

    @property
    def left(self) -> int:
        return self.budget - len(self.visited)

    def __call__(self, programs: Iterable[Program]) -> list[float]:
        """The mean margin of each program. Raises Spent after measuring as many new ones as the budget allows."""
        asked = list(programs)
        new = [p for p in dict.fromkeys(asked) if p not in self.visited]
        begin = time.perf_counter()
        for program in sorted(new[: self.left], key=sort_key):
            if program not in self.marks:
                self.marks[program] = self.exam.score(program)
            self.visited[program] = self.marks[program].margin
        self.seconds += time.perf_counter() - begin
        if any(p not in self.visited for p in new):
            raise Spent
        return [self.visited[p] for p in asked]

    def one(self, program: Program) -> float:
        return self([program])[0]

    @property
    def best(self) -> Program:
        """The program with the largest mean margin; of equals the shortest, then the first seen."""
        order = {program: number for number, program in enumerate(self.visited)}
        return min(self.visited, key=lambda p: (-self.visited[p], layer_runs(p), order[p]))

    def squash(self, program: Program, start: Program) -> float:
        """A reward in 0..1 for tree search: how clearly the program beats `start`, in standard errors of the paired difference, by a logistic."""
        self([start, program])
        gain = self.marks[program].margins - self.marks[start].margins
        error = float(gain.std()) / math.sqrt(len(gain)) if len(gain) > 1 else 0.0
        mean = float(gain.mean())
        if not math.isfinite(mean) or not math.isfinite(error):
            return 0.0
        if error == 0.0:
            return 0.5 if mean == 0 else float(mean > 0)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, mean / error))))
