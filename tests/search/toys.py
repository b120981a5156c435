"""Small spaces in memory with known best points, for drivers and studies. A toy says `open` and `measure`; the rest follows."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

from archdsl.search.base import Choice, Count, Driver, Exhausted, Goal, Point, Rejected, Trial, seeded
from archdsl.search.drivers.common import draw


@dataclass(frozen=True)
class ToyCandidate:
    point: Point
    key: str
    costs: Mapping[str, float] = field(default_factory=dict)

    def text(self) -> str:
        return self.key


class Toy:
    """A space from `rule(made)`: path, options and whether they are ordered, or None. `measure` gives the metrics of a point."""

    name = "toy"
    goals: tuple[Goal, ...] = (Goal("loss"),)

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        raise NotImplementedError

    def measure(self, point: Point) -> dict[str, float]:
        raise NotImplementedError

    def open(self, made: Point) -> Choice | None:
        rule = self.rule(made)
        if rule is None:
            return None
        path, options, ordered = rule
        below = tuple(self._count((*made.items(), (path, i))) for i in range(len(options)))
        return Choice(path, "choice", options, ordered, below)

    @cache  # noqa: B019
    def _count(self, made: tuple[tuple[str, int], ...]) -> int:
        choice = self.rule(dict(made))
        return 1 if choice is None else sum(self._count((*made, (choice[0], i))) for i in range(len(choice[1])))

    def count(self) -> Count:
        return Count(self._count(()), True)

    def sample(self, rng: random.Random, by: str = "derivations") -> dict[str, int]:
        return self._built(lambda choice: draw(choice, rng, by))

    def mutate(self, point: Point, rng: random.Random) -> dict[str, int]:
        places = [p for p, c in self._choices(point).items() if len(c.options) > 1]
        if not places:
            return dict(point)
        place = rng.choice(places)

        def pick(choice: Choice) -> int:
            if choice.path == place:
                return rng.choice([i for i in range(len(choice.options)) if i != point[place]])
            kept = point.get(choice.path, -1)
            return kept if 0 <= kept < len(choice.options) else draw(choice, rng)

        return self._built(pick)

    def cross(self, a: Point, b: Point, rng: random.Random) -> dict[str, int]:
        def pick(choice: Choice) -> int:
            options = [p[choice.path] for p in (a, b) if 0 <= p.get(choice.path, -1) < len(choice.options)]
            return rng.choice(options) if options else draw(choice, rng)

        return self._built(pick)

    def points(self) -> Iterator[dict[str, int]]:
        def below(made: dict[str, int]) -> Iterator[dict[str, int]]:
            rule = self.rule(made)
            if rule is None:
                yield made
                return
            for i in range(len(rule[1])):
                yield from below({**made, rule[0]: i})

        return below({})

    def key(self, point: Point) -> str:
        return " ".join(f"{path}={option}" for path, option in point.items())

    def candidate(self, point: Point) -> ToyCandidate:
        return ToyCandidate(dict(point), self.key(point))

    def _built(self, pick) -> dict[str, int]:
        made: dict[str, int] = {}
        while (choice := self.open(made)) is not None:
            made[choice.path] = pick(choice)
        return made

    def _choices(self, point: Point) -> dict[str, Choice]:
        made: dict[str, int] = {}
        met = {}
        while (choice := self.open(made)) is not None:
            met[choice.path] = choice
            made[choice.path] = point[choice.path]
        return met


class Conditional(Toy):
    """Which mixer decides which numbers there are. The best: attention with 8 heads, a middle window, and depth 5."""

    branches = {"conv": (("kernel", 5), ("dilation", 4)), "attention": (("heads", 12), ("window", 6)), "mlp": (("width", 8),)}

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        if "mixer" not in made:
            return "mixer", tuple(self.branches), False
        kind = list(self.branches)[made["mixer"]]
        for name, count in (*self.branches[kind], ("depth", 6)):
            path = f"{kind}/{name}" if name != "depth" else name
            if path not in made:
                return path, tuple(str(i + 1) for i in range(count)), True
        return None

    def measure(self, point: Point) -> dict[str, float]:
        kind = list(self.branches)[point["mixer"]]
        loss = {"conv": 3.0, "attention": 1.0, "mlp": 4.0}[kind] + 0.2 * abs(point["depth"] - 4)
        if kind == "attention":
            loss += 0.15 * abs(point["attention/heads"] - 7) + 0.2 * abs(point["attention/window"] - 3)
        else:
            loss -= 0.1 * sum(v for p, v in point.items() if p.startswith(kind))
        return {"loss": loss, "size": float(1 + sum(v for p, v in point.items() if p != "mixer"))}


class Ordered(Toy):
    """Numbers in order, and a loss that is a bowl around (9, 4, 12)."""

    best = (9, 4, 12)

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        return None if len(made) == 3 else (f"x{len(made)}", tuple(str(2 * i) for i in range(16)), True)

    def measure(self, point: Point) -> dict[str, float]:
        loss = sum((point[f"x{i}"] - b) ** 2 for i, b in enumerate(self.best))
        return {"loss": float(loss), "size": float(sum(point.values()))}


class Grammar(Toy):
    """Expressions: a leaf, a unary of one or a binary of two, up to a depth. The loss counts where a point's words differ from the planted."""

    words = ("a", "b", "neg", "exp", "add", "mul")
    arity = (0, 0, 1, 1, 2, 2)
    planted = ("mul", "a", "add", "exp", "b", "neg", "a")

    def __init__(self, depth: int = 3) -> None:
        self.depth = depth

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        waiting = ["e"]
        while waiting:
            path = waiting.pop()
            if path not in made:
                return path, self.words if path.count(".") < self.depth else self.words[:2], False
            waiting += [f"{path}.{i}" for i in reversed(range(self.arity[made[path]]))]
        return None

    def _count(self, made: tuple[tuple[str, int], ...]) -> int:
        chosen = dict(made)
        waiting, ways = ["e"], 1
        while waiting:
            path = waiting.pop()
            if path in chosen:
                waiting += [f"{path}.{i}" for i in range(self.arity[chosen[path]])]
            else:
                ways *= self._below(self.depth - path.count("."))
        return ways

    def _below(self, depth: int) -> int:
        """Expressions up to a depth."""
        if depth == 0:
            return 2
        below = self._below(depth - 1)
        return 2 + 2 * below + 2 * below * below

    def measure(self, point: Point) -> dict[str, float]:
        words = [self.words[i] for i in point.values()]
        loss = abs(len(words) - len(self.planted)) + sum(a != b for a, b in zip(words, self.planted, strict=False))
        return {"loss": float(loss), "size": float(len(words))}


class Depth(Toy):
    """A depth program over a stack of small residual layers: each layer skipped, run, or run twice.

    Planted: one layer is noise and must be skipped, one must run twice. The loss is the distance of the outputs from those of the planted
    program over a few inputs, so programs that are nearly right are nearly as good.
    """

    width, inputs = 6, 4

    def __init__(self, layers: int = 8, noise: int = 5, twice: int = 2, seed: int = 0) -> None:
        self.layers, self.noise, self.twice = layers, noise, twice
        rng = seeded("depth", seed)

        def row(size: int) -> list[float]:
            return [rng.gauss(0, 1 / math.sqrt(size)) for _ in range(size)]

        self.weights = [[row(self.width) for _ in range(self.width)] for _ in range(layers)]
        self.start = [[rng.gauss(0, 1) for _ in range(self.width)] for _ in range(self.inputs)]
        self.planted = {f"layers.{i}/times": 0 if i == noise else 2 if i == twice else 1 for i in range(layers)}
        self.target = self._run(self.planted)

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        return None if len(made) == self.layers else (f"layers.{len(made)}/times", ("skip", "once", "twice"), False)

    def _count(self, made: tuple[tuple[str, int], ...]) -> int:
        return 3 ** (self.layers - len(made))

    def _run(self, point: Point) -> list[list[float]]:
        outputs = []
        for state in self.start:
            for i in range(self.layers):
                for _ in range(point[f"layers.{i}/times"]):
                    step = [math.tanh(sum(w * s for w, s in zip(row, state, strict=True))) for row in self.weights[i]]
                    state = [s + (1.5 if i == self.noise else 0.6) * d for s, d in zip(state, step, strict=True)]
            outputs.append(state)
        return outputs

    def measure(self, point: Point) -> dict[str, float]:
        pairs = [(a, b) for x, y in zip(self._run(point), self.target, strict=True) for a, b in zip(x, y, strict=True)]
        return {"loss": math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(pairs)), "length": float(sum(point.values()))}


class TwoGoals(Ordered):
    """The bowl against the sum of the numbers."""

    goals = (Goal("loss"), Goal("size"))


class Bounded(Ordered):
    """The bowl with a hard constraint that its middle breaks: the sum may be 20 at most."""

    def violations(self, point: Point) -> tuple[float, ...]:
        return (float(sum(point.values()) - 20),)


class Folded(Toy):
    """Most points mean the same as another, and some mean nothing: keys and rejections."""

    def rule(self, made: Point) -> tuple[str, tuple[str, ...], bool] | None:
        return None if len(made) == 3 else (f"b{len(made)}", ("0", "1", "2"), False)

    def key(self, point: Point) -> str:
        return f"sum {sum(point.values())}"

    def candidate(self, point: Point) -> ToyCandidate:
        if sum(point.values()) == 3:
            raise Rejected("shapes do not meet")
        return super().candidate(point)

    def measure(self, point: Point) -> dict[str, float]:
        return {"loss": float(sum(point.values()))}


def trial(space: Toy, number: int, point: Point, parents: tuple[int, ...] = ()) -> Trial:
    """The point as a finished trial of the toy."""
    try:
        key = space.candidate(point).key
    except Rejected as why:
        return Trial(number, dict(point), "failed", note=str(why))
    metrics = space.measure(point)
    violated = space.violations(point) if isinstance(space, Bounded) else ()
    return Trial(number, dict(point), "complete", tuple(metrics[g.metric] for g in space.goals), key, metrics, violated, parents=parents)


def search(space: Toy, driver: Driver, budget: int, seed: int = 0, stop: float | None = None) -> list[Trial]:
    """A study in one line: trials until the budget, the end of the space, or a first objective of `stop` or below."""
    history: list[Trial] = []
    for number in range(budget):
        try:
            proposal = driver.propose(space, space.goals, history, seeded(seed, "trial", number), number)
        except Exhausted:
            break
        history.append(trial(space, number, proposal.point, proposal.parents))
        if stop is not None and history[-1].feasible and history[-1].values[0] <= stop:
            break
    return history
