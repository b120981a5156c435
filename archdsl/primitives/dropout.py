"""Noise in training: dropout and dropped paths."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Node, TensorType, frozen, replace
from archdsl.primitives.axes import chosen, require_kind
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import number
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise


@frozen
class DropoutAttrs(Attrs):
    p: float = param("number", doc="probability of being dropped")
    axis: Any = param("any", None, "one draw per entry of these axes, shared along the others: axis=0 drops channels of [c, H, W]")
    axes: tuple[int, ...] | None = None


class Dropout(Elementwise[DropoutAttrs]):
    """Entries are zeroed with probability p in training, the others scaled by 1 / (1 - p)."""

    name = "dropout"
    attributes = DropoutAttrs
    doc = "Dropout in training; nothing in evaluation."
    source = "Srivastava et al., Dropout, 2014"

    def infer(self, use: Use[DropoutAttrs]) -> list[TensorType]:
        number(use, "p", use.args.p, 0, 1, below=True)
        use.attrs = replace(use.attrs, axes=None if use.args.axis is None else tuple(chosen(use, use.args.axis)))
        return [require_kind(use, 0, "float", "complex")]

    def random(self, node: Node[DropoutAttrs]) -> bool:
        return bool(node.attrs.p)

    def emit(self, node: Node[DropoutAttrs], args: list[str], e: Emitter) -> str:
        axes = node.attrs.axes
        if axes is None:
            return call("F.dropout", args[0], repr(float(node.attrs.p)), e.training)
        named = {"batched": "False"} if not node.inputs[0].type.batched else {}
        return call(e.support("dropout_along"), args[0], repr(float(node.attrs.p)), repr(axes), e.training, **named)


@frozen
class DropPathAttrs(Attrs):
    p: float = param("number", doc="probability of being dropped")


class DropPath(Elementwise[DropPathAttrs]):
    """A sample's whole value is zeroed with probability p in training."""

    name = "droppath"
    attributes = DropPathAttrs
    doc = "Stochastic depth: drops a branch for whole samples in training."
    source = "Huang et al., Deep networks with stochastic depth, 2016"

    def infer(self, use: Use[DropPathAttrs]) -> list[TensorType]:
        number(use, "p", use.args.p, 0, 1, below=True)
        return [require_kind(use, 0, "float", "complex")]

    def random(self, node: Node[DropPathAttrs]) -> bool:
        return bool(node.attrs.p)

    def emit(self, node: Node[DropPathAttrs], args: list[str], e: Emitter) -> str:
        named = {"batched": "False"} if not node.inputs[0].type.batched else {}
        return call(e.support("dropout_along"), args[0], repr(float(node.attrs.p)), "()", e.training, **named)


PRIMITIVES: tuple[Primitive[Any], ...] = (Dropout(), DropPath())
