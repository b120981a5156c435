"""What a value of a scan's step is: an expression of its free indices. What is asked of the primitives that make it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Expr
from archdsl.graph.ir import Node, Value

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter

Moves = Literal["", "before", "around"]


class NotElementary(Exception):
    """The step holds an operation that has no index notation (an attention, a convolution): it runs as plain torch."""

    def __init__(self, reason: str, span: Span | None = None) -> None:
        super().__init__(reason)
        self.reason, self.span = reason, span


@dataclass
class Definition:
    """What a value of the region is: an expression of its free indices (i, j, …); `diagonal` marks diag(v), given by its vector."""

    shape: tuple[int, ...]
    body: Expr
    diagonal: bool = False


@dataclass
class Pair:
    """A complex value: its real and its imaginary part."""

    re: Definition
    im: Definition


def sizes_of(value: Value) -> tuple[int, ...]:
    if not all(isinstance(s, int) for s in value.type.sizes):
        raise NotElementary("a size of the step is only known when data arrives")
    return tuple(value.type.sizes)  # type: ignore[arg-type]


class Notation(Protocol):
    """What a primitive says of its use in a scan's step (see archdsl/primitives/base.py). Primitives stand above: their table is handed in."""

    def moves(self, node: Node) -> Moves: ...

    def equations(self, node: Node, c: Converter) -> Definition | list[Definition]: ...

    def complex_equations(self, node: Node, c: Converter) -> list[Definition | Pair]: ...


Table = Mapping[str, Notation]
