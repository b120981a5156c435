"""What a value of a scan's step is: an expression of its free indices."""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Expr
from archdsl.graph.ir import Value


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
