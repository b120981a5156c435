"""How many ways there are through a grammar, by outcome, memoised per unit and per level of recursion left.

Every branch is run for while there are not too many. Else decisions are taken to be independent where one run by defaults says so: if the
way on from an option meets the same decisions and units as the way on from the default, as much lies below it. Then the count is not exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archdsl.search.tree import Decide, End, Enter, Grammar, Node, Outcome, Script, Unit
from archdsl.stack import Calls, unwound

Counts = Mapping[Outcome, int]
NOTHING: Counts = {}
ROOM = 10  # how many times as many runs may be spent on an estimate


class Counter:
    """Counts once, when it is made, so that its figures do not depend on what is looked at later.

    nesting: how deep blocks that contain themselves may nest. limit: runs spent before decisions are taken to be independent.
    """

    def __init__(self, grammar: Grammar, nesting: int, limit: int) -> None:
        self.grammar = grammar
        self.nesting = nesting
        self.exact = True
        self._probing = False
        self._limit = limit
        self._units: dict[tuple[Unit, int], Counts] = {}
        self._nodes: dict[tuple[Node, int], Counts] = {}
        self._alike: dict[tuple[Node, int, int], tuple[int, Counts]] = {}  # (node, option, budget) -> the option it is like, ways below
        self.total = unwound(self._unit(grammar.root, nesting))
        if not self.exact:
            self._probing = True
            self._limit = grammar.runs + ROOM * limit
            self._units.clear()
            self._nodes.clear()
            self.total = unwound(self._unit(grammar.root, nesting))

    # ---- asking ----

    def like(self, node: Decide, option: int, budget: int) -> int:
        """The option whose way on stands for that of another: itself, unless decisions were taken to be independent."""
        known = self._alike.get((node, option, budget))
        return option if known is None else known[0]

    def edges(self, node: Decide | Enter, budget: int) -> dict[Any, Counts] | None:
        """Ways below each option of a decision, or behind each outcome of a unit; None for what was not counted."""
        if (node, budget) not in self._nodes:
            return None
        if isinstance(node, Enter):
            entered = self._units.get((node.unit, below(node.unit, budget)), NOTHING)
            return self._filled({o: self._known(node.edges.get(o), budget) for o in entered})
        alike = {k: self._alike.get((node, k, budget)) for k in range(len(node.options))}
        return self._filled({k: self._known(node.edges.get(k), budget) if c is None else c[1] for k, c in alike.items()})

    def _known(self, node: Node | None, budget: int) -> Counts | None:
        if isinstance(node, End):
            return {node.outcome: 1}
        if isinstance(node, (Decide, Enter)):
            return self._nodes.get((node, budget))
        return None if node is None else NOTHING

    def _filled(self, found: dict[Any, Counts | None]) -> dict[Any, Counts]:
        """What was not counted is taken to be like the largest of its neighbours."""
        if None not in found.values():
            return found  # type: ignore[return-value]
        largest: Counts = max((c for c in found.values() if c is not None), key=_size, default=NOTHING)
        return {k: largest if c is None else c for k, c in found.items()}

    # ---- counting ----

    def _unit(self, unit: Unit, budget: int) -> Calls[Counts]:
        key = (unit, budget)
        if key not in self._units:
            self._units[key] = NOTHING  # met again before it is counted: no finite way leads through here
            self._units[key] = (yield self._edge(unit, unit.top, "", (), budget)) or NOTHING
        return self._units[key]

    def _edge(self, unit: Unit, edges: dict[Any, Node], key: Any, script: Script, budget: int) -> Calls[Counts | None]:
        """Ways below an edge; None if there were no runs left to look."""
        if key not in edges and self.grammar.runs >= self._limit:
            self.exact = False
            return None
        node = self.grammar.step(unit, edges, key, script)
        if isinstance(node, (Decide, Enter)) and (node, budget) not in self._nodes:
            self._nodes[node, budget] = yield from self._node(unit, node, script, budget)
        return self._known(node, budget) if node is not None else NOTHING

    def _node(self, unit: Unit, node: Decide | Enter, script: Script, budget: int) -> Calls[Counts]:
        total: dict[Outcome, int] = {}
        if isinstance(node, Decide):
            for counts in (yield from self._options(unit, node, script, budget)).values():
                _add(total, counts, 1)
            return total
        left = below(node.unit, budget)
        if left < 0:
            return total
        entered: Counts = yield self._unit(node.unit, left)
        found: dict[Any, Counts | None] = {}
        for outcome in entered:
            found[outcome] = yield self._edge(unit, node.edges, outcome, (*script, outcome), budget)
        for outcome, counts in self._filled(found).items():
            _add(total, counts, entered[outcome])
        return total

    def _options(self, unit: Unit, node: Decide, script: Script, budget: int) -> Calls[dict[Any, Counts]]:
        found: dict[Any, Counts | None] = {}
        like: int | None = None
        for i in sorted(range(len(node.options)), key=lambda i: i != node.default):
            if self._probing and like is not None and self.grammar.runs < self._limit:
                self.grammar.step(unit, node.edges, i, (*script, i))
                known = found[like] or NOTHING
                shape, end = yield from self._shape(node.edges.get(i), budget)
                other, usual = yield from self._shape(node.edges.get(like), budget)
                if shape == other and (end == usual or len(known) == 1):
                    found[i] = known if end == usual else {end: _size(known)}
                    self._alike[node, i, budget] = (like, found[i] or NOTHING)
                    continue
            found[i] = yield self._edge(unit, node.edges, i, (*script, i), budget)
            like = i if like is None and found[i] else like
        return self._filled(found)

    def _shape(self, node: Node | None, budget: int) -> Calls[tuple[list[Any], Outcome | None]]:
        """What is met on the way on by defaults, and its outcome."""
        met: list[Any] = []
        while isinstance(node, (Decide, Enter)):
            if isinstance(node, Decide):
                met.append((node.path, node.kind, node.options))
                node = node.edges.get(node.default)
            else:
                left = below(node.unit, budget)
                met.append((node.path, _size((yield self._unit(node.unit, left))) if left >= 0 else 0))
                node = node.edges.get(next(iter(node.unit.outcomes), None))
        met.append(type(node).__name__)
        return met, node.outcome if isinstance(node, End) else None


def below(unit: Unit, budget: int) -> int:
    """The levels of recursion left inside a unit; below 0 it may not be entered."""
    return budget - 1 if unit.recursive else budget


def _size(counts: Counts) -> int:
    return sum(counts.values())


def _add(total: dict[Outcome, int], counts: Counts, times: int) -> None:
    for outcome, number in counts.items():
        total[outcome] = total.get(outcome, 0) + number * times
