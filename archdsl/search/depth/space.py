"""Depth programs as a space of the general searches: a point is a list of edits of the stack's own order, each a decision."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from archdsl.search.base import Choice, Count, Point
from archdsl.search.depth.program import Edit, Program, Rules, identity, layer_runs, short
from archdsl.search.depth.skeleton import Skeleton


@dataclass
class DepthCandidate:
    """A program as a candidate. key: its short text; programs that compute the same have one canonical form, so equal keys."""

    point: Point
    program: Program
    skeleton: Skeleton | None
    key: str = field(init=False)
    costs: Mapping[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self.key, self.costs = short(self.program), {"layer_runs": float(layer_runs(self.program))}

    def text(self) -> str:
        """The spec of the program; its short text if the space was made without one."""
        return self.skeleton.text(self.program) if self.skeleton is not None else self.key


class DepthSpace:
    """Programs within `most` edits of the plain order. Decision `edit.n` is: stop, or one of the edits of the program so far."""

    name = "depth"

    def __init__(self, depth: int, rules: Rules, most: int = 6, skeleton: Skeleton | None = None):
        self.depth, self.rules, self.most, self.skeleton = depth, rules, most, skeleton
        self._edits = lru_cache(maxsize=512)(lambda program: tuple(rules.edits(program, depth)))

    # ---- points, edits, programs ----

    def edits(self, point: Point) -> list[Edit]:
        """The edits that a point stands for."""
        program, found = identity(self.depth), []
        for number in range(self.most):
            option = point.get(f"edit.{number}", 0)
            if option == 0:
                break
            found.append(self._edits(program)[option - 1])
            program = found[-1].apply(program)
        return found

    def program(self, point: Point) -> Program:
        """The program that a point stands for."""
        program = identity(self.depth)
        for edit in self.edits(point):
            program = edit.apply(program)
        return program

    def point(self, edits: Sequence[Edit]) -> dict[str, int]:
        """The point of a list of edits; those that do not fit where they come are left out."""
        program = identity(self.depth)
        point: dict[str, int] = {}
        for edit in edits:
            allowed = self._edits(program)
            if edit in allowed and len(point) < self.most:
                point[f"edit.{len(point)}"] = 1 + allowed.index(edit)
                program = edit.apply(program)
        if len(point) < self.most and self._edits(program):
            point[f"edit.{len(point)}"] = 0
        return point

    # ---- what a space offers ----

    def open(self, made: Point) -> Choice | None:
        if len(made) >= self.most or 0 in made.values():
            return None
        options = self._edits(self.program(made))
        if not options:
            return None
        return Choice(f"edit.{len(made)}", "choice", ("stop", *map(_said, options)))

    def count(self) -> Count:
        """A bound: different edits can lead to one program, and skips leave fewer edits."""
        widest = len(self.rules.edits(identity(int(self.rules.cap * self.depth)), int(self.rules.cap * self.depth)))
        return Count(sum(widest**n for n in range(self.most + 1)), exact=False)

    def sample(self, rng: random.Random, by: Literal["derivations", "choices"] = "derivations") -> dict[str, int]:
        """One edit with chance one half, two with one quarter, and so on; each edit of the program alike.

        Drawing each point alike would all but never draw fewer than `most` edits, which few stacks survive. `by` changes nothing.
        """
        edits: list[Edit] = []
        program = identity(self.depth)
        while len(edits) < self.most and (allowed := self._edits(program)) and (not edits or rng.random() < 0.5):
            edits.append(rng.choice(allowed))
            program = edits[-1].apply(program)
        return self.point(edits)

    def mutate(self, point: Point, rng: random.Random) -> dict[str, int]:
        """An edit more, an edit less, or one edit made another."""
        edits = self.edits(point)
        for _ in range(20):
            changed = list(edits)
            kind = rng.choice(("add", "drop", "change") if edits else ("add",))
            at = rng.randrange(len(edits) + 1) if kind == "add" else rng.randrange(len(edits))
            if kind != "add":
                del changed[at]
            program = self.program(self.point(changed[:at]))
            if kind != "drop" and (allowed := self._edits(program)):
                changed.insert(at, rng.choice(allowed))
            found = self.point(changed)
            if found != dict(point):
                return found
        return self.sample(rng)

    def cross(self, a: Point, b: Point, rng: random.Random) -> dict[str, int]:
        """The first edits of one, then the last of the other."""
        first, second = self.edits(a), self.edits(b)
        return self.point(first[: rng.randint(0, len(first))] + second[rng.randint(0, len(second)) :])

    def points(self) -> Iterator[dict[str, int]]:
        def below(made: dict[str, int]) -> Iterator[dict[str, int]]:
            choice = self.open(made)
            if choice is None:
                yield made
                return
            for option in range(len(choice.options)):
                yield from below({**made, choice.path: option})

        return below({})

    def candidate(self, point: Point) -> DepthCandidate:
        return DepthCandidate(point, self.program(point), self.skeleton)


def _said(edit: Edit) -> str:
    block = f"{edit.at}..{edit.at + edit.size}"
    return {"skip": f"skip {block}", "repeat": f"repeat {block} x{edit.times}", "damp": f"damp {block} x{edit.times}"}[edit.kind]
