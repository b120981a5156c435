"""Monte-Carlo tree search over derivations: a node is a prefix of choices, a simulation is a trial. Rebuilt from the history each time."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import Field

from archdsl.search.base import Choice, Exhausted, Goal, Proposal, Rejected, Space, Trial
from archdsl.search.drivers.common import Options, Steps, Walks, fresh, live, shares
from archdsl.search.drivers.tree import Node, Rule, add, branch, shut
from archdsl.search.fronts import standings, violation, worths


class MctsOptions(Options):
    """c, widen, power, stray, penalty: see `tree.Rule`.

    reward: of a trial, in [0, 1] - "rank" its place among all (needs no scale, serves several objectives), "range" the first objective by
    the range seen so far, "value" the first objective itself. length: the metric that `penalty` is for, divided by `full` (by the largest
    seen if that is 0). rollout: how a point is finished below the tree - "sample" as in random search, "average" by how well each option did
    in all trials that took it (MAST: Finnsson & Björnsson 2008) with chances exp(mean reward / temperature). ripe: visits before a node's
    branches are chosen by score.
    """

    c: float = Field(0.6, ge=0)
    widen: float = Field(2.0, gt=0)
    power: float = Field(0.5, ge=0, le=1)
    stray: float = Field(0.0, ge=0, le=1)
    penalty: float = Field(0.0, ge=0)
    length: str = ""
    full: float = Field(0.0, ge=0)
    reward: Literal["rank", "range", "value"] = "rank"
    rollout: Literal["average", "sample"] = "average"
    temperature: float = Field(0.05, gt=0)
    ripe: int = Field(2, ge=1)


Means = dict[tuple[str, int], tuple[float, int]]  # (path, option) -> sum of rewards, times taken


class Mcts:
    name = "mcts"
    options_type = MctsOptions

    def __init__(self, options: MctsOptions) -> None:
        self.options = options
        self.rule = Rule(options.c, options.widen, options.power, options.stray, options.penalty)
        self._walks = Walks()

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        root, means = self.replay(space, goals, history)

        def simulate(attempt: int) -> Proposal:
            if root.closed:
                raise Exhausted("every point was tried, or means the same as one that was, or is no candidate")
            steps, depth, whole = self._descend(space, root, means, rng)
            _count(root, steps, 0.0)  # if this try finds nothing new, the next one goes elsewhere
            if not whole:
                raise Rejected("nothing fits below these choices")
            return Proposal({choice.path: option for choice, option in steps}, note=f"tree to depth {depth}")

        return fresh(space, history, self.options, simulate)

    def replay(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial]) -> tuple[Node, Means]:
        """The tree that the history stands for, and each option's mean reward over all trials."""
        rewards = self._rewards(history, goals)
        lengths = self._lengths(history)
        by_key = {t.key: rewards[t.number] for t in reversed(history) if t.key and t.number in rewards}
        root = Node()
        means: Means = defaultdict(lambda: (0.0, 0))
        for trial in history:
            steps = self._walks.steps(space, trial.point)
            if steps is None:
                continue
            reward = rewards.get(trial.number, by_key.get(trial.key, 0.0))  # a duplicate is worth what its equal was
            _count(root, steps, reward, lengths.get(trial.number, 0.0))
            for choice, option in steps:
                total, times = means[choice.path, option]
                means[choice.path, option] = (total + reward, times + 1)
        return root, means

    def _rewards(self, history: Sequence[Trial], goals: Sequence[Goal]) -> dict[int, float]:
        if self.options.reward == "rank" or len(goals) > 1:
            return standings(history, goals)
        values = {t.number: w[0] for t in history if violation(t) == 0 and (w := worths(t, goals)) is not None}
        if self.options.reward == "value":
            return values
        low, high = min(values.values(), default=0.0), max(values.values(), default=0.0)
        return {number: (value - low) / (high - low) if high > low else 0.5 for number, value in values.items()}

    def _lengths(self, history: Sequence[Trial]) -> dict[int, float]:
        lengths = {t.number: t.metrics[self.options.length] for t in history if self.options.length in t.metrics}
        full = self.options.full or max(lengths.values(), default=0.0) or 1.0
        return {number: length / full for number, length in lengths.items()}

    def _descend(self, space: Space, root: Node, means: Means, rng: random.Random) -> tuple[Steps, int, bool]:
        """Down the tree by score, below it by rollout. Returns the decisions, how deep the tree was, and whether they make a whole point."""
        made: dict[str, int] = {}
        steps: Steps = []
        node: Node | None = root
        depth = 0
        try:
            while (choice := self._walks.at(space, tuple(made.values()), made)) is not None:
                roll = partial(self._roll, choice, means, rng)
                open_ = [i for i in live(choice) if not (node and i in node.children and node.children[i].closed)] or live(choice)
                if node is not None and node.visits >= self.options.ripe:
                    depth += 1
                    shut(node, _dead(choice))
                    option = branch(node, len(choice.options), self.rule, rng, roll)
                else:
                    option = roll(open_)
                made[choice.path] = option
                steps.append((choice, option))
                node = node.children.get(option) if node else None
        except Rejected:
            return steps, depth, False
        return steps, depth, True

    def _roll(self, choice: Choice, means: Means, rng: random.Random, among: list[int]) -> int:
        if len(among) == 1:
            return among[0]
        chances = shares(choice, self.options.by)
        weights = [chances[i] * self._liking(choice, i, means) for i in among]
        return rng.choices(among, weights)[0] if sum(weights) > 0 else rng.choice(among)

    def _liking(self, choice: Choice, option: int, means: Means) -> float:
        if self.options.rollout == "sample":
            return 1.0
        total, times = means.get((choice.path, option), (0.0, 0))
        return math.exp(min((total + 0.5) / (times + 1) / self.options.temperature, 700.0))  # a mean that starts from one half


def _dead(choice: Choice) -> list[int]:
    alive = live(choice)
    return [i for i in range(len(choice.options)) if i not in alive]


def _count(root: Node, steps: Steps, reward: float, length: float = 0.0) -> None:
    """Counts a finished point in the tree; options with no points below are closed at every node on its way."""
    node = root
    for choice, option in steps:
        shut(node, _dead(choice))
        node = node.children.setdefault(option, Node())
    add(root, [option for _, option in steps], [len(choice.options) for choice, _ in steps], reward, length)
