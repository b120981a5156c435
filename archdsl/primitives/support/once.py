"""Backward passes without a derivative of their own: whoever asks for one is told.

torch's `once_differentiable` ties what it guards to no input, so that a second derivative comes out as zero there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Refusal(torch.autograd.Function):
    """forward(words, count, found…, read…): the first `count` tensors, as a function of all; its derivative is refused in these words."""

    @staticmethod
    def forward(ctx: Any, words: str, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.words = words
        return tensors[:count]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError(ctx.words)


def once(found: Sequence[Tensor | None], read: Sequence[Tensor | None], words: str) -> tuple[Tensor | None, ...]:
    """The gradients that a backward pass found in what it read. Where gradients of gradients are being recorded, theirs are refused."""
    if not torch.is_grad_enabled():
        return tuple(found)
    tensors = [f for f in found if f is not None]
    tied = iter(Refusal.apply(words, len(tensors), *tensors, *(r for r in read if r is not None)))
    return tuple(None if f is None else next(tied) for f in found)
