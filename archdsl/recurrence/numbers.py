"""A step in plain numbers, entry by entry and only where asked, with its sizes shrunk: what classification checks its claims against."""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, fold, order
from archdsl.recurrence.algebra import reads
from archdsl.recurrence.step import Equation, Step, Tensor, parse_access, split_index

LIMIT = 40_000  # entries worked out for one point
Axis = tuple[str, int]
Entry = tuple[str, tuple[int, ...]]  # a tensor and the place in it


class TooLarge(Exception):
    """The step has too many entries to be worked out here."""


class Shrunk:
    """A step's sizes made small, each by the same factor wherever an index ties axes together."""

    def __init__(self, step: Step, more: Iterable[Equation] = (), tensors: Iterable[Tensor] = ()) -> None:
        self.equations: dict[str, list[Equation]] = {}
        known = list(dict.fromkeys((*step.equations, *more)))
        for equation in known:
            self.equations.setdefault(equation.target, []).append(equation)
        self.shapes = {t.name: t.shape for t in (*step.tensors, *tensors)}
        self._root: dict[Axis, Axis] = {}
        self._numbers: dict[Axis, list[int]] = {}
        for equation in known:
            self._tie(equation)
        for state in step.states:
            for k in range(len(self.shapes[state.before])):
                self._root[self._find((state.after, k))] = self._find((state.before, k))
        self._factor = self._factors()

    # ---- which axes go together ----

    def _find(self, axis: Axis) -> Axis:
        while self._root.setdefault(axis, axis) != axis:
            axis = self._root[axis]
        return axis

    def _tie(self, equation: Equation) -> None:
        first: dict[str, Axis] = {}
        places = [(equation.target, equation.at), *map(parse_access, reads(equation.body))]
        loops = dict((*equation.free, *equation.sums))
        for name, at in places:
            for k, index in enumerate(at):
                base, offset = split_index(index)
                self._numbers.setdefault((name, k), []).append(offset)
                if base in loops:
                    self._numbers[(name, k)].append(loops[base])
                    self._root[self._find((name, k))] = self._find(first.setdefault(base, (name, k)))
        if set(loops) - set(first):  # a sum over nothing but a number: its length is part of the result
            for name, at in places:
                for k in range(len(at)):
                    self._numbers.setdefault((name, k), []).append(1)

    def _factors(self) -> dict[Axis, tuple[int, int]]:
        """For each group of axes, the old and the new unit."""
        common: dict[Axis, int] = {}
        for name, shape in self.shapes.items():
            for k, size in enumerate(shape):
                root = self._find((name, k))
                common[root] = math.gcd(common.get(root, 0), size, *self._numbers.get((name, k), ()))
        found = {}
        for n, (root, unit) in enumerate(sorted(common.items())):
            new = 2 + n % 2
            found[root] = (unit, new) if unit > new else (1, 1)
        return found

    def scaled(self, name: str, axis: int, number: int) -> int:
        """A size or an offset along an axis, shrunk."""
        old, new = self._factor.get(self._find((name, axis)), (1, 1))
        return number // old * new

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.scaled(name, k, size) for k, size in enumerate(self.shapes[name]))

    def length(self, index: str, size: int, *roots: Expr) -> int:
        """The shrunk length of an index that runs over `size` in expressions."""
        for node in reads(*roots):
            name, at = parse_access(node)
            for k, one in enumerate(at):
                if split_index(one)[0] == index:
                    return self.scaled(name, k, size)
        return size


class Point:
    """One point: values for everything that the step is given, and what follows from them."""

    def __init__(self, shrunk: Shrunk, seed: int, given: Mapping[Entry, Any] | None = None, taken: set[Any] | None = None) -> None:
        self.shrunk, self.seed = shrunk, seed
        self.values: dict[Entry, Any] = dict(given or {})
        self.taken: set[Any] = taken if taken is not None else set()  # (choice, the way it went)
        self._orders: dict[Expr, list[Expr]] = {}

    def entry(self, name: str, at: tuple[int, ...]) -> Any:
        """One entry of a tensor."""
        key = (name, at)
        if key not in self.values:
            if len(self.values) > LIMIT:
                raise TooLarge
            self.values[key] = self._computed(name, at) if name in self.shrunk.equations else self.drawn(name, at)
        return self.values[key]

    def drawn(self, name: str, at: tuple[int, ...]) -> float:
        """A given number: mostly around one, in some points tiny, large, or of one sign."""
        source = random.Random(f"{self.seed} {name} {at}")
        scale = (1.0, 1.0, 0.3, 4.0, 1e-3, 25.0, 1.0, 2.0)[self.seed % 8]
        number = source.gauss(0, 1) * scale
        return abs(number) if self.seed % 8 == 6 else number

    def _computed(self, name: str, at: tuple[int, ...]) -> Any:
        for equation in reversed(self.shrunk.equations[name]):
            indices = self._matched(equation, name, at)
            if indices is not None:
                return self._sum(equation, indices)
        return 0.0

    def _matched(self, equation: Equation, name: str, at: tuple[int, ...]) -> dict[str, int] | None:
        loops = dict(equation.free)
        found: dict[str, int] = {}
        for k, (index, number) in enumerate(zip(equation.at, at)):
            base, offset = split_index(index)
            value = number - self.shrunk.scaled(name, k, offset)
            size = self.shrunk.scaled(name, k, loops[base]) if base else 1
            if not 0 <= value < size or (base and found.setdefault(base, value) != value):
                return None
        return found

    def _sum(self, equation: Equation, indices: Mapping[str, int]) -> Any:
        return self.summed(equation.body, indices, equation.sums)

    def summed(self, body: Expr, indices: Mapping[str, int], sums: tuple[tuple[str, int], ...]) -> Any:
        """A body's value at given indices, summed over others."""
        if not sums:
            return self.value(body, indices)
        (name, size), *rest = sums
        length = self.shrunk.length(name, size, body)
        return sum(self.summed(body, {**indices, name: k}, tuple(rest)) for k in range(length))

    def value(self, body: Expr, indices: Mapping[str, int]) -> Any:
        if body not in self._orders:
            self._orders[body] = order(body)
        done: dict[Expr, Any] = {}
        for node in self._orders[body]:
            if isinstance(node, Const):
                done[node] = node.value
            elif isinstance(node, Var):
                done[node] = self._access(node, indices)
            elif isinstance(node, Custom):
                done[node] = done[node.value]
            else:
                assert isinstance(node, Apply)
                done[node] = self._apply(node, [done[a] for a in node.args])
        return done[body]

    def _access(self, node: Var, indices: Mapping[str, int]) -> Any:
        name, at = parse_access(node)
        places = []
        for k, index in enumerate(at):
            base, offset = split_index(index)
            places.append((indices[base] if base else 0) + self.shrunk.scaled(name, k, offset))
        return self.entry(name, tuple(places))

    def _apply(self, node: Apply, args: list[Any]) -> Any:
        try:
            found = fold(node.function, args)
        except (OverflowError, ValueError, TypeError, ZeroDivisionError):
            return math.nan
        if node.is_bool:
            self.taken.add((node, bool(found)))
        elif node.function in ("max", "min"):
            self.taken.add((node, found is args[0] or found == args[0]))
        return found


def finite(value: Any) -> bool:
    return cmath.isfinite(value)
