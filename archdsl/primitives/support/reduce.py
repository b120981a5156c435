"""Reductions that leave padding out. `lengths` [batch] gives each sequence's own length along `axis`; None means that all are full."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# For each axis with padding: every sequence's own length, and the axis (negative).
Ragged = Sequence[tuple[Tensor | None, int]]


def length_mask(x: Tensor, lengths: Tensor, axis: int) -> Tensor:
    """True at real positions, shaped to broadcast against x [batch, ...]: [batch, 1.., size, 1..]."""
    shape = [1] * x.dim()
    shape[0], shape[axis] = lengths.shape[0], x.shape[axis]
    positions = torch.arange(x.shape[axis], device=x.device)
    return (positions < lengths[:, None]).view(shape)


def fill_padding(x: Tensor, lengths: Tensor | None, axis: int, value: float) -> Tensor:
    """x with `value` at padded positions; infinities become the extremes of a whole-number dtype."""
    if lengths is None:
        return x
    if value in (float("inf"), float("-inf")) and not x.is_floating_point():
        limits = torch.iinfo(x.dtype)
        value = limits.max if value > 0 else limits.min
    return x.masked_fill(~length_mask(x, lengths, axis), value)


def real_mask(x: Tensor, ragged: Ragged) -> Tensor | None:
    """True at positions that are real along every ragged axis; None if all are."""
    masks = [length_mask(x, lengths, axis) for lengths, axis in ragged if lengths is not None]
    if not masks:
        return None
    mask = masks[0]
    for other in masks[1:]:
        mask = mask & other
    return mask


def masked_mean(x: Tensor, ragged: Ragged, over: int | tuple[int, ...], keepdim: bool = False) -> Tensor:
    """Mean over the axes `over`, real positions only; zero for an empty sequence."""
    mask = real_mask(x, ragged)
    if mask is None:
        return x.mean(over, keepdim=keepdim)
    total = x.masked_fill(~mask, 0).sum(over, keepdim=keepdim)
    count = mask.expand(x.shape).sum(over, keepdim=keepdim).clamp(min=1)
    return total / count.to(x.real.dtype)


def masked_var(x: Tensor, ragged: Ragged, over: int | tuple[int, ...], correction: int = 1, keepdim: bool = False) -> Tensor:
    """Variance over the axes `over`, real positions only; sum of squares / max(count - correction, 0)."""
    mask = real_mask(x, ragged)
    if mask is None:
        return x.var(over, correction=correction, keepdim=keepdim)
    centred = x - masked_mean(x, ragged, over, keepdim=True)
    squares = (centred * centred.conj()).real if x.is_complex() else centred.square()
    total = squares.masked_fill(~mask, 0).sum(over, keepdim=keepdim)
    count = mask.expand(x.shape).sum(over, keepdim=keepdim)
    return total / (count - correction).clamp(min=0).to(total.dtype)


def masked_std(x: Tensor, ragged: Ragged, over: int | tuple[int, ...], correction: int = 1, keepdim: bool = False) -> Tensor:
    """Square root of masked_var."""
    return masked_var(x, ragged, over, correction, keepdim).sqrt()


def masked_softmax(x: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """Softmax along `axis` over real positions; padding gets 0, also in an empty sequence."""
    if lengths is None:
        return x.softmax(axis)
    mask = length_mask(x, lengths, axis)
    return x.masked_fill(~mask, torch.finfo(x.dtype).min).softmax(axis).masked_fill(~mask, 0)


def masked_log_softmax(x: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """Log-softmax along `axis` over real positions; padding gets the lowest finite number."""
    if lengths is None:
        return x.log_softmax(axis)
    mask = length_mask(x, lengths, axis)
    lowest = torch.finfo(x.dtype).min
    return x.masked_fill(~mask, lowest).log_softmax(axis).masked_fill(~mask, lowest)
