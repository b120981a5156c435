"""Which states read which: groups of states that read one another, in an order in which they can be run, and the equations each needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from archdsl.graph.expressions import Expr, substitute
from archdsl.recurrence.affine import fit
from archdsl.recurrence.algebra import reads, tensors
from archdsl.recurrence.step import Equation, Step, parse_access, reindexed


@dataclass(frozen=True)
class Part:
    """A group's equations: `free` read none of its states, `stateful` do. Both in the step's order."""

    states: tuple[str, ...]
    free: tuple[Equation, ...]
    stateful: tuple[Equation, ...]


class Dependence:
    """What the tensors of a step are computed from."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.before = {s.after: s.before for s in step.states}
        self.after = {s.before: s.after for s in step.states}
        self.made: dict[str, list[Equation]] = {}
        for equation in step.equations:
            self.made.setdefault(equation.target, []).append(equation)
        slices = {s.before: self._slice(s.after) for s in step.states}
        self.reads = {state: tuple(n for n in self.after if n in found) for state, (found, _) in slices.items()}
        self.slices = {state: names for state, (_, names) in slices.items()}

    def _slice(self, after: str) -> tuple[set[str], set[str]]:
        """The states that a next state reads (a next state counts as its state), and the tensors on the way."""
        states: set[str] = set()
        names = {after}
        stack = [after]
        while stack:
            for equation in self.made.get(stack.pop(), []):
                for name in tensors(equation.body):
                    if name in self.after or name in self.before:
                        states.add(self.before.get(name, name))
                    elif name not in names:
                        names.add(name)
                        stack.append(name)
        return states, names

    def reaches(self) -> dict[str, set[str]]:
        """The states each state depends on, at any remove."""
        found = {state: set(reads) for state, reads in self.reads.items()}
        for middle in found:
            for state in found:
                if middle in found[state]:
                    found[state] |= found[middle]
        return found

    def parts(self) -> list[Part]:
        """The groups in order: each reads only itself and groups before it."""
        reaches = self.reaches()
        groups: list[tuple[str, ...]] = []
        for state in self.after:
            group = tuple(s for s in self.after if s == state or (s in reaches[state] and state in reaches[s]))
            if group not in groups:
                groups.append(group)
        ordered: list[tuple[str, ...]] = []
        while groups:
            done = {s for g in ordered for s in g}
            ready = next(g for g in groups if all(reaches[s] <= done | set(g) for s in g))
            ordered.append(ready)
            groups.remove(ready)
        taken: set[str] = set()
        return [self._part(group, taken) for group in ordered]

    def _part(self, states: tuple[str, ...], taken: set[str]) -> Part:
        names = set().union(*(self.slices[s] for s in states))
        stateful = self.depending(states, names)
        free = tuple(e for e in self.step.equations if e.target in names - stateful - taken)
        taken |= {e.target for e in free}
        return Part(states, free, tuple(e for e in self.step.equations if e.target in stateful))

    def depending(self, states: Iterable[str], names: set[str]) -> set[str]:
        """The tensors among `names` that depend on the states."""
        found: set[str] = set()
        roots = set(states)
        for equation in self.step.equations:
            if equation.target in names and tensors(equation.body) & (roots | found):
                found.add(equation.target)
        return found

    def late(self) -> tuple[Equation, ...]:
        """The equations that yields need beyond the states."""
        names: set[str] = set()
        stack = [n for n in self.step.yields if n not in self.before]
        while stack:
            name = stack.pop()
            if name in names or name in self.before or name in self.after:
                continue
            names.add(name)
            stack += [n for e in self.made.get(name, []) for n in tensors(e.body)]
        return tuple(e for e in self.step.equations if e.target in names)

    def varying(self, extra: Iterable[Equation] = ()) -> set[str]:
        """Tensors that change over time: inputs, states, and what is made of them."""
        found = {t.name for t in self.step.of("input", "state", "next")}
        for equation in (*self.step.equations, *extra):
            if tensors(equation.body) & found:
                found.add(equation.target)
        return found


class Inliner:
    """Writes out tensors by their equations, as far as these hold no sum."""

    def __init__(self, equations: Iterable[Equation], keep: Iterable[str] = ()) -> None:
        self.made: dict[str, list[Equation]] = {}
        for equation in equations:
            self.made.setdefault(equation.target, []).append(equation)
        for name in keep:
            self.made.pop(name, None)

    def __call__(self, value: Expr, sizes: Mapping[str, int]) -> Expr:
        """value with tensors written out; sizes: of the indices that stand in it."""
        while True:
            found: dict[str, Expr] = {}
            for node in reads(value):
                name, at = parse_access(node)
                for equation in reversed(self.made.get(name, [])):
                    names = fit(equation, at, sizes)
                    if names is None:
                        continue
                    if isinstance(names, dict) and not equation.sums:
                        found[node.name] = reindexed(equation.body, names)
                    break
            if not found:
                return value
            value = substitute(value, found)
