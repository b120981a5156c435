"""What an emitted scan calls: a kernel made from the step's text, fed with tensors of any batch and lead axes."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from archdsl.kernels.build import NoCompiler, compiler
from archdsl.kernels.c_text import NoC
from archdsl.kernels.scan_op import Kernel, kernel, run
from archdsl.recurrence.text import loads


@functools.cache
def _tell(reason: str) -> None:
    warnings.warn(f"scans run as plain torch loops: {reason}", RuntimeWarning, stacklevel=4)


class ScanKernel:
    """A scan's kernel for the CPU. Called with whole sequences; gives what the plain loop gives, faster."""

    def __init__(self, text: str) -> None:
        self.kernel: Kernel = kernel(loads(text))
        self._ready: dict[torch.dtype, bool] = {}

    def usable(self, x: Tensor) -> bool:
        """Whether a tensor's device and dtype are served here (a first call may compile)."""
        if x.device.type not in ("cpu", "meta") or x.dtype not in (torch.float32, torch.float64, torch.bfloat16):
            return False
        dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
        if dtype not in self._ready:
            if torch.compiler.is_compiling():
                return True
            try:
                if x.device.type == "cpu":
                    self.kernel.library(dtype)
                self._ready[dtype] = True
            except NoCompiler as error:
                _tell(str(error))
                self._ready[dtype] = False
        return self._ready[dtype]

    def __call__(
        self, inputs: Sequence[Tensor], weights: Sequence[Tensor], states: Sequence[Tensor | None], lengths: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """inputs [batch, lead…, time, body…] in the kernel's order; weights in its order; states [batch, lead…, body…] or None.

        lengths [batch]: each sequence's own; what lies beyond gives zeros. Returns the yields, then the final states.
        """
        k = self.kernel
        given = inputs[0].dtype
        work = torch.float64 if given == torch.float64 else torch.float32
        leads = [x.shape[: x.dim() - 1 - len(p.shape)] for x, p in zip(inputs, k.inputs)]
        lead = torch.broadcast_shapes(*leads)
        time = inputs[0].shape[len(leads[0])]
        flat = [x.to(work).expand(*lead, *x.shape[len(own) :]).reshape(-1, time, *p.shape) for x, own, p in zip(inputs, leads, k.inputs)]
        begin = [None if s is None else s.to(work).expand(*lead, *p.shape).reshape(-1, *p.shape) for s, p in zip(states, k.states)]
        if lengths is not None:
            heads = math.prod(lead[1:])
            lengths = lengths.to(torch.int64).clamp(0, time).repeat_interleave(heads)
        yields, ends = run(k, flat, [w.to(work) for w in weights], begin, lengths)
        out = [y.reshape(*lead, time, *p.shape).to(given) for y, p in zip(yields, k.yields)]
        return (*out, *(e.reshape(*lead, *p.shape).to(given) for e, p in zip(ends, k.states)))


def scan_kernel(text: str) -> ScanKernel | None:
    """The kernel of a step's text; None, said once, where there is no compiler or the step uses what C has no form for."""
    try:
        compiler()
        return ScanKernel(text)
    except (NoCompiler, NoC) as error:
        _tell(str(error))
        return None


__all__ = ["ScanKernel", "scan_kernel"]
