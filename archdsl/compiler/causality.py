"""Whether a graph is causal along its time axis, what looks ahead if not, and whether it can be decoded step by step (evaluation mode)."""

from __future__ import annotations

from dataclasses import dataclass, field

from archdsl.compiler.flow import FIXED, Flow, Flows, LookAhead, Place
from archdsl.compiler.structure import carried, live, reads
from archdsl.diagnostics import Diagnostic, Label, Span
from archdsl.graph.ir import Axis, Graph, Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE


@dataclass(frozen=True)
class Finding:
    """One look-ahead: the node, why it looks ahead, and the occurrences through which it is reached (`layers.attention.attend`).

    declared: False where the node's primitive does not say which positions it reads, so that nothing is known.
    """

    node: Node
    reason: str
    path: str
    declared: bool = True

    @property
    def span(self) -> Span:
        return self.node.origin.span

    @property
    def via(self) -> tuple[Label, ...]:
        return self.node.origin.via

    def diagnostic(self, title: str = "this model is not causal") -> Diagnostic:
        """The finding as a problem at the place where the op was written."""
        origin = self.node.origin
        if not self.declared:
            return Diagnostic(
                "AD0703",
                "whether this model is causal is not known",
                origin.span,
                f"`{self.node.op}` {self.reason}",
                origin.via,
                f"Reached as {self.path}. A primitive of one's own says it by its method `time`.",
                "Let `time` give a Reach there, or drop the contract.",
            )
        return Diagnostic(
            "AD0701",
            title,
            origin.span,
            f"`{self.node.op}` {self.reason}",
            origin.via,
            f"Reached as {self.path}. A causal op gives at each position a result of that position and earlier ones.",
            self._hint(),
        )

    def _hint(self) -> str:
        said = TABLE[self.node.op].causal_form if self.node.op in TABLE else ""
        return said or "Use a causal form of it, or drop the contract."


@dataclass(eq=False)
class Report:
    """causal: no look-ahead along `axis`. axis: the size of the time axis as text, None if no output follows an input's axis.

    decodable: causal, the axis has a symbolic size, so that new positions can be fed one at a time, and all that reads earlier ones has a
    step form; else `reason` says why not.
    decoded: the root inputs that bring new positions.
    """

    causal: bool
    axis: str | None
    lookaheads: list[Finding] = field(default_factory=list)
    decodable: bool = False
    reason: str = ""
    decoded: list[Value] = field(default_factory=list)
    flow: Flow | None = None
    size: Poly | None = None

    @property
    def unknown(self) -> list[Finding]:
        """What keeps it open whether the graph is causal: nothing is known to look ahead, and some primitives do not say."""
        return self.lookaheads if not any(f.declared for f in self.lookaheads) else []

    def diagnostics(self, graph: Graph) -> list[Diagnostic]:
        """One problem per look-ahead, for `expect causal`."""
        if self.axis is None:
            text = "no axis of an input reaches the output, so there is no time axis to be causal along"
            return [Diagnostic("AD0701", "this model is not causal", graph.root.span, text)]
        return [f.diagnostic() for f in self.lookaheads]


def causality(graph: Graph, known: dict[Size, Flows] | None = None) -> Report:
    """Judges a graph along the axis that its input and all its outputs share (a symbolic size is preferred, a ragged one first).

    `known` holds the flows of graphs that share regions with this one.
    """
    for axis in _candidates(graph):
        flows = known.setdefault(axis.size, Flows(axis.size)) if known is not None else Flows(axis.size)
        places = tuple(_place(v, axis) for v in graph.root.all_inputs)
        flow = flows.of(graph.root, places)
        if all(p.axes for p in flow.outputs):
            return _judge(graph, axis, flow)
    return Report(False, None, reason="no axis of an input reaches every output")


def _judge(graph: Graph, axis: Axis, flow: Flow) -> Report:
    found, stepless = findings(flow)
    decoded = [v for v in graph.root.inputs if flow.place(v).moving]
    report = Report(not found, str(axis.size), found, decoded=decoded, flow=flow)
    if found:
        report.reason = f"`{found[0].node.op}` {found[0].reason}"
    elif not isinstance(axis.size, Poly) or axis.size.name is None:
        report.reason = f"the time axis has the fixed size {axis.size}"
    elif stepless:
        report.reason = f"`{stepless[0].node.op}` {stepless[0].reason}"
    else:
        report.decodable, report.size = True, axis.size
    return report


def _candidates(graph: Graph) -> list[Axis]:
    """Axes of inputs that may be time, best first."""
    ranked: list[tuple[int, int, Axis]] = []
    for value in graph.root.inputs:
        for i, axis in enumerate(value.type.axes):
            features = value.type.kind != "int" and i == value.type.rank - 1
            symbolic = isinstance(axis.size, Poly)
            if axis.ragged is None and not symbolic and features:
                continue
            rank = 0 if axis.ragged is not None else 1 if symbolic else 2
            ranked.append((rank, len(ranked), axis))
    return [axis for _, _, axis in sorted(ranked, key=lambda r: r[:2])]


def _place(value: Value, axis: Axis) -> Place:
    """Where an input has the time axis: the axis itself, or one of the same symbolic size."""
    same = [
        i - value.type.rank
        for i, a in enumerate(value.type.axes)
        if a.identity == axis.identity or (isinstance(a.size, Poly) and a.size == axis.size)
    ]
    return Place(True, tuple(same)) if same else FIXED


def findings(flow: Flow) -> tuple[list[Finding], list[Finding]]:
    """Every look-ahead that the outputs depend on, once, with the path of its first occurrence; and what has no step form that it needs.

    What only side losses need does not count.
    """
    found: dict[tuple[int, int, int, str], Finding] = {}
    stepless: dict[tuple[int, int, int, str], Finding] = {}
    seen: set[tuple[int, frozenset[int] | None]] = set()

    def visit(flow: Flow, path: tuple[str, ...], needed: frozenset[int] | None) -> None:
        if (id(flow), needed) in seen:
            return
        seen.add((id(flow), needed))
        nodes, wanted = _needed(flow.region, needed)
        for kept, items in ((found, flow.lookaheads), (stepless, flow.stepless)):
            for item in items:
                if id(item.node) in nodes:
                    span = item.node.origin.span
                    key = (id(span.source), span.start, span.end, item.reason)
                    kept.setdefault(key, _finding(item, path))
        for node in flow.region.nodes:
            if id(node) not in nodes:
                continue
            children = flow.children.get(id(node), [])
            used = frozenset(i for i, v in enumerate(node.outputs) if id(v) in wanted)
            for child, of_child in zip(children, _needed_below(node, children, used)):
                if child is not None:
                    visit(child, (*path, node.occurrence), of_child)

    visit(flow, (), None)
    return list(found.values()), list(stepless.values())


def _needed(region: Region, needed: frozenset[int] | None) -> tuple[set[int], set[int]]:
    """The ids of the nodes and of the values that some outputs of a region (None: all, and states) depend on."""
    ends = list(region.outputs) if needed is None else [region.outputs[i] for i in needed]
    ends += [s.after for s in region.states if s.after is not None]
    nodes = live(region, ends)
    return {id(n) for n in nodes}, {id(v) for v in ends} | {id(v) for n in nodes for v in reads(n)}


def _needed_below(node: Node, children: list[Flow | None], used: frozenset[int]) -> list[frozenset[int] | None]:
    """Which outputs of each region below a node are needed: what one round of a repeat or loop hands to the next may be needed there only."""
    if node.op == "call":
        return [used]
    if node.op not in ("repeat", "loop"):
        return [None for _ in children]
    count = carried(node)
    offset = 1 if node.attrs.get("index") else 0
    kept = frozenset(i for i in used if i < count)
    if node.op == "loop":
        (child,) = children
        if child is None or node.attrs.get("until"):
            return [None]
        while (more := kept | _handed_on(child.region, kept, count, offset)) != kept:
            kept = more
        return [kept]
    found: list[frozenset[int] | None] = []
    for child in reversed(children):
        found.append(kept)
        kept = _handed_on(child.region, kept, count, 0) if child is not None else kept
    return found[::-1]


def _handed_on(region: Region, needed: frozenset[int], count: int, offset: int) -> frozenset[int]:
    """Which of a round's carried inputs its needed outputs depend on."""
    _, wanted = _needed(region, needed)
    return frozenset(i for i, v in enumerate(region.inputs[offset : offset + count]) if id(v) in wanted)


def _finding(item: LookAhead, path: tuple[str, ...]) -> Finding:
    return Finding(item.node, item.reason, ".".join((*path, item.node.occurrence)), item.declared)


__all__ = ["Finding", "Report", "causality", "findings"]
