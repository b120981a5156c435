"""Entries by position where the positions are values: take, gather, scatter, one-hot, and sums over segments (graphs)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import replaced, require_kind
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import atom, call
from archdsl.primitives.traits import Elementwise, KeepsNothing, Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

AXIS = param("int", 0, "the axis of x that the index speaks of")
MAY_BE_LATER = "picks positions that may come later"


@frozen
class TakeAttrs(Attrs):
    axis: int = AXIS


class Take(Uncounted[TakeAttrs]):
    """Entries of x along an axis at the positions that index holds; index may have any shape."""

    name = "take"
    inputs = ("x", "index")
    attributes = TakeAttrs
    doc = "Entries along an axis by position: the axis is replaced by the axes of the index."

    def infer(self, use: Use[TakeAttrs]) -> list[TensorType]:
        given, index = use.rank(0, 1), require_kind(use, 1, "int")
        axis = use.axis(0, use.args.axis)
        use.attrs = replace(use.attrs, axis=axis)
        return [TensorType(replaced(given.axes, axis, *index.axes), given.kind, given.batched or index.batched)]

    def time(self, node: Node[TakeAttrs], index: int, axis: int) -> Reach:
        return everything(MAY_BE_LATER) if index == 0 and axis == node.attrs.axis else SAME

    def emit(self, node: Node[TakeAttrs], args: list[str], e: Emitter) -> str:
        x, index = node.inputs
        axis = node.attrs.axis
        if not x.type.batched and axis == -x.type.rank:
            return f"{atom(args[0])}[{args[1]}]"
        return call(e.support("take"), *args, str(axis), str(x.type.rank), str(index.type.rank))


@frozen
class GatherAttrs(Attrs):
    axis: int = AXIS


class Gather(Uncounted[GatherAttrs]):
    """out[i][j][k] = x[index[i][j][k]][j][k] for axis 0: index has x's rank, and x's sizes on the other axes."""

    name = "gather"
    inputs = ("x", "index")
    attributes = GatherAttrs
    doc = "Along an axis, for every place of the index the entry of x that it names."

    def infer(self, use: Use[GatherAttrs]) -> list[TensorType]:
        given, index = use.rank(0, 1), require_kind(use, 1, "int")
        axis = use.axis(0, use.args.axis)
        use.attrs = replace(use.attrs, axis=axis)
        if index.rank != given.rank:
            use.fail(
                "AD0310",
                f"gather needs an index with the input's axes: {given} and {index}",
                f"{given.rank} axes on one side, {index.rank} on the other",
                hint="take(x, index, axis=…) accepts an index of any shape.",
            )
        for i in range(-given.rank, 0):
            if i != axis:
                use.same(given.axes[i].size, index.axes[i].size, f"axis {i + given.rank}")
        axes = replaced(given.axes, axis, index.axes[axis])
        return [TensorType(axes, given.kind, given.batched or index.batched)]

    def time(self, node: Node[GatherAttrs], index: int, axis: int) -> Reach:
        return everything(MAY_BE_LATER) if index == 0 and axis == node.attrs.axis else SAME

    def emit(self, node: Node[GatherAttrs], args: list[str], e: Emitter) -> str:
        x, index = node.inputs
        if x.type.batched == index.type.batched:
            return f"{atom(args[0])}.gather({node.attrs.axis}, {args[1]})"
        return call(e.support("gather_shared"), args[0], args[1], str(node.attrs.axis))


@frozen
class ScatterAttrs(Attrs):
    size: Size = param("size", doc="how many places the result has")
    axis: int = AXIS


class Scatter(Uncounted[ScatterAttrs]):
    """Adds every entry of x into `size` places along an axis, at the place that index names; places named by none hold 0."""

    name = "scatter_add"
    inputs = ("x", "index")
    attributes = ScatterAttrs
    doc = "Sums entries by place: the reverse of gather. The index has x's shape."

    def infer(self, use: Use[ScatterAttrs]) -> list[TensorType]:
        given, index = use.rank(0, 1), require_kind(use, 1, "int")
        axis = use.axis(0, use.args.axis)
        use.attrs = replace(use.attrs, axis=axis)
        if index.rank != given.rank:
            use.fail(
                "AD0310",
                f"scatter_add needs an index with the input's axes: {given} and {index}",
                f"{given.rank} axes on one side, {index.rank} on the other",
                hint="segment_sum takes one place for each entry along the axis.",
            )
        for i in range(given.rank):
            use.same(given.axes[i].size, index.axes[i].size, f"axis {i}")
        return [TensorType(replaced(given.axes, axis, Axis(use.args.size)), given.kind, given.batched or index.batched)]

    def time(self, node: Node[ScatterAttrs], index: int, axis: int) -> Reach:
        return everything("sums over positions that may come later") if axis == node.attrs.axis else SAME

    def emit(self, node: Node[ScatterAttrs], args: list[str], e: Emitter) -> str:
        return call(e.support("scatter_add"), *args, e.size(node.attrs.size), str(node.attrs.axis))


@frozen
class OneHotAttrs(Attrs):
    n: Size = param("size", doc="how many numbers there are")


class OneHot(KeepsNothing, Elementwise[OneHotAttrs]):
    """A whole number as a vector with a single 1."""

    name = "one_hot"
    attributes = OneHotAttrs
    doc = "Whole numbers below n as vectors [n] with a single 1."

    def infer(self, use: Use[OneHotAttrs]) -> list[TensorType]:
        given = require_kind(use, 0, "int")
        return [with_axes(given, (*given.axes, Axis(use.args.n)), "float")]

    def emit(self, node: Node[OneHotAttrs], args: list[str], e: Emitter) -> str:
        return f"F.one_hot({args[0]}, {e.size(node.attrs.n)}).to({e.placement('float')})"


@frozen
class SegmentAttrs(Attrs):
    n: Size = param("size", doc="how many groups there are")


class Segment(Uncounted[SegmentAttrs]):
    """Rows x [E, ..] gathered into groups by a number for each row, index [E]; `n` groups. Edges into nodes of a graph, for instance."""

    inputs = ("x", "index")
    attributes = SegmentAttrs

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc

    def infer(self, use: Use[SegmentAttrs]) -> list[TensorType]:
        given, index = use.rank(0, 1), require_kind(use, 1, "int")
        if index.rank != 1:
            use.fail("AD0303", f"{self.name} needs one group number for each row", f"the index is {index}, not int[{given.axes[0].size}]")
        if given.kind != "float":
            use.fail("AD0314", f"{self.name} needs float entries", f"this one is {given}")
        use.same(given.axes[0].size, index.axes[0].size, "rows of x and of the index")
        first = given.axes[0] if self.name == "segment_softmax" else Axis(use.args.n)
        return [TensorType((first, *given.axes[1:]), given.kind, given.batched or index.batched)]

    def time(self, node: Node[SegmentAttrs], index: int, axis: int) -> Reach:
        return everything("joins positions that may come later") if axis == -node.inputs[index].type.rank else SAME

    def emit(self, node: Node[SegmentAttrs], args: list[str], e: Emitter) -> str:
        return call(e.support(self.name), *args, e.size(node.attrs.n), str(node.inputs[0].type.rank))


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Take(),
    Gather(),
    Scatter(),
    OneHot(),
    Segment("segment_sum", "Sum of the rows of each group."),
    Segment("segment_mean", "Mean of the rows of each group; 0 for a group without rows."),
    Segment("segment_max", "Largest entries of the rows of each group; 0 for a group without rows."),
    Segment("segment_softmax", "Softmax among the rows of each group: for every group the weights of its rows add up to 1."),
)
