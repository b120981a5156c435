"""Linear systems. A primitive, because no product or sum of others inverts a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Node, TensorType
from archdsl.graph.sizes import Size, floordiv
from archdsl.primitives.axes import promoted, require_kind
from archdsl.primitives.base import Primitive, Use, elements
from archdsl.primitives.product import lead_axes, padded
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Pure

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


class Solve(Pure[Attrs]):
    """a [.., n, n], b [.., n, m] -> [.., n, m]: the x with a @ x = b."""

    name = "solve"
    inputs = ("a", "b")
    doc = "The x with a @ x = b: the discretisation of a continuous system, say. solve(a, eye(n)) is the inverse."

    def infer(self, use: Use[Attrs]) -> list[TensorType]:
        use.rank(0, 2)
        use.rank(1, 2)
        a, b = require_kind(use, 0, "float", "complex"), require_kind(use, 1, "float", "complex")
        use.same(a.axes[-2].size, a.axes[-1].size, "rows and columns of the matrix")
        use.same(a.axes[-1].size, b.axes[-2].size, "columns of the matrix and rows of the right side")
        lead = lead_axes(use, a.axes[:-2], b.axes[:-2])
        return [TensorType((*lead, *b.axes[-2:]), promoted((a.kind, b.kind)), a.batched or b.batched)]

    def flops(self, node: Node[Attrs]) -> Size:
        a, b = (value.type for value in node.inputs)
        n = a.axes[-1].size
        return floordiv(elements(a) * n * 2, 3) + 2 * elements(b) * n

    def time(self, node: Node[Attrs], index: int, axis: int) -> Reach:
        return everything("solves over the axis") if axis == -2 or (index == 0 and axis == -1) else SAME

    def emit(self, node: Node[Attrs], args: list[str], e: Emitter) -> str:
        lead = max(value.type.rank for value in node.inputs) - 2
        return call("torch.linalg.solve", *(padded(text, value, 2, lead) for text, value in zip(args, node.inputs)))


PRIMITIVES: tuple[Primitive[Any], ...] = (Solve(),)
