"""Where decoding stands in each sequence of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Clock:
    """The positions that one decoding step adds.

    start: how many positions each sequence has seen before: an int while all are equal, else a tensor [B].
    new:   how many positions this step brings (the size of the time axis now).
    count: how many of them are real in each sequence, a tensor [B] (a batch padded on the right); None if all are.
    limit: a whole number that no entry of `start` exceeds.
    memo:  what layers share within one step (masks, rotation tables); emptied by `begin`.
    """

    def __init__(self) -> None:
        self.start: int | Tensor = 0
        self.new = 0
        self.count: Tensor | None = None
        self.limit = 0
        self.memo: dict[Any, Any] = {}

    def begin(self, new: int, count: Tensor | None = None) -> None:
        """Opens a step with `new` positions, of which only the first `count` of each sequence are real."""
        self.new = new
        self.count = count
        self.memo = {}

    def positions(self, time: int, device: torch.device | None = None, dtype: torch.dtype = torch.int64) -> Tensor:
        """The place of each new position in its sequence: [time], or [B, time] where sequences differ."""
        steps = torch.arange(time, device=device, dtype=dtype)
        if isinstance(self.start, int):
            return steps + self.start
        return self.start.to(device)[:, None] + steps

    def advance(self) -> None:
        """Closes the step: the real positions have been seen."""
        self.start = self.start + (self.new if self.count is None else self.count)
        self.limit += self.new
        self.count = None
        self.new = 0
        self.memo = {}
