"""Optuna's Gaussian process over decisions as numbers. For short searches of small spaces; slow beyond some hundred trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from archdsl.search.base import Choice, Goal, Trial
from archdsl.search.drivers.bridge import Bridge, constraints_are_arguments
from archdsl.search.drivers.common import Options


class GpOptions(Options):
    """startup: trials drawn at random first."""

    startup: int = Field(10, ge=1)


class Gp(Bridge):
    name = "gp"
    options_type = GpOptions

    def __init__(self, options: GpOptions) -> None:
        super().__init__(options)
        self.startup = options.startup
        self.one_goal = not constraints_are_arguments()  # Optuna 4.0 models one objective and no constraints

    def sampler(self, seed: int, goals: Sequence[Goal], extra: dict[str, Any]) -> Any:
        from optuna.samplers import GPSampler

        return GPSampler(seed=seed, n_startup_trials=0, **extra)

    def filled(self, trial: Trial, choice: Choice) -> int:
        """The middle, so that trials without the decision stand at one place of its axis."""
        return (len(choice.options) - 1) // 2
