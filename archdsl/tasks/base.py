"""What a task is: batches made from (seed, step, split) alone, so that order and resuming need no stored state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NotRequired, Protocol, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import torch

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
IGNORED = -100  # a target that counts for nothing


class Batch(TypedDict):
    """tokens [B, T] int64; targets [B, T] int64, IGNORED where nothing is asked; lengths [B] if rows are padded on the right."""

    tokens: torch.Tensor
    targets: torch.Tensor
    lengths: NotRequired[torch.Tensor]


class Task(Protocol):
    """A source of batches. `vocab`: how many token numbers occur. `metrics` are plain numbers; "loss" is in nats per asked token."""

    name: str
    vocab: int

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch: ...
    def metrics(self, logits: torch.Tensor, batch: Batch) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a task: its default, its bounds if it is a number, and what it means."""

    default: Any
    doc: str
    least: float | None = None
    most: float | None = None


Options = Mapping[str, Option]


def generator(seed: int, step: int, split: Split) -> np.random.Generator:
    """The stream of one batch: the same for the same three, on every machine; splits never overlap."""
    import numpy as np

    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SPLITS.index(split), step])))


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the asked positions; logits [B, T, V], targets [B, T]. Zero if nothing is asked."""
    from torch.nn.functional import cross_entropy

    asked = (targets != IGNORED).sum().clamp(min=1)
    return cross_entropy(logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum") / asked


def token_metrics(logits: torch.Tensor, batch: Batch) -> dict[str, float]:
    """loss, accuracy over asked positions, and the share of rows with every asked position right."""
    targets = batch["targets"]
    asked = targets != IGNORED
    right = (logits.argmax(-1) == targets) & asked
    whole = right.sum(-1) == asked.sum(-1)
    return {
        "loss": float(token_loss(logits, targets)),
        "accuracy": float(right.sum() / asked.sum().clamp(min=1)),
        "rows_right": float(whole.float().mean()),
    }
