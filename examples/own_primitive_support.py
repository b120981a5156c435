"""What the emitted text of `shrink` calls: plain torch, copied into emitted files."""

import torch
from torch import Tensor


def soft_threshold(x: Tensor, theta: Tensor) -> Tensor:
    """sign(x) * max(|x| - theta, 0), theta over the last axis."""
    return torch.sign(x) * torch.relu(torch.abs(x) - theta)
