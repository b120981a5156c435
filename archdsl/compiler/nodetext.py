"""What primitive nodes write, each form once: an expression with places for what only the method around it can name, and what it asks for.

The same writing tells a plan what a method must be handed and gives a method its text; nothing is written only to be looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from archdsl.compiler import text
from archdsl.compiler.flow import Flow
from archdsl.compiler.names import identifier
from archdsl.graph.ir import Axis, Instance, Kind, Node
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives import TABLE as PRIMITIVES

STATE_KEYS = ("clock", "fixed")  # of a state dict, beside the slots


@dataclass(frozen=True, slots=True)
class Definition:
    """A top-level definition that the text calls."""

    name: str
    source: str


@dataclass(frozen=True, slots=True)
class Placement:
    """The device and dtype of a new tensor, as keyword arguments."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Batch:
    """The batch size."""


Ask = Poly | Instance | Definition | Placement | Batch  # what a place stands for


@dataclass(eq=False)
class NodeText:
    """One form of a node. expressions: canonical, one unless a node is solved for several inputs; `λ0`, `λ1`, … are the values it reads.

    asks: its other places, in the order in which they were asked for. lengths: names of the ragged inputs whose lengths it reads. support:
    functions that it calls. stateful: whether it needs the state and the clock of decoding.
    """

    node: Node
    expressions: tuple[str, ...] = ()
    asks: dict[str, Ask] = field(default_factory=dict)
    lengths: set[str] = field(default_factory=set)
    support: set[str] = field(default_factory=set)
    stateful: bool = False

    @property
    def symbols(self) -> set[str]:
        """The symbols of the sizes it names."""
        return {symbol for ask in self.asks.values() if isinstance(ask, Poly) for symbol in ask.symbols()}


class NodeTexts:
    """The texts of a graph's primitive nodes. keyword: the argument that brings the lengths of a ragged input."""

    def __init__(self, keyword: Callable[[str], str]):
        self._keyword = keyword
        self._known: dict[tuple[Node, Flow | None, bool], NodeText] = {}
        self._solved: dict[tuple[Node, tuple[int, ...]], NodeText] = {}

    def whole(self, node: Node) -> NodeText:
        """The form over whole sequences."""
        return self._of(node, None, False)

    def step(self, node: Node, flow: Flow) -> NodeText:
        """The form for new positions."""
        return self._of(node, flow, True)

    def of(self, node: Node, flow: Flow | None) -> NodeText:
        """The form in which a method of a flow (None: a whole form) writes a node."""
        if flow is None:
            return self.whole(node)
        if flow.moves(node):
            return self.step(node, flow)
        timed = any(a.ragged and a.identity in flow.time for v in (*node.inputs, *node.outputs) for a in v.type.axes)
        return self._of(node, flow, False) if timed else self.whole(node)

    def solved(self, node: Node, unknown: tuple[int, ...]) -> NodeText:
        """The inputs at some positions, from the outputs (`λo0`, …) and the other inputs."""
        key = (node, unknown)
        if key not in self._solved:
            e = _Recorder(node, None, False, self._keyword)
            outs = [f"{text.PLACE}o{i}" for i in range(len(node.outputs))]
            args = ["" if i in unknown else mark(i) for i in range(len(node.inputs))]
            e.end(PRIMITIVES[node.op].solve(node, list(unknown), outs, args, e))
            self._solved[key] = e.made
        return self._solved[key]

    def _of(self, node: Node, flow: Flow | None, stepping: bool) -> NodeText:
        key = (node, flow, stepping)
        if key not in self._known:
            primitive, e = PRIMITIVES[node.op], _Recorder(node, flow, stepping, self._keyword)
            form = primitive.step if stepping else primitive.emit
            e.end([form(node, [mark(i) for i in range(len(primitive.reads(node)))], e)])
            if stepping:
                whole = self.whole(node)
                e.made.stateful |= (e.made.expressions, e.made.asks) != (whole.expressions, whole.asks)
            self._known[key] = e.made
        return self._known[key]


class _Recorder:
    """The emitter of one node in one form (see primitives/emitter.py)."""

    training = "self.training"

    def __init__(self, node: Node, flow: Flow | None, stepping: bool, keyword: Callable[[str], str]):
        self.made = NodeText(node)
        self._node, self._flow, self._stepping, self._keyword = node, flow, stepping, keyword

    def end(self, expressions: list[str]) -> None:
        self.made.expressions = tuple(map(text.tidy, expressions))

    def _place(self, ask: Ask) -> str:
        asks = self.made.asks
        known = next((place for place, other in asks.items() if other == ask), None)
        place = known or f"{text.PLACE}a{len(asks)}_"
        asks[place] = ask
        return place

    @property
    def self(self) -> str:
        assert self._node.instance is not None
        return self._place(self._node.instance)

    def weight(self, name: str) -> str:
        return f"{self.self}.{name}" if name else self.self

    def module_source(self, instance: Instance) -> str:
        return self._place(instance)

    def support(self, name: str) -> str:
        self.made.support.add(name)
        return name

    def define(self, name: str, source: str) -> str:
        return self._place(Definition(name, source))

    def size(self, size: Size) -> str:
        return self._place(size) if isinstance(size, Poly) else str(size)

    def lengths(self, axis: Axis) -> str | None:
        if axis.ragged is None:
            return None
        if self._flow is not None and axis.identity in self._flow.time:
            self.made.stateful |= self._stepping
            return "clock.count" if self._stepping else None
        base, *changes = axis.ragged.split(";")
        self.made.lengths.add(base)
        if changes:
            self.made.support.add("changed_lengths")
        return lengths_source(self._keyword(base), changes)

    @property
    def slot(self) -> str:
        self.made.stateful = True
        return slot_source(self._node.occurrence)

    @property
    def clock(self) -> str:
        self.made.stateful = True
        return "clock"

    def over_time(self, axis: Axis) -> bool:
        return self._stepping and self._flow is not None and axis.identity in self._flow.time

    @property
    def batch(self) -> str:
        return self._place(Batch())

    def placement(self, kind: Kind) -> str:
        return f"**{self._place(Placement(kind))}"


def mark(index: int) -> str:
    """The place of the value that a node reads at an index."""
    return f"{text.PLACE}{index}"


def lengths_source(keyword: str, changes: list[str]) -> str:
    """Lengths that came in under a keyword, as changes like `-1,2` made them (see primitives/emitter.py)."""
    return f'changed_lengths({keyword}, "{";".join(c for c in changes if set(c) <= set("0123456789-*,"))}")' if changes else keyword


def slot_source(occurrence: str) -> str:
    """The dict that is kept for one occurrence between decoding steps."""
    key = identifier(occurrence)
    return f'state.setdefault("{key + "_" if key in STATE_KEYS else key}", {{}})'


__all__ = ["STATE_KEYS", "Ask", "Batch", "Definition", "NodeText", "NodeTexts", "Placement", "lengths_source", "mark", "slot_source"]
