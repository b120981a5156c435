"""What each emitted method must be handed: lengths of ragged axes, sizes its inputs do not show, a decoding state and clock.

Read off the texts of primitive nodes (see nodetext.py) and what structural operations say of theirs, then handed upwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from archdsl.compiler.causality import Report, causality
from archdsl.compiler.flow import Flow, Flows
from archdsl.compiler.nodetext import NodeTexts
from archdsl.graph.ir import Axis, Graph, Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import feeds, transparent
from archdsl.structural.time import FIXED, Place


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


@dataclass(eq=False)
class Variant:
    """One region in one form: over whole sequences (flow None), or for the new positions of a flow.

    runs: for each structural node the variants that it runs, one per feed. form: its step method, where it has one.
    """

    region: Region
    flow: Flow | None
    needs: Needs = field(default_factory=Needs)
    runs: dict[Node, list[Variant]] = field(default_factory=dict)
    form: str | None = None

    @property
    def decodes(self) -> bool:
        return self.flow is not None


class NodeForm:
    """The form of the method that a structural node stands in (see structural/writer.py)."""

    def __init__(self, plan: Plan, flow: Flow | None, node: Node):
        self._plan, self._flow = plan, flow
        self.whole = flow is None
        self.stepping = flow is not None and flow.moves(node)

    def over_time(self, axis: Axis) -> bool:
        return self._flow is not None and axis.identity in self._flow.time

    def row_wise(self, region: Region) -> bool:
        return self._plan.row_wise(region)


class Plan:
    """Needs of every region in whole form, and of every flow in step form."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.report: Report = causality(graph)
        self.flow: Flow | None = self.report.flow if self.report.decodable else None
        self.ragged = sorted({a.ragged.partition(";")[0] for v in graph.root.inputs for a in v.type.axes if a.ragged})
        self.texts = NodeTexts(self.keyword)
        self._variants: dict[Region | Flow, Variant] = {}  # in the order of their making: each after those it runs
        self._row_wise: dict[Region, bool] = {}
        self._collect()
        while self._spread(state=True):
            pass
        while self._spread(state=False):
            pass
        self.steps: dict[Region, list[Variant]] = {}  # those that have a step method
        for variant in self._variants.values():
            if variant.flow is not None and variant.needs.stateful:
                known = self.steps.setdefault(variant.region, [])
                known.append(variant)
                variant.form = "step" if len(known) == 1 else f"step_{len(known)}"

    def whole(self, region: Region) -> Variant:
        """The whole form of a region."""
        return self._variants[region]

    def of(self, region: Region, flow: Flow | None) -> Variant:
        """A region in the form for a flow (None: its whole form)."""
        return self._variants[flow if flow is not None else region]

    def keyword(self, ragged: str) -> str:
        """The argument that brings the lengths of a ragged input."""
        return "lengths" if len(self.ragged) <= 1 else f"{ragged}_lengths"

    # ---- inside ----

    def _collect(self) -> None:
        self._visit(self.graph.root, None)
        for _, region in self.graph.walk():  # parts that are owned but not called as a whole
            self._visit(region, None)
        if self.flow is not None:
            self._visit(self.graph.root, self.flow).needs.stateful = True

    def _visit(self, region: Region, flow: Flow | None) -> Variant:
        key = flow if flow is not None else region
        if key not in self._variants:
            variant = Variant(region, flow)
            for node in region.nodes:
                if node.op in STRUCTURAL:
                    variant.runs[node] = [self._visit(inner, of) for inner, of in self._below(node, flow)]
            self._variants[key] = variant
            variant.needs = self._own(variant)
        return self._variants[key]

    def _below(self, node: Node, flow: Flow | None) -> list[tuple[Region, Flow | None]]:
        """The regions a node runs and the form of each: a step form only where the node itself moves."""
        regions = [feed.region for feed in feeds(node)]
        stepped = flow is not None and flow.moves(node) and STRUCTURAL[node.op].steps_below
        children = flow.children.get(node) if flow is not None and stepped else None
        return list(zip(regions, children or [None] * len(regions)))

    def _own(self, variant: Variant) -> Needs:
        needs, flow = Needs(), variant.flow
        for node in variant.region.nodes:
            if node.op in STRUCTURAL:
                form = NodeForm(self, flow, node)
                axis = STRUCTURAL[node.op].measured(node, form)
                needs.lengths |= own_lengths(axis)
                needs.stateful |= STRUCTURAL[node.op].keeps(node, form)
            else:
                made = self.texts.of(node, flow)
                needs.merge(Needs(made.lengths, made.symbols, made.stateful))
            needs.stateful |= flow is not None and kept(flow, node)
        for assumption in variant.region.assumptions:
            for size in (assumption.left, assumption.right):
                needs.sizes |= size.symbols() if isinstance(size, Poly) else set()
        needs.sizes -= shown(variant.region)
        return needs

    def _spread(self, state: bool) -> bool:
        """One round of handing needs upwards, and sideways between regions that are called alike: first state, then the rest."""
        changed = False
        for variant in self._variants.values():
            mine, known = variant.needs, shown(variant.region)
            for node, runs in variant.runs.items():
                if STRUCTURAL[node.op].alike:
                    changed |= _level(runs, state)
                for below in runs:
                    if state:
                        changed |= mine.merge(Needs(stateful=below.needs.stateful and below.decodes))
                        continue
                    needs = below.needs if below.needs.stateful or not below.decodes else self.whole(below.region).needs
                    changed |= mine.merge(Needs(needs.lengths, needs.sizes - known))
        return changed

    # ---- questions of the writers ----

    def handed(self, run: Variant) -> Needs:
        """What a call of a region hands on: its step form takes what that needs, or its whole form serves."""
        return run.needs if run.form is not None else self.whole(run.region).needs

    def pointwise(self, flow: Flow) -> bool:
        """Whether every position of a region's results depends on that position alone, and on no size of the decoded axis."""
        if self.of(flow.region, flow).needs.stateful or flow.lookaheads or flow.stepless:
            return False
        return all(self.pointwise_node(flow, node) for node in flow.region.nodes)

    def pointwise_node(self, flow: Flow, node: Node) -> bool:
        """The same for one node of a flow."""
        if not flow.moves(node):
            return True
        if node.op in STRUCTURAL:
            children = flow.children.get(node, [])
            return transparent(node) is not None and all(c is not None and self.pointwise(c) for c in children)
        made = self.texts.step(node, flow)
        time = self.report.size.symbols() if self.report.size is not None else set()
        return not made.stateful and not made.symbols & time

    def row_wise(self, region: Region) -> bool:
        """Whether a region works on each vector along the last axis alone, so that its rows may be regrouped freely."""
        if region not in self._row_wise:
            rank, others = region.inputs[0].type.rank, [FIXED] * (len(region.all_inputs) - 1)
            flows = [Flows(0).of(region, (Place(True, (axis,)), *others)) for axis in range(-rank, -1)]
            self._row_wise[region] = all(map(self._is_row_wise, flows))
        return self._row_wise[region]

    def _is_row_wise(self, flow: Flow) -> bool:
        if flow.lookaheads or flow.stepless:
            return False
        for node in flow.region.nodes:
            if node.op in STRUCTURAL:
                children = flow.children.get(node, [])
                if transparent(node) is None or not all(c is not None and self._is_row_wise(c) for c in children):
                    return False
            else:
                made = self.texts.step(node, flow)
                if made.stateful or made.symbols:
                    return False
        return True


def _level(runs: list[Variant], state: bool) -> bool:
    """Rounds of one repeat and experts of one route are called by one line, so they take the same arguments."""
    total = Needs()
    for run in runs:
        total.merge(run.needs)
    if state:
        total = Needs(stateful=total.stateful)
    changed = False
    for run in runs:
        changed |= run.needs.merge(total)
    return changed


def kept(flow: Flow, node: Node) -> bool:
    """Whether a node's result is computed once and kept while decoding: it is the same for all steps, but differs between sequences."""
    return not flow.moves(node) and bool(node.inputs) and any(v.type.batched for v in node.outputs)


def own_lengths(axis: Axis | None) -> set[str]:
    """The ragged input that lengths along an axis come from, if they come from one."""
    return {axis.ragged.partition(";")[0]} if axis is not None and axis.ragged else set()


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
