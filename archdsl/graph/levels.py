"""Slopes that are steps: expressions of one variable that take a few values, so that a backward pass needs to know no more than which."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from archdsl.graph.expressions import Apply, Const, Expr, Var, evaluate, order

MOST = 16  # values
_COMPARES = ("lt", "le", "gt", "ge")


@dataclass(frozen=True, slots=True)
class Levels:
    """values[i] where i of the `edges` lie below x. closed: whether x equal to an edge lies above it."""

    edges: tuple[float, ...]
    closed: tuple[bool, ...]
    values: tuple[float, ...]

    @property
    def bits(self) -> int:
        """What one entry takes: 1, 2 or 4."""
        return 1 if len(self.values) <= 2 else 2 if len(self.values) <= 4 else 4


def levels(slope: Expr, variable: str) -> Levels | None:
    """The steps of an expression in which the variable only occurs in comparisons with numbers; None if it is anything else."""
    edges = _edges(slope, variable)
    if edges is None or not 0 < len(edges) < MOST:
        return None
    between = [edges[0] - 1, *((a + b) / 2 for a, b in pairwise(edges)), edges[-1] + 1]
    values = [float(evaluate(slope, {variable: x})) for x in between]
    closed = []
    for i, edge in enumerate(edges):
        at = float(evaluate(slope, {variable: edge}))
        if at not in (values[i], values[i + 1]):
            return None
        closed.append(at != values[i])
    return Levels(tuple(edges), tuple(closed), tuple(values)) if all(map(math.isfinite, values)) else None


def _edges(slope: Expr, variable: str) -> list[float] | None:
    edges: set[float] = set()
    for node in order(slope):
        if not isinstance(node, Apply):
            continue
        reads = [a for a in node.args if isinstance(a, Var)]
        if any(a.name != variable for a in reads):
            return None
        if not reads:
            continue
        numbers = [a.value for a in node.args if isinstance(a, Const)]
        if node.function not in _COMPARES or len(numbers) != 1 or isinstance(numbers[0], complex) or not math.isfinite(numbers[0]):
            return None
        edges.add(float(numbers[0]))
    return sorted(edges) if not isinstance(slope, Var) else None
