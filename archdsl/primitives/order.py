"""Entries by rank along an axis: sort, argsort, topk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.graph.ir import Axis, Node, TensorType
from archdsl.graph.sizes import decide_compare
from archdsl.primitives.axes import replaced
from archdsl.primitives.base import Param, Primitive, Use, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


class Ordered(Uncounted):
    """Base: padding of an axis with lengths comes last."""

    RANKS = "ranks the whole axis"

    def check(self, use: Use) -> tuple[TensorType, int]:
        given = use.rank(0, 1)
        if given.kind not in ("int", "float"):
            use.fail("AD0314", f"{self.name} needs ordered entries", f"this one is {given}")
        axis = use.axis(0, use.args["axis"])
        use.attrs["axis"] = axis
        return given, axis

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return everything(self.RANKS) if axis == node.attrs["axis"] else SAME

    def filled(self, node: Node, text: str, e: Emitter, largest_first: bool) -> str:
        axis = node.attrs["axis"]
        lengths = e.lengths(node.inputs[0].type.axes[axis])
        if lengths is None:
            return text
        return call(e.support("fill_padding"), text, lengths, str(axis), 'float("-inf")' if largest_first else 'float("inf")')


class TopK(Ordered):
    """The k largest entries along an axis, largest first, and their positions."""

    name = "topk"
    params = (Param("k", "size", doc="how many"), Param("axis", "int", -1, "along which axis"))
    doc = "(values, positions) of the k largest entries along an axis, largest first."

    def infer(self, use: Use) -> list[TensorType]:
        given, axis = self.check(use)
        k = use.args["k"]
        if decide_compare("<", given.axes[axis].size, k, use.facts):
            use.fail("AD0316", f"topk wants {k} entries of an axis of size {given.axes[axis].size}", f"the input is {given}")
        axes = replaced(given.axes, axis, Axis(k))
        return [with_axes(given, axes), with_axes(given, axes, "int")]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return method(self.filled(node, args[0], e, True), "topk", e.size(node.attrs["k"]), str(node.attrs["axis"]))


class Sort(Ordered):
    """Entries in order; argsort gives their positions instead."""

    params = (Param("axis", "int", -1, "along which axis"), Param("descending", "bool", False, "largest first"))

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc

    def infer(self, use: Use) -> list[TensorType]:
        given, _ = self.check(use)
        return [given if self.name == "sort" else with_axes(given, given.axes, "int")]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        axis, descending = str(node.attrs["axis"]), node.attrs["descending"]
        named = {"descending": "True"} if descending else {}
        text = method(self.filled(node, args[0], e, descending), "sort", dim=axis, stable="True", **named)
        return f"{text}.{'values' if self.name == 'sort' else 'indices'}"


PRIMITIVES: tuple[Primitive, ...] = (
    TopK(),
    Sort("sort", "Entries in rising order along an axis."),
    Sort("argsort", "Positions that would sort an axis; equal entries keep their order."),
)
