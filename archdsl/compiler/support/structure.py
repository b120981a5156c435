"""What repeats, loops and scans need beside plain Python."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class Weights(nn.Module):
    """Named tensors without code of their own; those listed in `buffers` are not trained."""

    def __init__(self, buffers: tuple[str, ...] = (), **tensors: Tensor):
        super().__init__()
        for name, tensor in tensors.items():
            if name in buffers:
                self.register_buffer(name, tensor)
            else:
                self.register_parameter(name, nn.Parameter(tensor))


def recomputed(module: nn.Module, *args: Any, **named: Any) -> Any:
    """module(*args); while training its inner values are computed again for the backward pass instead of being kept."""
    if module.training and torch.is_grad_enabled():
        return checkpoint(module, *args, use_reentrant=False, **named)
    return module(*args, **named)


def advanced(old: Tensor, new: Tensor, time: int, lengths: Tensor | None) -> Tensor:
    """The state after step `time`: the new one, except in sequences that have already ended."""
    if lengths is None:
        return new
    running = (time < lengths).view(-1, *[1] * (new.dim() - 1))
    return torch.where(running, new, old)


def halting_share(logit: Tensor, left: Tensor, threshold: float, last: bool) -> Tensor:
    """How much of each position's remaining probability `left` goes to this round: all of it where it stops (Graves, 2016)."""
    share = torch.sigmoid(logit)
    if last:
        return left
    return torch.where(left - share <= 1 - threshold, left, share)


def pondered(ponder: Tensor, left: Tensor, share: Tensor) -> Tensor:
    """The cost of each position so far: one per round it ran, and the remainder of its probability when it stops (Graves, 2016)."""
    return ponder + (left > 0) + torch.where(share == left, left, 0.0)


def pondering(ponder: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The mean cost over the positions of a batch, ponder [B, ..., T, 1]; padding does not count."""
    if lengths is None:
        return ponder.mean()
    real = torch.arange(ponder.shape[-2], device=ponder.device) < lengths.view(-1, *[1] * (ponder.dim() - 2))
    real = real.unsqueeze(-1).expand_as(ponder)
    return (ponder * real).sum() / real.sum().clamp(min=1)


def clear_aux(model: nn.Module) -> None:
    """Forgets the side losses of the previous forward pass."""
    for module in model.modules():
        vars(module).get("aux", {}).clear()


def changed_lengths(lengths: Tensor | None, changes: str) -> Tensor | None:
    """Lengths after strides: "c,s" turns n into max(0, (n + c) // s + 1), "*s,r" into max(0, n * s + r); several in turn, split by ";"."""
    if lengths is None:
        return None
    for change in changes.split(";"):
        first, second = (int(part) for part in change.lstrip("*").split(","))
        lengths = lengths * first + second if change.startswith("*") else (lengths + first) // second + 1
        lengths = lengths.clamp(min=0)
    return lengths
