"""h_t = max(h_{t-1} + a_t, b_t): sums are maxima and products are sums.

(a, b) o (a2, b2) = (a + a2, max(b + a2, b2)). The adjoint goes to the winner: to h and a where h + a > b, else to b (so also where equal).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from archdsl.recurrence.forms.diagonal import backwards


def _run(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    n, time, *body = b.shape
    size = math.isqrt(time - 1) + 1 if time > 16 else time
    count = -(-time // size)
    missing = count * size - time
    if missing:
        a, b = torch.cat((a, a.new_zeros(n, missing, *body)), 1), torch.cat((b, b.new_full((n, missing, *body), -math.inf)), 1)
    a, b = a.reshape(n, count, size, *body), b.reshape(n, count, size, *body)
    total, best = [a[:, :, 0]], [b[:, :, 0]]
    for k in range(1, size):
        best.append(torch.maximum(best[-1] + a[:, :, k], b[:, :, k]))
        total.append(total[-1] + a[:, :, k])
    starts = [h0]
    for k in range(count - 1):
        starts.append(torch.maximum(starts[-1] + total[-1][:, k], best[-1][:, k]))
    begin = torch.stack(starts, 1)
    found = torch.stack([torch.maximum(begin + s, top) for s, top in zip(total, best)], 2)
    return found.reshape(n, count * size, *body)[:, :time]


class _MaxScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
        h = _run(a, b, h0)
        before = torch.cat((h0.unsqueeze(1), h[:, :-1]), 1)
        ctx.save_for_backward(before + a > b)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        won = ctx.saved_tensors[0].to(grads[0].dtype)
        g = backwards(won, grads[0], "two_level")
        kept = won * g
        return kept, g - kept, kept[:, 0]


def max_scan(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """All states of h_t = max(h_{t-1} + a_t, b_t). a, b [N, T, body…], h0 [N, body…]."""
    if b.shape[1] == 0:
        return b
    result: Tensor = _MaxScan.apply(a.expand_as(b), b, h0)
    return result
