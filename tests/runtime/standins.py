"""Small modules with given weight names, to test loading without the compiler."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn


def module_with(shapes: Mapping[str, tuple[int, ...]], device: str = "cpu", seed: int = 0) -> nn.Module:
    """A module whose state dict has exactly these names and shapes."""
    generator = torch.Generator().manual_seed(seed)
    root = nn.Module()
    for name, shape in shapes.items():
        owner = root
        *path, leaf = name.split(".")
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner._modules[part]
        values = torch.empty(shape, device=device) if device == "meta" else torch.randn(shape, generator=generator)
        owner.register_parameter(leaf, nn.Parameter(values))
    return root


def smollm2_shapes(vocab: int = 49152, d: int = 576, depth: int = 30, heads: int = 9, kv_heads: int = 3, hidden: int = 1536):
    """The names and shapes of specs/language/smollm2.arch."""
    c = d // heads
    shapes: dict[str, tuple[int, ...]] = {"table.weight": (vocab, d)}
    for i in range(depth):
        first, second = f"layers.{i}.residual.f", f"layers.{i}.residual_2.f"
        shapes |= {
            f"{first}.rmsnorm.weight": (d,),
            f"{first}.Attention.q_proj.weight": (d, d),
            f"{first}.Attention.k_proj.weight": (kv_heads * c, d),
            f"{first}.Attention.v_proj.weight": (kv_heads * c, d),
            f"{first}.Attention.o_proj.weight": (d, d),
            f"{second}.rmsnorm.weight": (d,),
            f"{second}.SwiGLU.gate_proj.weight": (hidden, d),
            f"{second}.SwiGLU.up_proj.weight": (hidden, d),
            f"{second}.SwiGLU.down_proj.weight": (d, hidden),
        }
    return shapes | {"rmsnorm.weight": (d,)}


SMOLLM2 = {"vocab": 49152, "d": 576, "depth": 30, "heads": 9, "kv_heads": 3, "hidden": 1536}
