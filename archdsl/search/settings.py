"""What a study is to do, whatever its candidates are: goals, limits, budget, pruning; and how these are written (`min:state_bytes`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.search.base import Goal

ALIASES = {"parameters": "params"}
_NAME = r"[A-Za-z_][A-Za-z0-9_.@]*"
_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
MAX_TRIALS = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """A hard constraint on a metric: `params < 2e6`."""

    metric: str
    sense: Literal["<", "<=", ">", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sense} {self.bound:,.10g}"

    def violation(self, value: float) -> float:
        """How far the limit is missed, as a share of its bound; 0 or below if it is met."""
        over = value - self.bound if self.sense[0] == "<" else self.bound - value
        if over == 0 and len(self.sense) == 1:
            over = math.ulp(self.bound)
        return over / (abs(self.bound) or 1.0)


@dataclass(frozen=True, slots=True)
class Budget:
    """A number of trials, or seconds of time in which trials are started."""

    trials: int | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.trials} trials" if self.trials is not None else said_time(self.seconds or 0)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Stops a trial early. At each effort in `at` its value must be among the best share `keep` of the values that trials known to it had
    there; the first `after` trials are spared. With several brackets some trials are spared the first of `at`. See `fidelity`."""

    at: tuple[int, ...]
    keep: float = 0.5
    after: int = 4
    brackets: int = 1


@dataclass(frozen=True, slots=True)
class Settings:
    """A study. effort: what the evaluator gets as its budget. lag: how many trials may run at once; a proposal knows all that are older.
    identity: what else must be the same for the study to be gone on with (the space, the task, the training), as JSON data."""

    name: str
    goals: tuple[Goal, ...]
    budget: Budget
    limits: tuple[Limit, ...] = ()
    effort: int = 0
    pruning: Pruning | None = None
    seed: int = 0
    lag: int = 1
    driver: str = "random"
    driver_options: Mapping[str, Any] = field(default_factory=dict)
    baselines: bool = True
    confirm: int = 3  # fresh seeds on which the winners are trained again
    trial_seconds: float | None = None  # a trial that takes longer fails
    identity: Mapping[str, Any] = field(default_factory=dict)

    def lasting(self) -> dict[str, Any]:
        """What must be equal when the study is gone on with: all but the budget, which may grow, and what a report adds."""
        pruning = self.pruning
        return {
            "name": self.name,
            "goals": [f"{g.best}:{g.metric}" for g in self.goals],
            "limits": [str(limit) for limit in self.limits],
            "effort": self.effort,
            "pruning": {**asdict(pruning), "at": list(pruning.at)} if pruning else None,
            "seed": self.seed,
            "lag": self.lag,
            "driver": self.driver,
            "driver_options": dict(self.driver_options),
            **self.identity,
        }


def metric_name(text: str) -> str:
    return ALIASES.get(text, text)


def parse_goal(text: str, usual: Mapping[str, str] | None = None) -> Goal:
    """`loss`, `min:state_bytes`, `max:accuracy`. usual: which way is better where the text does not say ("min" if not known). Raises AD1031."""
    match = re.fullmatch(rf"\s*(?:(min|max)\s*:)?\s*({_NAME})\s*", text)
    if match is None:
        raise wrong(
            "AD1031", f"`{text}` is not a goal", hint="Write a metric, with `min:` or `max:` before it where needed: `min:state_bytes`."
        )
    metric = metric_name(match[2])
    return Goal(metric, "max" if (match[1] or (usual or {}).get(metric)) == "max" else "min")


def parse_limit(text: str) -> Limit:
    """`params < 2e6`, `state_bytes <= 300_000`, `accuracy > 0.5`. Raises AD1031."""
    match = re.fullmatch(rf"\s*({_NAME})\s*(<=|>=|<|>)\s*([-+0-9._eE]+)\s*", text)
    bound = _number(match[3]) if match else None
    if match is None or bound is None:
        raise wrong("AD1031", f"`{text}` is not a limit", hint='Write METRIC < NUMBER, with <, <=, > or >=: `"params < 2e6"`.')
    return Limit(metric_name(match[1]), match[2], bound)  # type: ignore[arg-type]


def parse_budget(text: str | int | float) -> Budget:
    """`50` (trials), or a time: `90s`, `10m`, `1.5h`, `2d`. Raises AD1033."""
    match = re.fullmatch(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-z]*)\s*", str(text))
    number = _number(match[1]) if match else None
    hint = "Write a number of trials (`50`) or a time (`90s`, `10m`, `2h`, `1d`)."
    if match is None or number is None or isinstance(text, bool) or (match[2] and match[2] not in _UNITS):
        raise wrong("AD1033", f"`{text}` is not a budget", hint=hint)
    if match[2]:
        seconds = number * _UNITS[match[2]]
        if not 0 < seconds <= 366 * 86400:
            raise wrong("AD1033", f"a budget of `{text}` is out of bounds", note="A time is above 0 and at most a year.", hint=hint)
        return Budget(seconds=seconds)
    if number != int(number) or not 1 <= number <= MAX_TRIALS:
        raise wrong("AD1033", f"a budget of `{text}` trials is out of bounds", note=f"From 1 to {MAX_TRIALS:,} whole trials.", hint=hint)
    return Budget(trials=int(number))


def check_metrics(goals: Sequence[Goal], limits: Sequence[Limit], known: Sequence[str]) -> None:
    """Raises AD1034 for a goal or limit on a metric that is not measured."""
    for metric in [g.metric for g in goals] + [limit.metric for limit in limits]:
        if metric not in known:
            names = ", ".join(known)
            raise wrong(
                "AD1034",
                f"nothing measures `{metric}`",
                note=f"There are: {names}.",
                hint=suggestion(metric, known, "Choose one of these."),
            )


def wrong(code: str, title: str, *, note: str = "", hint: str = "") -> ArchError:
    return ArchError(Diagnostic(code, title, note=note, hint=hint))


def said_time(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def said(value: float) -> str:
    """A metric for people: whole numbers with commas, others to four figures."""
    return f"{value:,.0f}" if value == int(value) and abs(value) >= 1000 else f"{value:.4g}"


def with_spread(mean: float, spread: float | None) -> str:
    """`3.459 ± 0.039`."""
    return said(mean) + (f" ± {spread:.2g}" if spread is not None else "")


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
