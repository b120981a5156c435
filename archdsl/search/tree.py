"""The decisions of a spec as a grammar, found by running it.

A unit is a region that depends on its key alone: a block with given arguments on given types, a round of a repeat. Its tree holds what is
decided in it, in order of expansion, and which units it enters. Units are shared: twelve rounds of one choice block are one unit entered
twelve times. What a parent can tell of how a unit went is its outcome, the types that come out; a tree branches on decisions and outcomes.
A branch is found by elaborating the unit with the decisions that lead to it, so whatever the language can do is followed.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Union

from archdsl.diagnostics import ArchError, Collector, Diagnostic
from archdsl.elaboration.body import ROOM, Body, Bound, Demand, Session, elaborate_region, region_for
from archdsl.elaboration.elaborate import decision_tree
from archdsl.elaboration.kinds import Poison, type_key
from archdsl.graph.ir import Region, Value
from archdsl.graph.sizes import Facts
from archdsl.language import syntax as ast
from archdsl.stack import with_room

OPENING = 2_000  # runs spent on finding one way through a unit

Outcome = Hashable
Script = tuple[Any, ...]  # the option taken at each decision, the outcome of each unit entered


@dataclass(eq=False, slots=True)
class Decide:
    """A decision. path: from the unit's start. node: the choice or parameter in the file."""

    path: str
    kind: str
    options: tuple[str, ...]
    ordered: bool
    default: int
    node: Any
    edges: dict[Any, Node] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Enter:
    """A unit that runs here, with decisions of its own."""

    path: str
    unit: Unit
    edges: dict[Any, Node] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class End:
    outcome: Outcome


@dataclass(eq=False, slots=True)
class Dead:
    """The decisions so far do not fit together."""

    problems: tuple[Diagnostic, ...]


Node = Union[Decide, Enter, End, Dead]


class Unit:
    """A region as a tree of decisions. demand: how to run it; None for the arch itself."""

    def __init__(self, name: str, demand: Demand | None, recursive: bool, session: Session) -> None:
        self.name = name
        self.demand = demand
        self.recursive = recursive
        recipe = demand.recipe if demand is not None else None
        # Units of one text are alike, if not equal.
        self.text: Any = getattr(recipe, "decl", None) or getattr(recipe, "node", None) or self
        self.top: dict[Any, Node] = {}  # "" -> the first node
        self.outcomes: dict[Outcome, Script] = {}  # in order of discovery, with the way to each
        self.opening = False
        self.facts: Facts = session.facts.copy()
        self.building = list(session.building)

    @property
    def root(self) -> Node | None:
        return self.top.get("")


class Halt(Exception):
    """Ends a run before its end; not an error."""


class Grammar:
    """All units of a space. `start` runs the arch from its beginning; it raises ArchError if the decisions do not fit."""

    def __init__(self, session: Session, start: Any) -> None:
        self.session = session
        self.start = start
        self.units: dict[Hashable, Unit] = {}
        self.runs = 0
        self._recursive: dict[Any, bool] = {}
        self.root = Unit("", None, False, session)

    def unit(self, demand: Demand) -> Unit:
        """The unit for a demand."""
        key = (demand.key, self.session.facts.stated)
        found = self.units.get(key)
        if found is None:
            recipe = demand.recipe
            decl = getattr(recipe, "decl", None)
            found = self.units[key] = Unit(demand.name, demand, decl is not None and self._recurs(recipe), self.session)
        return found

    def _recurs(self, recipe: Any) -> bool:
        """Whether a block can come to contain itself: imports never run in a circle, so only names of its own file matter."""
        known = self._recursive.get(recipe.decl)
        if known is None:
            known = self._recursive[recipe.decl] = reaches_itself(recipe.decl, recipe.namespace)
        return known

    # ---- running ----

    def extend(self, unit: Unit, script: Script) -> None:
        """Runs a unit down a way and from there by defaults to an end; what it meets is added to the tree."""
        self.runs += 1
        run = Run(self, unit, script)
        session = self.session
        saved = session.guide, session.collector, session.building, session.nodes, session.facts
        session.guide, session.collector, session.nodes = run, Collector(), 0
        session.building, session.facts = list(unit.building), unit.facts if unit.demand is not None else Facts()
        try:
            region = self._run(unit)
            run.ended(region)
        except ArchError as error:
            run.failed(error.diagnostics)
        except Poison:
            run.failed(session.collector.errors)
        except Halt:
            pass
        finally:
            session.guide, session.collector, session.building, session.nodes, session.facts = saved

    def _run(self, unit: Unit) -> Region:
        if unit.demand is None:
            region: Region = self.start(self.session)
            return region
        demand, session = unit.demand, self.session
        region = demand.region()
        session.building.append(region.name)
        body = Body(session, region, demand.scope(), demand.body, (demand.call, *demand.body.via), None)
        with_room(ROOM, lambda: demand.fill(body))
        session.collector.check()
        return region

    # ---- looking ----

    def step(self, unit: Unit, edges: dict[Any, Node], key: Any, script: Script) -> Node | None:
        """The node behind an edge, run for if it was not met before; None if it cannot be reached."""
        if key not in edges:
            self.extend(unit, script)
        return edges.get(key)

    def likely(self, unit: Unit) -> Outcome | None:
        """An outcome the unit can have, by defaults if they fit; None if there is none (or none is known while it is being opened)."""
        if not unit.outcomes and not unit.opening:
            unit.opening, until = True, self.runs + OPENING
            try:
                for _ in self.ways(unit):
                    if unit.outcomes or self.runs > until:
                        break
            finally:
                unit.opening = False
        return next(iter(unit.outcomes), None)

    def ways(self, unit: Unit) -> Iterator[Node]:
        """Every end of a unit's tree, defaults first; runs as it goes."""
        ahead: list[tuple[dict[Any, Node], Any, Script]] = [(unit.top, "", ())]
        while ahead:
            edges, key, script = ahead.pop()
            node = self.step(unit, edges, key, script)
            if isinstance(node, Decide):
                by_default = sorted(range(len(node.options)), key=lambda i: i != node.default)
                ahead += [(node.edges, option, (*script, option)) for option in reversed(by_default)]
            elif isinstance(node, Enter):
                self.likely(node.unit)
                ahead += [(node.edges, outcome, (*script, outcome)) for outcome in reversed(node.unit.outcomes)]
            elif node is not None:
                yield node

    def witness(self, unit: Unit, outcome: Outcome) -> dict[str, int]:
        """Decisions that lead a unit to an outcome."""
        found: dict[str, int] = {}
        node = unit.root
        for taken in unit.outcomes[outcome]:
            if isinstance(node, Decide):
                found[node.path] = taken
            elif isinstance(node, Enter):
                found.update({f"{node.path}/{p}": i for p, i in self.witness(node.unit, taken).items()})
            assert isinstance(node, (Decide, Enter))
            node = node.edges[taken]
        return found


class Run:
    """Guides one elaboration of a unit along its tree."""

    def __init__(self, grammar: Grammar, unit: Unit, script: Script) -> None:
        self.grammar = grammar
        self.unit = unit
        self.script = list(reversed(script))
        self.done: list[Any] = []
        self.taken: dict[str, int] = {}
        self.entered: dict[str, Mapping[str, int]] = {}
        self.edges: dict[Any, Node] = unit.top
        self.key: Any = ""

    def decide(self, body: Body, path: str, kind: str, options: Sequence[str], default: int, node: Any) -> int:
        self._sound()
        if path in self.taken:  # a shared instance, applied once more
            return self.taken[path]
        here = self.edges.get(self.key)
        if here is None:
            here = self.edges[self.key] = Decide(path, kind, tuple(options), in_order(options), default, node)
        assert isinstance(here, Decide) and here.path == path, path
        chosen: int = self.script.pop() if self.script else here.default
        self.taken[path] = chosen
        self._go(here.edges, chosen)
        return chosen

    def region(self, demand: Demand) -> Region:
        self._sound()
        if not closed(demand.key):
            made = elaborate_region(demand, {})
            self._sound()
            return made
        if demand.path in self.entered:
            return self._concrete(demand, self.entered[demand.path])
        unit = self.grammar.unit(demand)
        outcome = self.grammar.likely(unit)
        if isinstance(unit.root, End):
            return self._concrete(demand, {})
        if isinstance(unit.root, Dead):
            raise ArchError(*unit.root.problems)
        here = self.edges.get(self.key)
        if here is None:
            here = self.edges[self.key] = Enter(demand.path, unit)
        assert isinstance(here, Enter) and here.unit is unit, demand.path
        outcome = self.script.pop() if self.script else outcome
        if outcome is None:
            raise Halt
        self._go(here.edges, outcome)
        self.entered[demand.path] = self.grammar.witness(unit, outcome)
        return self._concrete(demand, self.entered[demand.path])

    def made(self, body: Body, node: Any, recipe: Any) -> None:
        """Where recipes come from does not matter here."""

    def ended(self, region: Region) -> None:
        self._sound()
        outcome = type_key([v.type for v in (*region.inputs, *region.outputs)])
        self.edges.setdefault(self.key, End(outcome))
        self.unit.outcomes.setdefault(outcome, tuple(self.done))

    def failed(self, problems: Sequence[Diagnostic]) -> None:
        self.edges.setdefault(self.key, Dead(tuple(problems)))

    def _go(self, edges: dict[Any, Node], key: Any) -> None:
        self.edges, self.key = edges, key
        self.done.append(key)

    def _sound(self) -> None:
        """The first problem ends a run: what is decided after it means nothing."""
        errors = self.grammar.session.collector.errors
        if errors:
            self.failed(errors)
            raise Halt

    def _concrete(self, demand: Demand, decisions: Mapping[str, int]) -> Region:
        session = self.grammar.session
        session.guide = None
        try:
            return region_for(demand, decision_tree(decisions))
        finally:
            session.guide = self


def closed(key: Hashable) -> bool:
    """Whether a key tells all that a region depends on: no value and no shared instance of a body around it."""
    stack: list[Any] = [key]
    while stack:
        item = stack.pop()
        if isinstance(item, (Value, Bound)):
            return False
        if isinstance(item, tuple):
            stack.extend(item)
    return True


def reaches_itself(decl: Any, namespace: Any) -> bool:
    """Whether a block's text leads back to the block by names of its file."""
    from archdsl.elaboration.kinds import free_names

    own = {d.name: d for d in namespace.file.declarations if isinstance(d, (ast.BlockDecl, ast.Constant))}
    seen: set[str] = set()
    stack: list[Any] = [decl]
    while stack:
        item = stack.pop()
        for name in free_names(item):
            if own.get(name) is decl:
                return True
            if name in own and name not in seen:
                seen.add(name)
                stack.append(own[name])
    return False


def in_order(options: Sequence[str]) -> bool:
    """Whether options are numbers that rise or fall throughout."""
    try:
        numbers = [float(o) for o in options]
    except ValueError:
        return False
    rising = [b > a for a, b in itertools.pairwise(numbers)]
    return len(numbers) > 1 and (all(rising) or not any(rising))
