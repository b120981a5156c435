"""How far rounding alone may take a result: bounds that follow from what is computed, in place of what one processor once gave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROOM = 32  # between what two machines, or two precisions, round differently: sums in another order, fused multiply-adds


def apart(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference of two tensors, as a share of the second's norm; what is exactly zero must be so in both."""
    found = 0.0
    for a, b in zip(ours, theirs, strict=True):
        norm = float(b.norm())
        found = max(found, float((a - b).norm()) / norm if norm else float(a.any()))
    return found


def carried(found: float, dtype: torch.dtype) -> float:
    """What rounding may do in `dtype` where the same computation in float64 is `found` off: errors are proportional to the unit roundoff,
    times a condition that belongs to the computation and not to the precision."""
    return ROOM * found * torch.finfo(dtype).eps / torch.finfo(torch.float64).eps
