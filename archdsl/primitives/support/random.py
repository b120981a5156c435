"""Random tensors: how weights begin (the same bits for the same seed and path, in any process), draws in a forward pass, dropout."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def initialise(tensor: Tensor, init: tuple[Any, ...], seed: int, path: str) -> None:
    """Fills a weight in place from (kind, *arguments), e.g. ("normal", 0.02) or ("apply", "log", ("arange", 1, 1)).

    Each weight has its own generator, seeded by `seed` and its `path`: no weight depends on another, and neither on device or dtype.
    """
    import hashlib

    digest = hashlib.blake2b(f"{seed}:{path}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
    whole = not (tensor.dtype.is_floating_point or tensor.dtype.is_complex)
    parts = (*tensor.shape, 2) if tensor.dtype.is_complex else tuple(tensor.shape)
    filled = draw_initial(parts, init, generator)
    if tensor.dtype.is_complex:
        filled = torch.view_as_complex(filled.contiguous())
    with torch.no_grad():
        tensor.copy_(filled.round() if whole else filled)


EXACT = ("zeros", "ones", "constant", "eye", "legs")


def draw_initial(shape: tuple[int, ...], init: tuple[Any, ...], generator: torch.Generator) -> Tensor:
    """A tensor on the CPU as an initialiser describes it: draws in float32, so that their bits are those of any dtype; what is given exactly in
    float64."""
    kind, args = init[0], init[1:]
    if kind == "apply":
        inner = draw_initial(shape, args[1], generator)
        if args[0] == "inv_softplus":
            return inner + torch.log(-torch.expm1(-inner))
        return {"neg": torch.neg, "log": torch.log, "exp": torch.exp, "sqrt": torch.sqrt}[args[0]](inner)
    if kind == "arange":
        steps = args[0] + args[1] * torch.arange(shape[-1] if shape else 1, dtype=torch.float64)
        return steps.expand(shape).clone() if shape else steps[0]
    if kind == "values":
        given = torch.tensor(args[0], dtype=torch.float64)
        return given.reshape(shape) if given.numel() == math.prod(shape) else given.expand(shape).clone()
    out = torch.empty(shape, dtype=torch.float64 if kind in EXACT else torch.float32)
    if kind in ("zeros", "ones", "constant"):
        return out.fill_({"zeros": 0.0, "ones": 1.0}[kind] if kind != "constant" else args[0])
    if kind == "eye":
        return out.copy_(torch.eye(shape[-2], shape[-1]))
    if kind == "legs":
        root = torch.arange(1, 2 * shape[-1], 2, dtype=torch.float64).sqrt()
        return out.copy_(-torch.tril(torch.outer(root, root), -1) - torch.diag(torch.arange(1.0, shape[-1] + 1)))
    if kind == "normal":
        return out.normal_(args[1] if len(args) > 1 else 0.0, args[0], generator=generator)
    if kind == "uniform":
        return out.uniform_(args[0], args[1], generator=generator)
    if kind == "loguniform":
        return out.uniform_(math.log(args[0]), math.log(args[1]), generator=generator).exp_()
    if kind == "truncated_normal":
        return nn.init.trunc_normal_(out, std=args[0], a=-2 * args[0], b=2 * args[0], generator=generator)
    if kind == "orthogonal":
        return nn.init.orthogonal_(out, args[0], generator=generator)
    fan_in, fan_out = fans(shape)
    if kind.startswith("xavier"):
        std = args[0] * math.sqrt(2.0 / (fan_in + fan_out))
    elif kind == "lecun_normal":
        std = args[0] / math.sqrt(fan_in)
    else:
        std = math.sqrt(2.0 / (1 + args[0] ** 2) / (fan_out if "out" in args else fan_in))
    if kind.endswith("uniform"):
        return out.uniform_(-math.sqrt(3.0) * std, math.sqrt(3.0) * std, generator=generator)
    return out.normal_(0.0, std, generator=generator)


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Inputs and outputs of one unit of a weight [out, in, *kernel]; of a vector, its size for both."""
    if len(shape) < 2:
        return max(math.prod(shape), 1), max(math.prod(shape), 1)
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


def draw(shape: tuple[int, ...], init: tuple[Any, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """A fresh draw at every call, from torch's own generator of the device."""
    kind, args = init[0], init[1:]
    out = torch.empty(shape, device=device, dtype=dtype)
    if kind == "normal":
        return out.normal_(args[1] if len(args) > 1 else 0.0, args[0])
    if kind == "uniform":
        return out.uniform_(args[0], args[1])
    if kind == "loguniform":
        return out.uniform_(math.log(args[0]), math.log(args[1])).exp_()
    if kind == "truncated_normal":
        return nn.init.trunc_normal_(out, std=args[0], a=-2 * args[0], b=2 * args[0])
    return out.bernoulli_(args[0])


def dropout_along(x: Tensor, p: float, axes: tuple[int, ...], training: bool, batched: bool = True) -> Tensor:
    """Dropout with one draw per sample and entry of the given negative axes, shared along the others: (-3,) drops channels of [c, H, W]."""
    if not training or p == 0.0:
        return x
    shape = [size if (batched and i == 0) or i - x.dim() in axes else 1 for i, size in enumerate(x.shape)]
    return x * F.dropout(torch.ones(shape, device=x.device, dtype=x.dtype), p)
