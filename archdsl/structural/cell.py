"""`cell`: one step of a scan, used by itself.

Inputs: those of the step, the states before it, then what it captures. Gives the yields, then the new states that are not among them. Axes before
those of the step ride along.
"""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Node, Region, Value
from archdsl.structural.base import Feed, Stepped, Structural, body_of, handed, instance_of, single_positions
from archdsl.structural.scan import leading
from archdsl.structural.time import Place, Time
from archdsl.structural.writer import Writer


class Cell(Structural):
    name = "cell"
    category = "mixing"
    short = "h"
    steps_below = False
    by_step = True

    def feeds(self, node: Node) -> list[Feed]:
        region, given = body_of(node), range(len(node.inputs))
        count, end = len(region.inputs), self.own(node)
        takes = (*given[:count], *given[end:], *given[count:end])
        return [Feed(node, instance_of(node), region, takes, handed(node), states=True)]

    def own(self, node: Node) -> int:
        return len(body_of(node).inputs) + len(body_of(node).states)

    def stepped(self, node: Node) -> Stepped:
        region = body_of(node)
        count, end = len(region.inputs), self.own(node)
        return Stepped(region, node.inputs[:count], node.inputs[end:], dict(zip(region.states, node.inputs[count:end])), True)

    def flow(self, node: Node, time: Time) -> list[Place]:
        single_positions(node, time)
        (feed,) = self.feeds(node)
        seen = time.look(feed.region, feed.places(time))
        time.below([seen])
        inner = [seen.place(v) for v in cell_outputs(feed.region)]
        return [Place(p.moving, time.axes(v) or p.axes) for p, v in zip(inner, node.outputs)]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(body_of(node), leading(node.inputs[0], body_of(node).inputs[0]))]

    def what(self, node: Node) -> str:
        return f"cell {body_of(node).name}"

    def write(self, node: Node, w: Writer) -> None:
        more = [*(w.instance(i) for i in handed(node)), *w.sizes(body_of(node))]
        w.define(node.outputs, w.compose(node.inputs, lambda args: f"{w.path}.cell({', '.join([*args, *more])})"))


def cell_outputs(region: Region) -> list[Value]:
    """What one step of a scan gives: the yields, then the new states that are not among them."""
    found = list(region.outputs)
    for state in region.states:
        if state.after is not None and all(state.after is not v for v in found):
            found.append(state.after)
    return found


CELL = Cell()
