"""Mixture of depths (Raposo et al., 2024): some positions go through a body, the others pass unchanged.

x is [batch, ..., T, d] and scores [batch, ..., T, 1]; a chosen position becomes x + sigmoid(score) * (body(x) - x).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from archdsl.primitives.support.clock import Clock


def mix_skipped(x: Tensor, through: Tensor, scores: Tensor, chosen: Tensor) -> Tensor:
    """x, moved towards what came through the body where it was chosen."""
    return torch.where(chosen, x + torch.sigmoid(scores) * (through - x), x)


def best_positions(scores: Tensor, capacity: float, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """While training: the ceil(capacity * T) best positions of each sequence, in order: (order [.., T], how many lead it [.., 1]).

    `order` holds all positions, the chosen ones first.
    """
    flat = scores.squeeze(-1)
    size = flat.shape[-1]
    if lengths is None:
        room = torch.full((), math.ceil(capacity * size), device=flat.device)
    else:
        shape = (-1, *[1] * (flat.dim() - 1))
        flat = flat.masked_fill(torch.arange(size, device=flat.device) >= lengths.view(shape), float("-inf"))
        room = (lengths * capacity).ceil().view(shape)
    place = flat.argsort(-1, descending=True, stable=True).argsort(-1)
    return chosen_first(place < room)


def chosen_first(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """All positions with the chosen ones first, each group in order, and how many were chosen: [.., T] and [.., 1]."""
    return chosen.logical_not().to(torch.int8).argsort(-1, stable=True), chosen.sum(-1, keepdim=True)


def reorder(x: Tensor, order: Tensor, axis: int) -> Tensor:
    """Positions of x along a (negative) axis in another order [batch, ..., T]."""
    shape = order.shape + (1,) * (-axis - 1)
    return x.gather(axis, order.view(shape).expand(*order.shape, *x.shape[x.dim() + axis + 1 :]))


def restore(x: Tensor, order: Tensor, axis: int) -> Tensor:
    """Undoes `reorder`."""
    return reorder(x, order.argsort(-1), axis)


def inner_clock(slot: dict, chosen: Tensor, limit: int) -> Clock:
    """The clock of a body that sees only chosen positions: it has counted as many as each sequence let through."""
    clock = slot.setdefault("clock", Clock())
    if isinstance(clock.start, int):
        clock.start = torch.zeros(chosen.shape[0], dtype=torch.int64, device=chosen.device)
    clock.begin(chosen.shape[-1], chosen.sum(-1))
    clock.limit = limit
    return clock


def real_positions(chosen: Tensor, count: Tensor | None) -> Tensor:
    """Which new positions [batch, T] are chosen and real."""
    if count is None:
        return chosen
    return chosen & (torch.arange(chosen.shape[-1], device=chosen.device) < count[:, None])
