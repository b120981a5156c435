"""Discrete Fourier transforms along axes. rfft makes complex values of n // 2 + 1 frequencies; irfft needs the size it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Poly, Size, floordiv
from archdsl.primitives.axes import lose_lengths, replaced
from archdsl.primitives.base import Primitive, Use, param, with_axes
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

NORMS = ("backward", "ortho", "forward")


@frozen
class FourierAttrs(Attrs):
    axis: list[int] = param("any", -1, "axis number or list of axes")
    norm: str = param("str", "backward", "backward (the inverse divides by n), ortho (both by sqrt(n)) or forward")
    n: Size = 0  # size of the axis that is halved or made whole


@frozen
class InverseRealAttrs(FourierAttrs):
    n: Size = param("any", None, "size of the real axis; 2 * (frequencies - 1) if left out")


class Fourier(Uncounted[FourierAttrs]):
    """fft, ifft, rfft or irfft along one axis or several (the last of the list is the halved one)."""

    attributes = FourierAttrs
    category = "mixing"
    source = "Cooley & Tukey, 1965"

    def __init__(self, name: str, doc: str) -> None:
        self.name, self.doc = name, doc
        if name == "irfft":
            self.attributes = InverseRealAttrs

    def infer(self, use: Use[FourierAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind not in (("float",) if self.name == "rfft" else ("float", "complex")):
            use.fail("AD0314", f"{self.name} needs {'real' if self.name == 'rfft' else 'float or complex'} entries", f"this one is {given}")
        if use.args.norm not in NORMS:
            use.fail("AD0316", f"{self.name} has no norm `{use.args.norm}`", f"one of {', '.join(NORMS)}")
        written: Any = use.args.axis
        over = [use.axis(0, a) for a in (written if isinstance(written, (list, tuple)) else [written])]
        if not over or len(set(over)) < len(over):
            use.fail("AD0304", f"{self.name} needs distinct axes", f"axis = {written}")
        axes = given.axes
        for axis in over:
            old = axes[axis]
            lose_lengths(use, old)
            axes = replaced(axes, axis, Axis(self._size(use, old.size) if axis == over[-1] else old.size))
        use.attrs = replace(use.attrs, axis=over, n=axes[over[-1]].size)
        return [with_axes(given, axes, "float" if self.name == "irfft" else "complex")]

    def _size(self, use: Use[FourierAttrs], size: Size) -> Size:
        if self.name == "rfft":
            return floordiv(size, 2, use.facts) + 1
        n: Any = use.args.n
        if self.name != "irfft" or n is None:
            return 2 * (size - 1) if self.name == "irfft" else size
        if isinstance(n, bool) or not isinstance(n, (int, Poly)) or (isinstance(n, int) and n < 1):
            use.fail("AD0316", "`n` of irfft must be a size", f"this is {n}")
        use.same(floordiv(n, 2, use.facts) + 1, size, f"the frequencies of {n} real entries")
        return n

    def time(self, node: Node[FourierAttrs], index: int, axis: int) -> Reach:
        return everything("transforms the whole axis") if axis in node.attrs.axis else SAME

    def emit(self, node: Node[FourierAttrs], args: list[str], e: Emitter) -> str:
        over, norm = node.attrs.axis, node.attrs.norm
        named: dict[str, str] = {}
        if self.name == "irfft":
            one = e.size(node.attrs.n)
            others = [e.size(node.inputs[0].type.axes[a].size) for a in over[:-1]]
            named["n" if len(over) == 1 else "s"] = one if len(over) == 1 else f"({', '.join([*others, one])})"
        named["dim"] = str(over[0]) if len(over) == 1 else f"({', '.join(map(str, over))})"
        if norm != "backward":
            named["norm"] = f'"{norm}"'
        return call(f"torch.fft.{self.name}{'n' if len(over) > 1 else ''}", args[0], **named)


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Fourier("fft", "Complex Fourier transform."),
    Fourier("ifft", "Inverse of fft."),
    Fourier("rfft", "Fourier transform of real entries: n // 2 + 1 frequencies."),
    Fourier("irfft", "Inverse of rfft."),
)
