"""The report of a depth search: for people as Markdown, for programs as JSON, and the found programs as specs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from archdsl.search.depth.oracle import Oracle, shares
from archdsl.search.depth.program import layer_runs, short, stages
from archdsl.search.depth.results import Row, Screened, Settings, TaskReport
from archdsl.search.depth.scoring import wilson
from archdsl.search.depth.skeleton import Skeleton


@dataclass
class Report:
    """Everything a depth search found."""

    skeleton: Skeleton
    settings: Settings
    screened: list[Screened]
    tasks: list[TaskReport]
    seconds: float

    def markdown(self) -> str:
        return "\n".join(_lines(self)) + "\n"

    def data(self) -> dict[str, Any]:
        """What report.json holds."""
        return {
            "spec": self.skeleton.spec.name,
            "depth": self.skeleton.depth,
            "settings": asdict(self.settings),
            "seconds": round(self.seconds, 1),
            "screened": [_screened(one) for one in self.screened],
            "tasks": [_task(one, self.skeleton) for one in self.tasks],
        }


def write(report: Report, out: Path) -> list[Path]:
    """Writes report.md, report.json and a spec for each task's winner. Raises AD1083 if the folder cannot be written."""
    from archdsl.search.depth.run import wrong

    files = {"report.md": report.markdown(), "report.json": json.dumps(report.data(), indent=1) + "\n"}
    files |= {f"{task.screened.task.name}.arch": task.spec for task in report.tasks}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise wrong(f"the report cannot be written to `{out}`: {error.strerror or error}") from None
    return [out / name for name in files]


# ---- Markdown -------------------------------------------------------------------------------------------------------------------


def share(part: int, whole: int) -> str:
    """A share with its 95% interval: `45.0% [38.1%, 52.0%]`."""
    if whole == 0:
        return "none to count"
    low, high = wilson(part, whole)
    return f"{part / whole:.1%} [{low:.1%}, {high:.1%}]"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    return ["| " + " | ".join(map(str, row)) + " |" for row in (head, ["---"] * len(head), *rows)]


def _lines(report: Report) -> Iterator[str]:
    yield f"# Depth search: {report.skeleton.spec.name}, {report.skeleton.depth} layers"
    yield ""
    s = report.settings
    yield f"Seed {s.seed}; {s.budget} programs a search; took {report.seconds / 60:.1f} min. Intervals are Wilson's at 95%."
    yield ""
    yield "## Which tasks say anything"
    yield ""
    yield "A task counts if the plain model's interval clears both chance and what the answers' frequencies alone give (blind)."
    yield ""
    head = ["task", "questions", "accuracy", "chance", "blind", ""]
    yield from table(head, [_screen_row(one) for one in report.screened])
    for task in report.tasks:
        yield ""
        yield from _task_lines(task, s)


def _screen_row(one: Screened) -> list[str]:
    if not one.questions:
        return [one.task.title, "0", "–", "–", "–", one.verdict]
    return [
        one.task.title,
        str(one.questions),
        share(one.correct, one.questions),
        f"{1 / one.choices:.0%}",
        f"{one.blind:.0%}",
        one.verdict,
    ]


def _task_lines(task: TaskReport, s: Settings) -> Iterator[str]:
    yield f"## {task.screened.task.title}: one program for the data set"
    yield ""
    searched, held = len(task.rows[0].found.right), len(task.rows[0].held_out.right)
    yield f"Chosen by the mean margin on {searched} questions, scored on {held} others. p is that of a sign test against the plain model on the"
    yield "held-out questions; only the winner's is a test of one hypothesis, the others show how the methods compare."
    yield ""
    head = ["method", "programs", "layers", "margin (search)", "accuracy (search)", "accuracy (held out)", "+/−", "p", "program"]
    yield from table(head, [_row(row, row is task.winner) for row in task.rows])
    yield ""
    ratio = task.asked_runs / task.distinct
    yield f"{task.visited} distinct programs: {task.asked_runs:,} layer runs, {task.distinct:,} distinct prefixes (ratio {ratio:.2f}); "
    yield f"{task.made_runs:,.0f} were run, held-out scores apart."
    yield ""
    yield "Block influence by layer: " + " ".join(f"{x:.3f}" for x in task.influence)
    if task.oracle is not None:
        yield ""
        yield from _oracle_lines(task.oracle)


def _row(row: Row, winner: bool) -> list[str]:
    mark = "**" if winner else ""
    return [
        f"{mark}{row.method}{mark}",
        str(row.evaluations),
        str(layer_runs(row.program)),
        f"{row.found.margin:+.3f}",
        f"{row.found.accuracy:.1%}",
        share(row.held_out.correct, len(row.held_out.right)),
        f"{row.gained}/{row.lost}",
        f"{row.p:.2g}",
        f"`{short(row.program)}`",
    ]


def _oracle_lines(found: Oracle) -> Iterator[str]:
    yield "### The per-sample oracle, beside its null"
    yield ""
    yield f"Each question's own search is told the right answer ({found.simulations} simulations, CoLa's settings). The null asks the same of"
    yield "questions that have no right answer: one wrong choice is called right. What the null reaches is no skill."
    yield ""
    rows = []
    marks = sorted({1, 5, 10, 25, 50, 100, found.simulations})
    for within in [n for n in marks if n <= found.simulations]:
        real, null = shares(found.cases, within), shares(found.null, within)
        rows.append([within, *map(_of, (real.kept, null.kept, real.mended, null.mended, real.passed, null.passed))])
    head = ["simulations", "kept shorter", "null", "mended", "null", "right in all", "null"]
    yield from table(head, rows)
    yield ""
    changed, total = found.flips
    yield f"A second search with other seeds comes to another verdict in {share(changed, total)}. A found program scored in one batch with the"
    yield f"other questions instead of alone loses its right answer in {found.alone[0]} of {found.alone[1]}."


def _of(pair: tuple[int, int]) -> str:
    return f"{pair[0]}/{pair[1]} ({pair[0] / pair[1]:.0%})" if pair[1] else "–"


# ---- JSON -----------------------------------------------------------------------------------------------------------------------


def _screened(one: Screened) -> dict[str, Any]:
    return {
        "task": one.task.name,
        "settings": dict(one.task.settings),
        "chat": one.task.chat,
        "questions": one.questions,
        "choices": one.choices,
        "correct": one.correct,
        "interval": wilson(one.correct, one.questions),
        "margin": one.margin,
        "blind": one.blind,
        "verdict": one.verdict,
    }


def _task(task: TaskReport, skeleton: Skeleton) -> dict[str, Any]:
    found: dict[str, Any] = {
        "task": task.screened.task.name,
        "chat": task.screened.task.chat,
        "rows": [_row_data(row, skeleton) for row in task.rows],
        "winner": task.winner.method,
        "block_influence": task.influence,
        "programs": task.visited,
        "layer_runs": task.asked_runs,
        "distinct_prefix_runs": task.distinct,
        "made_runs": task.made_runs,
        "seconds": round(task.seconds, 1),
    }
    if task.oracle is not None:
        o = task.oracle
        found["oracle"] = {
            "simulations": o.simulations,
            **{name: asdict(shares(cases)) for name, cases in (("cases", o.cases), ("null", o.null), ("again", o.again))},
            "after": {name: [[c.right, c.after] for c in cases] for name, cases in (("cases", o.cases), ("null", o.null))},
            "flips": o.flips,
            "flips_in_a_batch": o.alone,
        }
    return found


def _row_data(row: Row, skeleton: Skeleton) -> dict[str, Any]:
    return {
        "method": row.method,
        "program": stages(row.program, skeleton.base, skeleton.label),
        "layer_runs": layer_runs(row.program),
        "evaluations": row.evaluations,
        "search": {"margin": row.found.margin, "correct": row.found.correct, "questions": len(row.found.right)},
        "held_out": {
            "margin": row.held_out.margin,
            "correct": row.held_out.correct,
            "questions": len(row.held_out.right),
            "interval": wilson(row.held_out.correct, len(row.held_out.right)),
            "gained": row.gained,
            "lost": row.lost,
            "p": row.p,
        },
    }
