"""A factor that training steers by what it measures.

A primitive, because the factor is a weight that every training step changes without a gradient, like the averages of batch normalisation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Init, Node, TensorType, frozen
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.parameters import number, weight
from archdsl.primitives.reach import Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


@frozen
class FeedbackAttrs(Attrs):
    target: float = param("number", doc="the mean that the factor steers to: it grows while the measured mean is below")
    rate: float = param("number", 1.2, "by how much it changes at each step")
    start: float = param("number", 1e-8, "where it begins")


class Feedback(Uncounted[FeedbackAttrs]):
    """measured [..] -> a scalar: times `rate` after each training step whose mean was below the target, else divided by it."""

    name = "feedback"
    inputs = ("measured",)
    attributes = FeedbackAttrs
    doc = "A factor saved with the weights that grows while what it measures is below a target, and shrinks otherwise."
    source = "Wang et al., ReMoE, 2024 (the weight of a sparsity loss)"

    def infer(self, use: Use[FeedbackAttrs]) -> list[TensorType]:
        require_kind(use, 0, "float")
        number(use, "rate", use.args.rate, 1, above=True)
        start = number(use, "start", use.args.start, 0, above=True)
        weight(use, "factor", (), Init("constant", (float(start),)), trainable=False)
        return [TensorType((), "float", batched=False)]

    def time(self, node: Node[FeedbackAttrs], index: int, axis: int) -> Reach:
        return everything("averages over all positions")

    def emit(self, node: Node[FeedbackAttrs], args: list[str], e: Emitter) -> str:
        target, rate = repr(float(node.attrs.target)), repr(float(node.attrs.rate))
        return call(e.support("steered"), e.weight("factor"), args[0], target, rate, e.training)


PRIMITIVES: tuple[Primitive[Any], ...] = (Feedback(),)
