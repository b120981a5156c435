"""`archdsl train`: a small, real training run on a task with exact answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import echo_json, fail
from archdsl.cli.models import device_option, make, max_params_option, seed_option, threads_option
from archdsl.cli.options import json_option, load_spec, pairs, spec_options
from archdsl.cli.runs import keep
from archdsl.tasks.fit import check_task, settings_for, task_options

if TYPE_CHECKING:
    from torch import nn

    from archdsl.api import Spec
    from archdsl.tasks import Task
    from archdsl.training import Stage, TrainConfig

_WHOLE, _STEPS = click.IntRange(min=1), click.IntRange(min=0)
_RUN = (
    click.option("--steps", type=_STEPS, default=500, show_default=True, help="Optimizer steps."),
    click.option("--batch", type=_WHOLE, default=32, show_default=True, help="Rows in a step."),
    click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate."),
    click.option("--warmup", type=_STEPS, default=0, show_default=True, help="Steps in which the learning rate rises."),
    click.option(
        "--schedule",
        type=click.Choice(["constant", "linear", "cosine"]),
        default="cosine",
        show_default=True,
        help="How the rate goes on, down to a tenth.",
    ),
    click.option(
        "--optimizer", type=click.Choice(["adamw", "adam", "sgd", "rmsprop"]), default="adamw", show_default=True, help="Optimizer."
    ),
    click.option("--weight-decay", type=float, default=0.1, show_default=True, help="Decay of matrices (vectors are not decayed)."),
    click.option("--clip", type=float, default=1.0, show_default=True, help="Largest gradient norm; 0: no limit."),
    click.option("--eval-every", type=_WHOLE, default=100, show_default=True, help="Steps between evaluations on held-out data."),
    click.option("--eval-batches", type=_WHOLE, default=4, show_default=True, help="Batches in an evaluation."),
    click.option("--metric", default="loss", show_default=True, help="What --patience, --until and --keep-best look at."),
    click.option("--patience", type=_STEPS, default=0, help="Stop after so many evaluations without a better value."),
    click.option("--until", type=float, help="Stop once the metric is this good."),
    click.option("--max-seconds", type=float, help="Stop early, after this many seconds."),
    click.option("--keep-best", is_flag=True, help="Keep the best weights too, in the folder `best` of --save."),
)


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_RUN):
        command = option(command)
    return command


@click.command()
@click.argument("file", required=False)
@click.option("--task", "task_name", metavar="NAME", help="What to train on; --show lists the tasks.")
@click.option("--option", "task_options", multiple=True, metavar="NAME=VALUE", help="An option of the task: pairs=8. May be repeated.")
@click.option("--data", metavar="FILE", help="The text for chars (by default one that is on this machine).")
@click.option("--seq", type=_WHOLE, help="Tokens in a row (by default the task's).")
@click.option("--show", is_flag=True, help="Show the task, or all tasks, and do not train. Needs no FILE.")
@_run_options
@click.option(
    "--side", "sides", multiple=True, metavar="PATH=WEIGHT", help='Weight of side losses: "layers.*.router=0.01". May be repeated.'
)
@click.option(
    "--stage",
    "plan",
    multiple=True,
    metavar="SHARE:NAME=VALUE",
    help='Settings up to a share of the steps: "0.3:rounds=2". May be repeated.',
)
@click.option("--save", metavar="DIR", help="Folder for the log, checkpoints and, for chars, the tokenizer.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --save.")
@spec_options
@device_option
@seed_option
@threads_option
@max_params_option
@json_option
def train(
    file: str | None,
    task_name: str | None,
    data: str | None,
    task_options: tuple[str, ...],
    save: str | None,
    resume: bool,
    seq: int | None,
    show: bool,
    sides: tuple[str, ...],
    plan: tuple[str, ...],
    settings: tuple[str, ...],
    arch: str | None,
    root: str | None,
    device: str,
    seed: int,
    threads: int | None,
    max_params: float,
    as_json: bool,
    **run: Any,
) -> None:
    """Train a model from scratch on a task: tokens, images or series of numbers, with answers that are known exactly.

    Parameters of the arch called vocab, classes, size, channels, length or horizon are set to what the task needs, unless --set gives them.
    Metrics are shown with what guessing gives and the best possible value.

    \b
    Examples:
      archdsl train --task mqar --show
      archdsl train tiny.arch --task mqar --option vocab=64 --option pairs=4 --steps 500
      archdsl train resnet_cifar --task digits --set n=1 --metric accuracy --until 0.97
      archdsl train tiny.arch --task chars --data book.txt --save runs/tiny
      archdsl train tiny.arch --task chars --data book.txt --save runs/tiny --resume --steps 2000
    """
    options = _options(task_name, data, seq, task_options)
    if show or file is None or task_name is None:
        _show(file, task_name, options, show)
        return
    if save is None and (resume or run["keep_best"]):
        raise click.UsageError("--resume and --keep-best need --save.")
    spec, task, settings = fitted(file, task_name, options, settings, arch, root)
    model = make(spec, device=device, dtype="float32", seed=seed, threads=threads, max_params=max_params)
    if not as_json:
        click.echo(f"{spec.name}: {spec.parameters:,} parameters; task {task.name}; {run['steps']} steps")

    from archdsl.training import TrainConfig

    config = TrainConfig(out=save, resume=resume, seed=seed, progress=not as_json, sides=_weights(sides), **run)
    stages = _stages(spec, model, plan)
    if save is not None:
        keep(Path(save), settings, getattr(task, "tokenizer", None))
    _train(spec, model, task, config, stages, as_json)


def _train(spec: Spec, model: nn.Module, task: Task, config: TrainConfig, stages: tuple[Stage, ...], as_json: bool) -> None:
    """Trains, measures on the test part, and tells."""
    from archdsl.training import evaluate, train

    metadata = {"spec": spec.name, "structure": spec.structure_hash}
    result = train(model, task, config, stages=stages, on_eval=None if as_json else _say, metadata=metadata)
    test = evaluate(model, task, seed=config.seed, batch=config.batch, batches=config.eval_batches, split="test")
    if as_json:
        named = {"name": spec.name, "parameters": spec.parameters, "task": task.name, "settings": dict(task.settings)}
        echo_json({"ok": True, **named, **_told(result), "test": test})
    else:
        _end(task, result, test)


def _show(file: str | None, name: str | None, options: dict[str, Any], show: bool) -> None:
    """The tasks, or one of them."""
    if not show:
        raise click.UsageError("train needs a FILE and --task NAME; `archdsl train --show` lists the tasks.")
    from archdsl.tasks import get_task
    from archdsl.tasks.pages import described, overview

    if name is None:
        click.echo(overview())
        return
    if file is not None:
        options = task_options(name, options, load_spec(file))
    click.echo(described(get_task(name, **options)))


def _options(name: str | None, data: str | None, seq: int | None, texts: tuple[str, ...]) -> dict[str, Any]:
    """The task's options as they were given."""
    options: dict[str, Any] = dict(pairs(texts, "--option"))
    if data is not None:
        if name != "chars":
            raise click.UsageError("--data is for --task chars.")
        options.setdefault("text", data)
    if seq is not None:
        options.setdefault("length", seq)
    return options


def fitted(
    file: str, name: str, options: dict[str, Any], settings: tuple[str, ...], arch: str | None, root: str | None
) -> tuple[Spec, Task, tuple[str, ...]]:
    """The task in the form that the spec's input asks for, the spec set to what the task needs, and all its settings."""
    from archdsl.tasks import get_task

    if file == "-":
        raise click.UsageError("train reads its spec from a file.")
    spec = load_spec(file, settings, arch, root)
    task = get_task(name, **task_options(name, options, spec))
    given = pairs(settings, "--set")
    found = tuple(f"{key}={value}" for key, value in settings_for(task, spec.arguments).items() if key not in given)
    settings = (*settings, *found)
    if found:
        spec = _set(file, settings, arch, root, f"The task {task.name} sets {', '.join(found)}; --set gives another value.")
    check_task(spec, task)
    return spec, task, settings


def _set(file: str, settings: tuple[str, ...], arch: str | None, root: str | None, note: str) -> Spec:
    """The spec with the task's settings; what is wrong with it then is told with these."""
    from archdsl.diagnostics import ArchError

    try:
        return load_spec(file, settings, arch, root)
    except ArchError as error:
        raise ArchError(*(replace(d, note=f"{d.note} {note}".strip()) for d in error.diagnostics)) from None


def _weights(sides: tuple[str, ...]) -> dict[str, float]:
    """--side options as a table. Raises AD0901."""
    found = {}
    for text in sides:
        path, equals, weight = text.rpartition("=")
        try:
            found[path.strip()] = float(weight)
        except ValueError:
            equals = ""
        if not equals or not path.strip():
            raise fail("AD0901", f"`--side {text}` is not of the form PATH=WEIGHT", hint="For example `--side layers.*.router=0.01`.")
    return found


def _stages(spec: Spec, model: nn.Module, plan: tuple[str, ...]) -> tuple[Stage, ...]:
    """--stage options: 0.3:rounds=2,heads=4. Raises AD0901, AD0817."""
    from archdsl.training import curriculum

    made = []
    for text in plan:
        share, _, settings = text.partition(":")
        try:
            until = float(share)
        except ValueError:
            settings = ""
        if not settings:
            raise fail("AD0901", f"`--stage {text}` is not of the form SHARE:NAME=VALUE", hint="For example `--stage 0.3:rounds=2`.")
        made.append((until, pairs(tuple(settings.split(",")), "--stage")))
    return curriculum(spec, model, made) if made else ()


def _say(record: dict[str, Any]) -> None:
    held = ", ".join(f"{name} {value:.4f}" for name, value in record["valid"].items())
    side = "".join(f"  {path} {value:.4g}" for path, value in _totals(record.get("sides", {})).items())
    click.echo(f"step {record['step']:>6}  loss {record['loss']:.4f}{side}  held out: {held}  {record['tokens_per_second']:,.0f} tokens/s")


def _totals(sides: dict[str, float]) -> dict[str, float]:
    """Side losses by their last name, summed over the places."""
    found: dict[str, float] = {}
    for path, value in sides.items():
        name = path.rpartition(".")[2]
        found[name] = found.get(name, 0.0) + value
    return found


def _told(result: Any) -> dict[str, Any]:
    """A run's end, as JSON data."""
    saved = {"checkpoint": result.checkpoint, "best_checkpoint": result.best_checkpoint}
    return {
        "steps": result.steps,
        "seconds": round(result.seconds, 2),
        "metrics": result.metrics,
        "best": result.best,
        "best_step": result.best_step,
        "history": result.history,
        **{name: str(path) if path else None for name, path in saved.items()},
        "stopped": result.stopped,
    }


def _end(task: Task, result: Any, test: dict[str, float]) -> None:
    from archdsl.tasks.pages import figures

    click.echo(f"{result.steps} steps in {result.seconds:.1f} s" + (f", stopped by {result.stopped}" if result.stopped else ""))
    if result.best_step and result.best_step != result.steps:
        click.echo(f"best held out: {figures(task, result.best)} at step {result.best_step}")
    click.echo(f"test: {figures(task, test)}")
    for path in (result.checkpoint, result.best_checkpoint):
        if path:
            click.echo(f"saved {path}")
