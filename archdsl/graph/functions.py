"""The one table of scalar functions: how each is written in torch, what it is worth in floats, and its derivative.

Acts, scans and the code generators all read this table; nothing else in the project knows a derivative. A derivative rule gets a builder
`f` (any function of this table as a method: `f.exp(x)`) and the arguments, and returns d function / d argument, built with + - * / **.
Torch templates name arguments by position; an infix template states its precedence so that only needed parentheses are written.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CALL, POWER, NEGATE, PRODUCT, SUM, COMPARE = 10, 5, 4, 3, 2, 1  # precedence, tightest first

Rule = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class ScalarFunction:
    """One row.

    level: precedence of the torch text. result, takes: "number" or "bool", of the value and of the arguments (`where` takes a bool, then
    numbers). rules: a derivative per argument; None where the derivative is zero almost everywhere; an empty tuple if none is known.
    """

    name: str
    arity: int
    torch: str
    value: Callable[..., Any]
    rules: tuple[Rule | None, ...] = ()
    level: int = CALL
    result: str = "number"
    takes: str = "number"


def _ieee(function: Callable[..., float], overflow: float = math.inf, domain: float = math.nan) -> Callable[..., Any]:
    """math's function with the IEEE answer where math raises."""

    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except OverflowError:
            return overflow
        except (ValueError, ZeroDivisionError):
            return domain

    return call


def _div(a: Any, b: Any) -> Any:
    if b != 0:
        return a / b
    return math.nan if a == 0 or a != a else math.copysign(math.inf, a) * math.copysign(1, b)


def _pow(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and abs(b) * a.bit_length() > 1000:
        a = float(a)  # a power of whole numbers must not fill the memory
    try:
        result = a**b
    except ZeroDivisionError:
        return math.inf
    except OverflowError:
        return math.inf
    return math.nan if isinstance(result, complex) and not isinstance(a, complex) else result


def _log(x: float) -> float:
    return -math.inf if x == 0 else math.log(x) if x > 0 else math.nan


def _log1p(x: float) -> float:
    return -math.inf if x == -1 else math.log1p(x) if x > -1 else math.nan


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _rsqrt(x: float) -> float:
    return _div(1, math.sqrt(x)) if x >= 0 else math.nan


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)


def _digamma(x: float) -> float:
    """Recurrence up to 12, then the asymptotic series."""
    if x <= 0:
        return math.nan if x == math.floor(x) else _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 12:
        shift -= 1 / x
        x += 1
    s = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))


def _fmod(x: float, y: float) -> float:
    return x % y if y != 0 else math.nan


ZERO1: tuple[None] = (None,)
ZERO2: tuple[None, None] = (None, None)

_ROWS = (
    # arithmetic
    ScalarFunction("add", 2, "{0} + {1}", lambda a, b: a + b, (lambda f, a, b: f.one, lambda f, a, b: f.one), SUM),
    ScalarFunction("sub", 2, "{0} - {1}", lambda a, b: a - b, (lambda f, a, b: f.one, lambda f, a, b: -f.one), SUM),
    ScalarFunction("mul", 2, "{0} * {1}", lambda a, b: a * b, (lambda f, a, b: b, lambda f, a, b: a), PRODUCT),
    ScalarFunction("div", 2, "{0} / {1}", _div, (lambda f, a, b: 1 / b, lambda f, a, b: -(a / b) / b), PRODUCT),
    ScalarFunction(
        "pow", 2, "{0} ** {1}", _pow,
        (lambda f, a, b: b * a ** (b - 1), lambda f, a, b: f.where(f.eq(a, 0), 0, a**b * f.log(a))), POWER,
    ),
    ScalarFunction("neg", 1, "-{0}", lambda a: -a, (lambda f, a: -f.one,), NEGATE),
    ScalarFunction("square", 1, "{0} ** 2", lambda a: a * a, (lambda f, a: 2 * a,), POWER),
    ScalarFunction("reciprocal", 1, "1 / {0}", lambda a: _div(1, a), (lambda f, a: -1 / f.square(a),), PRODUCT),
    ScalarFunction("floordiv", 2, "torch.floor({0} / {1})", lambda a, b: a // b if b else math.nan, ZERO2),
    ScalarFunction("mod", 2, "torch.remainder({0}, {1})", _fmod, (lambda f, a, b: f.one, lambda f, a, b: -f.floor(a / b))),
    # comparison, logic, choice
    ScalarFunction("eq", 2, "{0} == {1}", lambda a, b: a == b, ZERO2, COMPARE, "bool"),
    ScalarFunction("ne", 2, "{0} != {1}", lambda a, b: a != b, ZERO2, COMPARE, "bool"),
    ScalarFunction("lt", 2, "{0} < {1}", lambda a, b: a < b, ZERO2, COMPARE, "bool"),
    ScalarFunction("le", 2, "{0} <= {1}", lambda a, b: a <= b, ZERO2, COMPARE, "bool"),
    ScalarFunction("gt", 2, "{0} > {1}", lambda a, b: a > b, ZERO2, COMPARE, "bool"),
    ScalarFunction("ge", 2, "{0} >= {1}", lambda a, b: a >= b, ZERO2, COMPARE, "bool"),
    ScalarFunction("and_", 2, "torch.logical_and({0}, {1})", lambda a, b: bool(a and b), ZERO2, CALL, "bool", "bool"),
    ScalarFunction("or_", 2, "torch.logical_or({0}, {1})", lambda a, b: bool(a or b), ZERO2, CALL, "bool", "bool"),
    ScalarFunction("not_", 1, "torch.logical_not({0})", lambda a: not a, ZERO1, CALL, "bool", "bool"),
    ScalarFunction(
        "where", 3, "torch.where({0}, {1}, {2})", lambda c, a, b: a if c else b,
        (None, lambda f, c, a, b: f.where(c, 1, 0), lambda f, c, a, b: f.where(c, 0, 1)), CALL, "number", "where",
    ),
    ScalarFunction(
        "max", 2, "torch.maximum({0}, {1})", max, (lambda f, a, b: f.where(f.gt(a, b), 1, 0), lambda f, a, b: f.where(f.gt(a, b), 0, 1)),
    ),
    ScalarFunction(
        "min", 2, "torch.minimum({0}, {1})", min, (lambda f, a, b: f.where(f.lt(a, b), 1, 0), lambda f, a, b: f.where(f.lt(a, b), 0, 1)),
    ),
    # powers, exponentials, logarithms
    ScalarFunction("exp", 1, "torch.exp({0})", _ieee(math.exp), (lambda f, x: f.exp(x),)),
    ScalarFunction("expm1", 1, "torch.expm1({0})", _ieee(math.expm1), (lambda f, x: f.exp(x),)),
    ScalarFunction("log", 1, "torch.log({0})", _log, (lambda f, x: 1 / x,)),
    ScalarFunction("log1p", 1, "torch.log1p({0})", _log1p, (lambda f, x: 1 / (1 + x),)),
    ScalarFunction("sqrt", 1, "torch.sqrt({0})", _ieee(math.sqrt), (lambda f, x: 0.5 * f.rsqrt(x),)),
    ScalarFunction("rsqrt", 1, "torch.rsqrt({0})", _rsqrt, (lambda f, x: -0.5 * f.rsqrt(x) / x,)),
    # signs and steps
    ScalarFunction("abs", 1, "torch.abs({0})", abs, (lambda f, x: f.sign(x),)),
    ScalarFunction("sign", 1, "torch.sign({0})", _sign, ZERO1),
    ScalarFunction("floor", 1, "torch.floor({0})", math.floor, ZERO1),
    ScalarFunction("ceil", 1, "torch.ceil({0})", math.ceil, ZERO1),
    ScalarFunction("round", 1, "torch.round({0})", round, ZERO1),
    # trigonometric and hyperbolic
    ScalarFunction("sin", 1, "torch.sin({0})", _ieee(math.sin), (lambda f, x: f.cos(x),)),
    ScalarFunction("cos", 1, "torch.cos({0})", _ieee(math.cos), (lambda f, x: -f.sin(x),)),
    ScalarFunction("tan", 1, "torch.tan({0})", _ieee(math.tan), (lambda f, x: 1 + f.square(f.tan(x)),)),
    ScalarFunction("asin", 1, "torch.asin({0})", _ieee(math.asin), (lambda f, x: f.rsqrt(1 - f.square(x)),)),
    ScalarFunction("acos", 1, "torch.acos({0})", _ieee(math.acos), (lambda f, x: -f.rsqrt(1 - f.square(x)),)),
    ScalarFunction("atan", 1, "torch.atan({0})", math.atan, (lambda f, x: 1 / (1 + f.square(x)),)),
    ScalarFunction("sinh", 1, "torch.sinh({0})", lambda x: math.copysign(_ieee(math.sinh)(abs(x)), x), (lambda f, x: f.cosh(x),)),
    ScalarFunction("cosh", 1, "torch.cosh({0})", _ieee(math.cosh), (lambda f, x: f.sinh(x),)),
    ScalarFunction("tanh", 1, "torch.tanh({0})", math.tanh, (lambda f, x: 1 - f.square(f.tanh(x)),)),
    ScalarFunction("asinh", 1, "torch.asinh({0})", math.asinh, (lambda f, x: f.rsqrt(1 + f.square(x)),)),
    # sigmoidal and special
    ScalarFunction("sigmoid", 1, "torch.sigmoid({0})", _sigmoid, (lambda f, x: f.sigmoid(x) * (1 - f.sigmoid(x)),)),
    ScalarFunction("logsigmoid", 1, "F.logsigmoid({0})", lambda x: -_softplus(-x), (lambda f, x: f.sigmoid(-x),)),
    ScalarFunction("softplus", 1, "F.softplus({0})", _softplus, (lambda f, x: f.sigmoid(x),)),
    ScalarFunction("erf", 1, "torch.erf({0})", math.erf, (lambda f, x: 2 / math.sqrt(math.pi) * f.exp(-f.square(x)),)),
    ScalarFunction("erfc", 1, "torch.erfc({0})", math.erfc, (lambda f, x: -2 / math.sqrt(math.pi) * f.exp(-f.square(x)),)),
    ScalarFunction("lgamma", 1, "torch.lgamma({0})", _ieee(math.lgamma, domain=math.inf), (lambda f, x: f.digamma(x),)),
    ScalarFunction("digamma", 1, "torch.digamma({0})", _digamma),
    # complex values: shapes and text only; torch differentiates them
    ScalarFunction("real", 1, "torch.real({0})", lambda z: complex(z).real),
    ScalarFunction("imag", 1, "torch.imag({0})", lambda z: complex(z).imag),
    ScalarFunction("conj", 1, "torch.conj({0}).resolve_conj()", lambda z: complex(z).conjugate()),
    ScalarFunction("angle", 1, "torch.angle({0})", lambda z: cmath.phase(complex(z))),
    ScalarFunction("complex", 2, "torch.complex({0}, {1})", complex),
)  # fmt: skip

FUNCTIONS: dict[str, ScalarFunction] = {row.name: row for row in _ROWS}

# Functions a spec may call by name in an act; the operators' rows are reached through + - * / and the like.
OPERATOR_ROWS = frozenset(
    ("add", "sub", "mul", "div", "pow", "neg", "eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "mod", "floordiv")
)
CALLABLE = frozenset(FUNCTIONS) - OPERATOR_ROWS

CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "inf": math.inf}
