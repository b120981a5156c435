"""Derivatives of a kernel's derivatives. An adjoint in C or Triton is a function of all that it reads; where its own derivative is asked for,
the step runs again in plain torch, one time after another, under autograd. Derivatives forward and transforms of torch.func are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.autograd import forward_ad

from archdsl.recurrence.forms.stepwise import loop
from archdsl.recurrence.step import Step

FORWARD = (
    "compiled scans have no forward-mode derivatives and take no part in the transforms of torch.func (jvp, vmap, grad, hessian, …); "
    "set ARCHDSL_KERNELS=loop before the model is built: its scans then run as written, with all of them"
)

Sizes = tuple[int, int, int]  # how many inputs, weights and states


def transformed(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a tensor carries a tangent, or stands for what a transform of torch.func put in its place."""
    if torch._C._functorch.get_dynamic_layer_stack_depth() == 0 and forward_ad._current_level < 0:
        return False
    return torch.compiler.is_compiling() or any(t is not None and _carries(t) for t in tensors)


def _carries(x: Tensor) -> bool:
    """The same of one tensor, by the levels of transforms from the innermost out: what is made inside one is wrapped by it and may carry
    nothing."""
    functorch = torch._C._functorch
    if functorch.is_batchedtensor(x):
        return True
    if functorch.get_dynamic_layer_stack_depth() == 0:
        return forward_ad.unpack_dual(x).tangent is not None
    here = functorch.is_gradtrackingtensor(x) and functorch.maybe_get_level(x) == functorch.maybe_current_level()
    if here and (x.requires_grad or forward_ad.unpack_dual(x).tangent is not None):
        return True
    with temporarily_pop_interpreter_stack():
        return _carries(functorch.get_unwrapped(x) if here else x)


def batched(tensors: Sequence[Tensor]) -> bool:
    """Whether one of the gradients stands for several, as in torch.autograd.grad(…, is_grads_batched=True)."""
    return any(torch._C._functorch.is_batchedtensor(t) or torch._C._functorch.is_legacy_batchedtensor(t) for t in tensors)


def second(
    step: Step, sizes: Sizes, flags: str, lengths: Tensor | None, tensors: Sequence[Tensor], incoming: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Gradients of an adjoint. tensors: inputs, weights, first states, then the gradients that arrived at the yields and final states that
    `flags` marks. incoming: what arrives at the gradients of the first three. Gives the gradients of all tensors."""
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        given = [t.view_as(t) if again and t.requires_grad else t.detach().requires_grad_() for t in tensors]
        a, b, c = sizes
        leaves, arriving = given[: a + b + c], given[a + b + c :]
        yields, ends = loop(step, leaves[:a], leaves[a : a + b], leaves[a + b :], lengths)
        outputs = [o for o, flag in zip((*yields, *ends), flags) if flag == "1"]
        first = _grad(outputs, leaves, arriving, True)
        return _grad(first, given, incoming, again)


def _grad(outputs: Sequence[Tensor | None], inputs: Sequence[Tensor], grads: Sequence[Tensor | None], again: bool) -> list[Tensor | None]:
    pairs = [(o, g) for o, g in zip(outputs, grads) if o is not None and g is not None and o.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    return list(torch.autograd.grad([o for o, _ in pairs], inputs, [g for _, g in pairs], create_graph=again, allow_unused=True))


class Adjoint(torch.autograd.Function):
    """An adjoint that `run` works out, with a derivative: the arguments are those of `second`."""

    @staticmethod
    def forward(
        ctx: Any, run: Callable[[], list[Tensor]], step: Step, sizes: Sizes, flags: str, lengths: Tensor | None, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.step, ctx.sizes, ctx.flags = step, sizes, flags
        ctx.save_for_backward(lengths, *tensors)
        ctx.set_materialize_grads(False)
        return tuple(run())

    @staticmethod
    def backward(ctx: Any, *incoming: Tensor | None) -> tuple[Tensor | None, ...]:
        lengths, *tensors = ctx.saved_tensors
        return None, None, None, None, None, *second(ctx.step, ctx.sizes, ctx.flags, lengths, tensors, incoming)
