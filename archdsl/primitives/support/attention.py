"""Attention over keys and values, whole sequences at once.

Shapes: q [B, ..., h, Tq, c], k [B, ..., hk, Tk, c], v [B, ..., hk, Tk, cv] with h a multiple of hk; the output is [B, ..., h, Tq, cv].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def attend_fused(q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """torch's fused softmax attention, on tensors of any number of leading axes."""
    grouped = {} if q.shape[-3] == k.shape[-3] else {"enable_gqa": True}
    lead = q.dim() - 3
    if lead == 1:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale=scale, **grouped)
    shape = q.shape[:-3]
    if lead == 0:
        q, k, v = q[None], k[None], v[None]
    else:
        mask = mask if mask is None or mask.dim() <= 2 else mask.expand(*shape, *mask.shape[-3:]).flatten(0, lead - 1)
        q, k, v = q.flatten(0, lead - 1), k.flatten(0, lead - 1), v.flatten(0, lead - 1)
    out = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale=scale, **grouped)
    return out.reshape(*shape, *out.shape[1:])


def alibi_slopes(heads: int, device: torch.device) -> Tensor:
    """One slope per head, [heads, 1, 1] (Press et al., 2022): powers of 2 ** (-8 / heads), filled up from the next power of two."""
    full = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / full) for i in range(full)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / full) for i in range(heads - full)]
    return torch.tensor(slopes, device=device)[:, None, None]


def t5_buckets(distance: Tensor, buckets: int, causal: bool, reach: int) -> Tensor:
    """T5's bucket of each distance (Raffel et al., 2020): one each for near ones, then wider and wider up to `reach`."""
    first = torch.zeros_like(distance)
    if not causal:
        buckets //= 2
        first = (distance < 0).long() * buckets
        distance = distance.abs()
    distance = distance.clamp(min=0)
    exact = buckets // 2
    wide = torch.log(distance.clamp(min=1) / exact) / math.log(reach / exact) * (buckets - exact)
    return first + torch.where(distance < exact, distance, (exact + wide.long()).clamp(max=buckets - 1))


def distance_bias(distance: Tensor, bias: str, table: Tensor | None, reach: int, heads: int, causal: bool, dtype: torch.dtype) -> Tensor:
    """What is added to scores at each distance query - key, [Tq, Tk] or [B, ..., 1, Tq, Tk]: the same with `heads` as third last axis.

    "alibi": minus slope times distance. "relative", "t5": a row of a table [rows, heads], for the distance (cut at the ends) or its bucket.
    """
    if bias == "alibi" or table is None:
        return -alibi_slopes(heads, distance.device).to(dtype) * distance.abs()
    if distance.dim() > 2:
        distance = distance.squeeze(-3)
    rows = table.shape[0]
    if bias == "t5":
        index = t5_buckets(distance, rows, causal, reach)
    else:
        index = (distance if causal else distance + rows // 2).clamp(0, rows - 1)
    return table[index].movedim(-1, -3).to(dtype)


def seen(distance: Tensor, causal: bool, window: int | None) -> Tensor | None:
    """Which distances query - key are seen: bool, None if all. A window is the last positions if causal, else those nearer than it."""
    allowed = distance >= 0 if causal else None
    if window is not None:
        near = distance < window if causal else distance.abs() < window
        allowed = near if allowed is None else allowed & near
    return allowed


def weigh(scores: Tensor, allowed: Tensor | None, score: str | Callable[[Tensor], Tensor], normalise: str, sinks: Tensor | None) -> Tensor:
    """Attention weights from scores [..., Tq, Tk]. normalise: "none", "length" (by the number of keys seen) or "sum" (by their own sum)."""
    if score == "softmax":
        if allowed is not None:
            scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)  # finite: a row that sees nothing must not become NaN
        if sinks is None:
            return scores.softmax(-1)
        total = torch.logaddexp(scores.logsumexp(-1, keepdim=True), sinks[:, None, None].to(scores.dtype))
        return (scores - total).exp()
    named = {"relu": F.relu, "relu2": lambda s: F.relu(s).square(), "sigmoid": torch.sigmoid, "exp": torch.exp, "none": lambda s: s}
    weights = named[score](scores) if isinstance(score, str) else score(scores)
    if allowed is not None:
        weights = weights.masked_fill(~allowed, 0.0)
    if normalise == "sum":
        return weights / weights.sum(-1, keepdim=True).clamp(min=1e-6)
    if normalise == "length":
        count = scores.shape[-1] if allowed is None else allowed.sum(-1, keepdim=True).clamp(min=1)
        return weights / count
    return weights


def attend_scores(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    allowed: Tensor | None,
    added: Tensor | None,
    softcap: float | None,
    score: str | Callable[[Tensor], Tensor],
    normalise: str,
    sinks: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attention written out: any score function, a cap on the scores (cap * tanh(s / cap)), something added and sink logits [h]."""
    groups = q.shape[-3] // k.shape[-3]
    if groups > 1:
        k, v = (t.unsqueeze(-3).expand(*t.shape[:-2], groups, *t.shape[-2:]).flatten(-4, -3) for t in (k, v))
    scores = (q * scale) @ k.transpose(-1, -2)
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if added is not None:
        scores = scores + added
    weights = weigh(scores, allowed, score, normalise, sinks).to(v.dtype)
    return F.dropout(weights, dropout) @ v if dropout else weights @ v


def attend_at(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    distance: Tensor,
    allowed: Tensor | None,
    causal: bool = False,
    scale: float | None = None,
    mask: Tensor | None = None,
    bias: str | None = None,
    table: Tensor | None = None,
    reach: int = 128,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    score: str | Callable[[Tensor], Tensor] = "softmax",
    normalise: str = "none",
    dropout: float = 0.0,
) -> Tensor:
    """Attention with every option, given the distance query - key of each pair and which pairs may be seen; fused where that can be."""
    added = None if bias is None else distance_bias(distance, bias, table, reach, q.shape[-3], causal, q.dtype)
    if mask is not None and mask.dtype == torch.bool:
        allowed = mask if allowed is None else allowed & mask
    elif mask is not None:
        added = mask.to(q.dtype) if added is None else added + mask.to(q.dtype)
    if score == "softmax" and softcap is None and sinks is None:
        joined = allowed if added is None else added if allowed is None else added.masked_fill(~allowed, float("-inf"))
        return attend_fused(q, k, v, scale, joined, False, dropout)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return attend_scores(q, k, v, factor, allowed, added, softcap, score, normalise, sinks, dropout)


def same_lead(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Gives those without a batch axis (learned queries or keys) the others' leading axes."""
    if q.dim() == k.dim() == v.dim():
        return q, k, v
    lead = torch.broadcast_shapes(q.shape[:-3], k.shape[:-3], v.shape[:-3])
    return q.expand(*lead, *q.shape[-3:]), k.expand(*lead, *k.shape[-3:]), v.expand(*lead, *v.shape[-3:])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    window: int | None = None,
    lengths: Tensor | None = None,
    offset: int = 0,
    **options: Any,
) -> Tensor:
    """Attention over whole sequences. lengths [B, ...]: keys beyond are not seen. offset: keys before the first query's own. options: those
    of `attend_at`."""
    q, k, v = same_lead(q, k, v)
    if (
        causal and window is None and not offset and options.keys() <= {"scale", "dropout"}
    ):  # padding comes after each sequence: causal is enough
        return attend_fused(q, k, v, options.get("scale"), None, True, options.get("dropout", 0.0))
    keys = torch.arange(k.shape[-2], device=q.device)
    distance = torch.arange(q.shape[-2], device=q.device)[:, None] + offset - keys
    allowed = seen(distance, causal, window)
    if lengths is not None and not causal:
        real = keys < lengths.to(q.device).view(*lengths.shape, *[1] * (q.dim() - lengths.dim()))
        allowed = real if allowed is None else allowed & real
    return attend_at(q, k, v, distance, allowed, causal, **options)
