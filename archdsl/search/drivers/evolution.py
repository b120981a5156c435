"""Regularised evolution (Real et al. 2019): the parent is the best of a random few of the youngest trials; the oldest die, good or not."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from archdsl.search.base import Goal, Proposal, Space, Trial
from archdsl.search.drivers.common import Options, fresh, strayed, usable
from archdsl.search.fronts import standings


class EvolutionOptions(Options):
    """population: trials alive. tournament: how many of them compete to be the parent. crossover: the share of children of two parents
    (these mutate too, with chance `mutation`). ageing: whether the oldest die; otherwise the worst do."""

    population: int = Field(12, ge=2)
    tournament: int = Field(5, ge=1)
    crossover: float = Field(0.0, ge=0, le=1)
    mutation: float = Field(0.5, ge=0, le=1)
    ageing: bool = True


class Evolution:
    """Several objectives: by Pareto front, then by how alone a trial stands in it."""

    name = "evolution"
    options_type = EvolutionOptions

    def __init__(self, options: EvolutionOptions) -> None:
        self.options = options

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        known = usable(history)
        if len(known) < self.options.population:
            return fresh(space, history, self.options, lambda _: Proposal(space.sample(rng, self.options.by), note="first population"))
        alive, places = self._alive(known, goals)
        return fresh(space, history, self.options, lambda attempt: self._child(space, alive, places, rng, attempt))

    def _alive(self, known: list[Trial], goals: Sequence[Goal]) -> tuple[list[Trial], dict[int, float]]:
        size = self.options.population
        if self.options.ageing:
            alive = known[-size:]
            return alive, standings(alive, goals)
        places = standings(known, goals)
        return sorted(known, key=lambda t: (-places[t.number], t.number))[:size], places

    def _child(self, space: Space, alive: list[Trial], places: dict[int, float], rng: random.Random, attempt: int) -> Proposal:
        mother = self._winner(alive, places, rng)
        if rng.random() < self.options.crossover:
            father = self._winner([t for t in alive if t is not mother], places, rng)
            child = space.cross(mother.point, father.point, rng)
            if rng.random() < self.options.mutation:
                child = strayed(space, child, rng, attempt)
            return Proposal(child, (mother.number, father.number), "crossed")
        return Proposal(strayed(space, dict(mother.point), rng, attempt), (mother.number,), "mutated")

    def _winner(self, alive: list[Trial], places: dict[int, float], rng: random.Random) -> Trial:
        few = rng.sample(alive, min(self.options.tournament, len(alive)))
        return max(few, key=lambda t: (places[t.number], -t.number))
