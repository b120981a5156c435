"""Convolutions: causal ones in time with their decoding form, and what padded batches and extra axes need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archdsl.primitives.support.cache import take_rows
from archdsl.primitives.support.clock import Clock
from archdsl.primitives.support.running import in_each


def zero_beyond(x: Tensor, lengths: Tensor | None, axis: int) -> Tensor:
    """x [B, ...] with zeros where the position along a negative axis is not below the sequence's length [B], if lengths are given."""
    if lengths is None:
        return x
    real = torch.arange(x.shape[axis], device=x.device) < lengths.to(x.device)[:, None]
    return x.masked_fill(~real.view(-1, *[1] * (x.dim() + axis - 1), x.shape[axis], *[1] * (-axis - 1)), 0)


def over_lead_axes(module: nn.Module, x: Tensor, axes: int) -> Tensor:
    """A module that wants [N, *the last `axes` axes], applied to x with any number of leading axes."""
    lead = x.shape[:-axes]
    out = module(x.reshape(-1, *x.shape[-axes:]))
    return out.reshape(*lead, *out.shape[1:])


def conv_by_value(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ends: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    batched: bool = False,
    mode: str = "constant",
) -> Tensor:
    """Convolution of x [..., c, *space] with a kernel that is a value, [out, c / groups, *k], or [B, out, …] if batched (one per sample).

    ends: padding before and after each axis, the last axis first, as F.pad takes it. bias [out] or [B, out].
    """
    axes = len(ends) // 2 + 1
    conv = (F.conv1d, F.conv2d, F.conv3d)[axes - 2]
    if batched:
        x = x.expand(len(weight), *x.shape[1:])
    lead = x.shape[:-axes]
    flat = F.pad(x.reshape(-1, *x.shape[-axes:]), ends, mode)
    if not batched:
        out = conv(flat, weight, None, stride, 0, dilation, groups)
    else:  # the samples' channels side by side, each a group of its own
        samples = len(weight)
        wide = flat.unflatten(0, (samples, -1)).transpose(0, 1).flatten(1, 2)
        out = conv(wide, weight.flatten(0, 1), None, stride, 0, dilation, groups * samples)
        out = out.unflatten(1, (samples, -1)).transpose(0, 1).flatten(0, 1)
    out = out.reshape(*lead, *out.shape[1:])
    if bias is None:
        return out
    own = (len(bias), *[1] * (len(lead) - 1)) if bias.dim() == 2 else ()
    return out + bias.view(*own, bias.shape[-1], *[1] * (axes - 1))


def slide(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, dilation: int) -> Tensor:
    """Convolution of x [N, rows, d] along its rows, no padding: [N, rows - (k - 1) * dilation, out]; weight [out, d / groups, k]."""
    taps = weight.shape[-1]
    time = x.shape[-2] - (taps - 1) * dilation
    if groups == x.shape[-1] == weight.shape[0] and taps <= 8:  # depthwise and short: shifted sums beat the convolution on [rows, d]
        out = x[..., :time, :] * weight[:, 0, 0] if bias is None else torch.addcmul(bias, x[..., :time, :], weight[:, 0, 0])
        for j in range(1, taps):
            out = torch.addcmul(out, x[..., j * dilation : j * dilation + time, :], weight[:, 0, j])
        return out
    return F.conv1d(x.transpose(-1, -2), weight, bias, dilation=dilation, groups=groups).transpose(-1, -2)


def causal_conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, groups: int = 1, dilation: int = 1) -> Tensor:
    """Convolution in time on x [..., T, d], zeros before the beginning: output t sees inputs t, t - dilation, … only."""
    reach = (weight.shape[-1] - 1) * dilation
    flat = F.pad(x.reshape(-1, *x.shape[-2:]), (0, 0, reach, 0))
    return slide(flat, weight, bias, groups, dilation).reshape(*x.shape[:-1], weight.shape[0])


def causal_conv_step(
    x: Tensor, weight: Tensor, bias: Tensor | None, slot: dict[str, Tensor], clock: Clock, groups: int = 1, dilation: int = 1
) -> Tensor:
    """Decoding form of `causal_conv`: x [B, ..., new, d]; the slot keeps the last (k - 1) * dilation inputs of each sequence."""
    x = in_each(x, -2, clock)
    reach = (weight.shape[-1] - 1) * dilation
    kept = slot.get("recent")
    if kept is None:
        kept = x.new_zeros(*x.shape[:-2], reach, x.shape[-1])
    rows = torch.cat((kept, x), -2)
    if clock.count is None:
        slot["recent"] = rows[..., x.shape[-2] :, :].clone() if x.shape[-2] > reach else rows[..., x.shape[-2] :, :]
    else:
        slot["recent"] = take_rows(rows, clock.count.to(x.device)[:, None] + torch.arange(reach, device=x.device))
    return slide(rows.reshape(-1, *rows.shape[-2:]), weight, bias, groups, dilation).reshape(*x.shape[:-1], weight.shape[0])
