"""Reductions over named axes: sums, means, extremes, and what sums to one. They never reduce over the batch.

Over an axis with lengths, only each sequence's real positions count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Kind, Node, TensorType, Value, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import chosen, reduced
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Uncounted
from archdsl.recurrence.definition import Definition, Moves, NotElementary, sizes_of
from archdsl.recurrence.step import INDICES, SUMMED, reindexed

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

AXIS = param("any", None, 'axis number, list of axes, or "all"; may be left out when there is only one')
KEEP = param("bool", False, "keep reduced axes with size 1")


@dataclass(frozen=True)
class Rule:
    """How one reduction behaves: what stands at padded positions so that they do not count, and the kinds it takes and gives."""

    torch: str  # method of a tensor
    neutral: str = ""  # source; empty: has its own masked form
    takes: tuple[Kind, ...] = ("bool", "int", "float", "complex")
    gives: Kind | None = None  # None: the input's
    several: bool = True  # can reduce several axes at once
    verb: str = ""
    doc: str = ""


RULES: dict[str, Rule] = {
    "sum": Rule("sum", "0", verb="sums over the axis", doc="Sum over axes; bools are counted."),
    "mean": Rule("mean", verb="averages over the axis", takes=("bool", "int", "float", "complex"), doc="Mean over axes."),
    "prod": Rule("prod", "1", several=False, verb="multiplies over the axis", doc="Product over one axis."),
    "variance": Rule("var", takes=("float", "complex"), verb="averages over the axis", doc="Variance over axes: n - correction below."),
    "std": Rule("std", takes=("float", "complex"), verb="averages over the axis", doc="Standard deviation over axes (see variance)."),
    "amax": Rule("amax", 'float("-inf")', ("int", "float"), verb="takes the largest over the axis", doc="Largest entry over axes."),
    "amin": Rule("amin", 'float("inf")', ("int", "float"), verb="takes the smallest over the axis", doc="Smallest entry over axes."),
    "logsumexp": Rule(
        "logsumexp", 'float("-inf")', ("float",), verb="sums over the axis", doc="log(sum(exp(x))) over axes, without overflow."
    ),
    "any": Rule("any", "False", ("bool",), "bool", verb="looks at the whole axis", doc="True where any entry along the axes is."),
    "all": Rule("all", "True", ("bool",), "bool", verb="looks at the whole axis", doc="True where every entry along the axes is."),
    "argmax": Rule(
        "argmax", 'float("-inf")', ("int", "float"), "int", False, "looks at the whole axis", "Where the largest entry along an axis is."
    ),
    "argmin": Rule(
        "argmin", 'float("inf")', ("int", "float"), "int", False, "looks at the whole axis", "Where the smallest entry along an axis is."
    ),
}


@frozen
class ReduceAttrs(Attrs):
    axis: list[int] = AXIS
    keep: bool = KEEP


@frozen
class SpreadAttrs(ReduceAttrs):
    correction: int = param("int", 1, "taken from the count: 1 is the unbiased estimate, 0 the plain mean of squares")


class Reduce(Uncounted[ReduceAttrs]):
    """One reduction of the table. `x -> mean(axis=[1, 2])`; `keep=true` leaves the axes with size 1."""

    attributes = ReduceAttrs

    def __init__(self, name: str) -> None:
        self.name = name
        self.rule = RULES[name]
        self.doc = self.rule.doc
        self.parts = "each" if name in ("sum", "mean") else ""
        if name in ("variance", "std"):
            self.attributes = SpreadAttrs

    def infer(self, use: Use[ReduceAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind not in self.rule.takes:
            use.fail("AD0314", f"{self.name} needs {' or '.join(self.rule.takes)} entries", f"this one is {given}")
        axes = chosen(use, use.args.axis)
        if len(axes) > 1 and not self.rule.several:
            use.fail("AD0315", f"{self.name} works on one axis at a time", f"{len(axes)} were given", hint="Apply it once for each axis.")
        use.attrs = replace(use.attrs, axis=axes)
        kind = self.rule.gives or given.kind
        if self.name == "mean" and kind in ("int", "bool"):
            kind = "float"
        elif kind == "bool" and self.rule.gives is None:
            kind = "int"
        return [with_axes(given, reduced(given.axes, axes, use.args.keep), kind)]

    def saved(self, node: Node[ReduceAttrs]) -> Size:
        return 0 if self.name in ("sum", "mean", "any", "all", "argmax", "argmin") else super().saved(node)

    def time(self, node: Node[ReduceAttrs], index: int, axis: int) -> Reach:
        return everything(self.rule.verb) if axis in node.attrs.axis else SAME

    def emit(self, node: Node[ReduceAttrs], args: list[str], e: Emitter) -> str:
        value, axes = node.inputs[0], node.attrs.axis
        x = args[0]
        if self.name == "mean" and value.type.kind in ("int", "bool"):
            x = method(x, "to", e.placement("float"))
        ragged = [(a, length) for a in axes if (length := e.lengths(value.type.axes[a])) is not None]
        over = str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})"
        named = {"correction": str(node.attrs.correction)} if isinstance(node.attrs, SpreadAttrs) else {}
        if node.attrs.keep:
            named["keepdim"] = "True"
        if not ragged:
            return method(x, self.rule.torch, over, **named)
        if self.rule.neutral:
            for a, length in ragged:
                x = call(e.support("fill_padding"), x, length, str(a), self.rule.neutral)
            return method(x, self.rule.torch, over, **named)
        pairs = ", ".join(f"({length}, {a})" for a, length in ragged)
        return call(e.support(f"masked_{self.rule.torch}"), x, f"[{pairs}]", over, **named)

    def equations(self, node: Node[ReduceAttrs], c: Converter) -> Definition | list[Definition]:
        if self.name not in ("sum", "mean"):
            return super().equations(node, c)
        source = c.solid(c.known[node.inputs[0]])
        rank = len(source.shape)
        axes = sorted(a % rank for a in node.attrs.axis)
        if len(axes) > len(SUMMED):
            raise NotElementary("a sum over many axes", node.origin.span)
        kept = [k for k in range(rank) if k not in axes]
        place = {k: (k if node.attrs.keep else n) for n, k in enumerate(kept)}
        names = {INDICES[a]: s for a, s in zip(axes, SUMMED)} | {INDICES[k]: INDICES[place[k]] for k in kept}
        body = reindexed(source.body, names)
        if self.name == "mean":
            body = body * (1 / math.prod(source.shape[a] for a in axes))
        sums = tuple((s, source.shape[a]) for a, s in zip(axes, SUMMED))
        return c.whole(c.define(body, sizes_of(node.outputs[0]), node.outputs[0].name or "m", sums=sums))


@frozen
class AlongAxisAttrs(Attrs):
    axis: int = param("int", -1, "the axis that is normalised")


@frozen
class NormaliseAttrs(AlongAxisAttrs):
    p: float = param("number", 2, "order of the norm")
    eps: float = param("number", 1e-12, "smallest norm")


class AlongAxis(Uncounted[AlongAxisAttrs]):
    """Softmax and its kin: same shape, every entry depends on the whole axis."""

    attributes = AlongAxisAttrs
    verb = "normalises over the axis"

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc
        if name == "normalise":
            self.category = "norm"
            self.attributes = NormaliseAttrs

    def infer(self, use: Use[AlongAxisAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind not in ("float", "complex" if self.name == "normalise" else "float"):
            use.fail("AD0314", f"{self.name} needs float entries", f"this one is {given}")
        use.attrs = replace(use.attrs, axis=use.axis(0, use.args.axis))
        return [given]

    def time(self, node: Node[AlongAxisAttrs], index: int, axis: int) -> Reach:
        return everything(self.verb) if axis == node.attrs.axis else SAME

    def emit(self, node: Node[AlongAxisAttrs], args: list[str], e: Emitter) -> str:
        axis = node.attrs.axis
        lengths = e.lengths(_axis(node.inputs[0], axis))
        if isinstance(node.attrs, NormaliseAttrs):
            x = args[0] if lengths is None else call(e.support("fill_padding"), args[0], lengths, str(axis), "0")
            return f"torch.nn.functional.normalize({x}, p={node.attrs.p}, dim={axis}, eps={node.attrs.eps})"
        if lengths is not None:
            return call(e.support(f"masked_{self.name}"), args[0], lengths, str(axis))
        return method(args[0], self.name, str(axis))

    def moves(self, node: Node[AlongAxisAttrs]) -> Moves:
        return "before" if self.name == "softmax" else ""


def _axis(value: Value, axis: int) -> Axis:
    return value.type.axes[axis]


PRIMITIVES: tuple[Primitive[Any], ...] = (
    *(Reduce(name) for name in RULES),
    AlongAxis("softmax", "exp(x) / sum(exp(x)) along an axis; padding gets weight 0."),
    AlongAxis("log_softmax", "log(softmax(x)) along an axis, without overflow."),
    AlongAxis("normalise", "x / max(|x|_p, eps) along an axis."),
)
