"""Causal attention while decoding: keys and values kept between steps, whole or as a ring of the last `window` positions.

A slot is a dict of tensors [B, ..., hk, rows, c]. Kept whole, row i is position i, and the buffer doubles when full. In a ring, position p
is at row p % window. Rows that hold padding of a ragged batch lie at positions not reached yet: never seen, and overwritten in time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archdsl.primitives.support.attention import attend_at, attend_fused, same_lead, seen
from archdsl.primitives.support.clock import Clock


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows of x [B, ..., N, c] along axis -2: the same for all sequences (index [M]), or each its own ([B, M])."""
    if index.dim() == 1:
        return x.index_select(-2, index)
    return x.gather(-2, index.view(len(index), *[1] * (x.dim() - 3), index.shape[1], 1).expand(*x.shape[:-2], -1, x.shape[-1]))


def write_rows(x: Tensor, index: Tensor, rows: Tensor) -> None:
    """Puts rows [B, ..., M, c] in place into x [B, ..., N, c], each sequence at its own places [B, M]."""
    x.scatter_(-2, index.view(len(index), *[1] * (x.dim() - 3), index.shape[1], 1).expand_as(rows), rows)


def keep_all(slot: dict[str, Tensor], name: str, new: Tensor, clock: Clock) -> Tensor:
    """Adds new rows [B, ..., new, c] to a growing buffer; returns all rows so far."""
    end = clock.limit + new.shape[-2]
    kept = slot.get(name)
    if kept is None or kept.shape[-2] < end:
        grown = new.new_zeros(*new.shape[:-2], max(64, 1 << end.bit_length()), new.shape[-1])
        if kept is not None:
            grown[..., : kept.shape[-2], :] = kept
        slot[name] = kept = grown
    if isinstance(clock.start, int):
        kept[..., clock.start : end, :] = new
    else:
        write_rows(kept, clock.positions(new.shape[-2], new.device), new)
    return kept[..., :end, :]


def keep_window(slot: dict[str, Tensor], name: str, new: Tensor, clock: Clock, window: int) -> Tensor:
    """Adds new rows to a ring of `window` rows; returns the rows to look at, at the positions `window_positions` says."""
    time, start = new.shape[-2], clock.start if isinstance(clock.start, int) else clock.start.to(new.device)
    kept = slot.get(name)
    if kept is None:
        slot[name] = kept = new.new_zeros(*new.shape[:-2], window, new.shape[-1])
    if time == 1:
        if isinstance(start, int):
            kept[..., start % window : start % window + 1, :] = new
            return kept if start >= window else kept[..., : start + 1, :]
        write_rows(kept, (start % window)[:, None], new)
        return kept
    before = start if isinstance(start, int) else start[:, None]
    old = torch.arange(window, device=new.device) + before - window
    rows = torch.cat((take_rows(kept, old % window), new), -2)
    last = before + (time if clock.count is None else clock.count.to(new.device)[:, None]) - 1
    newest = last - (last - torch.arange(window, device=new.device)) % window  # the position each row of the ring holds from now on
    slot[name] = take_rows(rows, newest - before + window)
    return rows


def window_positions(clock: Clock, time: int, window: int, device: torch.device) -> Tensor:
    """Positions of the rows that `keep_window` returned, [N] or [B, N]; negative where there is none."""
    start = clock.start if isinstance(clock.start, int) else clock.start.to(device)[:, None]
    if time > 1:
        return torch.arange(window + time, device=device) + start - window
    slots = torch.arange(window if not isinstance(start, int) else min(window, start + 1), device=device)
    return start - (start - slots) % window


def attend_step(q: Tensor, k: Tensor, v: Tensor, slot: dict[str, Tensor], clock: Clock, scale: float | None = None) -> Tensor:
    """Decoding form of plain causal attention: q, k and v hold the new positions; earlier keys and values are in the slot."""
    k, v = keep_all(slot, "k", k, clock), keep_all(slot, "v", v, clock)
    time = q.shape[-2]
    if isinstance(clock.start, int) and (time == 1 or clock.start == 0):
        return attend_fused(q, k, v, scale, None, time > 1, 0.0)
    if ("keys", q.dim()) not in clock.memo:
        places = clock.positions(time, q.device)
        places = places[:, None] if places.dim() == 1 else places.view(-1, *[1] * (q.dim() - 3), time, 1)
        clock.memo["keys", q.dim()] = places >= torch.arange(k.shape[-2], device=q.device)
    return attend_fused(q, k, v, scale, clock.memo["keys", q.dim()], False, 0.0)


def attend_step_with(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slot: dict[str, Tensor],
    clock: Clock,
    window: int | None = None,
    chunk: int | None = None,
    **options: Any,
) -> Tensor:
    """Decoding form of causal `attend` with its options; with a window or chunks the slot keeps no more than one of them."""
    kept = window if chunk is None else chunk
    if kept is None:
        k, v = keep_all(slot, "k", k, clock), keep_all(slot, "v", v, clock)
    else:
        k, v = keep_window(slot, "k", k, clock, kept), keep_window(slot, "v", v, clock, kept)
    single = isinstance(clock.start, int) and q.shape[-2] == 1 and chunk is None  # sees every key at hand
    if single and options.keys() <= {"scale"}:
        return attend_fused(q, k, v, options.get("scale"), None, False, 0.0)
    key = ("keys", window, chunk, q.dim())
    if key not in clock.memo:
        clock.memo[key] = seen_keys(q, k.shape[-2], clock, window, chunk)
    distance, allowed = clock.memo[key]
    return attend_at(q, k, v, distance, None if single else allowed, True, **options)


def attend_step_past(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    slot: dict[str, Tensor],
    clock: Clock,
    past: str,
    window: int | None = None,
    chunk: int | None = None,
    **options: Any,
) -> Tensor:
    """Decoding form of causal `attend` where k, v or both hold all positions so far already (`past` names them): the slot keeps the other."""
    k = k if "k" in past else keep_all(slot, "k", k, clock)
    v = v if "v" in past else keep_all(slot, "v", v, clock)
    q, k, v = same_lead(q, k, v)
    key = ("past", window, chunk, q.dim())
    if key not in clock.memo:
        clock.memo[key] = seen_keys(q, k.shape[-2], clock, window, chunk, whole=True)
    distance, allowed = clock.memo[key]
    return attend_at(q, k, v, distance, allowed, True, **options)


def seen_keys(
    q: Tensor, rows: int, clock: Clock, window: int | None, chunk: int | None, whole: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The distance of the new queries from the kept rows, and which of them they see: to broadcast over [B, ..., h, new, rows].

    whole: row i is position i, also where there is a window.
    """
    lead = [1] * (q.dim() - 3)

    def column(places: Tensor) -> Tensor:
        return places.view(-1, *lead, places.shape[1], 1) if places.dim() == 2 else places[:, None]

    kept = None if whole else window if chunk is None else chunk
    queries = column(clock.positions(q.shape[-2], q.device))
    if kept is None:
        keys = torch.arange(rows, device=q.device)
    else:
        keys = column(window_positions(clock, q.shape[-2], kept, q.device)).transpose(-1, -2)
    distance = queries - keys
    allowed = seen(distance, True, window)
    if chunk is not None and allowed is not None:
        allowed = allowed & (queries // chunk == keys // chunk)
    if kept is not None and allowed is not None:
        allowed = allowed & (keys >= 0)
    return distance, allowed
