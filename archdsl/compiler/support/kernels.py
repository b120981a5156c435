"""Where archdsl's kernels come in: an emitted file asks for them and runs as plain torch without."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def scan_kernel(step: str) -> Any:
    """archdsl's kernel for a scan's step; None where archdsl or a C compiler is missing, and the loop over time runs."""
    try:
        from archdsl.scanning.runner import scan_kernel as make
    except ImportError:
        return None
    return make(step)


def with_kernel(plain: Any) -> Any:
    """An activation that runs as archdsl's C kernel where one can be made from its `formula` and pays, as it stands everywhere else."""
    try:
        from archdsl.kernels.pointwise import with_kernel as make
    except ImportError:
        return plain
    return make(plain)


def from_parts(re: Tensor, im: Tensor) -> Tensor:
    """A complex tensor; parts in half precision are widened, since torch has no complex numbers of that width."""
    wide = re.dtype if re.dtype in (torch.float32, torch.float64) else torch.float32
    return torch.complex(re.to(wide), im.to(wide))
