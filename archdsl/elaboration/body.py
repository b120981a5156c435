"""Building one region: adding nodes, naming instances, reaching values and instances of outer bodies."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Label, Span
from archdsl.elaboration.kinds import Bound, Poison, Scope
from archdsl.graph.ir import Assumption, Decision, Instance, Node, Origin, Region, TensorType, Value
from archdsl.graph.sizes import Facts
from archdsl.language.loader import Loader

MAX_DEPTH = 96
MAX_NODES = 200_000
MAX_ROUNDS = 4096
MAX_VIA = 12


@dataclass(eq=False)
class Session:
    """What one elaboration shares: facts about sizes, memoised regions, budgets, diagnostics."""

    loader: Loader
    collector: Collector = field(default_factory=Collector)
    facts: Facts = field(default_factory=Facts)
    regions: dict[Hashable, Region | None] = field(default_factory=dict)  # None: failed, already reported
    building: list[str] = field(default_factory=list)
    lowered: dict[Hashable, Any] = field(default_factory=dict)  # acts by declaration and arguments
    nodes: int = 0
    keep: list[Any] = field(default_factory=list)  # objects whose id() is part of a key must stay alive


Decisions = dict[str, Any]  # {"": {decision name: option index}, child name: Decisions}


class Body:
    """The region being built and where it stands."""

    def __init__(
        self, session: Session, region: Region, scope: Scope, parent: Body | None, via: tuple[Label, ...], decisions: Decisions | None
    ) -> None:
        self.session = session
        self.region = region
        self.scope = scope
        self.parent = parent
        self.via = via
        self.decisions = decisions or {}
        self.made: dict[int, Bound] = {}  # handed recipes applied here
        self.reserved: set[str] = set()
        self.naming: tuple[Any, str] | None = None  # the expression being bound, and the name it is bound to
        self._stand_ins: dict[int, Value] = {}
        self._occurrences: dict[str, int] = {}
        self._names: dict[str, int] = {}
        self._claimed: set[str] = set()
        self.sizes: dict[str, Span] = {}  # names that stand for sizes here

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

    # ---- values and instances ----

    def resolve(self, value: Value) -> Value:
        """The value as seen here: itself, or a stand-in for one captured from an outer body."""
        if value.region is self.region:
            return value
        known = self._stand_ins.get(id(value))
        if known is None:
            known = Value(value.type, self.region, None, value.name)
            self._stand_ins[id(value)] = known
            self.region.captures.append((value, known))
            self.session.keep.append(value)
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
        if label in self.region.instances or label in self.reserved or label in self._claimed:
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
            self.session.keep.append(bound)
        return self.borrow(instance)

    def add(
        self,
        op: str,
        inputs: Sequence[Value],
        attrs: dict[str, Any],
        types: Sequence[TensorType],
        span: Span,
        instance: Instance | None = None,
        borrowed: Sequence[Instance] = (),
        occurrence: str | None = None,
    ) -> list[Value]:
        """Appends a node; returns its outputs."""
        self.session.nodes += 1
        if self.session.nodes > MAX_NODES:
            self.fail("AD0403", "this spec expands to too many operations", span, f"more than {MAX_NODES:,}")
        base = occurrence or (instance.name if instance else op)
        count = self._occurrences.get(base, 0) + 1
        self._occurrences[base] = count
        node = Node(
            op, list(inputs), attrs, [], Origin(span, self.via), instance, list(borrowed), base if count == 1 else f"{base}_{count}"
        )
        node.outputs = [Value(t, self.region, node, None, i) for i, t in enumerate(types)]
        self.region.nodes.append(node)
        if instance is not None and instance.node is None:
            instance.node = node
        return node.outputs

    # ---- decisions ----

    def decide(self, base: str, kind: str, options: Sequence[Any], default: int, span: Span) -> int:
        """Records a decision and answers which option to take."""
        taken = {d.name for d in self.region.decisions}
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}_{count}"
        chosen = self.decisions.get("", {}).get(name, default)
        if not isinstance(chosen, int) or not 0 <= chosen < len(options):
            self.fail("AD0208", f"the decision `{name}` has no option {chosen}", span, f"there are {len(options)}")
        self.region.decisions.append(Decision(name, kind, tuple(options), chosen, span))
        return chosen

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
) -> Region:
    """The region for a key, elaborated on first demand. `fill` adds inputs, nodes and outputs."""
    session = body.session
    decisions = body.below(name)
    full = (key, _frozen(decisions))
    if full in session.regions:
        known = session.regions[full]
        if known is None:
            raise Poison
        return known
    if len(session.building) >= MAX_DEPTH:
        repeated = [n for n in dict.fromkeys(reversed(session.building)) if session.building.count(n) > 8]
        what = f"`{repeated[0]}`" if repeated else "this"
        body.fail(
            "AD0401",
            f"{what} expands without end",
            call.span,
            f"already {MAX_DEPTH} levels deep here",
            note="A recursive block must come to a case that does not call itself again.",
            hint="Check that the argument shrinks at each call and that the `if` stops it.",
        )
    made = region()
    child = Body(session, made, scope(), body, (call, *body.via), decisions)
    session.building.append(made.name)
    errors = len(session.collector.errors)
    try:
        fill(child)
    except (ArchError, Poison):
        session.regions[full] = None
        raise
    finally:
        session.building.pop()
    if len(session.collector.errors) > errors:
        session.regions[full] = None
        raise Poison
    session.regions[full] = made
    return made


def _frozen(decisions: Decisions) -> Hashable:
    if not decisions:
        return ()
    return tuple(sorted((k, tuple(sorted(v.items())) if k == "" else _frozen(v)) for k, v in decisions.items()))
