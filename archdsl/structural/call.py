"""`call`: a block, applied. Its inputs are the arguments, then what the block captures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archdsl.graph.ir import Node, Region
from archdsl.structural.base import Applied, Feed, Outputs, Structural, body_of, instance_of
from archdsl.structural.time import Place, Time
from archdsl.structural.writer import Writer


class Call(Structural):
    name = "call"
    short = "h"
    opened = True
    transparent = True
    keeps_types = True

    def feeds(self, node: Node) -> list[Feed]:
        return [Feed(node, instance_of(node), body_of(node), tuple(range(len(node.inputs))), node.borrowed)]

    def own(self, node: Node) -> int:
        return len(body_of(node).inputs)

    def applied(self, node: Node) -> Applied:
        return Applied()

    def flow(self, node: Node, time: Time) -> list[Place]:
        (feed,) = self.feeds(node)
        seen = time.look(feed.region, feed.places(time))
        time.below([seen])
        return seen.outputs

    def needed(self, node: Node, used: Outputs, depends: Callable[[Region, Outputs], Outputs]) -> list[Outputs | None]:
        return [used]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(body_of(node), 1)]

    def undone(self, node: Node, unknown: list[int]) -> list[tuple[Region, tuple[int, ...]]] | None:
        return [(body_of(node), tuple(unknown))] if unknown[-1] < self.own(node) else None

    def write_inverse(self, node: Node, unknown: list[int], inverses: list[tuple[str, Region]], w: Writer) -> None:
        ((method, region),) = inverses
        args = [w.name(v) for v in [*node.outputs, *(v for i, v in enumerate(node.inputs) if i not in unknown)]]
        call = w.call(w.whole_form(region), f"{w.path}.{method}", args)
        w.assign(", ".join([w.fresh(node.inputs[i]) for i in unknown]), call)

    def said(self, node: Node) -> str:
        return body_of(node).name

    def what(self, node: Node) -> str:
        region = body_of(node)
        return region.name if region.kind != "pipe" else "pipe"

    def write(self, node: Node, w: Writer) -> None:
        (run,) = w.runs
        slot = w.slot(node.occurrence)
        w.define(node.outputs, w.compose(node.inputs, lambda args: w.call(run, w.path, args, slot)))


CALL = Call()
