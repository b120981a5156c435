"""What of a scan's step must run in order. The rest is done for all times at once: before (projections of the inputs) or after (projections of
the yields). Only what does not grow memory is moved, so an outer product of inputs stays in the loop."""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.graph.ir import Node, Region, Value, lead_axes
from archdsl.recurrence.definition import Moves, Table
from archdsl.recurrence.whole import large


@dataclass
class Parts:
    """before, core, after: nodes of the region in order. entries: values that the core reads, or that are next states, and that are made before
    it (or are inputs); exits: values of the core that the yields and the part after it need."""

    before: list[Node]
    core: list[Node]
    after: list[Node]
    entries: list[Value]
    exits: list[Value]


def split(region: Region, primitives: Table) -> Parts:
    """Splits a scan's region around its recurrence; what may move is said by each primitive."""
    nodes = _needed(region)
    moves: dict[int, Moves] = {id(n): primitives[n.op].moves(n) if n.op in primitives else "" for n in nodes}
    recurrent = _feeding_states(region, nodes)
    led = _reading_led(nodes)
    before = _hoisted([n for n in nodes if id(n) not in led], stateful(region), moves)
    moved = {id(n) for n in before}
    after = _sunk([n for n in nodes if id(n) not in moved], recurrent, moves) if not led else []
    late = {id(n) for n in after}
    core = [n for n in nodes if id(n) not in moved and id(n) not in late]
    made = {id(o) for n in core for o in n.outputs} | {id(s.before) for s in region.states}
    read = [*(v for n in core for v in n.inputs), *(s.after for s in region.states if s.after is not None)]
    entries = _unique(v for v in read if id(v) not in made)
    wanted = [*region.outputs, *(v for n in after for v in n.inputs)]
    exits = _unique(v for v in wanted if id(v) in made)
    return Parts(before, core, after, entries, exits)


def stateful(region: Region) -> set[int]:
    """Ids of the values that depend on a state."""
    found = {id(s.before) for s in region.states}
    for node in region.nodes:
        if any(id(v) in found for v in node.inputs):
            found |= {id(o) for o in node.outputs}
    return found


def _unique(values) -> list[Value]:  # type: ignore[no-untyped-def]
    return list({id(v): v for v in values}.values())


def _needed(region: Region) -> list[Node]:
    """Nodes that states or yields depend on, in order."""
    wanted = {id(v) for v in region.outputs} | {id(s.after) for s in region.states if s.after is not None}
    keep: list[Node] = []
    for node in reversed(region.nodes):
        if any(id(o) in wanted for o in node.outputs):
            keep.append(node)
            wanted |= {id(v) for v in node.inputs}
    return keep[::-1]


def _feeding_states(region: Region, nodes: list[Node]) -> set[int]:
    """Values that some next state depends on."""
    wanted = {id(s.after) for s in region.states if s.after is not None}
    for node in reversed(nodes):
        if any(id(o) in wanted for o in node.outputs):
            wanted |= {id(v) for v in node.inputs}
    return wanted


def _reading_led(nodes: list[Node]) -> set[int]:
    """Nodes that a weight with lead axes (one per head) reaches: over all times its axes would not meet theirs."""
    values: set[int] = set()
    found: set[int] = set()
    for node in nodes:
        if lead_axes(node) or any(id(v) in values for v in node.inputs):
            values |= {id(o) for o in node.outputs}
            found.add(id(node))
    return found


def _hoisted(nodes: list[Node], stateful: set[int], moves: dict[int, Moves]) -> list[Node]:
    """State-free heavy nodes, those that count in large whole numbers, and what they need. Sources (parameters) stay where they are used."""
    counting = large(nodes)
    free = [n for n in nodes if n.inputs and not any(id(o) in stateful for o in n.outputs)]
    wanted: set[int] = set()
    chosen: list[Node] = []
    for node in reversed(free):
        # Varying inputs only: a product of parameters alone is no work over time.
        heavy = moves[id(node)] and any(v.type.batched for v in node.inputs)
        if heavy or id(node) in counting or any(id(o) in wanted for o in node.outputs):
            chosen.append(node)
            wanted |= {id(v) for v in node.inputs}
    return chosen[::-1]


def _sunk(nodes: list[Node], recurrent: set[int], moves: dict[int, Moves]) -> list[Node]:
    """Products with weights that feed no state, and all that follows them: run on all times at once after the loop."""
    late: set[int] = set()
    chosen: list[Node] = []
    for node in nodes:
        if any(id(o) in recurrent for o in node.outputs):
            continue
        if moves[id(node)] == "around" or any(id(v) in late for v in node.inputs):
            chosen.append(node)
            late |= {id(o) for o in node.outputs}
    return chosen
