"""Values put together and taken apart: concat, stack, split, add, and the plain changes of shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import A, Attrs, Axis, Node, TensorType, Value, frozen, replace
from archdsl.graph.sizes import Poly, Size, decide_equal
from archdsl.primitives.axes import aligned, broadcast, fills, is_one, lose_lengths, promoted, replaced
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import MULTIPLY, call, method, operand
from archdsl.primitives.traits import Elementwise, KeepsNothing, Uncounted
from archdsl.recurrence.definition import Definition, sizes_of
from archdsl.recurrence.step import INDICES, Equation, reindexed

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter


def together(values: list[Value], args: list[str], e: Emitter) -> list[str]:
    """Sources of inputs that torch wants equally batched: one without batch is seen once per leading entry of a batched one."""
    like = next((i for i, value in enumerate(values) if value.type.batched), None)
    if like is None or all(value.type.batched for value in values):
        return args
    name = e.support("in_batch")
    ranks = [value.type.rank for value in values]
    return [a if v.type.batched else call(name, a, args[like], str(r), str(ranks[like])) for v, a, r in zip(values, args, ranks)]


def _meet(use: Use[Any], axes: list[Axis], given: TensorType, skip: int | None) -> None:
    """Requires an input's axes to equal those found so far, except the one joined along; ragged axes are the ones kept."""
    for i, (known, axis) in enumerate(zip(axes, given.axes)):
        if i != skip:
            use.same(known.size, axis.size, f"axis {i}")
            if axis.ragged and not known.ragged:
                axes[i] = axis


class Joined(Uncounted[A]):
    """Base of concat and stack: any number of inputs of one rank."""

    inputs = ("x",)
    variadic = True

    def common(self, use: Use[A]) -> tuple[list[Axis], TensorType]:
        first = use.types[0]
        for given in use.types[1:]:
            if given.rank != first.rank:
                use.fail(
                    "AD0310",
                    f"these shapes do not combine: {first} and {given}",
                    f"{self.name} needs inputs with equally many axes",
                    hint='rearrange("c -> 1 c") adds an axis.',
                )
        kind = promoted(t.kind for t in use.types)
        return list(first.axes), TensorType(first.axes, kind, any(t.batched for t in use.types))


@frozen
class ConcatAttrs(Attrs):
    axis: int = param("int", -1, "the axis along which the inputs follow one another")


class Concat(Joined[ConcatAttrs]):
    """Inputs one after another along an axis; the other axes are equal."""

    name = "concat"
    short = "joined"
    parts = "each"
    attributes = ConcatAttrs
    doc = "Inputs one after another along an axis."

    def infer(self, use: Use[ConcatAttrs]) -> list[TensorType]:
        use.rank(0, 1)
        axes, kind = self.common(use)
        axis = use.axis(0, use.args.axis)
        use.attrs = replace(use.attrs, axis=axis)
        at = axis % kind.rank
        total: Size = 0
        for given in use.types:
            _meet(use, axes, given, at)
            total = total + given.axes[at].size
            if len(use.types) > 1:
                lose_lengths(use, given.axes[at])
        if len(use.types) > 1:
            axes[at] = Axis(total)
        return [with_axes(kind, tuple(axes))]

    def time(self, node: Node[ConcatAttrs], index: int, axis: int) -> Reach:
        return everything("shifts positions along the axis") if axis == node.attrs.axis and len(node.inputs) > 1 else SAME

    def emit(self, node: Node[ConcatAttrs], args: list[str], e: Emitter) -> str:
        return args[0] if len(args) == 1 else f"torch.cat(({', '.join(together(node.inputs, args, e))}), {node.attrs.axis})"

    def solvable(self, node: Node[ConcatAttrs], unknown: list[int]) -> bool:
        return all(node.inputs[i].type.batched == node.outputs[0].type.batched for i in unknown)

    def solve(self, node: Node[ConcatAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        axis = node.attrs.axis
        sizes = [value.type.axes[axis].size for value in node.inputs]
        starts: list[Size] = [0]
        for size in sizes:
            starts.append(starts[-1] + size)
        return [method(outs[0], "narrow", str(axis), e.size(starts[i]), e.size(sizes[i])) for i in unknown]

    def equations(self, node: Node[ConcatAttrs], c: Converter) -> Definition:
        shape = sizes_of(node.outputs[0])
        axis = node.attrs.axis % len(shape)
        parts = [c.known[v] for v in node.inputs]
        name = c.declare(node.outputs[0].name or "c", shape, "temporary")
        start = 0
        for part in parts:
            part = c.solid(part)
            at = [f"{x}+{start}" if k == axis and start else x for k, x in enumerate(INDICES[: len(shape)])]
            c.equations.append(Equation(name, tuple(at), tuple(zip(INDICES, part.shape)), (), part.body, c.span))
            start += part.shape[axis]
        return c.whole(name)


@frozen
class StackAttrs(Attrs):
    axis: int = param("int", 0, "where the new axis stands")


class Stack(Elementwise[StackAttrs], Joined[StackAttrs]):
    """Inputs side by side along a new axis."""

    name = "stack"
    attributes = StackAttrs
    doc = "Inputs of one shape side by side along a new axis."

    def infer(self, use: Use[StackAttrs]) -> list[TensorType]:
        axes, kind = self.common(use)
        for given in use.types:
            _meet(use, axes, given, None)
        at = new_axis(use, use.args.axis, kind.rank)
        use.attrs = replace(use.attrs, axis=at)
        position = at + kind.rank + 1
        axes.insert(position, Axis(len(use.types)))
        return [with_axes(kind, tuple(axes))]

    def emit(self, node: Node[StackAttrs], args: list[str], e: Emitter) -> str:
        parts = ", ".join(together(node.inputs, args, e)) + ("," if len(args) == 1 else "")
        return f"torch.stack(({parts}), {node.attrs.axis})"

    def solvable(self, node: Node[StackAttrs], unknown: list[int]) -> bool:
        return all(node.inputs[i].type.batched == node.outputs[0].type.batched for i in unknown)

    def solve(self, node: Node[StackAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return [method(outs[0], "select", str(node.attrs.axis), str(i)) for i in unknown]


def new_axis(use: Use[Any], axis: Any, rank: int) -> int:
    """Where a new axis goes, as a negative position in the result."""
    if not isinstance(axis, int) or isinstance(axis, bool) or not -rank - 1 <= axis <= rank:
        use.fail("AD0304", f"{use.primitive.name} cannot make an axis {axis}", f"the result has axes 0 to {rank}, or -{rank + 1} to -1")
    return axis - rank - 1 if axis >= 0 else axis


@frozen
class SplitAttrs(Attrs):
    parts: Any = param("any", doc="how many equal parts, or the list of their sizes")
    axis: int = param("int", -1, "the axis that is cut")


class Split(KeepsNothing, Uncounted[SplitAttrs]):
    """`split(2)` into equal parts, `split([r, n, n])` into parts of these sizes; gives a tuple."""

    name = "split"
    short = "part"
    parts = "each"
    several = True
    attributes = SplitAttrs
    doc = "An axis cut into parts."

    def infer(self, use: Use[SplitAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        axis = use.axis(0, use.args.axis)
        whole, parts = given.axes[axis], use.args.parts
        if isinstance(parts, int) and not isinstance(parts, bool) and 1 <= parts <= 4096:
            sizes: list[Size] = [use.divides(whole.size, parts, f"{parts} equal parts of axis {use.args.axis}")] * parts
        elif isinstance(parts, list) and parts and all(_is_size(p) for p in parts):
            sizes = parts
            self._adds_up(use, whole, sizes)
        else:
            hint = "For example split(2) or split([64, 32])."
            use.fail("AD0316", "split needs a number of parts or a list of sizes", f"not {parts}", hint=hint)
        use.attrs = replace(use.attrs, axis=axis, parts=list(sizes))
        if len(sizes) > 1:
            lose_lengths(use, whole)
        pieces = [whole] if len(sizes) == 1 else [Axis(size) for size in sizes]
        return [with_axes(given, replaced(given.axes, axis, piece)) for piece in pieces]

    def _adds_up(self, use: Use[SplitAttrs], whole: Axis, sizes: list[Size]) -> None:
        total: Size = 0
        for size in sizes:
            total = total + size
        if decide_equal(total, whole.size, use.facts) is False:
            use.fail(
                "AD0317",
                f"the parts of the split add up to {total}, the axis is {whole.size}",
                f"splitting {use.types[0]}",
                note=f"{' + '.join(map(str, sizes))} = {total}.",
            )
        use.same(total, whole.size, "the parts of the split and the axis")

    def time(self, node: Node[SplitAttrs], index: int, axis: int) -> Reach:
        return everything("shifts positions along the axis") if axis == node.attrs.axis and len(node.outputs) > 1 else SAME

    def emit(self, node: Node[SplitAttrs], args: list[str], e: Emitter) -> str:
        sizes, axis = node.attrs.parts, str(node.attrs.axis)
        if len(sizes) == 1:
            return args[0]
        if all(size == sizes[0] for size in sizes):
            return method(args[0], "chunk", str(len(sizes)), axis)
        return method(args[0], "split", f"[{', '.join(e.size(size) for size in sizes)}]", axis)

    def solvable(self, node: Node[SplitAttrs], unknown: list[int]) -> bool:
        return True

    def solve(self, node: Node[SplitAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return [outs[0] if len(outs) == 1 else f"torch.cat(({', '.join(outs)}), {node.attrs.axis})"]

    def equations(self, node: Node[SplitAttrs], c: Converter) -> list[Definition]:
        source = c.held(c.known[node.inputs[0]], node.inputs[0].name or "t")
        sizes = [sizes_of(o) for o in node.outputs]
        axis = node.attrs.axis % len(source.shape)
        start, found = 0, []
        for shape in sizes:
            name = INDICES[axis]
            found.append(Definition(shape, reindexed(source.body, {name: f"{name}+{start}"} if start else {})))
            start += shape[axis]
        return found


def _is_size(size: Any) -> bool:
    return isinstance(size, Poly) or (isinstance(size, int) and not isinstance(size, bool) and size >= 1)


class Sum(Elementwise[Attrs]):
    """The sum or product of several values, entry by entry."""

    inputs = ("x",)
    variadic = True

    def __init__(self, name: str, sign: str, doc: str) -> None:
        self.name, self.sign, self.doc = name, sign, doc

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        axes, batched = broadcast(use)
        return [TensorType(axes, promoted(("int", *(t.kind for t in use.types))), batched)]

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        rank = node.outputs[0].type.rank
        parts = [aligned(a, v, rank) for v, a in zip(node.inputs, args)]
        parts = [method(p, "long") if v.type.kind == "bool" else p for v, p in zip(node.inputs, parts)]
        lowest = MULTIPLY if self.sign == "*" else MULTIPLY - 1
        return f" {self.sign} ".join([operand(parts[0], lowest), *(operand(p, lowest + 1) for p in parts[1:])])

    def solvable(self, node: Node[Attrs], unknown: list[int]) -> bool:
        return len(unknown) == 1 and fills(node, unknown[0])

    def solve(self, node: Node[Attrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        rank, lowest = node.outputs[0].type.rank, MULTIPLY if self.sign == "*" else MULTIPLY - 1
        known = [aligned(text, node.inputs[i], rank) for i, text in enumerate(args) if i != unknown[0]]
        back = {"*": " / ", "+": " - "}[self.sign]
        return [back.join([operand(outs[0], lowest), *(operand(text, lowest + 1) for text in known)])]


@frozen
class ExpandAttrs(Attrs):
    shape: list[Size] = param("shape", doc="the sizes of the result")


class Expand(KeepsNothing, Elementwise[ExpandAttrs]):
    """Stretches axes of size 1 to a shape; missing leading axes are made."""

    name = "expand"
    attributes = ExpandAttrs
    doc = "Repeats axes of size 1 up to a shape, without a copy."

    def infer(self, use: Use[ExpandAttrs]) -> list[TensorType]:
        given, shape = use.types[0], use.args.shape
        if not isinstance(shape, list) or not all(_is_size(size) for size in shape) or len(shape) < given.rank:
            use.fail("AD0316", f"expand needs a shape of at least {given.rank} sizes", f"the input is {given}")
        axes = [Axis(size) for size in shape]
        for i in range(1, given.rank + 1):
            old = given.axes[-i]
            if is_one(old.size) and not is_one(shape[-i]):
                continue
            use.same(old.size, shape[-i], f"axis {given.rank - i}")
            axes[-i] = old
        use.attrs = replace(use.attrs, shape=shape)
        return [with_axes(given, tuple(axes))]

    def emit(self, node: Node[ExpandAttrs], args: list[str], e: Emitter) -> str:
        value = node.inputs[0]
        kept = [False] * (len(node.attrs.shape) - value.type.rank) + [not is_one(s) for s in value.type.sizes]
        sizes = ["-1" if keep else e.size(size) for keep, size in zip(kept, node.attrs.shape)]
        if not value.type.batched:
            return method(args[0], "expand", *sizes)
        return call(e.support("expand_axes"), args[0], str(value.type.rank), f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})")


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Concat(),
    Stack(),
    Split(),
    Sum("add", "+", "The sum of several values."),
    Sum("multiply", "*", "The product of several values, entry by entry."),
    Expand(),
)
