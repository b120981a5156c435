"""The one contract of a structural operation: what feeds the regions it runs, time, cost, listing, drawing, canonical form, text.

A structural operation is a node whose instance holds regions. Each has one class in one file that says all of this; the passes of the compiler
and of analysis ask it and know no operation by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from archdsl.graph.ir import Axis, Instance, Node, Region, ScanState, Value
from archdsl.graph.sizes import decide_equal
from archdsl.primitives.base import Slot
from archdsl.structural.time import FIXED, Place, Time
from archdsl.structural.writer import Form, Writer

Outputs = frozenset[int]  # positions among a region's outputs


@dataclass(frozen=True, eq=False)
class Feed:
    """One region below a node, and what it is given.

    takes: for each value the region is given (see `wanted`) which input of the node that is; None for one that the node makes, as a loop's
    index. borrowed: the instances handed on to it. round: its number among the instance's rounds. states: it is given its states too.
    """

    node: Node
    instance: Instance
    region: Region
    takes: tuple[int | None, ...]
    borrowed: list[Instance]
    round: int | None = None
    states: bool = False

    @property
    def inputs(self) -> list[Value | None]:
        return [None if i is None else self.node.inputs[i] for i in self.takes]

    @property
    def wanted(self) -> list[Value]:
        """The region's own names for what it is given: its inputs, stand-ins of captured values, then states."""
        return [*self.region.all_inputs, *([s.before for s in self.region.states] if self.states else [])]

    @property
    def captured(self) -> list[Value | None]:
        """What stands for the captured values."""
        return self.inputs[len(self.region.inputs) :]

    @property
    def name(self) -> str:
        """What it is called below the node: the number of a round, the name of an instance beside the node's own, else nothing."""
        return str(self.round) if self.round is not None else "" if self.instance is self.node.instance else self.instance.name

    def places(self, time: Time) -> tuple[Place, ...]:
        """How what it is given stands to a decoded axis."""
        return tuple(FIXED if v is None else time.place(v) for v in self.inputs)


@dataclass(frozen=True)
class Applied:
    """A node that does no more than run its regions one after another, each on what the one before gave, `times` times in all.

    step: how far a result goes from what was given to what the region made, where not the whole way. fixed: False if it may end earlier.
    """

    times: int = 1
    step: float | None = None
    fixed: bool = True


@dataclass(frozen=True, eq=False)
class Stepped:
    """A use of a scan's step: what stands for its inputs and captured values, the states it begins with where these are given.

    ends: whether the node gives the states after the step too.
    """

    region: Region
    inputs: list[Value]
    captured: list[Value]
    given: dict[ScanState, Value]
    ends: bool


@dataclass(frozen=True, eq=False)
class Side:
    """One of several bodies that stand beside one another in a picture; reads: the inputs of the node that it takes."""

    title: str
    region: Region | None  # None: what is given is handed on unchanged
    reads: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is inside the box of a node: regions in a row, of which equal neighbours are folded, or sides. times: how often all that runs."""

    row: Sequence[Region] = ()
    times: int | None = None
    sides: Sequence[Side] = field(default=())


class Structural(ABC):
    """Subclass, fill in, and list it in `archdsl/structural/__init__.py`. Instances hold no state."""

    name: str
    category: str = "block"  # its colour in pictures: block, mixing or control
    short: str = "y"  # what a result without a name is called in emitted source
    by_part: bool = True  # a result without a name is called as the instance that made it
    opened: bool = False  # flat listings show what its regions hold in its place: nothing but running them one after another
    transparent: bool = False  # runs one region once, on its inputs as they are: what holds of the region holds of the node
    row: bool = False  # runs the rounds of its instance one after another, so that a depth program may take the row apart
    alike: bool = False  # its regions are called by one line, so they take the same arguments
    keeps_types: bool = False  # what a region is given has the types that the region was elaborated for
    steps_below: bool = True  # a step form of the node uses step forms of its regions
    through_time: bool = False  # runs its region at every position of an axis, by a form over time that the region's class has
    by_step: bool = False  # runs its region for one position, wherever the step of a scan is wanted by itself

    # ---- what feeds it ----

    @abstractmethod
    def feeds(self, node: Node) -> list[Feed]:
        """The regions it runs in training or evaluation, in order, with what each is given."""

    @abstractmethod
    def own(self, node: Node) -> int:
        """How many leading inputs are given to it; the ones behind them are captured by its regions."""

    def applied(self, node: Node) -> Applied | None:
        """How its regions follow one another, if it does nothing else."""
        return None

    def stepped(self, node: Node) -> Stepped | None:
        """How it uses a scan's step, if it does."""
        return None

    # ---- time ----

    @abstractmethod
    def flow(self, node: Node, time: Time) -> list[Place]:
        """How its outputs stand to a decoded axis."""

    def needed(self, node: Node, used: Outputs, depends: Callable[[Region, Outputs], Outputs]) -> list[Outputs | None]:
        """Which outputs of each region are needed for the outputs `used` of the node; None: all, and the states.

        depends: which of a region's inputs some of its outputs depend on.
        """
        return [None for _ in self.feeds(node)]

    # ---- cost ----

    @abstractmethod
    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        """The distinct regions it runs in evaluation, and how often (a number, a fraction or a size)."""

    def slots(self, node: Node) -> list[Slot] | None:
        """What decoding keeps for one use; None: what its regions keep."""
        return None

    # ---- checking ----

    def problems(self, node: Node) -> Iterator[str]:
        """What is not well formed, beside what its regions are given."""
        return iter(())

    # ---- inverse ----

    def goes_back(self, node: Node) -> bool:
        """Whether training is to keep nothing of what is between its regions, and find it again by their inverses."""
        return False

    def undone(self, node: Node, unknown: list[int]) -> list[tuple[Region, tuple[int, ...]]] | None:
        """What its inputs at these positions follow through, backwards: inverses of regions for inputs at positions. None: it has no inverse."""
        return None

    def write_inverse(self, node: Node, unknown: list[int], inverses: list[tuple[str, Region]], w: Writer) -> None:
        """Writes those inputs from the outputs; inverses: method and region for each of `undone`. Given with `undone`."""
        raise ValueError(f"`{self.name}` has no inverse")

    # ---- listing and drawing ----

    def said(self, node: Node) -> str:
        """What a message calls it."""
        return self.name

    def what(self, node: Node) -> str:
        """What it is, in a word or two."""
        return self.name

    def drawn(self, node: Node) -> Drawn:
        """What is inside its box."""
        return Drawn([feed.region for feed in self.feeds(node)])

    def note(self, node: Node) -> str:
        """What its box says beside its name."""
        return self.what(node)

    def ports(self, node: Node) -> list[int]:
        """For each input the place among `wanted` of its first feed where it arrives; -1 for one that steers (a router's scores)."""
        (first, *_) = self.feeds(node)
        return [first.takes.index(i) if i in first.takes else -1 for i in range(len(node.inputs))]

    # ---- emission ----

    def counted(self, node: Node) -> int | None:
        """How often it runs, if a built module may run it more or less often."""
        return None

    def measured(self, node: Node, form: Form) -> Axis | None:
        """The axis whose lengths it uses itself, beside what its regions use."""
        return None

    def keeps(self, node: Node, form: Form) -> bool:
        """Whether decoding keeps something for it itself, beside what it keeps for its regions."""
        return False

    @abstractmethod
    def write(self, node: Node, w: Writer) -> None:
        """Writes one use into a method."""


def instance_of(node: Node) -> Instance:
    assert node.instance is not None
    return node.instance


def body_of(node: Node) -> Region:
    """The region of a node that has one."""
    region = instance_of(node).region
    assert region is not None
    return region


def carried(node: Node) -> int:
    """How many leading inputs a repeat or loop hands from round to round."""
    return int(node.attrs.get("carried", len(node.outputs)))


def handed(node: Node) -> list[Instance]:
    """The borrowed instances to hand on to the region: without the node's own instance, which may itself be borrowed."""
    extra = len(node.borrowed) - len(body_of(node).borrowed)
    return node.borrowed[extra:] if extra == 1 and node.borrowed[0] is node.instance else node.borrowed


def single_positions(node: Node, time: Time) -> None:
    """Refuses all positions so far, for an operation that takes single ones."""
    if any(a.past for v in node.inputs if time.place(v).moving for a in v.type.axes):
        time.refuse("takes all positions so far as if they were single ones")


def types_differ(given: Sequence[Value | None], wanted: Sequence[Value]) -> Iterator[str]:
    """Where values cannot have the types of others."""
    for outer, inner in zip(given, wanted):
        if outer is None:
            continue
        a, b = outer.type, inner.type
        if a.rank != b.rank or a.kind != b.kind or any(decide_equal(x, y) is False for x, y in zip(a.sizes, b.sizes)):
            yield f"{inner.name or 'an input'} is {b}, given {a}"


def hands_on(node: Node, feeds: Sequence[Feed], extra: int, results: int) -> Iterator[str]:
    """Whether a repeat or loop hands on as many values as it carries; extra: how many its regions give besides; results: of the node besides."""
    count = carried(node)
    if len(node.outputs) != count + results:
        yield f"carries {count} values but gives {len(node.outputs)}"
    for feed in feeds:
        if len(feed.region.outputs) != count + extra:
            yield f"{feed.region.name} gives {len(feed.region.outputs)} values, {count + extra} are carried"


__all__ = [
    "Applied", "Drawn", "Feed", "Outputs", "Side", "Stepped", "Structural", "body_of", "carried", "handed", "hands_on", "instance_of",
    "single_positions", "types_differ",
]  # fmt: skip
