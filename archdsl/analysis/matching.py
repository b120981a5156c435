"""Two bodies side by side: calls opened, operations paired by what they are and where they stand."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

from archdsl.analysis.canonical import FLAT_LIMIT, Listing, flat_size
from archdsl.analysis.signature import Signatures
from archdsl.graph.ir import Graph, Instance, Node, Region


@dataclass(eq=False, slots=True)
class Call:
    """A call opened while flattening: one part of the body, whose operations are listed in its place."""

    path: str
    instance: Instance
    region: Region
    size: int = 0  # operations inside


def words(node: Node) -> str:
    """What an operation is called in messages: the function of a pointwise one, the act's name, else the op."""
    if node.op == "pointwise":
        return str(node.attrs.function)
    return str(node.attrs.act.name) if node.op == "act" else node.op


def _unnamed(node: Node) -> str:
    """How an operation without weights is called: its occurrence, with the function's name for a pointwise one."""
    return node.occurrence.replace("pointwise", words(node), 1) if node.op == "pointwise" else node.occurrence


@dataclass(eq=False, slots=True)
class Item:
    """One operation of a flattened body."""

    node: Node
    path: str
    block: str  # name of the innermost block it stands in; "" for the body itself
    calls: tuple[Call, ...]
    inputs: list[Origin] = field(default_factory=list)

    @property
    def words(self) -> str:
        """A short name for messages."""
        return words(self.node)


Origin = tuple["Item", int] | tuple[str, int]  # an output of an operation, or a body's input by kind ("input", "captured") and place


@dataclass(eq=False)
class Flat:
    """A body with its calls opened."""

    region: Region
    items: list[Item]
    outputs: list[Origin]
    blocks: dict[str, Region]
    names: dict[Origin, str] = field(default_factory=dict)
    kept: list[Origin] = field(default_factory=list)  # values needed besides the outputs: side losses, next states

    def name(self, origin: Origin) -> str:
        """How a message calls a value."""
        first, index = origin
        if isinstance(first, Item):
            value = first.node.outputs[index]
            return self.names.get(origin) or value.name or first.path
        if first == "input":
            return self.region.inputs[index].name or ("its input" if len(self.region.inputs) == 1 else f"input {index}")
        return self.region.captures[index][0].name or "an outer value"


def flatten(region: Region, opened: bool) -> Flat:
    """A body as operations in order; `opened` opens calls, else they stay operations."""
    flat = Flat(region, [], [], {})
    inputs: dict[int, Origin] = {id(v): ("input", i) for i, v in enumerate(region.inputs)}
    inputs |= {id(inner): ("captured", i) for i, (_, inner) in enumerate(region.captures)}
    inputs |= {id(s.before): ("state", i) for i, s in enumerate(region.states)}
    flat.outputs = _run(flat, region, inputs, "", "", (), opened)
    flat.kept += [inputs[id(s.after)] for s in region.states if s.after is not None]
    _drop_unneeded(flat)
    return flat


def _drop_unneeded(flat: Flat) -> None:
    """Takes out operations that nothing needs: what does not count is no difference."""
    needed: set[Item] = set()
    stack = [*flat.outputs, *flat.kept]
    while stack:
        first, _ = stack.pop()
        if isinstance(first, Item) and first not in needed:
            needed.add(first)
            stack += first.inputs
    for item in flat.items:
        if item not in needed:
            for call in item.calls:
                call.size -= 1
    flat.items = [i for i in flat.items if i in needed]


def _run(
    flat: Flat, region: Region, known: dict[int, Origin], prefix: str, block: str, calls: tuple[Call, ...], opened: bool
) -> list[Origin]:
    for node in region.nodes:
        origins = [known[id(v)] for v in node.inputs]
        name = prefix + (node.instance.name if node.instance is not None else _unnamed(node))
        if opened and node.op == "call" and node.instance is not None and node.instance.region is not None:
            child = node.instance.region
            call = Call(name, node.instance, child)
            inner = {id(v): origin for v, origin in zip(child.all_inputs, origins)}
            start = len(flat.items)
            if child.kind == "block":
                flat.blocks.setdefault(child.name, child)
            within = child.name if child.kind == "block" else block
            outs = _run(flat, child, inner, name + ".", within, (*calls, call), opened)
            call.size = len(flat.items) - start
        else:
            item = Item(node, name, block, calls, origins)
            flat.items.append(item)
            outs = [(item, i) for i in range(len(node.outputs))]
        for value, origin in zip(node.outputs, outs):
            known[id(value)] = origin
            if value.name:
                flat.names[origin] = value.name
    flat.kept += [known[id(v)] for v in region.aux.values()]
    return [known[id(v)] for v in region.outputs]


@dataclass(eq=False)
class Matched:
    """How the operations of two bodies correspond."""

    a: Flat
    b: Flat
    pairs: list[tuple[Item, Item]]
    removed: list[Item]
    added: list[Item]

    def __post_init__(self) -> None:
        self.partner: dict[Item, Item] = dict(self.pairs)
        self._gone, self._new = set(self.removed), set(self.added)

    def corresponds(self, a: Origin, b: Origin) -> bool:
        """Whether two values are the same one on both sides, or differ by operations put between or taken away, which are told as such."""
        return any(self._same(x, y) for x in _through(a, self._gone) for y in _through(b, self._new))

    def _same(self, a: Origin, b: Origin) -> bool:
        if isinstance(a[0], Item):
            return self.partner.get(a[0]) is b[0] and a[1] == b[1]
        return a == b or a[0] == b[0] == "captured"


def _through(origin: Origin, skipped: set[Item]) -> list[Origin]:
    """The values an origin comes from, seen through operations that are on one side only."""
    found: list[Origin] = []
    stack, seen = [origin], {origin}
    while stack and len(seen) < 256:
        here = stack.pop()
        if not isinstance(here[0], Item) or here[0] not in skipped:
            found.append(here)
            continue
        fresh = [o for o in here[0].inputs if o not in seen]
        seen.update(fresh)
        stack += fresh
    return found


class Matcher:
    """Pairs bodies of two graphs."""

    def __init__(self, a: Graph, b: Graph) -> None:
        self.opened = max(flat_size(a.root), flat_size(b.root)) <= FLAT_LIMIT
        self.signatures = (Signatures(a), Signatures(b))
        self._digests = (Listing(a, self.signatures[0], flat=False), Listing(b, self.signatures[1], flat=False))

    def match(self, a: Region, b: Region) -> Matched:
        left, right = flatten(a, self.opened), flatten(b, self.opened)
        alias = {self._digests[0].region_digest(r): name for name, r in left.blocks.items()}
        renamed = {name: alias.get(self._digests[1].region_digest(r), name) for name, r in right.blocks.items()}
        pairs = _aligned([_key(i, i.block) for i in left.items], [_key(i, renamed.get(i.block, i.block)) for i in right.items])
        found = [(left.items[i], right.items[j]) for i, j in pairs]
        rest_a = _without(left.items, [x for x, _ in found])
        rest_b = _without(right.items, [y for _, y in found])
        only_a, only_b = left.blocks.keys() - set(renamed.values()), {n for n, r in renamed.items() if r not in left.blocks}
        found += self._second(rest_a, rest_b, only_a, only_b)
        place = {item: i for i, item in enumerate(left.items)}
        found.sort(key=lambda pair: place[pair[0]])
        return Matched(left, right, found, _without(rest_a, [x for x, _ in found]), _without(rest_b, [y for _, y in found]))

    def _second(self, a: list[Item], b: list[Item], only_a: set[str], only_b: set[str]) -> list[tuple[Item, Item]]:
        """Operations left over: the same op in the same order, under whatever block, unless one block was exchanged for another."""
        x = [i for i in a if i.block not in only_a or not only_b]
        y = [i for i in b if i.block not in only_b or not only_a]
        found = [(x[i], y[j]) for i, j in _aligned([_loose(i) for i in x], [_loose(i) for i in y])]
        a, b = _without(x, [p for p, _ in found]), _without(y, [q for _, q in found])
        by_path = {i.path: i for i in b if i.node.instance is not None}
        return found + [(i, by_path[i.path]) for i in a if i.node.instance is not None and i.path in by_path]


def _without(items: list[Item], gone: list[Item]) -> list[Item]:
    dropped = set(gone)
    return [i for i in items if i not in dropped]


def _key(item: Item, block: str) -> tuple[Any, ...]:
    """What an operation is: block, op, and its name where the name is its own (an ordinal shifts when an equal is put before it)."""
    instance = item.node.instance
    name = instance.name if instance is not None and instance.name.rstrip("0123456789_") != item.node.op else ""
    return (block, item.words, name)


def _loose(item: Item) -> tuple[Any, ...]:
    return _key(item, "")


def _aligned(a: list[tuple[Any, ...]], b: list[tuple[Any, ...]]) -> list[tuple[int, int]]:
    found = []
    for i, j, n in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        found += [(i + k, j + k) for k in range(n)]
    return found


def bodies(node: Node) -> list[tuple[str, Region]]:
    """The regions a structural operation runs, by name below its path; rounds of a repeat by number."""
    instance = node.instance
    if instance is None:
        return []
    if instance.rounds is not None:
        order = node.attrs.get("indices", range(len(instance.rounds)))
        return [(str(i), instance.rounds[i]) for i in order]
    found = [("", instance.region)] if instance.region is not None else []
    other = node.attrs["otherwise"] if node.op == "train" else None
    if other is not None and other.region is not None:
        found.append((other.name, other.region))
    return found


__all__ = ["Call", "Flat", "Item", "Matched", "Matcher", "Origin", "bodies", "flatten", "words"]
