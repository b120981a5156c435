"""Where archdsl's kernels come in: an emitted file asks for them and runs as plain torch without."""

from __future__ import annotations

from typing import Any


def scan_kernel(step: str) -> Any:
    """archdsl's kernel for a scan's step; None where archdsl or a C compiler is missing, and the loop over time runs."""
    try:
        from archdsl.kernels.scans import scan_kernel as make
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
