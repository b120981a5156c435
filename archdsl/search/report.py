"""What a study leaves: report.html (one file, nothing from elsewhere), results.json, and the winners as specs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archdsl.diagnostics import ArchError
from archdsl.search import baselines, log
from archdsl.search.base import Rejected, Space, Trial
from archdsl.search.baselines import Comparison
from archdsl.search.files import write_whole
from archdsl.search.plots import Series, bars, chart
from archdsl.search.proposing import decisions
from archdsl.search.settings import Settings, said, said_time, with_spread
from archdsl.search.showing import Shown, header, show
from archdsl.search.study import Outcome
from archdsl.search.verdict import stamp, verdict

SHOWN_WINNERS, SHOWN_TRIALS, SHOWN_DECISIONS = 8, 500, 12


@dataclass(frozen=True)
class Written:
    """The files that were written, and the comparison they rest on."""

    report: Path
    results: Path
    winners: list[Path]
    comparison: Comparison
    verdict: list[str]


def write_report(outcome: Outcome, space: Space, folder: Path, default: Any = None, origin: str = "") -> Written:
    """Writes everything into the study's folder. default: the spec that winners are compared with; origin: where the space came from."""
    found = baselines.compare(outcome)
    lines = verdict(outcome, found)
    files, shown = _winners(outcome, space, folder, found, default, origin)
    results = folder / "results.json"
    write_whole(results, json.dumps(results_json(outcome, found, lines, [f.name if f else None for f in files]), indent=1) + "\n")
    report = folder / "report.html"
    write_whole(report, _html(outcome, space, found, lines, shown, files))
    return Written(report, results, [f for f in files if f is not None], found, lines)


def results_json(outcome: Outcome, found: Comparison, lines: Sequence[str], files: Sequence[str | None]) -> dict[str, Any]:
    """The study as plain data."""
    best = outcome.winners
    return {
        "study": outcome.settings.lasting(),
        "budget": str(outcome.settings.budget),
        "ends": outcome.ends,
        "stamp": stamp(outcome),
        "verdict": list(lines),
        "winners": [
            {**_winner(trial), "file": f"winners/{file}" if file else None}
            for trial, file in zip(best, [*files, *[None] * len(best)], strict=False)
        ],
        "baselines": baselines.to_json(found, outcome.settings),
        "trials": {phase: [log.to_json(t) for t in trials] for phase, trials in outcome.trials.items()},
    }


def _winner(trial: Trial) -> dict[str, Any]:
    data = log.to_json(trial)
    return {key: data[key] for key in ("number", "values", "metrics", "key", "point", "parents")}


def _winners(
    outcome: Outcome, space: Space, folder: Path, found: Comparison, default: Any, origin: str
) -> tuple[list[Path | None], list[tuple[Trial, Shown]]]:
    """Writes winners/*.arch and removes those of an earlier report."""
    target = folder / "winners"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("*.arch"):
        old.unlink()
    files: list[Path | None] = []
    shown: list[tuple[Trial, Shown]] = []
    for place, trial in enumerate(outcome.winners[:SHOWN_WINNERS], start=1):
        try:
            each = show(space.candidate(trial.point), default)
        except (Rejected, ArchError) as error:
            each = Shown("", f"It cannot be shown: {error}", "", "")
        path = target / f"{place:02d}-trial-{trial.number}.arch" if each.text else None
        if path is not None:
            again = next((r for r in found.retrained if r.phase == "search" and r.trial.number == trial.number), None)
            write_whole(path, header(outcome.settings, trial, again, origin) + each.text)
        files.append(path)
        shown.append((trial, each))
    return files, shown


def _html(
    outcome: Outcome,
    space: Space,
    found: Comparison,
    lines: Sequence[str],
    shown: Sequence[tuple[Trial, Shown]],
    files: Sequence[Path | None],
) -> str:
    from jinja2 import Environment

    settings = outcome.settings
    text = (Path(__file__).parent / "templates" / "report.html").read_text(encoding="utf-8")
    goals = [f"{g.metric} {'↑' if g.best == 'max' else '↓'}" for g in settings.goals]
    search = outcome.trials["search"]
    ranked = [row for row in baselines.importance(search, settings.goals[0]) if row[1] >= 0.01][:SHOWN_DECISIONS]
    return Environment(autoescape=True, trim_blocks=False).from_string(text).render(
        name=settings.name,
        subtitle=_subtitle(outcome, space),
        stamp=stamp(outcome),
        verdict=lines,
        notes=outcome.notes,
        goals=goals,
        baselines=_baseline_rows(outcome, found),
        plots=_plots(outcome, found),
        importance=bars([(path, share, f"{share:.0%} ({count} trials)") for path, share, count in ranked]) if ranked else "",
        importance_trials=sum(t.values is not None for t in search),
        winners=[_winner_box(outcome, trial, each, file) for (trial, each), file in zip(shown, files, strict=True)],
        metrics=_metrics(settings, search),
        tables=[
            _table(title, phase, outcome, space)
            for title, phase in (("Trials of the search", "search"), ("Trials of random search", "random"), ("Fresh seeds", "final"))
            if outcome.trials[phase]
        ],
        settings=[(key, _plain(value)) for key, value in {**settings.lasting(), "budget": str(settings.budget)}.items()],
        foot="Everything here stands in results.json too; trials.jsonl has each trial as it ended.",
    )  # fmt: skip


def _subtitle(outcome: Outcome, space: Space) -> str:
    count, trials = space.count(), outcome.trials["search"]
    number = f"{count.number:,}" if count.number < 10**9 else f"{count.number:.2e}"
    seconds = sum(t.seconds for phase in outcome.trials.values() for t in phase)
    kinds = [f"{n} {kind}" for kind in ("complete", "pruned", "failed", "duplicate") if (n := sum(t.status == kind for t in trials))]
    points = f"{'' if count.exact else 'up to '}{number} points"
    return f"{outcome.settings.driver} over {points}; {len(trials)} trials ({', '.join(kinds)}); {said_time(seconds)} of training in all"


def _baseline_rows(outcome: Outcome, found: Comparison) -> list[dict[str, Any]]:
    settings = outcome.settings
    fresh = {(r.phase, r.trial.number): r for r in found.retrained}

    def row(who: str, phase: str, trial: Trial | None, says: str) -> dict[str, Any]:
        if trial is None:
            return {"who": who, "trial": "none", "values": ["" for _ in settings.goals], "params": "", "fresh": "", "says": says}
        again = fresh.get((phase, trial.number))
        return {
            "who": who,
            "trial": trial.number,
            "values": [said(v) for v in trial.values or ()],
            "params": said(trial.metrics["params"]) if "params" in trial.metrics else "",
            "fresh": f"{with_spread(again.mean, again.spread)} ({len(again.values)} seeds)" if again and again.mean is not None else "",
            "says": says,
        }

    rows = [row(f"search ({settings.driver})", "search", next(iter(outcome.winners), None), "")]
    if found.done and settings.driver != "random":
        same = f"{len(found.random)} trials drawn alike, nothing learned"
        rows.append(row("random search", "random", found.random_best, same))
    elif found.done:
        rows[0]["says"] = "the search is random search itself"
    if found.counting is not None:
        counted = found.counting
        ranks = f"; ranks them with correlation {counted.correlation:+.2f}" if counted.correlation is not None else ""
        says = f"the largest of {counted.trials} trials is in place {counted.place}{ranks}"
        rows.append(row("most parameters", counted.on, counted.pick, says))
    return rows


def _plots(outcome: Outcome, found: Comparison) -> list[dict[str, str]]:
    settings, goal = outcome.settings, outcome.settings.goals[0]
    sides = [("search", "search", outcome.trials["search"])]
    if outcome.trials["random"]:
        sides.append(("random search", "random", outcome.trials["random"]))
    drawn = []
    for title, style, trials in sides:
        drawn.append(Series(f"best of {title}", style, _best_so_far(trials, settings), "steps"))
    tried = [t for t in outcome.trials["search"] if t.values is not None]
    dots = Series("trials", "dim", [(t.number + 1, (t.values or (0,))[0]) for t in tried], "", [f"trial {t.number}" for t in tried])
    plots = [{"title": f"{goal.metric} over trials", "svg": chart([dots, *drawn], "trials", goal.metric, whole_x=True)}]
    other = settings.goals[1].metric if len(settings.goals) > 1 else "params"
    clouds = []
    for title, style, trials in sides:
        here = [t for t in trials if t.values is not None and other in t.metrics and goal.metric in t.metrics]
        places = [(t.metrics[other], t.metrics[goal.metric]) for t in here]
        clouds.append(Series(title, style, places, "", [f"{title}, trial {t.number}" for t in here]))
    if len(settings.goals) > 1:
        best = sorted((t.metrics[other], t.metrics[goal.metric]) for t in outcome.winners)
        clouds.append(Series("the search's front", "search", best, "line"))
    plots.append({"title": f"{goal.metric} against {other}", "svg": chart(clouds, other, goal.metric)})
    return [plot for plot in plots if plot["svg"]]


def _best_so_far(trials: Sequence[Trial], settings: Settings) -> list[tuple[float, float]]:
    goal, best, found = settings.goals[0], None, []
    for count, trial in enumerate(trials, start=1):
        value = trial.values[0] if trial.feasible and trial.values else None
        if value is not None and (best is None or goal.worth(value) > goal.worth(best)):
            best = value
        if best is not None:
            found.append((float(count), best))
    return found


def _winner_box(outcome: Outcome, trial: Trial, each: Shown, file: Path | None) -> dict[str, str]:
    goals = outcome.settings.goals
    scores = ", ".join(f"{g.metric} {said(v)}" for g, v in zip(goals, trial.values or (), strict=False))
    others = ", ".join(f"{k} {said(v)}" for k, v in trial.metrics.items() if k not in {g.metric for g in goals})
    return {
        "title": f"Trial {trial.number}: {scores}",
        "subtitle": others,
        "diff": each.diff,
        "text": each.text,
        "svg": each.svg,
        "file": f"winners/{file.name}" if file else "",
    }


def _metrics(settings: Settings, trials: Sequence[Trial]) -> list[str]:
    """The metrics of the table: the most telling few."""
    goals = {g.metric for g in settings.goals}
    there = {name for t in trials for name in t.metrics}
    wanted = ("loss", "accuracy", "params", "flops", "state_bytes", "latency_ms")
    return [name for name in wanted if name in there and name not in goals]


def _table(title: str, phase: str, outcome: Outcome, space: Space) -> dict[str, Any]:
    settings, trials = outcome.settings, outcome.trials[phase]
    metrics = _metrics(settings, outcome.trials["search"])
    best = {t.number for t in outcome.winners} if phase == "search" else set()
    rows = []
    for t in trials[:SHOWN_TRIALS]:
        ended = t.status if t.feasible or t.values is None else "misses a limit"
        note = f": {t.note}" if t.status in ("failed", "pruned") and t.note else ""
        rows.append(
            {
                "kind": "best" if t.number in best else t.status,
                "number": t.number,
                "status": ended + note,
                "values": [said(v) for v in t.values] if t.values else ["" for _ in settings.goals],
                "metrics": [said(t.metrics[m]) if m in t.metrics else "" for m in metrics],
                "seconds": f"{t.seconds:.1f}" if t.seconds else "",
                "parents": ", ".join(map(str, t.parents)),
                "choices": "  ".join(f"{choice.path}={choice.options[index]}" for choice, index in decisions(space, t.point)),
            }
        )
    more = f" (the first {SHOWN_TRIALS} of {len(trials)})" if len(trials) > SHOWN_TRIALS else ""
    return {"title": title + more, "rows": rows}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)
