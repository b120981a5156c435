"""x[1..], x[0], x[.., -1]: parts of a value by position, and the first and last real position of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Poly, Size, decide_compare
from archdsl.primitives.axes import lose_lengths
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import atom, call, method
from archdsl.primitives.traits import KeepsNothing, Uncounted
from archdsl.recurrence.definition import Definition, NotElementary, sizes_of
from archdsl.recurrence.step import INDICES, reindexed

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

# A plan entry per input axis: ("all",), ("at", i) or ("part", start, stop, length, certain); ("new",) makes an axis.
Entry = tuple[Any, ...]


@frozen
class SliceAttrs(Attrs):
    items: Any = param("any", doc="one item for each axis from the first; `..` stands for the rest")


class Slice(KeepsNothing, Uncounted[SliceAttrs]):
    """attrs items: whole numbers (that entry, the axis goes), (start, stop) with None for an open end, Ellipsis, None (a new axis)."""

    name = "slice"
    parts = "each"
    attributes = SliceAttrs
    doc = "A part of a value by position. Negative positions count from the end."

    def infer(self, use: Use[SliceAttrs]) -> list[TensorType]:
        given = use.types[0]
        plan = self._plan(use, given)
        axes: list[Axis] = []
        old = iter(given.axes)
        for entry in plan:
            if entry[0] == "new":
                axes.append(Axis(1))
                continue
            axis = next(old)
            if entry[0] == "all":
                axes.append(axis)
            elif entry[0] == "part":
                lose_lengths(use, axis)
                axes.append(Axis(entry[3]))
        use.attrs = replace(use.attrs, items=plan)
        return [with_axes(given, tuple(axes))]

    def _plan(self, use: Use[SliceAttrs], given: TensorType) -> list[Entry]:
        items = list(use.args.items)
        used = sum(1 for item in items if item is not Ellipsis and item is not None)
        if items.count(Ellipsis) > 1:
            use.fail("AD0316", "an index has `..` for the other axes once", "it stands twice")
        if used > given.rank:
            use.fail("AD0304", f"an index with {used} items for {given.rank} axes", f"the value is {given}")
        if Ellipsis not in items:
            items.append(Ellipsis)
        at = items.index(Ellipsis)
        items[at : at + 1] = [(None, None)] * (given.rank - used)
        plan: list[Entry] = []
        position = 0
        for item in items:
            if item is None:
                plan.append(("new",))
                continue
            size = given.axes[position].size
            plan.append(_part(use, given, position, size, item))
            position += 1
        return plan

    def time(self, node: Node[SliceAttrs], index: int, axis: int) -> Reach:
        entries = [entry for entry in node.attrs.items if entry[0] != "new"]
        kind = entries[axis][0]
        if kind == "all":
            return SAME
        return everything("picks one position" if kind == "at" else "takes a part of the axis")

    def emit(self, node: Node[SliceAttrs], args: list[str], e: Emitter) -> str:
        plan = node.attrs.items
        text, parts = args[0], []
        axes = sum(1 for entry in plan if entry[0] != "new")
        for entry in plan:
            axes -= entry[0] != "new"
            if entry[0] == "part" and not entry[4]:  # narrow complains where the axis turns out too short; a slice would not
                text = method(text, "narrow", str(-axes - 1), _ends(entry[1] or 0, e), _ends(entry[3], e))
                parts.append(":")
            elif entry[0] == "part":
                parts.append(":".join("" if end is None else _ends(end, e) for end in entry[1:3]))
            else:
                parts.append({"all": ":", "new": "None"}.get(entry[0]) or _ends(entry[1], e))
        while parts and parts[0] == ":":  # `...` covers them
            del parts[0]
        if not parts:
            return text
        return f"{atom(text)}[..., {', '.join(parts)}]"

    def equations(self, node: Node[SliceAttrs], c: Converter) -> Definition:
        source = c.held(c.known[node.inputs[0]], node.inputs[0].name or "t")
        names: dict[str, str] = {}
        out = axis = 0
        for kind, *ends in node.attrs.items:
            if kind == "new":
                out += 1
                continue
            start = 0 if kind == "all" or ends[0] is None else ends[0]
            if not isinstance(start, int):
                raise NotElementary("an index that data brings", node.origin.span)
            start %= source.shape[axis]
            if kind == "at":
                names[INDICES[axis]] = str(start)
            else:
                names[INDICES[axis]] = f"{INDICES[out]}+{start}" if start else INDICES[out]
                out += 1
            axis += 1
        return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


def _ends(size: Any, e: Emitter) -> str:
    return str(size) if isinstance(size, int) else e.size(size)


def _is_position(item: Any) -> bool:
    return isinstance(item, Poly) or (isinstance(item, int) and not isinstance(item, bool))


def _part(use: Use[Any], given: TensorType, position: int, size: Size, item: Any) -> Entry:
    """The plan entry of one item; checks that it lies within the axis as far as that is known."""
    where = f"axis {position} of {given}"
    if _is_position(item):
        if isinstance(item, int):
            inside = decide_compare("<=", -item if item < 0 else item + 1, size, use.facts)
            if inside is False:
                use.fail("AD0316", f"position {item} is outside an axis of size {size}", where)
        return ("at", item)
    if not isinstance(item, tuple) or len(item) != 2 or not all(end is None or _is_position(end) for end in item):
        use.fail("AD0316", "an index item is a whole number, a range, or `..`", where)
    start, stop = item
    if start is None and stop is None:
        return ("all",)
    low: Size = 0 if start is None else _from_front(start, size)
    high: Size = size if stop is None else _from_front(stop, size)
    length: Any = high - low
    certain = True
    for end, text in ((low, start), (high, stop)):
        if text is None:
            continue
        verdicts = [decide_compare("<=", 0, end, use.facts), decide_compare("<=", end, size, use.facts)]
        if False in verdicts:
            use.fail("AD0316", f"position {text} is outside an axis of size {size}", where)
        certain = certain and all(verdicts)
    if decide_compare("<", 0, length, use.facts) is False:
        use.fail("AD0316", "this range holds nothing", where, note=f"It would run from {low} to {high}.")
    if length == size:
        return ("all",)
    if stop is not None and isinstance(high, int) and isinstance(stop, int) and stop < 0:
        stop = high
    return ("part", start or None, stop, length, certain) if certain else ("part", low, high, length, certain)


def _from_front(end: Size, size: Size) -> Size:
    """A position counted from the front; negative ones count from the end."""
    return size + end if isinstance(end, int) and end < 0 else end


class AtEnd(Uncounted[Attrs]):
    """The first or the last real position along the first axis."""

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        return [with_axes(given, given.axes[1:])]

    def time(self, node: Node[Attrs], index: int, axis: int) -> Reach:
        return everything("picks one position") if axis == -node.inputs[0].type.rank else SAME

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        rank = node.inputs[0].type.rank
        lengths = e.lengths(node.inputs[0].type.axes[0])
        if self.name == "last" and lengths is not None:
            return call(e.support("last_real"), args[0], lengths, str(-rank))
        return f"{atom(args[0])}[..., {', '.join(['0' if self.name == 'first' else '-1', *[':'] * (rank - 1)])}]"


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Slice(),
    AtEnd("first", "The first position along axis 0."),
    AtEnd("last", "The last real position along axis 0: each sequence's own where there are lengths."),
)
