"""Building one region: adding nodes, naming instances, reaching values and instances of outer bodies."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NoReturn, Protocol

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Label, Span
from archdsl.elaboration.kinds import POISON, Handed, Module, Poison, Scope
from archdsl.graph.ir import Assumption, Decision, Instance, Node, Origin, Region, TensorType, Value
from archdsl.graph.sizes import Facts
from archdsl.language import syntax as ast
from archdsl.language.loader import Loader
from archdsl.stack import with_room

MAX_DEPTH = 96
ROOM = 600  # calls that an expression may need, as high as the language allows: 3 for each of 160 steps, and what happens at its end
MAX_NODES = 200_000
MAX_ROUNDS = 4096
MAX_VIA = 12


@dataclass(eq=False)
class Session:
    """What one elaboration shares: facts about sizes, memoised regions, budgets, diagnostics."""

    loader: Loader
    collector: Collector = field(default_factory=Collector)
    facts: Facts = field(default_factory=Facts)
    regions: dict[Hashable, Region] = field(default_factory=dict)  # may be handed on to the next elaboration of the same file
    failed: set[Hashable] = field(default_factory=set)  # keys of regions whose problems are reported
    building: list[str] = field(default_factory=list)
    evaluating: set[ast.Constant] = field(default_factory=set)  # constants whose value is being found
    lowered: dict[Hashable, Any] = field(default_factory=dict)  # acts by declaration and arguments
    nodes: int = 0
    guide: Guide | None = None

    def following(self) -> Session:
        """A session for another elaboration of the same file, with the regions that this one has."""
        return Session(self.loader, regions=self.regions, lowered=self.lowered)


@dataclass(eq=False)
class Bound(Module):
    """`x = module`: one instance, made by its first application and shared by all. `name` is its weight path within `owner`."""

    name: str
    recipe: Any
    owner: Body
    span: Span
    instance: Instance | None = None


Decisions = dict[str, Any]  # {"": {decision name: option index}, child name: Decisions}


@dataclass(frozen=True, eq=False, slots=True)
class Demand:
    """A region asked for. key: what it depends on besides decisions. place: the body that its decisions' paths start from."""

    body: Body
    place: Body
    key: Hashable
    region: Callable[[], Region]
    scope: Callable[[], Scope]
    fill: Callable[[Body], None]
    name: str
    call: Label
    recipe: Any = None

    @property
    def path(self) -> str:
        return f"{self.place.path}{self.name}"


class Guide(Protocol):
    """Watches or steers an elaboration: it takes the decisions and has the regions elaborated (archdsl/search)."""

    def decide(self, body: Body, path: str, kind: str, options: Sequence[str], default: int, node: Any) -> int:
        """Which option to take."""

    def region(self, demand: Demand) -> Region:
        """The region for a demand."""

    def made(self, body: Body, node: Any, recipe: Any) -> None:
        """A recipe has come out of an expression."""


class Body:
    """The region being built and where it stands."""

    def __init__(
        self,
        session: Session,
        region: Region,
        scope: Scope,
        parent: Body | None,
        via: tuple[Label, ...],
        decisions: Decisions | None,
        path: str = "",
    ) -> None:
        self.session = session
        self.region = region
        self.scope = scope
        self.parent = parent
        self.via = via
        self.decisions = decisions or {}
        self.path = path  # before the names of decisions made here: "layers.0/residual/"
        self.made: dict[Handed, Bound] = {}  # handed recipes applied here
        self.reserved: set[str] = set()
        self.naming: tuple[Any, str] | None = None  # the expression being bound, and the name it is bound to
        self._stand_ins: dict[Value, Value] = {}
        self._occurrences: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._claimed: set[str] = set()
        self.sizes: dict[str, Span] = {}  # names that stand for sizes here
        self.rest: list[Any] | None = None  # the sizes that `..` stood for in an input's shape

    # ---- problems ----

    def problem(
        self, code: str, title: str, span: Span, label: str = "", *, labels: Sequence[Label] = (), note: str = "", hint: str = ""
    ) -> Diagnostic:
        return Diagnostic(code, title, span, label, tuple(labels) + _shown(self.via), note, hint)

    def fail(
        self, code: str, title: str, span: Span, label: str = "", *, labels: Sequence[Label] = (), note: str = "", hint: str = ""
    ) -> NoReturn:
        raise ArchError(self.problem(code, title, span, label, labels=labels, note=note, hint=hint))

    def report(self, error: ArchError) -> None:
        for diagnostic in error.diagnostics:
            self.session.collector.add(diagnostic)

    # ---- names ----

    def bind(self, name: str, thing: Any, span: Span) -> None:
        """Enters a name; a size and a value may not share one."""
        before = self.scope.local.get(name)
        if before is not None and before is not POISON and isinstance(before, Value) != isinstance(thing, Value):
            what = {True: "a value", False: "a size or module"}
            self.fail(
                "AD0221",
                f"`{name}` is already {what[isinstance(before, Value)]} in this body",
                span,
                f"now it would be {what[isinstance(thing, Value)]}",
                labels=[Label(self.sizes[name], f"`{name}` is a size here")] if name in self.sizes else [],
                note="In one body a name may be bound again, but only to the same sort of thing.",
                hint="Choose another name.",
            )
        self.scope.local[name] = thing

    # ---- values and instances ----

    def resolve(self, value: Value) -> Value:
        """The value as seen here: itself, or a stand-in for one captured from an outer body."""
        if value.region is self.region:
            return value
        known = self._stand_ins.get(value)
        if known is None:
            known = Value(value.type, self.region, None, value.name)
            self._stand_ins[value] = known
            self.region.captures.append((value, known))
        return known

    def borrow(self, instance: Instance) -> Instance:
        """Makes an instance of an outer region reachable here."""
        if instance.owner is not self.region and instance not in self.region.borrowed:
            self.region.borrowed.append(instance)
        return instance

    def unique(self, base: str) -> str:
        """A name for an instance: the base, with an ordinal only among equals."""
        count = self._names.get(base, 0) + 1
        name = base if count == 1 else f"{base}_{count}"
        while name in self.region.instances or name in self.reserved or name in self._claimed:
            count += 1
            name = f"{base}_{count}"
        self._names[base] = count
        self._claimed.add(name)
        return name

    def claim(self, base: str, label: str | None, span: Span) -> str:
        """The name the next instance will have here: its label, or the base with an ordinal."""
        if label is None:
            return self.unique(base)
        if label in self.region.instances or label in self._claimed:  # `stop = x -> stop: linear(1)` is one part and a value
            self.fail(
                "AD0206",
                f"two parts are called `{label}`",
                span,
                "this name is taken in this body",
                note="A label is a weight path: it must be unique in its body.",
                hint="Choose another label; to share one instance bind it first: `x = module`, then apply x twice.",
            )
        self._claimed.add(label)
        return label

    def place(self, instance: Instance, bound: Bound | None = None) -> Instance:
        """Enters an instance under its name: here, or for a bound one in the body that bound it."""
        owner = bound.owner if bound is not None else self
        instance.owner = owner.region
        owner.region.instances[instance.name] = instance
        if bound is not None:
            bound.instance = instance
        return self.borrow(instance)

    def add(
        self,
        op: str,
        inputs: Sequence[Value],
        attrs: Any,
        types: Sequence[TensorType],
        span: Span,
        instance: Instance | None = None,
        borrowed: Sequence[Instance] = (),
        occurrence: str | None = None,
        through: Instance | None = None,
        value_inputs: Mapping[str, int] = MappingProxyType({}),
    ) -> list[Value]:
        """Appends a node; returns its outputs."""
        self.session.nodes += 1
        if self.session.nodes > MAX_NODES:
            self.fail("AD0403", "this spec expands to too many operations", span, f"more than {MAX_NODES:,}")
        base = occurrence or (instance.name if instance else op)
        count = self._occurrences.get(base, 0) + 1
        self._occurrences[base] = count
        name = base if count == 1 else f"{base}_{count}"
        origin = Origin(span, self.via)
        node = Node(op, list(inputs), attrs, [], origin, instance, list(borrowed), name, dict(value_inputs), through)
        node.outputs = [Value(t, self.region, node, None, i) for i, t in enumerate(types)]
        self.region.nodes.append(node)
        if instance is not None and instance.node is None:
            instance.node = node
        return node.outputs

    # ---- decisions ----

    def decide(self, base: str, kind: str, options: Sequence[str], default: int, node: Any) -> int:
        """Records a decision and answers which option to take. node: where it stands in the file."""
        span = node.span
        taken = {d.name for d in self.region.decisions}
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        if self.session.guide is not None:
            chosen = self.session.guide.decide(self, self.path + name, kind, options, default, node)
        else:
            chosen = self.decisions.get("", {}).get(name, default)
        if not isinstance(chosen, int) or not 0 <= chosen < len(options):
            self.fail("AD0208", f"the decision `{name}` has no option {chosen}", span, f"there are {len(options)}")
        self.region.decisions.append(Decision(name, kind, tuple(options), chosen, span, len(self.region.instances)))
        return chosen

    def made_by(self, node: Any, recipe: Any) -> Any:
        """The recipe; a guide hears which expression it came out of."""
        if self.session.guide is not None:
            self.session.guide.made(self, node, recipe)
        return recipe

    def below(self, name: str) -> Decisions:
        """The decisions given for a child."""
        return self.decisions.get(name, {})

    def assume(self, assumption: Assumption) -> None:
        if assumption not in self.region.assumptions:
            self.region.assumptions.append(assumption)


def _shown(via: tuple[Label, ...]) -> tuple[Label, ...]:
    """The chain of calls for a message: the innermost ones and the outermost."""
    return via if len(via) <= MAX_VIA else (*via[: MAX_VIA - 1], via[-1])


def build_region(
    body: Body,
    key: Hashable,
    region: Callable[[], Region],
    scope: Callable[[], Scope],
    fill: Callable[[Body], None],
    name: str,
    call: Label,
    place: Body | None = None,
    recipe: Any = None,
) -> Region:
    """The region for a key, elaborated on first demand. `fill` adds inputs, nodes and outputs. `place` is the body whose part it becomes, if
    another: the one that bound the module."""
    demand = Demand(body, place or body, key, region, scope, fill, name, call, recipe)
    guide = body.session.guide
    if guide is not None:
        return with_room(ROOM, lambda: guide.region(demand))
    return region_for(demand, demand.place.below(name))


def region_for(demand: Demand, decisions: Decisions) -> Region:
    """A demanded region under these decisions: known, or elaborated now."""
    session = demand.body.session
    full = (demand.key, _frozen(decisions), session.facts.stated)
    known = session.regions.get(full)
    if known is not None:
        return known
    if full in session.failed:
        raise Poison
    errors = len(session.collector.errors)
    try:
        made = elaborate_region(demand, decisions)
    except (ArchError, Poison):
        session.failed.add(full)
        raise
    if len(session.collector.errors) > errors:
        session.failed.add(full)
        raise Poison
    session.regions[full] = made
    return made


def elaborate_region(demand: Demand, decisions: Decisions) -> Region:
    """A demanded region, elaborated anew; its problems may be in the session's collector."""
    body, session = demand.body, demand.body.session
    if len(session.building) >= MAX_DEPTH:
        repeated = [n for n in dict.fromkeys(reversed(session.building)) if session.building.count(n) > 8]
        what = f"`{repeated[0]}`" if repeated else "this"
        body.fail(
            "AD0401",
            f"{what} expands without end",
            demand.call.span,
            f"already {MAX_DEPTH} levels deep here",
            note="A recursive block must come to a case that does not call itself again.",
            hint="Check that the argument shrinks at each call and that the `if` stops it.",
        )
    made = demand.region()
    child = Body(session, made, demand.scope(), body, (demand.call, *body.via), decisions, f"{demand.path}/")
    session.building.append(made.name)
    try:
        with_room(ROOM, lambda: demand.fill(child))
    finally:
        session.building.pop()
    return made


def _frozen(decisions: Decisions) -> Hashable:
    if not decisions:
        return ()
    return tuple(sorted((k, tuple(sorted(v.items())) if k == "" else _frozen(v)) for k, v in decisions.items()))
