"""Normalisations beyond what torch.nn calls directly: other axes, and statistics of ragged batches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archdsl.primitives.support.once import once


def rms_norm(
    x: Tensor,
    weight: Tensor | None,
    eps: float,
    axis: int = -1,
    unit_offset: bool = False,
    bias: Tensor | None = None,
    features: int | None = None,
    outside: bool = False,
) -> Tensor:
    """x / sqrt(mean(x²) + eps) along an axis (Zhang & Sennrich, 2019), in float32 at least; times weight, or 1 + weight; plus bias.

    features: the mean is over the first few alone. outside: x / (sqrt(mean(x²)) + eps).
    """
    if weight is not None and unit_offset:
        weight = 1.0 + weight
    if axis == -1 and bias is None and features is None and not outside:
        return F.rms_norm(x, (x.shape[-1],), weight, eps)
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    some = wide if features is None else wide.narrow(axis, 0, features)
    square = some.square().mean(axis, keepdim=True)
    out = (wide / (square.sqrt() + eps) if outside else wide * torch.rsqrt(square + eps)).to(x.dtype)
    shape = (-1, *[1] * (-axis - 1))
    if weight is not None:
        out = out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)


class NormByOutput(torch.autograd.Function):
    """Layer norm (centred) or RMS norm of the last axis whose backward pass starts from the output (arXiv:2406.16282)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, centred: bool) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        if centred:
            wide = wide - wide.mean(-1, keepdim=True)
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        y = (wide * inverse).to(x.dtype)
        ctx.save_for_backward(y, inverse)
        ctx.centred = centred
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        y, inverse = ctx.saved_tensors
        with torch.no_grad():
            rest = grad - y * (grad * y).mean(-1, keepdim=True)
            if ctx.centred:
                rest = rest - grad.mean(-1, keepdim=True)
            found = (rest * inverse).to(grad.dtype)
        words = 'a norm with saves="output" has no second derivatives: leave that setting out to have them'
        return once([found], [y, grad], words)[0], None, None


def layer_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, axis: int = -1) -> Tensor:
    """Layer norm along one negative axis (Ba et al., 2016)."""
    moved = x if axis == -1 else x.movedim(axis, -1)
    out = F.layer_norm(moved, (moved.shape[-1],), weight, bias, eps)
    return out if axis == -1 else out.movedim(-1, axis)


def l2_norm(x: Tensor, axis: int = -1, eps: float = 1e-12) -> Tensor:
    """x / sqrt(sum(x²) + eps) along an axis: length one, and a gradient also at zero."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    return (wide * torch.rsqrt(wide.square().sum(axis, keepdim=True) + eps)).to(x.dtype)


def real_entries(x: Tensor, lengths: Tensor, axis: int) -> Tensor:
    """Which positions along a negative axis are real: bool, to broadcast over x [B, ...]."""
    real = torch.arange(x.shape[axis], device=x.device) < lengths.to(x.device)[:, None]
    return real.view(-1, *[1] * (x.dim() + axis - 1), x.shape[axis], *[1] * (-axis - 1))


def masked_moments(x: Tensor, real: Tensor, axes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance (over n) and number of the real entries along axes, kept as axes of size one."""
    count = real.expand_as(x).sum(axes, keepdim=True).clamp(min=1)
    mean = x.masked_fill(~real, 0).sum(axes, keepdim=True) / count
    variance = (x - mean).square().masked_fill(~real, 0).sum(axes, keepdim=True) / count
    return mean, variance, count


def batch_norm(x: Tensor, norm: Any, axis: int, lengths: Tensor | None = None, ragged: int = -1) -> Tensor:
    """Batch norm (Ioffe & Szegedy, 2015) of x [B, ...] with channels along a negative axis; `norm` holds weights and running statistics.

    lengths [B]: positions along the axis `ragged` beyond them count for no statistics.
    """
    if lengths is None or not norm.training:
        moved = x.movedim(axis, 1) if x.dim() > 2 else x
        training = norm.training
        if training:
            norm.num_batches_tracked.add_(1)
        out = F.batch_norm(moved, norm.running_mean, norm.running_var, norm.weight, norm.bias, training, norm.momentum, norm.eps)
        return out.movedim(1, axis) if x.dim() > 2 else out
    shape = [x.shape[axis] if i == x.dim() + axis else 1 for i in range(x.dim())]
    axes = [i for i, size in enumerate(shape) if i != x.dim() + axis]
    mean, variance, count = masked_moments(x, real_entries(x, lengths, ragged), axes)
    with torch.no_grad():
        norm.num_batches_tracked.add_(1)
        norm.running_mean.lerp_(mean.flatten(), norm.momentum)
        norm.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).flatten(), norm.momentum)
    out = (x - mean) * torch.rsqrt(variance + norm.eps)
    return out if norm.weight is None else out * norm.weight.view(shape) + norm.bias.view(shape)


def group_norm(
    x: Tensor,
    groups: int,
    weight: Tensor | None,
    bias: Tensor | None,
    eps: float,
    axis: int,
    lengths: Tensor | None = None,
    ragged: int = -1,
) -> Tensor:
    """Group norm (Wu & He, 2018): channels along a negative axis in groups; statistics over a group and all axes after it.

    Axes before are left alone, so axis -1 normalises each position by itself. lengths [B] as in `batch_norm`, for a later axis.
    """
    if lengths is None:
        return torch.group_norm(x.reshape(-1, *x.shape[axis:]), groups, weight, bias, eps).reshape(x.shape)
    split = x.unflatten(axis, (groups, -1))
    mean, variance, _ = masked_moments(split, real_entries(x, lengths, ragged).unsqueeze(1), list(range(axis, 0)))
    out = ((split - mean) * torch.rsqrt(variance + eps)).flatten(axis - 1, axis)
    shape = (-1, *[1] * (-axis - 1))
    if weight is not None:
        out = out * weight.view(shape)
    return out if bias is None else out + bias.view(shape)
