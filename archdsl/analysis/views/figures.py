"""Figures as people read them, and the sizes they are taken at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from archdsl.analysis import cost
from archdsl.analysis.matching import words
from archdsl.graph.ir import Instance, Node, Region, TensorType, attributes
from archdsl.graph.sizes import Poly

if TYPE_CHECKING:
    pass


def short(n: float, base: int = 1000) -> str:
    """A number in at most four digits: 134.5 M."""
    for unit in ("", "K", "M", "G", "T", "P"):
        if abs(n) < base or unit == "P":
            return f"{n:,.0f}" if not unit else f"{n:.3g} {unit}" if abs(n) < 999.5 else f"{n:,.0f} {unit}"
        n /= base
    raise AssertionError


def size_in_bytes(n: float) -> str:
    """Bytes with binary units: 45 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(n) < 1024 or unit == "TiB":
            return f"{n:.0f} {unit}" if unit == "B" else f"{n:.3g} {unit}" if n < 999.5 else f"{n:,.0f} {unit}"
        n /= 1024
    raise AssertionError


def node_state(node: Node) -> Any:
    """Bytes one operation keeps between decoding steps (float32)."""
    return cost.state_bytes(Region("", "block", node.origin.span, nodes=[node]))


def shapes(types: Iterable[TensorType]) -> str:
    """Output shapes of an operation in one line."""
    return ", ".join(map(str, types))


class Looks:
    """Which regions look alike: the same operations under the same names, with the same shapes and weights, all the way down."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._known: dict[int, int] = {}

    def of(self, region: Region) -> int:
        """A number that regions which look alike share."""
        known = self._known.get(id(region))
        if known is None:
            places = {id(v): ("in", i) for i, v in enumerate(region.all_inputs)}
            parts: list[object] = []
            for i, node in enumerate(region.nodes):
                parts.append(self._node(node, tuple(places.get(id(v), ("", 0)) for v in node.inputs)))
                places.update({id(v): ("out", i) for v in node.outputs})
            key = (region.kind, tuple(parts), tuple(places.get(id(v), ("", 0)) for v in region.outputs))
            known = self._known[id(region)] = self._numbers.setdefault(key, len(self._numbers))
        return known

    def _node(self, node: Node, reads: tuple[object, ...]) -> object:
        instance = node.instance
        weights: tuple[object, ...] = ()
        below: tuple[int, ...] = ()
        if instance is not None:
            weights = tuple((n, w.shape) for n, w in instance.weights.items())
            inner = instance.rounds or ([instance.region] if instance.region is not None else [])
            below = tuple(self.of(r) for r in inner)
        told = tuple((k, str(v)) for k, v in sorted(attributes(node).items()) if isinstance(v, (int, float, str, bool, tuple, list, Poly)))
        return (words(node), node.occurrence, shapes(o.type for o in node.outputs), told, weights, below, reads)

    def runs(self, rounds: list[Region]) -> list[tuple[int, int, Region]]:
        """Neighbouring rounds that look alike: (first, last, the first's region)."""
        found: list[tuple[int, int, Region]] = []
        for i, region in enumerate(rounds):
            if found and (found[-1][2] is region or self.of(found[-1][2]) == self.of(region)):
                found[-1] = (found[-1][0], i, found[-1][2])
            else:
                found.append((i, i, region))
        return found


def span_text(first: int, last: int, total: int) -> str:
    """How a run of rounds is called: `*` for all of them."""
    return "*" if last - first + 1 == total else str(first) if first == last else f"{first}..{last}"


def part_name(node: Node) -> str:
    """The name of the part a node uses: its instance, with the rounds taken of a repeat (`layers[0..11]`), or its occurrence."""
    if node.instance is None:
        return node.occurrence.replace("pointwise", words(node), 1) if node.op == "pointwise" else node.occurrence
    indices = attributes(node).get("indices")
    if indices is None or node.instance.rounds is None or list(indices) == list(range(len(node.instance.rounds))):
        return node.instance.name
    ordered = list(indices) == list(range(indices[0], indices[0] + len(indices)))
    inner = f"{indices[0]}..{indices[-1] + 1}" if ordered and len(indices) > 1 else ", ".join(map(str, indices))
    return f"{node.instance.name}[{inner}]"


def unused(region: Region) -> list[Instance]:
    """Instances made here that no operation here uses: they are used further in, or through a depth program."""
    direct = {id(node.instance) for node in region.nodes}
    direct |= {id(n.attrs["otherwise"]) for n in region.nodes if n.op == "train" and n.attrs["otherwise"]}
    return [i for i in region.instances.values() if id(i) not in direct]
