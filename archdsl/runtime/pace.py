"""How many threads take a decoding step: all that torch may use, or one while other programs keep the cores busy.

A step is hundreds of small parallel loops, and each ends when its last thread does: where a thread has to wait for a core, all wait for it, and
two threads become many times slower than one. What pays is measured, since nothing else tells it: a step with all threads at the beginning and
now and then while one is in use, a step with one when steps become slow.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import fmean, median
from typing import TypeVar

import torch

T = TypeVar("T")

SLOW = 1.5  # a step this much slower than usual asks for a trial of one thread
BETTER = 0.9  # what a trial must be below, against what is in use, to be taken
LEAST = 16  # steps between trials
SHARE = 20  # a trial may take one part in this many of the time until the next


class Pace:
    """Chooses between `threads` and one, by how long the steps took.

    The first step, which does what is done once, and the second take one thread; the third tries all. So a short text on a busy machine
    waits for one slow step at most.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.now = 1
        self._trial: int | None = None
        self._warm = False
        self._wait = 1  # steps until the next trial
        self._since = 0  # steps since the last
        self._times: deque[float] = deque(maxlen=9)  # of steps with as many threads as now

    def next(self) -> int:
        """Threads for the next step."""
        self._trial = self._due()
        return self.now if self._trial is None else self._trial

    def _due(self) -> int | None:
        if self.threads == 1 or not self._times or self._since < self._wait:
            return None
        if self.now == 1:
            return self.threads
        return 1 if self._times[-1] > SLOW * median(self._times) else None

    def took(self, seconds: float) -> None:
        """Tells how long the step took."""
        if not self._warm:
            self._warm = True
        elif self._trial is None:
            self._times.append(seconds)
            self._since += 1
        else:
            self._tried(self._trial, seconds)

    def _tried(self, threads: int, seconds: float) -> None:
        usual = fmean(self._times)
        self._since = 0
        if seconds < BETTER * usual:
            self.now, self._wait = threads, LEAST
            self._times.clear()
            self._times.append(seconds)
        else:
            self._wait = max(LEAST, int(SHARE * seconds / usual))

    def run(self, step: Callable[[], T]) -> T:
        """Takes a step with as many threads as pay; torch's own setting is as before after it."""
        chosen = self.next()
        given = torch.get_num_threads()
        start = time.perf_counter()
        try:
            if chosen != given:
                torch.set_num_threads(chosen)
            return step()
        finally:
            if chosen != given:
                torch.set_num_threads(given)
            self.took(time.perf_counter() - start)
