"""`route`: several regions, of which a router chooses some for each position, or weighs all.

Inputs: the value, then the router's logits. attrs: router (kind, k, capacity, normalise), experts (how many).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.graph.ir import Axis, Node, Region
from archdsl.structural.base import Drawn, Feed, Structural, instance_of, single_positions
from archdsl.structural.time import Place, Time, joined
from archdsl.structural.writer import Form, Writer


class Route(Structural):
    name = "route"
    category = "control"
    alike = True
    keeps_types = True

    def feeds(self, node: Node) -> list[Feed]:
        instance, takes = instance_of(node), (0, *range(2, len(node.inputs)))
        return [Feed(node, instance, region, takes, node.borrowed, i) for i, region in enumerate(instance.rounds or [])]

    def own(self, node: Node) -> int:
        return 2

    def flow(self, node: Node, time: Time) -> list[Place]:
        single_positions(node, time)
        time.below([time.look(feed.region, feed.places(time)) for feed in self.feeds(node)])
        x, logits = (time.place(v) for v in node.inputs[:2])
        if logits.axes and node.attrs["router"]["kind"] == "expert_choice":
            time.refuse("each expert chooses among all positions")
        return [joined([x, logits], x)]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        router, experts = node.attrs["router"], [feed.region for feed in self.feeds(node)]
        visited = {"topk": router["k"], "hash": router["k"] or 1, "expert_choice": router["capacity"] or 1}.get(router["kind"], len(experts))
        visits = Fraction(visited).limit_denominator(1000)
        return [(r, visits * experts.count(r) / len(experts)) for r in dict.fromkeys(experts)]

    def what(self, node: Node) -> str:
        router = node.attrs["router"]
        k = f"{router['k']} of " if router["k"] else ""
        return f"route, {router['kind']} {k}{node.attrs['experts']} experts"

    def drawn(self, node: Node) -> Drawn:
        feeds = self.feeds(node)
        return Drawn([feeds[0].region], len(feeds))

    def measured(self, node: Node, form: Form) -> Axis | None:
        return _chosen_along(node) if node.attrs["router"]["kind"] == "expert_choice" else None

    def write(self, node: Node, w: Writer) -> None:
        runs, path = w.runs, w.path
        x, logits = w.name(node.inputs[0]), w.name(node.inputs[1])
        gates = w.temporary("gates")
        w.assign(gates, _gates(node, w, logits))
        if not any(run.form for run in runs) and all(w.row_wise(run.region) for run in runs):
            w.support("dispatch")
            w.define(node.outputs, f"dispatch({path}, {x}, {gates}, {node.inputs[0].type.rank})")
            return
        name = w.fresh(node.outputs[0])
        w.assign(name, f"torch.zeros_like({x})")
        for i, run in enumerate(runs):
            slot = f"{w.slot(node.occurrence)}.setdefault({i}, {{}})"
            w.assign(name, f"{name} + {gates}[..., {i}:{i + 1}] * {w.call(run, f'{path}[{i}]', [x], slot)}")


def _gates(node: Node, w: Writer, logits: str) -> str:
    """One weight per expert and position, zero where the expert is not used."""
    router = node.attrs["router"]
    kind, capacity = router["kind"], router["capacity"]
    if kind == "relu":
        return f"F.relu({logits})"
    if kind == "soft":
        return f"{logits}.softmax(-1)"
    name = {"topk": "gate_topk", "hash": "gate_hash", "expert_choice": "gate_expert_choice"}[kind]
    w.support(name)
    if kind == "hash":
        return f"{name}({logits}, {router['k'] or 1})"
    if kind == "topk":
        limit = f", {w.literal(capacity)} if self.training else None" if capacity is not None and w.whole else ""
        return f"{name}({logits}, {router['k']}, {router['normalise']}{limit})"
    axis = _chosen_along(node)
    lengths = w.lengths(axis) if axis is not None else None
    return f"{name}({logits}, {w.literal(capacity or 1.0)}{f', {lengths}' if lengths else ''})"


def _chosen_along(node: Node) -> Axis | None:
    """The axis of the positions that experts choose from."""
    return node.inputs[0].type.axes[-2] if node.inputs[0].type.rank > 1 else None


ROUTE = Route()
