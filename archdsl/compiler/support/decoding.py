"""What the root of a decoding model needs."""

from __future__ import annotations

from torch import Tensor

from archdsl.primitives.support.clock import Clock


def last_position(x: Tensor, clock: Clock, axis: int) -> Tensor:
    """The last real new position of each sequence along a (negative) axis; the axis becomes 1."""
    if clock.count is None:
        return x.narrow(axis, x.shape[axis] - 1, 1)
    shape = [1] * x.dim()
    shape[0] = -1
    index = (clock.count - 1).clamp(min=0).view(shape)
    size = list(x.shape)
    size[axis] = 1
    return x.gather(axis, index.expand(size))
