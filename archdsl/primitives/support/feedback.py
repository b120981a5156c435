"""A factor steered by what is measured."""

from __future__ import annotations

import torch
from torch import Tensor


def steered(factor: Tensor, measured: Tensor, target: float, rate: float, training: bool) -> Tensor:
    """The factor as it stands; in training it is then multiplied by `rate` if the mean of `measured` is below the target, else divided."""
    now = factor.clone()
    if training:
        low = measured.detach().mean() < target
        factor.mul_(torch.where(low, rate, 1 / rate))
    return now
