"""Products of values: matrix products, named contractions, outer and diagonal forms. Weights that are values take the same road."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, Value
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import broadcast, heads_before, is_one, promoted
from archdsl.primitives.base import Primitive, Use, elements, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import MULTIPLY, POWER, atom, method, operand
from archdsl.primitives.traits import Elementwise, Pure
from archdsl.recurrence.definition import Definition, Moves, NotElementary, sizes_of
from archdsl.recurrence.step import INDICES, reindexed

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

SUMS = "sums over the axis"


def lead_axes(use: Use[Any], a: tuple[Axis, ...], b: tuple[Axis, ...]) -> tuple[Axis, ...]:
    """Axes in front of those that a product works on: equal on both sides, 1 on one, or absent on one."""
    if not a or not b:
        return a or b
    if len(a) != len(b):
        use.fail(
            "AD0310",
            f"these shapes do not combine: {use.types[0]} and {use.types[1]}",
            f"{len(a)} leading axes on one side, {len(b)} on the other",
            note="Leading axes are equal on both sides, or one side has none.",
        )
    out = []
    for i, (x, y) in enumerate(zip(a, b)):
        if is_one(x.size) or is_one(y.size):
            out.append(y if is_one(x.size) else x)
            continue
        use.same(x.size, y.size, f"leading axis {i}")
        out.append(x if x.ragged or not y.ragged else y)
    return tuple(out)


def padded(text: str, value: Value, own: int, lead: int) -> str:
    """Source of a batched input without leading axes, given `lead` of size 1 before its last `own` axes, so that batches meet."""
    if not value.type.batched or value.type.rank > own or lead == 0:
        return text
    return f"{atom(text)}[..., {', '.join(['None'] * lead + [':'] * own)}]"


def _numeric(use: Use[Any]) -> None:
    for given in use.types:
        if given.kind == "bool":
            use.fail("AD0314", f"{use.primitive.name} needs numbers", f"this one is {given}")


class Matmul(Pure[Attrs]):
    """`a @ b`: [.., n, k] @ [.., k, m]; [k] @ [.., k, m]; [.., n, k] @ [k]; [k] @ [k]."""

    name = "matmul"
    category = "weights"
    short = "y"
    parts = "product"
    inputs = ("a", "b")
    doc = "Matrix product over a's last and b's last but one axis; vectors stand for one row or column."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        _numeric(use)
        a, b = use.rank(0, 1), use.rank(1, 1)
        inner = b.axes[-2] if b.rank > 1 else b.axes[-1]
        use.same(a.axes[-1].size, inner.size, f"{a} @ {b}: a's last axis and b's {'last but one' if b.rank > 1 else 'last'}")
        lead = lead_axes(use, a.axes[:-2], b.axes[:-2])
        axes = (*lead, *a.axes[-2:-1], *(b.axes[-1:] if b.rank > 1 else ()))
        return [TensorType(axes, promoted((a.kind, b.kind)), a.batched or b.batched)]

    def flops(self, node: Node[Attrs]) -> Size:
        a, b = (value.type for value in node.inputs)
        n, m = (a.axes[-2].size if a.rank > 1 else 1), (b.axes[-1].size if b.rank > 1 else 1)
        lead: Size = 1
        for axis in max(a.axes[:-2], b.axes[:-2], key=len):
            lead = lead * axis.size
        diagonal = any(_diagonal(value) for value in node.inputs)
        return lead * n * m if diagonal else 2 * lead * n * a.axes[-1].size * m

    def time(self, node: Node[Attrs], index: int, axis: int) -> Reach:
        inner = -1 if index == 0 or node.inputs[1].type.rank == 1 else -2
        return everything(SUMS) if axis == inner else SAME

    def reads(self, node: Node[Attrs]) -> list[Value]:
        a, b = node.inputs
        if _diagonal(a):
            return [a.node.inputs[0], b]  # type: ignore[union-attr]
        return [a, b.node.inputs[0]] if _diagonal(b) else [a, b]  # type: ignore[union-attr]

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        a, b = node.inputs
        if _diagonal(a) or _diagonal(b):
            return _scaled(node, args)
        lead = max(a.type.rank, b.type.rank) - 2
        left, right = (alike(text, value, node, e) for text, value in zip(args, node.inputs))
        if a.type.rank == 1 and b.type.rank == 1:
            return method(f"{operand(left, MULTIPLY)} * {operand(right, POWER)}", "sum", "-1")
        # torch reads a 1-D operand as a vector only if it has no batch axis; a batched one is made a row or a column first.
        # Against an unbatched matrix its batch axes can serve as rows.
        row = a.type.rank == 1 and a.type.batched and (b.type.batched or b.type.rank > 2 or heads_before(b) > 0)
        column = b.type.rank == 1 and b.type.batched
        if row:
            left = f"{atom(left)}[..., {', '.join(['None'] * (lead + 1))}, :]"
        elif a.type.rank > 1:
            left = padded(left, a, 2, lead)
        if column:
            right = f"{atom(right)}[..., {', '.join(['None'] * lead + [':', 'None'])}]"
        elif b.type.rank > 1:
            right = padded(right, b, 2, lead)
        product = f"{operand(left, MULTIPLY)} @ {operand(right, POWER)}"
        return method(product, "squeeze", "-2" if row else "-1") if row or column else product

    def moves(self, node: Node[Attrs]) -> Moves:
        """For all times, `diag(a) @ S` would hold a matrix per time."""
        return "" if any(v.node is not None and v.node.op == "diag" for v in node.inputs) else "before"

    def equations(self, node: Node[Attrs], c: Converter) -> Definition:
        a, b = (c.known[v] for v in node.inputs)
        if a.diagonal and not b.diagonal:
            left = c.held(Definition(a.shape, a.body), "decay")
            right = c.held(b)
            return Definition(right.shape, left.body * right.body)
        if b.diagonal and not a.diagonal:
            left, right = c.held(a), c.held(Definition(b.shape, b.body), "decay")
            last = INDICES[len(left.shape) - 1]
            return Definition(left.shape, left.body * reindexed(right.body, {"i": last}))
        left, right = c.held(c.solid(a)), c.held(c.solid(b))
        p, q = len(left.shape), len(right.shape)
        if p > 2 or q > 2 or not p or not q:
            raise NotElementary("a product of tensors with more than two axes", node.origin.span)
        x = reindexed(left.body, {INDICES[p - 1]: "s"})
        y = reindexed(right.body, {"i": "s", "j": "j" if p == 2 else "i"} if q == 2 else {"i": "s"})
        name = node.outputs[0].name or "m"
        return c.whole(c.define(x * y, sizes_of(node.outputs[0]), name, sums=(("s", left.shape[-1]),)))


def alike(text: str, value: Value, node: Node[Any], e: Emitter) -> str:
    """A factor in the kind of the product: torch multiplies matrices of one dtype only."""
    kind = node.outputs[0].type.kind
    return text if value.type.kind == kind else method(text, "to", e.placement(kind))


def _diagonal(value: Value) -> bool:
    return value.node is not None and value.node.op == "diag" and value.type.rank == 2


def _scaled(node: Node[Any], args: list[str]) -> str:
    """diag(a) @ S as rows scaled by a; S @ diag(a) as columns scaled: the n x n matrix is never made."""
    a, b = node.inputs
    left, right = args
    if _diagonal(a):
        scale, other, other_rank = left, right, b.type.rank
        spread = [":", "None"] if other_rank > 1 else [":"]
    else:
        scale, other, other_rank = right, left, a.type.rank
        spread = ["None", ":"] if other_rank > 1 else [":"]
    lead = max(other_rank - 2, 0)
    if spread != [":"] and not (spread == ["None", ":"] and lead == 0 and not (b.type.batched)):
        scale = f"{atom(scale)}[..., {', '.join(['None'] * lead + spread)}]"
    pair = (scale, other) if _diagonal(a) else (other, scale)
    return f"{operand(pair[0], MULTIPLY)} * {operand(pair[1], POWER)}"


class Diag(Elementwise[Attrs]):
    """[.., n] as the diagonal of a [.., n, n] matrix. `diag(a) @ S` does not build it."""

    name = "diag"
    parts = "each"
    inputs = ("a",)
    doc = "A vector as a diagonal matrix; products with it scale rows or columns."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        last = given.axes[-1]
        return [with_axes(given, (*given.axes, Axis(last.size)))]

    def saved(self, node: Node[Attrs]) -> Size:
        return elements(node.inputs[0].type)

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        return f"torch.diag_embed({args[0]})"

    def equations(self, node: Node[Attrs], c: Converter) -> Definition:
        inner = c.known[node.inputs[0]]
        return Definition(inner.shape, inner.body, True)


class Outer(Pure[Attrs]):
    """outer(a, b)[i, j] = a[i] * b[j] over the last axes; leading axes equal or absent."""

    name = "outer"
    parts = "product"
    inputs = ("a", "b")
    doc = "Outer product of the last axes: [.., n] and [.., m] to [.., n, m]."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        a, b = use.rank(0, 1), use.rank(1, 1)
        lead = lead_axes(use, a.axes[:-1], b.axes[:-1])
        return [TensorType((*lead, a.axes[-1], b.axes[-1]), promoted((a.kind, b.kind)), a.batched or b.batched)]

    def flops(self, node: Node[Attrs]) -> Size:
        return elements(node.outputs[0].type)

    def time(self, node: Node[Attrs], index: int, axis: int) -> Reach:
        return SAME

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        a, b = node.inputs
        lead = max(a.type.rank, b.type.rank) - 1
        left, right = padded(args[0], a, 1, lead), padded(args[1], b, 1, lead)
        return f"{atom(left)}[..., :, None] * {atom(right)}[..., None, :]"

    def equations(self, node: Node[Attrs], c: Converter) -> Definition:
        a, b = (c.vector(v) for v in node.inputs)
        return Definition(sizes_of(node.outputs[0]), a.body * reindexed(b.body, {"i": "j"}))


class Dot(Pure[Attrs]):
    """dot(a, b): products of entries, summed over the last axis."""

    name = "dot"
    parts = "product"
    inputs = ("a", "b")
    doc = "Inner product over the last axis: [.., n] and [.., n] to [..]."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        _numeric(use)
        a, b = use.rank(0, 1), use.rank(1, 1)
        use.same(a.axes[-1].size, b.axes[-1].size, "last axes")
        axes, batched = broadcast(use)
        return [TensorType(axes[:-1], promoted((a.kind, b.kind)), batched)]

    def flops(self, node: Node[Attrs]) -> Size:
        return 2 * max((elements(value.type) for value in node.inputs), key=lambda n: n if isinstance(n, int) else 0)

    def time(self, node: Node[Attrs], index: int, axis: int) -> Reach:
        return everything(SUMS) if axis == -1 else SAME

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        return method(f"{operand(args[0], MULTIPLY)} * {operand(args[1], POWER)}", "sum", "-1")

    def equations(self, node: Node[Attrs], c: Converter) -> Definition:
        a, b = (c.vector(v) for v in node.inputs)
        body = reindexed(a.body, {"i": "s"}) * reindexed(b.body, {"i": "s"})
        return c.whole(c.define(body, (), node.outputs[0].name or "d", sums=(("s", a.shape[0]),)))


PRIMITIVES: tuple[Primitive[Any], ...] = (Matmul(), Diag(), Outer(), Dot())
