"""Scalar functions as C over `real`, with the functions of vector_math.h where a loop over them should become vector code."""

from __future__ import annotations

from typing import Any

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CALLS = {
    "neg": "-{0}",
    "square": "{0} * {0}",
    "reciprocal": "R(1) / {0}",
    "floordiv": "m_floor({0} / {1})",
    "mod": "({0} - m_floor({0} / {1}) * {1})",
    "and_": "{0} & {1}",
    "or_": "{0} | {1}",
    "not_": "!{0}",
    "where": "{0} ? {1} : {2}",
    "max": "m_max({0}, {1})",
    "min": "m_min({0}, {1})",
    "exp": "m_exp({0})",
    "expm1": "m_expm1({0})",
    "log": "m_log({0})",
    "log1p": "m_log1p({0})",
    "sqrt": "m_sqrt({0})",
    "rsqrt": "R(1) / m_sqrt({0})",
    "abs": "m_abs({0})",
    "sign": "m_sign({0})",
    "floor": "m_floor({0})",
    "ceil": "m_ceil({0})",
    "round": "m_round({0})",
    "sin": "R(sin({0}))",
    "cos": "R(cos({0}))",
    "tan": "R(tan({0}))",
    "asin": "R(asin({0}))",
    "acos": "R(acos({0}))",
    "atan": "R(atan({0}))",
    "sinh": "m_sinh({0})",
    "cosh": "m_cosh({0})",
    "tanh": "m_tanh({0})",
    "asinh": "R(asinh({0}))",
    "sigmoid": "m_sigmoid({0})",
    "logsigmoid": "m_logsigmoid({0})",
    "softplus": "m_softplus({0})",
    "erf": "m_erf({0})",
    "erfc": "m_erfc({0})",
    "lgamma": "R(lgamma({0}))",
    "pow": "R(pow({0}, {1}))",
}


class NoC(ValueError):
    """A function that has no C form here (complex numbers, digamma)."""


def function(name: str, args: list[str]) -> str:
    """C for a function of the table over atoms. Raises NoC."""
    if name in _INFIX:
        return f"{args[0]} {_INFIX[name]} {args[1]}"
    if name not in _CALLS:
        raise NoC(f"`{name}` has no C form")
    return _CALLS[name].format(*args)


def constant(value: Any) -> str:
    """A number as C. Raises NoC for complex ones."""
    if isinstance(value, complex):
        raise NoC("complex numbers have no C form here")
    number = float(value)
    if number != number:
        return "R(NAN)"
    if number in (float("inf"), float("-inf")):
        return "R(INFINITY)" if number > 0 else "R(-INFINITY)"
    return f"R({number!r})"
