"""Linear maps in float32 on CPUs where oneDNN multiplies faster than the BLAS that torch calls.

torch hands float32 products to MKL, which keeps its fast paths for its maker's CPUs: on others the same product through oneDNN, which torch
carries as well, takes about half the time at every number of rows (decision 009). Which way is taken depends on the CPU's maker and on the
sizes alone, never on a clock, so that results repeat.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 1 << 18  # multiplications below which the longer way to oneDNN costs more than it saves
FEW = 1 << 17  # weights from which even one row gains


@cache
def onednn_is_faster() -> bool:
    """Whether this machine is an x86-64 of another make than MKL's, with oneDNN in its torch."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available() or not torch.backends.mkl.is_available():
        return False
    try:
        found = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").partition("vendor_id")[2][:40]
    except OSError:
        found = platform.processor()
    return "GenuineIntel" not in found and "AuthenticAMD" in found and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class Product(torch.autograd.Function):
    """x [N, i] times weight [o, i], plus bias [o]. Its gradients are products of the same kind, and so differentiable again."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _multiply(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor | None], output: Tensor) -> None:
        ctx.save_for_backward(inputs[0], inputs[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            product(grad, weight.t(), None) if to_x else None,
            product(grad.t(), x.t(), None) if to_weight else None,
            grad.sum(0) if to_bias else None,
        )


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The product of matrices, recorded for gradients where they are asked for."""
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or (bias is not None and bias.requires_grad)):
        made: Tensor = Product.apply(x, weight, bias)
        return made
    return _multiply(x, weight, bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """F.linear: x [..., i], weight [o, i], bias [o] -> [..., o]. Through oneDNN where that is faster and nothing watches the calls."""
    if not _eligible(x, weight):
        return F.linear(x, weight, bias)
    if x.dim() == 2:
        return product(x, weight, bias)
    return product(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], weight.shape[0])


def _eligible(x: Tensor, weight: Tensor) -> bool:
    if x.dtype is not torch.float32 or weight.dtype is not torch.float32 or x.device.type != "cpu" or weight.device.type != "cpu":
        return False
    size = weight.numel()
    if (size < FEW and size // max(weight.shape[-1], 1) * x.numel() < SMALL) or x.numel() == 0 or x.dim() == 0:
        return False
    return onednn_is_faster() and not _watched() and x.shape[-1] == weight.shape[-1]


def _watched() -> bool:
    """Whether a compiler, a transform (vmap, jvp), a dispatch mode (fake tensors, counting) or autocast must see plain torch calls."""
    return (
        torch.compiler.is_compiling()
        or torch._C._functorch.maybe_current_level() is not None
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.is_autocast_enabled("cpu")
        or torch.autograd.forward_ad._current_level >= 0
    )
