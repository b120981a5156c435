"""h_t = A_t h_{t-1} + b_t with a small matrix A_t per entry: several states that mix entry by entry (2 x 2 for an LSTM with vector weights).

Adjoint: g_t = dh_t + A_{t+1}^T g_{t+1}, dA_t = g_t h_{t-1}^T, db = g.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def _apply(a: Tensor, h: Tensor) -> Tensor:
    return (a * h.unsqueeze(-2)).sum(-1)


def _run(a: Tensor, b: Tensor, h0: Tensor, levels: bool) -> Tensor:
    n, time, *body = b.shape
    out = torch.empty_like(b)
    if not levels or time <= 16:
        h = h0
        for t in range(time):
            h = out[:, t] = _apply(a[:, t], h) + b[:, t]
        return out
    size = math.isqrt(time - 1) + 1
    count = -(-time // size)
    missing = count * size - time
    if missing:
        eye = torch.eye(body[-1], dtype=a.dtype, device=a.device).expand(n, missing, *body, -1)
        a, b = torch.cat((a, eye), 1), torch.cat((b, b.new_zeros(n, missing, *body)), 1)
    a, b = a.reshape(n, count, size, *body, body[-1]), b.reshape(n, count, size, *body)
    factors, sums = [a[:, :, 0]], [b[:, :, 0]]
    for k in range(1, size):
        step = a[:, :, k]
        sums.append(_apply(step, sums[-1]) + b[:, :, k])
        factors.append((step.unsqueeze(-1) * factors[-1].unsqueeze(-3)).sum(-2))
    starts = [h0]
    for k in range(count - 1):
        starts.append(_apply(factors[-1][:, k], starts[-1]) + sums[-1][:, k])
    begin = torch.stack(starts, 1)
    found = torch.stack([_apply(f, begin) + s for f, s in zip(factors, sums)], 2)
    return found.reshape(n, count * size, *body)[:, :time]


def backwards(a: Tensor, dh: Tensor, levels: bool) -> Tensor:
    """g_t = dh_t + A_{t+1}^T g_{t+1}; a scan itself, and so differentiable again."""
    turned = torch.cat((torch.zeros_like(a[:, :1]), a[:, 1:].flip(1)), 1).mT
    return block_scan(turned, dh.flip(1), torch.zeros_like(dh[:, 0]), levels).flip(1)


class _BlockScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor, levels: bool) -> Tensor:
        h = _run(a, b, h0, levels)
        ctx.save_for_backward(a, h, h0)
        ctx.levels = levels
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, h, h0 = ctx.saved_tensors
        g = backwards(a, grads[0], ctx.levels)
        before = torch.cat((h0.unsqueeze(1), h[:, :-1]), 1)
        return g.unsqueeze(-1) * before.unsqueeze(-2), g, _apply(a[:, 0].mT, g[:, 0]), None


def block_scan(a: Tensor, b: Tensor, h0: Tensor, levels: bool = True) -> Tensor:
    """All states. a [N, T, body…, k, k], b [N, T, body…, k], h0 [N, body…, k]. levels: in sqrt(T) steps rather than T."""
    if b.shape[1] == 0:
        return b
    result: Tensor = _BlockScan.apply(a.expand(*b.shape, b.shape[-1]), b, h0, levels)
    return result
