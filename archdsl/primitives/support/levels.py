"""What a backward pass needs of an activation whose slope is a step function: which step, in 1, 2 or 4 bits an entry."""

from __future__ import annotations

import torch
from torch import Tensor


def pack_levels(x: Tensor, edges: tuple[float, ...], closed: tuple[bool, ...], bits: int) -> Tensor:
    """How many edges lie below each entry (a closed edge counts where x equals it), several entries to a byte: uint8 [n]."""
    codes = torch.zeros(x.numel() + -x.numel() % (8 // bits), dtype=torch.uint8, device=x.device)
    own = codes[: x.numel()].view(x.shape)
    for edge, equal in zip(edges, closed):
        own += (x >= edge) if equal else (x > edge)
    rows = codes.view(-1, 8 // bits)
    packed = rows[:, 0].clone()
    for i in range(1, rows.shape[1]):
        packed |= rows[:, i] << (i * bits)
    return packed


def unpack_levels(packed: Tensor, values: tuple[float, ...], bits: int, like: Tensor) -> Tensor:
    """values[code] for each entry, in the shape and dtype of `like`."""
    shifts = torch.arange(0, 8, bits, dtype=torch.uint8, device=packed.device)
    codes = (packed[:, None] >> shifts) & ((1 << bits) - 1)
    table = torch.tensor(values, dtype=like.dtype, device=like.device)
    return table[codes.flatten()[: like.numel()].int()].view(like.shape)
