"""A small, real training loop: `train(model, task, TrainConfig(steps=1000, out="runs/first"))`."""

from __future__ import annotations

from typing import Any

_HOME = {
    "Stage": "stages",
    "TrainConfig": "config",
    "TrainResult": "loop",
    "accuracy_by": "objective",
    "curriculum": "stages",
    "evaluate": "objective",
    "train": "loop",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(f"archdsl.training.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archdsl.training' has no attribute '{name}'")
