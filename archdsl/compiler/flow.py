"""How the decoded axis runs through a graph: which values follow it, which are fixed while decoding, and what looks ahead along it.

An axis is followed by its identity. A callee is looked at once for each distinct way its inputs stand to the decoded axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.reach import SAME, Reach
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import live
from archdsl.structural.time import FIXED, Place, Seen


@dataclass(frozen=True, slots=True)
class LookAhead:
    """A node whose result at one position depends on later positions, and why; declared: False where its primitive does not say."""

    node: Node
    reason: str
    declared: bool = True


@dataclass(eq=False)
class Flow:
    """One region, looked at for one way its inputs stand to the decoded axis."""

    region: Region
    inputs: tuple[Place, ...]
    time: set[int] = field(default_factory=set)  # identities of axes
    places: dict[Value, Place] = field(default_factory=dict)
    children: dict[Node, list[Flow | None]] = field(default_factory=dict)  # one per feed (None: not reached in evaluation)
    lookaheads: list[LookAhead] = field(default_factory=list)
    stepless: list[LookAhead] = field(default_factory=list)  # nodes that read earlier positions and have no step form
    outputs: list[Place] = field(default_factory=list)

    def place(self, value: Value) -> Place:
        return self.places.get(value, FIXED)

    def axes(self, value: Value) -> tuple[int, ...]:
        """Where a value has the axis, going by the axes' identities."""
        return tuple(i - value.type.rank for i, a in enumerate(value.type.axes) if a.identity in self.time)

    def moves(self, node: Node) -> bool:
        """Whether a node must run anew at each decoding step."""
        return any(self.place(v).moving for v in (*node.inputs, *node.outputs))


class Flows:
    """All flows of one analysis. `size` is the decoded axis's size, if it is symbolic: values made from it alone follow the axis too."""

    def __init__(self, size: Size):
        self.size = size if isinstance(size, Poly) else None
        self._known: dict[Region, dict[tuple[Place, ...], Flow]] = {}

    def forget(self, region: Region) -> None:
        """Drops what is known of one region, for an analysis of many graphs that share the others."""
        self._known.pop(region, None)

    def of(self, region: Region, inputs: tuple[Place, ...]) -> Flow:
        """The flow of a region for given places of region.all_inputs (for a scan: then of its states)."""
        known = self._known.setdefault(region, {})
        if inputs not in known:
            flow = known[inputs] = Flow(region, inputs)
            self._fill(flow)
        return known[inputs]

    def _fill(self, flow: Flow) -> None:
        region = flow.region
        entries = list(region.all_inputs)
        if region.kind == "scan":
            entries += [s.before for s in region.states]
        for value, place in zip(entries, flow.inputs):
            place = Place(place.moving, tuple(a for a in place.axes if a >= -value.type.rank))  # axes before a cell's body ride along
            flow.time |= {value.type.axes[a].identity for a in place.axes}
            flow.places[value] = place
        ends = list(region.outputs)
        if region.kind == "scan":
            ends += [s.after for s in region.states if s.after is not None]
        for node in live(region, ends):  # side losses and taps do not count
            structural = STRUCTURAL.get(node.op)
            places = structural.flow(node, _Time(self, flow, node)) if structural is not None else self._primitive(flow, node)
            for value, place in zip(node.outputs, places):
                flow.places[value] = place
                flow.time |= {value.type.axes[a].identity for a in place.axes if -a <= value.type.rank}
        flow.outputs = [flow.place(v) for v in ends]

    # ---- primitives ----

    def _primitive(self, flow: Flow, node: Node) -> list[Place]:
        inputs = [flow.place(v) for v in node.inputs]
        moving = any(p.moving for p in inputs)
        if not moving:
            fresh = all(a.size != self.size for v in node.inputs for a in v.type.axes)  # tile, expand: the axis begins here
            return [self._born(v, fresh) for v in node.outputs]
        asked = [(i, axis) for i, place in enumerate(inputs) if place.moving for axis in place.axes]
        reaches = [reach for i, axis in asked if (reach := _reach(node, i, axis)) is not SAME]
        places = [Place(True, flow.axes(v)) for v in node.outputs]
        found = _refused(node, reaches) | self._back(node, inputs, places)
        if not found and any(p.axes for p in inputs) and node.op != "history":
            if any(not p.axes for p in places):
                found = {LookAhead(node, "its result does not follow the time axis any more")}
            elif any(len(p.axes) > 1 for p in places):
                found = {LookAhead(node, "it sets every position against every other")}
        flow.lookaheads.extend(sorted(found, key=lambda f: f.reason))
        if reaches and not PRIMITIVES[node.op].steps and any(r.looks_back for r in reaches):
            flow.stepless.append(LookAhead(node, "reads earlier positions and has no step form"))
        return places

    def _back(self, node: Node, inputs: list[Place], places: list[Place]) -> set[LookAhead]:
        """What is wrong with a use of all positions so far: only causal attention may bring them back to single positions."""
        found: set[LookAhead] = set()
        held = False
        for i, (value, place) in enumerate(zip(node.inputs, inputs)):
            for axis in [j - value.type.rank for j, a in enumerate(value.type.axes) if a.past and place.moving]:
                held = True
                found |= _refused(node, [_reach(node, i, axis)])
        if not held or (node.op == "attend" and inputs[0].axes):
            return found
        if any(p.axes for p in inputs):
            found.add(LookAhead(node, "sets single positions beside all positions so far"))
        elif not all(any(a.past for a in v.type.axes) for v in node.outputs):
            found.add(LookAhead(node, "mixes all positions so far"))
        return found

    def _born(self, value: Value, source: bool) -> Place:
        """A value made from no decoded input follows the axis only if it was made with the axis's size."""
        if not source or self.size is None:
            return FIXED
        axes = tuple(i - value.type.rank for i, a in enumerate(value.type.axes) if a.size == self.size)
        return Place(bool(axes), axes)


class _Time:
    """What a structural operation may ask and say of one of its nodes (see structural/time.py)."""

    def __init__(self, flows: Flows, flow: Flow, node: Node):
        self._flows, self._flow, self._node = flows, flow, node
        self.place, self.axes = flow.place, flow.axes

    def look(self, region: Region, places: tuple[Place, ...]) -> Flow:
        return self._flows.of(region, places)

    def below(self, seen: Sequence[Seen | None]) -> None:
        self._flow.children[self._node] = cast("list[Flow | None]", list(seen))

    def refuse(self, reason: str) -> None:
        self._flow.lookaheads.append(LookAhead(self._node, reason))


def _reach(node: Node, index: int, axis: int) -> Reach:
    """What the primitive of a node says of an axis; refused where it gives something else."""
    reach = PRIMITIVES[node.op].time(node, index, axis)
    if not isinstance(reach, Reach):
        what, hint = f"`time` of `{node.op}` gives {reach!r}, which is no Reach", "Give SAME, EARLIER, window(…) or everything(…)."
        raise ArchError(Diagnostic("AD0922", what, node.origin.span, "used here", node.origin.via, hint=hint))
    return reach


def _refused(node: Node, reaches: list[Reach]) -> set[LookAhead]:
    return {LookAhead(node, reach.ahead, reach.declared) for reach in reaches if reach.ahead is not None}
