"""From what a user asked for to what a study needs: a study file, or a space and options, becomes settings, space, driver and work."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic, Source, suggestion
from archdsl.search.base import Driver, Goal
from archdsl.search.config import StudyFile, located
from archdsl.search.evaluate import MEASURED
from archdsl.search.settings import Limit, Pruning, Settings, check_metrics, parse_budget, parse_goal, parse_limit, wrong
from archdsl.search.storage import sqlite_path
from archdsl.search.workers import Work

if TYPE_CHECKING:
    from archdsl.api import Spec
    from archdsl.search.space import SpecSpace
    from archdsl.tasks import Task

GUESSED_VOCAB = 64
COSTS = ("params", "flops", "state_bytes", "activation_bytes", "buffers")  # what is known of a candidate without training


@dataclass(frozen=True)
class Plan:
    """An architecture search, ready to run. space_file: as found; default: the spec as `build` would make it; said: what was assumed;
    metrics: what a trial measures."""

    settings: Settings
    space: SpecSpace
    driver: Driver
    work: Work
    metrics: tuple[str, ...]
    task: Task
    default: Spec
    space_file: Path
    said: tuple[str, ...]


def prepare(study: StudyFile, base: Path | None = None, source: Source | None = None) -> Plan:
    """Opens everything that a study names. base: the folder that its space is looked for in first; source: the study file, for the places
    of mistakes in it. Raises ArchError."""
    import archdsl
    from archdsl.search.drivers.registry import driver
    from archdsl.search.space import open_space
    from archdsl.tasks.fit import check_task, settings_for

    path = _space_file(study.space, base)
    said: list[str] = []
    given = {name: _expression(value) for name, value in study.set.items()}
    plain = archdsl.load(path, arch=study.arch, contracts=False, **given)
    task = _task(study, plain, source) or _guessed(plain, given, said)
    offered = settings_for(task, [name for name in _parameters(path, study.arch) if name not in given])
    given |= {name: str(value) for name, value in offered.items()}
    default = archdsl.load(path, arch=study.arch, contracts=False, **given)
    check_task(default, task)
    form = task.form
    sizes = {"T": form.shape[0]} if form.input in ("tokens", "series") else {}
    space = open_space(path, arch=study.arch, overrides=given, sizes=sizes)
    goals, limits = _goals(study, task, source)
    training = study.training
    effort, settings = training.steps, training.model_dump(exclude={"steps", "device", "eval_every"})
    settings["eval_every"] = training.eval_every or max(1, effort // 10)
    asked = Settings(
        name=study.name or f"{default.name}-{task.name}",
        goals=goals,
        budget=_in_place(source, ("budget",), lambda: parse_budget(study.budget)),
        limits=limits,
        effort=effort,
        pruning=_pruning(study, goals, list(task.measures), settings["eval_every"]),
        seed=study.seed,
        lag=study.lag or study.jobs,
        driver=study.driver.name,
        driver_options=study.driver.options,
        baselines=study.baselines,
        confirm=study.confirm,
        trial_seconds=study.trial_seconds,
        identity=_identity(study, path, default, given, task, settings),
    )
    work = Work(
        "archdsl.search.evaluate:make",
        {
            "space": str(path.resolve()),
            "arch": study.arch,
            "set": given,
            "sizes": sizes,
            "task": task.name,
            "task_options": dict(task.settings),
            "training": settings,
            "reported": goals[0].metric,
            "device": training.device,
            "inherit": study.inherit,
        },
    )
    if study.storage is not None:
        sqlite_path(study.storage)  # whether it is a storage's URL at all; its place is not shown, since there may be a password in it
    chosen = _in_place(source, ("driver",), lambda: driver(study.driver.name, study.driver.options))
    return Plan(asked, space, chosen, work, (*task.measures, *MEASURED), task, default, path, tuple(said))


def _identity(
    study: StudyFile, path: Path, default: Spec, given: Mapping[str, str], task: Task, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What two runs must have in common to be one study."""
    return {
        "space": f"{path.name} {_digest(path)}",
        "arch": default.name,
        "set": given,
        "task": task.name,
        "task_options": dict(task.settings),
        "training": {**settings, "device": study.training.device},
        "inherit": study.inherit,
    }


def _goals(study: StudyFile, task: Task, source: Source | None) -> tuple[tuple[Goal, ...], tuple[Limit, ...]]:
    """The goals and the limits of a study, on what a trial measures."""
    usual = {name: measure.best for name, measure in task.measures.items()}
    known = [*task.measures, *COSTS, *MEASURED]

    def goal(text: str) -> Goal:
        found = parse_goal(text, usual)
        check_metrics([found], [], known)
        return found

    def limit(text: str) -> Limit:
        found = parse_limit(text)
        check_metrics([], [found], known)
        return found

    goals = tuple(_in_place(source, ("goals", i), partial(goal, text)) for i, text in enumerate(study.goals))
    limits = tuple(_in_place(source, ("limits", i), partial(limit, text)) for i, text in enumerate(study.limits))
    return goals, limits


def _space_file(name: str, base: Path | None) -> Path:
    from archdsl.api import find

    beside = (base / name) if base is not None else None
    return beside if beside is not None and beside.is_file() else find(name)


def _parameters(path: Path, arch: str | None) -> list[str]:
    from archdsl.api import pick_arch
    from archdsl.language.loader import Loader

    return [p.name for p in pick_arch(Loader().load(path), arch).parameters]


def _task(study: StudyFile, spec: Spec, source: Source | None) -> Task | None:
    from archdsl.tasks.fit import task_options
    from archdsl.tasks.registry import TASKS, get_task

    if study.task is None:
        return None
    name = study.task.name
    if name not in TASKS:
        span = located(source, ("task", "name")) or located(source, ("task",)) if source is not None else None
        note = f"Tasks: {', '.join(TASKS)}."
        raise ArchError(Diagnostic("AD0814", f"there is no task `{name}`", span, note=note, hint=suggestion(name, TASKS)))
    options = study.task.options
    return _in_place(source, ("task",), lambda: get_task(name, **task_options(name, options, spec)))


def _guessed(spec: Spec, given: Mapping[str, str], said: list[str]) -> Task:
    """mqar for a language model. Raises AD1041 for anything else."""
    from archdsl.tasks import get_task

    inputs, outputs = spec.graph.root.inputs, spec.graph.root.outputs
    kind, last = inputs[0].type if inputs else None, outputs[0].type if outputs else None
    if len(inputs) == 1 and kind is not None and kind.kind == "int" and kind.rank == 1 and last is not None and last.rank == 2:
        width = last.sizes[1]
        free = "vocab" in spec.arguments and "vocab" not in given
        vocab = GUESSED_VOCAB if free or not isinstance(width, int) else min(width, 8192)
        said.append(
            f"No task was given. {spec.name} is a language model, so it is searched on mqar (vocab {vocab}); --task chooses another."
        )
        return get_task("mqar", vocab=vocab)
    takes = ", ".join(str(v.type) for v in inputs) or "nothing"
    raise wrong(
        "AD1041",
        f"say what to train {spec.name} on",
        note=f"It takes {takes}; no task follows from that.",
        hint="Give --task NAME, or `task:` in the study file.",
    )


def _pruning(study: StudyFile, goals: tuple[Goal, ...], reported: list[str], every: int) -> Pruning | None:
    if study.pruning is None:
        return None
    at, steps = study.pruning.at, study.training.steps
    if goals[0].metric not in reported:
        hint = f"Put one of {', '.join(reported)} first, or leave pruning out."
        raise wrong("AD1042", f"trials cannot be pruned by {goals[0].metric}", note="It does not change while a trial trains.", hint=hint)
    wrong_steps = [s for s in at if s % every or not 0 < s < steps]
    if wrong_steps:
        note = f"A trial trains for {steps} steps and is evaluated every {every}."
        raise wrong(
            "AD1042",
            f"there is no evaluation at step {wrong_steps[0]} to prune at",
            note=note,
            hint=f"Use multiples of {every} below {steps}.",
        )
    return Pruning(tuple(sorted(set(at))), study.pruning.keep, study.pruning.after, study.pruning.brackets)


def _in_place(source: Source | None, place: tuple[Any, ...], make: Any) -> Any:
    """make(); a complaint without a place gets that of the value in the study file."""
    try:
        return make()
    except ArchError as error:
        span = (located(source, place) or located(source, place[:1])) if source is not None else None
        if span is None:
            raise
        raise ArchError(*(d if d.span is not None else replace(d, span=span) for d in error.diagnostics)) from None


def _expression(value: Any) -> str:
    """A value of `set` as the language writes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise wrong("AD1040", f"cannot read the space {path}", note=error.strerror or str(error)) from None
