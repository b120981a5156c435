"""Every point in order: trial n takes the n-th, so parallel trials and a resumed study need no bookkeeping."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from archdsl.search.base import Exhausted, Goal, Proposal, Space, Trial
from archdsl.search.drivers.common import Options


class Exhaustive:
    name = "exhaustive"
    options_type = Options

    def __init__(self, options: Options) -> None:
        self.options = options
        self._space: Space | None = None
        self._points: Iterator[dict[str, int]] = iter(())
        self._next = 0

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        if self._space is not space or number < self._next:
            self._space, self._points, self._next = space, iter(space.points()), 0
        for point in self._points:
            self._next += 1
            if self._next > number:
                return Proposal(point)
        raise Exhausted(f"all {self._next:,} points were tried")
