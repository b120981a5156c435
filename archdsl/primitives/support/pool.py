"""Window pools that leave padding out, and resizing. Axes before the channels are folded into one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archdsl.primitives.support.reduce import length_mask


def fold_lead(f: Callable[[Tensor], Tensor], x: Tensor, axes: int) -> Tensor:
    """f, which wants [N, *the last `axes` axes], applied to x with any number of leading axes."""
    out = f(x.reshape(-1, *x.shape[-axes:]))
    return out.reshape(*x.shape[:-axes], *out.shape[1:])


def masked_max_pool(pool: Callable[[Tensor], Tensor], x: Tensor, lengths: Tensor | None, axis: int, n: int) -> Tensor:
    """A max pool over the last n axes of x [B, .., c, *n] that sees real positions along `axis` only; 0 where a window has none."""
    if lengths is None:
        return fold_lead(pool, x, n + 1)
    lowest = torch.finfo(x.dtype).min
    out = fold_lead(pool, x.masked_fill(~length_mask(x, lengths, axis), lowest), n + 1)
    return out.masked_fill(out == lowest, 0)


def masked_avg_pool(pool: Callable[[Tensor], Tensor], x: Tensor, lengths: Tensor | None, axis: int, n: int) -> Tensor:
    """A mean pool over the last n axes that counts real positions along `axis` only; 0 where a window has none."""
    if lengths is None:
        return fold_lead(pool, x, n + 1)
    mask = length_mask(x, lengths, axis)
    total = fold_lead(pool, x.masked_fill(~mask, 0), n + 1)
    share = fold_lead(pool, mask.to(x.dtype).expand(x.shape), n + 1)
    return torch.where(share > 0, total / share.clamp(min=torch.finfo(x.dtype).tiny), 0)


def resize(x: Tensor, n: int, size: tuple[int, ...], mode: str, corners: bool = False) -> Tensor:
    """Interpolates the last n axes of x [.., c, *n] to `size`: mode nearest, linear or cubic. The outer edges of the grids coincide, or with
    `corners` the centres of their corner entries."""
    full = {"nearest": "nearest", "linear": ("linear", "bilinear", "trilinear")[n - 1], "cubic": "bicubic"}[mode]
    flat = x.reshape(-1, *x.shape[-n - 1 :])
    if mode == "nearest":
        out = F.interpolate(flat, size=size, mode=full)
    else:
        out = F.interpolate(flat, size=size, mode=full, align_corners=corners)
    return out.reshape(*x.shape[: -n - 1], *out.shape[1:])
