"""The optimizers a run can name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from archdsl.training.config import TrainConfig

_MADE: dict[str, Callable[[Any, TrainConfig], torch.optim.Optimizer]] = {
    "adamw": lambda groups, c: torch.optim.AdamW(groups, lr=c.lr, betas=c.betas, weight_decay=0.0),
    "adam": lambda groups, c: torch.optim.Adam(groups, lr=c.lr, betas=c.betas, weight_decay=0.0),
    "sgd": lambda groups, c: torch.optim.SGD(groups, lr=c.lr, momentum=c.momentum, weight_decay=0.0),
    "rmsprop": lambda groups, c: torch.optim.RMSprop(groups, lr=c.lr, momentum=c.momentum, weight_decay=0.0),
}


def optimizer_for(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer that `config` names. It decays matrices and larger tensors only: not biases, gains of norms, or other vectors.

    adamw takes the decay from the weights (arXiv:1711.05101); the others add it to the gradient.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return _MADE[config.optimizer]([g for g in groups if g["params"]], config)
