"""A winner for people: its text with where it came from, its picture, and how it differs from the spec's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archdsl.search.base import Candidate, Trial
from archdsl.search.baselines import Retrained
from archdsl.search.settings import Settings, said, with_spread


@dataclass(frozen=True)
class Shown:
    text: str
    diff: str
    svg: str
    name: str


def show(candidate: Candidate, default: Any = None) -> Shown:
    """default: the Spec to compare with. A candidate without a spec (a depth program) shows its text alone."""
    spec = getattr(candidate, "spec", None)
    text = candidate.text()
    if spec is None or default is None:
        return Shown(text, "", "", "")
    from archdsl.analysis.diff import diff
    from archdsl.analysis.views import to_svg

    return Shown(text, diff(default, spec).text(), to_svg(spec), spec.name)


def header(settings: Settings, trial: Trial, again: Retrained | None, origin: str) -> str:
    """The comment over a winner's text: study, seed, trial, parents, scores."""
    parents = f", made from trial{'s' * (len(trial.parents) > 1)} {' and '.join(map(str, trial.parents))}" if trial.parents else ""
    where = f" of {origin}" if origin else ""
    lines = [
        f"Found by `archdsl search`{where}: study {settings.name}, driver {settings.driver}, seed {settings.seed}, trial {trial.number}{parents}."
    ]
    lines.append("Scores: " + ", ".join(f"{name} {said(value)}" for name, value in trial.metrics.items()) + ".")
    if again is not None and again.mean is not None:
        lines.append(f"On {len(again.values)} fresh seeds: {settings.goals[0].metric} {with_spread(again.mean, again.spread)}.")
    if not settings.baselines:
        lines.append("No baselines were run.")
    return "".join(f"# {_one_line(line)}\n" for line in lines)


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
