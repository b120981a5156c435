"""CMA-ES (Hansen & Ostermeier 2001) over the ordered decisions; the others are drawn at random, so it fits spaces made of numbers.

The strategy is replayed from the history: each generation of trials is told to it in order. Optuna's own sampler keeps its state pickled
in the trials, which a history of ours does not have; so this uses the package it is made of, `cmaes`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from archdsl.search.base import Choice, Goal, Proposal, Space, Trial, seeded
from archdsl.search.drivers.bridge import label, often_met
from archdsl.search.drivers.common import Options, Walks, draw, fresh, live, nearest, usable
from archdsl.search.fronts import order


class CmaesOptions(Options):
    """population: trials of a generation. sigma: the first width of the search, as a part of each decision's range."""

    population: int = Field(12, ge=4)
    sigma: float = Field(0.3, gt=0, le=1)


class Cmaes:
    name = "cmaes"
    options_type = CmaesOptions

    def __init__(self, options: CmaesOptions) -> None:
        self.options = options
        self._walks = Walks()

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        known = usable(history)
        axes = {name: c for name, c in often_met(space, known, self._walks).items() if c.ordered}
        if len(known) < self.options.population or not axes:
            return fresh(space, history, self.options, lambda _: Proposal(space.sample(rng, self.options.by), note="drawn"))
        strategy = self._replay(space, goals, known, axes, rng.getrandbits(31))
        return fresh(space, history, self.options, lambda attempt: self._asked(space, strategy, axes, rng, attempt))

    def _replay(self, space: Space, goals: Sequence[Goal], known: list[Trial], axes: dict[str, Choice], seed: int) -> Any:
        import numpy as np
        from cmaes import CMA

        size, width = (
            self.options.population,
            max(len(axes), 2),
        )  # the strategy wants two axes; a second one that tells nothing does no harm
        bounds = np.tile([0.0, 1.0], (width, 1))
        strategy = CMA(np.full(width, 0.5), self.options.sigma, bounds=bounds, seed=seed, population_size=size)
        for start in range(0, len(known) - size + 1, size):
            generation = known[start : start + size]
            place = {t.number: float(i) for i, group in enumerate(order(generation, goals)) for t in group}
            strategy.tell([(self._spot(space, t, axes, strategy.mean), place[t.number]) for t in generation])
        return strategy

    def _spot(self, space: Space, trial: Trial, axes: dict[str, Choice], mean: Any) -> Any:
        """The trial on the axes: the middle of its option's part of [0, 1]; the mean where it has no such decision."""
        taken = {label(choice): (option + 0.5) / len(choice.options) for choice, option in self._walks.steps(space, trial.point) or ()}
        spot = mean.copy()
        if len(axes) == 1:
            spot[1] = seeded("spare axis", trial.number).random()
        for i, name in enumerate(axes):
            spot[i] = taken.get(name, mean[i])
        return spot

    def _asked(self, space: Space, strategy: Any, axes: dict[str, Choice], rng: random.Random, attempt: int) -> Proposal:
        """A point around the strategy's mean, the wider the oftener this trial tried: on a grid a narrow strategy repeats itself."""
        spot = strategy.mean + (strategy.ask() - strategy.mean) * (1 + attempt / 2)
        where = dict(zip(axes, spot, strict=False))

        def pick(choice: Choice) -> int:
            at = where.get(label(choice))
            count = len(choice.options)
            return draw(choice, rng, self.options.by) if at is None else nearest(live(choice), int(at * count))

        return Proposal(self._walks.finish(space, {}, pick))
