"""Routers: one weight per expert and position (zero where the expert is not used), and running the experts that are.

logits and gates are [batch, ..., experts]; x is [batch, ..., d].
"""

from __future__ import annotations

import math

import torch
import torch.nn as nn
from torch import Tensor


def gate_topk(logits: Tensor, k: int, normalise: bool, capacity: float | None = None) -> Tensor:
    """Softmax over the experts, the k largest kept (Shazeer et al., 2017), scaled to sum 1 if `normalise`.

    capacity: no expert takes more than capacity * positions * k / experts; later positions are dropped (Fedus et al., 2021).
    """
    weights = logits.softmax(-1)
    values, chosen = weights.topk(k, -1)
    if normalise:
        values = values / values.sum(-1, keepdim=True)
    gates = torch.zeros_like(weights).scatter(-1, chosen, values)
    if capacity is None or gates.dim() < 3:
        return gates
    room = math.ceil(capacity * gates.shape[-2] * k / gates.shape[-1])
    return gates * ((gates > 0).cumsum(-2) <= room)


def gate_hash(logits: Tensor, k: int) -> Tensor:
    """The k largest entries, each with weight 1 / k, whatever their size (Roller et al., 2021: a fixed assignment)."""
    return torch.zeros_like(logits).scatter(-1, logits.topk(k, -1).indices, 1.0 / k)


def gate_expert_choice(logits: Tensor, capacity: float, lengths: Tensor | None = None) -> Tensor:
    """Each expert takes its ceil(capacity * positions / experts) best positions along axis -2 (Zhou et al., 2022)."""
    scores = logits.softmax(-1)
    ranked = scores
    if lengths is None:
        room: int | Tensor = math.ceil(capacity * scores.shape[-2] / scores.shape[-1])
    else:
        shape = (-1, *[1] * (scores.dim() - 1))
        padding = torch.arange(scores.shape[-2], device=scores.device)[:, None] >= lengths.view(shape)
        ranked = scores.masked_fill(padding, -1.0)
        room = (lengths * capacity / scores.shape[-1]).ceil().view(shape)
    place = ranked.argsort(dim=-2, descending=True, stable=True).argsort(dim=-2)
    return torch.where((place < room) & (ranked >= 0), scores, 0.0)


def dispatch(experts: nn.ModuleList, x: Tensor, gates: Tensor, rank: int) -> Tensor:
    """Sum of the experts' results weighted by their gates; each expert runs only on the rows that use it. rank: axes of x beside the batch.

    While compiling or exporting every expert runs on every row, so that no shape depends on data.
    """
    if torch.compiler.is_compiling():
        total = torch.zeros_like(x)
        for i, expert in enumerate(experts):
            total = total + gates[..., i : i + 1] * expert(x)
        return total
    rows, shares = x.reshape(-1, x.shape[-1]), gates.reshape(-1, gates.shape[-1])
    sums = torch.zeros_like(rows)
    for i, expert in enumerate(experts):
        chosen = shares[:, i].nonzero().squeeze(-1)
        if chosen.numel() == 0:
            continue
        part = rows[chosen].view(*[1] * (rank - 1), -1, rows.shape[-1])
        result = expert(part).reshape(-1, rows.shape[-1])
        sums = sums.index_add(0, chosen, result * shares[chosen, i : i + 1])
    return sums.view_as(x)
