"""Hashes of an architecture's meaning, equal in every process.

`structure_hash` ignores how a spec is written: names, blocks that could be inlined, `repeat n {B}` against B written n times, defaults left
out, parts no output needs. It sees operations and their attributes, wiring, weights with their shapes and first values, and which uses
share weights. The graph is listed flat from its outputs; values, inputs and weight instances are numbered as they are met. Bodies that run
by a rule of their own (loop, route, skip, train, scan, reversible repeat) are listed in place between marks. A graph whose flat listing
would be longer than FLAT_LIMIT is listed region by region instead, so that the work stays in proportion to the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from archdsl.analysis.cost import executions
from archdsl.analysis.signature import Signatures
from archdsl.graph.ir import Graph, Instance, Node, Region, ScanState, Value, weights
from archdsl.stack import Calls, unwound

FLAT_LIMIT = 100_000
DIGEST = 20  # bytes
INLINED = frozenset({"call", "repeat"})


def structure_hash(graph: Graph) -> str:
    """Equal for graphs that compute the same function of the same weights, whatever the names (40 hex digits)."""
    return Listing(graph).digest()


def interface_hash(graph: Graph) -> str:
    """Equal for graphs that can exchange checkpoints: structure, weight paths, shapes and kinds, inputs and outputs (40 hex digits)."""
    listing = Listing(graph)
    rows = [listing.digest()]
    rows += sorted(f"{path} {'x'.join(map(str, w.shape))} {w.kind}" for path, w in weights(graph.root))
    rows += [listing.signatures.type(v.type) for v in (*graph.root.inputs, *graph.root.outputs)]
    return blake2b("\n".join(rows).encode(), digest_size=DIGEST).hexdigest()


def canonical_weights(graph: Graph) -> list[str]:
    """Weight paths in the order in which the canonical listing meets them: graphs of equal structure have equal lists up to names."""
    listing = Listing(graph)
    listing.digest()
    return listing.weight_paths


class Place:
    """Whose weights a region's instances are. An instance applied to inputs of two lengths has two regions and one place."""

    __slots__ = ("borrowed", "children", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self.borrowed: dict[int, tuple[Place, Instance]] = {}
        self.children: dict[tuple[str, int], Place] = {}

    def find(self, instance: Instance) -> tuple[Place, Instance]:
        """The place that owns an instance used here."""
        return self.borrowed.get(id(instance), (self, instance))


class Frame:
    """One run of a region: what stands for its inputs, and the numbers its values got."""

    __slots__ = ("arguments", "children", "numbers", "place", "region")

    def __init__(self, place: Place, region: Region, arguments: dict[int, Operand]) -> None:
        self.place = place
        self.region = region
        self.arguments = arguments
        self.numbers: dict[int, int] = {}
        self.children: dict[int, list[Frame]] = {}


Operand = tuple[Frame, Value] | int | ScanState  # a value of an outer frame, its number, or a state met inside a scan


class Listing:
    """The canonical listing of a graph."""

    def __init__(
        self, graph: Graph, signatures: Signatures | None = None, digests: dict[int, str] | None = None, flat: bool | None = None
    ) -> None:
        self.graph = graph
        self.signatures = signatures or Signatures(graph)
        self.rows: list[str] = []
        self.weight_paths: list[str] = []
        self._count = 0
        self._instances: dict[tuple[int, str], int] = {}
        self._frames: list[Frame] = []
        self._pending: list[tuple[Frame, ScanState]] = []
        self._states: dict[tuple[int, int], int] = {}
        self._kept: list[Place] = []  # places whose id() is a key here
        self._digests: dict[int, str] = digests if digests is not None else {}
        self._flat = flat_size(graph.root) <= FLAT_LIMIT if flat is None else flat

    def digest(self) -> str:
        """Lists the graph and hashes the listing."""
        unwound(self._root(self.graph.root))
        return blake2b("\n".join(self.rows).encode(), digest_size=DIGEST).hexdigest()

    def _root(self, region: Region) -> Calls[None]:
        place = Place("")
        self._kept.append(place)
        frame = self._frame(place, region, {})
        lengths = {v.name: i for i, v in enumerate(region.inputs)}
        for value in region.all_inputs:
            ragged = [str(lengths.get(a.ragged)) for a in value.type.axes if a.ragged is not None]
            frame.arguments[id(value)] = self._row(f"in {self.signatures.type(value.type)} {','.join(ragged)}")
        for instance in region.borrowed:  # a region listed on its own: what it borrows are slots
            self._instances[id(place), instance.name] = -1 - len(self._instances)
        self.rows.append("out " + (yield from self._numbers(frame, region.outputs)))
        for frame in self._frames:  # grows while side losses are listed
            for value in frame.region.aux.values():
                self.rows.append(f"aux {yield self._number(frame, value)}")

    def _frame(self, place: Place, region: Region, arguments: dict[int, Operand]) -> Frame:
        frame = Frame(place, region, arguments)
        self._frames.append(frame)
        return frame

    def _row(self, text: str) -> int:
        self.rows.append(text)
        self._count += 1
        return self._count

    def _numbers(self, frame: Frame, values: list[Value]) -> Calls[str]:
        found = []
        for value in values:
            known = frame.numbers.get(id(value))
            found.append(str((yield self._number(frame, value)) if known is None else known))
        return ",".join(found)

    # ---- values ----

    def _number(self, frame: Frame, value: Value) -> Calls[int]:
        """The number of a value, listing what it depends on first."""
        known = frame.numbers.get(id(value))
        if known is None:
            known = frame.numbers[id(value)] = yield from self._new_number(frame, value)
        return known

    def _new_number(self, frame: Frame, value: Value) -> Calls[int]:
        node = value.node
        if node is None:
            operand = frame.arguments[id(value)]
            if isinstance(operand, ScanState):
                return (yield from self._state(frame, operand))
            return operand if isinstance(operand, int) else (yield self._number(*operand))
        if self._flat and (node.op == "call" or (node.op == "repeat" and not node.attrs["reversible"])):
            last = self._inlined(frame, node)
            return (yield self._number(last, last.region.outputs[value.index]))
        first = yield from self._operation(frame, node)
        for i, out in enumerate(node.outputs):
            frame.numbers[id(out)] = first + i
        return first + value.index

    def _operation(self, frame: Frame, node: Node) -> Calls[int]:
        """Lists a node; returns the number of its first output."""
        if not self._flat and node.op in INLINED:
            row = yield from self._by_digest(frame, node)
        elif node.op in _STRUCTURAL:
            row = yield from self._structural(frame, node)
        else:
            inputs = yield from self._numbers(frame, node.inputs)
            place = self._owner(frame, node)
            used = [self._weights(*place.find(i)) for i in ([node.instance] if node.instance else []) + node.borrowed]
            row = f"{self.signatures.node(node)}({inputs}){used or ''}"
        first = self._row(row)
        self._count += max(len(node.outputs) - 1, 0)
        return first

    # ---- instances ----

    def _owner(self, frame: Frame, node: Node) -> Place:
        """The place in which a node's instances are meant: the frame's own, or the instance a depth program goes through."""
        base = node.through
        return frame.place if base is None else self._below(*frame.place.find(base))

    def _weights(self, place: Place, instance: Instance) -> int:
        """The number of an instance, listing its weights when it is first met."""
        key = (id(place), instance.name)
        known = self._instances.get(key)
        if known is None:
            self._kept.append(place)
            known = self._instances[key] = len(self._instances)
            self.rows.append(f"weights {known} {self.signatures.weights(instance)}")
            path = f"{place.path}{instance.name}"
            self.weight_paths += [f"{path}.{name}" if name else path for name in instance.weights]
        return known

    def _below(self, place: Place, instance: Instance, index: int = -1) -> Place:
        """The place of an instance's region (of one round, by index), wherever it is called from."""
        key = (instance.name, index)
        known = place.children.get(key)
        if known is None:
            path = f"{place.path}{instance.name}." + (f"{index}." if index >= 0 else "")
            known = place.children[key] = Place(path)
        return known

    def _enter(self, frame: Frame, node: Node, instance: Instance, region: Region, index: int = -1) -> Place:
        """The place of a region that a node runs, with what it borrows from the caller."""
        owner = self._owner(frame, node)
        place = self._below(*owner.find(instance), index)
        for seen in region.borrowed:
            place.borrowed[id(seen)] = owner.find(seen)
        return place

    # ---- bodies ----

    def _inlined(self, frame: Frame, node: Node) -> Frame:
        """The frame whose outputs are the node's: of the called region, or of the last round."""
        known = frame.children.get(id(node))
        if known is None:
            known = frame.children[id(node)] = [self._chain(frame, node)]
        return known[0]

    def _chain(self, frame: Frame, node: Node) -> Frame:
        instance = node.instance
        assert instance is not None
        operands: list[Operand] = [(frame, v) for v in node.inputs]
        if node.op == "call":
            region = instance.region
            assert region is not None
            return self._frame(self._enter(frame, node, instance, region), region, _arguments(region, operands))
        carried = node.attrs["carried"]
        last = frame
        for index, region in _rounds(node):
            last = self._frame(self._enter(frame, node, instance, region, index), region, _arguments(region, operands))
            outs: list[Operand] = [(last, v) for v in region.outputs]
            operands = [*outs, *operands[carried:]]
        return last

    def _structural(self, frame: Frame, node: Node) -> Calls[str]:
        """A node whose regions run under a rule of their own: begin, its bodies, end."""
        assert node.instance is not None
        if node.op in ("scan", "cell"):
            return (yield from self._scan(frame, node))
        told = self.signatures.node(node)
        free = 0 if node.op == "call" else len(node.inputs) if node.op == "cell" else _carried(node)
        inputs = yield from self._numbers(frame, node.inputs[:free])
        bodies = []
        for instance, index, region, captures in _bodies(node):
            place = self._enter(frame, node, instance, region, index)
            self.rows.append(f"begin {told}")
            fresh: list[Operand] = [self._row("arg") for _ in range(len(region.inputs))]
            outer: list[Operand] = [(frame, v) for v in captures]
            inner = self._frame(place, region, _arguments(region, [*fresh, *outer]))
            bodies.append((yield from self._numbers(inner, region.outputs)))
            self.rows.append("end")
        return f"{told}({inputs}){{{';'.join(bodies)}}}"

    def _by_digest(self, frame: Frame, node: Node) -> Calls[str]:
        """A call or repeat as the hashes of its regions, for graphs too long to list flat."""
        runs: list[list[object]] = []
        for instance, index, region, _ in _bodies(node):
            place = self._enter(frame, node, instance, region, index)
            digest = yield self._region_digest(region)
            if runs and runs[-1][0] == digest and not region.borrowed:
                runs[-1][1] += 1  # type: ignore[operator]
                continue
            numbers = [self._weights(*place.find(i)) for i in region.borrowed]
            runs.append([digest, 1, self._weights(*self._owner(frame, node).find(instance)), numbers])
        return f"{self.signatures.node(node)}({yield from self._numbers(frame, node.inputs)}){runs}"

    def region_digest(self, region: Region) -> str:
        """A hash of what a region computes of its inputs and its weights."""
        return unwound(self._region_digest(region))

    def _region_digest(self, region: Region) -> Calls[str]:
        known = self._digests.get(id(region))
        if known is None:
            inner = Listing(Graph(region.name, region, None, {}), self.signatures, self._digests, flat=False)
            yield inner._root(region)
            known = self._digests[id(region)] = blake2b("\n".join(inner.rows).encode(), digest_size=DIGEST).hexdigest()
        return known

    # ---- scans ----

    def _scan(self, frame: Frame, node: Node) -> Calls[str]:
        """A scan or one step of it: inputs and states are numbered when the body first needs them."""
        instance = node.instance
        assert instance is not None
        assert instance.region is not None
        region = instance.region
        place = self._enter(frame, node, instance, region)
        told = self.signatures.node(node)
        self.rows.append(f"begin {told}")
        inner = self._frame(place, region, {})
        count = len(region.inputs)
        cell = node.op == "cell"
        for i, value in enumerate(region.inputs):
            inner.arguments[id(value)] = self._row(f"step {yield self._number(frame, node.inputs[i])}")
        states = len(region.states) if cell else 0
        for (_, stand_in), outer in zip(region.captures, node.inputs[count + states :]):
            inner.arguments[id(stand_in)] = (frame, outer)
        given = node.attrs.get("initial") or {}
        for i, state in enumerate(region.states):
            inner.arguments[id(state.before)] = state
            if cell:
                inner.numbers[id(state)] = yield self._number(frame, node.inputs[count + i])
            elif state.name in given:
                inner.numbers[id(state)] = yield self._number(frame, node.inputs[given[state.name]])
        done, self._pending = self._pending, []
        outs = yield from self._numbers(inner, region.outputs)
        if cell or node.attrs.get("final"):
            ends = []
            for state in region.states:
                ends.append(str((yield from self._state(inner, state))))
            outs += ";" + ",".join(ends)
        while self._pending:
            where, state = self._pending.pop(0)
            assert state.after is not None
            self.rows.append(f"next {self._states[id(where), id(state)]} {yield self._number(where, state.after)}")
        self._pending = done
        self.rows.append("end")
        return f"{told}{{{outs}}}"

    def _state(self, frame: Frame, state: ScanState) -> Calls[int]:
        """The number of a state's value before the step; its update is listed once the outputs are."""
        key = (id(frame), id(state))
        known = self._states.get(key)
        if known is None:
            start = yield from self._start(frame, state)
            known = self._states[key] = self._row(f"state {self.signatures.type(state.before.type)} {start}")
            self._pending.append((frame, state))
        return known

    def _start(self, frame: Frame, state: ScanState) -> Calls[str]:
        given = frame.numbers.get(id(state))
        if given is not None:
            return f"from {given}"
        if state.weight is not None:
            return f"learned {self._weights(*frame.place.find(state.weight))}"
        if isinstance(state.init, Value):
            return f"from {yield self._number(frame, state.init)}"
        return self.signatures.init(state.init)


_STRUCTURAL = frozenset({"repeat", "loop", "route", "skip", "train", "scan", "cell"})


def _arguments(region: Region, operands: list[Operand]) -> dict[int, Operand]:
    return {id(inner): operand for inner, operand in zip(region.all_inputs, operands)}


def _rounds(node: Node) -> list[tuple[int, Region]]:
    assert node.instance is not None
    rounds = node.instance.rounds or []
    return [(i, rounds[i]) for i in node.attrs.get("indices", range(len(rounds)))]


def _carried(node: Node) -> int:
    if node.op in ("route", "skip"):
        return 2
    return int(node.attrs["carried"])


def _bodies(node: Node) -> Iterator[tuple[Instance, int, Region, list[Value]]]:
    """The regions a structural node runs: their instance, round (-1: no rounds), and the captured values in the caller."""
    instance = node.instance
    assert instance is not None
    if node.op == "train":
        assert instance.region is not None
        cut = node.attrs["carried"] + node.attrs["split"]
        yield instance, -1, instance.region, node.inputs[node.attrs["carried"] : cut]
        other = node.attrs["otherwise"]
        if other is not None:
            yield other, -1, other.region, node.inputs[cut:]
        return
    if instance.rounds is not None:
        for index, region in _rounds(node):
            yield instance, index, region, node.inputs[_carried(node) :]
        return
    assert instance.region is not None
    free = len(instance.region.inputs) if node.op == "call" else _carried(node)
    yield instance, -1, instance.region, node.inputs[free:]


def flat_size(region: Region) -> int:
    """Operations in the flat listing, capped a little above FLAT_LIMIT."""
    sizes: dict[int, int] = {}

    def size(region: Region) -> int:
        if id(region) not in sizes:
            total = len(region.nodes)
            for node in region.nodes:
                if node.instance is None or (node.instance.region is None and node.instance.rounds is None):
                    continue
                times: list[tuple[Region, int]] = [(r, 1) for _, _, r, _ in _bodies(node)] if node.op not in ("scan", "cell") else []
                if node.op in ("scan", "cell"):
                    times = [(r, 1) for r, _ in executions(node)]
                total = min(total + sum(n * size(r) for r, n in times), FLAT_LIMIT + 1)
            sizes[id(region)] = total
        return sizes[id(region)]

    return size(region)


__all__ = ["FLAT_LIMIT", "Listing", "canonical_weights", "flat_size", "interface_hash", "structure_hash"]
