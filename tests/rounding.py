"""How far rounding alone may take a result: bounds that follow from what is computed, in place of what one processor once gave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ROOM = 16  # for what machines, and ways to the same result, round differently: sums in another order, fused multiply-adds


def off(found: Tensor, wanted: Tensor) -> float:
    """The norm of the difference as a share of what is wanted; infinite where something is not a number, or nothing is wanted and something found."""
    a, b = found.detach().double(), wanted.detach().double()
    if torch.equal(a, b):
        return 0.0
    share = float((a - b).norm() / b.norm())
    return share if share == share else float("inf")


def near(ours: Sequence[Tensor], plain: Sequence[Tensor], exact: Sequence[Tensor], names: Sequence[str] = (), terms: int = 1) -> None:
    """Requires `ours` to lose no more to its precision than the plain computation does in the same one, both held to float64.

    What that one loses is the unit roundoff times the condition of what is computed, on the machine at hand; where it happens to lose nothing,
    the roundoff of sums of `terms` counts.
    """
    for i, (a, b, c) in enumerate(zip(ours, plain, exact, strict=True)):
        lost, allowed = off(a, c), ROOM * max(off(b, c), terms**0.5 * torch.finfo(b.dtype).eps)
        assert lost <= allowed, f"{names[i] if names else f'tensor {i}'} is {lost:.2e} off where {allowed:.2e} is allowed"


def carried(found: float, dtype: torch.dtype) -> float:
    """What rounding may do in `dtype` where the same computation is `found` off in float64: the condition of both is the same."""
    return ROOM * found * torch.finfo(dtype).eps / torch.finfo(torch.float64).eps


def units(found: Tensor, wanted: Tensor, *terms: Tensor) -> float:
    """The largest difference of two entries in units roundoff, of the sum of one and the magnitudes of what each entry is computed from."""
    a, b = found.detach().double(), wanted.detach().double()
    scale = 1 + torch.stack([t.detach().double().abs() for t in terms]).sum(0)
    return float(torch.where(a == b, 0, (a - b).abs() / scale).max()) / torch.finfo(found.dtype).eps
