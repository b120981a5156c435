"""Products of decays between two times of a chunk: all of a matrix state's forms are made of these.

Every factor is a product of decays from one time to a later one, multiplied out, never a quotient of cumulative products: with decays in
[0, 1] it lies in [0, 1], a decay may be exactly 0, and negative decays need no special case. For a decay per key channel a chunk is cut into
sub-chunks: between two of them the product goes through the later one's first row, as the fla kernels' anchors do (arXiv:2312.06635, 4.3).

Chunks have the shape [N, K, C, …]: sequence, chunk, time in the chunk. A time has R rows (keys or queries).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Segments(torch.autograd.Function):
    """E[t, j] = a_{j+1} … a_t for times t >= j >= -1 (place 0 holds time -1), 0 for t < j; a [.., C, n] -> E [.., C+1, C+1, n]."""

    @staticmethod
    def forward(ctx: Any, a: Tensor) -> Tensor:
        c = a.shape[-2]
        later = torch.ones(c, c + 1, dtype=torch.bool, device=a.device).tril()  # row t - 1, column j: t > j
        steps = torch.where(later.unsqueeze(-1), a.unsqueeze(-2), 1)
        rest = steps.cumprod(-3) * torch.ones(c, c + 1, dtype=a.dtype, device=a.device).tril(1).unsqueeze(-1)
        first = torch.zeros_like(rest[..., :1, :, :])
        first[..., 0, :] = 1
        out = torch.cat((first, rest), -3)
        ctx.save_for_backward(a, out)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        a, out = ctx.saved_tensors
        c = a.shape[-2]
        rows, made, before = grads[0].unbind(-3), out.unbind(-3), a.unbind(-2)
        da = torch.empty_like(a)
        total = rows[c]
        for t in range(c, 0, -1):
            # `total` is the gradient of row t: a_t times row t - 1, for the columns before t.
            kept = total[..., :t, :]
            da[..., t - 1, :] = (kept * made[t - 1][..., :t, :]).sum(-2)
            total = rows[t - 1][..., :t, :] + before[t - 1].unsqueeze(-2) * kept
        return da


def segments(a: Tensor) -> Tensor:
    """Products of consecutive decays; see _Segments."""
    result: Tensor = _Segments.apply(a)
    return result


class Uniform:
    """One decay for all channels (a [N, K, C, 1]), or none (a None)."""

    def __init__(self, a: Tensor | None, like: Tensor, size: int):
        if a is None:
            e = torch.ones(size + 1, size + 1, dtype=like.dtype, device=like.device).tril().unsqueeze(-1)
        else:
            e = segments(a)
        self.mask = {True: e[..., 1:, 1:, 0], False: e[..., :-1, 1:, 0]}
        self.since = {True: e[..., 1:, 0, :], False: e[..., :-1, 0, :]}  # from the chunk's beginning to after / before each step
        self.until = e[..., -1, 1:, :]  # from after each step to the chunk's end
        self.whole = e[..., -1, 0, :]

    def gram(self, x: Tensor, y: Tensor, after: bool) -> Tensor:
        """x_t . (decays from j to t) . y_j for all rows: x [N, K, C, R, n], y [N, K, C, S, n] -> [N, K, C R, C S]; 0 where j is not before."""
        *lead, c, r, _ = x.shape
        s = y.shape[-2]
        plain = x.flatten(-3, -2) @ y.flatten(-3, -2).mT
        return (plain.reshape(*lead, c, r, c, s) * self.mask[after][..., :, None, :, None]).reshape(*lead, c * r, c * s)


class Channels:
    """A decay per key channel, a [N, K, C, n]; C is a multiple of the sub-chunk."""

    def __init__(self, a: Tensor, sub: int):
        *lead, c, n = a.shape
        self.count, self.sub = c // sub, sub
        inner = segments(a.reshape(*lead, self.count, sub, n))  # within sub-chunks
        outer = segments(inner[..., -1, 0, :])  # over whole sub-chunks
        self.inner = {True: inner[..., 1:, 1:, :], False: inner[..., :-1, 1:, :]}
        self.from_start = {True: inner[..., 1:, 0, :], False: inner[..., :-1, 0, :]}
        self.to_end = inner[..., -1, 1:, :]
        self.between = outer[..., :-1, 1:, :]  # [I, J]: the sub-chunks after J and before I; 0 unless J < I
        self.since = {k: (v * outer[..., :-1, 0, :].unsqueeze(-2)).reshape(*lead, c, n) for k, v in self.from_start.items()}
        self.until = (self.to_end * outer[..., -1, 1:, :].unsqueeze(-2)).reshape(*lead, c, n)
        self.whole = outer[..., -1, 0, :]

    def gram(self, x: Tensor, y: Tensor, after: bool) -> Tensor:
        """As Uniform.gram."""
        *lead, c, r, n = x.shape
        s, m, sub = y.shape[-2], self.count, self.sub
        x, y = x.reshape(*lead, m, sub, r, n), y.reshape(*lead, m, sub, s, n)
        left = (x * self.from_start[after].unsqueeze(-2)).flatten(-3, -2)  # [.., I, sub R, n]
        right = (y * self.to_end.unsqueeze(-2)).flatten(-3, -2)  # [.., J, sub S, n]
        moved = right.unsqueeze(-4) * self.between.unsqueeze(-2)  # [.., I, J, sub S, n]
        out = (left @ moved.flatten(-3, -2).mT).reshape(*lead, m, sub * r, m, sub * s)
        near = torch.einsum("...trd,...tjd,...jsd->...trjs", x, self.inner[after], y).reshape(*lead, m, sub * r, sub * s)
        out.diagonal(0, -4, -2).add_(near.movedim(-3, -1))
        return out.reshape(*lead, c * r, c * s)
