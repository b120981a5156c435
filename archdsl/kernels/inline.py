"""Temporary matrices that are worked out again where they are read: less work than to store them, load them and keep their gradients."""

from __future__ import annotations

from dataclasses import replace

from archdsl.graph.expressions import Apply, Custom, Expr, Var, _reach, order, substitute
from archdsl.graph.functions import FUNCTIONS
from archdsl.kernels.loops import index_names, reads
from archdsl.recurrence.step import Equation, Step, parse_access, reindexed

MOST = 2  # operations at each entry


def inlined(step: Step) -> Step:
    """The step without its cheap temporary matrices, such as a decayed state that is both read and updated."""
    for equation in step.equations:
        if _cheap(step, equation):
            rest = [_with(e, equation) for e in step.equations if e is not equation]
            tensors = tuple(t for t in step.tensors if t.name != equation.target)
            return inlined(replace(step, tensors=tensors, equations=tuple(rest)))
    return step


def _cheap(step: Step, equation: Equation) -> bool:
    """Whether a matrix has one plain equation with few operations at each entry, all other functions being of numbers for the whole step."""
    tensor = step.tensor(equation.target)
    if tensor.role != "temporary" or len(tensor.shape) < 2 or equation.sums or equation.at != tuple(n for n, _ in equation.free):
        return False
    if tuple(s for _, s in equation.free) != tensor.shape or sum(e.target == equation.target for e in step.equations) > 1:
        return False
    nodes = order(equation.body)
    inside = [n for n in nodes if isinstance(n, Apply) and any(index_names(r[1]) for r in reads(n))]
    plain = all(FUNCTIONS[n.function].vector for n in inside) and not any(isinstance(n, Custom) for n in nodes)
    return plain and len(inside) <= MOST


def _with(user: Equation, made: Equation) -> Equation:
    """An equation that works a temporary's entries out where it read them."""
    values: dict[str, Expr] = {}
    for node in order(*_reach(user.body)):
        if isinstance(node, Var):
            name, at = parse_access(node)
            if name == made.target:
                values[node.name] = reindexed(made.body, dict(zip(made.at, at, strict=True)))
    return replace(user, body=substitute(user.body, values)) if values else user
