"""Triton kernels for GPUs. Nothing here imports triton before a kernel is run; `usable` says whether one can be, and why not."""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from archdsl.recurrence.step import Step


def usable(step: Step, x: Tensor) -> tuple[bool, str]:
    """Whether a step's Triton kernel serves a tensor's device and dtype; if not, the reason."""
    import torch

    if importlib.util.find_spec("triton") is None:
        return False, "triton is not installed"
    if x.device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return False, f"Triton kernels run on CUDA devices, not on {x.device.type}"
    if x.dtype not in (torch.float32, torch.float64, torch.bfloat16):
        return False, f"no kernel for {x.dtype}"
    return _formed(step)


@functools.lru_cache(maxsize=256)
def _formed(step: Step) -> tuple[bool, str]:
    from archdsl.kernels.triton.scan_op import triton_kernel
    from archdsl.kernels.triton.triton_text import NoTriton

    try:
        triton_kernel(step)
    except NoTriton as error:
        return False, str(error)
    return True, ""


__all__ = ["usable"]
