"""Policy gradient (REINFORCE: Williams 1992, with a moving-average baseline as in Zoph & Le 2017): a table of logits per decision.

A decision's logits are the sum of its own and of those of its kind: `layers.3/Mixer/choice` shares `layers.*/Mixer/choice` with the
other layers, so what is learned at one layer tells about the others.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from pydantic import Field

from archdsl.search.base import Choice, Goal, Proposal, Space, Trial
from archdsl.search.drivers.common import Options, Steps, Walks, fresh, shares, softmax, usable
from archdsl.search.fronts import standings

Table = dict[tuple[str, int], list[float]]
WINDOW = 100  # with several objectives a trial is ranked among this many before it


class PolicyOptions(Options):
    """rate: step size. kind: the part of a step that goes to the decision's kind. entropy: weight of the bonus for staying undecided.
    momentum: of the baseline."""

    rate: float = Field(0.5, gt=0)
    kind: float = Field(0.3, ge=0, le=1)
    entropy: float = Field(0.01, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)


class Policy:
    """The reward of a trial is the share of earlier trials that it beats, so no scale of values enters, and learning can go on where it stood."""

    name = "policy"
    options_type = PolicyOptions

    def __init__(self, options: PolicyOptions) -> None:
        self.options = options
        self._walks = Walks()
        self._learnt: tuple[list[Trial], Sequence[Goal], _Learner] | None = None  # what was replayed last, to go on from

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        learner = self._replay(space, goals, usable(history))

        def act(attempt: int) -> Proposal:
            def pick(choice: Choice) -> int:
                return rng.choices(range(len(choice.options)), learner.chances(choice))[0]

            return Proposal(self._walks.finish(space, {}, pick))

        return fresh(space, history, self.options, act)

    def chances(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], choice: Choice) -> list[float]:
        """How likely each option of a decision is after this history."""
        return self._replay(space, goals, usable(history)).chances(choice)

    def _replay(self, space: Space, goals: Sequence[Goal], known: list[Trial]) -> _Learner:
        seen, for_goals, learner = self._learnt or ([], goals, _Learner(self.options))
        if for_goals != goals or len(seen) > len(known) or any(a is not b and a != b for a, b in zip(seen, known, strict=False)):
            seen, learner = [], _Learner(self.options)
        for i in range(len(seen), len(known)):
            steps = self._walks.steps(space, known[i].point)
            reward = learner.reward(known[: i + 1], goals)
            if steps is not None:
                learner.learn(steps, reward)
        self._learnt = (list(known), goals, learner)
        return learner


class _Learner:
    def __init__(self, options: PolicyOptions) -> None:
        self.options = options
        self.table: Table = {}
        self.baseline: float | None = None
        self.earlier: list[float] = []  # worths met, rising; for one objective

    def reward(self, known: Sequence[Trial], goals: Sequence[Goal]) -> float:
        """How the last trial stands among those before it: 0 the worst, 1 the best, in the middle among equals."""
        trial = known[-1]
        if len(goals) > 1 or not trial.feasible:
            return standings(known[-WINDOW:], goals)[trial.number]
        worth = goals[0].worth((trial.values or (0.0,))[0])
        low, high = bisect_left(self.earlier, worth), bisect_right(self.earlier, worth)
        insort(self.earlier, worth)
        return (low + high) / 2 / (len(self.earlier) - 1) if len(self.earlier) > 1 else 0.5

    def chances(self, choice: Choice) -> list[float]:
        prior = shares(choice, self.options.by)
        own, kind = self._rows(choice)
        return softmax([math.log(p) + a + b if p > 0 else -math.inf for p, a, b in zip(prior, own, kind, strict=True)])

    def learn(self, steps: Steps, reward: float) -> None:
        """One step up the gradient of log-likelihood times advantage, plus the entropy's."""
        baseline = reward if self.baseline is None else self.baseline
        self.baseline = self.options.momentum * baseline + (1 - self.options.momentum) * reward
        for choice, option in steps:
            if len(choice.options) == 1:
                continue
            chances = self.chances(choice)
            disorder = -sum(p * math.log(p) for p in chances if p > 0)
            own, kind = self._rows(choice)
            for i, p in enumerate(chances):
                gradient = (reward - baseline) * ((i == option) - p)
                if p > 0:
                    gradient -= self.options.entropy * p * (math.log(p) + disorder)
                own[i] += self.options.rate * (1 - self.options.kind) * gradient
                kind[i] += self.options.rate * self.options.kind * gradient

    def _rows(self, choice: Choice) -> tuple[list[float], list[float]]:
        count = len(choice.options)
        kind = re.sub(r"\d+", "*", choice.path)
        return (
            self.table.setdefault((choice.path, count), [0.0] * count),
            self.table.setdefault((f"kind {kind}", count), [0.0] * count),
        )
