"""The one table of scalar functions. A row says all that the project knows of one: value, derivative, torch, C and Triton text, and its traits.

Acts, scans, folding of constants and every writer of code read this table; adding a function is adding a row. Texts are templates that name
arguments by position; this room knows neither torch nor kernels. A derivative rule gets a builder `f` (any function of this table as a
method: `f.exp(x)`) and the arguments, and returns d function / d argument, built with + - * / **: so a kernel's adjoint needs no more
functions than the table has. What a function has not, its row refuses in words.

Not here: identities that make expressions simpler (simplify, recurrence/algebra) and the parts of complex numbers (recurrence/complex_parts).
A function that they do not name loses nothing but the identity.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from archdsl.graph import float_values as values
from archdsl.graph.float_values import ieee

CALL, POWER, NEGATE, PRODUCT, SUM, COMPARE, LOGIC, CHOICE = 10, 5, 4, 3, 2, 1, 0, -1  # precedence, tightest first

Rule = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A column that a function does not have. reason: a clause that a message can end with."""

    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ScalarFunction:
    """One row.

    value: in Python's numbers. rules: a derivative per argument; None where it is zero almost everywhere.
    torch: text of emitted modules, in which numbers may stand for all arguments but one. forms: text inside parallel forms, where that must
    differ: in gradients at a kink, or in float64. c: over `real`, with the functions of kernels/vector_math.h; truth values are ints.
    triton: over blocks, with `zero`, `one` and the functions of kernels/triton/functions.py. written: in the language, if not as a call.
    level, binds: precedence of the torch text, and of the written one where it is another.
    result, takes: kinds of the value and of the arguments (`where` takes a bool, then numbers). ints: whether the value of ints is an int.
    complexes: whether torch defines it for complex arguments. named: whether a spec calls it by name. noun: what its value is called in
    emitted text. parity, commutes: f(-x) is f(x) or -f(x); arguments may change places. rising, low, high: monotony and range.
    sides: an expression of the arguments that changes sign where the function has a kink or a step. cheap: worked out again rather than
    kept. vector: its C text also takes vectors of the compiler.
    """

    name: str
    arity: int
    value: Callable[..., Any]
    rules: tuple[Rule | None, ...] | Refused
    torch: str
    c: str | Refused
    triton: str | Refused
    forms: str = ""
    written: str = ""
    level: int = CALL
    binds: int | None = None
    result: Literal["number", "bool", "real", "complex"] = "number"
    takes: Literal["number", "bool", "where"] = "number"
    ints: bool = False
    complexes: bool = True
    named: bool = True
    noun: str = ""
    parity: Literal["", "odd", "even"] = ""
    commutes: bool = False
    rising: bool = False
    low: float = -math.inf
    high: float = math.inf
    sides: Rule | None = None
    cheap: bool = False
    vector: bool = False

    @property
    def sign(self) -> str:
        """The operator between two arguments; empty if there is none."""
        return self.written.removeprefix("{0} ").removesuffix(" {1}") if self.arity == 2 else ""


def _operator(name: str, sign: str, value: Callable[..., Any], rules: tuple[Rule | None, ...], level: int, **more: Any) -> ScalarFunction:
    """Two arguments with the same sign between them in every language that `more` does not name."""
    text = f"{{0}} {sign} {{1}}"
    columns = {"torch": text, "c": text, "triton": text, "written": text, "level": level, "named": False, **more}
    return ScalarFunction(name, 2, value, rules, **columns)


def _compares(name: str, sign: str, value: Callable[..., Any], **more: Any) -> ScalarFunction:
    traits: dict[str, Any] = {"result": "bool", "noun": "mask", "low": 0, "high": 1, "sides": _difference, "complexes": False, **more}
    return _operator(name, sign, value, ZERO2, COMPARE, **traits)


def _function(name: str, value: Callable[..., Any], slope: Rule | Refused | None, c: Any, triton: Any, **more: Any) -> ScalarFunction:
    """One argument; torch has it under the same name unless `more` says otherwise."""
    rules = slope if isinstance(slope, Refused) else (slope,)
    return ScalarFunction(name, 1, value, rules, **{"torch": f"torch.{name}({{0}})", "c": c, "triton": triton, **more})


def _complex(name: str, arity: int, value: Callable[..., Any], torch: str, **more: Any) -> ScalarFunction:
    no = Refused("complex values are real and imaginary parts there")
    return ScalarFunction(name, arity, value, Refused("torch differentiates complex values"), torch, no, no, **more)


def _difference(f: Any, a: Any, b: Any) -> Any:
    return a - b


def _waves(f: Any, x: Any) -> Any:
    """Changes sign at whole numbers."""
    return f.sin(math.pi * x)


ZERO1: tuple[None] = (None,)
ZERO2: tuple[None, None] = (None, None)
_ERF_SLOPE = 2 / math.sqrt(math.pi)  # of erf at 0

_ROWS = (
    # arithmetic
    _operator(
        "add", "+", lambda a, b: a + b, (lambda f, a, b: f.one, lambda f, a, b: f.one), SUM,
        ints=True, noun="total", commutes=True, cheap=True, vector=True,
    ),
    _operator(
        "sub", "-", lambda a, b: a - b, (lambda f, a, b: f.one, lambda f, a, b: -f.one), SUM,
        ints=True, noun="difference", cheap=True, vector=True,
    ),
    _operator(
        "mul", "*", lambda a, b: a * b, (lambda f, a, b: b, lambda f, a, b: a), PRODUCT,
        ints=True, noun="product", commutes=True, cheap=True, vector=True,
    ),
    _operator("div", "/", values.div, (lambda f, a, b: 1 / b, lambda f, a, b: -(a / b) / b), PRODUCT, noun="ratio", vector=True),
    _operator(
        "pow", "**", values.power,
        (
            lambda f, a, b: f.where(f.eq(b, 0), 0, b * a ** (b - 1)),
            lambda f, a, b: f.where(f.and_(f.eq(a, 0), f.ge(b, 0)), 0, a**b * f.log(a)),
        ),
        POWER, c="R(pow({0}, {1}))", triton="m_pow({0}, {1})", noun="power",
    ),
    _function(
        "neg", lambda a: -a, lambda f, a: -f.one, "-{0}", "-{0}",
        torch="-{0}", written="-{0}", level=NEGATE, named=False, ints=True, noun="minus", cheap=True, vector=True,
    ),
    _function(
        "square", lambda a: a * a, lambda f, a: 2 * a, "{0} * {0}", "{0} * {0}",
        torch="{0} ** 2", forms="{0} * {0}", written="{0} ** 2", level=POWER, ints=True, parity="even", cheap=True,
    ),
    _function(
        "reciprocal", lambda a: values.div(1, a), lambda f, a: -1 / f.square(a), "R(1) / {0}", "one / {0}",
        torch="1 / {0}", written="1 / {0}", level=PRODUCT,
    ),
    _operator(
        "floordiv", "//", values.floordiv, ZERO2, CALL, torch="torch.floor({0} / {1})", c="m_floor({0} / {1})",
        triton="m_floordiv({0}, {1})", binds=PRODUCT, ints=True, complexes=False, sides=lambda f, a, b: _waves(f, a / b),
    ),
    _operator(
        "mod", "%", values.mod, (lambda f, a, b: f.one, lambda f, a, b: -f.floor(a / b)), CALL, torch="torch.remainder({0}, {1})",
        c="m_mod({0}, {1})", triton="m_mod({0}, {1})", binds=PRODUCT, ints=True, complexes=False, sides=lambda f, a, b: _waves(f, a / b),
    ),
    # comparison, logic, choice
    _compares("eq", "==", lambda a, b: a == b, commutes=True, complexes=True, sides=None),
    _compares("ne", "!=", lambda a, b: a != b, commutes=True, complexes=True, sides=None),
    _compares("lt", "<", lambda a, b: a < b),
    _compares("le", "<=", lambda a, b: a <= b),
    _compares("gt", ">", lambda a, b: a > b),
    _compares("ge", ">=", lambda a, b: a >= b),
    _operator(
        "and_", "and", lambda a, b: bool(a and b), ZERO2, CALL, torch="torch.logical_and({0}, {1})", c="{0} & {1}", triton="{0} & {1}",
        binds=LOGIC, result="bool", takes="bool", noun="mask", commutes=True, low=0, high=1,
    ),
    _operator(
        "or_", "or", lambda a, b: bool(a or b), ZERO2, CALL, torch="torch.logical_or({0}, {1})", c="{0} | {1}", triton="{0} | {1}",
        binds=LOGIC, result="bool", takes="bool", noun="mask", commutes=True, low=0, high=1,
    ),
    _function(
        "not_", lambda a: not a, None, "!{0}", "{0} == 0", torch="torch.logical_not({0})", written="not {0}",
        binds=LOGIC, result="bool", takes="bool", named=False, noun="mask", low=0, high=1,
    ),
    ScalarFunction(
        "where", 3, lambda c, a, b: a if c else b, (None, lambda f, c, a, b: f.where(c, 1, 0), lambda f, c, a, b: f.where(c, 0, 1)),
        "torch.where({0}, {1}, {2})", "{0} ? {1} : {2}", "tl.where({0}, {1}, {2})",
        written="if {0} then {1} else {2}", binds=CHOICE, takes="where", noun="chosen",
    ),
    ScalarFunction(
        "max", 2, values.larger, (lambda f, a, b: f.where(f.gt(a, b), 1, 0), lambda f, a, b: f.where(f.gt(a, b), 0, 1)),
        "torch.maximum({0}, {1})", "m_max({0}, {1})", "m_max({0}, {1})",
        forms="larger({0}, {1})", ints=True, complexes=False, noun="upper", commutes=True, sides=_difference,
    ),
    ScalarFunction(
        "min", 2, values.smaller, (lambda f, a, b: f.where(f.lt(a, b), 1, 0), lambda f, a, b: f.where(f.lt(a, b), 0, 1)),
        "torch.minimum({0}, {1})", "m_min({0}, {1})", "m_min({0}, {1})",
        forms="smaller({0}, {1})", ints=True, complexes=False, noun="lower", commutes=True, sides=_difference,
    ),
    # powers, exponentials, logarithms
    _function("exp", ieee("exp"), lambda f, x: f.exp(x), "m_exp({0})", "tl.exp({0})", rising=True, low=0),
    _function("expm1", ieee("expm1"), lambda f, x: f.exp(x), "m_expm1({0})", "m_expm1({0})", rising=True, low=-1),
    _function("log", values.log, lambda f, x: 1 / x, "m_log({0})", "tl.log({0})", rising=True),
    _function("log1p", values.log1p, lambda f, x: 1 / (1 + x), "m_log1p({0})", "m_log1p({0})", rising=True),
    _function("sqrt", ieee("sqrt"), lambda f, x: 0.5 * f.rsqrt(x), "m_sqrt({0})", "tl.sqrt({0})", rising=True, low=0),
    _function("rsqrt", values.rsqrt, lambda f, x: -0.5 * f.rsqrt(x) / x, "R(1) / m_sqrt({0})", "one / tl.sqrt({0})", low=0),
    # signs and steps
    _function(
        "abs", abs, lambda f, x: f.sign(x), "m_abs({0})", "tl.abs({0})", ints=True, noun="magnitude", parity="even", low=0,
        sides=lambda f, x: x,
    ),
    _function(
        "sign", values.sign, None, "m_sign({0})", "m_sign({0})", ints=True, complexes=False, parity="odd", low=-1, high=1,
        sides=lambda f, x: x,
    ),
    _function("floor", values.floor, None, "m_floor({0})", "tl.floor({0})", ints=True, complexes=False, rising=True, sides=_waves),
    _function("ceil", values.ceil, None, "m_ceil({0})", "tl.ceil({0})", ints=True, complexes=False, rising=True, sides=_waves),
    _function(
        "round", values.nearest, None, "m_round({0})", "m_round({0})", ints=True, complexes=False, noun="rounded", rising=True,
        sides=lambda f, x: _waves(f, x + 0.5),
    ),
    # trigonometric and hyperbolic
    _function("sin", ieee("sin"), lambda f, x: f.cos(x), "R(sin({0}))", "tl.sin({0})", parity="odd", low=-1, high=1),
    _function("cos", ieee("cos"), lambda f, x: -f.sin(x), "R(cos({0}))", "tl.cos({0})", parity="even", low=-1, high=1),
    _function("tan", ieee("tan"), lambda f, x: 1 + f.square(f.tan(x)), "R(tan({0}))", "tl.sin({0}) / tl.cos({0})", parity="odd"),
    _function(
        "asin", ieee("asin"), lambda f, x: f.rsqrt(1 - f.square(x)), "R(asin({0}))", "m_asin({0})",
        parity="odd", rising=True, low=-math.pi / 2, high=math.pi / 2,
    ),
    _function("acos", ieee("acos"), lambda f, x: -f.rsqrt(1 - f.square(x)), "R(acos({0}))", "m_acos({0})", low=0, high=math.pi),
    _function("atan", ieee("atan"), lambda f, x: 1 / (1 + f.square(x)), "R(atan({0}))", "m_atan({0})", parity="odd", rising=True),
    _function("sinh", values.sinh, lambda f, x: f.cosh(x), "m_sinh({0})", "m_sinh({0})", parity="odd", rising=True),
    _function("cosh", ieee("cosh"), lambda f, x: f.sinh(x), "m_cosh({0})", "m_cosh({0})", parity="even", low=1),
    _function("tanh", ieee("tanh"), lambda f, x: 1 - f.square(f.tanh(x)), "m_tanh({0})", "m_tanh({0})", parity="odd", rising=True),
    _function("asinh", ieee("asinh"), lambda f, x: f.rsqrt(1 + f.square(x)), "R(asinh({0}))", "m_asinh({0})", parity="odd", rising=True),
    # sigmoidal and special
    _function(
        "sigmoid", values.sigmoid, lambda f, x: f.sigmoid(x) * (1 - f.sigmoid(x)), "m_sigmoid({0})", "m_sigmoid({0})", rising=True,
    ),
    _function(
        "logsigmoid", lambda x: -values.softplus(-x), lambda f, x: f.sigmoid(-x), "m_logsigmoid({0})", "-m_softplus(-{0})",
        torch="F.logsigmoid({0})", complexes=False, rising=True,
    ),
    _function(  # torch's is the identity above its threshold of 20, which float64 can see
        "softplus", values.softplus, lambda f, x: f.sigmoid(x), "m_softplus({0})", "m_softplus({0})",
        torch="F.softplus({0})", forms="F.softplus({0}, threshold=40.0)", complexes=False, rising=True,
    ),
    _function(
        "erf", ieee("erf"), lambda f, x: _ERF_SLOPE * f.exp(-f.square(x)), "m_erf({0})", "tl.erf({0})",
        complexes=False, parity="odd", rising=True,
    ),
    _function(
        "erfc", ieee("erfc"), lambda f, x: -_ERF_SLOPE * f.exp(-f.square(x)), "m_erfc({0})", "m_erfc({0})", complexes=False, low=0, high=2,
    ),
    _function("lgamma", ieee("lgamma", domain=math.inf), lambda f, x: f.digamma(x), "R(lgamma({0}))", "m_lgamma({0})", complexes=False),
    _function("digamma", values.digamma, lambda f, x: f.trigamma(x), "m_digamma({0})", "m_digamma({0})", complexes=False),
    _function(
        "trigamma", values.trigamma, Refused("the table ends with the second derivative of lgamma"), "m_trigamma({0})", "m_trigamma({0})",
        torch="torch.special.polygamma(1, {0})", complexes=False, low=0,
    ),
    # complex values
    _complex("real", 1, lambda z: complex(z).real, "torch.real({0})", result="real"),
    _complex("imag", 1, lambda z: complex(z).imag, "torch.imag({0})", result="real"),
    _complex("conj", 1, lambda z: complex(z).conjugate(), "torch.conj({0}).resolve_conj()", forms="torch.conj_physical({0})"),
    _complex("angle", 1, lambda z: cmath.phase(complex(z)), "torch.angle({0})", result="real"),
    _complex("complex", 2, complex, "torch.complex({0}, {1})", result="complex", complexes=False, noun="joined"),
)  # fmt: skip

FUNCTIONS: dict[str, ScalarFunction] = {row.name: row for row in _ROWS}

OPERATORS = {row.sign: row.name for row in _ROWS if row.sign}  # the sign between two operands -> the function

CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e, "inf": math.inf}
