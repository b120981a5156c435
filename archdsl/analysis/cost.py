"""What an architecture costs, by formula: parameters (exact), FLOPs, decoding state and activations. Nothing is allocated.

FLOPs are forward, one sequence, a multiply-add counted as 2; element-wise work is not counted (as torch's own counter does). Figures may hold
symbols of the inputs' sizes (T, H, …): `at` puts numbers in. Routed experts count as often as a token visits them; `train { } else { }` counts
its evaluation side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from archdsl.graph.ir import Graph, Instance, Node, Region, Value
from archdsl.graph.sizes import Poly, evaluate
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.base import Slot, elements

BYTES = {"float32": 4, "float64": 8, "bfloat16": 2, "float16": 2}
_KIND_BYTES = {"int": 8, "bool": 1}


@dataclass
class Costs:
    """Memoised figures of a graph's regions, or of many graphs that share regions: then `forget` those that do not live on."""

    _parameters: dict[tuple[int, bool], int] = field(default_factory=dict)
    _flops: dict[int, Any] = field(default_factory=dict)
    _saved: dict[int, Any] = field(default_factory=dict)
    _state: dict[tuple[int, str], Any] = field(default_factory=dict)

    def forget(self, region: Region) -> None:
        """Drops what is known of one region."""
        this = id(region)
        self._flops.pop(this, None)
        self._saved.pop(this, None)
        for trainable_only in (True, False):
            self._parameters.pop((this, trainable_only), None)
        for dtype in BYTES:
            self._state.pop((this, dtype), None)

    # ---- parameters ----

    def parameters(self, region: Region, trainable_only: bool = True) -> int:
        """Number of parameters (buffers excluded; with trainable_only=False everything in the state dict)."""
        key = (id(region), trainable_only)
        if key not in self._parameters:
            self._parameters[key] = sum(self.instance_parameters(i, trainable_only) for i in region.instances.values())
        return self._parameters[key]

    def instance_parameters(self, instance: Instance, trainable_only: bool = True) -> int:
        total = sum(_count(w.shape) for w in instance.weights.values() if w.trainable or not trainable_only)
        if instance.rounds is not None:
            total += sum(self.parameters(r, trainable_only) for r in instance.rounds)
        elif instance.region is not None:
            total += self.parameters(instance.region, trainable_only)
        return total

    # ---- work and memory over nodes ----

    def flops(self, region: Region) -> Any:
        if id(region) not in self._flops:
            total: Any = 0
            for node in region.nodes:
                total = total + self.node_flops(node)
            self._flops[id(region)] = total
        return self._flops[id(region)]

    def node_flops(self, node: Node) -> Any:
        if node.op in PRIMITIVES:
            return PRIMITIVES[node.op].flops(node)
        total: Any = 0
        for region, times in executions(node):
            total = total + times * self.flops(region)
        return total

    def state(self, region: Region, dtype: str) -> Any:
        """Bytes kept per sequence while decoding."""
        key = (id(region), dtype)
        if key not in self._state:
            total: Any = 0
            for node in region.nodes:
                if node.op in PRIMITIVES or node.op == "scan":
                    own = PRIMITIVES[node.op].slots(node) if node.op in PRIMITIVES else [s for _, s, _ in _scan_slots(node, "")]
                    total = total + sum((_slot_bytes(slot, dtype) for slot in own), 0)
                    continue
                for child, times in executions(node):
                    total = total + times * self.state(child, dtype)
            self._state[key] = total
        return self._state[key]

    def saved(self, region: Region) -> Any:
        """Elements kept for the backward pass."""
        if id(region) not in self._saved:
            total: Any = 0
            for node in region.nodes:
                if node.op in PRIMITIVES:
                    total = total + PRIMITIVES[node.op].saved(node)
                    continue
                if node.attrs.get("reversible"):
                    total = total + self._kept(node)
                    continue
                for child, times in executions(node):
                    total = total + times * self.saved(child)
            self._saved[id(region)] = total
        return self._saved[id(region)]

    @staticmethod
    def _kept(node: Node) -> Any:
        """A reversible repeat keeps what it was given and what it gives; one without an inverse, what each round was given."""
        from archdsl.compiler.inverse import Inverses, Obstacle, reversible

        assert node.instance is not None
        count, rounds = len(node.outputs), node.instance.rounds or []
        ends = [v for r in rounds for v in r.inputs] if isinstance(reversible(node, Inverses()), Obstacle) else node.inputs[:count]
        total: Any = 0
        for value in [*ends, *node.outputs]:
            total = total + elements(value.type)
        return total


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for size in shape:
        n *= size
    return n


def executions(node: Node) -> list[tuple[Region, Any]]:
    """The regions a structural node runs in evaluation, and how often."""
    instance = node.instance
    assert instance is not None
    if node.op == "repeat":
        rounds = instance.rounds or []
        chosen = [rounds[i] for i in node.attrs["indices"]] if "indices" in node.attrs else rounds
        return [(r, chosen.count(r)) for r in dict.fromkeys(chosen)]
    if node.op == "route":
        router, experts = node.attrs["router"], instance.rounds or []
        visits: Any = {"topk": router["k"], "hash": router["k"] or 1, "expert_choice": router["capacity"] or 1}.get(
            router["kind"], len(experts)
        )
        return [(r, Fraction(visits).limit_denominator(1000) * experts.count(r) / len(experts)) for r in dict.fromkeys(experts)]
    region = node.attrs.get("region") or instance.region
    assert region is not None
    if node.op == "loop":
        return [(region, node.attrs["count"])]
    if node.op == "skip":
        return [(region, Fraction(node.attrs["capacity"]).limit_denominator(1000))]
    if node.op == "train":
        other = node.attrs["otherwise"]
        return [(other.region, 1)] if other is not None else []
    if node.op == "scan":
        return [(region, _lead_and_time(node, region))]
    if node.op == "cell":
        return [(region, _ratio(node.inputs[0], region.inputs[0]))]
    return [(region, 1)]


def _lead_and_time(node: Node, region: Region) -> Any:
    out, step = node.outputs[0], region.outputs[0]
    n: Any = 1
    for size in out.type.sizes[: out.type.rank - step.type.rank]:
        n = n * size
    return n


def _ratio(whole: Value, step: Value) -> Any:
    n: Any = 1
    for size in whole.type.sizes[: whole.type.rank - step.type.rank]:
        n = n * size
    return n


# ---- decoding state ---------------------------------------------------------------------------------------------------------------


def slots(region: Region, path: str = "") -> list[tuple[str, Slot, Any]]:
    """The occurrence table: (path, what is kept, how often) for every use of a part that keeps something between decoding steps."""
    found: list[tuple[str, Slot, Any]] = []
    for node in region.nodes:
        here = f"{path}{node.occurrence}"
        if node.op in PRIMITIVES:
            found += [(here, slot, 1) for slot in PRIMITIVES[node.op].slots(node)]
        elif node.op == "scan":
            found += _scan_slots(node, here)
        else:
            for child, times in executions(node):
                found += [(p, s, n * times) for p, s, n in slots(child, here + ".")]
    return found


def _scan_slots(node: Node, here: str) -> list[tuple[str, Slot, Any]]:
    region = node.instance.region  # type: ignore[union-attr]
    assert region is not None
    out, step = node.outputs[0], region.outputs[0]
    lead = out.type.sizes[: max(out.type.rank - step.type.rank - 1, 0)]
    return [(f"{here}.{s.name}", Slot(s.name, (*lead, *s.before.type.sizes), s.before.type.kind), 1) for s in region.states]


def state_bytes(region: Region, dtype: str = "float32", costs: Costs | None = None) -> Any:
    """Bytes kept per sequence while decoding (a growing cache holds every position seen: the symbol of the time axis)."""
    return (costs or Costs()).state(region, dtype)


def _slot_bytes(slot: Slot, dtype: str) -> Any:
    n: Any = 1
    for size in slot.shape:
        n = n * size
    return n * _KIND_BYTES.get(slot.kind, BYTES[dtype] * (2 if slot.kind == "complex" else 1))


def activation_bytes(graph: Graph, costs: Costs, dtype: str = "float32", batch: int = 1) -> Any:
    """Bytes kept for the backward pass of one forward run in training."""
    inputs: Any = 0
    for value in graph.root.inputs:
        inputs = inputs + elements(value.type)
    return (costs.saved(graph.root) + inputs) * BYTES[dtype] * batch


# ---- reading figures --------------------------------------------------------------------------------------------------------------


def symbols(figure: Any) -> set[str]:
    """The symbols a figure depends on."""
    return set(figure.symbols()) if isinstance(figure, Poly) else set()


def at(figure: Any, sizes: Mapping[str, int]) -> int:
    """A figure with the symbols' values put in, rounded up to a whole number."""
    import math

    value = evaluate(figure, dict(sizes)) if isinstance(figure, Poly) else figure
    return math.ceil(value)
