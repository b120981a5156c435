"""Running totals and shifts along an axis, with their decoding forms. A slot is a dict that keeps tensors between steps."""

from __future__ import annotations

import torch
from torch import Tensor

from archdsl.primitives.support.clock import Clock


def window_end(x: Tensor, axis: int, size: int, count: Tensor | None) -> Tensor:
    """The `size` entries of x along a negative axis that precede place `count` [B] counted behind the first `size`; the last ones if None.

    x holds `size` old entries and then the new ones: this is what is kept when `count` of the new ones are real.
    """
    if count is None:
        return x.narrow(axis, x.shape[axis] - size, size).clone()
    index = count.to(x.device)[:, None] + torch.arange(size, device=x.device)
    shape = [1] * x.dim()
    shape[0], shape[axis] = index.shape
    wide = list(x.shape)
    wide[axis] = size
    return x.gather(axis, index.view(shape).expand(wide))


def in_each(x: Tensor, axis: int, clock: Clock) -> Tensor:
    """x with a batch axis where it has none (the same in all sequences) and the sequences stand at different places; axis is negative."""
    places = clock.count if clock.count is not None else clock.start
    return x.expand(len(places), *x.shape) if x.dim() == -axis and isinstance(places, Tensor) else x


def start_of(x: Tensor, axis: int, size: int, value: float) -> Tensor:
    """`size` entries of one value in front of x along an axis, in x's other sizes."""
    shape = list(x.shape)
    shape[axis] = size
    return x.new_full(shape, value)


def cumsum_step(x: Tensor, axis: int, slot: dict[str, Tensor], clock: Clock) -> Tensor:
    """Decoding form of cumsum: x holds the new positions, the slot the sum so far."""
    x = in_each(x, axis, clock)
    before = slot.get("total", start_of(x, axis, 1, 0))
    total = before + x.cumsum(axis)
    slot["total"] = window_end(torch.cat((before, total), axis), axis, 1, clock.count)
    return total


def cumprod_step(x: Tensor, axis: int, slot: dict[str, Tensor], clock: Clock) -> Tensor:
    """Decoding form of cumprod."""
    x = in_each(x, axis, clock)
    before = slot.get("total", start_of(x, axis, 1, 1))
    total = before * x.cumprod(axis)
    slot["total"] = window_end(torch.cat((before, total), axis), axis, 1, clock.count)
    return total


def cummax_step(x: Tensor, axis: int, slot: dict[str, Tensor], clock: Clock) -> Tensor:
    """Decoding form of cummax (values only)."""
    x = in_each(x, axis, clock)
    lowest = float("-inf") if x.is_floating_point() else torch.iinfo(x.dtype).min
    before = slot.get("total", start_of(x, axis, 1, lowest))
    total = torch.maximum(before, x.cummax(axis).values)
    slot["total"] = window_end(torch.cat((before, total), axis), axis, 1, clock.count)
    return total


def shift(x: Tensor, n: int, axis: int) -> Tensor:
    """Entries n places later along a negative axis, zeros first (n < 0: earlier, zeros last)."""
    size = x.shape[axis]
    moved = min(abs(n), size)
    zeros = start_of(x, axis, moved, 0)
    if n >= 0:
        return torch.cat((zeros, x.narrow(axis, 0, size - moved)), axis)
    return torch.cat((x.narrow(axis, moved, size - moved), zeros), axis)


def shift_step(x: Tensor, n: int, axis: int, slot: dict[str, Tensor], clock: Clock) -> Tensor:
    """Decoding form of shift by n > 0: the slot keeps the last n entries of each sequence."""
    x = in_each(x, axis, clock)
    rows = torch.cat((slot.get("recent", start_of(x, axis, n, 0)), x), axis)
    slot["recent"] = window_end(rows, axis, n, clock.count)
    return rows.narrow(axis, 0, x.shape[axis])
