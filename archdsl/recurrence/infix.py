"""Expressions in the notation of a textbook: infix, with the parentheses that are needed and no others."""

from __future__ import annotations

from collections.abc import Callable

from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, order
from archdsl.graph.functions import CALL, CHOICE, COMPARE, FUNCTIONS, LOGIC, NEGATE, POWER, PRODUCT, SUM

INDICES = frozenset("ijk")


def infix(root: Expr, name: Callable[[str], str] | None = None) -> str:
    """One line. name: how an access is written; by default as it stands, a number without axes without its brackets."""
    texts: dict[Expr, tuple[str, int]] = {}
    for node in order(root):
        texts[node] = _text(node, texts, name or _plain)
    return texts[root][0]


def _plain(access: str) -> str:
    name = access.removesuffix("[]")
    return access if name in INDICES else name  # an input may be called i


def _text(node: Expr, texts: dict[Expr, tuple[str, int]], name: Callable[[str], str]) -> tuple[str, int]:
    if isinstance(node, Const):
        return number(node.value)
    if isinstance(node, Var):
        return name(node.name), CALL
    if isinstance(node, Custom):
        return texts[node.value]
    assert isinstance(node, Apply)
    row = FUNCTIONS[node.function]
    if not row.written:
        return f"{node.function}({', '.join(texts[a][0] for a in node.args)})", CALL
    level = row.level if row.binds is None else row.binds
    first = texts[node.args[0]]
    if node.function == "neg" and first[1] == PRODUCT and not first[0].startswith("-"):
        return f"-{first[0]}", PRODUCT
    joined = [
        texts[a][0] if _joins(node, a) and not texts[a][0].startswith("-") else _fitted(texts[a], level, i) for i, a in enumerate(node.args)
    ]
    return row.written.format(*joined), level


def _joins(node: Apply, arg: Expr) -> bool:
    """a + (b - c) and a * (b * c) read the same without their parentheses."""
    inside = {"add": ("add", "sub"), "mul": ("mul",)}.get(node.function, ())
    return isinstance(arg, Apply) and arg.function in inside


def _fitted(text: tuple[str, int], level: int, index: int) -> str:
    own = text[1]
    if level == CHOICE:
        fits = own > CHOICE or index == 2
    elif level in (LOGIC, COMPARE):
        fits = own > level
    elif level == NEGATE:
        fits = own > NEGATE
    elif level == POWER:
        fits = own > POWER or (index == 1 and own == NEGATE)
    else:
        fits = (own > level and not (index and text[0].startswith("-"))) or (index == 0 and own == level and level in (SUM, PRODUCT))
    return text[0] if fits else f"({text[0]})"


def number(value: complex | float) -> tuple[str, int]:
    """A number's text, to six digits, and how tightly it binds."""
    if isinstance(value, complex):
        return f"{value:.6g}", SUM
    shown = repr(value) if len(repr(value)) < 10 else f"{value:.6g}"
    return shown, (NEGATE if shown.startswith("-") else CALL)
