"""Whole numbers in a step. Kernels and forms compute in floats, so what is counted there must be small; the rest is left to plain torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from archdsl.graph.ir import Node, Value

EXACT = 256  # whole numbers up to here have a place in every float that a result is handed on in, bfloat16 too
_NO_LARGER = frozenset(
    ("where", "neg", "abs", "max", "min", "slice", "split", "concat", "squeeze", "unsqueeze", "eq", "ne", "lt", "le", "gt", "ge")
)


def large(nodes: Iterable[Node]) -> set[Node]:
    """The nodes that give whole numbers, or compare them with one another, which may be too large for a float. nodes: in order."""
    bounds: dict[Value, float] = {}
    found = set()
    for node in nodes:
        kinds, given = {v.type.kind for v in node.outputs}, {v.type.kind for v in node.inputs}
        if "int" in kinds or (kinds == {"bool"} and "int" in given and not given & {"float", "complex"}):
            bound = _largest(node, bounds)
            bounds |= dict.fromkeys(node.outputs, bound)
            if bound > EXACT:
                found.add(node)
    return found


def _largest(node: Node, known: Mapping[Value, float]) -> float:
    """A bound on the whole numbers that a node gives or compares; infinite where nothing says one. known: bounds by value."""
    function, scalars = (node.attrs.function, node.attrs.scalars) if node.op == "pointwise" else (node.op, {})
    bounds = [known.get(v, 1.0 if v.type.kind == "bool" else math.inf) for v in node.inputs]
    bounds += [abs(float(s)) for s in scalars.values()]
    if function in ("add", "sub"):
        return sum(bounds)
    if function == "mul":
        return math.prod(bounds)
    if function == "sum":
        sizes = node.inputs[0].type.sizes
        return bounds[0] * math.prod(s if isinstance(s, int) else math.inf for s in sizes)
    return max(bounds) if function in _NO_LARGER else math.inf
