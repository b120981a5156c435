"""What a step minimises: the task's loss on the model's outputs, and the side losses that the spec declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from inspect import signature
from typing import Any

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic, suggestion
from archdsl.tasks.base import IGNORED, Batch, Split, Task, token_loss
from archdsl.tasks.forms import at_end

Objective = Callable[[nn.Module, Batch], torch.Tensor]
_INPUTS = ("tokens", "image", "series")


def forward(model: nn.Module, batch: Batch) -> torch.Tensor:
    """The model's first output for a batch. It gets the rows' lengths if it takes any (else it sees the padding as tokens)."""
    fields: Mapping[str, Any] = batch
    given = fields[next(key for key in _INPUTS if key in fields)]
    ragged = "lengths" in fields and "lengths" in signature(model.forward).parameters
    outputs = model(given, lengths=fields["lengths"]) if ragged else model(given)
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def cross_entropy(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy in nats over the asked positions: the objective of token tasks."""
    return token_loss(forward(model, batch), batch["targets"])


def objective_of(task: Task) -> Objective:
    """The task's own loss."""
    return lambda model, batch: task.loss(forward(model, batch), batch)


def side_terms(model: nn.Module) -> dict[str, torch.Tensor]:
    """What the spec's `aux` declarations left in the last forward pass, by path: `layers.0.router.balance`. Scalars."""
    return {
        f"{path}.{name}" if path else name: value.float().mean()
        for path, module in model.named_modules()
        if isinstance(table := vars(module).get("aux"), dict)
        for name, value in table.items()
    }


def weighted(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor | float:
    """The weighted sum of side losses.

    weights: pattern -> weight; `*` stands for anything, and a pattern also means all that lies below it ("layers.*.router" takes
    layers.0.router.balance). The last pattern that fits counts; what none fits has weight 1.
    """
    return sum((weight_of(path, weights) * value for path, value in terms.items()), start=0.0)


def weight_of(path: str, weights: Mapping[str, float]) -> float:
    """The weight of one side loss."""
    fitting = [weight for pattern, weight in weights.items() if fits(path, pattern)]
    return fitting[-1] if fitting else 1.0


def fits(path: str, pattern: str) -> bool:
    """Whether a pattern means a side loss, or a part that it lies in."""
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")


def check_sides(model: nn.Module, weights: Mapping[str, float]) -> None:
    """Raises AD0816 for a pattern that means no side loss of the last forward pass."""
    paths = list(side_terms(model))
    for pattern in weights:
        if not any(fits(path, pattern) for path in paths):
            known = f"Side losses: {', '.join(paths)}." if paths else "This model has no side losses (`aux name = …` declares one)."
            raise ArchError(Diagnostic("AD0816", f"no side loss is at `{pattern}`", note=known, hint=suggestion(pattern, paths)))


def evaluate(model: nn.Module, task: Task, *, seed: int = 0, batch: int = 32, batches: int = 4, split: Split = "valid") -> dict[str, float]:
    """The task's metrics, averaged over held-out batches."""
    device, training = device_of(model), model.training
    model.eval()
    try:
        with torch.no_grad():
            found = [task.metrics(forward(model, b), b) for b in (moved(task.batch(seed, i, batch, split), device) for i in range(batches))]
    finally:
        model.train(training)
    return {key: sum(each[key] for each in found) / len(found) for key in found[0]}


def accuracy_by(
    model: nn.Module, task: Task, *, seed: int = 0, batch: int = 64, batches: int = 8, split: Split = "test"
) -> dict[int, tuple[float, int]]:
    """Share of rows answered wholly right at each depth that the task's batches tell (its `depth`), and the number of rows there.

    Raises AD0814 for a task whose batches tell no depth.
    """
    device, training = device_of(model), model.training
    rights: dict[int, list[bool]] = {}
    model.eval()
    try:
        with torch.no_grad():
            for i in range(batches):
                rows = moved(task.batch(seed, i, batch, split), device)
                if "depth" not in rows:
                    raise ArchError(Diagnostic("AD0814", f"the task {task.name} does not say how deep its rows are"))
                right = rows_right(forward(model, rows), rows)
                for depth, good in zip(rows["depth"].tolist(), right.tolist()):
                    rights.setdefault(depth, []).append(good)
    finally:
        model.train(training)
    return {depth: (sum(found) / len(found), len(found)) for depth, found in sorted(rights.items())}


def rows_right(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Whether each row is right everywhere it is asked: [B] of bool."""
    targets = batch["targets"]
    right = (at_end(outputs, batch).argmax(-1) == targets) | (targets == IGNORED)
    return right if right.dim() == 1 else right.all(-1)


def device_of(model: nn.Module) -> torch.device:
    """Where a model's weights are."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    fields: dict[str, Any] = {**batch}
    found: Any = {key: value.to(device) for key, value in fields.items()}
    return found
