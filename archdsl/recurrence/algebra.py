"""Algebra that classification needs: products and sums as collections, logarithms without a log, bounds of expressions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from archdsl.graph.expressions import ONE, ZERO, Apply, Const, Custom, Expr, Var, call, const, fold, order
from archdsl.graph.functions import FUNCTIONS, ScalarFunction
from archdsl.recurrence.step import parse_access, split_index

Powers = dict[Expr, int]


def is_call(node: Expr, *functions: str) -> bool:
    return isinstance(node, Apply) and node.function in functions


def reads(*roots: Expr) -> list[Var]:
    """The accesses that values or declared slopes depend on."""
    found: dict[Var, None] = {}
    stack = list(roots)
    seen: set[Expr] = set()
    while stack:
        for node in order(stack.pop()):
            if isinstance(node, Var):
                found[node] = None
            elif isinstance(node, Custom) and node not in seen:
                seen.add(node)
                stack += node.arguments
    return list(found)


def indices(*roots: Expr) -> set[str]:
    """Names of the indices that the accesses use."""
    return {split_index(a)[0] for node in reads(*roots) for a in parse_access(node)[1]} - {""}


def tensors(*roots: Expr) -> set[str]:
    return {parse_access(node)[0] for node in reads(*roots)}


# ---- products -------------------------------------------------------------------------------------------------------------------------


def powers(node: Expr) -> Powers:
    """A product as factor -> exponent. exp(a + b) is exp(a) * exp(b); numbers are factors too (at most one, besides none)."""
    found: Powers = {}
    number: complex | float = 1

    def visit(x: Expr, sign: int) -> None:
        nonlocal number
        if isinstance(x, Const):
            number = number * x.value if sign > 0 else number / x.value if x.value != 0 else math.nan
        elif is_call(x, "mul"):
            visit(x.args[0], sign)
            visit(x.args[1], sign)
        elif is_call(x, "div"):
            visit(x.args[0], sign)
            visit(x.args[1], -sign)
        elif is_call(x, "neg"):
            number = -number
            visit(x.args[0], sign)
        elif is_call(x, "square"):
            visit(x.args[0], sign)
            visit(x.args[0], sign)
        elif is_call(x, "exp"):
            for part, times in addends(x.args[0]).items():
                base = call("exp", part if times > 0 else call("neg", part)) if abs(times) == 1 else call("exp", call("mul", times, part))
                found[base] = found.get(base, 0) + sign
        else:
            found[x] = found.get(x, 0) + sign

    visit(node, 1)
    _cancel_exponentials(found)
    if number != 1:
        found[const(number)] = 1
    return {x: n for x, n in found.items() if n}


def _cancel_exponentials(found: Powers) -> None:
    """exp(a) * exp(-a) is 1."""
    for x in list(found):
        if is_call(x, "exp"):
            opposite = call("exp", call("neg", x.args[0]))
            if opposite in found and opposite is not x:
                found[x] = found[x] - found.pop(opposite)


def product(factors: Mapping[Expr, int]) -> Expr:
    """The product of factors with exponents."""
    above: Expr = ONE
    below: Expr = ONE
    for x, n in factors.items():
        for _ in range(abs(n)):
            if n > 0:
                above = call("mul", above, x)
            else:
                below = call("mul", below, x)
    return above if below is ONE else call("div", above, below)


def quotient(a: Expr, b: Expr) -> Expr | None:
    """a / b where every factor of b is one of a; None else."""
    if a is ZERO:
        return ZERO
    mine, other = powers(a), powers(b)
    number = _pop_number(mine) / (_pop_number(other) or math.nan)
    for x, n in other.items():
        before = mine.get(x, 0)
        mine[x] = before - n
        if abs(mine[x]) > abs(before):
            return None
    return call("mul", const(number), product({x: n for x, n in mine.items() if n}))


def _pop_number(factors: Powers) -> complex | float:
    for x in list(factors):
        if isinstance(x, Const):
            del factors[x]
            return x.value
    return 1


# ---- sums -----------------------------------------------------------------------------------------------------------------------------


def addends(node: Expr) -> dict[Expr, float]:
    """A sum as addend -> how often it stands there. Numbers come under the constant 1."""
    found: dict[Expr, float] = {}

    def visit(x: Expr, times: float) -> None:
        if isinstance(x, Const) and not isinstance(x.value, complex):
            found[ONE] = found.get(ONE, 0) + times * x.value
        elif is_call(x, "add", "sub"):
            visit(x.args[0], times)
            visit(x.args[1], times if is_call(x, "add") else -times)
        elif is_call(x, "neg"):
            visit(x.args[0], -times)
        elif is_call(x, "mul") and isinstance(x.args[0], Const) and isinstance(x.args[0].value, (int, float)):
            visit(x.args[1], times * x.args[0].value)
        else:
            found[x] = found.get(x, 0) + times

    visit(node, 1)
    return {x: n for x, n in found.items() if n}


def total(parts: Mapping[Expr, float]) -> Expr:
    """The sum of addends."""
    result: Expr = ZERO
    for x, times in parts.items():
        result = call("add", result, call("mul", const(times), x))
    return result


def summed(*nodes: Expr) -> Expr:
    """A sum with what cancels gone."""
    found: dict[Expr, float] = {}
    for node in nodes:
        for x, times in addends(node).items():
            found[x] = found.get(x, 0) + times
    return total({x: n for x, n in found.items() if n})


# ---- logarithms -----------------------------------------------------------------------------------------------------------------------


def log_of(node: Expr) -> Expr | None:
    """log(node) written without the log of a computed number; None where there is no such expression."""
    if isinstance(node, Const):
        return const(math.log(node.value)) if isinstance(node.value, (int, float)) and 0 < node.value < math.inf else None
    if not isinstance(node, Apply):
        return None
    rule = _LOGS.get(node.function)
    return rule(*node.args) if rule else None


def _log_product(a: Expr, b: Expr, sign: int = 1) -> Expr | None:
    x, y = log_of(a), log_of(b)
    return None if x is None or y is None else call("add" if sign > 0 else "sub", x, y)


def _log_difference(a: Expr, b: Expr) -> Expr | None:
    """1 - sigmoid(x) is sigmoid(-x)."""
    return call("logsigmoid", call("neg", b.args[0])) if a is ONE and is_call(b, "sigmoid") else None


def _log_choice(condition: Expr, a: Expr, b: Expr) -> Expr | None:
    x, y = log_of(a), log_of(b)
    return None if x is None or y is None else call("where", condition, x, y)


def _scaled_log(factor: float) -> Callable[[Expr], Expr | None]:
    def rule(a: Expr) -> Expr | None:
        x = log_of(a)
        return None if x is None else call("mul", factor, x)

    return rule


def _log_power(base: Expr, exponent: Expr) -> Expr | None:
    x = log_of(base)
    return None if x is None else call("mul", exponent, x)


_LOGS: dict[str, Callable[..., Expr | None]] = {
    "exp": lambda x: x,
    "sigmoid": lambda x: call("logsigmoid", x),
    "mul": _log_product,
    "div": lambda a, b: _log_product(a, b, -1),
    "sub": _log_difference,
    "where": _log_choice,
    "square": _scaled_log(2),
    "sqrt": _scaled_log(0.5),
    "pow": _log_power,
}

# ---- bounds ---------------------------------------------------------------------------------------------------------------------------

Bounds = tuple[float, float]
ANY: Bounds = (-math.inf, math.inf)


def bounds(node: Expr, known: Callable[[Var], Bounds] | None = None) -> Bounds:
    """Numbers between which the value lies for all inputs and weights (closed; infinite where nothing is known). known: of accesses."""
    done: dict[Expr, Bounds] = {}
    for x in order(node):
        if isinstance(x, Const):
            done[x] = (x.value, x.value) if isinstance(x.value, (int, float)) else ANY
        elif isinstance(x, Custom):
            done[x] = done[x.value]
        elif isinstance(x, Apply):
            rule = _BOUNDS.get(x.function)
            args = [done[a] for a in x.args]
            found = rule(*args) if rule else _in_range(FUNCTIONS[x.function], args)
            done[x] = ANY if any(math.isnan(b) for b in found) else found
        else:
            done[x] = known(x) if known is not None and isinstance(x, Var) else ANY
    return done[node]


def _times(a: float, b: float) -> float:
    return 0.0 if a == 0 or b == 0 else a * b


def _mul(a: Bounds, b: Bounds) -> Bounds:
    ends = [_times(x, y) for x in a for y in b]
    return min(ends), max(ends)


def _div(a: Bounds, b: Bounds) -> Bounds:
    if b[0] <= 0 <= b[1]:
        return (0.0, math.inf) if a[0] >= 0 and b[0] >= 0 else ANY
    return _mul(a, (1 / b[1], 1 / b[0]))


def _square(a: Bounds) -> Bounds:
    low, high = sorted((abs(a[0]), abs(a[1])))
    return (0.0 if a[0] <= 0 <= a[1] else low * low), high * high


def _abs(a: Bounds) -> Bounds:
    low, high = sorted((abs(a[0]), abs(a[1])))
    return (0.0 if a[0] <= 0 <= a[1] else low), high


def _in_range(row: ScalarFunction, args: list[Bounds]) -> Bounds:
    """Where a function's values lie that has no rule of its own here: between its values at the ends if it rises, else anywhere it reaches."""
    if not row.rising:
        return row.low, row.high
    low, high = (float(fold(row.name, (end,))) for end in args[0])
    return row.low if math.isnan(low) else low, row.high if math.isnan(high) else high


_BOUNDS: dict[str, Callable[..., Bounds]] = {
    "add": lambda a, b: (a[0] + b[0], a[1] + b[1]),
    "sub": lambda a, b: (a[0] - b[1], a[1] - b[0]),
    "neg": lambda a: (-a[1], -a[0]),
    "mul": _mul,
    "div": _div,
    "square": _square,
    "abs": _abs,
    "max": lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    "min": lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    "where": lambda c, a, b: (min(a[0], b[0]), max(a[1], b[1])),
}
