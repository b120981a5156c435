"""Local algebra on expressions, applied as each node is built.

Only rules that keep the numbers or make them safer: products of exponentials become one exponential (no 0 * inf), a factor that is zero on
one side of a choice moves inside it, 1 / (1 + exp(-x)) becomes a sigmoid. `0 * x` and `x - x` are 0: a symbolic zero beats a NaN from an
unused part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from archdsl.graph.expressions import ONE, ZERO, Apply, Const, Expr, apply, call, const, fold
from archdsl.graph.functions import FUNCTIONS

Args = list[Expr]



def simplified(function: str, args: Args) -> Expr:
    """The node for a function of arguments of the right kinds."""
    if all(isinstance(a, Const) for a in args):
        value = fold(function, [a.value for a in args if isinstance(a, Const)])
        if not isinstance(value, (bool, int, float, complex)):
            raise TypeError(function)
        if not isinstance(value, bool):
            return const(value)
        return _boolean(value)
    row = FUNCTIONS[function]
    if row.commutes and isinstance(args[function == "mul"], Const):
        args = args[::-1]  # a constant goes first in a product and last elsewhere
    rule = _RULES.get(function)
    found = rule(args) if rule else _by_parity(function, row.parity, args[0])
    return found if found is not None else apply(function, *args)


def _is(node: Expr, function: str) -> bool:
    return isinstance(node, Apply) and node.function == function


def _truth(node: Expr) -> bool | None:
    """The value of a condition that is constant."""
    if isinstance(node, Apply) and node.function == "eq" and all(isinstance(a, Const) for a in node.args):
        return node.args[0] is node.args[1]
    return None


def _add(args: Args) -> Expr | None:
    a, b = args
    if a is ZERO or b is ZERO:
        return b if a is ZERO else a
    if a is b:
        return call("mul", 2, a)
    if _is(b, "neg"):
        return call("sub", a, b.args[0])
    if _is(a, "neg"):
        return call("sub", b, a.args[0])
    if isinstance(b, Const) and isinstance(b.value, (int, float)) and b.value < 0:
        return call("sub", a, const(-b.value))
    if _is(a, "where") and _is(b, "where") and a.args[0] is b.args[0] and a.args[2] is ZERO and b.args[1] is ZERO:
        return call("where", a.args[0], a.args[1], b.args[2])
    negated = _positive(b)
    return call("sub", a, negated) if negated is not None else None


def _sub(args: Args) -> Expr | None:
    a, b = args
    if b is ZERO:
        return a
    if a is b:
        return ZERO
    if a is ZERO:
        return call("neg", b)
    if _is(b, "neg"):
        return call("add", a, b.args[0])
    if isinstance(b, Const) and isinstance(b.value, (int, float)) and b.value < 0:
        return call("add", a, const(-b.value))
    if b is ONE and _is(a, "exp"):
        return call("expm1", a.args[0])
    negated = _positive(b)
    return call("add", a, negated) if negated is not None else None


def _positive(node: Expr) -> Expr | None:
    """-node, where node is a product with a negative number."""
    if isinstance(node, Apply) and node.function in ("mul", "div") and isinstance(node.args[0], Const):
        value = node.args[0].value
        if isinstance(value, (int, float)) and value < 0:
            return call(node.function, const(-value), node.args[1])
    return None


def _neg(args: Args) -> Expr | None:
    (a,) = args
    if _is(a, "neg"):
        return a.args[0]
    if _is(a, "sub"):
        return call("sub", a.args[1], a.args[0])
    if isinstance(a, Apply) and a.function in ("mul", "div") and isinstance(a.args[0], Const):
        return call(a.function, const(-a.args[0].value), a.args[1])
    return None


def _mul(args: Args) -> Expr | None:
    a, b = args
    if a is ZERO or b is ZERO:
        return ZERO
    if a is ONE or b is ONE:
        return b if a is ONE else a
    if a is b:
        return call("square", a)
    if isinstance(a, Const) and a.value == -1:
        return call("neg", b)
    for x, y in ((a, b), (b, a)):
        if _is(x, "neg"):
            return call("neg", call("mul", x.args[0], y))
        if _is(x, "where") and (x.args[1] is ZERO or x.args[2] is ZERO):
            condition, then, otherwise = x.args
            return call("where", condition, _times(then, y), _times(otherwise, y))
        if _is(x, "div") and x.args[0] is ONE and not isinstance(y, Const):
            return call("div", y, x.args[1])
    if isinstance(a, Const):
        if isinstance(b, Apply) and b.function in ("mul", "div") and isinstance(b.args[0], Const):
            return call(b.function, const(a.value * b.args[0].value), b.args[1])
        if _is(b, "div") and b.args[0] is ONE:
            return call("div", a, b.args[1])
        return None
    return _merge_product(a, b)


def _times(branch: Expr, factor: Expr) -> Expr:
    return ZERO if branch is ZERO else call("mul", branch, factor)


def _merge_product(a: Expr, b: Expr) -> Expr | None:
    """Moves numbers to the front and joins exponentials, however deep in a product they stand."""
    factors = [*_factors(a), *_factors(b)]
    numbers = [f for f in factors if isinstance(f, Const)]
    powers = [f for f in factors if _is(f, "exp")]
    if len(powers) < 2 and (not numbers or isinstance(a, Const)):
        return None
    number = math.prod(n.value for n in numbers if isinstance(n.value, (int, float)))
    rest = [f for f in factors if not isinstance(f, Const) and (len(powers) < 2 or not _is(f, "exp"))]
    if len(powers) >= 2:
        total = powers[0].args[0]
        for p in powers[1:]:
            total = call("add", total, p.args[0])
        rest.append(call("exp", total))
    product = rest[0]
    for factor in rest[1:]:
        product = call("mul", product, factor)
    return call("mul", const(number), product) if number != 1 else product


def _factors(node: Expr) -> Args:
    stack, found = [node], []
    while stack:
        x = stack.pop()
        if isinstance(x, Apply) and x.function == "mul":
            stack.extend((x.args[1], x.args[0]))
        else:
            found.append(x)
    return found


def _div(args: Args) -> Expr | None:
    a, b = args
    if b is ONE:
        return a
    if a is ZERO:
        return ZERO
    if _is(a, "neg"):
        return call("neg", call("div", a.args[0], b))
    if _is(b, "neg"):
        return call("neg", call("div", a, b.args[0]))
    if isinstance(b, Const) and isinstance(b.value, (int, float)) and b.value < 0:
        return call("neg", call("div", a, const(-b.value)))
    if isinstance(b, Const) and b.value == 0.5:
        return call("mul", 2, a)
    if _is(a, "where") and (a.args[1] is ZERO or a.args[2] is ZERO):
        return call("where", a.args[0], call("div", a.args[1], b), call("div", a.args[2], b))
    if _is(a, "exp") and _is(b, "exp"):
        return call("exp", call("sub", a.args[0], b.args[0]))
    if _is(b, "exp"):
        return call("mul", a, call("exp", call("neg", b.args[0])))
    logistic = _one_plus_exp(b)
    if logistic is not None:
        return call("mul", a, call("sigmoid", call("neg", logistic)))
    if _is(b, "sqrt"):
        return call("mul", a, call("rsqrt", b.args[0]))
    return _tanh(a, b)


def _one_plus_exp(node: Expr) -> Expr | None:
    """z if node is exp(z) + 1."""
    if _is(node, "add") and node.args[1] is ONE and _is(node.args[0], "exp"):
        return node.args[0].args[0]
    return None


def _tanh(a: Expr, b: Expr) -> Expr | None:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))."""
    if _is(a, "sub") and _is(b, "add") and set(a.args) == set(b.args) and all(_is(p, "exp") for p in a.args):
        z, minus = a.args[0].args[0], a.args[1].args[0]
        if call("neg", z) is minus:
            return call("tanh", z)
    return None


def _pow(args: Args) -> Expr | None:
    base, exponent = args
    if isinstance(exponent, Const):
        simple: dict[object, Callable[[], Expr]] = {
            0: lambda: ONE,
            1: lambda: base,
            2: lambda: call("square", base),
            0.5: lambda: call("sqrt", base),
            -1: lambda: call("div", 1, base),
            -0.5: lambda: call("rsqrt", base),
        }
        return simple[exponent.value]() if exponent.value in simple else None
    if isinstance(base, Const) and base.value == math.e:
        return call("exp", exponent)
    return None


def _where(args: Args) -> Expr | None:
    condition, then, otherwise = args
    known = _truth(condition)
    if known is not None:
        return then if known else otherwise
    if then is otherwise:
        return then
    if _is(condition, "not_"):
        return call("where", condition.args[0], otherwise, then)
    if _is(then, "where") and then.args[0] is condition:
        return call("where", condition, then.args[1], otherwise)
    if _is(otherwise, "where") and otherwise.args[0] is condition:
        return call("where", condition, then, otherwise.args[2])
    return None


def _and(args: Args) -> Expr | None:
    a, b = args
    for x, y in ((a, b), (b, a)):
        if _truth(x) is not None:
            return y if _truth(x) else x
    return _same(args)


def _or(args: Args) -> Expr | None:
    a, b = args
    for x, y in ((a, b), (b, a)):
        if _truth(x) is not None:
            return x if _truth(x) else y
    return _same(args)


def _not(args: Args) -> Expr | None:
    (a,) = args
    known = _truth(a)
    if known is not None:
        return _boolean(not known)
    return a.args[0] if _is(a, "not_") else None


def _boolean(value: bool) -> Expr:
    """A truth value as a node: 0 == 0 or 0 == 1."""
    return apply("eq", ZERO, ZERO if value else ONE)


def _compare(args: Args) -> Expr | None:
    """A number made of a truth value, compared with 0: the truth value itself."""
    a, b = args
    if b is ZERO and _is(a, "where") and a.args[1] is ONE and a.args[2] is ZERO:
        return a.args[0]
    return None


def _same(args: Args) -> Expr | None:
    return args[0] if args[0] is args[1] else None


def _log(args: Args) -> Expr | None:
    (a,) = args
    z = _one_plus_exp(a)
    if z is not None:
        return call("softplus", z)
    if _is(a, "exp"):
        return a.args[0]
    if _is(a, "add") and a.args[1] is ONE:
        return call("log1p", a.args[0])
    return call("logsigmoid", a.args[0]) if _is(a, "sigmoid") else None


def _log1p(args: Args) -> Expr | None:
    return call("softplus", args[0].args[0]) if _is(args[0], "exp") else None


def _by_parity(function: str, parity: str, a: Expr) -> Expr | None:
    """A sign taken out of an odd function, or out of an even one with |x|."""
    if parity == "odd" and _is(a, "neg"):
        return call("neg", call(function, a.args[0]))
    if parity == "even" and (_is(a, "neg") or (_is(a, "abs") and function != "cos")):
        return call(function, a.args[0])
    return None


_RULES: dict[str, Callable[[Args], Expr | None]] = {
    "add": _add, "sub": _sub, "neg": _neg, "mul": _mul, "div": _div, "pow": _pow, "max": _same, "min": _same, "log": _log, "log1p": _log1p,
    "where": _where, "ne": _compare, "and_": _and, "or_": _or, "not_": _not,
}  # fmt: skip
