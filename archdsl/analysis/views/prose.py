"""A spec, or one part of it, in sentences and figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archdsl.analysis import cost
from archdsl.analysis.usual import at_sizes, chosen_sizes
from archdsl.analysis.views.figures import part_name, short, size_in_bytes
from archdsl.analysis.views.part import explain_part, related, titled, wrapped
from archdsl.analysis.views.table import Row, rows
from archdsl.graph.ir import Graph, Instance, Region, Value, instances, subregions
from archdsl.primitives import TABLE as PRIMITIVES

if TYPE_CHECKING:
    from archdsl.analysis.checked import Checked

LISTED = 6


def explain(spec: Checked, path: str | None = None, sizes: Mapping[str, int] | None = None) -> str:
    """What a spec is, or the part at a path such as `layers.0.attention`; figures at `sizes`, those left out at usual ones.

    Raises ArchError AD0920 if there is no such part.
    """
    return explain_part(spec, path, sizes) if path else _whole(spec, sizes)


# ---- the whole ------------------------------------------------------------------------------------------------------------------------


def _whole(spec: Checked, sizes: Mapping[str, int] | None) -> str:
    graph = spec.graph
    arguments = ", ".join(f"{k}={v}" for k, v in graph.arguments.items())
    lines = [f"{graph.name}({arguments})" if arguments else graph.name]
    if graph.doc:
        lines.append(wrapped(" ".join(graph.doc.split())))
    flops, state, saved = spec.costs.flops(graph.root), cost.state_bytes(graph.root), cost.activation_bytes(graph, spec.costs)
    chosen = chosen_sizes([flops, state, saved], sizes, graph.facts)
    lines += ["", "Inputs and outputs"]
    lines += [f"  in   {v.name}: {_typed(v)}" for v in graph.root.inputs]
    lines += [f"  out  {_typed(v)}" for v in graph.root.outputs]
    lines += ["", "Size and cost" + (f" (one sequence at {at_sizes(chosen)})" if chosen else " (one sequence)")]
    lines.append(f"  {spec.parameters:,} parameters" + (f", {spec.buffers:,} numbers that are not trained" if spec.buffers else ""))
    lines.append(
        f"  forward {short(cost.at(flops, chosen))}FLOPs, {size_in_bytes(cost.at(saved, chosen))} kept for the backward pass (float32)"
    )
    lines += _largest(graph, chosen)
    lines += ["", "Time", *_time(spec)]
    lines += _state_lines(graph.root, chosen)
    lines += titled("Scans (explain one by its path)", _scans(graph.root))
    lines += titled("Shared weights", _sharing(graph.root))
    lines += titled("Decisions", _decisions(spec))
    lines += titled("Assumed, and asserted when it runs", [f"{a.left} {related(a.relation, a.right)}" for a in spec.assumptions])
    lines += titled("Known of the sizes", list(graph.facts) if graph.facts is not None else [])
    lines += titled("Contracts that hold", [" ".join(c.split()).removeprefix("expect ") for c in spec.contracts])
    lines += titled("Side losses and taps", _named_values(graph))
    return "\n".join(lines)


def _typed(value: Value) -> str:
    ragged = any(a.ragged for a in value.type.axes) and value.node is None
    return f"{value.type}{', each sequence with a length of its own' if ragged else ''}"


def _largest(graph: Graph, sizes: Mapping[str, int]) -> list[str]:
    """The parts that cost most, by parameters and by FLOPs."""
    parts = list(_leaves(rows(graph), 1, 1))
    said = []
    for title, of in (("parameters", lambda p: p[0].parameters * p[1]), ("FLOPs", lambda p: cost.at(p[0].flops, sizes) * p[2])):
        total = sum(map(of, parts))
        most = [p for p in sorted(parts, key=lambda p: -of(p))[:3] if of(p)]
        if most:
            said.append(
                f"  most {title}: " + ", ".join(f"{p[0].path}{f' ({p[2]} x)' if p[2] > 1 else ''} {of(p) / total:.0%}" for p in most)
            )
    return said


def _leaves(tree: list[Row], copies: int, runs: int) -> Iterator[tuple[Row, int, int]]:
    """Rows without rows below, with how many copies there are and how often they run."""
    for row in tree:
        if row.rows:
            yield from _leaves(row.rows, copies * row.times, runs * row.times * row.passes)
        else:
            yield row, copies, runs


def _time(spec: Checked) -> list[str]:
    report = spec.causality
    if report.axis is None:
        return ["  No axis of an input reaches every output, so there is no time axis."]
    if not report.causal:
        unknown = f"  Whether it is causal along {report.axis} is not known."
        said = [unknown if report.unknown else f"  Not causal along {report.axis}: an output depends on later inputs."]
        for finding in report.lookaheads[:LISTED]:
            said.append(wrapped(f"{finding.path}: {finding.node.op} {finding.reason}", "    "))
        return said
    said = [f"  Causal along {report.axis}: each output depends on inputs of its own position and earlier ones."]
    said.append("  It can be decoded step by step." if report.decodable else f"  It can't be decoded step by step: {report.reason}.")
    return said


def _state_lines(region: Region, sizes: Mapping[str, int]) -> list[str]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for path, slot, times in cost.slots(region):
        shape = f"[{', '.join(map(str, slot.shape))}]"
        key = (".".join("*" if p.isdecimal() else p for p in path.split(".")), f"{slot.name} {shape}")
        entry = groups.setdefault(key, [0, slot])
        entry[0] += times
    if not groups:
        return []
    total = cost.state_bytes(region)
    said = ["", f"State kept while decoding: {size_in_bytes(cost.at(total, {**chosen_sizes([total], sizes)}))} per sequence (float32)"]
    for (path, shape), (times, slot) in list(groups.items())[:12]:
        said.append(
            f"  {path}: {shape}{f', {float(times):g} x' if times != 1 else ''}{', grows with every position' if slot.grows else ''}"
        )
    if len(groups) > 12:
        said.append(f"  … and {len(groups) - 12} more")
    return said


def _scans(root: Region) -> list[str]:
    """The scans, each distinct one once: where it stands first, its class and why."""
    from archdsl.scanning.explain import scan_summary

    found: dict[int, tuple[str, Region]] = {}
    for path, instance in instances(root):
        if instance.region is not None and instance.region.kind == "scan":
            found.setdefault(id(instance.region), (path, instance.region))
    return [f"{path}: {region.name}, {scan_summary(region)}" for path, region in found.values()]


def _sharing(root: Region) -> list[str]:
    """Instances used at several places, once for each distinct region."""
    uses: dict[int, tuple[Instance, list[str]]] = {}
    seen: set[int] = set()

    def visit(path: str, region: Region) -> None:
        if id(region) in seen:
            return
        seen.add(id(region))
        for node in region.nodes:
            where = f"{path}.{part_name(node)}" if path else part_name(node)
            for instance in [node.instance, *(node.borrowed if node.op in PRIMITIVES else [])]:
                if instance is not None:
                    uses.setdefault(id(instance), (instance, []))[1].append(where)
        for name, child in subregions(region):
            visit(f"{path}.{_starred(name)}" if path else _starred(name), child)

    visit("", root)
    said = []
    for instance, places in uses.values():
        if len(places) > 1 and _has_weights(instance):
            shown = ", ".join(places[:LISTED]) + (", …" if len(places) > LISTED else "")
            said.append(f"{instance.name}: one set of weights, used {len(places)} times (by {shown})")
        elif instance.op == "loop" and instance.node is not None and _has_weights(instance):
            said.append(f"{places[0]}: one set of weights, applied {instance.node.attrs['count']} times in a loop")
    return said


def _starred(name: str) -> str:
    return ".".join("*" if p.isdecimal() else p for p in name.split("."))


def _has_weights(instance: Instance) -> bool:
    return cost.Costs().instance_parameters(instance, False) > 0


def _decisions(spec: Checked) -> list[str]:
    """What was chosen; equal decisions of several rounds are one line."""
    groups: dict[tuple[str, str], int] = {}
    for path, decision in spec.decisions:
        options = [str(o) for o in decision.options]
        rest = [o for i, o in enumerate(options) if i != decision.chosen]
        shown = ", ".join(rest[:LISTED]) + (f", … ({len(rest)} others)" if len(rest) > LISTED else "")
        key = (
            "/".join(_starred(p) for p in path.split("/")),
            f"{options[decision.chosen]} (or {shown})" if rest else options[decision.chosen],
        )
        groups[key] = groups.get(key, 0) + 1
    said = [f"{path}: {text}{f', {n} x' if n > 1 else ''}" for (path, text), n in groups.items()]
    return said[:20] + ([f"… and {len(said) - 20} more"] if len(said) > 20 else [])


def _named_values(graph: Graph) -> list[str]:
    said = []
    for path, region in graph.walk():
        prefix = f"{path}." if path else ""
        said += [f"side loss {prefix}{name}" for name in region.aux]
        said += [f"tap {prefix}{name}: {value.type}" for name, value in region.taps.items()]
    return said


__all__ = ["explain"]
