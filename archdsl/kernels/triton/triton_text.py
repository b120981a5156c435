"""The table's functions, and numbers, as Triton over blocks, beside c_text.py. The `m_` functions are in functions.py."""

from __future__ import annotations

from archdsl.graph.expressions import Const, Expr
from archdsl.graph.functions import FUNCTIONS, Refused

_SMALL_POWER = 8


class NoTriton(ValueError):
    """A step, or a function, that has no Triton form here; the reason says why."""


def function(name: str, args: list[str], nodes: tuple[Expr, ...]) -> str:
    """Triton for a function of the table over names of blocks. Raises NoTriton."""
    if name == "pow" and isinstance(nodes[1], Const) and isinstance(nodes[1].value, int) and 0 < nodes[1].value <= _SMALL_POWER:
        return " * ".join([args[0]] * nodes[1].value)
    text = FUNCTIONS[name].triton
    if isinstance(text, Refused):
        raise NoTriton(f"`{name}` has no Triton form: {text.reason}")
    return text.format(*args)


def constant(node: Const) -> str:
    """A number as a scalar of the kernel's dtype. Raises NoTriton for complex ones."""
    if isinstance(node.value, complex):
        raise NoTriton("complex numbers have no Triton form here")
    number = float(node.value)
    finite = number == number and number not in (float("inf"), float("-inf"))
    text = repr(number) if finite else f'float("{number}")'
    return f"tl.full((), {text}, DT)"
