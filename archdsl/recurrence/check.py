"""Claims of the classification, tried in numbers (float64): at points that take every choice both ways, on the step with its sizes shrunk."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from archdsl.graph.expressions import ZERO
from archdsl.recurrence.classes import (
    AffineGroup,
    DecayedGroup,
    DeltaGroup,
    DenseGroup,
    Group,
    MapGroup,
    NonlinearGroup,
    Obstacle,
    Removal,
    SoftmaxGroup,
    TropicalGroup,
)
from archdsl.recurrence.infix import infix
from archdsl.recurrence.numbers import Point, Shrunk, TooLarge, finite
from archdsl.recurrence.step import INDICES, Equation, Step, access

POINTS, MOST, ENTRIES, TOLERANCE = 8, 40, 9, 1e-8

Place = tuple[int, ...]
Pair = tuple[Any, Any, float]  # the step's number, the claim's, and the size of what was added up to it


def checked(step: Step, group: Group, before: Sequence[Group], after: Sequence[Equation] = ()) -> Group:
    """The group, or the same as nonlinear if what it claims does not hold. A step too large to be tried says so in a note."""
    if isinstance(group, MapGroup):
        return group
    made = [e for g in (*before, group) for e in g.prepare]
    tensors = [t for g in (*before, group) for t in g.tensors]
    claim = _Claim(step, group, Shrunk(step, made, tensors), after)
    try:
        wrong = claim.tried()
    except TooLarge:
        return replace(group, notes=(*group.notes, "not tried in numbers: the step is too large"))
    return group if wrong is None else _refused(step, group, wrong)


def _refused(step: Step, group: Group, wrong: str) -> Group:
    after = {s.before: s.after for s in step.states}[group.states[0]]
    equation = next((e for e in reversed(step.equations) if e.target == after), None)
    note = f"it looked {group.kind}, but {wrong}"
    obstacle = Obstacle(
        equation.body if equation else ZERO, infix(equation.body) if equation else "", equation.span if equation else None, note
    )
    return NonlinearGroup(
        states=group.states,
        reason=note,
        prepare=group.prepare,
        tensors=group.tensors,
        equations=group.equations,
        notes=(*group.notes, note),
        obstacle=obstacle,
        mixes=True,
    )


class _Claim:
    def __init__(self, step: Step, group: Group, shrunk: Shrunk, after: Sequence[Equation]) -> None:
        self.step, self.group, self.shrunk, self.late = step, group, shrunk, after
        self.after = {s.before: s.after for s in step.states}
        self.starts = {s.before: s.start for s in step.states}
        self.taken: set[Any] = set()

    def tried(self) -> str | None:
        """What is wrong, if anything."""
        claims = self.claims()
        for seed in range(MOST):
            if seed >= POINTS and not self.one_sided():
                break
            for what, pairs in claims:
                if any(_differ(pair) for pair in pairs(seed)):
                    return f"{what} does not hold in numbers"
        return None

    def one_sided(self) -> bool:
        """Whether some choice went one way only so far."""
        return any((node, not way) not in self.taken for node, way in self.taken)

    def claims(self) -> list[tuple[str, Callable[[int], Iterator[Pair]]]]:
        group = self.group
        if isinstance(group, SoftmaxGroup):
            return [("the ratio of weighted sums", partial(self.ratio, group))]
        if isinstance(group, TropicalGroup):
            return [("the maximum", partial(self.tropical, group))]
        if isinstance(group, NonlinearGroup):
            return [] if group.mixes else [("that entries do not read one another", self.apart)]
        if not isinstance(group, AffineGroup):
            return []
        found: list[tuple[str, Callable[[int], Iterator[Pair]]]] = [
            ("f(a + b - c) = f(a) + f(b) - f(c)", self.affine),
            ("the sum of its terms", partial(self.terms, group)),
        ]
        if isinstance(group, DecayedGroup) or (isinstance(group, DenseGroup) and group.matrix is not None):
            found.append(("its form", partial(self.form, group)))
        if isinstance(group, DecayedGroup) and group.outers:
            found.append(("the sum of outer products", partial(self.outers, group)))
        return found

    # ---- points ----

    def point(self, seed: int, given: dict[tuple[str, Place], Any] | None = None) -> Point:
        return Point(self.shrunk, seed, given, self.taken)

    def entries(self, state: str) -> list[Place]:
        """Some entries of a state, spread over it."""
        shape = self.shrunk.shape(state)
        count = math.prod(shape)
        every = max(1, count // ENTRIES)
        return [_place(n, shape) for n in range(0, count, every)][:ENTRIES]

    def each(self) -> Iterator[tuple[str, Place]]:
        for state in self.group.states:
            for at in self.entries(state):
                yield state, at

    # ---- what is claimed ----

    def affine(self, seed: int) -> Iterator[Pair]:
        first, second, third = (_States(self, seed, n) for n in range(3))
        mixed = _Mixed(first, second, third)
        for state, at in self.each():
            a, b, c, d = (self.next(s, state, at) for s in (first, second, third, mixed))
            yield d, a + b - c, _size(a, b, c)

    def next(self, states: _States | _Mixed, state: str, at: Place) -> Any:
        return states.point.entry(self.after[state], at)

    def terms(self, group: AffineGroup, seed: int) -> Iterator[Pair]:
        point = self.point(seed)
        for state, at in self.each():
            indices = dict(zip(INDICES, at))
            values = [point.value(group.bias[state], indices)]
            for term in group.terms:
                if term.target == state:
                    values.append(point.summed(term.coefficient * access(term.state, term.at), indices, term.sums))
            yield point.entry(self.after[state], at), sum(values), _size(*values)

    def form(self, group: AffineGroup, seed: int) -> Iterator[Pair]:
        point = self.point(seed)
        (state,) = group.states
        shape = self.shrunk.shape(state)
        removals: tuple[Removal, ...] = group.removals if isinstance(group, DeltaGroup) else ()
        axis = 1 if isinstance(group, (DeltaGroup, DenseGroup)) and group.side == "column" else 0
        for at in self.entries(state):
            indices = dict(zip(INDICES, at))
            values = [point.value(group.bias[state], indices)]
            column = [(*at[:axis], k, *at[axis + 1 :]) for k in range(shape[axis])] if shape else []
            name = INDICES[axis]
            if isinstance(group, DenseGroup) and group.matrix is not None:
                values += [point.value(group.matrix, {**indices, "s": k}) * point.entry(state, p) for k, p in enumerate(column)]
            if isinstance(group, DecayedGroup):
                values.append(point.value(group.decay.value, indices) * point.entry(state, at))
                for removal in removals:
                    scale = point.value(removal.scale, {}) * point.value(removal.left, indices)
                    for k, p in enumerate(column):
                        there = {**indices, name: k}
                        held = point.entry(state, p) * (point.value(group.decay.value, there) if removal.after_decay else 1)
                        values.append(-scale * point.value(removal.right, there) * held)
            yield point.entry(self.after[state], at), sum(values), _size(*values)

    def outers(self, group: DecayedGroup, seed: int) -> Iterator[Pair]:
        point = self.point(seed)
        (state,) = group.states
        for at in self.entries(state):
            indices = dict(zip(INDICES, at))
            values = [math.prod(point.value(x, indices) for x in (o.scale, o.left, o.right)) for o in group.outers]
            yield point.value(group.bias[state], indices), sum(values), _size(*values)

    def tropical(self, group: TropicalGroup, seed: int) -> Iterator[Pair]:
        point, found = self.point(seed), group.tropical
        (state,) = group.states
        for at in self.entries(state):
            indices = dict(zip(INDICES, at))
            value = point.entry(state, at) + point.value(found.add, indices)
            if found.floor is not None:
                value = (max if found.maximum else min)(value, point.value(found.floor, indices))
            yield point.entry(self.after[state], at), value, _size(value)

    def apart(self, seed: int) -> Iterator[Pair]:
        first, second = _States(self, seed, 0), _States(self, seed, 1)
        for state, at in self.each():
            given = {(s, at): first.point.entry(s, at) for s in self.group.states}
            other = self.point(seed, {**second.values(), **given})
            a = first.point.entry(self.after[state], at)
            yield other.entry(self.after[state], at), a, _size(a)

    def ratio(self, group: SoftmaxGroup, seed: int) -> Iterator[Pair]:
        """The yields over a few steps, the states as they stand against the weighted sums."""
        if seed % 8 == 5:  # numbers whose exponentials overflow in the spec's own form
            return
        found = group.softmax
        plain: dict[tuple[str, Place], Any] = {}
        for state, start in self.starts.items():
            for at in itertools.product(*map(range, self.shrunk.shape(state))):
                plain[(state, at)] = start
        places = list(itertools.product(*map(range, self.shrunk.shape(found.numerator))))
        above, below = dict.fromkeys(places, 0.0), dict.fromkeys(places, 0.0)
        for time in range(3):
            point = self.point(seed + 1000 * time, plain)
            ratios: dict[tuple[str, Place], Any] = {}
            for at in places:
                indices = dict(zip(INDICES, at))
                keep = math.exp(point.value(found.log_decay, indices)) if found.log_decay is not None else 1.0
                weight = math.exp(point.value(found.score, indices))
                old = above[at], below[at]
                above[at] = keep * above[at] + weight * point.value(found.value, indices)
                below[at] = keep * below[at] + weight
                for one in found.ratios:
                    a, b = (above[at], below[at]) if one.after else old
                    extra = math.exp(point.value(one.bonus, indices)) if one.bonus is not None else 0.0
                    more = extra * point.value(one.value, indices) if one.value is not None else 0.0
                    ratios[(one.target, at)] = (a + more) / (b + extra) if b + extra else math.nan
            yield from self.yields(point, ratios)
            plain = {(s, at): point.entry(self.after[s], at) for s, at in plain}

    def yields(self, point: Point, ratios: dict[tuple[str, Place], Any]) -> Iterator[Pair]:
        equations = {e.target for e in self.late}
        mended = Shrunk(self.step, self.group.prepare, self.group.tensors)
        for name in equations:
            mended.equations[name] = [e for e in self.late if e.target == name]
        given = {k: v for k, v in point.values.items() if k[0] not in equations}
        other = Point(mended, point.seed, {**given, **ratios}, self.taken)
        for name in self.step.yields:
            for at in itertools.product(*map(range, self.shrunk.shape(name))):
                a = point.entry(name, at)
                yield a, other.entry(name, at), _size(a)


class _States:
    """A point with states of its own; everything else is as at the seed's point."""

    def __init__(self, claim: _Claim, seed: int, number: int) -> None:
        self.claim = claim
        source = claim.point(seed + 64 * number)
        self.drawn = {
            (s, at): source.drawn(s, at) for s in claim.group.states for at in itertools.product(*map(range, claim.shrunk.shape(s)))
        }
        self.point = claim.point(seed, self.drawn)

    def values(self) -> dict[tuple[str, Place], Any]:
        return self.drawn


class _Mixed:
    """The point whose states are first + second - third."""

    def __init__(self, first: _States, second: _States, third: _States) -> None:
        mixed = {k: first.drawn[k] + second.drawn[k] - third.drawn[k] for k in first.drawn}
        self.point = first.claim.point(first.point.seed, mixed)


def _place(number: int, shape: tuple[int, ...]) -> Place:
    found = []
    for size in reversed(shape):
        number, rest = divmod(number, size)
        found.append(rest)
    return tuple(reversed(found))


def _size(*values: Any) -> float:
    return max((abs(v) for v in values), default=0.0)


def _differ(pair: Pair) -> bool:
    a, b, size = pair
    if not (finite(a) and finite(b)):
        return False
    return bool(abs(a - b) > TOLERANCE * (size + abs(a)) + 1e-12)
