"""The table's functions, and numbers, as C over `real`."""

from __future__ import annotations

from typing import Any

from archdsl.graph.functions import FUNCTIONS, Refused


class NoC(ValueError):
    """A function, or a derivative, that has no C form here; the reason says why."""


def function(name: str, args: list[str]) -> str:
    """C for a function of the table over atoms. Raises NoC."""
    text = FUNCTIONS[name].c
    if isinstance(text, Refused):
        raise NoC(f"`{name}` has no C form: {text.reason}")
    return text.format(*args)


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
