"""Running totals along an axis, and shifts. Over time they are causal: while decoding they keep the total, or the last entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.primitives.axes import promoted, replaced
from archdsl.primitives.base import Primitive, Slot, Use, param, with_axes
from archdsl.primitives.reach import EARLIER, SAME, Reach, window
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import KeepsNothing, Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


@frozen
class RunningAttrs(Attrs):
    axis: int = param("int", 0, "the axis along which it runs")


class Running(Uncounted[RunningAttrs]):
    """Entry t is the sum, product or maximum of entries 0 to t along the axis."""

    category = "mixing"
    attributes = RunningAttrs

    def __init__(self, name: str, text: str, doc: str) -> None:
        self.name, self.text, self.doc = name, text, doc

    def infer(self, use: Use[RunningAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind == "complex" and self.name == "cummax":
            use.fail("AD0314", "cummax needs ordered entries", f"this one is {given}")
        use.attrs = replace(use.attrs, axis=use.axis(0, use.args.axis))
        return [with_axes(given, given.axes, promoted(("int", given.kind)))]

    def time(self, node: Node[RunningAttrs], index: int, axis: int) -> Reach:
        return EARLIER if axis == node.attrs.axis else SAME

    def slots(self, node: Node[RunningAttrs]) -> list[Slot]:
        axis, out = node.attrs.axis, node.outputs[0].type
        shape = replaced(out.axes, axis, Axis(1))
        return [Slot("total", tuple(a.size for a in shape), out.kind, along=axis)]

    def emit(self, node: Node[RunningAttrs], args: list[str], e: Emitter) -> str:
        return self.text.format(self._input(node, args), node.attrs.axis)

    def step(self, node: Node[RunningAttrs], args: list[str], e: Emitter) -> str:
        axis = node.attrs.axis
        if not e.over_time(node.inputs[0].type.axes[axis]):
            return self.emit(node, args, e)
        return call(e.support(f"{self.name}_step"), self._input(node, args), str(axis), e.slot, e.clock)

    def _input(self, node: Node[RunningAttrs], args: list[str]) -> str:
        return method(args[0], "long") if node.inputs[0].type.kind == "bool" else args[0]


@frozen
class ShiftAttrs(Attrs):
    n: int = param("int", 1, "places; negative looks ahead")
    axis: int = param("int", 0, "the axis along which entries move")


class Shift(KeepsNothing, Uncounted[ShiftAttrs]):
    """Entries moved n places later along an axis, zeros first; n < 0 moves them earlier, zeros last."""

    name = "shift"
    attributes = ShiftAttrs
    doc = "Entry t becomes entry t - n; zeros where there is none."

    def infer(self, use: Use[ShiftAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if abs(use.args.n) > 1_000_000:
            use.fail("AD0316", f"a shift by {use.args.n} places is out of range", "at most 1,000,000")
        use.attrs = replace(use.attrs, axis=use.axis(0, use.args.axis))
        return [given]

    def time(self, node: Node[ShiftAttrs], index: int, axis: int) -> Reach:
        if axis != node.attrs.axis:
            return SAME
        n = node.attrs.n
        return window(n, -n, "looks ahead" if n < 0 else "")

    def slots(self, node: Node[ShiftAttrs]) -> list[Slot]:
        axis, n, given = node.attrs.axis, node.attrs.n, node.inputs[0].type
        if n <= 0:
            return []
        shape = replaced(given.axes, axis, Axis(n))
        return [Slot("recent", tuple(a.size for a in shape), given.kind, along=axis)]

    def emit(self, node: Node[ShiftAttrs], args: list[str], e: Emitter) -> str:
        axis, n = node.attrs.axis, node.attrs.n
        if n == 0:
            return args[0]
        x, lengths = args[0], e.lengths(node.inputs[0].type.axes[axis])
        if n < 0 and lengths is not None:
            x = call(e.support("fill_padding"), x, lengths, str(axis), "0")
        return call(e.support("shift"), x, str(n), str(axis))

    def step(self, node: Node[ShiftAttrs], args: list[str], e: Emitter) -> str:
        axis, n = node.attrs.axis, node.attrs.n
        if n == 0 or not e.over_time(node.inputs[0].type.axes[axis]):
            return self.emit(node, args, e)
        return call(e.support("shift_step"), args[0], str(n), str(axis), e.slot, e.clock)


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Running("cumsum", "torch.cumsum({0}, {1})", "Running sum along an axis."),
    Running("cumprod", "torch.cumprod({0}, {1})", "Running product along an axis."),
    Running("cummax", "torch.cummax({0}, {1}).values", "Running maximum along an axis."),
    Shift(),
)
