"""Linear maps: by the fastest route at hand, and with a weight that is itself a value (a hypernetwork's output, a random projection)."""

from __future__ import annotations

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear; by archdsl's route where that is faster."""
    if torch.compiler.is_compiling():
        return F.linear(x, weight, bias)
    try:
        from archdsl.kernels.linear import linear as multiply
    except ImportError:
        return F.linear(x, weight, bias)
    return multiply(x, weight, bias)


class Linear(nn.Linear):
    """nn.Linear; by archdsl's route where that is faster."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def linear_by_value(x: Tensor, weight: Tensor, bias: Tensor | None = None, batched: bool = False) -> Tensor:
    """x [..., d] times weight [out, d], or one weight per sample (batched): [B, out, d] on x [B, ..., d]. bias [out] or [B, out]."""
    if not batched:
        return F.linear(x, weight, bias)
    if x.dim() == 2:  # [B, d]
        out = (weight @ x.unsqueeze(-1)).squeeze(-1)
        return out if bias is None else out + bias
    lead = [1] * (x.dim() - 3)
    out = x @ weight.transpose(-1, -2).view(-1, *lead, weight.shape[-1], weight.shape[-2])
    if bias is None:
        return out
    return out + (bias.view(-1, *lead, 1, bias.shape[-1]) if bias.dim() == 2 else bias)
