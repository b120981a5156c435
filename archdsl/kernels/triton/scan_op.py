"""A scan's Triton kernels as torch operators, beside ../scan_op.py: forward and adjoint, with shapes for meta tensors."""

from __future__ import annotations

import functools
import hashlib
import linecache
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from archdsl.kernels.second import second
from archdsl.kernels.triton.emit import Emitter
from archdsl.kernels.triton.layout import View
from archdsl.recurrence.step import Step
from archdsl.recurrence.step import Tensor as Part


@dataclass(frozen=True)
class TritonKernel:
    """A step with its Triton source. `key` names it in graphs."""

    step: Step
    emitter: Emitter
    code: str
    key: str

    @property
    def inputs(self) -> list[Part]:
        return self.step.of("input")

    @property
    def weights(self) -> list[Part]:
        return self.step.of("constant", "weight")

    @property
    def states(self) -> list[Part]:
        return [self.step.tensor(s.before) for s in self.step.states]

    @property
    def yields(self) -> list[Part]:
        return [self.step.tensor(name) for name in self.step.yields]

    @functools.cached_property
    def functions(self) -> dict[str, Any]:
        """The kernels, compiled by Triton at their first launch. The source holds numbered names and the function table's text only."""
        import triton
        import triton.language as tl

        from archdsl.kernels.triton.functions import HELPERS

        name = f"<archdsl triton {self.key}>"
        linecache.cache[name] = (len(self.code), None, self.code.splitlines(True), name)  # Triton reads a kernel's source
        space: dict[str, Any] = {"triton": triton, "tl": tl, "__name__": f"archdsl_triton_{self.key}", **HELPERS}
        exec(compile(self.code, name, "exec"), space)
        return space

    def launch(self, name: str, n: int, first: Tensor, arguments: list[Any], keep: bool, lengths: bool) -> None:
        import triton.language as tl

        dtype = tl.float64 if first.dtype == torch.float64 else tl.float32
        warps = 8 if self.emitter.layout.largest >= 4096 else 4 if self.emitter.layout.largest >= 512 else 1
        self.functions[name][(n, self.emitter.layout.blocks)](*arguments, DT=dtype, KEEP=keep, LENGTHS=lengths, num_warps=warps)

    def parts(self, name: str) -> int:
        """How many gradients of a tensor are to be added up."""
        views: list[str | View] = [v for v in self.emitter.layout.views if v.name == name]
        owners = views or ([name] if self.emitter.layout.role[name] == "state" else [])
        return 1 if owners and all(self.emitter.layout.shared(o) for o in owners) else self.emitter.layout.blocks


_known: dict[str, TritonKernel] = {}


@functools.lru_cache(maxsize=256)
def triton_kernel(step: Step, block: int | None = None) -> TritonKernel:
    """The Triton kernel of a step; nothing is compiled before its first run. Raises NoTriton."""
    emitter = Emitter(step, block)
    code = emitter.text()
    key = hashlib.blake2b(code.encode(), digest_size=12).hexdigest()
    return _known.setdefault(key, TritonKernel(step, emitter, code, key))


def _lead(k: TritonKernel, weights: Sequence[Tensor]) -> int:
    return max((w.numel() // max(p_size(p), 1) for w, p in zip(weights, k.weights) if p.lead), default=1)


def p_size(part: Part) -> int:
    return functools.reduce(lambda a, b: a * b, part.shape, 1)


def _kept(k: TritonKernel, n: int, rows: int) -> list[tuple[int, ...]]:
    return [(n, k.emitter.layout.blocks, rows, k.emitter.local(p.name)[1]) for p in k.states]


@torch.library.custom_op("archdsl::triton_scan", mutates_args=())
def triton_scan_op(
    key: str, inputs: Sequence[Tensor], weights: Sequence[Tensor], begin: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    """Runs a scan's steps: inputs [N, T, …], begin [N, …], lengths [N] -> the yields [N, T, …], the final states, the kept states."""
    k, first = _known[key], inputs[0]
    n, time = first.shape[:2]
    out = [first.new_zeros((n, time, *p.shape)) for p in k.yields]
    end = [b.clone() for b in begin]
    every = k.emitter.plan.every
    kept = [first.new_empty(s if keep else (0,)) for s in _kept(k, n, -(-time // every))]
    if n and time:
        arguments = [*inputs, *weights, *begin, *out, *end, *kept, lengths, n, time, _lead(k, weights)]
        k.launch("forward", n, first, arguments, keep, lengths is not None)
    return [*out, *end, *kept]


@triton_scan_op.register_fake
def _(key, inputs, weights, begin, lengths, keep):  # type: ignore[no-untyped-def]
    k, first = _known[key], inputs[0]
    n, time = first.shape[:2]
    every = k.emitter.plan.every
    kept = [first.new_empty(s if keep else (0,)) for s in _kept(k, n, (time + every - 1) // every)]
    return [*(first.new_empty((n, time, *p.shape)) for p in k.yields), *map(torch.empty_like, begin), *kept]


@torch.library.custom_op("archdsl::triton_scan_backward", mutates_args=())
def triton_scan_backward_op(
    key: str,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    begin: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    """The adjoint: gradients of yields and final states -> those of the inputs, the weights and the initial states."""
    k, first = _known[key], inputs[0]
    n, time = first.shape[:2]
    din = [x.new_zeros((k.parts(p.name), *x.shape)) for x, p in zip(inputs, k.inputs)]
    dweight = [first.new_zeros((k.parts(p.name), n, *p.shape)) for p in k.weights]
    dbegin = [first.new_zeros((k.parts(p.name), n, *p.shape)) for p in k.states]
    if n and time:
        scratch = [first.new_empty(s) for s in _kept(k, n, k.emitter.plan.every + 1)]
        arguments = [*inputs, *weights, *grads, *scratch, *din, *dweight, *dbegin, *kept, lengths, n, time, _lead(k, weights)]
        k.launch("backward", n, first, arguments, True, lengths is not None)
    else:
        dbegin = [g.unsqueeze(0) for g in grads[len(k.yields) :]]
    shaped = []
    for d, w, p in zip(dweight, weights, k.weights):
        rows = w.numel() // max(p_size(p), 1)  # sequences count through the lead axes fastest
        shaped.append(d.sum(0).reshape(-1, rows, *p.shape).sum(0).reshape(w.shape))
    return [*(d.sum(0) for d in din), *shaped, *(d.sum(0) for d in dbegin)]


@triton_scan_backward_op.register_fake
def _(key, inputs, weights, begin, lengths, kept, grads):  # type: ignore[no-untyped-def]
    ends = grads[len(_known[key].yields) :]
    return [*map(torch.empty_like, inputs), *map(torch.empty_like, weights), *map(torch.empty_like, ends)]


def _save_adjoint(ctx, inputs, output):  # type: ignore[no-untyped-def]
    key, xs, ws, begin, lengths, _, grads = inputs
    ctx.key, ctx.sizes = key, (len(xs), len(ws), len(begin))
    ctx.save_for_backward(*xs, *ws, *begin, *grads, lengths)
    ctx.set_materialize_grads(False)


def _adjoint_of_adjoint(ctx, incoming):  # type: ignore[no-untyped-def]
    a, b, c = ctx.sizes
    *saved, lengths = ctx.saved_tensors
    found = second(_known[ctx.key].step, ctx.sizes, "1" * (len(saved) - a - b - c), lengths, saved, incoming)
    return None, found[:a], found[a : a + b], found[a + b : a + b + c], None, [None] * c, found[a + b + c :]


triton_scan_backward_op.register_autograd(_adjoint_of_adjoint, setup_context=_save_adjoint)


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    key, xs, ws, begin, lengths, keep = inputs
    ends = len(output) - len(begin)
    ctx.key, ctx.sizes, ctx.keep, ctx.ends = key, (len(xs), len(ws), len(begin)), keep, ends
    ctx.shapes = [o.shape for o in output[:ends]]
    ctx.save_for_backward(*xs, *ws, *begin, *output[ends:], lengths)
    ctx.set_materialize_grads(False)


def _adjoint(ctx, grads):  # type: ignore[no-untyped-def]
    if not ctx.keep:
        raise RuntimeError("this scan was run without keeping its states; run it with gradients enabled to differentiate it")
    a, b, c = ctx.sizes
    *saved, lengths = ctx.saved_tensors
    like = saved[0]
    arriving = [like.new_zeros(s) if g is None else g.contiguous() for g, s in zip(grads[: ctx.ends], ctx.shapes)]
    xs, ws, begin, kept = saved[:a], saved[a : a + b], saved[a + b : a + b + c], saved[a + b + c :]
    found = triton_scan_backward_op(ctx.key, xs, ws, begin, lengths, kept, arriving)
    return None, found[:a], found[a : a + b], found[a + b :], None, None


triton_scan_op.register_autograd(_adjoint, setup_context=_save)


def run(
    k: TritonKernel, inputs: Sequence[Tensor], weights: Sequence[Tensor], begin: Sequence[Tensor | None] = (), lengths: Tensor | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Yields and final states of a scan on [N, T, …] inputs (float32 or float64); differentiable in inputs, weights and initial states."""
    given, like = list(begin) or [None] * len(k.states), inputs[0]
    starts = [
        like.new_full((like.shape[0], *p.shape), s.start) if b is None else b.contiguous()
        for b, p, s in zip(given, k.states, k.step.states)
    ]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *weights, *starts))
    found = triton_scan_op(k.key, [x.contiguous() for x in inputs], [w.contiguous() for w in weights], starts, lengths, keep)
    a, b = len(k.yields), len(k.states)
    return list(found[:a]), list(found[a : a + b])
