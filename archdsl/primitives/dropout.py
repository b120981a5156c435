"""Noise in training: dropout and dropped paths."""

from __future__ import annotations

from archdsl.graph.ir import Node, TensorType
from archdsl.primitives.axes import chosen, require_kind
from archdsl.primitives.base import Param, Primitive, Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import number
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise


class Dropout(Elementwise):
    """Entries are zeroed with probability p in training, the others scaled by 1 / (1 - p)."""

    name = "dropout"
    params = (
        Param("p", "number", doc="probability of being dropped"),
        Param("axis", "any", None, "one draw per entry of these axes, shared along the others: axis=0 drops channels of [c, H, W]"),
    )
    doc = "Dropout in training; nothing in evaluation."
    source = "Srivastava et al., Dropout, 2014"

    def infer(self, use: Use) -> list[TensorType]:
        number(use, "p", 0, 1, below=True)
        use.attrs["axes"] = None if use.args["axis"] is None else tuple(chosen(use, use.args["axis"]))
        return [require_kind(use, 0, "float", "complex")]

    def random(self, node: Node) -> bool:
        return bool(node.attrs["p"])

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        axes = node.attrs["axes"]
        if axes is None:
            return call("F.dropout", args[0], repr(float(node.attrs["p"])), e.training)
        named = {"batched": "False"} if not node.inputs[0].type.batched else {}
        return call(e.support("dropout_along"), args[0], repr(float(node.attrs["p"])), repr(axes), e.training, **named)


class DropPath(Elementwise):
    """A sample's whole value is zeroed with probability p in training."""

    name = "droppath"
    params = (Param("p", "number", doc="probability of being dropped"),)
    doc = "Stochastic depth: drops a branch for whole samples in training."
    source = "Huang et al., Deep networks with stochastic depth, 2016"

    def infer(self, use: Use) -> list[TensorType]:
        number(use, "p", 0, 1, below=True)
        return [require_kind(use, 0, "float", "complex")]

    def random(self, node: Node) -> bool:
        return bool(node.attrs["p"])

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        named = {"batched": "False"} if not node.inputs[0].type.batched else {}
        return call(e.support("dropout_along"), args[0], repr(float(node.attrs["p"])), "()", e.training, **named)


PRIMITIVES: tuple[Primitive, ...] = (Dropout(), DropPath())
