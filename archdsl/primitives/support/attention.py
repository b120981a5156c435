"""Attention over keys and values: whole sequences, and decoding with kept keys.

Shapes: q [B, ..., h, Tq, c], k [B, ..., hk, Tk, c], v [B, ..., hk, Tk, cv] with h a multiple of hk; the output is [B, ..., h, Tq, cv].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def alibi_slopes(heads: int, device: torch.device) -> Tensor:
    """One slope per head, [heads, 1, 1] (Press et al., 2022): powers of 2 ** (-8 / heads), filled up from the next power of two."""
    full = 1 << (heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / full) for i in range(full)]
    slopes += [2.0 ** (-4.0 * (2 * i + 1) / full) for i in range(heads - full)]
    return torch.tensor(slopes, device=device)[:, None, None]


def allowed_keys(queries: Tensor, keys: Tensor, causal: bool, window: int | None) -> Tensor | None:
    """Which keys a query may see, by their positions: [..., Tq, 1] and [..., 1, Tk] give a bool [..., Tq, Tk]; None if all."""
    allowed = queries >= keys if causal else None
    if window is not None:
        near = queries - keys < window if causal else (queries - keys).abs() < window
        allowed = near if allowed is None else allowed & near
    return allowed


def weigh(
    scores: Tensor, allowed: Tensor | None, score: str | Callable[[Tensor], Tensor], normalise: str, sinks: Tensor | None
) -> Tensor:
    """Attention weights from scores [..., Tq, Tk]. normalise: "none", "length" (by the number of keys seen) or "sum" (by their own sum)."""
    if score == "softmax":
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
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
        seen = scores.shape[-1] if allowed is None else allowed.sum(-1, keepdim=True).clamp(min=1)
        return weights / seen
    return weights


def attend_scores(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    allowed: Tensor | None,
    bias: Tensor | None,
    softcap: float | None,
    score: str | Callable[[Tensor], Tensor],
    normalise: str,
    sinks: Tensor | None,
    dropout: float,
) -> Tensor:
    """Attention written out: any score function, a cap on the scores (cap * tanh(s / cap)), an additive bias and sink logits [h]."""
    groups = q.shape[-3] // k.shape[-3]
    if groups > 1:
        k, v = (t.unsqueeze(-3).expand(*t.shape[:-2], groups, *t.shape[-2:]).flatten(-4, -3) for t in (k, v))
    scores = (q * scale) @ k.transpose(-1, -2)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias
    weights = weigh(scores, allowed, score, normalise, sinks)
    return F.dropout(weights, dropout) @ v if dropout else weights @ v


def attend_fused(q: Tensor, k: Tensor, v: Tensor, scale: float | None, mask: Tensor | None, causal: bool, dropout: float) -> Tensor:
    """torch's fused softmax attention, on tensors of any number of leading axes."""
    grouped = q.shape[-3] != k.shape[-3]
    lead = q.dim() - 3
    if lead == 1:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale=scale, enable_gqa=grouped)
    shape = q.shape[:-3]
    if lead == 0:
        q, k, v = q[None], k[None], v[None]
    else:
        mask = mask if mask is None or mask.dim() <= 2 else mask.expand(*shape, *mask.shape[-3:]).flatten(0, lead - 1)
        q, k, v = q.flatten(0, lead - 1), k.flatten(0, lead - 1), v.flatten(0, lead - 1)
    out = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal, scale=scale, enable_gqa=grouped)
    return out.view(*shape, *out.shape[1:])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    softcap: float | None = None,
    alibi: bool = False,
    sinks: Tensor | None = None,
    score: str | Callable[[Tensor], Tensor] = "softmax",
    normalise: str = "none",
    dropout: float = 0.0,
) -> Tensor:
    """Attention over whole sequences. mask [..., Tq, Tk]: bool (True: seen) or added to scores. lengths [B]: keys beyond are unseen."""
    axes = max(q.dim(), k.dim(), v.dim())
    if q.dim() != k.dim() or k.dim() != v.dim():  # queries or keys without a batch (learned ones): give them the others'
        lead = torch.broadcast_shapes(*(t.shape[:-3] for t in (q, k, v)))
        q, k, v = (t.expand(*lead, *t.shape[-3:]) for t in (q, k, v))
    plain = score == "softmax" and softcap is None and sinks is None
    if plain and causal and window is None and mask is None and not alibi:  # padding comes after each sequence: causal is enough
        return attend_fused(q, k, v, scale, None, True, dropout)
    queries = torch.arange(q.shape[-2], device=q.device)[:, None]
    keys = torch.arange(k.shape[-2], device=q.device)
    allowed = allowed_keys(queries, keys, causal, window)
    if lengths is not None and not causal:
        real = keys < lengths.view(-1, *[1] * (axes - 1))
        allowed = real if allowed is None else allowed & real
    bias = -alibi_slopes(q.shape[-3], q.device).to(q.dtype) * (queries - keys).abs() if alibi else None
    return attend_masked(q, k, v, scale, allowed, bias, mask, softcap, score, normalise, sinks, dropout)


def attend_masked(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None,
    allowed: Tensor | None,
    bias: Tensor | None,
    mask: Tensor | None,
    softcap: float | None,
    score: str | Callable[[Tensor], Tensor],
    normalise: str,
    sinks: Tensor | None,
    dropout: float,
) -> Tensor:
    """Joins the written mask to what may be seen, then takes the fused form where it can."""
    if mask is not None and mask.dtype == torch.bool:
        allowed = mask if allowed is None else allowed & mask
    elif mask is not None:
        bias = mask.to(q.dtype) if bias is None else bias + mask.to(q.dtype)
    if score == "softmax" and softcap is None and sinks is None:
        joined = allowed if bias is None else bias if allowed is None else bias.masked_fill(~allowed, float("-inf"))
        return attend_fused(q, k, v, scale, joined, False, dropout)
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    return attend_scores(q, k, v, factor, allowed, bias, softcap, score, normalise, sinks, dropout)
