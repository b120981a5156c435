"""Connectionist temporal classification (Graves et al., 2006): learning and reading labels whose places in time are not given."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def ctc_loss(logits: Tensor, targets: Tensor, counts: Tensor, lengths: Tensor | None = None, blank: int = -1) -> Tensor:
    """-log of the chance that the frames spell the targets: one number per sequence, in nats.

    logits [B, classes, T]; targets [B, S], of which counts [B] are real; lengths [B]: real frames (all T if left out). Class `blank` is no
    label. A sequence with too few frames for its targets counts zero.
    """
    import torch
    import torch.nn.functional as F

    classes, frames = logits.shape[1:]
    lengths = torch.full_like(counts, frames) if lengths is None else lengths
    scores = logits.log_softmax(1).permute(2, 0, 1)
    return F.ctc_loss(scores, targets, lengths, counts, blank % classes, reduction="none", zero_infinity=True)


def focal_ctc_loss(
    logits: Tensor, targets: Tensor, counts: Tensor, lengths: Tensor | None = None, blank: int = -1, alpha: float = 0.25, gamma: float = 0.5
) -> Tensor:
    """The same where easy sequences weigh less: alpha (1 - p)^gamma times -log p (Lin et al., arXiv:1708.02002; Easter2.0, arXiv:2205.14879)."""
    import torch

    plain = ctc_loss(logits, targets, counts, lengths, blank)
    weight: Tensor = alpha * (-torch.expm1(-plain)).clamp(min=1e-12) ** gamma
    return weight * plain


def greedy_labels(logits: Tensor, lengths: Tensor | None = None, blank: int = -1) -> list[list[int]]:
    """The labels that the best class of each frame spells: repeats joined, blanks left out. logits [B, classes, T]; lengths [B]."""
    best = logits.argmax(1).tolist()
    ends = lengths.tolist() if lengths is not None else [len(row) for row in best]
    none = blank % logits.shape[1]
    return [[label for label, _ in groupby(row[:end]) if label != none] for row, end in zip(best, ends)]


__all__ = ["ctc_loss", "focal_ctc_loss", "greedy_labels"]
