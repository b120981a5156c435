"""Attention to near positions only, in time that grows with T and not with its square."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from archdsl.primitives.support.attention import attend, attend_at, same_lead, seen


def attend_window(
    q: Tensor, k: Tensor, v: Tensor, window: int, causal: bool = False, lengths: Tensor | None = None, **options: Any
) -> Tensor:
    """`attend` to the last `window` positions, or to those nearer than `window` on both sides.

    Long sequences go in blocks of `window` queries, each with the keys of its own block and its neighbours'.
    """
    q, k, v = same_lead(q, k, v)
    time = q.shape[-2]
    if torch.compiler.is_exporting() or time <= 2 * window or k.shape[-2] != time or "mask" in options:
        return attend(q, k, v, causal, window, lengths, **options)
    count = -(-time // window)
    rest = count * window - time
    after = 0 if causal else window
    span = 2 * window + after

    def spans(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, window, rest + after)).unfold(-2, span, window).transpose(-1, -2).transpose(-4, -3)

    queries = F.pad(q, (0, 0, 0, rest)).unflatten(-2, (count, window)).transpose(-4, -3)
    inner = torch.arange(span, device=q.device)
    places = torch.arange(count, device=q.device)[:, None] * window + inner - window  # position of each key of each block
    distance = torch.arange(window, device=q.device)[:, None] + window - inner
    real = (places >= 0) & (places < time)
    if lengths is not None and not causal:
        real = real & (places < lengths.to(q.device).view(-1, *[1] * (q.dim() - 3), 1))
    near = seen(distance, causal, window)
    allowed = real[..., None, None, :] & near if near is not None else real[..., None, None, :]
    out = attend_at(queries, spans(k), spans(v), distance, allowed, causal, **options)
    return out.transpose(-4, -3).flatten(-3, -2)[..., :time, :]


def attend_chunks(
    q: Tensor, k: Tensor, v: Tensor, chunk: int, causal: bool = False, lengths: Tensor | None = None, **options: Any
) -> Tensor:
    """`attend` inside chunks of `chunk` positions that do not overlap; the last one may be shorter."""
    q, k, v = same_lead(q, k, v)
    time = q.shape[-2]
    count = (time + chunk - 1) // chunk
    rest = count * chunk - time

    def chunks(x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, rest)).unflatten(-2, (count, chunk)).transpose(-4, -3)

    if torch.compiler.is_exporting():  # a length that stays free cannot be cut into chunks
        keys = torch.arange(time, device=q.device)
        distance = keys[:, None] - keys
        allowed = keys[:, None] // chunk == keys // chunk
        allowed = allowed & (distance >= 0) if causal else allowed
        if lengths is not None and not causal:
            allowed = allowed & (keys < lengths.to(q.device).view(-1, *[1] * (q.dim() - 1)))
        return attend_at(q, k, v, distance, allowed, causal, **options)
    ends = torch.full((1,), time, device=q.device) if lengths is None else lengths.to(q.device)
    begins = torch.arange(count, device=q.device) * chunk
    own = (ends.view(-1, *[1] * (q.dim() - 3)) - begins).clamp(0, chunk)
    out = attend(chunks(q), chunks(k), chunks(v), causal, None, None if causal else own, **options)
    return out.transpose(-4, -3).flatten(-3, -2)[..., :time, :]
