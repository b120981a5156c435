"""Updates made of maxima (or minima) and sums with what reads no state."""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.graph.expressions import ZERO, Expr, Var, call
from archdsl.recurrence.algebra import is_call, reads, summed
from archdsl.recurrence.classes import Tropical


@dataclass(frozen=True)
class _Best:
    """max(state + add, floor), either may be missing; `which` is "max", "min", or "" if nothing has been compared yet."""

    add: Expr | None
    floor: Expr | None
    which: str = ""


def tropical_form(value: Expr, state: Var) -> Tropical | None:
    """The update as max(state + add, floor), or the same with min; None if it is neither."""
    best = _best(value, state)
    if best is None or best.add is None or not best.which:
        return None
    return Tropical(summed(best.add), best.floor, best.which == "max")


def _best(node: Expr, state: Var) -> _Best | None:
    if node is state:
        return _Best(ZERO, None)
    if state not in reads(node):
        return _Best(None, node)
    if is_call(node, "max", "min"):
        return _compared(node.function, node.args[0], node.args[1], state)  # type: ignore[attr-defined]
    if is_call(node, "where"):
        condition, then, otherwise = node.args
        which = _chosen(condition, then, otherwise)
        return _compared(which, then, otherwise, state) if which else None
    if is_call(node, "add", "sub"):
        a, b = (_best(x, state) for x in node.args)
        if a is None or b is None or (a.add is not None and b.add is not None):
            return None
        if b.add is None and b.floor is not None:
            return _moved(a, node.function, b.floor)  # type: ignore[attr-defined]
        if is_call(node, "add") and a.floor is not None:
            return _moved(b, "add", a.floor)
    return None


def _chosen(condition: Expr, then: Expr, otherwise: Expr) -> str | None:
    """`if a > b then a else b` is a maximum."""
    for functions, which in ((("gt", "ge"), "max"), (("lt", "le"), "min")):
        if is_call(condition, *functions):
            if condition.args == (then, otherwise):
                return which
            if condition.args == (otherwise, then):
                return "min" if which == "max" else "max"
    return None


def _compared(which: str, left: Expr, right: Expr, state: Var) -> _Best | None:
    a, b = _best(left, state), _best(right, state)
    if a is None or b is None or {a.which, b.which} - {"", which}:
        return None
    add = a.add if b.add is None else b.add if a.add is None else call(which, a.add, b.add)
    floor = a.floor if b.floor is None else b.floor if a.floor is None else call(which, a.floor, b.floor)
    return _Best(add, floor, which)


def _moved(best: _Best, function: str, by: Expr) -> _Best:
    return _Best(
        None if best.add is None else call(function, best.add, by),
        None if best.floor is None else call(function, best.floor, by),
        best.which,
    )
