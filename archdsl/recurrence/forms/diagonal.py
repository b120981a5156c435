"""h_t = a_t * h_{t-1} + b_t entry by entry: in order, in two levels, as a tree, or by FFT where a is the same at all times.

No logarithm and no quotient of cumulative products is taken, so a may be zero, negative or complex: products of |a| <= 1 can only
underflow to zero. The adjoint is the same recurrence run backwards, g_t = dh_t + conj(a_{t+1}) g_{t+1}, and da_t = g_t conj(h_{t-1}), db = g.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Engine = Callable[[Tensor, Tensor, Tensor], Tensor]


def in_order(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """One step after another."""
    out = torch.empty_like(b)
    h = h0
    steps = a.unbind(1) if a.shape[1] > 1 else [a[:, 0]] * b.shape[1]
    for x, y, into in zip(steps, b.unbind(1), out.unbind(1)):
        h = torch.addcmul(y, x, h, out=into)
    return out


def two_level(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """About sqrt(T) steps over chunks side by side, sqrt(T) steps over the chunks' ends, then one correction of all times."""
    n, time, *body = b.shape
    if time <= 16:
        return in_order(a, b, h0)
    size = max(8, math.isqrt(time - 1) + 1)
    count = -(-time // size)
    h = torch.empty((n, count * size, *body), dtype=b.dtype, device=b.device)
    h[:, :time], h[:, time:] = b, 0
    h = h.view(n, count, size, *body)
    if a.shape[1] == 1:
        factor = a.unsqueeze(1).expand(-1, 1, size, *a.shape[2:]).cumprod(2)
        steps = [a] * size
    else:
        wide = a.new_ones((a.shape[0], count * size, *a.shape[2:]))
        wide[:, :time] = a
        wide = wide.view(a.shape[0], count, size, *a.shape[2:])
        factor = wide.cumprod(2)
        steps = list(wide.unbind(2))
    rows = h.unbind(2)
    for k in range(1, size):
        rows[k].addcmul_(steps[k], rows[k - 1])
    whole, last = factor[:, :, -1].expand(-1, count, *[-1] * len(body)).unbind(1), rows[-1].unbind(1)
    starts = torch.empty((n, count, *body), dtype=b.dtype, device=b.device)
    state = h0
    for k, start in enumerate(starts.unbind(1)):
        start.copy_(state)
        if k + 1 < count:
            state = torch.addcmul(last[k], whole[k], state)
    h.addcmul_(factor, starts.unsqueeze(2))
    return h.view(n, count * size, *body)[:, :time]


def tree(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """The associative scan of (a, b) o (a2, b2) = (a2 a, a2 b + b2): neighbours joined, the half-length problem solved, gaps filled."""
    first = torch.addcmul(b[:, :1], a[:, :1], h0.unsqueeze(1))
    return _tree(a.expand(-1, b.shape[1], *a.shape[2:]), torch.cat((first, b[:, 1:]), 1))


def _tree(a: Tensor, b: Tensor) -> Tensor:
    time = b.shape[1]
    if time == 1:
        return b
    even = time // 2 * 2
    odd_a = a[:, 1::2]
    joined = _tree(odd_a * a[:, 0:even:2], torch.addcmul(b[:, 1::2], odd_a, b[:, 0:even:2]))
    out = torch.empty_like(b)
    out[:, 1::2] = joined
    out[:, :1] = b[:, :1]
    if time > 2:
        rest = out[:, 2::2]
        torch.addcmul(b[:, 2::2], a[:, 2::2], joined[:, : rest.shape[1]], out=rest)
    return out


def convolution(a: Tensor, b: Tensor, h0: Tensor) -> Tensor:
    """a the same at all times: h = b * (1, a, a^2, …) by FFT, and a^(t+1) h0 for what was there before."""
    time = b.shape[1]
    powers = torch.cat((torch.ones_like(a), a.expand(-1, time, *a.shape[2:])), 1).cumprod(1)  # 1, a, … a^T
    length = 2 * time
    if b.is_complex() or a.is_complex():
        h = torch.fft.ifft(torch.fft.fft(powers[:, :time], length, 1) * torch.fft.fft(b, length, 1), dim=1)[:, :time]
    else:
        h = torch.fft.irfft(torch.fft.rfft(powers[:, :time], length, 1) * torch.fft.rfft(b, length, 1), length, 1)[:, :time]
    return torch.addcmul(h, powers[:, 1:], h0.unsqueeze(1))


ENGINES: dict[str, Engine] = {"in_order": in_order, "two_level": two_level, "tree": tree, "convolution": convolution}


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, h0: Tensor, engine: str) -> Tensor:
        h = ENGINES[engine](a, b, h0)
        ctx.save_for_backward(a, h, h0)
        ctx.engine = engine
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, h, h0 = ctx.saved_tensors
        g = backwards(a, grads[0], ctx.engine)
        da = None
        if ctx.needs_input_grad[0]:
            before = torch.cat((h0.unsqueeze(1), h[:, :-1]), 1)
            da = (g * before.conj()).sum_to_size(a.shape)
        return da, g, a[:, 0].conj() * g[:, 0], None


def backwards(a: Tensor, dh: Tensor, engine: str) -> Tensor:
    """g_t = dh_t + conj(a_{t+1}) g_{t+1}; a scan itself, and so differentiable again."""
    coefficient = a.conj().resolve_conj()
    if a.shape[1] > 1:
        coefficient = torch.cat((torch.ones_like(a[:, :1]), coefficient[:, 1:].flip(1)), 1)
    return linear_scan(coefficient, dh.flip(1), torch.zeros_like(dh[:, 0]), engine).flip(1)


def linear_scan(a: Tensor, b: Tensor, h0: Tensor, engine: str = "two_level") -> Tensor:
    """All states of h_t = a_t h_{t-1} + b_t. a [N or 1, T or 1, body or 1…], b [N, T, body…], h0 [N, body…] -> h [N, T, body…]."""
    if b.shape[1] == 0:
        return b
    dtype = torch.promote_types(a.dtype, torch.promote_types(b.dtype, h0.dtype))
    result: Tensor = _Scan.apply(a.to(dtype), b.to(dtype).contiguous(), h0.to(dtype), engine)
    return result
