"""A scan's kernel as torch operators: forward and adjoint, with shapes for meta tensors and FLOPs, found by the hash of their source."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from archdsl.kernels.build import load
from archdsl.kernels.inline import inlined
from archdsl.kernels.scan_plan import Dense, checkpoint_every
from archdsl.kernels.scan_source import WIDE, _Source
from archdsl.kernels.second import FORWARD, Adjoint, batched, second
from archdsl.recurrence.step import Step
from archdsl.recurrence.step import Tensor as Part

_PRELUDE = """#include <stdlib.h>
#include <omp.h>
#define TEXT(...) #__VA_ARGS__
#define PRAGMA(...) _Pragma(TEXT(__VA_ARGS__))
#define THREAD omp_get_thread_num()
"""


@dataclass(frozen=True)
class Kernel:
    """A step with its C source. `key` names it in graphs; `flops` is the work of one step, forward."""

    step: Step
    code: str
    key: str
    every: int
    flops: int
    products: tuple[Dense, ...] = ()  # with weight matrices
    loaded: dict[torch.dtype, ctypes.CDLL] = field(default_factory=dict, compare=False, repr=False)

    @functools.cached_property
    def inputs(self) -> list[Part]:
        return self.step.of("input")

    @functools.cached_property
    def weights(self) -> list[Part]:
        return self.step.of("constant", "weight")

    @functools.cached_property
    def states(self) -> list[Part]:
        return [self.step.tensor(s.before) for s in self.step.states]

    @functools.cached_property
    def yields(self) -> list[Part]:
        return [self.step.tensor(name) for name in self.step.yields]

    def library(self, dtype: torch.dtype) -> ctypes.CDLL:
        """The compiled pair for a dtype. Raises NoCompiler."""
        if dtype not in self.loaded:
            parts = [(Path(__file__).parent / name).read_text() for name in ("vector_math.h", "scan_math.h")]
            defines = ("#define REAL64\n" if dtype == torch.float64 else "") + ("#define DENSE\n" if self.products else "")
            self.loaded[dtype] = load("".join([defines, _PRELUDE, *parts, self.code]))
        return self.loaded[dtype]


_known: dict[str, Kernel] = {}


def kernel(step: Step) -> Kernel:
    """The kernel of a step; nothing is compiled before its first run."""
    text = _Source(inlined(step))
    code = text.text()
    key = hashlib.blake2b(code.encode(), digest_size=12).hexdigest()
    if key not in _known:
        work = sum(2 * math.prod(s for _, s in (*e.free, *e.sums)) for e in step.equations if e.sums)
        _known[key] = Kernel(step, code, key, checkpoint_every(step), work, tuple(text.products()))
    return _known[key]


def _pointers(tensors: Sequence[Tensor | None]) -> ctypes.Array[ctypes.c_void_p]:
    return _array(max(len(tensors), 1))(*[t.data_ptr() if t is not None else None for t in tensors])


@functools.cache
def _array(size: int) -> type[ctypes.Array[ctypes.c_void_p]]:
    return ctypes.c_void_p * size


def _blocks(k: Kernel, sequences: int, lead: int) -> tuple[int, int]:
    """Threads, and sequences in a block: as many as leave each thread a block."""
    threads = torch.get_num_threads()
    width = max(1, min(WIDE, -(-sequences // threads), sequences // lead)) if k.products else 1
    blocks = -(-(sequences // lead) // width) * lead
    return max(1, min(threads, blocks)), width


def _turned(k: Kernel, weights: Sequence[Tensor]) -> list[Tensor | None]:
    """Weight matrices of dense products, transposed."""
    names = {p.weight for p in k.products}
    return [w.mT.contiguous() if p.name in names else None for p, w in zip(k.weights, weights)]


def _lead(k: Kernel, weights: Sequence[Tensor]) -> int:
    return max((math.prod(w.shape[: w.dim() - len(p.shape)]) for w, p in zip(weights, k.weights) if p.lead), default=1)


def _optional(flags: str, tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Tensors back in their places: "101" says that the first and the third are given."""
    rest = iter(tensors)
    return [next(rest) if f == "1" else None for f in flags]


@torch.library.custom_op("archdsl::scan", mutates_args=())
def scan_op(
    key: str, inputs: Sequence[Tensor], weights: Sequence[Tensor], given: str, begin: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    """Runs a scan's steps: inputs [N, T, …], begin [N, …], lengths [N] -> the yields [N, T, …], the final states, the kept states."""
    return _forward(_known[key], inputs, weights, given, begin, lengths, keep)


def _forward(
    k: Kernel, inputs: Sequence[Tensor], weights: Sequence[Tensor], given: str, begin: Sequence[Tensor], lengths: Tensor | None, keep: bool
) -> list[Tensor]:
    first = inputs[0]
    n, time = first.shape[:2]
    out = [first.new_empty((n, time, *p.shape)) for p in k.yields]
    end = [first.new_empty((n, *p.shape)) for p in k.states]
    chunks = -(-time // k.every)
    kept = [first.new_empty((n, chunks, *p.shape) if keep else (0,)) for p in k.states]
    if n:
        long, lead, turned = ctypes.c_long, _lead(k, weights), _turned(k, weights)
        k.library(first.dtype).forward(
            long(n), long(time), long(lead), *_blocks(k, n, lead), _pointers(inputs), _pointers(weights), _pointers(turned),
            _pointers(_optional(given, begin)), ctypes.c_void_p(lengths.data_ptr() if lengths is not None else None), _pointers(out),
            _pointers(end), _pointers(kept if keep else [None] * len(kept)),
        )  # fmt: skip
    return [*out, *end, *kept]


@scan_op.register_fake
def _(key, inputs, weights, given, begin, lengths, keep):  # type: ignore[no-untyped-def]
    k = _known[key]
    first = inputs[0]
    n, time = first.shape[:2]
    chunks = (time + k.every - 1) // k.every
    out = [first.new_empty((n, time, *p.shape)) for p in k.yields]
    end = [first.new_empty((n, *p.shape)) for p in k.states]
    return [*out, *end, *(first.new_empty((n, chunks, *p.shape) if keep else (0,)) for p in k.states)]


@torch.library.custom_op("archdsl::scan_backward", mutates_args=())
def scan_backward_op(
    key: str,
    inputs: Sequence[Tensor],
    weights: Sequence[Tensor],
    lengths: Tensor | None,
    kept: Sequence[Tensor],
    flags: str,
    grads: Sequence[Tensor],
    learned: str,
    begin: Sequence[Tensor],
) -> list[Tensor]:
    """The adjoint: gradients of yields and final states -> those of the inputs, the weights and the initial states.

    learned, begin: the initial states that need a gradient. They are the first kept ones; autograd must see them.
    """
    return _backward(_known[key], inputs, weights, lengths, kept, flags, grads)


def _backward(
    k: Kernel, inputs: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None, kept: Sequence[Tensor], flags: str,
    grads: Sequence[Tensor],
) -> list[Tensor]:  # fmt: skip
    first = inputs[0]
    n, time = first.shape[:2]
    lead, turned = _lead(k, weights), _turned(k, weights)
    threads, width = _blocks(k, n, lead)
    din = [torch.empty_like(x) for x in inputs]
    dweight = [first.new_zeros((threads, lead if p.lead else 1, *p.shape)) for p in k.weights]
    dbegin = [first.new_empty((n, *p.shape)) for p in k.states]
    factors = _factors(k, inputs)
    given = _optional(flags, grads)
    count = len(k.yields)
    if n:
        long = ctypes.c_long
        k.library(first.dtype).backward(
            long(n), long(time), long(lead), threads, width, _pointers(inputs), _pointers(weights), _pointers(turned),
            ctypes.c_void_p(lengths.data_ptr() if lengths is not None else None), _pointers(kept), _pointers(given[:count]), _pointers(given[count:]),
            _pointers(din), _pointers(dweight), _pointers(dbegin), _pointers(factors),
        )  # fmt: skip
    total = [d.sum(0) for d in dweight]
    if n:
        _add_products(k, total, inputs, factors)
    return [*din, *(d.reshape(w.shape) for d, w in zip(total, weights)), *dbegin]


def _factors(k: Kernel, inputs: Sequence[Tensor]) -> list[Tensor | None]:
    """Room for the two factors of each weight matrix's gradient; none for a source that is an input."""
    first, own = inputs[0], {p.name for p in k.inputs}
    found: list[Tensor | None] = []
    for p in k.products:
        found.append(first.new_empty((*first.shape[:2], p.cols)))
        found.append(None if p.source in own else first.new_empty((*first.shape[:2], p.rows)))
    return found


def _add_products(k: Kernel, total: list[Tensor], inputs: Sequence[Tensor], factors: Sequence[Tensor | None]) -> None:
    """The gradients of weight matrices: one product over all sequences and times, per head where each has its own."""
    places = {p.name: i for i, p in enumerate(k.inputs)}
    weights = {p.name: i for i, p in enumerate(k.weights)}
    for number, p in enumerate(k.products):
        g, x = factors[2 * number], factors[2 * number + 1]
        if x is None:
            x = inputs[places[p.source]][..., p.shift : p.shift + p.rows]
        assert g is not None
        into = total[weights[p.weight]]  # [heads or 1, …]
        pair = (x, g) if p.turned else (g, x)
        heads, rows = into.shape[0], x.shape[0] * x.shape[1]
        left, right = (v.unflatten(0, (-1, heads)).transpose(0, 1).reshape(heads, rows // heads, v.shape[-1]) for v in pair)
        into += left.mT @ right


@scan_backward_op.register_fake
def _(key, inputs, weights, lengths, kept, flags, grads, learned, begin):  # type: ignore[no-untyped-def]
    k = _known[key]
    n = inputs[0].shape[0]
    return [*map(torch.empty_like, inputs), *map(torch.empty_like, weights), *(inputs[0].new_empty((n, *p.shape)) for p in k.states)]


def _save_adjoint(ctx, inputs, output):  # type: ignore[no-untyped-def]
    key, xs, ws, lengths, kept, flags, grads, learned, begin = inputs
    ctx.key, ctx.flags, ctx.learned, ctx.sizes = key, flags, learned, (len(xs), len(ws), len(kept), len(begin))
    ctx.save_for_backward(*xs, *ws, *kept, *begin, *grads, lengths)
    ctx.set_materialize_grads(False)


def _adjoint_of_adjoint(ctx, incoming):  # type: ignore[no-untyped-def]
    a, b, c, d = ctx.sizes
    *saved, lengths = ctx.saved_tensors
    kept, begin, grads = saved[a + b : a + b + c], saved[a + b + c : a + b + c + d], saved[a + b + c + d :]
    first = _beginnings(ctx.learned, begin, kept, lengths)
    step = _known[ctx.key].step
    found = second(step, (a, b, c), ctx.flags, lengths, [*saved[: a + b], *first, *grads], incoming)
    states = [g for g, flag in zip(found[a + b : a + b + c], ctx.learned) if flag == "1"]
    return None, found[:a], found[a : a + b], None, [None] * c, None, found[a + b + c :], None, states


scan_backward_op.register_autograd(_adjoint_of_adjoint, setup_context=_save_adjoint)


def _beginnings(learned: str, begin: Sequence[Tensor], kept: Sequence[Tensor], lengths: Tensor | None) -> list[Tensor]:
    """The initial states: those that need a gradient as they were given, the others from what was kept. No time, and nothing was."""
    rest, found = iter(begin), []
    for flag, states in zip(learned, kept):
        if flag == "1":
            found.append(next(rest))
            continue
        first = states[:, 0] if states.shape[1] else states.new_zeros(states.shape[0], *states.shape[2:])
        runs = None if lengths is None else (lengths > 0).view(-1, *[1] * (first.dim() - 1))
        found.append(first if runs is None else torch.where(runs, first, 0))
    return found


def _learned(flags: str, begin: Sequence[Tensor]) -> tuple[str, list[Tensor]]:
    """The initial states that need a gradient, as `_optional` reads them."""
    marks = ["1" if t is not None and t.requires_grad else "0" for t in _optional(flags, begin)]
    return "".join(marks), [t for t in begin if t.requires_grad]


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    key, xs, ws, given, begin, lengths, keep = inputs
    k = _known[key]
    kept = output[len(k.yields) + len(k.states) :]
    ctx.learned, begin = _learned(given, begin)
    ctx.key, ctx.sizes, ctx.given, ctx.keep = key, (len(xs), len(ws), len(kept)), given, keep
    ctx.ends = len(k.yields) + len(k.states)
    ctx.save_for_backward(*xs, *ws, *kept, *begin, lengths)
    ctx.set_materialize_grads(False)


def _adjoint(ctx, grads):  # type: ignore[no-untyped-def]
    if not ctx.keep:
        raise RuntimeError("this scan was run without keeping its states; run it with gradients enabled to differentiate it")
    a, b, c = ctx.sizes
    *saved, lengths = ctx.saved_tensors
    xs, ws, kept, begin = saved[:a], saved[a : a + b], saved[a + b : a + b + c], saved[a + b + c :]
    arriving = list(grads[: ctx.ends])
    flags = "".join("0" if g is None else "1" for g in arriving)
    given = [g.contiguous() for g in arriving if g is not None]
    found = scan_backward_op(ctx.key, xs, ws, lengths, kept, flags, given, ctx.learned, begin)
    dx, dw, dbegin = found[:a], found[a : a + b], found[a + b :]
    return None, dx, dw, None, [d for d, f in zip(dbegin, ctx.given) if f == "1"], None, None


scan_op.register_autograd(_adjoint, setup_context=_save)


@functools.cache
def _register_flops() -> None:
    from torch.utils.flop_counter import register_flop_formula

    @register_flop_formula(torch.ops.archdsl.scan)
    def forward_flops(key, inputs, *args, out_shape=None, **kwargs):  # type: ignore[no-untyped-def]
        return inputs[0][0] * inputs[0][1] * _known[key].flops

    @register_flop_formula(torch.ops.archdsl.scan_backward)
    def backward_flops(key, inputs, *args, out_shape=None, **kwargs):  # type: ignore[no-untyped-def]
        return 3 * inputs[0][0] * inputs[0][1] * _known[key].flops


_register_flops()


class _Eager(torch.autograd.Function):
    """Both operators without their registration, whose bookkeeping takes longer than a short scan."""

    @staticmethod
    def forward(ctx, k, sizes, flags, lengths, *tensors):  # type: ignore[no-untyped-def]
        a, b = sizes
        xs, ws = tensors[:a], tensors[a : a + b]
        found = _forward(k, xs, ws, flags, tensors[a + b :], lengths, True)
        ends = len(k.yields) + len(k.states)
        ctx.k, ctx.sizes, ctx.flags = k, sizes, flags
        ctx.learned, begin = _learned(flags, tensors[a + b :])
        ctx.save_for_backward(*xs, *ws, *found[ends:], *begin, lengths)
        ctx.set_materialize_grads(False)
        return tuple(found[:ends])

    @staticmethod
    def backward(ctx, *arriving):  # type: ignore[no-untyped-def]
        k, (a, b), c = ctx.k, ctx.sizes, len(ctx.k.states)
        *saved, lengths = ctx.saved_tensors
        xs, ws, kept = saved[:a], saved[a : a + b], saved[a + b : a + b + c]
        given = "".join("0" if g is None else "1" for g in arriving)
        grads = [g.contiguous() for g in arriving if g is not None]
        if batched(grads):
            raise RuntimeError(FORWARD)
        if torch.is_grad_enabled():  # gradients of gradients are asked for
            first = _beginnings(ctx.learned, saved[a + b + c :], kept, lengths)
            run = functools.partial(_backward, k, xs, ws, lengths, kept, given, grads)
            found = Adjoint.apply(run, k.step, (a, b, c), given, lengths, *xs, *ws, *first, *grads)
        else:
            found = _backward(k, xs, ws, lengths, kept, given, grads)
        return None, None, None, None, *found[: a + b], *(d for d, f in zip(found[a + b :], ctx.flags) if f == "1")


def _plain(tensors: Sequence[Tensor]) -> bool:
    """Whether nothing watches or stands for these tensors (tracing, counting, functorch), so that no operator needs to be seen."""
    return (
        not torch.compiler.is_compiling()
        and torch._C._len_torch_dispatch_stack() == 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and all(type(t) in (Tensor, torch.nn.Parameter) and t.device.type == "cpu" for t in tensors)
    )


def run(
    k: Kernel, inputs: Sequence[Tensor], weights: Sequence[Tensor], begin: Sequence[Tensor | None] = (), lengths: Tensor | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Yields and final states of a scan on [N, T, …] inputs; differentiable in inputs, weights and initial states."""
    begin = list(begin) or [None] * len(k.states)
    flags = "".join("0" if b is None else "1" for b in begin)
    given = [b.contiguous() for b in begin if b is not None]
    xs, ws = [x.contiguous() for x in inputs], [w.contiguous() for w in weights]
    everything = [*xs, *ws, *given]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in everything)
    found: Sequence[Tensor]
    if not _plain(everything):
        found = scan_op(k.key, xs, ws, flags, given, lengths, keep)
    elif keep:
        found = _Eager.apply(k, (len(xs), len(ws)), flags, lengths, *everything)
    else:
        found = _forward(k, xs, ws, flags, given, lengths, False)
    a, b = len(k.yields), len(k.states)
    return list(found[:a]), list(found[a : a + b])
