"""Which trial is better: Pareto fronts, hypervolume, and one order of all trials, with hard constraints first.

Inside this file every objective is a *worth*: its value with the sign turned so that more is better.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from archdsl.search.base import Goal, Trial

Worths = tuple[float, ...]


def worths(trial: Trial, goals: Sequence[Goal]) -> Worths | None:
    """The trial's objectives, more is better; None unless it is complete and every value is finite."""
    if trial.status != "complete" or trial.values is None or len(trial.values) != len(goals):
        return None
    if not all(math.isfinite(value) for value in trial.values):
        return None
    return tuple(goal.worth(value) for goal, value in zip(goals, trial.values, strict=True))


def violation(trial: Trial) -> float:
    """By how much the trial misses its hard constraints, in all; 0 if it meets them. Not-a-number counts as infinitely much."""
    return sum(math.inf if math.isnan(v) else max(v, 0.0) for v in trial.violations)


def dominates(a: Worths, b: Worths) -> bool:
    """Whether a is nowhere worse than b, and somewhere better."""
    return all(x >= y for x, y in zip(a, b, strict=True)) and a != b


def constrained_dominates(a: Trial, b: Trial, goals: Sequence[Goal]) -> bool:
    """Domination with hard constraints (Deb et al. 2002): feasible beats infeasible, of two infeasible the smaller violation wins."""
    va, vb = violation(a), violation(b)
    if va > 0 or vb > 0:
        return va < vb
    wa, wb = worths(a, goals), worths(b, goals)
    if wa is None or wb is None:
        return wa is not None and wb is None
    return dominates(wa, wb)


def layers(points: Sequence[Worths]) -> list[list[int]]:
    """Positions of the points sorted into fronts: the undominated ones, those undominated once these are gone, and so on."""
    if not points:
        return []
    if len(points[0]) <= 2:
        return _layers_2d(points)
    import numpy as np

    table = np.asarray(points)
    no_worse = np.logical_and.reduce([column[:, None] >= column[None, :] for column in table.T])
    over = no_worse & ~no_worse.T  # over[i, j]: i dominates j
    above = over.sum(axis=0)
    left = np.ones(len(points), dtype=bool)
    found = []
    while left.any():
        front = np.flatnonzero(left & (above == 0))
        found.append([int(i) for i in front])
        left[front] = False
        above = above - over[front].sum(axis=0)
    return found


def _layers_2d(points: Sequence[Worths]) -> list[list[int]]:
    """For one or two objectives in n log n: in falling order, a point joins the first front whose best second worth it exceeds."""
    pairs = [(p[0], p[1] if len(p) > 1 else 0.0) for p in points]
    found: list[list[int]] = []
    reach: list[float] = []  # minus the best second worth of each front; rises from front to front
    last: tuple[tuple[float, float], int] | None = None
    for i in sorted(range(len(pairs)), key=lambda i: (-pairs[i][0], -pairs[i][1], i)):
        second = -pairs[i][1]
        at = last[1] if last and pairs[i] == last[0] else bisect_right(reach, second)  # equal points do not dominate one another
        if at == len(found):
            found.append([])
            reach.append(second)
        found[at].append(i)
        reach[at] = min(reach[at], second)
        last = (pairs[i], at)
    return [sorted(front) for front in found]


def crowding(points: Sequence[Worths]) -> list[float]:
    """How alone each point of a front stands: the sides of the box between its neighbours, by each objective's range; ends are infinite."""
    alone = [0.0] * len(points)
    for axis in range(len(points[0]) if points else 0):
        order = sorted(range(len(points)), key=lambda i: points[i][axis])
        width = points[order[-1]][axis] - points[order[0]][axis]
        alone[order[0]] = alone[order[-1]] = math.inf
        for before, i, after in zip(order, order[1:], order[2:], strict=False):
            if width > 0:
                alone[i] += (points[after][axis] - points[before][axis]) / width
    return alone


def hypervolume(points: Sequence[Worths], reference: Worths) -> float:
    """The volume that the points dominate above the reference (worths; points not above it in every objective add nothing)."""
    inside = [p for p in points if all(x > r for x, r in zip(p, reference, strict=True))]
    if not inside:
        return 0.0
    if len(reference) == 1:
        return max(p[0] for p in inside) - reference[0]
    volume, low = 0.0, reference[-1]  # slices along the last objective, from the reference upwards
    for height in sorted({p[-1] for p in inside}):
        volume += (height - low) * hypervolume([p[:-1] for p in inside if p[-1] >= height], reference[:-1])
        low = height
    return volume


def contributions(points: Sequence[Worths], reference: Worths) -> list[float]:
    """What each point alone adds to the hypervolume of them all."""
    whole = hypervolume(points, reference)
    return [whole - hypervolume([*points[:i], *points[i + 1 :]], reference) for i in range(len(points))]


def front(history: Sequence[Trial], goals: Sequence[Goal]) -> list[Trial]:
    """The feasible trials that none dominates, in the order of their numbers."""
    pairs = [(t, w) for t in history if violation(t) == 0 and (w := worths(t, goals)) is not None]
    best = layers([w for _, w in pairs])
    return [pairs[i][0] for i in best[0]] if best else []


def order(history: Sequence[Trial], goals: Sequence[Goal]) -> list[list[Trial]]:
    """All trials but duplicates, best first, in groups of equals.

    Feasible complete ones by Pareto front, in a front the more alone first; then pruned ones (who came further first, then by the last
    report); then infeasible ones by their violation, measured or not; then failed ones.
    """
    known = [t for t in history if t.status != "duplicate"]
    done = [(t, w) for t in known if violation(t) == 0 and (w := worths(t, goals)) is not None]
    groups: list[list[Trial]] = []
    for members in layers([w for _, w in done]):
        alone = crowding([done[i][1] for i in members]) if len(goals) > 1 else [0.0] * len(members)
        groups += _grouped([(-distance, done[i][0]) for distance, i in zip(alone, members, strict=True)])
    ended = {t.number for t, _ in done}
    rest = [t for t in known if t.number not in ended]
    pruned = [t for t in rest if violation(t) == 0 and t.status == "pruned"]
    groups += _grouped([(_reached(t, goals[0]), t) for t in pruned])
    groups += _grouped([(violation(t), t) for t in rest if violation(t) > 0])
    failed = [t for t in rest if violation(t) == 0 and t.status != "pruned"]
    return [*groups, failed] if failed else groups


def _reached(trial: Trial, goal: Goal) -> tuple[float, float]:
    if not trial.reports:
        return (0.0, math.inf)
    step, value = trial.reports[-1]
    return (-step, -goal.worth(value) if math.isfinite(value) else math.inf)


def _grouped(pairs: list[tuple[Any, Trial]]) -> list[list[Trial]]:
    pairs = sorted(pairs, key=lambda pair: pair[0])
    return [[trial for _, trial in same] for _, same in groupby(pairs, key=lambda pair: pair[0])]


def standings(history: Sequence[Trial], goals: Sequence[Goal]) -> dict[int, float]:
    """Each trial's place in `order`, by number: 1 for the best, 0 for the worst, the mean place for equals. No scale of values enters."""
    groups = order(history, goals)
    total = sum(map(len, groups))
    places: dict[int, float] = {}
    before = 0
    for group in groups:
        place = before + (len(group) - 1) / 2
        for trial in group:
            places[trial.number] = 1 - place / (total - 1) if total > 1 else 1.0
        before += len(group)
    return places
