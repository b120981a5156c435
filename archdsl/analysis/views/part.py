"""One part of a spec in sentences and figures."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archdsl.analysis import cost
from archdsl.analysis.cost import executions
from archdsl.analysis.usual import at_sizes, chosen_sizes
from archdsl.analysis.views.figures import node_state, part_name, shapes, short, size_in_bytes
from archdsl.analysis.views.table import what
from archdsl.diagnostics import ArchError, Diagnostic, Span, suggestion
from archdsl.graph.ir import Graph, Instance, Node, Region, Value, Weight, attributes
from archdsl.primitives import TABLE as PRIMITIVES

if TYPE_CHECKING:
    from archdsl.analysis.checked import Checked

WIDTH = 110


def wrapped(text: str, indent: str = "") -> str:
    """Text in lines of readable length."""
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)


def titled(title: str, items: list[str]) -> list[str]:
    """A section, or nothing if there is nothing to say."""
    return ["", title, *(wrapped(item, "  ") for item in items)] if items else []


def related(relation: str, right: Any) -> str:
    """How an assumption reads."""
    return f"is a multiple of {right}" if relation == "%" else f"{relation} {right}"


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


def explain_part(spec: Checked, path: str, sizes: Mapping[str, int] | None) -> str:
    part = find_part(spec.graph, path)
    node, instance, region = part.node, part.instance, part.region
    lines = [f"{part.path}: {_kind(part)}"]
    if region is not None and region.doc:
        lines.append(wrapped(" ".join(region.doc.split())))
    lines += _made_with(region)
    lines += _written(node.origin.span if node is not None else region.span if region is not None else None)
    if node is not None:
        lines += ["", "Reads and gives"]
        lines += [f"  in   {_source(v)}: {v.type}" for v in node.inputs]
        lines += [f"  out  {shapes([o.type])}" for o in node.outputs]
        lines += titled("Set to", [f"{k} = {v}" for k, v in attributes(node).items() if _plain(v)])
    elif region is not None:
        lines += [
            "",
            "Reads and gives",
            *(f"  in   {v.name or 'x'}: {v.type}" for v in region.all_inputs),
            *(f"  out  {v.type}" for v in region.outputs),
        ]
    lines += _weights(instance)
    lines += _recurrence(region, sizes)
    lines += _costs(spec, part, sizes)
    if region is not None:
        lines += titled("Assumed, and asserted when it runs", [f"{a.left} {related(a.relation, a.right)}" for a in region.assumptions])
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
    return titled("Weights", [_weight(n, w) for n, w in instance.weights.items()])


def _weight(name: str, weight: Weight) -> str:
    return f"{name or 'value'} {list(weight.shape)}, begins as {weight.init}{'' if weight.trainable else ', not trained'}"


def _costs(spec: Checked, part: Part, sizes: Mapping[str, int] | None) -> list[str]:
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
    return titled("Cost", said)


def _recurrence(region: Region | None, sizes: Mapping[str, int] | None) -> list[str]:
    """What a scan's step is and how it runs."""
    if region is None or region.kind != "scan":
        return []
    from archdsl.scanning.explain import explain_scan

    return ["", explain_scan(region, sizes)]


def _looks(spec: Checked, part: Part) -> list[str]:
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
    return titled("Looks ahead in time", [f"{f.path}: {f.node.op} {f.reason}" for f in found])


__all__ = ["Part", "explain_part", "find_part", "related", "titled", "wrapped"]
