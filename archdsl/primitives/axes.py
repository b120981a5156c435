"""What many primitives ask about axes: which ones were meant, how several inputs combine, what becomes of lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from archdsl.diagnostics import Diagnostic
from archdsl.graph.ir import Axis, Kind, Node, TensorType, Value, lead_axes
from archdsl.graph.sizes import Size, decide_equal
from archdsl.primitives.base import Use

ORDER: tuple[Kind, ...] = ("bool", "int", "float", "complex")


def promoted(kinds: Iterable[Kind]) -> Kind:
    """The kind that arithmetic on values of these kinds gives."""
    return max(kinds, key=ORDER.index)


def require_kind(use: Use[Any], index: int, *kinds: Kind) -> TensorType:
    """The type of an input that must hold one of these kinds of numbers."""
    given = use.types[index]
    if given.kind not in kinds:
        wanted = " or ".join(kinds)
        use.fail(
            "AD0314",
            f"{use.primitive.name} needs {wanted} entries in `{port(use, index)}`",
            f"this one is {given}",
            hint="one_hot(n) turns whole numbers into vectors; a comparison such as x > 0 gives bools." if "int" not in kinds else "",
        )
    return given


def port(use: Use[Any], index: int) -> str:
    """The name of an input port."""
    ports = use.primitive.inputs
    return ports[min(index, len(ports) - 1)]


def chosen(use: Use[Any], axis: Any, index: int = 0) -> list[int]:
    """The axes written as `axis=1`, `axis=[1, 2]` or `axis="all"`, as negative positions in order. One axis need not be named."""
    rank = use.types[index].rank
    if axis is None:
        if rank == 1:
            return [-1]
        use.fail(
            "AD0315",
            f"{use.primitive.name} over which axis?",
            f"the input {use.types[index]} has {rank} axes",
            hint=f'Write {use.primitive.name}(axis=0), a list of axes such as axis=[0, 1], or axis="all".',
        )
    if axis == "all":
        return list(range(-rank, 0))
    written = axis if isinstance(axis, (list, tuple)) else [axis]
    found = [use.axis(index, a) for a in written]
    for i, a in enumerate(found):
        if a in found[:i]:
            use.fail("AD0304", f"{use.primitive.name} names an axis twice", f"axis {written[i]} of {use.types[index]}")
    return sorted(found)


def reduced(axes: tuple[Axis, ...], over: Sequence[int], keep: bool) -> tuple[Axis, ...]:
    """The axes that remain when some are reduced away; with `keep` those become size 1."""
    gone = {a % len(axes) for a in over}
    return tuple(Axis(1) if i in gone else a for i, a in enumerate(axes) if keep or i not in gone)


def replaced(axes: tuple[Axis, ...], axis: int, *by: Axis) -> tuple[Axis, ...]:
    """The axes with the one at a negative position replaced by others."""
    i = axis % len(axes)
    return (*axes[:i], *by, *axes[i + 1 :])


def lose_lengths(use: Use[Any], axis: Axis) -> None:
    """Warns that the result no longer knows each sequence's own length along an axis that this use rebuilds."""
    if axis.ragged is not None:
        use.collector.add(
            Diagnostic(
                "AD0313",
                f"{use.primitive.name} loses the sequences' own lengths",
                use.origin.span,
                "padding counts as data from here on",
                use.origin.via,
                f"The axis {axis.size} has lengths (`{axis.ragged}`), but the axis made here has not.",
                "Reduce over the axis first, or give equal lengths.",
                severity="warning",
            )
        )


def is_one(size: Size) -> bool:
    return isinstance(size, int) and size == 1


def broadcast(use: Use[Any], indices: Sequence[int] | None = None) -> tuple[tuple[Axis, ...], bool]:
    """The axes and batchedness of inputs combined entry by entry.

    Ranks are equal, with equal sizes or a written size 1 on one side; or one side is a scalar; or the side with fewer axes is not batched
    (a parameter) and its axes are the last ones of the other.
    """
    types = [use.types[i] for i in indices] if indices is not None else use.types
    batched = any(t.batched for t in types)
    widest = max(types, key=lambda t: t.rank)
    result: list[Axis] = list(widest.axes)
    taken = [widest] * widest.rank
    for given in types:
        if given is widest or given.rank == 0:
            continue
        if given.rank < widest.rank and given.batched:
            _refuse_ranks(use, widest, given)
        for i in range(-given.rank, 0):
            _meet(use, result, taken, given, i, widest)
    return tuple(result), batched


def _meet(use: Use[Any], result: list[Axis], taken: list[TensorType], given: TensorType, i: int, widest: TensorType) -> None:
    """Joins one axis of one input into the result; the axis that carries more knowledge stays."""
    old, new = result[i], given.axes[i]
    if is_one(new.size):
        return
    if is_one(old.size):
        result[i], taken[i] = new, given
        return
    verdict = decide_equal(old.size, new.size, use.facts)
    if verdict is False:
        position = len(result) + i
        use.fail(
            "AD0310",
            f"these shapes do not combine: {widest} and {given}",
            f"axis {position} is {old.size} on one side and {new.size} on the other",
            note="Only a written size 1 stretches to the other side's size.",
            hint="Use linear, rearrange or a slice to bring them to one shape.",
        )
    if verdict is None:
        use.same(old.size, new.size, f"axis {len(result) + i}")
    if (given.batched, new.ragged is not None) > (taken[i].batched, old.ragged is not None):
        result[i], taken[i] = new, given


def _refuse_ranks(use: Use[Any], wide: TensorType, narrow: TensorType) -> None:
    names = [chr(ord("a") + i) for i in range(narrow.rank)]
    missing = wide.rank - narrow.rank
    after = [*names, *["1"] * missing] if decide_equal(wide.sizes[0], narrow.sizes[0], use.facts) else [*["1"] * missing, *names]
    use.fail(
        "AD0310",
        f"these shapes do not combine: {wide} and {narrow}",
        f"{wide.rank} axes on one side, {narrow.rank} on the other",
        note="Values of different rank do not stretch to each other; only a scalar, or a parameter over the last axes, fits.",
        hint=f'Write the missing axes: rearrange("{" ".join(names)} -> {" ".join(after)}").',
    )


def fills(node: Node[Any], index: int) -> bool:
    """Whether an input is as large as the first output: no entry of it was stretched, so each can be found again."""
    given, made = node.inputs[index].type, node.outputs[0].type
    return given.sizes == made.sizes and given.kind == made.kind and given.batched == made.batched and given.kind in ("float", "complex")


def heads_before(value: Value) -> int:
    """How many axes stand before the written ones of an unbatched value: one per head, if it is made from a weight per head."""
    if value.type.batched or value.node is None:
        return 0
    return max((lead_axes(value.node), *map(heads_before, value.node.inputs)))


def aligned(text: str, value: Value, rank: int) -> str:
    """Source of an operand with size-1 axes put where its batch or lead axes would else meet the other side's own axes."""
    from archdsl.primitives.text import atom

    missing = rank - value.type.rank
    if missing > 0 and (lead := heads_before(value)):
        return f"{atom(text)}[{':, ' * lead}{'None, ' * missing}...]"
    if value.type.rank == 0 and value.type.batched and rank:
        return f"{atom(text)}[..., {', '.join(['None'] * rank)}]"
    return text
