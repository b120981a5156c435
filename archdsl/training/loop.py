"""Training: an optimizer on a task's batches, with evaluation on held-out ones, a log, checkpoints, and exact continuation.

Batches depend on (seed, step) only and random layers are seeded anew for each step, so a run that was stopped and resumed is, on the
CPU, equal bit for bit to one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.tasks.base import Batch, Task
from archdsl.training import checkpoint
from archdsl.training.config import TrainConfig
from archdsl.training.log import Log, Meter
from archdsl.training.objective import (
    Objective,
    check_sides,
    cross_entropy,
    device_of,
    evaluate,
    forward,
    moved,
    objective_of,
    side_terms,
    weighted,
)
from archdsl.training.optimizers import optimizer_for
from archdsl.training.stages import Stage

__all__ = ["TrainResult", "cross_entropy", "evaluate", "forward", "optimizer_for", "train"]

Record = dict[str, Any]


@dataclass
class TrainResult:
    """How a run ended.

    metrics: the last held-out ones; history: one record per evaluation. best: the held-out metrics where config.metric was best, at step
    best_step. checkpoint, best_checkpoint: the newest and the best, if they were written. stopped: what ended the run early (on_eval,
    report, patience, until, max_seconds), or None.
    """

    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    best: dict[str, float] = field(default_factory=dict)
    best_step: int = 0
    checkpoint: Path | None = None
    best_checkpoint: Path | None = None
    seconds: float = 0.0
    stopped: str | None = None


def train(
    model: nn.Module,
    task: Task,
    config: TrainConfig | None = None,
    *,
    objective: Objective | None = None,
    on_eval: Callable[[Record], bool | None] | None = None,
    report: Callable[[int, float], bool] | None = None,
    on_step: Callable[[int, nn.Module], None] | None = None,
    stages: Sequence[Stage] = (),
    metadata: Mapping[str, str] | None = None,
) -> TrainResult:
    """Trains a model in place.

    objective(model, batch) gives the scalar to minimise (by default the task's loss). on_eval sees each record; returning False ends the
    run. report(step, value) sees config.metric after each evaluation; returning True ends the run (a search that prunes). on_step(step,
    model) is called before each step with the module that is about to train: for schedules. stages: what archdsl.training.curriculum gives;
    evaluation always uses `model` itself. metadata goes into the checkpoints' weights (the spec's name and structure hash), and a
    checkpoint with other metadata is not resumed.

    Raises AD0811, AD0812 if the loss stops being a number, AD0813 if `resume` finds a checkpoint of another run, AD0816 for side losses
    that are not there.
    """
    hooks = _Hooks(objective or objective_of(task), on_eval, report, on_step, tuple(stages))
    return _Run(model, task, config or TrainConfig(), hooks, dict(metadata or {})).go()


@dataclass(frozen=True)
class _Hooks:
    objective: Objective
    on_eval: Callable[[Record], bool | None] | None
    report: Callable[[int, float], bool] | None
    on_step: Callable[[int, nn.Module], None] | None
    stages: tuple[Stage, ...]


class _Run:
    """One run; `go` is the whole of it."""

    def __init__(self, model: nn.Module, task: Task, config: TrainConfig, hooks: _Hooks, metadata: dict[str, str]):
        self.model, self.task, self.config, self.hooks, self.metadata = model, task, config, hooks, metadata
        if not any(p.requires_grad for p in model.parameters()):
            raise ArchError(Diagnostic("AD0811", "this model has nothing to train", hint="None of its parameters requires a gradient."))
        if config.metric not in task.measures:
            known = ", ".join(task.measures)
            title = f"the task {task.name} has no metric `{config.metric}`"
            raise ArchError(Diagnostic("AD0811", title, note=f"It has {known}.", hint=suggestion(config.metric, task.measures)))
        self.sign = 1 if task.measures[config.metric].best == "max" else -1
        self.device = device_of(model)
        self.optimizer = optimizer_for(model, config)
        self.out = Path(config.out) if config.out is not None else None
        self.result = TrainResult()
        self.stale = 0  # evaluations since the best one
        stages = {"stages": [stage.until for stage in hooks.stages]} if hooks.stages else {}
        told = {"task": task.name, "task_settings": dict(task.settings), **{f"meta:{k}": v for k, v in metadata.items()}}
        self.lasting = {**config.lasting(), **stages, **told}

    def go(self) -> TrainResult:
        start, training = time.perf_counter(), self.model.training
        first = self._begin()
        self.log = Log(self.out, first, self.config)
        devices = [self.device] if self.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices=devices), self.log.progress(first) as tick:
                self._steps(first, tick)
        finally:
            self.log.close()
            self.model.train(training)
        self.result.seconds = time.perf_counter() - start
        return self.result

    def _begin(self) -> int:
        """The step to begin with; sets everything from the newest checkpoint when resuming."""
        found = checkpoint.checkpoints(self.out) if self.out else []
        if not found:
            return 0
        if not self.config.resume:
            hint = "Resume it (resume=True), or choose another folder `out`."
            raise ArchError(
                Diagnostic("AD0813", f"`{self.out}` already holds a run", note=f"Its newest checkpoint is {found[-1]}.", hint=hint)
            )
        state = checkpoint.load(found[-1], self.model, self.optimizer, self.lasting)
        result = self.result
        result.checkpoint = found[-1]
        result.metrics, result.best = dict(state.get("metrics", {})), dict(state.get("best", {}))
        result.steps, result.best_step, self.stale = int(state["step"]), int(state.get("best_step", 0)), int(state.get("stale", 0))
        if self.config.metric not in result.best:  # it was another metric that was followed before
            result.best, result.best_step, self.stale = {}, 0, 0
        best = found[-1].parent / checkpoint.BEST
        result.best_checkpoint = best if best.is_dir() else None
        return result.steps

    def _steps(self, first: int, tick: Callable[[int, float], None]) -> None:
        config, meter, start = self.config, Meter(), time.perf_counter()
        for step in range(first, config.steps):
            loss, norm, tokens, sides = self._step(step, first)
            meter.add(loss, norm, tokens, sides)
            tick(step + 1, loss)
            self.result.steps = step + 1
            late = config.max_seconds is not None and time.perf_counter() - start > config.max_seconds
            last = late or step + 1 == config.steps
            if last or (step + 1) % config.eval_every == 0:
                why = self._evaluate(step, meter)
                meter = Meter()
                self.result.stopped = why or ("max_seconds" if late and step + 1 < config.steps else None)
                last = last or why is not None
                if config.save_every == 0 or last:
                    self._save()
            elif config.save_every and (step + 1) % config.save_every == 0:
                self._save()
            if last:
                return

    def _stage(self, step: int) -> nn.Module:
        """The module that trains at a step."""
        done = step / max(1, self.config.steps)
        return next((stage.model for stage in self.hooks.stages if done < stage.until), self.model)

    def _step(self, step: int, first: int) -> tuple[float, float, int, dict[str, float]]:
        """One update. Returns the loss, the gradient's norm, the number of asked-of numbers (tokens), and the side losses."""
        config, model = self.config, self._stage(step)
        torch.manual_seed((config.seed << 31) + step)
        model.train()
        if self.hooks.on_step is not None:
            self.hooks.on_step(step, model)
        batch = moved(self.task.batch(config.seed, step, config.batch, "train"), self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self.hooks.objective(model, batch)
            sides = side_terms(model)
            total = loss + weighted(sides, config.sides)
        if step == first and config.sides:
            check_sides(model, config.sides)
        value = float(total.detach())
        if not isfinite(value):
            raise self._diverged(step, "loss", value)
        total.backward()
        limit = config.clip or float("inf")
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        if not isfinite(norm):
            raise self._diverged(step, "gradient's norm", norm)
        self.optimizer.step()
        return float(loss.detach()), norm, _numbers(batch), {path: float(side.detach()) for path, side in sides.items()}

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16) if self.config.precision == "bfloat16" else nullcontext()

    def _diverged(self, step: int, what: str, value: float) -> ArchError:
        kept = self.result.checkpoint
        return ArchError(
            Diagnostic(
                "AD0812",
                f"the {what} became {value} at step {step}",
                note=f"The last good checkpoint is kept: {kept}" if kept else "No checkpoint was written before.",
                hint=f"Try a smaller lr (it was {self.config.rate(step):g}), a longer warmup, or a smaller clip.",
            )
        )

    def _evaluate(self, step: int, meter: Meter) -> str | None:
        """Measures, logs and asks; what ends the run here, if anything does."""
        config, result = self.config, self.result
        with self._precision():
            found = evaluate(self.model, self.task, seed=config.seed, batch=config.batch, batches=config.eval_batches)
        if not all(isfinite(value) for value in found.values()):
            raise self._diverged(step, "held-out loss", found.get("loss", float("nan")))
        record: Record = {"step": step + 1, "lr": config.rate(step), **meter.record(), "valid": found}
        result.metrics = found
        result.history.append(record)
        self.log.write(record)
        value = found[config.metric]
        self._follow(step + 1, value, found)
        if self.hooks.on_eval is not None and self.hooks.on_eval(record) is False:
            return "on_eval"
        if self.hooks.report is not None and self.hooks.report(step + 1, value):
            return "report"
        if config.until is not None and self.sign * value >= self.sign * config.until:
            return "until"
        return "patience" if config.patience and self.stale >= config.patience else None

    def _follow(self, step: int, value: float, found: dict[str, float]) -> None:
        """Remembers the best evaluation, and keeps its weights if that is wanted."""
        result = self.result
        self.stale += 1
        if result.best and self.sign * value <= self.sign * result.best[self.config.metric]:
            return
        result.best, result.best_step, self.stale = found, step, 0
        if self.config.keep_best and self.out is not None:
            self._sound()
            state = {"step": step, "config": self.lasting, "metrics": found}
            result.best_checkpoint = checkpoint.save_best(self.out, self.model, state, self.metadata)

    def _sound(self) -> None:
        """Never replace a good checkpoint by a broken one."""
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise self._diverged(self.result.steps - 1, "weights", float("nan"))

    def _save(self) -> None:
        if self.out is None:
            return
        self._sound()
        result = self.result
        state = {"step": result.steps, "config": self.lasting, "metrics": result.metrics}
        state |= {"best": result.best, "best_step": result.best_step, "stale": self.stale}
        result.checkpoint = checkpoint.save(self.out, self.model, self.optimizer, state, self.config.keep, self.metadata)


def _numbers(batch: Batch) -> int:
    """How many tokens, pixels or values went in."""
    fields: Mapping[str, Any] = batch
    return sum(int(fields[key].numel()) for key in ("tokens", "image", "series") if key in fields)
