"""`archdsl search`: explore the choices of a spec, with baselines, and write the winners back as specs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import coloured, echo_json, fail
from archdsl.cli.options import arch_option, json_option, pairs, set_option

if TYPE_CHECKING:
    from archdsl.diagnostics import Source
    from archdsl.search.config import StudyFile


@click.command()
@click.argument("file", metavar="SPACE_OR_STUDY")
@click.option("--budget", metavar="N|TIME", help="Trials (50) or time (90s, 10m, 2h).  [default: 50]")
@click.option("--task", metavar="NAME", help="What to train on: mqar, chars, copy, …")
@click.option("--option", "task_options", multiple=True, metavar="NAME=VALUE", help="An option of the task: pairs=8. May be repeated.")
@click.option(
    "--goal", "goals", multiple=True, metavar="[min:|max:]METRIC", help="What to optimise; several make a front.  [default: loss]"
)
@click.option("--limit", "limits", multiple=True, metavar="METRIC<NUMBER", help='A hard limit: "params<2e6". May be repeated.')
@click.option("--driver", metavar="NAME", help="How to search: random, evolution, tpe, mcts, …  [default: evolution]")
@click.option("--driver-option", "driver_options", multiple=True, metavar="NAME=VALUE", help="An option of the driver: population=10.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps of a trial.  [default: 300]")
@click.option("--batch", type=click.IntRange(min=1), help="Rows in a step.  [default: 32]")
@click.option("--lr", type=float, help="Highest learning rate.  [default: 1e-3]")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Trials at once in this process.  [default: 1]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of everything random.  [default: 0]")
@click.option("--out", metavar="DIR", help="Folder of the study.  [default: runs/NAME]")
@click.option("--resume", is_flag=True, help="Go on with the study that is there, or share its work; begins it if there is none.")
@click.option("--storage", metavar="URL", help="postgresql://… or mysql+pymysql://… for several machines.  [default: a file in --out]")
@click.option("--baselines/--no-baselines", default=None, help="Random search at equal budget, and winners on fresh seeds.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it would cost; run nothing.")
@set_option
@arch_option
@json_option
def search(file: str, out: str | None, resume: bool, dry_run: bool, jobs: int | None, as_json: bool, **given: Any) -> None:
    """Search the choices of a spec: each trial trains one model. Writes report.html, results.json and winners/*.arch.

    A SPACE is a spec with `a | b` or domains; a STUDY is a YAML file that names a space and settings, which options here replace.

    \b
    Examples:
      archdsl search hybrid --task mqar --budget 20 --steps 200 --out runs/first
      archdsl search my.arch --task chars --goal loss --goal min:state_bytes --limit "params<2e6" --jobs 2
      archdsl search study.yaml --budget 10m --resume
      archdsl search smollm2_depth --budget 100 --task products --dry-run   # depth programs of a pretrained stack
    """
    from archdsl.cli.depth import depth_space, search_depth

    space = depth_space(file, given["settings"], given["arch"])
    if space is not None:
        search_depth(space, out, dry_run, as_json, given | {"jobs": jobs, "resume": resume})
        return
    from archdsl.search.plan import prepare
    from archdsl.search.progress import Progress
    from archdsl.search.report import results_json, write_report
    from archdsl.search.study import run_study
    from archdsl.search.table import show_results
    from archdsl.search.workers import Processes

    study, base, source = _study(file)
    study = _merged(study, given, jobs)
    plan = prepare(study, base, source)
    settings = plan.settings
    folder = Path(out) if out is not None else Path("runs") / settings.name
    live = not as_json and coloured(sys.stderr)
    count = plan.space.count()
    if not as_json:
        click.echo(
            f"{settings.name}: {'' if count.exact else 'up to '}{_many(count.number)} points, {settings.budget}, {settings.driver}",
            err=True,
        )
        for line in plan.said:
            click.echo(line, err=True)
    if dry_run:
        _dry(plan, study, as_json)
        return
    pool = Processes(plan.work, min(study.jobs, settings.lag), settings.trial_seconds, plan.metrics)
    progress = Progress(settings, open(os.devnull, "w", encoding="utf-8") if as_json else sys.stderr, live)  # noqa: SIM115
    try:
        outcome = run_study(settings, plan.space, plan.driver, pool, folder, url=study.storage, resume=resume, tell=progress)
    finally:
        progress.close()
        pool.close()
    written = write_report(outcome, plan.space, folder, plan.default, plan.space_file.name)
    if as_json:
        echo_json(
            {
                "ok": True,
                "folder": str(folder),
                **results_json(outcome, written.comparison, written.verdict, [w.name for w in written.winners]),
            }
        )
    else:
        show_results(outcome, written, coloured(sys.stdout))


def _dry(plan: Any, study: StudyFile, as_json: bool) -> None:
    """Says what a search would do, a trial's time measured in a worker."""
    from archdsl.search.preflight import ALIKE, preflight
    from archdsl.search.study import cost_of_baselines
    from archdsl.search.workers import Processes

    settings = plan.settings
    pool = Processes(plan.work, 1, None, plan.metrics)
    try:
        point = preflight(settings, plan.space, pool.metrics)
        seconds = pool.estimate(point, settings.effort)
    finally:
        pool.close()
    count = plan.space.count()
    if as_json:
        points = {"number": count.number, "exact": count.exact}
        echo_json({"ok": True, "study": settings.lasting(), "budget": str(settings.budget), "points": points, "trial_seconds": seconds})
        return
    if getattr(plan.space, "alike", False):
        click.echo(ALIKE)
    click.echo(cost_of_baselines(settings, seconds, min(study.jobs, settings.lag)))
    click.echo("Nothing was run (--dry-run).")


def _many(number: int) -> str:
    return f"{number:,}" if number < 10**9 else f"{number:.2e}"


def _study(file: str) -> tuple[StudyFile, Path | None, Source | None]:
    """The study of a file, or of a space alone; the folder of the file, and its text."""
    from archdsl.diagnostics import Source
    from archdsl.search.config import StudyFile, parse_study, read_text
    from archdsl.share import share

    if not file.endswith((".yaml", ".yml")):
        shipped = share("search") / f"{file}.yaml"
        if "/" in file or file.endswith(".arch") or not shipped.is_file():
            return StudyFile(space=file), None, None
        path = shipped
    else:
        path = Path(file)
        if not path.exists() and (share("search") / file).is_file():
            path = share("search") / file
    source = Source(file, read_text(path, file))
    return parse_study(source), path.parent, source


def _merged(study: StudyFile, given: dict[str, Any], jobs: int | None) -> StudyFile:
    """The study with the options of the command in place of its own."""
    from archdsl.search.config import Named, StudyFile, scalar

    changes: dict[str, Any] = {name: given[name] for name in ("budget", "seed", "storage", "arch", "baselines") if given[name] is not None}
    for name in ("goals", "limits"):
        if given[name]:
            changes[name] = list(given[name])
    if given["settings"]:
        changes["set"] = {**study.set, **pairs(given["settings"], "--set")}
    for name, option in (("task", "task_options"), ("driver", "driver_options")):
        kept: Named | None = getattr(study, name)
        flag = "--option" if name == "task" else "--driver-option"
        chosen, options = given[name], {key: scalar(text) for key, text in pairs(given[option], flag).items()}
        if chosen is not None or options:
            same = kept is not None and chosen in (None, kept.name)
            if chosen is None and kept is None:
                raise click.UsageError("--option needs --task.")
            before = kept.options if kept is not None and same else {}
            changes[name] = {"name": chosen or (kept.name if kept else ""), **before, **options}
    training = {name: given[name] for name in ("steps", "batch", "lr") if given[name] is not None}
    if training:
        changes["training"] = {**study.training.model_dump(), **training}
    if jobs is not None:
        changes["jobs"] = jobs
    from pydantic import ValidationError

    data = {**study.model_dump(exclude_unset=True), **changes}
    try:
        return StudyFile.model_validate(data)
    except ValidationError as error:
        problem = error.errors()[0]
        raise fail("AD1040", f"`{'.'.join(map(str, problem['loc']))}` does not fit", note=str(problem["msg"])) from None
