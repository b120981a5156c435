"""What an emitted scan calls: the step's kernel on a CPU, one of its parallel forms elsewhere, fed with tensors of any batch and lead axes.

ARCHDSL_KERNELS=0 leaves compiled kernels out; ARCHDSL_KERNELS=loop leaves the forms out too, and the loop over time runs as written.
"""

from __future__ import annotations

import functools
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from archdsl.kernels.build import NoCompiler, compiler
from archdsl.kernels.c_text import NoC
from archdsl.kernels.scan_op import Kernel, kernel, run
from archdsl.kernels.second import FORWARD, transformed
from archdsl.recurrence.classes import Classified
from archdsl.recurrence.classify import classify
from archdsl.recurrence.fixed import Hoisted, hoist
from archdsl.recurrence.forms.plan import Unsupported
from archdsl.recurrence.step import Step
from archdsl.recurrence.text import loads
from archdsl.scanning.choose import Choice, choose

if TYPE_CHECKING:
    from archdsl.recurrence.forms.program import Program

MANY = 16  # times from which work on weights alone is worth doing apart
FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@functools.cache
def _tell(reason: str) -> None:
    warnings.warn(f"scans run without compiled kernels: {reason}", RuntimeWarning, stacklevel=4)


class ScanKernel:
    """A scan over whole sequences, by the form that suits device and sizes. Gives what the plain loop gives, faster."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.step: Step = loads(text)
        self._inputs = [p.shape for p in self.step.of("input")]
        self._states = [self.step.tensor(s.before).shape for s in self.step.states]
        self._yields = [self.step.tensor(name).shape for name in self.step.yields]
        self.kernel: Kernel | None = None
        try:
            compiler()
            self.kernel = kernel(self.step)
        except (NoCompiler, NoC) as error:
            _tell(str(error))
        self._ready: dict[torch.dtype, bool] = {}
        self._hoisted: tuple[Hoisted, Kernel] | None = None
        self._looked = False
        if self.kernel is None or torch.cuda.is_available():
            self.forms()

    def __reduce__(self) -> tuple[type[ScanKernel], tuple[str]]:
        return ScanKernel, (self.text,)

    def usable(self, x: Tensor) -> bool:
        """Whether a tensor's device and dtype are served here, by the kernel or by a form (a first call may compile)."""
        return x.dtype in FLOATS and (self.compiled(x) or self.parallel() or self.triton(x.device.type))

    def compiled(self, x: Tensor) -> bool:
        """Whether the C kernel runs for such a tensor."""
        return self._serves(x.device.type, _work(x.dtype))

    def _serves(self, device: str, dtype: torch.dtype) -> bool:
        if self.kernel is None or device not in ("cpu", "meta"):
            return False
        if dtype not in self._ready:
            if torch.compiler.is_compiling() or device == "meta":
                return True
            try:
                self.kernel.library(dtype)
                self._ready[dtype] = True
            except NoCompiler as error:
                _tell(str(error))
                self._ready[dtype] = False
        return self._ready[dtype]

    def hoisted(self, time: int, weights: list[Tensor]) -> tuple[Kernel, list[Tensor]]:
        """The kernel and its weights: over many times, with what depends on weights alone worked out before."""
        assert self.kernel is not None
        if time < MANY or not weights or torch.compiler.is_compiling():
            return self.kernel, weights
        if not self._looked:
            self._looked, found = True, hoist(self.step)
            self._hoisted = None if found is None else (found, kernel(found.step))
        if self._hoisted is None:
            return self.kernel, weights
        return self._hoisted[1], self._hoisted[0].weights(weights)

    def parallel(self) -> bool:
        """Whether a parallel form runs. An exported graph holds the loop as written: the forms are Python of their own."""
        if torch.compiler.is_exporting():
            return False
        return self.forms()[0] is not None

    def triton(self, device: str) -> bool:
        """Whether the step's Triton kernel runs on a device."""
        if device != "cuda" or not torch.cuda.is_available():
            return False
        from archdsl.kernels.triton import usable

        return usable(self.step, torch.empty(0, device=device))[0]

    def forms(self) -> tuple[Program | None, str]:
        """The parallel forms, or None and why there are none."""
        return _program(self.text)

    @property
    def classified(self) -> Classified:
        return _classified(self.text)

    def choice(self, sequences: int, time: int, device: str, training: bool) -> Choice:
        """The form that runs where the kernel does not."""
        return choose(self.classified, sequences, time, device, compiler=False, training=training, triton=self.triton(device))

    def __call__(
        self,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        states: Sequence[Tensor | None],
        lengths: Tensor | None = None,
        like: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """inputs [batch, lead…, time, body…] in the step's order; weights in its order; states [batch, lead…, body…] or None.

        lengths [batch]: each sequence's own; what lies beyond gives zeros. Returns the yields, then the final states, all in the dtype that
        the floats among what is given have together; like: a tensor whose dtype they have if there is no float.
        """
        shapes, begins = self._inputs, self._states
        given = _common((*inputs, *weights, *states, like))
        work = _work(given)
        leads = [x.shape[: x.dim() - 1 - len(shape)] for x, shape in zip(inputs, shapes)]
        all_leads = [*leads, *(s.shape[: s.dim() - len(shape)] for s, shape in zip(states, begins) if s is not None)]
        lead = leads[0] if all(each == leads[0] for each in all_leads) else torch.broadcast_shapes(*all_leads)
        time = inputs[0].shape[len(leads[0])]
        n = math.prod(lead)
        flat = [x.to(work).expand(*lead, *x.shape[len(own) :]).reshape(n, time, *shape) for x, own, shape in zip(inputs, leads, shapes)]
        begin = [None if s is None else s.to(work).expand(*lead, *shape).reshape(n, *shape) for s, shape in zip(states, begins)]
        if lengths is not None:
            heads = math.prod(lead[1:])
            lengths = lengths.to(torch.int64).clamp(0, time).repeat_interleave(heads)
        fixed = [w.to(work) for w in weights]
        carried = transformed((*inputs, *weights, *states))
        if self._serves(inputs[0].device.type, work):
            if carried:
                raise RuntimeError(FORWARD)
            found, fixed = self.hoisted(time, fixed)
            yields, ends = run(found, flat, fixed, begin, lengths)
        else:
            try:
                yields, ends = self.run_form(flat, fixed, begin, lengths, given)
            except RuntimeError as problem:  # from autograd functions, in torch's words
                if not carried:
                    raise
                raise RuntimeError(FORWARD) from problem
        out = [y.reshape(*lead, time, *shape).to(given) for y, shape in zip(yields, self._yields)]
        return (*out, *(e.reshape(*lead, *shape).to(given) for e, shape in zip(ends, begins)))

    @torch.compiler.disable
    def run_form(
        self, inputs: list[Tensor], weights: list[Tensor], begin: list[Tensor | None], lengths: Tensor | None, given: torch.dtype
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The chosen parallel form, or Triton's kernel. A break in a graph that torch.compile makes."""
        n, time = inputs[0].shape[:2]
        training = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *weights, *(b for b in begin if b is not None)))
        choice = self.choice(n, time, inputs[0].device.type, training)
        if choice.form == "triton kernel":
            from archdsl.kernels.triton.scan_op import run as run_triton
            from archdsl.kernels.triton.scan_op import triton_kernel

            return run_triton(triton_kernel(self.step), inputs, weights, begin, lengths)
        program = self.forms()[0]
        assert program is not None
        with torch.autocast(inputs[0].device.type, enabled=False):
            setting = choice.setting and replace(choice.setting, low=given)
            return program.run(inputs, weights, begin, lengths, setting)


@functools.lru_cache(maxsize=256)
def _classified(text: str) -> Classified:
    return classify(loads(text))


@functools.lru_cache(maxsize=256)
def _program(text: str) -> tuple[Program | None, str]:
    from archdsl.recurrence.forms.program import Program

    try:
        return Program(_classified(text)), ""
    except Unsupported as reason:
        return None, str(reason)


def _common(tensors: Sequence[Tensor | None]) -> torch.dtype:
    """What floats come to together, as torch has it: single numbers do not count."""
    found: torch.dtype | None = None
    for tensor in tensors:
        dtype = None if tensor is None else tensor.dtype
        if dtype is not found and dtype is not None and dtype.is_floating_point and tensor.dim():  # type: ignore[union-attr]
            found = dtype if found is None else torch.promote_types(found, dtype)
    return found or torch.get_default_dtype()


def _work(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def scan_kernel(text: str) -> ScanKernel | None:
    """What runs a step's text; None where nothing but the plain loop can, or should."""
    if os.environ.get("ARCHDSL_KERNELS") == "loop":
        return None
    found = ScanKernel(text)
    return found if found.kernel is not None or found.forms()[0] is not None or found.triton("cuda") else None


__all__ = ["ScanKernel", "scan_kernel"]
