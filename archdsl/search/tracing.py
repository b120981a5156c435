"""One elaboration watched: what was decided at which place of the file, and which runs came out of which expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from archdsl.diagnostics import Span
from archdsl.elaboration.body import Body, Demand, Session, elaborate_region
from archdsl.graph.ir import Region
from archdsl.language import syntax as ast


@dataclass(frozen=True, slots=True)
class Ran:
    """A region that ran. path: where its decisions lie. user: the path of the body that applied it. span: of the text that ran."""

    path: str
    user: str
    recipe: Any
    span: Span


@dataclass(eq=False)
class Trace:
    """Guides an elaboration by given decisions and keeps what is needed to write them out. Paths end in "/"; the arch's own is ""."""

    point: Mapping[str, int]
    session: Session
    decided: dict[tuple[str, ast.Node], list[tuple[int, str]]] = field(default_factory=dict)  # (body's path, node) -> each option taken
    ran: dict[tuple[str, ast.Node], list[Ran]] = field(default_factory=dict)  # (path and node that a recipe came out of) -> its runs
    uses: dict[tuple[str, ast.Node | None, ast.Node], int] = field(default_factory=dict)  # (path, a constant's name, a choice in it)
    _origins: dict[Any, tuple[str, ast.Node]] = field(default_factory=dict)
    _regions: dict[tuple[Any, str], Region] = field(default_factory=dict)
    _latest: dict[str, dict[ast.Node, int]] = field(default_factory=dict)  # body's path -> what each choice took last

    def decide(self, body: Body, path: str, kind: str, options: Sequence[str], default: int, node: Any) -> int:
        chosen = self.point.get(path, default)
        self._latest.setdefault(body.path, {})[node] = chosen
        self.decided.setdefault((body.path, node), []).append((chosen, options[chosen]))
        return chosen

    def made(self, body: Body, node: Any, recipe: Any) -> None:
        if isinstance(node, ast.Name):  # of a constant, perhaps, which decides at each use
            self.uses.update({(body.path, node, choice): chosen for choice, chosen in self._latest.get(body.path, {}).items()})
        self._origins[recipe] = (body.path, node)

    def region(self, demand: Demand) -> Region:
        key = (demand.key, demand.path)
        if key not in self._regions:
            errors = len(self.session.collector.errors)
            self._regions[key] = region = elaborate_region(demand, {})
            assert len(self.session.collector.errors) == errors
            origin = self._origins.get(demand.recipe)
            if origin is not None:
                ran = Ran(f"{demand.path}/", demand.body.path, demand.recipe, region.span)
                self.ran.setdefault(origin, []).append(ran)
        return self._regions[key]
