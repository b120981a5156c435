"""From a written model back to the point that makes it: decisions are tried in order, and those kept whose listing agrees with the model's.

The canonical listing of a graph (analysis/canonical) goes from inputs to outputs, so the first row in which two listings differ tells how far
the decisions are right. A start that differs where no decision left open can reach is given up.
"""

from __future__ import annotations

import heapq
import os
import re
from typing import TYPE_CHECKING

from archdsl.analysis.canonical import Listing
from archdsl.api import find
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.elaboration.elaborate import elaborate
from archdsl.language.loader import Loader
from archdsl.search.base import Point, Rejected

if TYPE_CHECKING:
    from archdsl.search.space import SpecSpace

TRIES = 4_000  # models elaborated before giving up
_TAKEN = re.compile(r"(\S+)=(\d+)(?=\s|$)")


def recover(space: SpecSpace, path: str | os.PathLike[str]) -> dict[str, int]:
    """The first point found whose model means the same as that of a spec file (or text: anything with a line break). Raises ArchError."""
    text = str(path)
    loader = Loader(space.loader.root if "\n" in text else None)
    namespace = loader.text(text) if "\n" in text else loader.load(find(path))
    names = [a.name for a in namespace.archs]
    graph = elaborate(namespace, loader, space.name if space.name in names else None).graph
    search = _Recovery(space, Listing(graph))
    noted = _TAKEN.findall(namespace.file.doc or "")
    found = search.noted({p: int(i) for p, i in noted}) if noted else None
    found = found if found is not None else search.run()
    if found is None:
        raise ArchError(
            Diagnostic(
                "AD1005",
                f"`{graph.name}` is no point of the space `{space.name}`",
                graph.root.span,
                "no decisions make this model" if search.tries < TRIES else f"not found among the {search.tries:,} points tried",
                note=f"The closest point agrees with it up to row {search.best} of {len(search.target)} of its canonical listing.",
                hint="Was it written from another version of the space, or with other arguments?",
            )
        )
    return found


class _Recovery:
    def __init__(self, space: SpecSpace, listing: Listing) -> None:
        self.space = space
        listing.digest()
        self.target = listing.rows
        self.tries = 0
        self.best = 0
        self._rows: dict[tuple[tuple[str, int], ...], list[str]] = {}

    def noted(self, point: Point) -> dict[str, int] | None:
        """A point that the file names, if it is one and means the file's model."""
        try:
            full = self.space.complete(point)
        except (ArchError, Rejected):
            return None
        return full if self.rows(full) == self.target else None

    def run(self) -> dict[str, int] | None:
        """Best first: the start that agrees furthest is taken one decision further, of equals the longest."""
        queue: list[tuple[int, int, int, int, dict[str, int]]] = [(0, 0, 0, -1, {})]
        pushed = 0
        while queue and self.tries < TRIES:
            *_, before, made = heapq.heappop(queue)
            full = self.space.complete(made)
            agreed = self.agreed(full)
            if self.rows(full) == self.target:
                return full
            choice = self.space.open(made)
            if choice is None or (agreed <= before and agreed < self.settled(made, full)):
                continue
            for index in range(len(choice.options)):
                if choice.weights is None or choice.weights[index]:
                    child = {**made, choice.path: index}
                    try:
                        score = self.agreed(self.space.complete(child))
                    except Rejected:
                        continue
                    pushed += 1
                    heapq.heappush(queue, (-score, -len(child), pushed, agreed, child))
        return None

    def rows(self, point: dict[str, int]) -> list[str]:
        """The listing of a point's model; empty if it has none."""
        key = tuple(point.items())
        if key not in self._rows:
            self.tries += 1
            try:
                graph = self.space.screen.elaborated(point)
            except Rejected:
                self._rows[key] = []
            else:
                listing = Listing(graph)
                listing.digest()
                self._rows[key] = listing.rows
        return self._rows[key]

    def agreed(self, point: dict[str, int]) -> int:
        """How many rows a point's listing shares with the model's."""
        score = _shared(self.rows(point), self.target)
        self.best = max(self.best, score)
        return score

    def settled(self, made: Point, full: dict[str, int]) -> int:
        """How many rows no decision left open can change: another option is tried for each."""
        least = len(self.rows(full))
        for choice in self.space.choices(full):
            if choice.path in made:
                continue
            others = [i for i in range(len(choice.options)) if i != full[choice.path] and (choice.weights is None or choice.weights[i])]
            for other in {others[0], others[-1]} if others else ():
                try:
                    changed = self.space.complete({**full, choice.path: other}, loose=True)
                except Rejected:
                    continue
                least = min(least, _shared(self.rows(changed), self.rows(full)))
        return least


def _shared(a: list[str], b: list[str]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
