"""Axes made, repeated and shared."""

from __future__ import annotations

import torch
from torch import Tensor


def repeated(x: Tensor, axis: int, size: int) -> Tensor:
    """x seen `size` times along a new axis at a position counted from the end of the result; no copy."""
    y = x.unsqueeze(axis)
    shape = list(y.shape)
    shape[axis] = size
    return y.expand(shape)


def in_batch(x: Tensor, like: Tensor, rank: int, like_rank: int) -> Tensor:
    """x, whose `rank` axes have no batch, seen by every leading (batch) entry of `like`, whose own axes are the last `like_rank`."""
    lead = like.shape[: like.dim() - like_rank]
    return x.expand(*lead, *x.shape[x.dim() - rank :])


def expand_axes(x: Tensor, rank: int, shape: tuple[int, ...]) -> Tensor:
    """x, whose own axes are the last `rank`, with these stretched to `shape` (new axes in front of them where it is longer)."""
    lead = x.shape[: x.dim() - rank]
    own = (1,) * (len(shape) - rank) + tuple(x.shape[x.dim() - rank :])
    return x.reshape(*lead, *own).expand(*lead, *shape)


def flip_real(x: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """x [B, ...] with each sequence's first `lengths` entries along a negative axis in reverse order, padding where it was."""
    if lengths is None:
        return x.flip(axis)
    places = torch.arange(x.shape[axis], device=x.device)
    ends = lengths.to(x.device)[:, None]
    index = torch.where(places < ends, ends - 1 - places, places)
    shape = [1] * x.dim()
    shape[0], shape[axis] = index.shape
    return x.gather(axis, index.view(shape).expand(x.shape))


def pad_with(x: Tensor, axis: int, before: int, after: int, mode: str) -> Tensor:
    """x made longer along a negative axis by entries of its own: mode reflect, replicate or circular."""
    size = x.shape[axis]
    places = torch.arange(-before, size + after, device=x.device)
    if mode == "replicate":
        places = places.clamp(0, size - 1)
    elif mode == "circular":
        places = places % size
    else:
        places = (places.abs() - (places.abs() - (size - 1)).clamp(min=0) * 2).abs()
    return x.index_select(axis, places)
