"""`train { A } else { B }`: one region while training, another (or nothing) in evaluation.

Inputs: the values that both take, then what A captures, then what B captures. The node's instance holds A. attrs: otherwise (the instance that
holds B, or None), carried (how many values both take), split (how many A captures), split_borrowed (how many instances A borrows).
"""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Instance, Node, Region
from archdsl.structural.base import Drawn, Feed, Side, Structural, body_of, carried, instance_of
from archdsl.structural.time import Place, Time
from archdsl.structural.writer import Writer


class Train(Structural):
    name = "train"
    category = "control"
    keeps_types = True

    def feeds(self, node: Node) -> list[Feed]:
        count, cut = carried(node), node.attrs["split_borrowed"]
        split, other, given = count + node.attrs["split"], _otherwise(node), range(len(node.inputs))
        found = [Feed(node, instance_of(node), body_of(node), tuple(given[:split]), node.borrowed[:cut])]
        if other is not None and other.region is not None:
            found.append(Feed(node, other, other.region, (*given[:count], *given[split:]), node.borrowed[cut:]))
        return found

    def own(self, node: Node) -> int:
        return carried(node)

    def flow(self, node: Node, time: Time) -> list[Place]:
        _, *evaluated = self.feeds(node)
        seen = [time.look(feed.region, feed.places(time)) for feed in evaluated]
        time.below([None, *seen])
        return seen[0].outputs if seen else [time.place(v) for v in node.inputs[: len(node.outputs)]]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(feed.region, 1) for feed in self.feeds(node)[1:]]

    def drawn(self, node: Node) -> Drawn:
        """Both sides, side by side."""
        inside, count, other = body_of(node), carried(node), _otherwise(node)
        split = count + node.attrs["split"]
        reads = [(*range(count), *captured) for captured in (range(count, split), range(split, len(node.inputs)))]
        region = other.region if other is not None else None
        return Drawn(sides=[Side("while training", inside, reads[0]), Side("in evaluation", region, reads[1])])

    def write(self, node: Node, w: Writer) -> None:
        sides, runs = self.feeds(node), w.runs

        def call(i: int) -> str:
            feed = sides[i]
            args = [w.name(v) for v in feed.inputs if v is not None]
            return w.call(runs[i], w.instance(feed.instance), args, w.slot(feed.instance.name), borrowed=feed.borrowed)

        if w.stepping and len(sides) == 1:
            for value, given in zip(node.outputs, node.inputs):
                w.alias(value, w.name(given))
            return
        if w.stepping:
            w.define(node.outputs, call(1))
            return
        for value in node.inputs:
            w.name(value)
        other = call(1) if len(sides) > 1 else ", ".join([w.name(v) for v in node.inputs[: len(node.outputs)]])
        names = [w.fresh(v) for v in node.outputs]
        for condition, expression in (("if self.training:", call(0)), ("else:", other)):
            with w.block(condition):
                w.assign(", ".join(names), expression)


def _otherwise(node: Node) -> Instance | None:
    other: Instance | None = node.attrs["otherwise"]
    return other


TRAIN = Train()
