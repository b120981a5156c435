"""What each emitted method must be handed: lengths of ragged axes, sizes its inputs do not show, a decoding state and clock.

Found by asking every primitive for its text once, with an emitter that only takes notes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from archdsl.compiler.causality import Report, causality
from archdsl.compiler.flow import FIXED, Flow, Flows, Place
from archdsl.compiler.structure import CALLS, body_of, feeds
from archdsl.graph.ir import Axis, Graph, Kind, Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE


@dataclass(eq=False)
class Needs:
    """What a method must receive beside its values."""

    lengths: set[str] = field(default_factory=set)  # names of ragged inputs
    sizes: set[str] = field(default_factory=set)  # symbols
    stateful: bool = False

    def merge(self, other: Needs) -> bool:
        """Takes in another's needs; True if that changed anything."""
        before = (len(self.lengths), len(self.sizes), self.stateful)
        self.lengths |= other.lengths
        self.sizes |= other.sizes
        self.stateful |= other.stateful
        return before != (len(self.lengths), len(self.sizes), self.stateful)


class Probe:
    """An emitter that writes down what it is asked for (see emit.py)."""

    def __init__(self, node: Node, flow: Flow | None):
        self.node, self.flow = node, flow
        self.symbols: set[str] = set()
        self.ragged: set[str] = set()
        self.stateful = False

    self = property(lambda me: f"self.{me.node.instance.name}" if me.node.instance else "self")

    def weight(self, name: str) -> str:
        return f"{self.self}.{name}" if name else str(self.self)

    def module_source(self, name: str) -> str:
        return f"self.{self.node.attrs[name].name}"

    def support(self, name: str) -> str:
        return name

    def define(self, name: str, source: str) -> str:
        return name

    def size(self, size: Size) -> str:
        if isinstance(size, Poly):
            self.symbols |= size.symbols()
        return f"({size})"

    def lengths(self, axis: Axis) -> str | None:
        if axis.ragged is None:
            return None
        if self.over_time(axis):
            self.stateful = True
            return "clock.count"
        self.ragged.add(axis.ragged.partition(";")[0])
        return "lengths"

    @property
    def slot(self) -> str:
        self.stateful = True
        return "state"

    @property
    def clock(self) -> str:
        self.stateful = True
        return "clock"

    def over_time(self, axis: Axis) -> bool:
        return self.flow is not None and axis.identity in self.flow.time

    training = "self.training"
    batch = "x.shape[0]"

    def placement(self, kind: Kind) -> str:
        return "device=x.device" if kind == "int" else "device=x.device, dtype=x.dtype"


def probe(node: Node, flow: Flow | None) -> Needs:
    """The needs of one primitive node, in whole form (flow None) or in step form."""
    primitive = TABLE[node.op]
    args = [f"arg{i}" for i in range(len(primitive.reads(node)))]
    whole = Probe(node, None)
    text = primitive.emit(node, list(args), whole)
    if flow is None:
        return Needs(whole.ragged, whole.symbols)
    step = Probe(node, flow)
    stepped = primitive.step(node, list(args), step)
    return Needs(step.ragged, step.symbols, step.stateful or stepped != text)


def moving(flow: Flow, node: Node) -> bool:
    """Whether a node must run anew at each decoding step."""
    return any(flow.place(v).moving for v in node.inputs) or any(flow.place(v).moving for v in node.outputs)


def kept(flow: Flow, node: Node) -> bool:
    """Whether a node's result is computed once and kept while decoding: it is the same for all steps, but differs between sequences."""
    return not moving(flow, node) and bool(node.inputs) and any(v.type.batched for v in node.outputs)


class Plan:
    """Needs of every region in whole form, and of every flow in step form."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.report: Report = causality(graph)
        self.flow: Flow | None = self.report.flow if self.report.decodable else None
        self._needs: dict[int, Needs] = {}
        self._order: list[tuple[Region, Flow | None]] = []
        self._collect()
        while self._spread(state=True):
            pass
        while self._spread(state=False):
            pass
        self.variants: dict[int, list[Flow]] = {}
        for region, flow in self._order:
            if flow is not None and self.of(region, flow).stateful:
                self.variants.setdefault(id(region), []).append(flow)
        self.ragged = sorted({a.ragged.partition(";")[0] for v in graph.root.inputs for a in v.type.axes if a.ragged})

    def of(self, region: Region, flow: Flow | None) -> Needs:
        return self._needs[id(flow) if flow is not None else id(region)]

    def method(self, flow: Flow) -> str:
        """Name of the step method that runs a flow."""
        index = self.variants[id(flow.region)].index(flow)
        return "step" if index == 0 else f"step_{index + 1}"

    def keyword(self, ragged: str) -> str:
        """The argument that brings the lengths of a ragged input."""
        return "lengths" if len(self.ragged) <= 1 else f"{ragged}_lengths"

    def runs(self, node: Node, flow: Flow | None) -> list[tuple[Region, Flow | None]]:
        """The regions a node runs and the form of each: a step form only where the node itself moves."""
        regions = [f.region for f in feeds(node)]
        if not regions or flow is None or not moving(flow, node) or node.op in ("scan", "cell"):
            return [(r, None) for r in regions]
        children = flow.children[id(node)]
        if node.op == "loop":
            return [(regions[0], children[0])]
        return [(r, c) for r, c in zip(regions, children)]

    # ---- inside ----

    def _collect(self) -> None:
        seen: set[int] = set()

        def visit(region: Region, flow: Flow | None) -> None:
            key = id(flow) if flow is not None else id(region)
            if key in seen:
                return
            seen.add(key)
            for node in region.nodes:
                for child, inner in self.runs(node, flow):
                    visit(child, inner)
            self._order.append((region, flow))
            self._needs[key] = self._own(region, flow)

        visit(self.graph.root, None)
        for _, region in self.graph.walk():  # parts that are owned but not called as a whole
            visit(region, None)
        if self.flow is not None:
            visit(self.graph.root, self.flow)
            self.of(self.graph.root, self.flow).stateful = True

    def _own(self, region: Region, flow: Flow | None) -> Needs:
        needs = Needs()
        for node in region.nodes:
            if node.op in CALLS:
                needs.merge(self._structural(node, flow))
            else:
                needs.merge(probe(node, flow if flow is not None and moving(flow, node) else None))
            if flow is not None and kept(flow, node):
                needs.stateful = True
        for assumption in region.assumptions:
            for size in (assumption.left, assumption.right):
                needs.sizes |= size.symbols() if isinstance(size, Poly) else set()
        needs.sizes -= shown(region)
        return needs

    def _structural(self, node: Node, flow: Flow | None) -> Needs:
        needs = Needs()
        if node.op == "scan":
            axis = scan_time(node)
            if flow is not None and moving(flow, node):
                needs.stateful = axis.identity in flow.time
            elif axis.ragged:
                needs.lengths.add(axis.ragged.partition(";")[0])
        if node.op == "skip":
            region = body_of(node)
            axis = node.inputs[0].type.axes[-2]
            if flow is not None and moving(flow, node):
                needs.stateful = not row_wise(region)
            elif axis.ragged:
                needs.lengths.add(axis.ragged.partition(";")[0])
        if node.op == "loop" and flow is None and node.attrs["until"] and node.attrs["until"]["cost"] and node.inputs[0].type.rank > 1:
            axis = node.inputs[0].type.axes[-2]
            if axis.ragged:
                needs.lengths.add(axis.ragged.partition(";")[0])
        if node.op == "route" and node.attrs["router"]["kind"] == "expert_choice" and node.inputs[0].type.rank > 1:
            axis = node.inputs[0].type.axes[-2]
            if axis.ragged:
                needs.lengths.add(axis.ragged.partition(";")[0])
        return needs

    def _spread(self, state: bool) -> bool:
        """One round of handing needs upwards, and sideways between regions that are called alike: first state, then the rest."""
        changed = False
        for region, flow in self._order:
            mine = self.of(region, flow)
            for node in region.nodes:
                runs = self.runs(node, flow)
                if node.op in ("repeat", "route"):
                    changed |= self._level(runs, state)
                for child, inner in runs:
                    below = self.of(child, inner)
                    if state:
                        changed |= mine.merge(Needs(stateful=below.stateful and inner is not None))
                        continue
                    if inner is not None and not below.stateful:
                        below = self.of(child, None)  # its whole form serves
                    changed |= mine.merge(Needs(set(below.lengths), below.sizes - shown(region)))
        return changed

    def _level(self, runs: list[tuple[Region, Flow | None]], state: bool) -> bool:
        """Rounds of one repeat and experts of one route are called by one line, so they take the same arguments."""
        total = Needs()
        for region, flow in runs:
            total.merge(self.of(region, flow))
        if state:
            total = Needs(stateful=total.stateful)
        changed = False
        for region, flow in runs:
            changed |= self.of(region, flow).merge(total)
        return changed

    # ---- questions of the writers ----

    def form(self, region: Region, flow: Flow | None) -> str | None:
        """The step method that runs a region in a flow; None where its whole form serves."""
        return self.method(flow) if flow is not None and self.of(region, flow).stateful else None

    def own_lengths(self, node: Node, flow: Flow | None) -> set[str]:
        """The lengths a structural node itself uses, beside what it hands on."""
        return self._structural(node, flow).lengths

    def pointwise(self, flow: Flow) -> bool:
        """Whether every position of a region's results depends on that position alone, and on no size of the decoded axis."""
        if self.of(flow.region, flow).stateful or flow.lookaheads or flow.stepless:
            return False
        return all(self.pointwise_node(flow, node) for node in flow.region.nodes)

    def pointwise_node(self, flow: Flow, node: Node) -> bool:
        """The same for one node of a flow."""
        if not moving(flow, node):
            return True
        if node.op == "call":
            children = flow.children[id(node)]
            return all(c is not None and self.pointwise(c) for c in children)
        if node.op in CALLS:
            return False
        needs = probe(node, flow)
        time = self.report.size.symbols() if self.report.size is not None else set()
        return not needs.stateful and not needs.sizes & time


def row_wise(region: Region) -> bool:
    """Whether a region works on each vector along the last axis alone, so that its rows may be regrouped freely."""
    value = region.inputs[0]
    for axis in range(-value.type.rank, -1):
        flow = Flows(0).of(region, (Place(True, (axis,)), *[FIXED] * (len(region.all_inputs) - 1)))
        if not _row_wise(flow):
            return False
    return True


def _row_wise(flow: Flow) -> bool:
    if flow.lookaheads or flow.stepless:
        return False
    for node in flow.region.nodes:
        if node.op in CALLS:
            children = flow.children.get(id(node), [])
            if node.op != "call" or not all(c is not None and _row_wise(c) for c in children):
                return False
        else:
            needs = probe(node, flow)
            if needs.stateful or needs.sizes:
                return False
    return True


def scan_time(node: Node) -> Axis:
    """The axis a scan runs over, taken from its first sequenced input."""
    for inner, outer, sequenced in zip(body_of(node).inputs, node.inputs, node.attrs["sequenced"]):
        if sequenced:
            return outer.type.axes[-1 - inner.type.rank]
    raise ValueError("a scan needs an input that has a time axis")


def shown(region: Region) -> set[str]:
    """Symbols that can be read off the shapes of a region's inputs."""
    return shown_by(region.all_inputs)


def shown_by(values: list[Value]) -> set[str]:
    """Symbols that can be read off the shapes of values."""
    return {symbol for symbol, _, _ in readings(values)}


def readings(values: list[Value]) -> Iterator[tuple[str, Value, int]]:
    """(symbol, value, axis): a value's axis from which a symbol follows, plain ones first. The axis is counted from the end."""
    found: set[str] = set()
    for plain in (True, False):
        for value in values:
            for i, axis in enumerate(value.type.axes):
                size = axis.size
                symbols = size.symbols() if isinstance(size, Poly) else set()
                if len(symbols) != 1 or symbols <= found or (plain and not _is_plain(size)) or not _linear(size):
                    continue
                found |= symbols
                yield next(iter(symbols)), value, i - value.type.rank


def _is_plain(size: Size) -> bool:
    return isinstance(size, Poly) and size.name is not None


def _linear(size: Size) -> bool:
    """A whole-number multiple of one symbol plus a constant: it can be solved for the symbol."""
    return isinstance(size, Poly) and all(m == () or (len(m) == 1 and m[0][1] == 1 and isinstance(m[0][0], str)) for m in size.terms)
