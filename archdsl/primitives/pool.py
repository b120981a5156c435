"""Pooling over windows of the 1, 2 or 3 axes behind the channels: [c, T], [c, H, W], [c, D, H, W]. Global pools are mean and amax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_compare, floordiv
from archdsl.primitives.axes import lose_lengths
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything, window
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

LOOKS = "pools over a window of the axis"


def each(use: Use[Any], name: str, value: Any, n: int, least: int) -> list[int]:
    """A number for all n axes, or a list with one for each."""
    given = list(value) if isinstance(value, (list, tuple)) else [value] * n
    if len(given) != n or not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in given):
        use.fail(
            "AD0316",
            f"`{name}` of {use.primitive.name} must be a whole number of at least {least}, or a list of {n}",
            f"this is {value}",
        )
    return given


def written(values: list[int]) -> str:
    """Source of per-axis numbers: one number if all are equal."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def over_lead(node: Node[Any], n: int, text: str, x: str, e: Emitter, **named: str) -> str:
    """Source of a torch pool applied to x, whose axes before [c, *n axes] (other than one batch axis) are folded away."""
    if node.inputs[0].type.rank == n + 1:
        return call(text, x, **named)
    inner = call(text, "x", **named)
    return f"{e.support('fold_lead')}(lambda x: {inner}, {x}, {n + 1})"


@frozen
class WindowsAttrs(Attrs):
    k: list[int] = param("any", doc="window, a number or one for each axis")
    stride: list[int] = param("any", None, "distance between windows; k if left out")
    padding: list[int] = param("any", 0, "entries added at both ends: they never win a maximum")
    ceil: bool = param("bool", False, "also a last window that is only partly filled")


@frozen
class MeanWindowsAttrs(WindowsAttrs):
    count_pad: bool = param("bool", True, "whether padding counts in the mean")


class Windows(Uncounted[WindowsAttrs]):
    """maxpool and avgpool: windows of k entries, `stride` apart (k by default), with `padding` on both sides."""

    attributes = WindowsAttrs

    def __init__(self, kind: str, n: int) -> None:
        self.kind, self.n = kind, n
        self.name = f"{kind}pool{n}d"
        self.doc = f"{'Largest' if kind == 'max' else 'Mean'} entry of windows over the last {n} axes."
        if kind == "avg":
            self.attributes = MeanWindowsAttrs

    def infer(self, use: Use[WindowsAttrs]) -> list[TensorType]:
        given = use.rank(0, self.n + 1)
        k = each(use, "k", use.args.k, self.n, 1)
        stride = k if use.args.stride is None else each(use, "stride", use.args.stride, self.n, 1)
        padding = each(use, "padding", use.args.padding, self.n, 0)
        if given.kind != "float":
            use.fail("AD0314", f"{self.name} needs float entries", f"this one is {given}")
        axes = list(given.axes)
        for i, (w, s, p) in enumerate(zip(k, stride, padding)):
            at = len(axes) - self.n + i
            if 2 * p > w:
                use.fail("AD0316", f"padding {p} is more than half the window {w}", f"{self.name} would have windows of padding only")
            axes[at] = self._windows(use, given.axes[at], at, (w, s, p))
        use.attrs = replace(use.attrs, k=k, stride=stride, padding=padding)
        return [with_axes(given, tuple(axes))]

    def _windows(self, use: Use[WindowsAttrs], axis: Axis, at: int, window: tuple[int, int, int]) -> Axis:
        k, stride, padding = window
        if (k, stride, padding) == (1, 1, 0):
            return axis
        room: Size = axis.size + 2 * padding
        if decide_compare("<", room, k, use.facts):
            use.fail("AD0316", f"a window of {k} does not fit in an axis of size {axis.size}", f"axis {at} of {use.types[0]}")
        if k == stride and padding == 0 and not use.args.ceil:
            count = floordiv(axis.size, k, use.facts)
        elif use.args.ceil:
            count = self._ceil_windows(use, room, axis, window)
        else:
            count = floordiv(room - k + stride, stride, use.facts)
        same = count == axis.size
        if not same:
            lose_lengths(use, axis)
        return Axis(count, axis.identity, axis.ragged) if same else Axis(count)

    def _ceil_windows(self, use: Use[WindowsAttrs], room: Size, axis: Axis, window: tuple[int, int, int]) -> Size:
        k, stride, padding = window
        count = floordiv(room - k + 2 * stride - 1, stride, use.facts)
        # torch drops a last window that would begin in the padding on the right.
        if isinstance(count, int) and isinstance(axis.size, int):
            return count - ((count - 1) * stride >= axis.size + padding)
        if padding:
            use.fail("AD0316", f"{self.name} with ceil and padding needs axes of known size", f"this axis is {axis.size}")
        return count

    def time(self, node: Node[WindowsAttrs], index: int, axis: int) -> Reach:
        i = axis + self.n
        if i < 0:
            return SAME
        k, stride, padding = node.attrs.k[i], node.attrs.stride[i], node.attrs.padding[i]
        return SAME if (k, stride, padding) == (1, 1, 0) else window(padding, k - 1 - padding, LOOKS, stride)

    def emit(self, node: Node[WindowsAttrs], args: list[str], e: Emitter) -> str:
        a = node.attrs
        named = {"kernel_size": written(a.k), "stride": written(a.stride)}
        if a.stride == a.k:
            del named["stride"]
        if any(a.padding):
            named["padding"] = written(a.padding)
        if a.ceil:
            named["ceil_mode"] = "True"
        if isinstance(a, MeanWindowsAttrs) and not a.count_pad:
            named["count_include_pad"] = "False"
        x = args[0]
        axes = node.inputs[0].type.axes
        ragged = [(i, length) for i in range(-self.n, 0) if (length := e.lengths(axes[i])) is not None]
        if not ragged:
            return over_lead(node, self.n, f"F.{self.kind}_pool{self.n}d", x, e, **named)
        (axis, lengths), *_ = ragged
        pool = call(f"F.{self.kind}_pool{self.n}d", "x", **{**named, **({"count_include_pad": "True"} if self.kind == "avg" else {})})
        return call(e.support(f"masked_{self.kind}_pool"), f"lambda x: {pool}", x, lengths, str(axis), str(self.n))


@frozen
class AdaptiveAttrs(Attrs):
    out: list[int] = param("any", doc="how many windows, a number or one for each axis")


class Adaptive(Uncounted[AdaptiveAttrs]):
    """Pools an axis of any size to `out` windows of nearly equal width."""

    attributes = AdaptiveAttrs

    def __init__(self, kind: str, n: int) -> None:
        self.kind, self.n = kind, n
        self.name = f"adaptive_{kind}pool{n}d"
        self.doc = f"{'Largest' if kind == 'max' else 'Mean'} entry of `out` nearly equal windows over each of the last {n} axes."

    def infer(self, use: Use[AdaptiveAttrs]) -> list[TensorType]:
        given = use.rank(0, self.n + 1)
        out = each(use, "out", use.args.out, self.n, 1)
        if given.kind != "float":
            use.fail("AD0314", f"{self.name} needs float entries", f"this one is {given}")
        use.attrs = replace(use.attrs, out=out)
        for axis in given.axes[-self.n :]:
            lose_lengths(use, axis)
        return [with_axes(given, (*given.axes[: -self.n], *(Axis(size) for size in out)))]

    def time(self, node: Node[AdaptiveAttrs], index: int, axis: int) -> Reach:
        return everything(LOOKS) if axis >= -self.n else SAME

    def emit(self, node: Node[AdaptiveAttrs], args: list[str], e: Emitter) -> str:
        return over_lead(node, self.n, f"F.adaptive_{self.kind}_pool{self.n}d", args[0], e, output_size=written(node.attrs.out))


PRIMITIVES: tuple[Primitive[Any], ...] = (
    *(Windows(kind, n) for kind in ("max", "avg") for n in (1, 2, 3)),
    *(Adaptive(kind, n) for kind in ("max", "avg") for n in (1, 2, 3)),
)
