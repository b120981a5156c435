"""Entries by rank along an axis: sort, argsort, topk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_compare
from archdsl.primitives.axes import replaced
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


class OnAxis(Protocol):
    """Attributes that name one axis."""

    @property
    def axis(self) -> int: ...


R = TypeVar("R", bound=OnAxis)


class Ordered(Uncounted[R]):
    """Base: padding of an axis with lengths comes last."""

    RANKS = "ranks the whole axis"

    def check(self, use: Use[R]) -> tuple[TensorType, int]:
        given = use.rank(0, 1)
        if given.kind not in ("int", "float"):
            use.fail("AD0314", f"{self.name} needs ordered entries", f"this one is {given}")
        return given, use.axis(0, use.args.axis)

    def time(self, node: Node[R], index: int, axis: int) -> Reach:
        return everything(self.RANKS) if axis == node.attrs.axis else SAME

    def filled(self, node: Node[R], text: str, e: Emitter, largest_first: bool) -> str:
        axis = node.attrs.axis
        lengths = e.lengths(node.inputs[0].type.axes[axis])
        if lengths is None:
            return text
        return call(e.support("fill_padding"), text, lengths, str(axis), 'float("-inf")' if largest_first else 'float("inf")')


@frozen
class TopKAttrs(Attrs):
    k: Size = param("size", doc="how many")
    axis: int = param("int", -1, "along which axis")


class TopK(Ordered[TopKAttrs]):
    """The k largest entries along an axis, largest first, and their positions."""

    name = "topk"
    attributes = TopKAttrs
    doc = "(values, positions) of the k largest entries along an axis, largest first."

    def infer(self, use: Use[TopKAttrs]) -> list[TensorType]:
        given, axis = self.check(use)
        use.attrs = replace(use.attrs, axis=axis)
        k = use.args.k
        if decide_compare("<", given.axes[axis].size, k, use.facts):
            use.fail("AD0316", f"topk wants {k} entries of an axis of size {given.axes[axis].size}", f"the input is {given}")
        axes = replaced(given.axes, axis, Axis(k))
        return [with_axes(given, axes), with_axes(given, axes, "int")]

    def emit(self, node: Node[TopKAttrs], args: list[str], e: Emitter) -> str:
        return method(self.filled(node, args[0], e, True), "topk", e.size(node.attrs.k), str(node.attrs.axis))


@frozen
class SortAttrs(Attrs):
    axis: int = param("int", -1, "along which axis")
    descending: bool = param("bool", False, "largest first")


class Sort(Ordered[SortAttrs]):
    """Entries in order; argsort gives their positions instead."""

    attributes = SortAttrs

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc

    def infer(self, use: Use[SortAttrs]) -> list[TensorType]:
        given, axis = self.check(use)
        use.attrs = replace(use.attrs, axis=axis)
        return [given if self.name == "sort" else with_axes(given, given.axes, "int")]

    def emit(self, node: Node[SortAttrs], args: list[str], e: Emitter) -> str:
        axis, descending = str(node.attrs.axis), node.attrs.descending
        named = {"descending": "True"} if descending else {}
        text = method(self.filled(node, args[0], e, descending), "sort", dim=axis, stable="True", **named)
        return f"{text}.{'values' if self.name == 'sort' else 'indices'}"


PRIMITIVES: tuple[Primitive[Any], ...] = (
    TopK(),
    Sort("sort", "Entries in rising order along an axis."),
    Sort("argsort", "Positions that would sort an axis; equal entries keep their order."),
)
