"""Entries by position, and sums over groups of rows. Leading (batch) axes of x and index are equal, or one side has none."""

from __future__ import annotations

import torch
from torch import Tensor


def last_real(x: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """The last of each sequence's `lengths` [B] positions along a negative axis of x [B, ...]; that axis goes."""
    if lengths is None:
        return x.select(axis, -1)
    shape = list(x.shape)
    shape[axis] = 1
    places = (lengths.to(x.device) - 1).clamp(min=0).view(-1, *[1] * (x.dim() - 1))
    return x.gather(axis, places.expand(shape)).squeeze(axis)


def take(x: Tensor, index: Tensor, axis: int, rank: int, index_rank: int) -> Tensor:
    """Entries of x along a negative axis at the positions in index; index's own axes (the last `index_rank`) take the axis' place.

    x has `rank` own axes; in front of them, and of index's, are batch axes: equal ones, or none on one side.
    """
    lead, index_lead = x.dim() - rank, index.dim() - index_rank
    if index_lead == 0:
        taken = x.index_select(axis, index.reshape(-1))
        return taken.unflatten(axis, index.shape) if index_rank else taken.squeeze(axis)
    own = index.shape[index_lead:]
    if lead == 0:
        x = x.expand(*index.shape[:index_lead], *x.shape)
    rows = x.movedim(axis, index_lead)  # [batch.., n, others..]
    places = index.reshape(*index.shape[:index_lead], -1, *[1] * (rank - 1))
    taken = rows.gather(index_lead, places.expand(*places.shape[: index_lead + 1], *rows.shape[index_lead + 1 :]))
    taken = taken.movedim(index_lead, axis)
    return taken.unflatten(axis, own) if index_rank else taken.squeeze(axis)


def gather_shared(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """gather where only one of x and index has batch axes: the other is seen by the whole batch."""
    if x.dim() < index.dim():
        x = x.expand(*index.shape[: index.dim() - x.dim()], *x.shape)
    else:
        index = index.expand(*x.shape[: x.dim() - index.dim()], *index.shape)
    return x.gather(axis, index)


def scatter_add(x: Tensor, index: Tensor, size: int, axis: int) -> Tensor:
    """Sums entries of x into `size` places along a negative axis, each at the place that index (x's own shape) names."""
    if x.dim() < index.dim():
        x = x.expand(*index.shape[: index.dim() - x.dim()], *x.shape)
    shape = list(x.shape)
    shape[axis] = size
    return x.new_zeros(shape).scatter_add(axis, index.expand(x.shape), x)


def per_row(x: Tensor, index: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """x [.., E, others] and its group numbers [.., E] in one shape, to scatter along the axis -rank."""
    places = index.reshape(*index.shape, *[1] * (rank - 1))
    x, places = torch.broadcast_tensors(x, places)
    return x, places


def segment_sum(x: Tensor, index: Tensor, n: int, rank: int) -> Tensor:
    """Sum of the rows of each of n groups: x [.., E, others] with `rank` own axes, index [.., E] -> [.., n, others]."""
    x, places = per_row(x, index, rank)
    shape = list(x.shape)
    shape[-rank] = n
    return x.new_zeros(shape).scatter_add(-rank, places, x)


def segment_mean(x: Tensor, index: Tensor, n: int, rank: int) -> Tensor:
    """Mean of the rows of each group; 0 for a group without rows."""
    ones = x.new_ones(*index.shape, *[1] * (rank - 1))
    return segment_sum(x, index, n, rank) / segment_sum(ones, index, n, rank).clamp(min=1)


def segment_max(x: Tensor, index: Tensor, n: int, rank: int) -> Tensor:
    """Largest entries of each group; 0 for a group without rows."""
    x, places = per_row(x, index, rank)
    shape = list(x.shape)
    shape[-rank] = n
    return x.new_zeros(shape).scatter_reduce(-rank, places, x, "amax", include_self=False)


def segment_softmax(x: Tensor, index: Tensor, n: int, rank: int) -> Tensor:
    """Softmax among the rows of each group, in x's shape."""
    x, places = per_row(x, index, rank)
    shape = list(x.shape)
    shape[-rank] = n
    highest = x.detach().new_zeros(shape).scatter_reduce(-rank, places, x.detach(), "amax", include_self=False)
    weights = (x - highest.gather(-rank, places)).exp()
    total = x.new_zeros(shape).scatter_add(-rank, places, weights)
    return weights / total.gather(-rank, places)
