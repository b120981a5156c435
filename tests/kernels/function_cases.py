"""Run in a process of its own with TRITON_INTERPRET=1: every function of the table by Triton, value and adjoint. Prints what is wrong as JSON.

With an argument, and without the interpreter: the same step's forward compiled for a GPU that need not be there.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

from archdsl.kernels.triton.scan_op import run, triton_kernel
from tests.graph.table import DTYPES, columns, judged, step

BLOCK = 1 << 14  # entries in a program: one serves all


def wrong() -> list[str]:
    found: list[str] = []
    for dtype in DTYPES:
        given = [c.view(1, 1, -1).requires_grad_() for c in columns(dtype)]
        (value,), _ = run(triton_kernel(step(given[0].shape[-1]), BLOCK), given, [])
        found += judged(given, value, list(torch.autograd.grad(value.sum(), given)), least={"lgamma": 2.0})
    return found


def compiles() -> None:
    """Raises where Triton refuses a kernel."""
    import triton
    import triton.language as tl
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    forward = triton_kernel(step(64)).functions["forward"]  # the adjoint has no other texts
    for dtype, pointer in ((tl.float32, "*fp32"), (tl.float64, "*fp64")):
        fixed: dict[str, Any] = {"DT": dtype, "KEEP": True, "LENGTHS": True}
        kinds = dict.fromkeys("NTL", "i32") | dict.fromkeys(fixed, "constexpr") | {"lengths": "*i64"}
        source = ASTSource(fn=forward, signature={a: kinds.get(a, pointer) for a in forward.arg_names}, constexprs=fixed)
        assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


if __name__ == "__main__":
    print(json.dumps(wrong() if len(sys.argv) == 1 else compiles()))
