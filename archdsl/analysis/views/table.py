"""The tree of an architecture's parts with shapes, parameters, FLOPs and decoding state; equal rounds of a repeat are one row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archdsl.analysis import cost
from archdsl.analysis.checked import Checked, graph_of
from archdsl.analysis.matching import words
from archdsl.analysis.usual import at_sizes, chosen_sizes
from archdsl.analysis.views.figures import Looks, node_state, part_name, shapes, short, size_in_bytes, span_text, unused
from archdsl.graph.ir import Graph, Instance, Node, Region
from archdsl.primitives import TABLE as PRIMITIVES


@dataclass(eq=False)
class Row:
    """One part. The figures of a repeat are of all its `times` rounds, those of the rows below it of one.

    parameters: trainable, 0 where an earlier row has the same instance (`shared`). flops, state: numbers or sizes with symbols; state in
    bytes at float32, per sequence.
    """

    path: str
    name: str
    what: str
    output: str
    parameters: int
    flops: Any
    state: Any
    times: int = 1
    shared: bool = False
    passes: int = 1  # how often a loop applies what is below
    rows: list[Row] = field(default_factory=list)


def rows(thing: Checked | Graph, depth: int | None = None) -> list[Row]:
    """The parts of a spec as a tree; `depth` limits the levels."""
    graph = graph_of(thing)
    return _Rows().of(graph.root, "", depth if depth is not None else 99)


class _Rows:
    def __init__(self) -> None:
        self.costs = cost.Costs()
        self.looks = Looks()

    def of(self, region: Region, prefix: str, depth: int, shared: bool = False) -> list[Row]:
        if depth <= 0:
            return []
        seen: set[int] = set()
        found = [self._unused(i, prefix) for i in unused(region) if self.costs.instance_parameters(i) and not shared]
        for node in region.nodes:
            row = self._row(region, node, prefix, seen, depth, shared)
            if row is not None:
                found.append(row)
        return found

    def _unused(self, instance: Instance, prefix: str) -> Row:
        """A part made here and used elsewhere."""
        made = instance.region.name if instance.region is not None and instance.region.kind != "pipe" else instance.op
        text = f"{made}, pretrained {instance.pretrained}" if instance.pretrained else f"{made}, used below"
        return Row(prefix + instance.name, instance.name, text, "", self.costs.instance_parameters(instance), 0, 0)

    def _row(self, region: Region, node: Node, prefix: str, seen: set[int], depth: int, within: bool) -> Row | None:
        instance = node.instance
        flops, state = self.costs.node_flops(node), node_state(node)
        if instance is None and isinstance(flops, int) and flops == 0 and isinstance(state, int) and state == 0:
            return None
        shared = instance is not None and (within or id(instance) in seen or instance.owner is not region)
        parameters = self.costs.instance_parameters(instance) if instance is not None and not shared else 0
        if instance is not None:
            seen.add(id(instance))
        name = part_name(node)
        row = Row(prefix + name, name, what(node), shapes(o.type for o in node.outputs), parameters, flops, state, 1, shared)
        if instance is not None and PRIMITIVES.get(node.op) is None:
            self._below(row, node, instance, depth)
        return row

    def _below(self, row: Row, node: Node, instance: Instance, depth: int) -> None:
        if instance.rounds is None:
            if node.op == "loop":
                row.passes = node.attrs["count"]
            if instance.region is not None:
                row.rows = self.of(instance.region, row.path + ".", depth - 1, row.shared)
            if len(row.rows) == 1 and node.op == "call" and depth > 1 and instance.region is not None:
                _merge(row, self.of(instance.region, row.path + ".", depth, row.shared)[0])
            return
        order = node.attrs.get("indices", range(len(instance.rounds)))
        regions = [instance.rounds[i] for i in order]
        folded = self.looks.runs(regions)
        if len(folded) == 1:
            row.times = len(regions)
            row.rows = self.of(regions[0], f"{row.path}.*.", depth - 1, row.shared)
            return
        for first, last, region in folded if depth > 1 else []:
            row.rows.append(self._run(row, first, last, region, len(regions), depth))

    def _run(self, row: Row, first: int, last: int, region: Region, total: int, depth: int) -> Row:
        span, times = span_text(first, last, total), last - first + 1
        output = shapes(v.type for v in region.outputs)
        parameters = 0 if row.shared else self.costs.parameters(region) * times
        flops, state = self.costs.flops(region) * times, cost.state_bytes(region) * times
        child = Row(
            f"{row.path}.{span}", span, "round" if times == 1 else f"{times} x", output, parameters, flops, state, times, row.shared
        )
        child.rows = self.of(region, child.path + ".", depth - 2, row.shared)
        return child


def _merge(row: Row, only: Row) -> None:
    """A part that holds one part and no more is one row with it: `residual.f`."""
    row.name, row.path, row.rows, row.times = f"{row.name}.{only.name}", only.path, only.rows, only.times
    row.what = only.what if row.what == "block" or only.what != "pipe" else row.what


def what(node: Node) -> str:
    """What a part is, in a word or two."""
    instance = node.instance
    if node.op == "call" and instance is not None and instance.region is not None:
        return instance.region.name if instance.region.kind != "pipe" else "pipe"
    if node.op in ("scan", "cell") and instance is not None and instance.region is not None:
        return f"{'scan' if node.op == 'scan' else 'cell'} {instance.region.name}"
    if node.op == "repeat" and instance is not None and instance.rounds is not None:
        reverse = "reversible " if node.attrs.get("reversible") else ""
        return f"{reverse}repeat, {len(node.attrs.get('indices', instance.rounds))} x"
    if node.op == "loop":
        return f"loop, {node.attrs['count']} x"
    if node.op == "route":
        router = node.attrs["router"]
        k = f"{router['k']} of " if router["k"] else ""
        return f"route, {router['kind']} {k}{node.attrs['experts']} experts"
    if node.op == "skip":
        return f"skip, capacity {node.attrs['capacity']:g}"
    if node.borrowed and node.op in PRIMITIVES:
        return f"{words(node)}, weights of {', '.join(i.name for i in node.borrowed)}"
    return words(node)


# ---- text ---------------------------------------------------------------------------------------------------------------------------


def summary(thing: Checked | Graph, depth: int | None = None, sizes: Mapping[str, int] | None = None, color: bool = False) -> str:
    """The tree as text. FLOPs and state are of one sequence, at `sizes` (those left out: 1024, and 224 for H and W)."""
    graph = graph_of(thing)
    tree = rows(graph, depth)
    total = cost.Costs()
    parameters, flops, state = total.parameters(graph.root), total.flops(graph.root), cost.state_bytes(graph.root)
    chosen = chosen_sizes([flops, state, *(f for r in _walk(tree) for f in (r.flops, r.state))], sizes, graph.facts)
    lines: list[tuple[str, ...]] = [("", "what", "output", "parameters", "FLOPs", "state")]
    for i, row in enumerate(tree):
        _lines(row, "", i + 1 == len(tree), chosen, lines, top=True)
    end = (
        graph.name,
        "",
        shapes(v.type for v in graph.root.outputs),
        f"{parameters:,}",
        short(cost.at(flops, chosen)),
        _state(state, chosen),
    )
    text = _table([*lines, end], color)
    arguments = ", ".join(f"{k}={v}" for k, v in graph.arguments.items())
    head = f"{graph.name}({arguments})" if arguments else graph.name
    inputs = ", ".join(f"{v.name}: {v.type}" for v in graph.root.inputs)
    note = (
        f"FLOPs and state of one sequence at {at_sizes(chosen)}; state in float32."
        if chosen
        else "FLOPs and state of one sequence, float32."
    )
    if any(r.times > 1 and r.rows for r in _walk(tree)):
        note += " Under `n x`: one round."
    return f"{head}   {inputs}\n{text}\n{note}"


def _walk(tree: list[Row]) -> list[Row]:
    return [found for row in tree for found in (row, *_walk(row.rows))]


def _lines(row: Row, stem: str, last: bool, sizes: Mapping[str, int], out: list[tuple[str, ...]], top: bool = False) -> None:
    branch = "" if top else ("└─ " if last else "├─ ")
    parameters = "shared" if row.shared and row.parameters == 0 else f"{row.parameters:,}" if row.parameters else ""
    flops = cost.at(row.flops, sizes)
    out.append((stem + branch + row.name, row.what, row.output, parameters, short(flops) if flops else "", _state(row.state, sizes)))
    below = stem + ("" if top else "   " if last else "│  ")
    for i, child in enumerate(row.rows):
        _lines(child, below, i + 1 == len(row.rows), sizes, out)


def _state(state: Any, sizes: Mapping[str, int]) -> str:
    n = cost.at(state, sizes)
    return size_in_bytes(n) if n else ""


def _table(lines: list[tuple[str, ...]], color: bool) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(6)]
    text = []
    for line in lines:
        left = [cell.ljust(w) for cell, w in zip(line[:3], widths[:3])]
        right = [cell.rjust(w) for cell, w in zip(line[3:], widths[3:])]
        text.append("  ".join([*left, *right]).rstrip())
    rule = "─" * max(map(len, text))
    if color:
        text[0], rule = f"\x1b[2m{text[0]}\x1b[0m", f"\x1b[2m{rule}\x1b[0m"
        text[-1] = f"\x1b[1m{text[-1]}\x1b[0m"
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1]])


__all__ = ["Row", "rows", "summary", "what"]
