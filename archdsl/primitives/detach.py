"""Where gradients stop."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Node, TensorType
from archdsl.primitives.base import Primitive, Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.text import method
from archdsl.primitives.traits import Elementwise, KeepsNothing


class Detach(KeepsNothing, Elementwise[Attrs]):
    """x -> x, as a constant for the backward pass."""

    name = "detach"
    doc = "The value itself; backward nothing passes. Rounds of a loop before it are run, not learned from."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        return [use.types[0]]

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        return method(args[0], "detach")


PRIMITIVES: tuple[Primitive[Any], ...] = (Detach(),)
