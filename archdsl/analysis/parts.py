"""The parts of two architectures compared: what was added, removed, given other attributes or wired otherwise, folded over rounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from archdsl.analysis.cost import Costs
from archdsl.analysis.matching import Flat, Item, Matched, Matcher, Origin, bodies
from archdsl.graph.functions import FUNCTIONS
from archdsl.graph.ir import Graph, Instance, Region
from archdsl.primitives.rearrange import RearrangeAttrs

PATHS = 4  # paths named in one line
DERIVED = frozenset({"plan", "kept", "terms", "result", "channels", "features", "body_ranks", "value_inputs"})
# attributes that follow from shapes: a change in them is told where it comes from


@dataclass(frozen=True)
class Change:
    """One change: kind is added, removed, changed (attributes), wiring or choice; paths fold rounds (`layers.*`) and equal places."""

    kind: str
    paths: tuple[str, ...]
    text: str

    def line(self) -> str:
        """For people: where, then what."""
        shown = ", ".join(p or "the whole" for p in self.paths[:PATHS])
        more = f" and {len(self.paths) - PATHS} more" if len(self.paths) > PATHS else ""
        return f"{shown}{more}: {self.text}"

    def below(self, prefix: str) -> Change:
        return replace(self, paths=tuple(_join(prefix, p) for p in self.paths))


def _join(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


class Comparison:
    """Compares two graphs body by body; each pair of bodies once."""

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = a, b
        self.matcher = Matcher(a, b)
        self.costs = Costs()
        self._known: dict[tuple[int, int], list[Change]] = {}
        self._moved: dict[tuple[int, int], dict[tuple[str, str], None]] = {}

    def moved(self) -> list[tuple[str, str]]:
        """Instances with weights that correspond, as paths on both sides with rounds as `*`, where the paths differ. After `changes`."""
        return [(x, y) for x, y in self._moved.get((id(self.a.root), id(self.b.root)), {}) if x != y]

    def changes(self) -> list[Change]:
        """All changes, outermost first."""
        return merged(self._inputs() + self.bodies(self.a.root, self.b.root))

    def _inputs(self) -> list[Change]:
        said = []
        left, right = self.a.root.inputs, self.b.root.inputs
        for i in range(max(len(left), len(right))):
            if i >= len(left):
                said.append(Change("added", (f"input {right[i].name}",), str(right[i].type)))
            elif i >= len(right):
                said.append(Change("removed", (f"input {left[i].name}",), str(left[i].type)))
            elif self.matcher.signatures[0].type(left[i].type) != self.matcher.signatures[1].type(right[i].type):
                before, after = (f"{v.type}{' with lengths' if any(a.ragged for a in v.type.axes) else ''}" for v in (left[i], right[i]))
                said.append(Change("changed", (f"input {right[i].name}",), f"{before} -> {after}"))
        return said

    def bodies(self, a: Region, b: Region) -> list[Change]:
        """The changes between two bodies, with paths relative to them."""
        key = (id(a), id(b))
        if key not in self._known:
            self._known[key], self._moved[key] = [], {}  # a body within itself cannot be, but must not hang
            self._known[key] = merged(self._compare(a, b))
        return self._known[key]

    def _compare(self, a: Region, b: Region) -> list[Change]:
        matched = self.matcher.match(a, b)
        said = self._choices(a, b, matched)
        said += _gone("removed", matched.a, matched.removed, matched.b, self.costs)
        said += _gone("added", matched.b, matched.added, matched.a, self.costs)
        moved = self._moved[id(a), id(b)]
        for x, y in matched.pairs:
            said += self._pair(matched, x, y)
            if x.node.instance is not None and x.node.instance.weights:
                moved[x.path, y.path] = None
            for (first, p), (second, q) in zip(bodies(x.node), bodies(y.node)):
                one, two = (_join(i.path, "*" if n.isdecimal() else n) for i, n in ((x, first), (y, second)))
                moved.update({(_join(one, m), _join(two, n)): None for m, n in self._moved.get((id(p), id(q)), {})})
        for i, (old, new) in enumerate(zip(matched.a.outputs, matched.b.outputs)):
            if not matched.corresponds(old, new):
                said.append(Change("wiring", ("",), f"output {i} is {matched.b.name(new)}, was {matched.a.name(old)}"))
        if len(a.outputs) != len(b.outputs):
            said.append(Change("changed", ("",), f"outputs: {len(a.outputs)} -> {len(b.outputs)}"))
        return said

    def _choices(self, a: Region, b: Region, matched: Matched) -> list[Change]:
        regions_a, regions_b = _with_calls(a, matched.a), _with_calls(b, matched.b)
        said = []
        for path, region in regions_b.items():
            before = {d.name: d for d in regions_a[path].decisions} if path in regions_a else {}
            for d in region.decisions:
                old = before.get(d.name)
                if old is not None and old.options[old.chosen] != d.options[d.chosen]:
                    said.append(Change("choice", (path,), f"{d.name}: {old.options[old.chosen]} -> {d.options[d.chosen]}"))
        return said

    # ---- one operation on both sides ----

    def _pair(self, matched: Matched, x: Item, y: Item) -> list[Change]:
        said = [Change("changed", (y.path,), text) for text in self._attributes(x, y)]
        said += self._wiring(matched, x, y)
        if x.node.op == y.node.op:
            said += self._below(x, y)
        return said

    def _attributes(self, x: Item, y: Item) -> list[str]:
        if x.node.op != y.node.op:
            return [f"{x.words} -> {y.words}"]
        told = []
        before = self._shown(0, x)
        after = self._shown(1, y)
        for name in [*before, *(n for n in after if n not in before)]:
            if before.get(name) != after.get(name):
                told.append(f"{y.words} {name}: {before.get(name, ('none',))[-1]} -> {after.get(name, ('none',))[-1]}")
        return told + _weights(x.node.instance, y.node.instance)

    def _shown(self, side: int, item: Item) -> dict[str, tuple[str, str]]:
        """Attributes as (what is compared, what is shown)."""
        signatures = self.matcher.signatures[side]
        visible = {k: v for k, v in signatures.visible(item.node).items() if k not in DERIVED}
        if isinstance(item.node.attrs, RearrangeAttrs):
            visible["pattern"] = item.node.attrs.pattern
        return {k: (signatures.plain(v), _text(v, signatures)) for k, v in visible.items()}

    def _wiring(self, matched: Matched, x: Item, y: Item) -> list[Change]:
        said = []
        for p, q in zip(x.inputs, y.inputs):
            if not matched.corresponds(p, q):
                said.append(Change("wiring", (y.path,), f"{y.words} reads {matched.b.name(q)}, was {matched.a.name(p)}"))
        if len(x.inputs) != len(y.inputs):
            said.append(Change("wiring", (y.path,), f"{y.words} reads {len(y.inputs)} values, was {len(x.inputs)}"))
        return said

    def _below(self, x: Item, y: Item) -> list[Change]:
        """What changed in the bodies that an operation runs; rounds that pair the same bodies are told once."""
        left, right = bodies(x.node), bodies(y.node)
        if x.node.op not in ("repeat", "route"):
            said = []
            for (_, p), (name, q) in zip(left, right):
                said += [c.below(_join(y.path, name)) for c in self.bodies(p, q)]
            return said
        said = (
            [Change("changed", (y.path,), f"{len(left)} -> {len(right)} rounds")]
            if len(left) != len(right) and x.node.op == "repeat"
            else []
        )
        pairs = list(zip(left, right))
        for _, group in groupby(pairs, key=lambda pair: (id(pair[0][1]), id(pair[1][1]))):
            rounds = list(group)
            (_, p), (first, q) = rounds[0]
            last = rounds[-1][1][0]
            span = "*" if len(rounds) == len(pairs) else first if first == last else f"{first}..{last}"
            said += [c.below(f"{y.path}.{span}") for c in self.bodies(p, q)]
        return said


def _with_calls(region: Region, flat: Flat) -> dict[str, Region]:
    found = {"": region}
    for item in flat.items:
        for call in item.calls:
            found.setdefault(call.path, call.region)
    return found


def _text(value: Any, signatures: Any) -> str:
    from archdsl.graph.acts import Act

    if isinstance(value, Act):
        return value.name + (f"({', '.join(f'{k}={v:g}' for k, v in value.statics)})" if value.statics else "")
    text = signatures.plain(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _weights(a: Instance | None, b: Instance | None) -> list[str]:
    """How the weights of one instance differ beyond their shapes."""
    told = []
    left, right = (i.weights if i is not None else {} for i in (a, b))
    for name in left.keys() & right.keys():
        x, y = left[name], right[name]
        if x.init != y.init and (x.shape == y.shape or x.init.kind != y.init.kind):  # bounds that follow the shape are no news
            told.append(f"{name or 'it'} begins as {y.init}, was {x.init}")
        if x.trainable != y.trainable:
            told.append(f"{name or 'it'} is {'learned' if y.trainable else 'not learned'} now")
    return sorted(told)


# ---- parts that are on one side only ------------------------------------------------------------------------------------------------


def _gone(kind: str, flat: Flat, items: list[Item], other: Flat, costs: Costs) -> list[Change]:
    """Parts of one side: a block whose operations are all there is told as a whole, unless the other side has such a block in its place."""
    both = {(c.path, c.region.name) for i in other.items for c in i.calls}
    said, told = [], set()
    counts: dict[Any, int] = {}
    for item in items:
        for call in item.calls:
            counts[call] = counts.get(call, 0) + 1
    for item in items:
        blocks = [c for c in item.calls if counts[c] == c.size and c.region.kind == "block"]
        whole = next((c for c in blocks if (c.path, c.region.name) not in both), None)
        if whole is None:
            said.append(Change(kind, (item.path,), _described(flat, item)))
        elif whole not in told:
            told.add(whole)
            n = costs.parameters(whole.region)
            said.append(Change(kind, (whole.path,), f"{whole.region.name}, {n:,} parameters" if n else whole.region.name))
    return said


def _described(flat: Flat, item: Item) -> str:
    """What an operation is and what it reads."""
    reads = [flat.name(origin) for origin in item.inputs]
    sign = FUNCTIONS[item.node.attrs.function].sign if item.node.op == "pointwise" else ""
    if sign:
        for position, scalar in sorted(item.node.attrs.scalars.items()):
            reads.insert(position, f"{scalar:g}" if isinstance(scalar, (int, float)) else str(scalar))
        text = f" {sign} ".join(reads)
        return f"{text} (residual connection)" if item.words == "add" and _residual(item) else text
    n = sum(_size(w.shape) for w in item.node.instance.weights.values()) if item.node.instance is not None else 0
    return f"{item.words} of {', '.join(reads) or 'nothing'}" + (f", {n:,} parameters" if n else "")


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for s in shape:
        n *= s
    return n


def _residual(item: Item) -> bool:
    """Whether one side of a sum is computed from the other."""
    if len(item.inputs) != 2:
        return False
    a, b = item.inputs
    return _reaches(a, b) or _reaches(b, a)


def _reaches(start: Origin, target: Origin) -> bool:
    seen: set[Any] = set()
    stack = [start]
    while stack:
        origin = stack.pop()
        if not isinstance(origin[0], Item) or origin[0] in seen:
            continue
        seen.add(origin[0])
        if target in origin[0].inputs:
            return True
        stack += origin[0].inputs
    return False


def merged(changes: list[Change]) -> list[Change]:
    """Equal changes at several places as one."""
    groups: dict[tuple[str, str], dict[str, None]] = {}
    for c in changes:
        groups.setdefault((c.kind, c.text), {}).update(dict.fromkeys(c.paths))
    return [Change(kind, tuple(paths), text) for (kind, text), paths in groups.items()]


__all__ = ["Change", "Comparison", "merged"]
