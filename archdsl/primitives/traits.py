"""What many primitives have in common, each said by the name of a base. `Primitive` itself assumes nothing of what passes rely on.

- Pure: a function of its inputs. It keeps its outputs for the backward pass and nothing while decoding, and draws no random numbers.
- Uncounted: pure, and without multiply-adds: element-wise work, moves, comparisons. It still says which positions it reads (`time`).
- Elementwise: uncounted, and each position reads the same position only, along every axis of every input.
- KeepsNothing, put before one of these: the backward pass needs none of its outputs (views, masks, indices).
"""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import A, Node
from archdsl.graph.sizes import Size
from archdsl.primitives.base import Primitive, Slot, elements
from archdsl.primitives.reach import SAME, Reach


class Pure(Primitive[A]):
    """A function of its inputs that keeps its outputs for the backward pass. It still says `flops` and `time`."""

    def saved(self, node: Node[A]) -> Size:
        total: Size = 0
        for out in node.outputs:
            total = total + elements(out.type)
        return total

    def slots(self, node: Node[A]) -> list[Slot]:
        return []

    def random(self, node: Node[A]) -> bool:
        return False


class Uncounted(Pure[A]):
    """Pure work without multiply-adds, as torch's own counter sees it. It still says `time`."""

    def flops(self, node: Node[A]) -> Size:
        return 0


class Elementwise(Uncounted[A]):
    """Each position of the output reads the same position of each input, along every axis that goes on in the output."""

    def time(self, node: Node[A], index: int, axis: int) -> Reach:
        return SAME


class KeepsNothing:
    """The backward pass needs none of the outputs."""

    def saved(self, node: Node[Any]) -> Size:
        return 0


__all__ = ["Elementwise", "KeepsNothing", "Pure", "Uncounted"]
