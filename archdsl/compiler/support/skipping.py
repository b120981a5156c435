"""Mixture of depths (Raposo et al., 2024): some positions go through a body, the others pass unchanged.

x is [batch, ..., T, d] and scores [batch, ..., T, 1]; a chosen position becomes x + sigmoid(score) * (body(x) - x). `order` [batch, ..., M]
lists positions, chosen ones first and in order of time; `count` [batch, ..., 1] says how many were chosen.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from archdsl.primitives.support.clock import Clock


def mix_skipped(x: Tensor, through: Tensor, scores: Tensor, chosen: Tensor, gated: bool = True) -> Tensor:
    """x, moved towards what came through the body where it was chosen; replaced by it if not `gated`."""
    if not gated:
        return torch.where(chosen, through, x)
    return torch.where(chosen, x + torch.sigmoid(scores) * (through - x), x)


def best_positions(scores: Tensor, capacity: float, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ceil(capacity * T) best positions of each sequence: (order, count)."""
    flat = scores.squeeze(-1)
    width = math.ceil(capacity * flat.shape[-1])
    if lengths is None:
        place = flat.argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
        order, count = chosen_first(place < width)
        return order[..., :width], count
    shape = (-1, *[1] * (flat.dim() - 1))
    padding = torch.arange(flat.shape[-1], device=flat.device) >= lengths.view(shape)
    place = flat.masked_fill(padding, float("-inf")).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    order, count = chosen_first((place < (lengths * capacity).ceil().view(shape)) & ~padding)
    return order[..., :width], count


def chosen_first(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """(order, count) of positions [batch, ..., T]."""
    return chosen.logical_not().to(torch.int8).argsort(dim=-1, stable=True), chosen.sum(-1, keepdim=True)


def at_positions(x: Tensor, order: Tensor, axis: int) -> Tensor:
    """The positions `order` of x along a negative axis."""
    index = order.view(*order.shape, *[1] * (-axis - 1))
    return x.gather(axis, index.expand(*order.shape, *x.shape[x.dim() + axis + 1 :]))


def put_back(x: Tensor, through: Tensor, scores: Tensor, order: Tensor, count: Tensor, gated: bool = True) -> Tensor:
    """x with the chosen positions moved towards what came through the body, `through` [batch, ..., M, d]."""
    chosen = (torch.arange(order.shape[-1], device=x.device) < count).unsqueeze(-1)
    moved = mix_skipped(at_positions(x, order, -2), through, at_positions(scores, order, -2), chosen, gated)
    return x.scatter(-2, order.unsqueeze(-1).expand_as(moved), moved)


def open_positions(scores: Tensor, count: Tensor | None) -> Tensor:
    """Which positions [batch, ..., T] go through: those with a score above zero, of the first `count` of each sequence."""
    chosen = scores.squeeze(-1) > 0
    if count is None:
        return chosen
    return chosen & (torch.arange(chosen.shape[-1], device=chosen.device) < count.view(-1, *[1] * (chosen.dim() - 1)))


def inner_clock(slot: dict, count: Tensor, new: int, limit: int) -> Clock:
    """The clock of a body that sees only chosen positions, opened for `count` [batch, 1] more of them among `new`."""
    clock = slot.setdefault("clock", Clock())
    if isinstance(clock.start, int):
        clock.start = torch.zeros(count.shape[0], dtype=torch.int64, device=count.device)
    clock.begin(new, count.squeeze(-1))
    clock.limit = limit
    return clock


def choice_loss(scores: Tensor, order: Tensor, count: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Cross-entropy of sigmoid(scores) with whether each position was chosen: a score above 0 comes to say so without the later ones."""
    first = (torch.arange(order.shape[-1], device=order.device) < count).to(scores.dtype)
    chosen = torch.zeros_like(scores.squeeze(-1)).scatter(-1, order, first)
    if lengths is None:
        return F.binary_cross_entropy_with_logits(scores.squeeze(-1), chosen)
    real = torch.arange(chosen.shape[-1], device=order.device) < lengths.view(-1, *[1] * (chosen.dim() - 1))
    each = F.binary_cross_entropy_with_logits(scores.squeeze(-1), chosen, reduction="none")
    return (each * real).sum() / real.expand_as(each).sum().clamp(min=1)
