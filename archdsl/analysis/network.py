"""The graph as networkx graphs, for one's own analyses: one region as it stands, or the whole flat, calls opened and repeats unrolled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from archdsl.analysis.canonical import FLAT_LIMIT, flat_size
from archdsl.analysis.checked import Checked, graph_of
from archdsl.analysis.matching import words
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Graph, Node, Region, TensorType, Value, attributes

if TYPE_CHECKING:
    import networkx

Source = tuple[str, int, TensorType]  # node name, output, type


def network(thing: Checked | Graph) -> networkx.MultiDiGraph:
    """The whole architecture as one directed graph, an operation a node.

    Node names are occurrence paths (`layers.3.residual.f.Attention.q_proj`), `in.NAME` and `out.NUMBER`. Node attributes: op, name (a short
    one), path (of the instance that owns its weights, or None), shapes (of the outputs, as tuples of ints or symbolic sizes), kinds,
    parameters, attrs. Edge attributes: output, input (places), shape. Loops, scans, routers and the like are one node each, whose
    attribute `bodies` holds the regions they run (see `region_network`). Raises ArchError AD0403 above 100,000 operations.
    """
    graph = graph_of(thing)
    if flat_size(graph.root) > FLAT_LIMIT:
        hint = "Look at it region by region: `archdsl.analysis.network.region_network`."
        raise ArchError(
            Diagnostic("AD0403", f"`{graph.name}` is too long for a flat graph", note=f"More than {FLAT_LIMIT:,} operations.", hint=hint)
        )
    return _network(graph.root, opened=True)


def region_network(region: Region) -> networkx.MultiDiGraph:
    """One region as a directed graph with the same attributes; calls and repeats are nodes."""
    return _network(region, opened=False)


def _network(region: Region, opened: bool) -> networkx.MultiDiGraph:
    import networkx

    made = networkx.MultiDiGraph()
    known: dict[int, Source] = {}
    for i, value in enumerate(region.all_inputs):
        known[id(value)] = _end(made, f"in.{value.name or i}", "input", value)
    for state in region.states:
        known[id(state.before)] = _end(made, f"in.{state.name}", "state", state.before)
    _fill(made, region, known, "", "", opened)
    ends = [(str(i), v) for i, v in enumerate(region.outputs)] + [(f"{s.name}'", s.after) for s in region.states if s.after is not None]
    for name, value in ends:
        source, output, type_ = known[id(value)]
        _end(made, f"out.{name}", "output", value)
        made.add_edge(source, f"out.{name}", output=output, input=0, shape=type_.sizes)
    return made


def _end(made: networkx.MultiDiGraph, name: str, op: str, value: Value) -> Source:
    made.add_node(
        name, op=op, name=value.name or name, path=None, shapes=(value.type.sizes,), kinds=(value.type.kind,), parameters=0, attrs={}
    )
    return name, 0, value.type


def _fill(made: networkx.MultiDiGraph, region: Region, known: dict[int, Source], prefix: str, owner: str, opened: bool) -> None:
    for node in region.nodes:
        inputs = [known[id(v)] for v in node.inputs]
        if opened and node.op in ("call", "repeat"):
            outputs = inputs
            for place, inner, path in _bodies(node, prefix, owner):
                carried = inputs if node.op == "call" else [*outputs, *inputs[node.attrs["carried"] :]]
                within = {id(v): source for v, source in zip(inner.all_inputs, carried)}
                _fill(made, inner, within, place, path, opened)
                outputs = [within[id(v)] for v in inner.outputs]
            known.update({id(out): source for out, source in zip(node.outputs, outputs)})
            continue
        name = prefix + node.occurrence
        made.add_node(name, **_attributes(node, owner))
        for i, (source, output, type_) in enumerate(inputs):
            made.add_edge(source, name, output=output, input=i, shape=type_.sizes)
        known.update({id(out): (name, i, out.type) for i, out in enumerate(node.outputs)})


def _bodies(node: Node, prefix: str, owner: str) -> Iterator[tuple[str, Region, str]]:
    """The regions a call or repeat runs: prefix of occurrences, region, prefix of weight paths."""
    instance = node.instance
    assert instance is not None
    base = _path(node, owner)
    if instance.rounds is None:
        assert instance.region is not None
        yield f"{prefix}{node.occurrence}.", instance.region, f"{base}."
        return
    for place, i in enumerate(node.attrs.get("indices", range(len(instance.rounds)))):
        yield f"{prefix}{node.occurrence}.{place}.", instance.rounds[i], f"{base}.{i}."


def _path(node: Node, owner: str) -> str:
    """Where a node's weights are registered: below the owner, or, for a shared one, under its own name from the outside."""
    assert node.instance is not None
    through = node.through
    if through is not None:
        return f"{through.name}.{node.instance.name}"
    own = node.outputs[0].region is node.instance.owner if node.outputs else True
    return owner + node.instance.name if own else node.instance.name


def _attributes(node: Node, owner: str) -> dict[str, Any]:
    instance = node.instance
    count = 0
    if instance is not None:
        for weight in instance.weights.values():
            n = 1
            for size in weight.shape:
                n *= size
            count += n if weight.trainable else 0
    found: dict[str, Any] = {
        "op": node.op,
        "name": words(node),
        "path": _path(node, owner) if instance is not None else None,
        "shapes": tuple(o.type.sizes for o in node.outputs),
        "kinds": tuple(o.type.kind for o in node.outputs),
        "parameters": count,
        "attrs": {k: v for k, v in attributes(node).items() if isinstance(v, (int, float, str, bool, list, tuple, dict)) or v is None},
    }
    if instance is not None and (instance.region is not None or instance.rounds is not None):
        found["bodies"] = instance.rounds or [instance.region]
    return found


__all__ = ["network", "region_network"]
