"""Deep supervision of a recursion: many steps on one batch, what is carried detached in between, losses with falling weights.

With a curriculum over its depth (`archdsl.training.stages`) this is curriculum-guided adaptive recursion (CGAR, arXiv:2511.08653) for models such
as specs/sequence/trm.arch, which take (tokens, answer, latent) and give (logits, stop, answer, latent).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

Settings = Mapping[str, int]
# The paper's schedule: up to which share of training the loops run how often; then the model as it is, n=6 and cycles=3.
CGAR: tuple[tuple[float, Settings], ...] = ((0.3, {"n": 2, "cycles": 1}), (0.6, {"n": 4, "cycles": 2}))
FULL: Settings = {"n": 6, "cycles": 3}


def calls(settings: Settings) -> int:
    """How often the net of a tiny recursive model runs in one supervision step: n + 1 times in each cycle."""
    return settings["cycles"] * (settings["n"] + 1)


def mean_cost(plan: Sequence[tuple[float, Settings]], full: Settings, cost: Callable[[Settings], float] = calls) -> float:
    """The mean cost of a step over a whole run under a plan, relative to running at full depth throughout."""
    total, begin = 0.0, 0.0
    for until, settings in [*plan, (1.0, full)]:
        total += (until - begin) * cost(settings) / cost(full)
        begin = until
    return total


def supervision_weights(count: int, decay: float = 0.7) -> list[float]:
    """Weights of the losses of `count` supervision steps: each `decay` times the one before, together 1."""
    weights = [decay**i for i in range(count)]
    return [w / sum(weights) for w in weights]


def supervise(
    model: nn.Module,
    tokens: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    carry: tuple[Tensor, Tensor],
    weights: Sequence[float],
    update: Callable[[Tensor], None],
) -> list[float]:
    """For each weight one forward pass of tokens [B, T], loss(logits, stop) times the weight, and update(that). Returns the plain losses."""
    losses = []
    for weight in weights:
        logits, stop, *after = model(tokens, *carry)
        value = loss(logits, stop)
        losses.append(float(value.detach()))
        update(weight * value)
        carry = (after[0].detach(), after[1].detach())
    return losses


def blank(tokens: Tensor, d: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """An answer and a latent to begin with: zeros [B, T, d]."""
    zeros = torch.zeros(*tokens.shape, d, device=tokens.device, dtype=dtype)
    return zeros, zeros.clone()


__all__ = ["CGAR", "FULL", "blank", "calls", "mean_cost", "supervise", "supervision_weights"]
