"""Losses that balance a router, to stand beside a `route`. They look at every position of the batch, so they belong in `aux`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.graph.ir import Node, TensorType
from archdsl.graph.sizes import Size
from archdsl.primitives.base import Param, Primitive, Use
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter


class RouterLoss(Uncounted):
    """A scalar over all positions of the batch, to be added to the loss: `aux balance = balance_loss(logits, k=2)`."""

    inputs = ("logits",)

    def __init__(self, name: str, doc: str, source: str, *params: Param) -> None:
        self.name, self.doc, self.source, self.params = name, doc, source, params

    def infer(self, use: Use) -> list[TensorType]:
        given = use.rank(0, 1)
        if given.kind != "float":
            use.fail("AD0314", f"{self.name} needs float logits", f"this one is {given}")
        if self.name == "balance_loss":
            self._check_options(use, given.sizes[-1])
        return [TensorType((), "float", batched=False)]

    def _check_options(self, use: Use, experts: Size) -> None:
        k, router = use.args["k"], use.args["router"]
        if router not in ("topk", "relu"):
            use.fail("AD0316", f"balance_loss knows no router `{router}`", "topk or relu")
        if not isinstance(k, int) or (isinstance(experts, int) and k > experts):
            use.fail("AD0316", f"k = {k} of {experts} experts", "k is a number of experts")

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return everything("averages over all positions") if axis != -1 else SAME

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        if self.name == "z_loss":
            return call(e.support("z_loss"), args[0])
        return call(e.support("balance_loss"), args[0], str(node.attrs["k"]), f'"{node.attrs["router"]}"')


PRIMITIVES: tuple[Primitive, ...] = (
    RouterLoss(
        "balance_loss",
        "Load-balancing loss of a router; 1 when routing is even.",
        "Fedus et al., 2022; Wang et al., 2024 (relu)",
        Param("k", "size", 1, "experts per position"),
        Param("router", "str", "topk", "topk or relu"),
    ),
    RouterLoss("z_loss", "Keeps a router's logits small.", "Zoph et al., 2022"),
)
