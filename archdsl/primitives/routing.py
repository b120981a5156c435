"""Losses that balance a router, to stand beside a `route`. They look at every position of the batch, so they belong in `aux`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Node, TensorType, frozen
from archdsl.graph.sizes import Size
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


@frozen
class RouterLossAttrs(Attrs):
    """Of z_loss, which has no parameters."""


@frozen
class BalanceAttrs(RouterLossAttrs):
    k: int = param("size", 1, "experts per position")
    router: str = param("str", "topk", "topk or relu")


class RouterLoss(Uncounted[RouterLossAttrs]):
    """A scalar over all positions of the batch, to be added to the loss: `aux balance = balance_loss(logits, k=2)`."""

    inputs = ("logits",)

    def __init__(self, name: str, doc: str, source: str, attributes: type[RouterLossAttrs] = RouterLossAttrs) -> None:
        self.name, self.doc, self.source, self.attributes = name, doc, source, attributes

    def infer(self, use: Use[RouterLossAttrs]) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind != "float":
            use.fail("AD0314", f"{self.name} needs float logits", f"this one is {given}")
        if isinstance(use.args, BalanceAttrs):
            self._check_options(use, use.args, given.sizes[-1])
        return [TensorType((), "float", batched=False)]

    def _check_options(self, use: Use[RouterLossAttrs], given: BalanceAttrs, experts: Size) -> None:
        k, router = given.k, given.router
        if router not in ("topk", "relu"):
            use.fail("AD0316", f"balance_loss knows no router `{router}`", "topk or relu")
        if not isinstance(k, int) or (isinstance(experts, int) and k > experts):
            use.fail("AD0316", f"k = {k} of {experts} experts", "k is a number of experts")

    def time(self, node: Node[RouterLossAttrs], index: int, axis: int) -> Reach:
        return everything("averages over all positions") if axis != -1 else SAME

    def emit(self, node: Node[RouterLossAttrs], args: list[str], e: Emitter) -> str:
        a = node.attrs
        if not isinstance(a, BalanceAttrs):
            return call(e.support("z_loss"), args[0])
        return call(e.support("balance_loss"), args[0], str(a.k), f'"{a.router}"')


PRIMITIVES: tuple[Primitive[Any], ...] = (
    RouterLoss(
        "balance_loss",
        "Load-balancing loss of a router; 1 when routing is even.",
        "Fedus et al., 2022; Wang et al., 2024 (relu)",
        BalanceAttrs,
    ),
    RouterLoss("z_loss", "Keeps a router's logits small.", "Zoph et al., 2022"),
)
