"""A spec, or one part of it, in sentences and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic, Span, suggestion
from archdsl.graph import cost
from archdsl.graph.cost import executions
from archdsl.graph.ir import Graph, Instance, Node, Region, Value, Weight, subregions
from archdsl.graph.views.figures import at_sizes, chosen_sizes, node_state, part_name, shapes, short, size_in_bytes
from archdsl.graph.views.table import Row, rows, what
from archdsl.primitives import TABLE as PRIMITIVES

if TYPE_CHECKING:
    from archdsl.api import Spec

WIDTH = 110
LISTED = 6


def explain(spec: Spec, path: str | None = None, sizes: Mapping[str, int] | None = None) -> str:
    """What a spec is, or the part at a path such as `layers.0.attention`; figures at `sizes`, those left out at usual ones.

    Raises ArchError AD0920 if there is no such part.
    """
    return _part(spec, path, sizes) if path else _whole(spec, sizes)


# ---- the whole ------------------------------------------------------------------------------------------------------------------------


def _whole(spec: Spec, sizes: Mapping[str, int] | None) -> str:
    graph = spec.graph
    arguments = ", ".join(f"{k}={v}" for k, v in graph.arguments.items())
    lines = [f"{graph.name}({arguments})" if arguments else graph.name]
    if graph.doc:
        lines.append(_wrap(" ".join(graph.doc.split())))
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
    lines += _titled("Shared weights", _sharing(graph.root))
    lines += _titled("Decisions", _decisions(spec))
    lines += _titled("Assumed, and asserted when it runs", [f"{a.left} {_relation(a.relation, a.right)}" for a in spec.assumptions])
    lines += _titled("Known of the sizes", list(graph.facts) if graph.facts is not None else [])
    lines += _titled("Contracts that hold", [" ".join(c.split()).removeprefix("expect ") for c in spec.contracts])
    lines += _titled("Side losses and taps", _named_values(graph))
    return "\n".join(lines)


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def _titled(title: str, items: list[str]) -> list[str]:
    return ["", title, *(_wrap(item, "  ") for item in items)] if items else []


def _typed(value: Value) -> str:
    ragged = any(a.ragged for a in value.type.axes) and value.node is None
    return f"{value.type}{', each sequence with a length of its own' if ragged else ''}"


def _relation(relation: str, right: Any) -> str:
    return f"is a multiple of {right}" if relation == "%" else f"{relation} {right}"


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


def _time(spec: Spec) -> list[str]:
    report = spec.causality
    if report.axis is None:
        return ["  No axis of an input reaches every output, so there is no time axis."]
    if not report.causal:
        said = [f"  Not causal along {report.axis}: an output depends on later inputs."]
        for finding in report.lookaheads[:LISTED]:
            said.append(_wrap(f"{'.'.join(finding.path)}: {finding.node.op} {finding.reason}", "    "))
        return said
    said = [f"  Causal along {report.axis}: each output depends on inputs of its own position and earlier ones."]
    said.append("  It can be decoded step by step." if report.decodable else f"  It can't be decoded step by step: {report.why_not}.")
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


def _decisions(spec: Spec) -> list[str]:
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


# ---- one part -------------------------------------------------------------------------------------------------------------------------


@dataclass
class Part:
    """What stands at a path: the operation, if one uses it; else a round of a repeat, or an instance used elsewhere."""

    path: str
    instance: Instance | None
    node: Node | None
    region: Region | None


def find_part(graph: Graph, path: str) -> Part:
    """The part at a weight path or occurrence path; `*` stands for the first round. Raises ArchError AD0920."""
    region: Region | None = graph.root
    part: Part | None = None
    for i, name in enumerate(path.split(".")):
        here = ".".join(path.split(".")[:i])
        if part is not None and part.instance is not None and part.instance.rounds is not None and (name.isdecimal() or name == "*"):
            rounds = part.instance.rounds
            index = 0 if name == "*" else int(name)
            if index >= len(rounds):
                raise _no_part(path, here, [], f"It has rounds 0 to {len(rounds) - 1}.")
            region = rounds[index]
            part = Part(f"{here}.{index}", None, None, region)
            continue
        if region is None:
            raise _no_part(path, here, [], "It has no parts.")
        names = {**{i.name: (i, i.node) for i in region.instances.values()}, **{n.occurrence: (n.instance, n) for n in region.nodes}}
        names |= {part_name(n): (n.instance, n) for n in region.nodes}
        if name not in names:
            raise _no_part(path, here, list(names), f"{f'`{here}`' if here else 'It'} has {', '.join(list(names)[:10])}.")
        instance, node = names[name]
        region = instance.region if instance is not None else None
        part = Part(".".join([here, name]) if here else name, instance, node, region)
    assert part is not None
    return part


def _no_part(path: str, here: str, known: list[str], otherwise: str) -> ArchError:
    wrong = path[len(here) :].lstrip(".").split(".")[0]
    inside = f"`{here}`" if here else "the architecture"
    return ArchError(Diagnostic("AD0920", f"there is no part `{wrong}` in {inside}", hint=suggestion(wrong, known, otherwise)))


def _part(spec: Spec, path: str, sizes: Mapping[str, int] | None) -> str:
    part = find_part(spec.graph, path)
    node, instance, region = part.node, part.instance, part.region
    lines = [f"{part.path}: {_kind(part)}"]
    if region is not None and region.doc:
        lines.append(_wrap(" ".join(region.doc.split())))
    lines += _made_with(region)
    lines += _written(node.origin.span if node is not None else region.span if region is not None else None)
    if node is not None:
        lines += ["", "Reads and gives"]
        lines += [f"  in   {_source(v)}: {v.type}" for v in node.inputs]
        lines += [f"  out  {shapes([o.type])}" for o in node.outputs]
        lines += _titled("Set to", [f"{k} = {v}" for k, v in node.attrs.items() if _plain(v)])
    elif region is not None:
        lines += [
            "",
            "Reads and gives",
            *(f"  in   {v.name or 'x'}: {v.type}" for v in region.all_inputs),
            *(f"  out  {v.type}" for v in region.outputs),
        ]
    lines += _weights(instance)
    lines += _costs(spec, part, sizes)
    if region is not None:
        lines += _titled("Assumed, and asserted when it runs", [f"{a.left} {_relation(a.relation, a.right)}" for a in region.assumptions])
    lines += _looks(spec, part)
    return "\n".join(lines)


def _kind(part: Part) -> str:
    if part.node is not None:
        return what(part.node) + (_primitive_doc(part.node) if part.node.op in PRIMITIVES else "")
    if part.region is not None:
        return f"one round of {part.region.name}" if part.region.kind == "repeat" else part.region.name
    return part.instance.op if part.instance is not None else ""


def _primitive_doc(node: Node) -> str:
    doc = PRIMITIVES[node.op].doc
    return f" ({doc.rstrip('.')})" if doc else ""


def _made_with(region: Region | None) -> list[str]:
    params = ", ".join(f"{k}={v}" for k, v in region.params.items()) if region is not None else ""
    return [f"  made with {params}"] if params else []


def _written(span: Span | None) -> list[str]:
    if span is None:
        return []
    line, _ = span.source.position(span.start)
    return [f"  written in {span.source.name}, line {line}: {' '.join(span.text.split())[:80]}"]


def _source(value: Value) -> str:
    if value.name:
        return value.name
    return part_name(value.node) if value.node is not None else "x"


def _plain(value: Any) -> bool:
    return isinstance(value, (int, float, str, bool)) or (isinstance(value, (list, tuple)) and len(value) <= 4)


def _weights(instance: Instance | None) -> list[str]:
    if instance is None or not instance.weights:
        return []
    return _titled("Weights", [_weight(n, w) for n, w in instance.weights.items()])


def _weight(name: str, weight: Weight) -> str:
    return f"{name or 'value'} {list(weight.shape)}, begins as {weight.init}{'' if weight.trainable else ', not trained'}"


def _costs(spec: Spec, part: Part, sizes: Mapping[str, int] | None) -> list[str]:
    costs = spec.costs
    if part.node is not None:
        flops, state = costs.node_flops(part.node), node_state(part.node)
    elif part.region is not None:
        flops, state = costs.flops(part.region), cost.state_bytes(part.region)
    else:
        flops, state = 0, 0
    n = (
        costs.instance_parameters(part.instance)
        if part.instance is not None
        else costs.parameters(part.region)
        if part.region is not None
        else 0
    )
    chosen = chosen_sizes([flops, state], sizes, spec.graph.facts)
    total = cost.at(costs.flops(spec.graph.root), chosen_sizes([costs.flops(spec.graph.root)], sizes, spec.graph.facts))
    said = [f"{n:,} parameters" + (f", {n / spec.parameters:.1%} of the whole" if spec.parameters and n else "")]
    if flops:
        share = f", {cost.at(flops, chosen) / total:.1%} of the whole for one use" if total else ""
        said.append(f"{short(cost.at(flops, chosen))}FLOPs{f' at {at_sizes(chosen)}' if chosen else ''}: {flops}{share}")
    if state:
        said.append(f"{size_in_bytes(cost.at(state, chosen))} of state while decoding: {state} bytes")
    return _titled("Cost", said)


def _looks(spec: Spec, part: Part) -> list[str]:
    """Whether something inside looks ahead in time."""
    nodes = {id(part.node)} if part.node is not None else set()
    stack = [part.region] if part.region is not None else []
    if part.node is not None and part.node.op not in PRIMITIVES:
        stack += [r for r, _ in executions(part.node)]
    seen: set[int] = set()
    while stack:
        region = stack.pop()
        if id(region) in seen:
            continue
        seen.add(id(region))
        for node in region.nodes:
            nodes.add(id(node))
            if node.op not in PRIMITIVES:
                stack += [r for r, _ in executions(node)]
    found = [f for f in spec.causality.lookaheads if id(f.node) in nodes]
    return _titled("Looks ahead in time", [f"{'.'.join(f.path)}: {f.node.op} {f.reason}" for f in found])


__all__ = ["Part", "explain", "find_part"]
