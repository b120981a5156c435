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
    moves: dict[Node, Moves] = {n: primitives[n.op].moves(n) if n.op in primitives else "" for n in nodes}
    recurrent = _feeding_states(region, nodes)
    led = _reading_led(nodes)
    before = _hoisted([n for n in nodes if n not in led], stateful(region), moves)
    moved = set(before)
    after = _sunk([n for n in nodes if n not in moved], recurrent, moves) if not led else []
    late = set(after)
    core = [n for n in nodes if n not in moved and n not in late]
    made = {o for n in core for o in n.outputs} | {s.before for s in region.states}
    read = [*(v for n in core for v in n.inputs), *(s.after for s in region.states if s.after is not None)]
    entries = _unique(v for v in read if v not in made)
    wanted = [*region.outputs, *(v for n in after for v in n.inputs)]
    exits = _unique(v for v in wanted if v in made)
    return Parts(before, core, after, entries, exits)


def stateful(region: Region) -> set[Value]:
    """The values that depend on a state."""
    found = {s.before for s in region.states}
    for node in region.nodes:
        if any(v in found for v in node.inputs):
            found.update(node.outputs)
    return found


def _unique(values) -> list[Value]:  # type: ignore[no-untyped-def]
    return list(dict.fromkeys(values))


def _needed(region: Region) -> list[Node]:
    """Nodes that states or yields depend on, in order."""
    wanted = set(region.outputs) | {s.after for s in region.states if s.after is not None}
    keep: list[Node] = []
    for node in reversed(region.nodes):
        if any(o in wanted for o in node.outputs):
            keep.append(node)
            wanted.update(node.inputs)
    return keep[::-1]


def _feeding_states(region: Region, nodes: list[Node]) -> set[Value]:
    """Values that some next state depends on."""
    wanted = {s.after for s in region.states if s.after is not None}
    for node in reversed(nodes):
        if any(o in wanted for o in node.outputs):
            wanted.update(node.inputs)
    return wanted


def _reading_led(nodes: list[Node]) -> set[Node]:
    """Nodes that a weight with lead axes (one per head) reaches: over all times its axes would not meet theirs."""
    values: set[Value] = set()
    found: set[Node] = set()
    for node in nodes:
        if lead_axes(node) or any(v in values for v in node.inputs):
            values.update(node.outputs)
            found.add(node)
    return found


def _hoisted(nodes: list[Node], stateful: set[Value], moves: dict[Node, Moves]) -> list[Node]:
    """State-free heavy nodes, those that count in large whole numbers, and what they need. Sources (parameters) stay where they are used."""
    counting = large(nodes)
    free = [n for n in nodes if n.inputs and not any(o in stateful for o in n.outputs)]
    wanted: set[Value] = set()
    chosen: list[Node] = []
    for node in reversed(free):
        # Varying inputs only: a product of parameters alone is no work over time.
        heavy = moves[node] and any(v.type.batched for v in node.inputs)
        if heavy or node in counting or any(o in wanted for o in node.outputs):
            chosen.append(node)
            wanted.update(node.inputs)
    return chosen[::-1]


def _sunk(nodes: list[Node], recurrent: set[Value], moves: dict[Node, Moves]) -> list[Node]:
    """Products with weights that feed no state, and all that follows them: run on all times at once after the loop."""
    late: set[Value] = set()
    chosen: list[Node] = []
    for node in nodes:
        if any(o in recurrent for o in node.outputs):
            continue
        if moves[node] == "around" or any(v in late for v in node.inputs):
            chosen.append(node)
            late.update(node.outputs)
    return chosen
