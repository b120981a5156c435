"""Run in a process of its own: compiles emitted kernels for a GPU that need not be there. Raises where Triton refuses them."""

from __future__ import annotations

from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from archdsl.kernels.triton.scan_op import triton_kernel
from tests.kernels import triton_cases

FIXED: dict[str, Any] = {"DT": tl.float32, "KEEP": True, "LENGTHS": True}


def main() -> None:
    for made in (triton_cases.gates, triton_cases.delta):
        functions = triton_kernel(made()[0]).functions
        for name in ("forward", "backward"):
            kinds = dict.fromkeys("NTL", "i32") | dict.fromkeys(FIXED, "constexpr") | {"lengths": "*i64"}
            signature = {a: kinds.get(a, "*fp32") for a in functions[name].arg_names}
            source = ASTSource(fn=functions[name], signature=signature, constexprs=FIXED)
            assert triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["cubin"]


if __name__ == "__main__":
    main()
