"""Stopping trials early: successive halving and Hyperband as pure functions of the trials that have ended.

The rule is asynchronous (Li et al. 2018, arXiv:1810.05934): at each rung a trial must be among the best share of the values that trials
known to it had there. Nothing waits, and a trial that is run again after a crash meets the same bounds. With several brackets (Hyperband: Li et
al. 2017, arXiv:1603.06560) some trials are spared the first rungs, for candidates that start slowly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from archdsl.search.base import Goal, Trial

GOLDEN = (math.sqrt(5) - 1) / 2


def rungs(least: int, most: int, factor: int = 3) -> tuple[int, ...]:
    """Efforts from `least` on, each `factor` times the one before, below `most`: where trials of effort `most` may be stopped."""
    found = [least]
    while found[-1] * factor < most:
        found.append(found[-1] * factor)
    return tuple(effort for effort in found if effort < most)


def effort(at: Sequence[int], most: int, keep: float) -> float:
    """What a trial costs on average if at each rung the share `keep` goes on."""
    stairs = [*at, most]
    return sum((high - low) * keep**i for i, (low, high) in enumerate(zip([0, *stairs], stairs, strict=False)))


def bracket(number: int, at: Sequence[int], most: int, keep: float, brackets: int) -> int:
    """The bracket of a trial: 0 has all rungs, 1 is spared the first, and so on.

    Each bracket gets about the same effort, so the more sparing ones get fewer trials. Numbers are dealt out by the golden ratio: evenly at
    every time, without counting.
    """
    count = min(brackets, len(at) + 1)
    weights = [1 / effort(at[spared:], most, keep) for spared in range(count)]
    ticket = (number * GOLDEN) % 1 * sum(weights)
    return next((i for i, edge in enumerate(accumulate(weights)) if ticket < edge), count - 1)


def bounds(at: Sequence[int], keep: float, after: int, known: Sequence[Trial], goal: Goal) -> tuple[tuple[int, float], ...]:
    """The value at each rung that a trial must not be worse than: (effort, value). A rung that fewer than `after` trials reached has none.

    known: the trials of the same bracket that have ended; their `reports` hold what they had at the rungs. Values that are no number are the
    worst.
    """
    found = []
    for step in at:
        there = sorted((_worth(goal, value) for trial in known for at_step, value in trial.reports if at_step == step), reverse=True)
        if len(there) >= after:
            bound = there[max(0, math.ceil(round(keep * len(there), 9)) - 1)]
            found.append((step, goal.worth(bound)))  # the sign turned back
    return tuple(found)


def _worth(goal: Goal, value: float) -> float:
    return -math.inf if math.isnan(value) else goal.worth(value)
