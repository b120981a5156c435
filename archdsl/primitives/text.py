"""Pieces of Python source: their trees, and how they are put together: parentheses where they are needed, and only there."""

from __future__ import annotations

import ast
import threading
from functools import lru_cache

OR, AND, NOT, COMPARE, BIT_OR, BIT_AND, ADD, MULTIPLY, NEGATE, POWER, ATOM = range(11)

_OPERATORS: dict[type[ast.operator], int] = {
    ast.Add: ADD,
    ast.Sub: ADD,
    ast.Mult: MULTIPLY,
    ast.Div: MULTIPLY,
    ast.FloorDiv: MULTIPLY,
    ast.Mod: MULTIPLY,
    ast.MatMult: MULTIPLY,
    ast.Pow: POWER,
    ast.BitAnd: BIT_AND,
    ast.BitOr: BIT_OR,
    ast.BitXor: BIT_OR,
}

_parsing = threading.RLock()  # CPython 3.11 and 3.12 count the depth of trees being made for all threads together, and fail where two make one


def module_tree(text: str) -> ast.Module:
    """The tree of a piece of Python source: `ast.parse`, which only one thread may be in. Raises SyntaxError."""
    with _parsing:
        return ast.parse(text)


def expression_tree(text: str) -> ast.expr:
    """The tree of one Python expression. Raises SyntaxError."""
    with _parsing:
        return ast.parse(text, mode="eval").body


@lru_cache(maxsize=4096)
def binding(text: str) -> int:
    """How tightly the outermost operator of a piece of source binds; ATOM for names, calls, subscripts and the like."""
    node = expression_tree(text)
    if isinstance(node, ast.BinOp):
        return _OPERATORS.get(type(node.op), OR)
    if isinstance(node, ast.UnaryOp):
        return NOT if isinstance(node.op, ast.Not) else NEGATE
    if isinstance(node, ast.BoolOp):
        return AND if isinstance(node.op, ast.And) else OR
    if isinstance(node, ast.Compare):
        return COMPARE
    if isinstance(node, ast.IfExp | ast.Lambda | ast.Starred):
        return OR
    if isinstance(node, ast.Tuple) and not text.startswith("("):
        return OR
    return ATOM


def operand(text: str, level: int) -> str:
    """The source, in parentheses if its outermost operator binds less tightly than `level`."""
    return text if binding(text) >= level else f"({text})"


def atom(text: str) -> str:
    """The source, fit to be followed by `.method()` or `[…]`."""
    if binding(text) < ATOM or text[0].isdigit():
        return f"({text})"
    return text


def call(target: str, *arguments: str, **named: str) -> str:
    """`target(a, b, name=c)`."""
    parts = [*arguments, *(f"{name}={value}" for name, value in named.items())]
    return f"{target}({', '.join(parts)})"


def method(target: str, name: str, *arguments: str, **named: str) -> str:
    """`target.name(a, b)`, the target in parentheses if it needs them."""
    return call(f"{atom(target)}.{name}", *arguments, **named)
