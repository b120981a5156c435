"""Before a study begins: is there anything to search, and how are points best drawn?"""

from __future__ import annotations

import time
from collections.abc import Sequence

from archdsl.search.base import Point, Proposal, Rejected, Space, seeded
from archdsl.search.proposing import Made, judge
from archdsl.search.settings import Settings, check_metrics, metric_name, wrong

LOOK = 40  # points drawn to see how many can be run
FEW = 0.05  # a share of them
ALIKE = "Few points meet the contracts and limits: each option is drawn alike, rather than each point (in random search too)."


def preflight(settings: Settings, space: Space, metrics: Sequence[str], tries: int = 300, seconds: float = 20.0) -> Point:
    """A point that can be run. Raises AD1002, AD1030, AD1034, AD1039.

    Where few of the points drawn can be run, a space that can (`alike`) draws each option alike from now on, if that does better: contracts
    are mostly missed by large models, and most points are large.
    """
    count = space.count()
    if count.number == 0 or space.open({}) is None:
        what = "has no point" if count.number == 0 else "has nothing to choose"
        hint = "A space has `a | b` somewhere, or a parameter with a domain: `d in {64, 128} = 64`."
        raise wrong("AD1030", f"the space {space.name} {what}", hint=hint)
    look = _Look(settings, space, metrics)
    if look.share() < FEW and hasattr(space, "alike"):
        before, space.alike = look.good, True
        if look.share() <= len(before) / LOOK:
            space.alike, look.good = False, before
    end = time.monotonic() + seconds
    while not look.good and look.tried < tries and time.monotonic() < end:
        look.draw()
    if look.good:
        return look.good[0]
    note = f"The first: {look.why}."
    if look.missed:
        note = f"The nearest: {min(look.missed, key=lambda m: sum(m.violations)).why}."
    elif (unmet := getattr(space, "first", None)) is not None:
        unmet(look.rng)  # a space may know what is in the way
    hint = "Loosen the limits (--limit, `expect` in the spec) or widen the space."
    raise wrong("AD1039", f"none of {look.tried} draws from the space {space.name} can be tried", note=note, hint=hint)


class _Look:
    """Points drawn before a study begins. good: those that can be run; missed: those that miss a limit; why: what was wrong with the first."""

    def __init__(self, settings: Settings, space: Space, metrics: Sequence[str]) -> None:
        self.settings, self.space, self.metrics = settings, space, metrics
        self.rng = seeded(settings.seed, "preflight")
        self.tried, self.why = 0, ""
        self.good: list[Point] = []
        self.missed: list[Made] = []

    def share(self) -> float:
        """The share of fresh points that can be run; not looked at more closely once it is not small."""
        self.good, before = [], self.tried
        while self.tried < before + LOOK and len(self.good) < LOOK * FEW:
            self.draw()
        return len(self.good) / (self.tried - before)

    def draw(self) -> None:
        """Raises AD1034 if a goal or limit is on what nothing measures."""
        self.tried += 1
        try:
            made = judge(self.space, self.settings, Proposal(self.space.sample(self.rng)))
        except Rejected as error:
            self.why = self.why or str(error)
            return
        if made.costs:
            known = [*made.costs, *(metric_name(m) for m in self.metrics if m not in made.costs)]
            check_metrics(self.settings.goals, self.settings.limits, known)
        if made.status is None:
            self.good.append(made.proposal.point)
            return
        self.why = self.why or made.why
        if made.costs:
            self.missed.append(made)
