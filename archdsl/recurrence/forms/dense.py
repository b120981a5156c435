"""S_t = A_t S_{t-1} + B_t with a full matrix A_t, the same at all times or not.

Adjoint: G_t = dS_t + A_{t+1}^T G_{t+1}, dA_t = G_t S_{t-1}^T, dB = G. In order; or, where A is the same at all times, in two sweeps of
sqrt(T) steps over chunks side by side, which a device with many cores prefers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def _in_order(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    out = torch.empty_like(b)
    steps = [a[:, 0]] * b.shape[1] if a.shape[1] == 1 else a.unbind(1)
    state = start
    for x, y, into in zip(steps, b.unbind(1), out.unbind(1)):
        state = torch.add(y, x @ state, out=into)
    return out


def _sweeps(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    n, time, rows, cols = b.shape
    size = math.isqrt(time - 1) + 1
    count = -(-time // size)
    out = b.new_zeros((n, count * size, rows, cols))
    out[:, :time] = b
    out = out.view(n, count, size, rows, cols)
    for k in range(1, size):
        out[:, :, k] += a @ out[:, :, k - 1]
    whole = torch.linalg.matrix_power(a[:, 0], size)
    starts = [start]
    for k in range(count - 1):
        starts.append(whole @ starts[-1] + out[:, k, -1])
    moved = torch.stack(starts, 1)
    for k in range(size):
        moved = a @ moved
        out[:, :, k] += moved
    return out.view(n, count * size, rows, cols)[:, :time]


def _run(a: Tensor, b: Tensor, start: Tensor, sweeps: bool) -> Tensor:
    return _sweeps(a, b, start) if sweeps and a.shape[1] == 1 and b.shape[1] > 16 else _in_order(a, b, start)


class _DenseScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor, sweeps: bool) -> Tensor:
        states = _run(a, b, start, sweeps)
        ctx.save_for_backward(a, states, start)
        ctx.sweeps = sweeps
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, states, start = ctx.saved_tensors
        turned = a.mT if a.shape[1] == 1 else torch.cat((torch.zeros_like(a[:, :1]), a[:, 1:].flip(1)), 1).mT
        g = dense_scan(turned, grads[0].flip(1), torch.zeros_like(start), ctx.sweeps).flip(1)
        before = torch.cat((start.unsqueeze(1), states[:, :-1]), 1)
        da = torch.einsum("ntim,ntsm->nis", g, before).unsqueeze(1) if a.shape[1] == 1 else g @ before.mT
        return da.sum_to_size(a.shape), g, (a[:, 0].mT @ g[:, 0]).sum_to_size(start.shape), None


def dense_scan(a: Tensor, b: Tensor, start: Tensor, sweeps: bool = False) -> Tensor:
    """All states. a [N or 1, T or 1, n, n], b [N, T, n, m], start [N, n, m]."""
    if b.shape[1] == 0:
        return b
    result: Tensor = _DenseScan.apply(a, b.contiguous(), start, sweeps)
    return result
