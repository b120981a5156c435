"""Losses that keep a router's experts evenly used. They look at all positions of the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def expert_load(logits: Tensor, k: int) -> Tensor:
    """The share of top-k choices that each expert gets, [E], adding up to 1."""
    chosen = logits.detach().reshape(-1, logits.shape[-1]).topk(k, -1).indices
    return F.one_hot(chosen, logits.shape[-1]).to(logits.dtype).mean((0, 1))


def balance_loss(logits: Tensor, k: int, router: str) -> Tensor:
    """Load-balancing loss of a router with logits [..., E]: a scalar, 1 when softmax routing is even.

    topk (Fedus et al., 2022): E * sum of share chosen * mean probability.
    relu (Wang et al., 2024): E / k * sum of share active * mean gate.
    """
    rows = logits.reshape(-1, logits.shape[-1])
    if router == "relu":
        gates = rows.relu()
        return logits.shape[-1] / k * ((gates.detach() > 0).to(rows.dtype).mean(0) * gates.mean(0)).sum()
    wide = torch.float64 if rows.dtype == torch.float64 else torch.float32
    return logits.shape[-1] * (expert_load(rows, k) * rows.softmax(-1, dtype=wide).mean(0)).sum()


def z_loss(logits: Tensor) -> Tensor:
    """Mean of logsumexp(logits)^2 over all positions: keeps a router's logits small (Zoph et al., 2022)."""
    return logits.logsumexp(-1).square().mean()
