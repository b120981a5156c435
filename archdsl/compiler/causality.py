"""Whether a graph is causal along its time axis, what looks ahead if not, and whether it can be decoded step by step (evaluation mode)."""

from __future__ import annotations

from dataclasses import dataclass, field

from archdsl.compiler.flow import Flow, Flows, LookAhead
from archdsl.diagnostics import Diagnostic, Label, Span
from archdsl.graph.ir import Axis, Graph, Node, Region, Value
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.base import Outputs
from archdsl.structural.reading import live, reads
from archdsl.structural.time import FIXED, Place


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
        said = PRIMITIVES[self.node.op].causal_form if self.node.op in PRIMITIVES else ""
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
    found: dict[tuple[object, ...], Finding] = {}
    stepless: dict[tuple[object, ...], Finding] = {}
    seen: set[tuple[Flow, Outputs | None]] = set()

    def visit(flow: Flow, path: tuple[str, ...], needed: Outputs | None) -> None:
        if (flow, needed) in seen:
            return
        seen.add((flow, needed))
        nodes, wanted = _needed(flow.region, needed)
        for kept, items in ((found, flow.lookaheads), (stepless, flow.stepless)):
            for item in items:
                if item.node in nodes:
                    kept.setdefault((item.node.origin.span, item.reason), _finding(item, path))
        for node in flow.region.nodes:
            if node not in nodes or node not in flow.children:
                continue
            used = frozenset(i for i, v in enumerate(node.outputs) if v in wanted)
            for child, of_child in zip(flow.children[node], STRUCTURAL[node.op].needed(node, used, _depends)):
                if child is not None:
                    visit(child, (*path, node.occurrence), of_child)

    visit(flow, (), None)
    return list(found.values()), list(stepless.values())


def _needed(region: Region, needed: Outputs | None) -> tuple[set[Node], set[Value]]:
    """The nodes and the values that some outputs of a region (None: all, and states) depend on."""
    ends = list(region.outputs) if needed is None else [region.outputs[i] for i in needed]
    ends += [s.after for s in region.states if s.after is not None]
    nodes = live(region, ends)
    return set(nodes), {*ends, *(v for n in nodes for v in reads(n))}


def _depends(region: Region, outputs: Outputs) -> Outputs:
    """Which of a region's inputs some of its outputs depend on."""
    _, wanted = _needed(region, outputs)
    return frozenset(i for i, v in enumerate(region.inputs) if v in wanted)


def _finding(item: LookAhead, path: tuple[str, ...]) -> Finding:
    return Finding(item.node, item.reason, ".".join((*path, item.node.occurrence)), item.declared)


__all__ = ["Finding", "Report", "causality", "findings"]
