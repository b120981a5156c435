"""Larger or smaller grids by interpolation. Pixel shuffle and patches are rearrange patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives.axes import lose_lengths
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.pool import each
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

MODES = {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "trilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}


@frozen
class UpsampleAttrs(Attrs):
    scale: list[int] | None = param("any", None, "whole factor, a number or one for each axis")
    mode: str = param("str", "nearest", "nearest, linear (bilinear, trilinear) or cubic")
    size: list[Size] = param("any", None, "the new sizes, instead of scale")
    corners: bool = param("bool", False, "linear and cubic: the outermost entries stay where they are, instead of the outer edges")


class Upsample(Uncounted[UpsampleAttrs]):
    """`upsample(2)` doubles the axes after the channels of [c, T], [c, H, W] or [c, D, H, W]; `size=[h, w]` gives them outright."""

    name = "upsample"
    attributes = UpsampleAttrs
    doc = "Interpolates the axes after the channels to a larger grid."

    def infer(self, use: Use[UpsampleAttrs]) -> list[TensorType]:
        given = use.rank(0, 2)
        n = given.rank - 1
        if n > 3:
            use.fail("AD0303", "upsample works on [c, T], [c, H, W] or [c, D, H, W]", f"this one is {given}")
        if given.kind != "float":
            use.fail("AD0314", "upsample needs float entries", f"this one is {given}")
        mode = MODES.get(use.args.mode)
        if mode is None or (mode == "cubic" and n != 2):
            use.fail("AD0316", f"upsample has no mode `{use.args.mode}` here", "nearest, linear; cubic for two axes")
        if use.args.corners and mode == "nearest":
            use.fail("AD0316", "nearest entries have no corners to keep", "corners=true", hint='Add mode="linear", or leave corners out.')
        sizes, scale = self._sizes(use, given, n)
        use.attrs = replace(use.attrs, mode=mode, size=sizes, scale=scale)
        axes = []
        for old, size in zip(given.axes[1:], sizes):
            if size != old.size:
                lose_lengths(use, old)
            axes.append(old if size == old.size else Axis(size))
        return [with_axes(given, (given.axes[0], *axes))]

    def _sizes(self, use: Use[UpsampleAttrs], given: TensorType, n: int) -> tuple[list[Size], list[int] | None]:
        scale: Any = use.args.scale
        size: Any = use.args.size
        if (scale is None) == (size is None):
            use.fail("AD0316", "upsample needs either a scale or a size", "give exactly one", hint="For example upsample(2).")
        if scale is not None:
            factors = each(use, "scale", scale, n, 1)
            return [axis.size * f for axis, f in zip(given.axes[1:], factors)], factors
        sizes = list(size) if isinstance(size, (list, tuple)) else [size] * n
        if len(sizes) != n or not all(isinstance(s, Poly) or (isinstance(s, int) and not isinstance(s, bool) and s > 0) for s in sizes):
            use.fail("AD0316", f"`size` of upsample must be a size or a list of {n}", f"this is {size}")
        return sizes, None

    def time(self, node: Node[UpsampleAttrs], index: int, axis: int) -> Reach:
        return everything("resamples the axis") if axis >= 1 - node.inputs[0].type.rank else SAME

    def emit(self, node: Node[UpsampleAttrs], args: list[str], e: Emitter) -> str:
        scale, n = node.attrs.scale, node.inputs[0].type.rank - 1
        if scale is not None and node.attrs.mode == "nearest":
            text = args[0]
            for i, factor in enumerate(scale):
                if factor > 1:
                    text = method(text, "repeat_interleave", str(factor), str(i - n))
            return text
        sizes = ", ".join(e.size(size) for size in node.attrs.size)
        corners = {"corners": "True"} if node.attrs.corners else {}
        return call(e.support("resize"), args[0], str(n), f"({sizes}{',' if n == 1 else ''})", f'"{node.attrs.mode}"', **corners)


PRIMITIVES: tuple[Primitive[Any], ...] = (Upsample(),)
