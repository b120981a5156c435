"""Axis patterns in einops' notation (Rogozhnikov, 2022), without the batch axis.

`t (h c) -> h t c` splits and moves; `1` is an axis of size 1, `...` any axes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from archdsl.graph.ir import Attrs, frozen
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives.base import Use, param

MAX_PATTERN = 400
REST = "..."
ONE = "1"
P = TypeVar("P", bound="PatternAttrs")

Group = tuple[str, ...]  # the names merged into one axis; () is an axis of size 1

_TOKEN = re.compile(r"\s*(\.\.\.|…|[()]|[A-Za-z_]\w*|\d+)")


@frozen
class PatternAttrs(Attrs):
    """`named` holds the sizes given by name."""

    pattern: str = param("str")
    named: dict[str, Size] = field(default_factory=dict)


@dataclass(frozen=True)
class Side:
    """One side of an arrow: a group of names for each axis; ("...",) stands for any axes."""

    groups: tuple[Group, ...]

    @property
    def names(self) -> list[str]:
        return [name for group in self.groups for name in group if name != REST]

    @property
    def rest(self) -> int | None:
        """Where `...` stands."""
        return self.groups.index((REST,)) if (REST,) in self.groups else None


def refuse(use: Use[Any], pattern: str, why: str, hint: str = "") -> NoReturn:
    """Stops because a pattern cannot be read or is at odds with itself."""
    use.fail("AD0311", f'{use.primitive.name} cannot use the pattern "{pattern[:80]}"', why, hint=hint)


def text_of(use: Use[P]) -> str:
    """The pattern argument, checked to be a string of sensible length."""
    pattern: Any = use.args.pattern
    if not isinstance(pattern, str):
        use.fail("AD0311", f"{use.primitive.name} needs a pattern in quotes", "not a string", hint='For example "t (h c) -> h t c".')
    if len(pattern) > MAX_PATTERN:
        refuse(use, pattern, f"longer than {MAX_PATTERN} characters")
    return pattern


def sizes_given(use: Use[P], pattern: str) -> dict[str, Size]:
    """The named arguments that give sizes."""
    for name, size in use.args.named.items():
        if isinstance(size, bool) or not isinstance(size, (int, Poly)) or (isinstance(size, int) and size < 1):
            refuse(use, pattern, f"{name} = {size} is not a size", "Sizes are whole numbers of at least 1.")
    return use.args.named


def sides(use: Use[Any], pattern: str) -> tuple[str, str]:
    """The text before and after the one arrow."""
    left, arrow, right = pattern.partition("->")
    if not arrow or "->" in right:
        refuse(use, pattern, "it needs one arrow", 'Write what goes in, an arrow, and what comes out: "t d -> d t".')
    return left, right


def side(use: Use[Any], pattern: str, text: str) -> Side:
    """Reads one side. Names are unique within it, checked by the caller where that matters."""
    groups: list[Group] = []
    inside: list[str] | None = None
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            refuse(use, pattern, f"`{text[at:].strip()[:12]}` is not an axis name", "Axes are names with spaces between; ( ) merges them.")
        at = match.end()
        token = REST if match[1] == "…" else match[1]
        if token == "(":
            if inside is not None:
                refuse(use, pattern, "a bracket inside a bracket")
            inside = []
        elif token == ")":
            if inside is None:
                refuse(use, pattern, "`)` without `(`")
            groups.append(tuple(inside))
            inside = None
        elif token.isdigit() and token != ONE:
            refuse(use, pattern, f"the number {token} is not an axis name", "Only 1 may be written; give other sizes by name, as in h=8.")
        elif token == REST and (inside is not None or (REST,) in groups):
            refuse(use, pattern, "`...` may stand once on a side, outside brackets")
        elif inside is not None:
            if token != ONE:
                inside.append(token)
        else:
            groups.append(() if token == ONE else (token,))
    if inside is not None:
        refuse(use, pattern, "`(` is never closed")
    return Side(tuple(groups))


def unique(use: Use[Any], pattern: str, read: Side) -> None:
    """Requires every name to occur once on a side."""
    for name in read.names:
        if read.names.count(name) > 1:
            refuse(use, pattern, f"the axis `{name}` occurs twice on one side")


def spread(use: Use[Any], pattern: str, read: Side, rank: int) -> list[Group]:
    """The groups of an input of some rank, `...` replaced by names of its own (`..0`, `..1`)."""
    at = read.rest
    written = len(read.groups) - (at is not None)
    if rank < written or (at is None and rank != written):
        more = "at least " if at is not None else ""
        use.fail(
            "AD0312",
            f'{use.primitive.name} "{pattern}" does not fit its input',
            f"the pattern has {more}{written} axes, the input {rank}",
            note="The batch axis is never written.",
        )
    if at is None:
        return list(read.groups)
    filled = [(f"..{i}",) for i in range(rank - written)]
    return [*read.groups[:at], *filled, *read.groups[at + 1 :]]


def refill(read: Side, rest: int) -> list[Group]:
    """The groups of an output, `...` replaced as in `spread`; `rest` is how many axes it stands for."""
    at = read.rest
    if at is None:
        return list(read.groups)
    return [*read.groups[:at], *((f"..{i}",) for i in range(rest)), *read.groups[at + 1 :]]
