"""Learning through a choice that nothing passes back through: the score-function estimate, with the baseline of least variance.

For a gate h that is 1 with probability p = sigmoid(a), (h - p) (L - b) estimates dE[L]/da without bias for any b that does not depend on h;
b = E[(h - p)^2 L] / E[(h - p)^2] has the least variance (Bengio et al., arXiv:1308.3432). A spec's block `Fire` gives log P(h) beside h, from
which this follows.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Baseline:
    """Running averages, per gate, of both sides of the best baseline. keep: how much of the past stays with each batch."""

    def __init__(self, keep: float = 0.99):
        self.keep = keep
        self.weighted: Tensor | None = None
        self.weight: Tensor | None = None

    def value(self, logp: Tensor) -> Tensor:
        """The baseline of each gate; 0 before the first update."""
        if self.weighted is None or self.weight is None:
            return torch.zeros_like(logp[0])
        return self.weighted / self.weight.clamp(min=1e-12)

    @torch.no_grad()
    def update(self, losses: Tensor, logp: Tensor) -> None:
        """Takes in a batch: losses [B], logp [B, ...]."""
        squared = (1 - logp.exp()).square()  # (h - p)^2, whichever way h fell
        both = (squared * _along(losses, logp)).mean(0), squared.mean(0)
        if self.weighted is None or self.weight is None:
            self.weighted, self.weight = both
        else:
            self.weighted, self.weight = self.weighted.lerp(both[0], 1 - self.keep), self.weight.lerp(both[1], 1 - self.keep)


def surrogate(losses: Tensor, logp: Tensor, baseline: Baseline | None = None) -> Tensor:
    """A scalar whose gradient is the estimate of the mean loss's gradient. losses [B], one a sample; logp [B, ...], log P of each draw.

    The baseline is that of earlier batches, so the estimate stays unbiased; this batch is taken in afterwards.
    """
    reward = _along(losses.detach(), logp)
    if baseline is not None:
        reward = reward - baseline.value(logp.detach())
        baseline.update(losses.detach(), logp.detach())
    return (reward * logp).sum() / len(losses)


def _along(losses: Tensor, logp: Tensor) -> Tensor:
    return losses.view(-1, *[1] * (logp.dim() - 1))
