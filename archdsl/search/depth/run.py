"""A depth search from a spec to a report: tasks screened, one program chosen for a data set and scored on held-out questions, the oracle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.runtime.tokenizer import Tokenizer, load_tokenizer
from archdsl.search.depth.judge import Judge
from archdsl.search.depth.oracle import oracle
from archdsl.search.depth.probes import block_influence, least_influential
from archdsl.search.depth.program import Program, distinct_runs, identity, layer_runs
from archdsl.search.depth.questions import TASKS, Item, Task, ask, blind, check_names, splits
from archdsl.search.depth.results import Row, Screened, Settings, TaskReport
from archdsl.search.depth.scoring import Exam, Question, Scores, sign_test, wilson
from archdsl.search.depth.search import SEARCHES, single_skips
from archdsl.search.depth.skeleton import Skeleton, load_skeleton
from archdsl.search.depth.stack import Stack

if TYPE_CHECKING:
    from archdsl.search.depth.report import Report

Tell = Callable[[str], None]


@dataclass
class _Bench:
    """What a run works with."""

    skeleton: Skeleton
    stack: Stack
    tokenizer: Tokenizer
    settings: Settings
    tell: Tell
    speed: float = 0.0  # seconds of one layer on one token
    parts: dict[str, list[list[Item]]] = field(default_factory=dict)

    def questions(self, task: Task, part: int, answerable: bool = True) -> list[Question]:
        if task.name not in self.parts:
            s = self.settings
            self.parts[task.name] = splits(task, [s.screen, s.search, s.held_out, s.oracle], s.seed)
        return ask(task, self.parts[task.name][part], self.tokenizer, self.settings.seed, answerable)


def run_depth(
    space: str | os.PathLike[str] | Skeleton,
    settings: Settings | None = None,
    out: str | os.PathLike[str] | None = None,
    tell: Tell = print,
    dry: bool = False,
) -> Report | None:
    """Searches the depth programs of a spec and writes report.md, report.json and the found specs to `out`.

    space: a spec file, or a depth space at hand; its base must have published weights that carry a tokenizer. dry: only says what it would
    cost. Raises AD1080 to AD1083 and what loading raises.
    """
    from archdsl.search.depth.report import Report, write

    settings = _checked(settings or Settings())
    check_names(settings.tasks)
    bench = _bench(space if isinstance(space, Skeleton) else load_skeleton(space), settings, tell)
    tasks = [replace(t, chat=chat) for t in _tasks(settings.tasks) for chat in _ways(bench.tokenizer)]
    for line in cost(bench, tasks):
        tell(line)
    if dry:
        return None
    begin = time.perf_counter()
    screened = [screen(bench, task) for task in tasks]
    best = _chosen(screened, settings.chosen)
    reports = [search_task(bench, one) for one in best]
    report = Report(bench.skeleton, settings, screened, reports, time.perf_counter() - begin)
    if not reports:
        tell("No task is informative: the plain model clears chance on none of them, so nothing was searched.")
    if out is not None:
        for file in write(report, Path(out)):
            tell(f"wrote {file}")
    return report


# ---- preparing ------------------------------------------------------------------------------------------------------------------


def _checked(settings: Settings) -> Settings:
    for name in ("budget", "chosen", "screen", "search", "held_out", "simulations", "batch"):
        if getattr(settings, name) < 1:
            raise wrong(f"`{name}` is {getattr(settings, name)}; it must be at least 1")
    unknown = [name for name in settings.searches if name not in SEARCHES]
    if unknown:
        raise wrong(f"there is no depth search `{unknown[0]}`", suggestion(unknown[0], SEARCHES, f"Known: {', '.join(SEARCHES)}."))
    return replace(settings, searches=tuple(dict.fromkeys([*settings.searches, "random"])))


def wrong(title: str, hint: str = "") -> ArchError:
    """AD1083."""
    return ArchError(Diagnostic("AD1083", title, hint=hint))


def _bench(skeleton: Skeleton, settings: Settings, tell: Tell) -> _Bench:
    from archdsl.runtime.pretrained import find_published

    if skeleton.pretrained is None:
        raise ArchError(
            Diagnostic(
                "AD1082",
                f"`{skeleton.base}` in `{skeleton.spec.name}` has no published weights",
                note="A depth search asks a trained model questions; one with random weights answers none.",
                hint=f'Write `{skeleton.base} = pretrained(Arch, "name of its weights")`.',
            )
        )
    tokenizer = load_tokenizer(find_published(skeleton.pretrained))
    return _Bench(skeleton, Stack.build(skeleton), tokenizer, settings, tell)


def _tasks(names: Sequence[str]) -> list[Task]:
    known = {task.name: task for task in TASKS}
    return [known.get(name, Task(name)) for name in names] or list(TASKS)


def _ways(tokenizer: Tokenizer) -> tuple[bool, ...]:
    return (False, True) if tokenizer.chat_template else (False,)


def _chosen(screened: Sequence[Screened], count: int) -> list[Screened]:
    """The informative tasks in the order given, each as it is best asked."""
    best: dict[str, Screened] = {}
    for one in screened:
        if one.informative and (one.task.name not in best or one.correct > best[one.task.name].correct):
            best[one.task.name] = one
    return list(best.values())[:count]


def cost(bench: _Bench, tasks: Sequence[Task]) -> list[str]:
    """What the run will take at most, in words; measured on this machine by one pass of the plain model."""
    s, depth = bench.settings, bench.stack.depth
    tokens = torch.zeros(8, 64, dtype=torch.long)
    for _ in range(2):  # the first pass warms up
        begin = time.perf_counter()
        bench.stack.run(identity(depth), tokens)
        bench.speed = (time.perf_counter() - begin) / (tokens.numel() * depth)
    screens = [asked for task in tasks if (asked := bench.questions(task, 0))]
    each = [Exam(bench.stack, asked, s.batch, memory=0).tokens / len(asked) for asked in screens]
    typical = max(each, default=0.0)
    one = typical * depth * bench.speed  # the plain model on one question

    def said(seconds: float) -> str:
        return f"{seconds / 60:.1f} min" if seconds > 90 else f"{seconds:.0f} s"

    screening = sum(size * len(asked) for size, asked in zip(each, screens)) * depth * bench.speed
    searching = len(s.searches) * s.budget * s.search * one
    holding = (len(s.searches) + 3) * s.held_out * one
    asking = 3 * s.oracle * s.simulations * one
    return [
        f"A pass of the plain model over one question takes about {1000 * one:.0f} ms here ({torch.get_num_threads()} threads).",
        f"Screening {len(each)} ways to ask: about {said(screening)}. Then, for each of at most {s.chosen} informative tasks:",
        f"  {len(s.searches)} searches of {s.budget} programs on {s.search} questions: at most {said(searching)}, if no two programs"
        " began alike; usually about half",
        f"  held-out scores on {s.held_out} questions: about {said(holding)}",
        f"  oracle, null and second search on {s.oracle} questions, {s.simulations} simulations: at most {said(asking)}, usually a third",
    ]


# ---- measuring ------------------------------------------------------------------------------------------------------------------


def screen(bench: _Bench, task: Task) -> Screened:
    """The plain model on the screening split of a task."""
    asked = bench.questions(task, 0)
    if not asked:
        bench.tell(f"{task.title}: no item is short enough")
        return Screened(task, 0, 0, 0, 0.0, 0.0)
    scores = Exam(bench.stack, asked, bench.settings.batch, memory=0).score(identity(bench.stack.depth))
    s = bench.settings
    enough = all(2 * len(bench.questions(task, part)) >= size for part, size in ((1, s.search), (2, s.held_out), (3, s.oracle)))
    found = Screened(task, len(asked), len(asked[0].choices), scores.correct, scores.margin, blind(asked), enough)
    low, high = wilson(found.correct, found.questions)
    bench.tell(f"{task.title}: {scores.accuracy:.1%} [{low:.1%}, {high:.1%}] against {found.floor:.1%} to clear: {found.verdict}")
    return found


def search_task(bench: _Bench, screened: Screened) -> TaskReport:
    """Every search on the search split, each one's choice on the held-out split."""
    s, depth, task = bench.settings, bench.stack.depth, screened.task
    begin = time.perf_counter()
    exam = Exam(bench.stack, bench.questions(task, 1), s.batch, s.memory)
    marks: dict[Program, Scores] = {}
    chosen: list[tuple[str, Program, int]] = [("plain model", identity(depth), 1)]
    if bench.skeleton.start != identity(depth):
        chosen.append(("as the spec states", bench.skeleton.start, 1))
    influence = block_influence(bench.stack, bench.questions(task, 1), s.batch)
    chosen.append(("least block influence", least_influential(influence), 1))
    single = Judge(exam, depth, marks)
    single_skips(single, depth, s.seed)
    chosen.append(("best single skip", single.best, len(single.visited)))
    visited = dict(single.visited)
    for name in s.searches:
        judge = Judge(exam, s.budget, marks)
        SEARCHES[name](judge, depth, s.seed)
        visited |= judge.visited
        chosen.append((name, judge.best, len(judge.visited)))
        bench.tell(f"{task.name}, {name}: {len(judge.visited)} programs, margin {judge.visited[judge.best]:+.3f}, {judge.seconds:.0f} s")
    for _, program, _ in chosen:
        if program not in marks:
            marks[program] = exam.score(program)
    held = Exam(bench.stack, bench.questions(task, 2), s.batch, s.memory)
    rows = _rows(chosen, marks, held, identity(depth))
    winner = max(rows, key=lambda row: (row.found.margin, -layer_runs(row.program)))
    found = TaskReport(
        screened,
        rows,
        winner,
        influence.tolist(),
        visited=len(visited),
        asked_runs=sum(map(layer_runs, visited)),
        distinct=distinct_runs(visited),
        made_runs=exam.runs,
        seconds=0.0,
        spec=bench.skeleton.text(winner.program, _doc(task, winner)),
    )
    if s.oracle:
        unanswerable = bench.questions(task, 3, answerable=False)
        found.oracle = oracle(bench.stack, bench.questions(task, 3), unanswerable, s.seed, s.simulations, bench.tell)
    found.seconds = time.perf_counter() - begin
    return found


def _rows(chosen: Sequence[tuple[str, Program, int]], marks: dict[Program, Scores], held: Exam, start: Program) -> list[Row]:
    scores = {program: held.score(program) for _, program, _ in chosen}
    plain = scores[start].verdicts
    rows = []
    for method, program, evaluations in chosen:
        now = scores[program].verdicts
        gained, lost = int((now & ~plain).sum()), int((plain & ~now).sum())
        rows.append(Row(method, program, evaluations, marks[program], scores[program], sign_test(gained, lost), gained, lost))
    return rows


def _doc(task: Task, row: Row) -> str:
    plain = f"found by {row.method} for {task.title}"
    return f"A depth program {plain}: {row.held_out.accuracy:.1%} of {len(row.held_out.right)} held-out questions."
