"""Random search: every derivation alike, or every option alike. The yardstick of every other driver."""

from __future__ import annotations

import random
from collections.abc import Sequence

from archdsl.search.base import Goal, Proposal, Space, Trial
from archdsl.search.drivers.common import Options, fresh


class Random:
    name = "random"
    options_type = Options

    def __init__(self, options: Options) -> None:
        self.options = options

    def propose(self, space: Space, goals: Sequence[Goal], history: Sequence[Trial], rng: random.Random, number: int) -> Proposal:
        return fresh(space, history, self.options, lambda _: Proposal(space.sample(rng, self.options.by)))
