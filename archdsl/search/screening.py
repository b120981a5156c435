"""Candidates: a point elaborated, held against the spec's contracts, costed and hashed, before anything is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from archdsl.analysis import cost
from archdsl.analysis.canonical import Listing
from archdsl.analysis.contracts import shortfall
from archdsl.analysis.signature import Signatures
from archdsl.api import Spec
from archdsl.diagnostics import ArchError
from archdsl.elaboration.elaborate import decisions, elaborate
from archdsl.graph.ir import Graph, Region
from archdsl.language import syntax as ast
from archdsl.search.base import Point, Rejected
from archdsl.search.tree import closed

if TYPE_CHECKING:
    from archdsl.search.space import SpecSpace

REGIONS = 50_000  # kept elaborated between candidates
SIZE = 1024  # of the axes that data brings, where a study gives none


@dataclass(eq=False)
class SpecCandidate:
    """A point's model. costs: parameters, buffers, flops (forward, one sequence), state_bytes, activation_bytes."""

    point: Point
    key: str
    costs: Mapping[str, float]
    graph: Graph
    space: SpecSpace

    @cached_property
    def spec(self) -> Spec:
        """The model as a Spec: `candidate.spec.build(seed=0)`."""
        kept = [e.span.text for e in self.space.screen.contracts]
        return Spec(self.graph, self.space.namespace, self.space.loader, dict(self.space.overrides), contracts=kept)

    def text(self) -> str:
        """The model as a spec without decisions, in canonical form. Raises ArchError where the language cannot say it."""
        from archdsl.search.writing import write

        return write(self.space, self.point, self.key)


class ContractMissed(Rejected):
    """A contract that fails. gap: how far it is missed, relative to the bound."""

    def __init__(self, reason: str, contract: str, value: float | None, gap: float) -> None:
        super().__init__(reason)
        self.contract, self.value, self.gap = contract, value, gap


@dataclass(eq=False)
class Known:
    """What is known of regions, which candidates share; all but their roots."""

    costs: cost.Costs = field(default_factory=cost.Costs)
    flows: dict[Any, Any] = field(default_factory=dict)
    signatures: Signatures | None = None

    def signatures_of(self, graph: Graph) -> Signatures:
        if self.signatures is None or not self.signatures.serves(graph):
            self.signatures = Signatures(graph)
        return self.signatures

    def forget(self, root: Region) -> None:
        """A root dies with its candidate, and its id may come again."""
        self.costs.forget(root)
        for flows in self.flows.values():
            flows.forget(root)
        if self.signatures is not None:
            self.signatures.forget(root)


@dataclass(eq=False)
class Screen:
    """Makes candidates of one space; regions are elaborated once for all of them."""

    space: SpecSpace
    sizes: dict[str, int]
    known: Known = field(default_factory=Known)

    @cached_property
    def contracts(self) -> list[Any]:
        """The `expect` lines that every candidate must meet: the arch's own that speak of no other arguments and pin no figure. A figure
        given exactly (`expect params == 124_439_808`) is that of the defaults."""
        own = [e for e in self.space.namespace.expects if e.arch == self.space.name and not e.overrides]
        return [e for e in own if not (isinstance(e.condition, ast.Binary) and e.condition.op == "==")]

    def candidate(self, point: Point) -> SpecCandidate:
        """Raises Rejected; ArchError for a point that is none of this space."""
        graph, own = self._elaborated(point)
        known = self.known
        try:
            for expect in self.contracts:
                missed = shortfall(expect, graph, known.costs, known.flows)
                if missed is not None:
                    raise ContractMissed(missed.reason, expect.condition.span.text, missed.value, missed.gap)
            return SpecCandidate(dict(point), Listing(graph, known.signatures_of(graph)).digest(), self._costs(graph), graph, self.space)
        finally:
            for region in (graph.root, *own):
                known.forget(region)

    def elaborated(self, point: Point) -> Graph:
        """The point's model, contracts unseen. Raises Rejected."""
        return self._elaborated(point)[0]

    def _elaborated(self, point: Point) -> tuple[Graph, list[Region]]:
        """The model, and its regions that no other candidate shares."""
        space = self.space
        session = space.grammar.session.following()
        if len(session.regions) > REGIONS:
            session.regions.clear()
            self.known = Known()
        before = len(session.regions)
        try:
            graph = elaborate(space.namespace, space.loader, space.name, space.overrides, point, session=session).graph
        except ArchError as error:
            first = error.diagnostics[0]
            raise Rejected(f"{first.title}: {first.label}" if first.label else first.title) from None
        finally:
            own = self._taken_out(before)
        made = {path: d.chosen for path, d in decisions(graph.root)}
        if made != dict(point):
            space.choices(point)  # says which is missing or not there; where it finds none, decisions that seemed independent are not
            raise Rejected(f"the decision `{min(made.items() ^ dict(point).items())[0]}` does not fit the others")
        return graph, own

    def _taken_out(self, before: int) -> list[Region]:
        """Takes new regions out of those to share whose keys hold things that one candidate alone has."""
        regions = self.space.grammar.session.regions
        new = [regions.popitem() for _ in range(len(regions) - before)]
        own = []
        for key, region in reversed(new):
            if closed(key[0]):  # type: ignore[index]
                regions[key] = region
            else:
                own.append(region)
        return own

    def _costs(self, graph: Graph) -> dict[str, float]:
        root, costs = graph.root, self.known.costs
        parameters = costs.parameters(root)
        return {
            "parameters": parameters,
            "buffers": costs.parameters(root, False) - parameters,
            "flops": self._at(costs.flops(root)),
            "state_bytes": self._at(cost.state_bytes(root, costs=costs)),
            "activation_bytes": self._at(cost.activation_bytes(graph, costs)),
        }

    def _at(self, figure: Any) -> int:
        return cost.at(figure, {name: self.sizes.get(name, SIZE) for name in cost.symbols(figure)})
