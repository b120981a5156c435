"""A walk through a grammar: from decision to decision in order of expansion, knowing how many points lie below each option."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from typing import Any, Literal

from archdsl.search.base import Choice
from archdsl.search.counting import Counter, Counts, below
from archdsl.search.tree import Dead, Decide, End, Enter, Grammar, Node, Outcome, Script, Unit


class DeadEnd(Exception):
    """The decisions made lead nowhere; says why."""


@dataclass(eq=False, slots=True)
class Frame:
    """A unit being walked. rest: points that each outcome of the unit leaves in the units around it; None if not counted."""

    unit: Unit
    prefix: str
    budget: int
    rest: dict[Outcome, int] | None
    edges: dict[Any, Node]
    key: Any = ""
    script: Script = ()


class Walk:
    """alike: options that lead to a point weigh the same, however many points lie below them."""

    def __init__(self, grammar: Grammar, counter: Counter, nesting: int, alike: bool = False) -> None:
        self.grammar = grammar
        self.alike = alike
        self.counter = counter
        self.entered: list[tuple[str, int]] = []  # (prefix, text) of the units met
        root = grammar.root
        self._frames = [Frame(root, "", nesting, dict.fromkeys(counter.total, 1), root.top)]
        self._choice: Choice | None = None
        self._at: Decide | None = None

    def choice(self) -> Choice | None:
        """The decision at hand; None at the end. Raises DeadEnd."""
        while self._at is None and self._frames:
            self._advance()
        return self._choice

    def take(self, index: int) -> None:
        """Takes an option of the decision at hand."""
        assert self._at is not None
        frame = self._frames[-1]
        frame.edges, frame.key = self._at.edges, self.counter.like(self._at, index, frame.budget)
        frame.script = (*frame.script, frame.key)
        self._at = self._choice = None

    def usual(self) -> int:
        """The default of the decision at hand, or its first option that leads somewhere."""
        choice = self.choice()
        assert choice is not None
        assert self._at is not None
        weights = choice.weights
        if weights is None or weights[self._at.default]:
            return self._at.default
        return next(i for i, w in enumerate(weights) if w)

    def draw(self, rng: random.Random, by: Literal["derivations", "choices"]) -> int:
        """An option of the decision at hand: each point below alike, or each option that leads to one alike."""
        choice = self.choice()
        assert choice is not None
        weights = choice.weights
        if weights is None:
            return rng.randrange(len(choice.options))
        if by == "choices":
            alive = [i for i, w in enumerate(weights) if w]
            return alive[rng.randrange(len(alive))]
        at = rng.randrange(sum(weights))
        return next(i for i, passed in enumerate(itertools.accumulate(weights)) if at < passed)

    def _advance(self) -> None:
        frame = self._frames[-1]
        node = self.grammar.step(frame.unit, frame.edges, frame.key, frame.script)
        if isinstance(node, Decide):
            self._decide(frame, node)
        elif isinstance(node, Enter):
            self._enter(frame, node)
        elif isinstance(node, End):
            self._frames.pop()
            if self._frames:
                outer = self._frames[-1]
                outer.key = node.outcome
                outer.script = (*outer.script, node.outcome)
        else:
            raise DeadEnd(reason(node))

    def _decide(self, frame: Frame, node: Decide) -> None:
        weights = None
        counted = self.counter.edges(node, frame.budget)
        if counted is not None and frame.rest is not None:
            weights = tuple(_through(counted[i], frame.rest) for i in range(len(node.options)))
            if not any(weights):
                weights = None
            elif self.alike:
                weights = tuple(min(w, 1) for w in weights)
        self._at = node
        self._choice = Choice(frame.prefix + node.path, node.kind, node.options, node.ordered, weights)

    def _enter(self, frame: Frame, node: Enter) -> None:
        budget = below(node.unit, frame.budget)
        if budget < 0:
            raise DeadEnd(f"`{node.unit.name}` nests too deeply at {frame.prefix}{node.path}")
        rest = None
        behind = self.counter.edges(node, frame.budget)
        if behind is not None and frame.rest is not None:
            rest = {o: _through(counts, frame.rest) for o, counts in behind.items()}
        frame.edges, frame.key = node.edges, None
        prefix = f"{frame.prefix}{node.path}/"
        self.entered.append((prefix, node.unit.text))
        self._frames.append(Frame(node.unit, prefix, budget, rest, node.unit.top))


def _through(counts: Counts, rest: Counts) -> int:
    return sum(number * rest.get(outcome, 0) for outcome, number in counts.items())


def reason(node: Node | None) -> str:
    """Why there is no way on, in one line."""
    if isinstance(node, Dead) and node.problems:
        first = node.problems[0]
        return f"{first.title}: {first.label}" if first.label else first.title
    return "these decisions do not fit together"


__all__ = ["DeadEnd", "Frame", "Walk", "reason"]
