"""`archdsl train`: a small, real training run on a task with exact answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archdsl.cli.failure import echo_json, fail
from archdsl.cli.models import device_option, make, max_params_option, seed_option, threads_option
from archdsl.cli.options import json_option, load_spec, pairs, spec_options
from archdsl.cli.runs import keep

if TYPE_CHECKING:
    from archdsl.api import Spec
    from archdsl.tasks import Task


@click.command()
@click.argument("file")
@click.option("--task", "task_name", required=True, metavar="NAME", help="mqar, chars, copy or selective_copy.")
@click.option("--data", metavar="FILE", help="The text for chars (by default one that is on this machine).")
@click.option("--option", "task_options", multiple=True, metavar="NAME=VALUE", help="An option of the task: pairs=8. May be repeated.")
@click.option("--steps", type=click.IntRange(min=0), default=500, show_default=True, help="Optimizer steps.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Rows in a step.")
@click.option("--seq", type=click.IntRange(min=1), help="Tokens in a row (by default the task's).")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--warmup", type=click.IntRange(min=0), default=0, show_default=True, help="Steps in which the learning rate rises.")
@click.option(
    "--eval-every", type=click.IntRange(min=1), default=100, show_default=True, help="Steps between evaluations on held-out data."
)
@click.option("--max-seconds", type=float, help="Stop early, after this many seconds.")
@click.option("--save", metavar="DIR", help="Folder for the log, checkpoints and, for chars, the tokenizer.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --save.")
@spec_options
@device_option
@seed_option
@threads_option
@max_params_option
@json_option
def train(
    file: str,
    task_name: str,
    data: str | None,
    task_options: tuple[str, ...],
    save: str | None,
    resume: bool,
    seq: int | None,
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
    """Train a language model from scratch. A parameter `vocab` of the arch is set to what the task needs, unless --set gives it.

    \b
    Examples:
      archdsl train tiny.arch --task mqar --option vocab=64 --option pairs=4 --steps 500
      archdsl train tiny.arch --task chars --data book.txt --save runs/tiny
      archdsl train tiny.arch --task chars --data book.txt --save runs/tiny --resume --steps 2000
    """
    if resume and save is None:
        raise click.UsageError("--resume needs --save.")
    task = _task(task_name, data, seq, task_options)
    settings = _with_vocab(file, settings, arch, root, task.vocab)
    spec = load_spec(file, settings, arch, root)
    check_task(spec, task)
    model = make(spec, device=device, dtype="float32", seed=seed, threads=threads, max_params=max_params)
    if not as_json:
        click.echo(f"{spec.name}: {spec.parameters:,} parameters; task {task.name}, {task.vocab} tokens; {run['steps']} steps")

    from archdsl.training import TrainConfig
    from archdsl.training import train as run_training

    config = TrainConfig(out=save, resume=resume, seed=seed, progress=not as_json, **run)
    if save is not None:
        keep(Path(save), settings, getattr(task, "tokenizer", None))
    result = run_training(model, task, config, on_eval=None if as_json else _say, metadata={"spec": spec.name})
    if as_json:
        done = {
            "name": spec.name,
            "parameters": spec.parameters,
            "task": task.name,
            "steps": result.steps,
            "seconds": round(result.seconds, 2),
        }
        saved = str(result.checkpoint) if result.checkpoint else None
        echo_json(
            {"ok": True, **done, "metrics": result.metrics, "history": result.history, "checkpoint": saved, "stopped": result.stopped}
        )
        return
    click.echo(f"{result.steps} steps in {result.seconds:.1f} s" + (f", stopped by {result.stopped}" if result.stopped else ""))
    if result.checkpoint:
        click.echo(f"saved {result.checkpoint}")


def _task(name: str, data: str | None, seq: int | None, texts: tuple[str, ...]) -> Task:
    from archdsl.tasks import get_task

    options: dict[str, Any] = dict(pairs(texts, "--option"))
    if data is not None:
        if name != "chars":
            raise click.UsageError("--data is for --task chars.")
        options.setdefault("text", data)
    if seq is not None:
        options.setdefault("length", seq)
    return get_task(name, **options)


def _with_vocab(file: str, settings: tuple[str, ...], arch: str | None, root: str | None, vocab: int) -> tuple[str, ...]:
    """The settings, with vocab=… of the task where the arch has such a parameter and the user did not set it."""
    from archdsl.api import find, pick_arch
    from archdsl.language.loader import Loader

    if file == "-":
        raise click.UsageError("train reads its spec from a file.")
    decl = pick_arch(Loader(Path(root) if root else None).load(find(file)), arch)
    if "vocab" not in [p.name for p in decl.parameters] or "vocab" in pairs(settings, "--set"):
        return settings
    return (*settings, f"vocab={vocab}")


def check_task(spec: Spec, task: Task) -> None:
    """Raises AD0911 if a model cannot be trained on tokens: its input and output must be int[T] and [T, vocab]."""
    inputs, outputs = spec.graph.root.inputs, spec.graph.root.outputs
    kind, last = inputs[0].type if inputs else None, outputs[0].type if outputs else None
    if kind is None or kind.kind != "int" or kind.rank != 1 or last is None or last.rank != 2:
        raise fail(
            "AD0911",
            f"{spec.name} is not a language model, so it cannot be trained on {task.name}",
            note=f"It takes {', '.join(str(v.type) for v in inputs) or 'nothing'} and gives {', '.join(str(v.type) for v in outputs)}.",
            hint="The tasks need `in tokens: int[T]` and an output [T, vocab].",
        )
    width = last.sizes[1]
    if isinstance(width, int) and width < task.vocab:
        raise fail(
            "AD0911",
            f"the task {task.name} has {task.vocab} tokens; {spec.name} gives logits for {width}",
            hint=f"Set the model's vocabulary to at least {task.vocab}, or the task's with `--option vocab={width}`.",
        )


def _say(record: dict[str, Any]) -> None:
    held = ", ".join(f"{name} {value:.4f}" for name, value in record["valid"].items())
    click.echo(f"step {record['step']:>6}  loss {record['loss']:.4f}  held out: {held}  {record['tokens_per_second']:,.0f} tokens/s")
