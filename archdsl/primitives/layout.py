"""Plain changes of layout by axis number: flatten, squeeze, unsqueeze, pad, flip, roll. Patterns are in rearrange."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Poly, Size, decide_equal
from archdsl.primitives.axes import chosen, is_one, lose_lengths, replaced
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.combine import new_axis
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Elementwise, KeepsNothing, Uncounted
from archdsl.recurrence.definition import Definition, sizes_of
from archdsl.recurrence.step import INDICES, reindexed

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter


@frozen
class FlattenAttrs(Attrs):
    first: int = param("int", 0, "first axis merged")
    last: int = param("int", -1, "last axis merged")
    whole: list[int] = field(default_factory=list)  # the merged axes, where only one of them is wider than 1


class Flatten(KeepsNothing, Uncounted[FlattenAttrs]):
    name = "flatten"
    attributes = FlattenAttrs
    doc = "Merges neighbouring axes into one; all of them by default."

    def infer(self, use: Use[FlattenAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        first, last = use.axis(0, use.args.first), use.axis(0, use.args.last)
        if first > last:
            use.fail("AD0304", "flatten needs the first axis before the last", f"axes {use.args.first} to {use.args.last} of {given}")
        merged = given.axes[first : last + 1 or None]
        wide = [axis for axis in merged if not is_one(axis.size)]
        size: Size = 1
        for axis in wide:
            size = size * axis.size
            if len(wide) > 1:
                lose_lengths(use, axis)
        one = wide[0] if len(wide) == 1 else Axis(size)
        whole = [i for i in range(first, last + 1) if len(wide) == 1]
        use.attrs = replace(use.attrs, first=first, last=last, whole=whole)
        i = first % given.rank
        return [with_axes(given, (*given.axes[:i], one, *given.axes[i + len(merged) :]))]

    def time(self, node: Node[FlattenAttrs], index: int, axis: int) -> Reach:
        first, last = node.attrs.first, node.attrs.last
        return everything("regroups positions along the axis") if first <= axis <= last and axis not in node.attrs.whole else SAME

    def emit(self, node: Node[FlattenAttrs], args: list[str], e: Emitter) -> str:
        first, last = node.attrs.first, node.attrs.last
        if first == last:
            return args[0]
        return method(args[0], "flatten", str(first), *([] if last == -1 else [str(last)]))


@frozen
class SqueezeAttrs(Attrs):
    axis: list[int] = param("any", doc="axis of size 1, or a list of them")


class Squeeze(KeepsNothing, Elementwise[SqueezeAttrs]):
    name = "squeeze"
    parts = "each"
    attributes = SqueezeAttrs
    doc = "Removes axes of size 1."

    def infer(self, use: Use[SqueezeAttrs]) -> list[TensorType]:
        given = use.types[0]
        axes = chosen(use, use.args.axis)
        for axis in axes:
            verdict = decide_equal(given.axes[axis].size, 1, use.facts)
            if verdict is not True:
                use.fail("AD0316", f"squeeze removes axes of size 1, this one has size {given.axes[axis].size}", f"axis {axis} of {given}")
        use.attrs = replace(use.attrs, axis=axes)
        return [with_axes(given, tuple(a for i, a in enumerate(given.axes, -given.rank) if i not in axes))]

    def emit(self, node: Node[SqueezeAttrs], args: list[str], e: Emitter) -> str:
        axes = node.attrs.axis
        return method(args[0], "squeeze", str(axes[0]) if len(axes) == 1 else f"({', '.join(map(str, axes))})")

    def solvable(self, node: Node[SqueezeAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[SqueezeAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        text, rank = outs[0], node.inputs[0].type.rank
        for axis in sorted(a % rank for a in node.attrs.axis):  # from the left, where those before are back in place
            text = method(text, "unsqueeze", str(axis - rank + sum(a % rank > axis for a in node.attrs.axis)))
        return [text]

    def equations(self, node: Node[SqueezeAttrs], c: Converter) -> Definition:
        source = c.held(c.known[node.inputs[0]])
        rank = len(source.shape)
        dropped = {a % rank for a in node.attrs.axis}
        names, out = {}, 0
        for k in range(rank):
            names[INDICES[k]] = "0" if k in dropped else INDICES[out]
            out += k not in dropped
        return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


@frozen
class UnsqueezeAttrs(Attrs):
    axis: int = param("int", doc="where the new axis stands in the result")


class Unsqueeze(KeepsNothing, Elementwise[UnsqueezeAttrs]):
    name = "unsqueeze"
    parts = "each"
    attributes = UnsqueezeAttrs
    doc = "Adds an axis of size 1."

    def infer(self, use: Use[UnsqueezeAttrs]) -> list[TensorType]:
        given = use.types[0]
        axis = new_axis(use, use.args.axis, given.rank)
        use.attrs = replace(use.attrs, axis=axis)
        i = axis + given.rank + 1
        return [with_axes(given, (*given.axes[:i], Axis(1), *given.axes[i:]))]

    def emit(self, node: Node[UnsqueezeAttrs], args: list[str], e: Emitter) -> str:
        return method(args[0], "unsqueeze", str(node.attrs.axis))

    def solvable(self, node: Node[UnsqueezeAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[UnsqueezeAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return [method(outs[0], "squeeze", str(node.attrs.axis))]

    def equations(self, node: Node[UnsqueezeAttrs], c: Converter) -> Definition:
        source = c.held(c.known[node.inputs[0]])
        rank = len(source.shape) + 1
        new = node.attrs.axis % rank
        names = {INDICES[k]: INDICES[k if k < new else k + 1] for k in range(rank - 1)}
        return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


@frozen
class PadAttrs(Attrs):
    before: Size = param("any", doc="how many entries in front")
    after: Size = param("any", 0, "how many behind")
    axis: int = param("int", -1, "along which axis")
    value: float = param("number", 0, "what they hold")
    mode: str = param("str", "constant", "constant, reflect, replicate or circular")


class Pad(Uncounted[PadAttrs]):
    """Entries of one value before and after those along an axis."""

    name = "pad"
    attributes = PadAttrs
    doc = "Makes an axis longer at its ends."

    def infer(self, use: Use[PadAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        axis, before, after = use.axis(0, use.args.axis), use.args.before, use.args.after
        for amount in (before, after):
            if not _is_amount(amount):
                use.fail("AD0316", "pad needs whole numbers of at least 0", f"not {amount}")
        if use.args.mode not in ("constant", "reflect", "replicate", "circular"):
            use.fail("AD0316", f"pad has no mode `{use.args.mode}`", "constant, reflect, replicate or circular")
        old = given.axes[axis]
        use.attrs = replace(use.attrs, axis=axis)
        if before == 0 and after == 0:
            return [given]
        lose_lengths(use, old)
        return [with_axes(given, replaced(given.axes, axis, Axis(old.size + before + after)))]

    def time(self, node: Node[PadAttrs], index: int, axis: int) -> Reach:
        return everything("shifts positions along the axis") if axis == node.attrs.axis else SAME

    def emit(self, node: Node[PadAttrs], args: list[str], e: Emitter) -> str:
        a = node.attrs
        before, after = e.size(a.before), e.size(a.after)
        if a.mode != "constant":
            return call(e.support("pad_with"), args[0], str(a.axis), before, after, f'"{a.mode}"')
        zeros = ["0, 0"] * (-a.axis - 1)
        value = {"value": repr(a.value)} if a.value else {}
        return call("F.pad", args[0], f"({', '.join([*zeros, before, after])})", **value)

    def solvable(self, node: Node[PadAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[PadAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        axis = node.attrs.axis
        return [method(outs[0], "narrow", str(axis), e.size(node.attrs.before), e.size(node.inputs[0].type.axes[axis].size))]


def _is_amount(size: Any) -> bool:
    return isinstance(size, Poly) or (isinstance(size, int) and not isinstance(size, bool) and size >= 0)


@frozen
class FlipAttrs(Attrs):
    axis: list[int] = param("any", None, "axis number or list of axes")


class Flip(Uncounted[FlipAttrs]):
    name = "flip"
    attributes = FlipAttrs
    doc = "Entries in reverse order; on an axis with lengths each sequence's own entries turn, padding stays behind."

    def infer(self, use: Use[FlipAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        use.attrs = replace(use.attrs, axis=chosen(use, use.args.axis))
        return [given]

    def time(self, node: Node[FlipAttrs], index: int, axis: int) -> Reach:
        return everything("reverses the axis") if axis in node.attrs.axis else SAME

    def emit(self, node: Node[FlipAttrs], args: list[str], e: Emitter) -> str:
        x, plain = args[0], []
        for axis in node.attrs.axis:
            lengths = e.lengths(node.inputs[0].type.axes[axis])
            if lengths is None:
                plain.append(str(axis))
            else:
                x = call(e.support("flip_real"), x, lengths, str(axis))
        return method(x, "flip", *plain) if plain else x

    def solvable(self, node: Node[FlipAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[FlipAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return [self.emit(node, outs, e)]


@frozen
class RollAttrs(Attrs):
    n: int = param("int", doc="places entries move; those that fall off return at the other end")
    axis: int = param("int", 0, "along which axis")


class Roll(Uncounted[RollAttrs]):
    name = "roll"
    attributes = RollAttrs
    doc = "Entries moved around an axis as around a ring."

    def infer(self, use: Use[RollAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        axis = use.axis(0, use.args.axis)
        use.attrs = replace(use.attrs, axis=axis)
        lose_lengths(use, given.axes[axis])
        old = given.axes[axis]
        return [with_axes(given, replaced(given.axes, axis, Axis(old.size, old.identity)))]

    def time(self, node: Node[RollAttrs], index: int, axis: int) -> Reach:
        return everything("wraps around the axis") if axis == node.attrs.axis and node.attrs.n else SAME

    def emit(self, node: Node[RollAttrs], args: list[str], e: Emitter) -> str:
        return method(args[0], "roll", str(node.attrs.n), str(node.attrs.axis))

    def solvable(self, node: Node[RollAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[RollAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return [method(outs[0], "roll", str(-node.attrs.n), str(node.attrs.axis))]


PRIMITIVES: tuple[Primitive[Any], ...] = (Flatten(), Squeeze(), Unsqueeze(), Pad(), Flip(), Roll())
