"""Rotary, sinusoidal and learned positions. Angles are made in float32 (float64 for float64 inputs)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from archdsl.primitives.support.clock import Clock


def rotary_frequencies(
    size: int, base: float, scaling: tuple[Any, ...] | None, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Angular speeds [size / 2] of rotary embeddings, with a context extension applied.

    scaling: None, ("linear", factor), ("ntk", factor), ("llama3", factor, low, high, original) or ("yarn", factor, fast, slow, original);
    ("closed",) spaces the speeds from 1 to 1 / base with both ends (retention).
    """
    if scaling is not None and scaling[0] == "ntk":
        base = base * scaling[1] ** (size / (size - 2))
    if scaling is not None and scaling[0] == "closed":
        return 1.0 / base ** torch.linspace(0, 1, size // 2, device=device, dtype=dtype)
    speeds = 1.0 / base ** (torch.arange(0, size, 2, device=device, dtype=dtype) / size)
    if scaling is None or scaling[0] == "ntk":
        return speeds
    kind, factor = scaling[:2]
    if kind == "linear":
        return speeds / factor
    if kind == "llama3":
        low, high, original = scaling[2:]
        turns = original * speeds / (2 * math.pi)
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        return speeds * (keep + (1 - keep) / factor)
    fast, slow, original = scaling[2:]

    def pair(turns: float) -> float:
        return size * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = max(math.floor(pair(fast)), 0), min(math.ceil(pair(slow)), size - 1)
    ramp = (torch.arange(size // 2, device=device, dtype=dtype) - first) / max(last - first, 0.001)
    keep = 1 - ramp.clamp(0, 1)
    return speeds * (keep + (1 - keep) / factor)


def rotary_angles(
    positions: Tensor, x: Tensor, size: int, base: float, interleaved: bool, scaling: tuple[Any, ...] | None
) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines [*positions, size] in x's dtype: x * cos + swap(x) * sin turns each pair of entries."""
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    angles = positions.to(wide)[..., None] * rotary_frequencies(size, base, scaling, x.device, wide)
    cos, sin = angles.cos(), angles.sin()
    if scaling is not None and scaling[0] == "yarn":
        attention = 0.1 * math.log(scaling[1]) + 1.0 if scaling[1] > 1 else 1.0
        cos, sin = cos * attention, sin * attention
    if interleaved:
        return cos.repeat_interleave(2, -1).to(x.dtype), torch.stack((-sin, sin), -1).flatten(-2).to(x.dtype)
    return torch.cat((cos, cos), -1).to(x.dtype), torch.cat((-sin, sin), -1).to(x.dtype)


def rotary_table(end: int, x: Tensor, size: int, base: float, interleaved: bool, scaling: tuple[Any, ...] | None) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the positions 0 to at least `end` - 1, kept between calls (not while compiling or faking)."""
    if torch.compiler.is_compiling() or type(x) is not Tensor or x.is_meta:
        return rotary_angles(torch.arange(end, device=x.device), x, size, base, interleaved, scaling)
    kept = rotary_table.__dict__.setdefault("kept", {})
    key = (size, base, interleaved, scaling, x.dtype, x.device)
    found = kept.get(key)
    if found is None or found[0].shape[0] < end:
        length = max(256, 1 << (end - 1).bit_length())
        with torch.inference_mode(False), torch.no_grad():
            found = rotary_angles(torch.arange(length, device=x.device), x, size, base, interleaved, scaling)
        if len(kept) >= 64:
            kept.clear()
        kept[key] = found
    return found


def turn_pairs(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """Turns pairs of the leading entries of the last axis; entries beyond the table's width pass unchanged."""
    size = cos.shape[-1]
    if size < x.shape[-1]:
        return torch.cat((turn_pairs(x[..., :size], cos, sin, interleaved), x[..., size:]), -1)
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if interleaved else x.roll(size // 2, -1)
    return torch.addcmul(x * cos, swapped, sin)


def rotary(
    x: Tensor,
    base: float = 10_000.0,
    size: int | None = None,
    interleaved: bool = False,
    scaling: tuple[Any, ...] | None = None,
    offset: int = 0,
    positions: Tensor | None = None,
) -> Tensor:
    """Rotary positions (Su et al., 2021) on x [..., T, c]: entry i is paired with i + c/2, or with i + 1 if interleaved.

    size: how many leading entries are turned (all if None). positions: [T] or [B, T], instead of 0, 1, 2, …
    """
    size, time = size or x.shape[-1], x.shape[-2]
    if positions is not None:
        cos, sin = rotary_angles(positions + offset, x, size, base, interleaved, scaling)
        if positions.dim() == 2:
            shape = (-1, *[1] * (x.dim() - 3), time, size)
            cos, sin = cos.view(shape), sin.view(shape)
        return turn_pairs(x, cos, sin, interleaved)
    cos, sin = rotary_table(offset + time, x, size, base, interleaved, scaling)
    return turn_pairs(x, cos[offset : offset + time], sin[offset : offset + time], interleaved)


def rotary_step(
    x: Tensor,
    clock: Clock,
    base: float = 10_000.0,
    size: int | None = None,
    interleaved: bool = False,
    scaling: tuple[Any, ...] | None = None,
    offset: int = 0,
) -> Tensor:
    """Decoding form of `rotary`: x [B, ..., new, c] holds only the new positions."""
    size, time = size or x.shape[-1], x.shape[-2]
    key = ("rotary", base, size, interleaved, scaling, offset, x.dtype, x.dim())
    found = clock.memo.get(key)
    if found is None:
        cos, sin = rotary_table(offset + clock.limit + time, x, size, base, interleaved, scaling)
        if isinstance(clock.start, int):
            begin = clock.start + offset
            found = cos[begin : begin + time], sin[begin : begin + time]
        else:
            places = clock.positions(time, x.device) + offset
            shape = (-1, *[1] * (x.dim() - 3), time, size)
            found = cos[places].view(shape), sin[places].view(shape)
        clock.memo[key] = found
    cos, sin = found
    return turn_pairs(x, cos, sin, interleaved)


def add_positions(x: Tensor, table: Tensor, clock: Clock | None = None, offset: int = 0) -> Tensor:
    """x [..., T, d] plus the rows of a table [max, d] that belong to its positions; in decoding the positions follow the clock."""
    time = x.shape[-2]
    if clock is None or isinstance(clock.start, int):
        first = offset if clock is None else offset + clock.start
        return x + table[first : first + time]
    rows = (clock.positions(time, table.device) + offset).clamp(max=table.shape[0] - 1)  # padding may reach beyond the table
    return x + table[rows].view(-1, *[1] * (x.dim() - 3), time, table.shape[1])


def sinusoid(
    positions: Tensor,
    size: int,
    base: float = 10_000.0,
    interleaved: bool = True,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Sines and cosines of positions (Vaswani et al., 2017), [*positions, size]: in turn, or all sines first."""
    positions = positions.to(device)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    half = (size + 1) // 2
    speeds = torch.exp(torch.arange(half, device=positions.device, dtype=wide) * (-2 * math.log(base) / size))
    angles = positions.to(wide)[..., None] * speeds
    if not interleaved:
        return torch.cat((angles.sin(), angles.cos()), -1)[..., :size].to(dtype)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(-2)[..., :size].to(dtype)


def add_sinusoid(x: Tensor, base: float = 10_000.0, interleaved: bool = True, clock: Clock | None = None, offset: int = 0) -> Tensor:
    """x [..., T, d] plus the sinusoidal encoding of its positions; in decoding the positions follow the clock."""
    time = x.shape[-2]
    places = torch.arange(time, device=x.device) if clock is None else clock.positions(time, x.device)
    code = sinusoid(places + offset, x.shape[-1], base, interleaved, dtype=x.dtype)
    return x + (code.view(-1, *[1] * (x.dim() - 3), *code.shape[1:]) if code.dim() == 3 else code)
