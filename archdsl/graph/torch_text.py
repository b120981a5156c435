"""Expressions as readable torch source: shared parts become named lines, parentheses only where needed.

The text keeps the dtype of its inputs (bfloat16 stays bfloat16): numbers are written as Python scalars, and truth values are cast to the
dtype of a named reference tensor. It uses `torch` and `F` (torch.nn.functional).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from archdsl.graph.expressions import ONE, ZERO, Apply, Const, Custom, Expr, Var, order
from archdsl.graph.functions import CALL, FUNCTIONS, NEGATE, POWER, PRODUCT, SUM

LONGEST = 110  # characters of one expression before a part gets a line of its own


def to_torch(
    roots: Sequence[Expr], names: Mapping[str, str], like: str | None = None, taken: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Assignment lines, and the source of each root after them.

    names: source of each input (an atom: a name or attribute). like: a tensor whose dtype truth values take and whose shape a constant
    result takes; the first name by default. taken: local names that must not be reused.
    """
    reference = like or next(iter(names.values()), "x")
    writer = _Writer(names, reference, {*taken, *names.values()})
    return writer.write([_plain(r) for r in roots])


def _plain(node: Expr) -> Expr:
    while isinstance(node, Custom):
        node = node.value
    return node


class _Writer:
    def __init__(self, names: Mapping[str, str], like: str, taken: set[str]):
        self.names = names
        self.like = like
        self.taken = taken
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}
        self.texts: dict[Expr, tuple[str, int]] = {}

    def write(self, roots: list[Expr]) -> tuple[list[str], list[str]]:
        nodes = [n for n in order(*roots) if not isinstance(n, Custom)]
        skipped = {_plain(n.args[0]) for n in nodes if self._clamp(n) is not None and isinstance(n, Apply)}
        uses: dict[Expr, int] = {}
        for node in nodes:
            for arg in node.args:
                uses[_plain(arg)] = uses.get(_plain(arg), 0) + 1
        for root in roots:
            uses[root] = uses.get(root, 0) + 1
        for node in nodes:
            self.texts[node] = self._text(node)
            worthy = uses[node] > 1 or (len(self.texts[node][0]) > LONGEST and node not in skipped)
            if isinstance(node, Apply) and worthy and node not in roots:
                self._hoist(node)
        return self.lines, [self._root(r) for r in roots]

    def _root(self, node: Expr) -> str:
        if isinstance(node, Const):
            return f"torch.full_like({self.like}, {_number(node.value)[0]})"
        text, level = self.texts[node]
        if node.is_bool:
            return f"({text}).to({self.like}.dtype)" if level < CALL else f"{text}.to({self.like}.dtype)"
        return text

    def _hoist(self, node: Apply) -> None:
        base = FUNCTIONS[node.function].noun or node.function
        first = _plain(node.args[0])
        if isinstance(first, Var) and len(node.args) == 1 and self.names[first.name].isidentifier():
            base = f"{base}_{self.names[first.name]}"
        name, n = base, self.counts.get(base, 1)
        while name in self.taken:
            n += 1
            name = f"{base}{n}"
        self.counts[base] = n
        self.taken.add(name)
        self.lines.append(f"{name} = {self.texts[node][0]}")
        self.texts[node] = (name, CALL)

    def _text(self, node: Expr) -> tuple[str, int]:
        if isinstance(node, Const):
            return _number(node.value)
        if isinstance(node, Var):
            return self.names[node.name], CALL
        assert isinstance(node, Apply)
        args = [_plain(a) for a in node.args]
        special = self._clamp(node) or self._choice(node, args)
        if special:
            return special, CALL
        row = FUNCTIONS[node.function]
        texts = [self._fitted(a, row.level, i) for i, a in enumerate(args)]
        level = PRODUCT if node.function == "neg" and self.texts[args[0]][1] == PRODUCT else row.level
        return row.torch.format(*texts), level

    def _fitted(self, arg: Expr, level: int, index: int) -> str:
        """An argument's text, in parentheses if the place binds tighter."""
        text, own = self.texts[arg]
        if level == CALL:
            return text
        if level == NEGATE:
            fits = own >= PRODUCT and not text.startswith("-")
        elif level == POWER:
            fits = own > POWER if index == 0 else own >= NEGATE
        else:
            fits = own > level or (index == 0 and own == level and level in (SUM, PRODUCT))
        return text if fits else f"({text})"

    def _choice(self, node: Apply, args: list[Expr]) -> str | None:
        """A choice between two numbers has no dtype of its own, and would round them to float32: one of them gives it."""
        if node.function != "where" or not (isinstance(args[1], Const) and isinstance(args[2], Const)):
            return None
        text, level = self.texts[args[0]]
        if args[1] is ONE and args[2] is ZERO:
            return f"{text}.to({self.like}.dtype)" if level == CALL else f"({text}).to({self.like}.dtype)"
        then, otherwise = _number(args[1].value)[0], _number(args[2].value)[0]
        if exact_choice(args[1].value, args[2].value):
            return f"torch.where({text}, {then}, {otherwise}).to({self.like}.dtype)"
        return f"torch.where({text}, {then}, {self.like}.new_full((), {otherwise}))"

    def _clamp(self, node: Expr) -> str | None:
        """max or min with a number, or both."""
        if not isinstance(node, Apply) or node.function not in ("max", "min") or not isinstance(node.args[1], Const):
            return None
        bound = node.args[1].value
        inner = _plain(node.args[0])
        other = "min" if node.function == "max" else "max"
        if isinstance(inner, Apply) and inner.function == other and isinstance(inner.args[1], Const):
            low, high = (bound, inner.args[1].value) if node.function == "max" else (inner.args[1].value, bound)
            if not isinstance(low, complex) and not isinstance(high, complex) and low <= high:
                x = self.texts.get(_plain(inner.args[0]), ("", CALL))[0]
                return f"torch.clamp({x}, {_number(low)[0]}, {_number(high)[0]})"
        x = self.texts.get(inner, ("", CALL))[0]
        if node.function == "max" and bound == 0:
            return f"torch.relu({x})"
        return f"torch.clamp({x}, {'min' if node.function == 'max' else 'max'}={_number(bound)[0]})"


def exact_choice(*numbers: Any) -> bool:
    """Whether a choice between plain numbers keeps them: torch makes it in int64 or else in float32, whatever dtype is wanted afterwards."""
    if not any(isinstance(n, float) for n in numbers):
        return True
    try:
        return all(struct.unpack("f", struct.pack("f", n))[0] == n for n in numbers if isinstance(n, (int, float)))
    except OverflowError:
        return False


def _number(value: int | float | complex) -> tuple[str, int]:
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")', CALL
    text = repr(value)
    return text, (NEGATE if text.startswith("-") else CALL)
