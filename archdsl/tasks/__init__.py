"""Training tasks: generators of batches with exact answers, by name.

task = get_task("mqar", vocab=256, length=64, pairs=4)
batch = task.batch(seed=0, step=0, size=32, split="train")
"""

from __future__ import annotations

from typing import Any

_HOME = {
    "Batch": "base",
    "Option": "base",
    "Task": "base",
    "TASKS": "registry",
    "get_task": "registry",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _HOME:
        return getattr(import_module(f"archdsl.tasks.{_HOME[name]}"), name)
    raise AttributeError(f"module 'archdsl.tasks' has no attribute '{name}'")
