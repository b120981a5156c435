"""Contractions by named axes: einsum("t d, e d -> t e", x, w), without the batch axis."""

from __future__ import annotations

from string import ascii_letters
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import promoted
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.patterns import Group, PatternAttrs, Side, refill, refuse, side, sides, sizes_given, spread, text_of
from archdsl.primitives.product import alike
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.traits import Pure
from archdsl.recurrence.definition import Moves

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


@frozen
class EinsumAttrs(PatternAttrs):
    pattern: str = param("str", doc='for each input its axes, "->", the axes that stay: "t d, e d -> t e"')
    terms: tuple[tuple[str, ...], ...] = ()  # the names of each input's axes
    result: tuple[str, ...] = ()


class Einsum(Pure[EinsumAttrs]):
    """Sums products over every axis that the right side leaves out. Named sizes (h=4) are checked."""

    name = "einsum"
    category = "weights"
    inputs = ("x",)
    variadic = True
    attributes = EinsumAttrs
    open = True
    doc = "Products summed over the axes that the right side leaves out."

    def infer(self, use: Use[EinsumAttrs]) -> list[TensorType]:
        pattern = text_of(use)
        left, right = sides(use, pattern)
        reads = [side(use, pattern, text) for text in left.split(",")]
        if len(reads) != len(use.types):
            refuse(use, pattern, f"it has {len(reads)} inputs, {len(use.types)} were given")
        out = side(use, pattern, right)
        axes: dict[str, Axis] = {}
        terms: list[list[str]] = []
        rest = 0
        for read, given in zip(reads, use.types):
            groups = _plain(use, pattern, spread(use, pattern, read, given.rank))
            skipped = given.rank - len(read.groups) + 1 if read.rest is not None else 0
            rest = max(rest, skipped)
            self._bind(use, pattern, groups, given, axes)
            terms.append(groups)
        if len(axes) > len(ascii_letters):
            refuse(use, pattern, f"more than {len(ascii_letters)} different axes")
        result = _plain(use, pattern, refill(out, rest))
        self._check_output(use, pattern, result, axes, reads)
        for name, size in sizes_given(use, pattern).items():
            if name not in axes:
                refuse(use, pattern, f"`{name}` is not in the pattern")
            use.same(axes[name].size, size, f'{name} in "{pattern}"')
        use.attrs = replace(use.attrs, terms=tuple(map(tuple, terms)), result=tuple(result))
        batched = any(t.batched for t in use.types)
        return [TensorType(tuple(axes[name] for name in result), promoted(t.kind for t in use.types), batched)]

    def _bind(self, use: Use[EinsumAttrs], pattern: str, names: list[str], given: TensorType, axes: dict[str, Axis]) -> None:
        for name, axis in zip(names, given.axes):
            known = axes.get(name)
            if known is None:
                axes[name] = axis
                continue
            use.same(known.size, axis.size, f'`{name.lstrip(".")}` in "{pattern}"')
            if axis.ragged and not known.ragged:
                axes[name] = axis

    def _check_output(self, use: Use[EinsumAttrs], pattern: str, result: list[str], axes: dict[str, Axis], reads: list[Side]) -> None:
        if any(read.rest is not None for read in reads) and len({read.rest is None for read in reads}) == 2:
            if any(t.batched for t, read in zip(use.types, reads) if read.rest is None):
                refuse(use, pattern, "`...` stands on some batched inputs only", "Write the axes out by name.")
        for name in result:
            if name not in axes:
                refuse(use, pattern, f"the axis `{name}` is in no input")
            if result.count(name) > 1:
                refuse(use, pattern, f"the axis `{name}` occurs twice on the right")

    def flops(self, node: Node[EinsumAttrs]) -> Size:
        sizes: dict[str, Size] = {}
        for term, value in zip(node.attrs.terms, node.inputs):
            sizes.update(zip(term, value.type.sizes))
        total: Size = 1
        for size in sizes.values():
            total = total * size
        summed = set(sizes) - set(node.attrs.result)
        return total * (len(node.inputs) if summed else len(node.inputs) - 1)

    def time(self, node: Node[EinsumAttrs], index: int, axis: int) -> Reach:
        return SAME if node.attrs.terms[index][axis] in node.attrs.result else everything("sums over the axis")

    def emit(self, node: Node[EinsumAttrs], args: list[str], e: Emitter) -> str:
        terms, result = node.attrs.terms, node.attrs.result
        letters = _letters([name for term in terms for name in term])
        texts = []
        for term, value in zip(terms, node.inputs):
            texts.append(("..." if value.type.batched else "") + "".join(letters[name] for name in term))
        right = ("..." if node.outputs[0].type.batched else "") + "".join(letters[name] for name in result)
        factors = [alike(text, value, node, e) for text, value in zip(args, node.inputs)]
        return f'torch.einsum("{",".join(texts)}->{right}", {", ".join(factors)})'

    def moves(self, node: Node[EinsumAttrs]) -> Moves:
        return "before"


def _plain(use: Use[Any], pattern: str, groups: list[Group]) -> list[str]:
    """Names only: brackets and 1 have no place in a contraction."""
    for group in groups:
        if len(group) != 1:
            refuse(use, pattern, "brackets and 1 have no place here", "Split or merge axes with rearrange first.")
    return [group[0] for group in groups]


def _letters(names: list[str]) -> dict[str, str]:
    """One letter for each axis name: its first where that is free."""
    found: dict[str, str] = {}
    free = iter(ascii_letters)
    for name in names:
        if name in found:
            continue
        first = name[0] if name[0].isascii() and name[0].isalpha() else "z"
        found[name] = first if first not in found.values() else next(c for c in free if c not in found.values())
    return found


PRIMITIVES: tuple[Primitive[Any], ...] = (Einsum(),)
