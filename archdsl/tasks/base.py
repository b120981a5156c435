"""What a task is: batches made from (seed, step, split) alone, so that order and resuming need no stored state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, Required, TypedDict

if TYPE_CHECKING:
    import numpy as np
    import torch

Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")
IGNORED = -100  # a target that counts for nothing

Input = Literal["tokens", "image", "series"]
Output = Literal["tokens", "class", "values"]


class Batch(TypedDict, total=False):
    """One input and what is asked of it; `Form` says which.

    tokens [B, T] int64, image [B, C, H, W] float32, or series [B, T, C] float32. targets: [B, T] int64 with IGNORED where nothing is asked
    (output "tokens"), [B] int64 ("class"), or float32 in the shape of the output ("values"). lengths [B]: rows are padded on the right.
    depth [B]: how hard each row is, in the task's own measure (`accuracy_by` sorts by it). oracle [B, T, vocab]: the true probabilities of the
    next token.
    """

    tokens: torch.Tensor
    image: torch.Tensor
    series: torch.Tensor
    targets: Required[torch.Tensor]
    lengths: torch.Tensor
    depth: torch.Tensor
    oracle: torch.Tensor


@dataclass(frozen=True, slots=True)
class Form:
    """What a task feeds a model and asks back, the batch axis aside.

    input: the key of the batch's input; shape: of one row. output: "tokens" asks for logits [T, width] at each position, "class" for logits
    [width], once (a model with logits at each position answers at its last), "values" for numbers of shape `answer`.
    """

    input: Input
    shape: tuple[int, ...]
    output: Output
    width: int = 0
    answer: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Measure:
    """One metric: what it is, which way is better, what guessing gives, and the best possible value (None: not known)."""

    doc: str
    best: Literal["min", "max"]
    chance: float | None = None
    ideal: float | None = None


class Task(Protocol):
    """A source of batches. Metrics are plain numbers; "loss" is what training minimises, in nats per asked token or as a mean square.

    vocab: how many token numbers occur (0: the input is not tokens). settings: the options as set, so that a run can tell its task from
    another's.
    """

    name: str
    vocab: int
    settings: Mapping[str, Any]

    @property
    def form(self) -> Form: ...
    @property
    def measures(self) -> Mapping[str, Measure]: ...
    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch: ...
    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor: ...
    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]: ...
    def show(self, batch: Batch, row: int) -> str:
        """A row and its answer, to be read by people."""


@dataclass(frozen=True, slots=True)
class Option:
    """One setting of a task: its default, its bounds if it is a number, its values if these are words, and what it means."""

    default: Any
    doc: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()


Options = Mapping[str, Option]


def generator(seed: int, step: int, split: Split) -> np.random.Generator:
    """The stream of one batch: the same for the same three, on every machine; splits never overlap."""
    import numpy as np

    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, SPLITS.index(split), step])))


def token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats over the asked positions; logits [B, T, V] and targets [B, T], or [B, V] and [B]. Zero if nothing is
    asked."""
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
