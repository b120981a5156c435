"""The graph: hierarchical regions of operations over typed values, plus the tables read off it.

A `Region` is one elaborated body: of a block, a repeat round, a loop, an expert, a scan step, a side of `train`. Each distinct (recipe,
arguments, input types, decisions) is elaborated once and shared; a thousand equal layers are one region and a count. Values and instances
of an outer body that an inner one uses are explicit: they are appended to its inputs (`captures`) or its `borrowed` instances.

Runtime layout of a value: [batch, *axes] if `batched`, else [*axes]. The batch axis is never written, so code must count axes from the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, dataclass_transform

from archdsl.diagnostics import Label, Span
from archdsl.graph.sizes import Size

Kind = Literal["float", "int", "bool", "complex"]
A = TypeVar("A")
T = TypeVar("T")

_identities = itertools.count(1)


def fresh_identity() -> int:
    """A new axis identity."""
    return next(_identities)


@dataclass(frozen=True, slots=True)
class Axis:
    """A size and an identity. Two axes of equal size are still two axes; ops that keep an axis keep its identity.

    `ragged` names the lengths input that holds each sequence's own length along this axis (see `in x: [T, d] lengths`). `past`: the axis
    holds all positions so far, also where decoding brings only new ones (see primitives/history.py).
    """

    size: Size
    identity: int = field(default_factory=fresh_identity)
    ragged: str | None = None
    past: bool = False


@dataclass(frozen=True, slots=True)
class TensorType:
    axes: tuple[Axis, ...]
    kind: Kind = "float"
    batched: bool = True

    @property
    def sizes(self) -> tuple[Size, ...]:
        return tuple(a.size for a in self.axes)

    @property
    def rank(self) -> int:
        return len(self.axes)

    def __str__(self) -> str:
        prefix = "" if self.kind == "float" else self.kind
        return f"{prefix}[{', '.join(str(s) for s in self.sizes)}]"


@dataclass(eq=False, slots=True, repr=False)
class Value:
    """One tensor in a region. `name` is the name the spec bound it to, if any; `node` made it (None for inputs)."""

    type: TensorType
    region: Region
    node: Node | None = None
    name: str | None = None
    index: int = 0  # which output of the node

    def __repr__(self) -> str:
        return f"<Value {self.name or ''}{self.type}>"


@dataclass(frozen=True, slots=True)
class Init:
    """How a weight begins: `kind` is a distribution known to the runtime, `args` its numbers.

    kinds: zeros, ones, constant(v), normal(std[, mean]), uniform(low, high), truncated_normal(std), loguniform(low, high), orthogonal(gain),
    xavier_uniform(gain), xavier_normal(gain), kaiming_uniform(a[, "out"]), kaiming_normal(a[, "out"]), lecun_normal(gain), eye,
    arange(start, step), values(list…),
    and element-wise functions of another: kind "apply", args (function name, Init).
    """

    kind: str
    args: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(str(a) for a in self.args)})" if self.args else self.kind


@dataclass(frozen=True, slots=True)
class Weight:
    """One tensor of a primitive's instance. `trainable` False makes it a buffer (kept in the state dict, not a parameter)."""

    name: str
    shape: tuple[int, ...]
    init: Init
    kind: Kind = "float"
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that a spec names: those of a known package, or a file or folder beside the spec.

    places: where a file of that name may lie. within: the folders that it, and all that is read with it, may not leave. span: the name.
    """

    name: str
    places: tuple[Path, ...] = ()
    within: tuple[Path, ...] = ()
    span: Span | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return self.name


@dataclass(eq=False, slots=True, repr=False)
class Instance:
    """Something that owns weights, under a name in the region that made it.

    primitive instances hold `weights`; block instances hold `region`; a repeat holds `rounds` (one region per round, often the same
    object). `name` is unique within the owner. `shared_from` is set on a borrowed instance: see Region.borrowed.
    """

    name: str
    op: str  # primitive name, "block", "repeat", "loop", "route", "scan", …
    owner: Region | None
    weights: dict[str, Weight] = field(default_factory=dict)
    region: Region | None = None
    rounds: list[Region] | None = None
    node: Node | None = None  # the first node that used it; holds the attributes
    labelled: bool = False
    pretrained: Published | None = None  # the weights to fill it with

    def __repr__(self) -> str:  # the parts hang together: a full listing would print the whole graph
        return f"<Instance {self.name}: {self.op}>"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a node was written, and why it exists: the calls and repeats it was expanded through, innermost first."""

    span: Span
    via: tuple[Label, ...] = ()


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def frozen(cls: type[T]) -> type[T]:
    """Makes a class of attributes: a dataclass whose instances do not change, made by keyword. It compares by identity.

    What a dataclass has beyond that (equality, its own repr and docstring) would double the time it takes to import the primitives.
    """
    cls.__doc__ = cls.__doc__ or cls.__name__
    return dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)(cls)


@frozen
class Attrs:
    """What an operation was told and found out about itself. Each has a class of its own beside it (see primitives/base.py); this one is empty."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in told(self).items())})"


@frozen
class DeclaredAttrs(Attrs):
    """Of a weight that a spec declares, `param R: [h: n, n]`: `lead` counts the axes in front of the colon, one entry per head."""

    shape: list[int]
    init: Init
    lead: int


@dataclass(eq=False, slots=True, repr=False)
class Node(Generic[A]):
    """One operation. `op` is a primitive's name or one of the structural ops:

    call     instance.region applied                    inputs: arguments, then the region's captures
    repeat   instance.rounds in turn                    inputs: carried values, then captures (the same for each round)
    loop     instance.region, attrs: count|until|step   inputs: carried values, then captures
    route    instance.region per expert; see primitives/route
    train    attrs: training, otherwise (Regions)
    scan     instance.region over time; see primitives/scan
    """

    op: str
    inputs: list[Value]
    attrs: A
    outputs: list[Value]
    origin: Origin
    instance: Instance | None = None
    borrowed: list[Instance] = field(default_factory=list)  # what the callee borrows, resolved in this region
    occurrence: str = ""  # name of this use within the region: state slot
    value_inputs: dict[str, int] = field(default_factory=dict)  # parameters given as values: which input each one is
    through: Instance | None = None  # of a part taken out of another instance (a depth program): the one that owns what it uses

    def __repr__(self) -> str:
        return f"<Node {self.op} {self.occurrence}>"


@lru_cache(maxsize=1024)
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls))


def told(attrs: Any) -> dict[str, Any]:
    """Attributes by name."""
    cls: Any = type(attrs)
    return {name: getattr(attrs, name) for name in _names(cls)}


if TYPE_CHECKING:
    from dataclasses import replace  # its keywords are checked
else:

    def replace(attrs: Any, **changes: Any) -> Any:
        """A copy of attributes with other values: dataclasses.replace, in a third of the time."""
        return type(attrs)(**{**told(attrs), **changes})


def attributes(node: Node) -> dict[str, Any]:
    """A node's attributes by name, for readers that treat all operations alike."""
    return told(node.attrs) if isinstance(node.attrs, Attrs) else node.attrs


def lead_axes(node: Node) -> int:
    """How many axes of a declared weight hold one entry per head; 0 for everything else."""
    return node.attrs.lead if isinstance(node.attrs, DeclaredAttrs) else 0


@dataclass(frozen=True, slots=True)
class Assumption:
    """A shape equation neither proved nor refuted; the emitted code asserts it. text is for people; left == right or left % right == 0."""

    left: Size
    relation: str  # "==" or "%"
    right: Size
    origin: Origin


@dataclass(frozen=True, slots=True)
class Decision:
    """A choice made while elaborating: name within the region, what there was to choose from, and what was taken (an index).

    after: how many of the region's instances had been made by then.
    """

    name: str
    kind: str  # "choice" | "domain"
    options: tuple[Any, ...]
    chosen: int
    span: Span
    after: int = 0


@dataclass(eq=False, slots=True, repr=False)
class Region:
    """One elaborated body."""

    name: str  # block name, or the label of a repeat
    kind: str  # "arch" | "block" | "pipe" | "repeat" | "loop" | "expert" | "scan" | "train"
    span: Span
    inputs: list[Value] = field(default_factory=list)  # declared inputs, in order
    captures: list[tuple[Value, Value]] = field(default_factory=list)  # (outer value, its stand-in here)
    borrowed: list[Instance] = field(default_factory=list)  # instances of outer regions used here
    nodes: list[Node] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    instances: dict[str, Instance] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    assumptions: list[Assumption] = field(default_factory=list)
    taps: dict[str, Value] = field(default_factory=dict)
    aux: dict[str, Value] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)  # the arguments it was made with, for people
    states: list[ScanState] = field(default_factory=list)  # scans only
    doc: str | None = None

    def __repr__(self) -> str:
        return f"<Region {self.kind} {self.name}: {len(self.nodes)} nodes>"

    @property
    def all_inputs(self) -> list[Value]:
        """Declared inputs, then stand-ins of captured values: the order of a call node's inputs."""
        return self.inputs + [inner for _, inner in self.captures]


@dataclass(eq=False, slots=True)
class ScanState:
    """A scan's state: value before the step (`before`), after it (`after`), and how it begins."""

    name: str
    before: Value
    after: Value | None
    init: Init | Value
    weight: Instance | None = None  # learned initial state


@dataclass(eq=False)
class Graph:
    """A checked architecture: its root region, what it was made from, and the contracts that stand on it."""

    name: str
    root: Region
    facts: Any  # archdsl.graph.sizes.Facts: what `where` and the sizes' signs gave
    arguments: dict[str, Any]
    doc: str | None = None
    sources: tuple[Any, ...] = ()  # every Source that took part

    def walk(self) -> Iterator[tuple[str, Region]]:
        """Every distinct region once, outermost first, with the path of its first use."""
        seen: set[Region] = set()

        def visit(path: str, region: Region) -> Iterator[tuple[str, Region]]:
            if region in seen:
                return
            seen.add(region)
            yield path, region
            for name, child in subregions(region):
                yield from visit(f"{path}.{name}" if path else name, child)

        yield from visit("", self.root)


def subregions(region: Region) -> Iterator[tuple[str, Region]]:
    """The regions directly inside one, named as weight paths name them (rounds of a repeat by number)."""
    for name, instance in region.instances.items():
        if instance.rounds is not None:
            for i, child in enumerate(instance.rounds):
                yield f"{name}.{i}", child
        elif instance.region is not None:
            yield name, instance.region


def instances(region: Region, prefix: str = "") -> Iterator[tuple[str, Instance]]:
    """Every instance below a region with its weight path (the instance table). Repeats appear once per round."""
    for name, instance in region.instances.items():
        path = prefix + name
        yield path, instance
        if instance.rounds is not None:
            for i, child in enumerate(instance.rounds):
                yield from instances(child, f"{path}.{i}.")
        elif instance.region is not None:
            yield from instances(instance.region, path + ".")


def weights(region: Region, prefix: str = "") -> Iterator[tuple[str, Weight]]:
    """Every weight with its full path, in the order of the emitted module's state dict."""
    for path, instance in instances(region, prefix):
        for name, weight in instance.weights.items():
            yield f"{path}.{name}" if name else path, weight
