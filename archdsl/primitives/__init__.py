"""The table of primitives. Each module lists its own under PRIMITIVES; a new module is one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from archdsl.primitives.base import Primitive

MODULES = (
    "act",
    "attend",
    "causal_conv",
    "combine",
    "conv",
    "deconv",
    "detach",
    "dropout",
    "einsum",
    "embedding",
    "feedback",
    "fourier",
    "history",
    "index",
    "layout",
    "linear",
    "norm",
    "order",
    "pointwise",
    "pool",
    "position",
    "product",
    "rearrange",
    "reduce",
    "resize",
    "routing",
    "running",
    "slicing",
    "solve",
    "sources",
)

TABLE: dict[str, Primitive[Any]] = {
    primitive.name: primitive for name in MODULES for primitive in import_module(f"archdsl.primitives.{name}").PRIMITIVES
}
