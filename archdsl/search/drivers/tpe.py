"""Optuna's tree-structured Parzen estimator: decisions that come up together are modelled together (multivariate, in groups)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from archdsl.search.base import Goal
from archdsl.search.drivers.bridge import Bridge
from archdsl.search.drivers.common import Options


class TpeOptions(Options):
    """startup: trials drawn at random first. candidates: drawn from the model of good trials, of which the likeliest is taken."""

    startup: int = Field(10, ge=1)
    candidates: int = Field(24, ge=1)


class Tpe(Bridge):
    name = "tpe"
    options_type = TpeOptions
    flat = False

    def __init__(self, options: TpeOptions) -> None:
        super().__init__(options)
        self.startup = options.startup
        self._candidates = options.candidates

    def sampler(self, seed: int, goals: Sequence[Goal], extra: dict[str, Any]) -> Any:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=0, n_ei_candidates=self._candidates, multivariate=True, group=True, constant_liar=False, seed=seed, **extra
        )
