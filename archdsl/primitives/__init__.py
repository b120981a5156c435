"""The table of primitives. Each module lists its own under PRIMITIVES."""

from __future__ import annotations

from types import ModuleType

from archdsl.primitives import (
    act,
    attend,
    causal_conv,
    combine,
    conv,
    deconv,
    detach,
    dropout,
    einsum,
    embedding,
    feedback,
    fourier,
    history,
    index,
    layout,
    linear,
    norm,
    order,
    pointwise,
    pool,
    position,
    product,
    rearrange,
    reduce,
    resize,
    routing,
    running,
    slicing,
    solve,
    sources,
)
from archdsl.primitives.base import Primitive

MODULES: tuple[ModuleType, ...] = (
    act,
    attend,
    causal_conv,
    combine,
    conv,
    deconv,
    detach,
    dropout,
    einsum,
    embedding,
    feedback,
    fourier,
    history,
    index,
    layout,
    linear,
    norm,
    order,
    pointwise,
    pool,
    position,
    product,
    rearrange,
    reduce,
    resize,
    routing,
    running,
    slicing,
    solve,
    sources,
)

TABLE: dict[str, Primitive] = {primitive.name: primitive for module in MODULES for primitive in module.PRIMITIVES}
