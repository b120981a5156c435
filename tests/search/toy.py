"""A space and an evaluator of numbers, for tests of studies: what a trial is worth is known in advance, and nothing is trained."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from archdsl.search.base import Choice, Count, Rejected, Report

WIDTH = 6


@dataclass(frozen=True)
class ToyCandidate:
    point: Mapping[str, int]
    key: str
    costs: Mapping[str, float]

    def text(self) -> str:
        return f"arch Toy() {{ in x: [4]  return x }}  # {self.key}\n"


@dataclass
class ToySpace:
    """`digits` decisions of WIDTH options; an even first digit opens one more. Equal sums of squares mean the same if `alike`."""

    digits: int = 3
    alike: bool = False
    reject: int = -1  # points whose first digit is this are no candidates
    name: str = "toy"
    calls: int = field(default=0, compare=False)

    def _paths(self, made: Mapping[str, int]) -> list[str]:
        extra = ["extra"] if made.get("d0", 1) % 2 == 0 else []
        return [f"d{i}" for i in range(self.digits)] + extra

    def open(self, made: Mapping[str, int]) -> Choice | None:
        for path in self._paths(made):
            if path not in made:
                return Choice(path, "domain", tuple(str(i) for i in range(WIDTH)), True)
        return None

    def count(self) -> Count:
        half = WIDTH ** (self.digits - 1) * (WIDTH // 2)
        return Count(half + half * WIDTH, True)

    def sample(self, rng: random.Random, by: str = "derivations") -> dict[str, int]:
        made: dict[str, int] = {}
        while (choice := self.open(made)) is not None:
            made[choice.path] = rng.randrange(len(choice.options))
        return made

    def mutate(self, point: Mapping[str, int], rng: random.Random) -> dict[str, int]:
        path = rng.choice(sorted(point))
        changed = {**point, path: (point[path] + rng.randrange(1, WIDTH)) % WIDTH}
        made: dict[str, int] = {}
        while (choice := self.open(made)) is not None:
            made[choice.path] = changed.get(choice.path, rng.randrange(WIDTH))
        return made

    def cross(self, a: Mapping[str, int], b: Mapping[str, int], rng: random.Random) -> dict[str, int]:
        made: dict[str, int] = {}
        while (choice := self.open(made)) is not None:
            source = a if rng.random() < 0.5 else b
            made[choice.path] = source.get(choice.path, rng.randrange(WIDTH))
        return made

    def points(self) -> Iterator[dict[str, int]]:
        def below(made: dict[str, int]) -> Iterator[dict[str, int]]:
            choice = self.open(made)
            if choice is None:
                yield dict(made)
                return
            for i in range(len(choice.options)):
                yield from below({**made, choice.path: i})

        return below({})

    def candidate(self, point: Mapping[str, int]) -> ToyCandidate:
        self.calls += 1
        if point["d0"] == self.reject:
            raise Rejected(f"the first digit is {self.reject}")
        size = float(sum(point.values()))
        key = str(size) if self.alike else "-".join(f"{k}{v}" for k, v in point.items())
        return ToyCandidate(dict(point), key, {"params": 100 + size})


@dataclass
class ToyEvaluator:
    """loss: how far the digits are from 4, the seed adding a little; the value is reported at each tenth of the budget.

    Options of a trial by its point: `crash` ends the process, `raises` throws, `slow` sleeps so many seconds.
    """

    seconds: float = 0.0
    crash: int = -1
    raises: int = -1
    metrics: tuple[str, ...] = ("loss", "accuracy")

    def __call__(self, candidate: ToyCandidate, seed: int, budget: int, report: Report) -> dict[str, float]:
        time.sleep(self.seconds)
        first = candidate.point["d0"]
        if first == self.crash:
            os._exit(7)
        if first == self.raises:
            raise ValueError("a first digit\nlike this")
        loss = sum((v - 4) ** 2 for v in candidate.point.values()) + (seed % 97) / 1000
        for step in range(10, budget + 1, 10):
            if report(step, loss + 10 / step):
                break
        return {"loss": loss, "accuracy": 1 / (1 + loss), "wild": float("nan")}

    def estimate(self, candidate: ToyCandidate, budget: int) -> float:
        return self.seconds


def make(options: dict[str, Any]) -> tuple[ToySpace, ToyEvaluator]:
    """What a worker process is told to make."""
    if options.get("torch_absent"):
        raise RuntimeError("no torch here")
    return ToySpace(**options.get("space", {})), ToyEvaluator(**options.get("evaluator", {}))
