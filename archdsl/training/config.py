"""The settings of a training run, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from archdsl.diagnostics import ArchError, Collector, Diagnostic

Schedule = Literal["constant", "linear", "cosine"]
_SCHEDULES = ("constant", "linear", "cosine")
_PRECISIONS = ("float32", "bfloat16")
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
# Settings that may differ between a run and its continuation. All but `steps` leave what is computed as it is; a run may be longer, and
# then follows the longer schedule from where it stands.
_FREE = (
    *("steps", "out", "resume", "keep", "keep_best", "save_every", "max_seconds", "progress", "eval_every", "eval_batches"),
    *("metric", "patience", "until"),
)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A run.

    steps, batch: optimizer steps, and rows in each. lr rises linearly over `warmup` steps and then follows `schedule` down to
    final_lr * lr at the last step. optimizer: adamw (Loshchilov and Hutter 2017, arXiv:1711.05101), adam, sgd or rmsprop, with
    weight_decay, and betas or momentum where it takes them. clip: largest gradient norm (0: no limit). precision: "bfloat16" computes in
    autocast with float32 weights. sides: weights of the spec's side losses by path pattern, {"layers.*.router": 0.01}; 1 where none fits.
    eval_every, eval_batches: how often, and on how many held-out batches.

    metric: the held-out metric that `patience`, `until`, `keep_best` and train's `report` look at. patience: stop after so many
    evaluations without a better value (0: never). until: stop once the metric is at least this good. max_seconds: stop early.

    out: folder for log.jsonl and checkpoints (None: nothing is written); save_every: steps between checkpoints (0: at each evaluation);
    keep: how many checkpoints stay; keep_best: the best weights stay too, in the folder `best`. resume: go on from the newest checkpoint.
    """

    steps: int = 1000
    batch: int = 32
    lr: float = 1e-3
    warmup: int = 0
    schedule: Schedule = "cosine"
    final_lr: float = 0.1
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    optimizer: str = "adamw"
    momentum: float = 0.9
    clip: float = 1.0
    sides: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    precision: str = "float32"
    eval_every: int = 100
    eval_batches: int = 4
    out: Path | str | None = None
    save_every: int = 0
    keep: int = 2
    keep_best: bool = False
    metric: str = "loss"
    patience: int = 0
    until: float | None = None
    resume: bool = False
    max_seconds: float | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        rules = (
            ("steps", _whole(self.steps, 0), "a whole number, 0 or above"),
            ("batch", _whole(self.batch, 1), "a whole number, 1 or above"),
            ("lr", 0 < self.lr <= 1e6, "above 0 and at most 1e6"),
            ("warmup", _whole(self.warmup, 0), "a whole number, 0 or above"),
            ("schedule", self.schedule in _SCHEDULES, f"one of {', '.join(_SCHEDULES)}"),
            ("final_lr", 0 <= self.final_lr <= 1, "between 0 and 1 (a share of lr)"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 or above"),
            ("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers from 0 to below 1"),
            ("optimizer", self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            ("momentum", 0 <= self.momentum < 1, "from 0 to below 1"),
            ("sides", all(math.isfinite(weight) for weight in self.sides.values()), "finite weights"),
            ("patience", _whole(self.patience, 0), "a whole number, 0 or above"),
            ("keep_best", not self.keep_best or self.out is not None, "false when no folder `out` is given"),
            ("clip", 0 <= self.clip < math.inf, "0 or above"),
            ("seed", _whole(self.seed, 0) and self.seed < 1 << 32, "a whole number from 0 to below 2^32"),
            ("precision", self.precision in _PRECISIONS, f"one of {', '.join(_PRECISIONS)}"),
            ("eval_every", _whole(self.eval_every, 1), "a whole number, 1 or above"),
            ("eval_batches", _whole(self.eval_batches, 1), "a whole number, 1 or above"),
            ("save_every", _whole(self.save_every, 0), "a whole number, 0 or above"),
            ("keep", _whole(self.keep, 1), "a whole number, 1 or above"),
            ("resume", not self.resume or self.out is not None, "false when no folder `out` is given"),
            ("max_seconds", self.max_seconds is None or self.max_seconds > 0, "above 0"),
        )
        found = Collector()
        for name, good, words in rules:
            if not good:
                found.add(Diagnostic("AD0811", f"the training setting `{name}` is {getattr(self, name)!r}; it must be {words}"))
        found.check()

    def lasting(self) -> dict[str, Any]:
        """The settings that a continued run must share, as JSON data."""
        kept = {key: value for key, value in asdict(self).items() if key not in _FREE}
        kept["betas"] = list(self.betas)
        return kept

    def rate(self, step: int) -> float:
        """The learning rate of a step (from 0)."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        done = min(1.0, (step - self.warmup) / max(1, self.steps - 1 - self.warmup))
        share = 1 - done if self.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
        return self.lr * (self.final_lr + (1 - self.final_lr) * share)


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def other_run(what: str, folder: Path, hint: str) -> ArchError:
    """AD0813: a checkpoint that does not belong to this run, or is damaged."""
    return ArchError(Diagnostic("AD0813", what, note=f"Checkpoint: {folder}", hint=hint))
