"""A node's own meaning as text that does not depend on names: its op, its attributes and the kinds of its outputs.

Two nodes with equal signatures compute the same from equal inputs and weights. Symbols of sizes go by canonical names, axes of patterns and
variables of formulas by the order in which they appear, whole floats as ints; labels, spans and instances are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from archdsl.graph.acts import Act
from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, order
from archdsl.graph.ir import Graph, Init, Instance, Node, Region, TensorType, Weight, attributes
from archdsl.graph.sizes import Poly, substitute, symbol

# attributes that say how a node is written or which instances it uses, not what it computes
_SKIPPED = frozenset({"otherwise", "split", "split_borrowed", "indices", "initial", "carried", "kept"})
_WORD = re.compile(r"[A-Za-z_]\w*")


class Signatures:
    """Signatures of a graph's nodes, each written once."""

    def __init__(self, graph: Graph) -> None:
        self._symbols = _canonical_symbols(graph.root)
        self._nodes: dict[int, str] = {}
        self._instances: dict[int, str] = {}

    def serves(self, graph: Graph) -> bool:
        """Whether these are a graph's signatures too: its inputs' sizes have the same names."""
        return _canonical_symbols(graph.root) == self._symbols

    def forget(self, region: Region) -> None:
        """Drops what is known of one region, where others live on."""
        for node in region.nodes:
            self._nodes.pop(id(node), None)
        for instance in region.instances.values():
            self._instances.pop(id(instance), None)

    def weights(self, instance: Instance) -> str:
        """The weights of an instance."""
        known = self._instances.get(id(instance))
        if known is None:
            known = self._instances[id(instance)] = str([self.weight(w) for w in instance.weights.values()])
        return known

    def node(self, node: Node) -> str:
        known = self._nodes.get(id(node))
        if known is None:
            kinds = ",".join(f"{o.type.kind}{'' if o.type.batched else '!'}" for o in node.outputs)
            known = self._nodes[id(node)] = f"{node.op}{self.attributes(node)}:{kinds}"
        return known

    def attributes(self, node: Node) -> str:
        """What a node was told, by name."""
        return self.plain(self.visible(node))

    def visible(self, node: Node) -> dict[str, Any]:
        """The attributes that are part of a node's meaning, with axis names of patterns replaced by their order."""
        attrs = {k: v for k, v in attributes(node).items() if k not in _SKIPPED and not isinstance(v, (Instance, Region))}
        if node.value_inputs:
            attrs["value_inputs"] = node.value_inputs
        if "plan" in attrs:
            attrs.pop("pattern", None)
            attrs.pop("named", None)
        elif isinstance(attrs.get("pattern"), str):
            names = {name: f"a{i}" for i, name in enumerate(dict.fromkeys(_WORD.findall(attrs["pattern"])))}
            attrs["pattern"] = " ".join(_WORD.sub(lambda m: names[m[0]], attrs["pattern"]).replace(",", " , ").split())
            for derived in ("named", "terms", "result"):
                attrs.pop(derived, None)
        return attrs

    def type(self, type_: TensorType) -> str:
        """Sizes, kind and what has lengths of its own."""
        axes = ",".join(self.size(a.size) + ("~" if a.ragged is not None else "") for a in type_.axes)
        return f"{type_.kind}[{axes}]{'' if type_.batched else '!'}"

    def size(self, size: Any) -> str:
        return str(substitute(size, self._symbols)) if isinstance(size, Poly) else str(size)

    def weight(self, weight: Weight) -> str:
        shape = "x".join(map(str, weight.shape))
        return f"{shape}:{weight.kind}:{self.init(weight.init)}:{'t' if weight.trainable else 'b'}"

    def init(self, init: Init) -> str:
        return f"{init.kind}{self.plain(list(init.args))}"

    def plain(self, value: Any) -> str:
        """Any attribute as text; equal for values that mean the same, in every process."""
        if value is None or isinstance(value, (bool, str)):
            return repr(value)
        if isinstance(value, (int, float, complex, Fraction)):
            return _number(value)
        if isinstance(value, Poly):
            return self.size(value)
        if isinstance(value, TensorType):
            return self.type(value)
        if isinstance(value, Init):
            return self.init(value)
        if isinstance(value, Act):
            return act_text(value)
        if isinstance(value, Mapping):
            return "{" + ",".join(f"{k}={self.plain(v)}" for k, v in sorted(value.items(), key=lambda item: str(item[0]))) + "}"
        if isinstance(value, (list, tuple)):
            return "[" + ",".join(map(self.plain, value)) + "]"
        if isinstance(value, (set, frozenset)):
            return "<" + ",".join(sorted(map(self.plain, value))) + ">"
        return type(value).__name__  # an object that holds no more than its kind


def _number(value: int | float | complex | Fraction) -> str:
    if isinstance(value, Fraction):
        value = float(value) if value.denominator != 1 else value.numerator
    if isinstance(value, float) and abs(value) < 2**53 and value == int(value):
        value = int(value)
    return repr(value)


def _canonical_symbols(root: Region) -> dict[str, Any]:
    """Symbols of the inputs' sizes -> numbered ones, in the order of the inputs' axes."""
    names: list[str] = []
    for value in root.inputs:
        for size in value.type.sizes:
            if isinstance(size, Poly):
                names += [n for n in sorted(size.symbols()) if n not in names]
    return {name: symbol(f"n{i}") for i, name in enumerate(names)}


def act_text(act: Act) -> str:
    """An act's value and slopes; inputs and learned parameters go by their places."""
    places = {name: f"x{i}" for i, name in enumerate(act.inputs)}
    places |= {p.name: f"p{i}" for i, p in enumerate(act.learned)}
    learned = ",".join(f"{'axis' if p.per_axis else 'one'}:{_number(p.init)}" for p in act.learned)
    formula = expression_text(act.forward, places)
    if not act.custom:  # then the slopes follow from the value
        return f"act({learned};{formula})"
    slopes = ";".join(f"{places[name]}:{expression_text(slope, places)}" for name, slope in act.slopes)
    return f"act({learned};{formula};{slopes})"


def expression_text(root: Expr, places: Mapping[str, str]) -> str:
    """A scalar formula as a listing in which shared parts stand once."""
    numbers: dict[Expr, int] = {}
    rows = []
    for node in order(root):
        row = _row(node, numbers, places)
        numbers[node] = len(numbers)
        rows.append(row)
    return " ".join(rows)


def _row(node: Expr, numbers: Mapping[Expr, int], places: Mapping[str, str]) -> str:
    if isinstance(node, Const):
        return _number(node.value)
    if isinstance(node, Var):
        return places.get(node.name, node.name)
    name = node.function if isinstance(node, Apply) else "declared" if isinstance(node, Custom) else type(node).__name__
    return f"{name}({','.join(str(numbers[a]) for a in node.args)})"


__all__ = ["Signatures", "act_text", "expression_text"]
