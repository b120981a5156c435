"""All positions so far: what attention looks back on, where a spec says itself what is kept while decoding."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType
from archdsl.primitives.axes import replaced, require_kind
from archdsl.primitives.base import Primitive, Slot, Use, with_axes
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise, KeepsNothing


class History(KeepsNothing, Elementwise[Attrs]):
    """x [.., T, c] -> the same, with T as an axis of all positions so far.

    Over a whole sequence nothing changes. While decoding x holds only the new positions; they join those kept from earlier steps, and
    what is made of the result is made of all of them. Causal attention takes keys and values from it without keeping them again: so
    several layers can look back on one value, or on vectors narrower than the keys made from them.
    """

    name = "history"
    doc = "All positions so far of the axis before the last, kept while decoding: keys and values to share, or to make anew from less."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        use.rank(0, 2)
        x = require_kind(use, 0, "float")
        return [with_axes(x, replaced(x.axes, -2, Axis(x.axes[-2].size, past=True)))]  # padding is never looked back on: no lengths

    def slots(self, node: Node[Attrs]) -> list[Slot]:
        given = node.inputs[0].type
        return [] if given.axes[-2].past else [Slot("rows", given.sizes, given.kind, grows=True, along=-2)]

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        return args[0]

    def step(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        if not e.over_time(node.inputs[0].type.axes[-2]):
            return args[0]
        return call(e.support("keep_all"), e.slot, '"rows"', args[0], e.clock)


PRIMITIVES: tuple[Primitive[Any], ...] = (History(),)
