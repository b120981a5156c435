"""Training: AdamW on a task's batches, with evaluation on held-out ones, a log, checkpoints, and exact continuation.

Batches depend on (seed, step) only and random layers are seeded anew for each step, so a run that was stopped and resumed is, on the
CPU, equal bit for bit to one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.tasks.base import Batch, Split, Task, token_loss
from archdsl.training import checkpoint
from archdsl.training.config import TrainConfig
from archdsl.training.log import Log, Meter

Objective = Callable[[nn.Module, Batch], torch.Tensor]
Record = dict[str, Any]


@dataclass
class TrainResult:
    """How a run ended. history: one record per evaluation; metrics: the last held-out ones; checkpoint: the newest, if any was written."""

    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[Record] = field(default_factory=list)
    checkpoint: Path | None = None
    seconds: float = 0.0
    stopped: str | None = None


def train(
    model: nn.Module,
    task: Task,
    config: TrainConfig | None = None,
    *,
    objective: Objective | None = None,
    on_eval: Callable[[Record], bool | None] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> TrainResult:
    """Trains a model in place.

    objective(model, batch) gives the scalar to minimise (by default the mean cross-entropy over asked positions). on_eval sees each
    record; returning False ends the run. metadata goes into the checkpoints' weights (the spec's hash). Raises AD0811, AD0812 if the
    loss stops being a number, AD0813 if `resume` finds a checkpoint of another run.
    """
    return _Run(model, task, config or TrainConfig(), objective or cross_entropy, on_eval, dict(metadata or {})).go()


def evaluate(model: nn.Module, task: Task, *, seed: int = 0, batch: int = 32, batches: int = 4, split: Split = "valid") -> dict[str, float]:
    """The task's metrics, averaged over held-out batches."""
    device, training = _device(model), model.training
    model.eval()
    try:
        with torch.no_grad():
            found = [task.metrics(forward(model, b), b) for b in (_to(task.batch(seed, i, batch, split), device) for i in range(batches))]
    finally:
        model.train(training)
    return {key: sum(each[key] for each in found) / len(found) for key in found[0]}


def forward(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Logits [B, T, V] of a batch, with its lengths if it has any."""
    logits = model(batch["tokens"], lengths=batch["lengths"]) if "lengths" in batch else model(batch["tokens"])
    return logits if isinstance(logits, torch.Tensor) else logits[0]


def cross_entropy(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The default objective."""
    return token_loss(forward(model, batch), batch["targets"])


def side_losses(model: nn.Module) -> torch.Tensor | float:
    """The sum of what the spec's `aux` declarations left in the last forward pass."""
    tables: list[Any] = [table for module in model.modules() if isinstance(table := getattr(module, "aux", None), dict)]
    return sum((value.float().mean() for table in tables for value in table.values()), start=0.0)


def optimizer_for(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW that decays matrices and larger tensors only: not biases, gains of norms, or other vectors."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, weight_decay=0.0)


class _Run:
    """One run; `go` is the whole of it."""

    def __init__(self, model: nn.Module, task: Task, config: TrainConfig, objective: Objective, on_eval: Any, metadata: dict[str, str]):
        self.model, self.task, self.config, self.objective, self.on_eval, self.metadata = model, task, config, objective, on_eval, metadata
        if not any(p.requires_grad for p in model.parameters()):
            raise ArchError(Diagnostic("AD0811", "this model has nothing to train", hint="None of its parameters requires a gradient."))
        self.device = _device(model)
        self.optimizer = optimizer_for(model, config)
        self.out = Path(config.out) if config.out is not None else None
        self.result = TrainResult()
        self.lasting = {**config.lasting(), "task": task.name, **{f"meta:{k}": v for k, v in metadata.items()}}

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
        self.result.checkpoint = found[-1]
        self.result.metrics = dict(state.get("metrics", {}))
        self.result.steps = int(state["step"])
        return self.result.steps

    def _steps(self, first: int, tick: Callable[[int, float], None]) -> None:
        config, meter, start = self.config, Meter(), time.perf_counter()
        for step in range(first, config.steps):
            loss, norm, tokens = self._step(step)
            meter.add(loss, norm, tokens)
            tick(step + 1, loss)
            self.result.steps = step + 1
            late = config.max_seconds is not None and time.perf_counter() - start > config.max_seconds
            last = late or step + 1 == config.steps
            if last or (step + 1) % config.eval_every == 0:
                go_on = self._evaluate(step, meter)
                meter = Meter()
                last = last or not go_on
                if not go_on:
                    self.result.stopped = "on_eval"
                if config.save_every == 0 or last:
                    self._save()
            elif config.save_every and (step + 1) % config.save_every == 0:
                self._save()
            if last:
                self.result.stopped = "max_seconds" if late and step + 1 < config.steps else self.result.stopped
                return

    def _step(self, step: int) -> tuple[float, float, int]:
        """One update. Returns the loss, the gradient's norm, and the number of tokens."""
        config = self.config
        torch.manual_seed((config.seed << 31) + step)
        self.model.train()
        batch = _to(self.task.batch(config.seed, step, config.batch, "train"), self.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self.objective(self.model, batch)
            total = loss + side_losses(self.model)
        value = float(total.detach())
        if not isfinite(value):
            raise self._diverged(step, "loss", value)
        total.backward()
        limit = config.clip or float("inf")
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), limit))
        if not isfinite(norm):
            raise self._diverged(step, "gradient's norm", norm)
        self.optimizer.step()
        return float(loss.detach()), norm, batch["tokens"].numel()

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

    def _evaluate(self, step: int, meter: Meter) -> bool:
        config = self.config
        with self._precision():
            found = evaluate(self.model, self.task, seed=config.seed, batch=config.batch, batches=config.eval_batches)
        if not all(isfinite(value) for value in found.values()):
            raise self._diverged(step, "held-out loss", found.get("loss", float("nan")))
        record: Record = {"step": step + 1, "lr": config.rate(step), **meter.record(), "valid": found}
        self.result.metrics = found
        self.result.history.append(record)
        self.log.write(record)
        return self.on_eval is None or self.on_eval(record) is not False

    def _save(self) -> None:
        if self.out is None:
            return
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):  # never replace a good checkpoint by a broken one
            raise self._diverged(self.result.steps - 1, "weights", float("nan"))
        state = {"step": self.result.steps, "config": self.lasting, "metrics": self.result.metrics}
        self.result.checkpoint = checkpoint.save(self.out, self.model, self.optimizer, state, self.config.keep, self.metadata)


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _to(batch: Batch, device: torch.device) -> Batch:
    fields: dict[str, Any] = {**batch}
    moved: Any = {key: value.to(device) for key, value in fields.items()}
    return moved
