"""Moving, splitting, merging and repeating axes by a pattern. Axes that are kept whole keep their identity.

Emitted as unflatten, transpose or movedim, and flatten on axes counted from the end: no pattern is read at run time.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import is_one, lose_lengths
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.patterns import Group, PatternAttrs, Side, refill, refuse, side, sides, sizes_given, spread, text_of, unique
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import KeepsNothing, Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

# ("unflatten", axis, sizes), ("squeeze" or "unsqueeze", axis), ("transpose" or "move", from, to), ("new", axis, size), or
# ("flatten", first, last)
Step = tuple[Any, ...]


@frozen
class RearrangeAttrs(PatternAttrs):
    pattern: str = param("str", doc="einops notation without the batch axis")
    plan: tuple[Step, ...] = ()
    back: tuple[Step, ...] | None = None  # the plan of the way back, where there is one
    kept: list[int] = field(default_factory=list)  # input axes that go on in the output


class Rearrange(KeepsNothing, Uncounted[RearrangeAttrs]):
    """`rearrange("t (h c) -> h t c", h=9)`; with `new` also axes that only the right side has (tile)."""

    attributes = RearrangeAttrs
    open = True

    def __init__(self, name: str, new: bool, doc: str) -> None:
        self.name, self.new, self.doc = name, new, doc
        self.short = "" if new else "y"
        self.source = "notation: einops (Rogozhnikov, ICLR 2022)"

    def infer(self, use: Use[RearrangeAttrs]) -> list[TensorType]:
        given, pattern = use.types[0], text_of(use)
        left, right = (side(use, pattern, text) for text in sides(use, pattern))
        unique(use, pattern, left)
        unique(use, pattern, right)
        self._names_agree(use, pattern, left, right)
        before = spread(use, pattern, left, given.rank)
        after = refill(right, given.rank - len(left.groups) + 1)
        named = sizes_given(use, pattern)
        known: dict[str, Axis] = {name: Axis(size) for name, size in named.items()}
        for group, axis in zip(before, given.axes):
            _solve(use, pattern, group, axis, named, known)
        out = [_merge(use, group, known) for group in after]
        back = None if self.new else _plan(after, before, known)
        kept = [i - given.rank for i, group in enumerate(before) if _survives(group, given.axes[i], known, out)]
        use.attrs = replace(use.attrs, plan=_plan(before, after, known), back=back, kept=kept)
        for group, axis in zip(before, given.axes):
            if len(group) > 1 and all(known[n].identity != axis.identity for n in group):
                lose_lengths(use, axis)
        return [with_axes(given, tuple(out))]

    def _names_agree(self, use: Use[RearrangeAttrs], pattern: str, left: Side, right: Side) -> None:
        named = use.args.named
        if (left.rest is None) != (right.rest is None):
            refuse(use, pattern, "`...` stands on one side only")
        for name in left.names:
            if name not in right.names:
                refuse(use, pattern, f"the axis `{name}` is missing on the right", "To reduce over it use sum, mean or amax.")
        for name in right.names:
            if name not in left.names and not self.new:
                refuse(use, pattern, f"the axis `{name}` is missing on the left", "To repeat entries along a new axis use tile.")
            if name not in left.names and name not in named:
                refuse(use, pattern, f"the size of the new axis `{name}` is unknown", f"Give it: {name}=….")
        for name in named:
            if name not in left.names and name not in right.names:
                refuse(use, pattern, f"`{name}` is not in the pattern")

    def time(self, node: Node[RearrangeAttrs], index: int, axis: int) -> Reach:
        return SAME if axis in node.attrs.kept else everything("regroups positions along the axis")

    def emit(self, node: Node[RearrangeAttrs], args: list[str], e: Emitter) -> str:
        text = args[0]
        for step in node.attrs.plan:
            text = _write(text, step, e)
        return text

    def solvable(self, node: Node[RearrangeAttrs], unknown: list[int]) -> bool:
        return node.attrs.back is not None

    def solve(self, node: Node[RearrangeAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        text = outs[0]
        for step in node.attrs.back or ():
            text = _write(text, step, e)
        return [text]


def _solve(use: Use[Any], pattern: str, group: Group, axis: Axis, named: dict[str, Size], known: dict[str, Axis]) -> None:
    """Finds the sizes of the names that one input axis splits into; a name that is the whole axis takes its identity."""
    if not group:
        use.same(axis.size, 1, f'the axis written 1 in "{pattern}"')
        return
    if len(group) == 1:
        name = group[0]
        if name in named:
            use.same(axis.size, named[name], f'{name} in "{pattern}"')
        known[name] = axis
        return
    unknown = [name for name in group if name not in named]
    if len(unknown) > 1:
        refuse(use, pattern, f"the sizes of {' and '.join(unknown)} are both unknown", f"Give one of them: {unknown[0]}=….")
    product: Size = 1
    for name in group:
        product = product * named.get(name, 1)
    if not unknown:
        use.same(axis.size, product, f'({" ".join(group)}) in "{pattern}"')
    else:
        given = ", ".join(f"{name} = {named[name]}" for name in group if name in named)
        known[unknown[0]] = Axis(use.divides(axis.size, product, f'{use.primitive.name} "{pattern}" with {given}'))
    wide = [name for name in group if not is_one(known[name].size)]
    if len(wide) == 1:
        known[wide[0]] = axis


def _merge(use: Use[Any], group: Group, known: dict[str, Axis]) -> Axis:
    """The axis that several become; it is still the same one if the others have size 1."""
    parts = [known[name] for name in group]
    wide = [axis for axis in parts if not is_one(axis.size)]
    if len(wide) == 1:
        return wide[0]
    if not wide:
        return parts[0] if parts else Axis(1)
    size: Size = 1
    for axis in wide:
        lose_lengths(use, axis)
        size = size * axis.size
    return Axis(size)


def _survives(group: Group, axis: Axis, known: dict[str, Axis], out: list[Axis]) -> bool:
    return any(known[name] is axis for name in group) and any(axis is o for o in out) if group else True


def _plan(before: list[Group], after: list[Group], known: dict[str, Axis]) -> tuple[Step, ...]:
    """The steps that turn the input into the output, axes counted from the end at the moment of each step."""
    steps: list[Step] = []
    rank = len(before)
    for i, group in enumerate(before):  # from the left: positions counted from the end stay valid
        if len(group) > 1:
            steps.append(("unflatten", i - rank, tuple(known[name].size for name in group)))
        elif not group:
            steps.append(("squeeze", i - rank))
    have = [name for group in before for name in group]
    order = [name for group in after for name in group]
    wanted = [name for name in order if name in have]
    if have != wanted:
        steps.append(_moves(have, wanted))
    new = [("new", i - len(order), known[name].size) for i, name in enumerate(order) if name not in have]
    return (*steps, *reversed(new), *_merges(after))  # new axes from the right: each finds those to its right in place


def _moves(have: list[str], wanted: list[str]) -> Step:
    """A transposition, one axis moved, or a full reordering."""
    n = len(have)
    differ = [i for i in range(n) if have[i] != wanted[i]]
    if len(differ) == 2:
        return ("transpose", differ[0] - n, differ[1] - n)
    for i in range(n):
        rest = [name for name in have if name != have[i]]
        to = wanted.index(have[i])
        if [*rest[:to], have[i], *rest[to:]] == wanted:
            return ("move", i - n, to - n)
    first, last = differ[0], differ[-1] + 1
    return ("move", tuple(have.index(name) - n for name in wanted[first:last]), tuple(i - n for i in range(first, last)))


def _merges(after: list[Group]) -> tuple[Step, ...]:
    """Flattens and size-1 axes, from the left; positions count the parts still apart on the right."""
    steps: list[Step] = []
    right = sum(len(group) for group in after)
    for group in after:
        right -= len(group)
        if len(group) > 1:
            steps.append(("flatten", -len(group) - right, -1 - right))
        elif not group:
            steps.append(("unsqueeze", -1 - right))
    return tuple(steps)


def _write(text: str, step: Step, e: Emitter) -> str:
    kind, axis = step[0], step[1]
    if kind == "unflatten":
        return method(text, "unflatten", str(axis), f"({', '.join(_sizes(step[2], e))})")
    if kind == "new":
        return call(e.support("repeated"), text, str(axis), e.size(step[2]))
    if kind == "flatten" and step[2] == -1:
        return method(text, "flatten", str(axis))
    if kind == "move":
        return method(text, "movedim", str(axis), str(step[2]))
    return method(text, kind, *(str(a) for a in step[1:]))


def _sizes(sizes: tuple[Size, ...], e: Emitter) -> list[str]:
    """Sources of the parts of a split axis; one part not known as a number is left to torch."""
    open_parts = [i for i, size in enumerate(sizes) if not isinstance(size, int)]
    return ["-1" if [i] == open_parts else e.size(size) for i, size in enumerate(sizes)]


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Rearrange("rearrange", False, "Moves, splits and merges axes by a pattern."),
    Rearrange("tile", True, 'Like rearrange, with new axes on the right side along which entries repeat: "c -> c h w", h=4, w=4.'),
)
