"""How the decoded axis runs through a graph: which values follow it, which are fixed while decoding, and what looks ahead along it.

An axis is followed by its identity. A callee is looked at once for each distinct way its inputs stand to the decoded axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from archdsl.compiler.structure import CALLS, Feed, carried, cell_outputs, feeds, live
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE
from archdsl.primitives.reach import SAME, Reach


@dataclass(frozen=True, slots=True)
class Place:
    """How a value stands to the decoded axis: `moving` if it depends on decoded input; `axes` are the (negative) positions of the axis."""

    moving: bool = False
    axes: tuple[int, ...] = ()

    @property
    def axis(self) -> int | None:
        return self.axes[0] if self.axes else None


FIXED = Place()


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
    time: set[int] = field(default_factory=set)
    places: dict[int, Place] = field(default_factory=dict)  # id(Value) -> Place
    children: dict[int, list[Flow | None]] = field(default_factory=dict)  # id(Node) -> one per feed (None: not reached in evaluation)
    lookaheads: list[LookAhead] = field(default_factory=list)
    stepless: list[LookAhead] = field(default_factory=list)  # nodes that read earlier positions and have no step form
    outputs: list[Place] = field(default_factory=list)

    def place(self, value: Value) -> Place:
        return self.places.get(id(value), FIXED)


class Flows:
    """All flows of one analysis. `size` is the decoded axis's size, if it is symbolic: values made from it alone follow the axis too."""

    def __init__(self, size: Size):
        self.size = size if isinstance(size, Poly) else None
        self._known: dict[tuple[int, tuple[Place, ...]], Flow] = {}

    def forget(self, region: Region) -> None:
        """Drops what is known of one region, for an analysis of many graphs that share the others."""
        for key in [k for k in self._known if k[0] == id(region)]:
            del self._known[key]

    def of(self, region: Region, inputs: tuple[Place, ...]) -> Flow:
        """The flow of a region for given places of region.all_inputs (for a scan: then of its states)."""
        key = (id(region), inputs)
        if key not in self._known:
            flow = self._known[key] = Flow(region, inputs)
            self._fill(flow)
        return self._known[key]

    def _fill(self, flow: Flow) -> None:
        region = flow.region
        entries = list(region.all_inputs)
        if region.kind == "scan":
            entries += [s.before for s in region.states]
        for value, place in zip(entries, flow.inputs):
            place = Place(place.moving, tuple(a for a in place.axes if a >= -value.type.rank))  # axes before a cell's body ride along
            flow.time |= {value.type.axes[a].identity for a in place.axes}
            flow.places[id(value)] = place
        ends = list(region.outputs)
        if region.kind == "scan":
            ends += [s.after for s in region.states if s.after is not None]
        for node in live(region, ends):  # side losses and taps do not count
            if node.op in CALLS and node.instance is not None:
                places = self._structural(flow, node)
            else:
                places = self._primitive(flow, node)
            for value, place in zip(node.outputs, places):
                flow.places[id(value)] = place
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
        places = [Place(True, self._axes(flow, v)) for v in node.outputs]
        found = _refused(node, reaches) | self._back(node, inputs, places)
        if not found and any(p.axes for p in inputs) and node.op != "history":
            if any(not p.axes for p in places):
                found = {LookAhead(node, "its result does not follow the time axis any more")}
            elif any(len(p.axes) > 1 for p in places):
                found = {LookAhead(node, "it sets every position against every other")}
        flow.lookaheads.extend(sorted(found, key=lambda f: f.reason))
        if reaches and not TABLE[node.op].steps and any(r.looks_back for r in reaches):
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

    def _axes(self, flow: Flow, value: Value) -> tuple[int, ...]:
        return tuple(i - value.type.rank for i, a in enumerate(value.type.axes) if a.identity in flow.time)

    # ---- structural nodes ----

    def _structural(self, flow: Flow, node: Node) -> list[Place]:
        if node.op in ("repeat", "loop"):
            return self._rounds(flow, node)
        if node.op == "scan":
            return self._scan(flow, node)
        if node.op == "train":
            return self._train(flow, node)
        if node.op != "call":
            self._refuse_past(flow, node)
        given = [self._given(flow, f) for f in feeds(node)]
        children = [self.of(f.region, places) for f, places in zip(feeds(node), given)]
        flow.children[id(node)] = list(children)
        if node.op == "call":
            return children[0].outputs
        if node.op == "cell":
            inner = [children[0].place(v) for v in cell_outputs(children[0].region)]
            return [Place(p.moving, self._axes(flow, v) or p.axes) for p, v in zip(inner, node.outputs)]
        if node.op == "route" and flow.place(node.inputs[1]).axes and node.attrs["router"]["kind"] == "expert_choice":
            flow.lookaheads.append(LookAhead(node, "each expert chooses among all positions"))
        return [_join([flow.place(v) for v in node.inputs[:2]], flow.place(node.inputs[0]))]

    def _given(self, flow: Flow, feed: Feed) -> tuple[Place, ...]:
        return tuple(FIXED if v is None else flow.place(v) for v in feed.inputs)

    def _rounds(self, flow: Flow, node: Node) -> list[Place]:
        count, offset = carried(node), 1 if node.op == "loop" and node.attrs.get("index") else 0
        current = [flow.place(v) for v in node.inputs[:count]]
        rest = [flow.place(v) for v in node.inputs[count:]]
        children: list[Flow | None] = []
        if node.op == "repeat":
            for feed in feeds(node):
                child = self.of(feed.region, (*current, *rest))
                children.append(child)
                current = child.outputs[:count]
        else:
            (feed,) = feeds(node)
            for _ in range(4):  # what is carried settles: it can only begin to move
                child = self.of(feed.region, (*[FIXED] * offset, *current, *rest))
                settled = [_join([a, b], b) for a, b in zip(current, child.outputs)]
                if settled == current:
                    break
                current = settled
            children = [child]
        flow.children[id(node)] = children
        return current

    def _train(self, flow: Flow, node: Node) -> list[Place]:
        each = feeds(node)
        if len(each) == 1:
            flow.children[id(node)] = [None]
            return [flow.place(v) for v in node.inputs[: len(node.outputs)]]
        child = self.of(each[1].region, self._given(flow, each[1]))
        flow.children[id(node)] = [None, child]
        return child.outputs

    def _refuse_past(self, flow: Flow, node: Node) -> None:
        """Scans and routers take single positions."""
        if any(a.past for v in node.inputs if flow.place(v).moving for a in v.type.axes):
            flow.lookaheads.append(LookAhead(node, "takes all positions so far as if they were single ones"))

    def _scan(self, flow: Flow, node: Node) -> list[Place]:
        self._refuse_past(flow, node)
        (feed,) = feeds(node)
        region = feed.region
        inside: list[Place] = []
        moving = any(flow.place(v).moving for v in node.inputs)
        recurrent = False
        for i, (value, inner) in enumerate(zip(feed.inputs, region.all_inputs)):
            place = flow.place(value) if value is not None else FIXED
            body = inner.type.rank
            timed = i < len(region.inputs) and node.attrs["sequenced"][i]
            recurrent |= timed and -1 - body in place.axes
            inside.append(Place(place.moving, tuple(a for a in place.axes if a >= -body)))
        child = self.of(region, (*inside, *[Place(moving) for _ in region.states]))
        flow.children[id(node)] = [child]
        yields = len(region.outputs)
        places = []
        for i, value in enumerate(node.outputs):
            body = _body_rank(region, i)
            axes = self._axes(flow, value)
            if i < yields and recurrent and -1 - body not in axes:
                axes = (-1 - body,)
            places.append(Place(moving, axes if i < yields else ()))
        return places


def _reach(node: Node, index: int, axis: int) -> Reach:
    """What the primitive of a node says of an axis; refused where it gives something else."""
    reach = TABLE[node.op].time(node, index, axis)
    if not isinstance(reach, Reach):
        what, hint = f"`time` of `{node.op}` gives {reach!r}, which is no Reach", "Give SAME, EARLIER, window(…) or everything(…)."
        raise ArchError(Diagnostic("AD0922", what, node.origin.span, "used here", node.origin.via, hint=hint))
    return reach


def _refused(node: Node, reaches: list[Reach]) -> set[LookAhead]:
    return {LookAhead(node, reach.ahead, reach.declared) for reach in reaches if reach.ahead is not None}


def _body_rank(region: Region, index: int) -> int:
    if index < len(region.outputs):
        return region.outputs[index].type.rank
    return region.states[index - len(region.outputs)].before.type.rank


def _join(places: list[Place], like: Place) -> Place:
    return Place(any(p.moving for p in places), like.axes)
