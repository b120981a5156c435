"""Scalar functions as Triton, beside c_text.py: the same table, over blocks. The `m_` functions are in functions.py."""

from __future__ import annotations

from archdsl.graph.expressions import Const, Expr

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_CALLS = {
    "neg": "-{0}",
    "square": "{0} * {0}",
    "reciprocal": "one / {0}",
    "floordiv": "tl.floor({0} / {1})",
    "mod": "({0} - tl.floor({0} / {1}) * {1})",
    "and_": "{0} & {1}",
    "or_": "{0} | {1}",
    "not_": "{0} == 0",
    "where": "tl.where({0}, {1}, {2})",
    "max": "tl.maximum({0}, {1})",
    "min": "tl.minimum({0}, {1})",
    "exp": "tl.exp({0})",
    "expm1": "m_expm1({0})",
    "log": "tl.log({0})",
    "log1p": "m_log1p({0})",
    "sqrt": "tl.sqrt({0})",
    "rsqrt": "one / tl.sqrt({0})",
    "abs": "tl.abs({0})",
    "sign": "m_sign({0})",
    "floor": "tl.floor({0})",
    "ceil": "tl.ceil({0})",
    "round": "m_round({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "tan": "tl.sin({0}) / tl.cos({0})",
    "sinh": "m_sinh({0})",
    "cosh": "m_cosh({0})",
    "tanh": "m_tanh({0})",
    "asinh": "m_asinh({0})",
    "sigmoid": "m_sigmoid({0})",
    "logsigmoid": "-m_softplus(-{0})",
    "softplus": "m_softplus({0})",
    "erf": "tl.erf({0})",
    "erfc": "one - tl.erf({0})",
    "pow": "m_pow({0}, {1})",
}
_SMALL_POWER = 8


class NoTriton(ValueError):
    """A step, or a function, that has no Triton form here; the reason says why."""


def function(name: str, args: list[str], nodes: tuple[Expr, ...]) -> str:
    """Triton for a function of the table over names of blocks. Raises NoTriton."""
    if name in _INFIX:
        return f"{args[0]} {_INFIX[name]} {args[1]}"
    if name == "pow" and isinstance(nodes[1], Const) and isinstance(nodes[1].value, int) and 0 < nodes[1].value <= _SMALL_POWER:
        return " * ".join([args[0]] * nodes[1].value)
    if name not in _CALLS:
        raise NoTriton(f"`{name}` has no Triton form")
    return _CALLS[name].format(*args)


def constant(node: Const) -> str:
    """A number as a scalar of the kernel's dtype. Raises NoTriton for complex ones."""
    if isinstance(node.value, complex):
        raise NoTriton("complex numbers have no Triton form here")
    number = float(node.value)
    finite = number == number and number not in (float("inf"), float("-inf"))
    text = repr(number) if finite else f'float("{number}")'
    return f"tl.full((), {text}, DT)"
