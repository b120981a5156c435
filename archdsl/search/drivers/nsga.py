"""Optuna's genetic algorithms for several objectives: NSGA-II (Deb et al. 2002) and NSGA-III (Deb & Jain 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from archdsl.search.base import Goal
from archdsl.search.drivers.bridge import Bridge
from archdsl.search.drivers.common import Options


class NsgaOptions(Options):
    """population: trials of a generation. crossover: the share of children of two parents. swap: the chance that such a child takes a
    decision from its second parent. mutation: the chance of a decision to be drawn afresh; None for one in each child on average."""

    population: int = Field(20, ge=2)
    crossover: float = Field(0.9, ge=0, le=1)
    swap: float = Field(0.5, ge=0, le=1)
    mutation: float | None = Field(None, ge=0, le=1)


class Nsga2(Bridge):
    name = "nsga2"
    options_type = NsgaOptions

    def __init__(self, options: NsgaOptions) -> None:
        super().__init__(options)
        self.settings = options
        self.startup = options.population

    def sampler(self, seed: int, goals: Sequence[Goal], extra: dict[str, Any]) -> Any:
        from optuna.samplers import NSGAIISampler

        return NSGAIISampler(seed=seed, **self._arguments(), **extra)

    def attributes(self, sampler: Any, complete: int) -> dict[str, Any]:
        """The generation, which Optuna notes while it runs: the population's size of complete trials each."""
        key = getattr(sampler, "_get_generation_key", None)
        return {key() if key else f"{self.name}:generation": complete // self.settings.population}

    def _arguments(self) -> dict[str, Any]:
        chosen = self.settings
        return {
            "population_size": chosen.population,
            "crossover_prob": chosen.crossover,
            "swapping_prob": chosen.swap,
            "mutation_prob": chosen.mutation,
        }


class Nsga3(Nsga2):
    name = "nsga3"

    def sampler(self, seed: int, goals: Sequence[Goal], extra: dict[str, Any]) -> Any:
        from optuna.samplers import NSGAIIISampler

        return NSGAIIISampler(seed=seed, **self._arguments(), **extra)
