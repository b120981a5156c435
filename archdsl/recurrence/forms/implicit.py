"""Nonlinear recurrences entry by entry, h_t = f(h_{t-1}, x_t): states by any solver, gradients by one linear scan.

With all states at hand, f is worked out for all times at once; its Jacobian (one number per entry, or a k x k block for k states) gives the
adjoint g_t = dh_t + J_{t+1}^T g_{t+1}, and one product with df/dx gives the gradients of everything f reads. Declared slopes are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archdsl.recurrence.forms import block, diagonal

States = list[Tensor]
StepOf = Callable[[States, Sequence[Tensor]], States]  # states before [N, T, …] and what is read -> states after
Solver = Callable[[StepOf, States, Sequence[Tensor], int], States]  # f, first states, what is read, T -> states after [N, T, …]


def earlier(states: States, first: States) -> States:
    """Each state one step before."""
    return [torch.cat((f.unsqueeze(1), h[:, :-1]), 1) for h, f in zip(states, first)]


def jacobian(after: States, before: States, again: bool = False) -> Tensor:
    """[N, T, body…, k, k]: d after_i / d before_j, where entries mix with no other entries. again: it is to be differentiated itself."""
    rows = []
    for new in after:
        if not new.requires_grad:
            rows.append(torch.stack([torch.zeros_like(b) for b in before], -1))
            continue
        found = torch.autograd.grad(new, before, torch.ones_like(new), retain_graph=True, create_graph=again, allow_unused=True)
        rows.append(torch.stack([torch.zeros_like(b) if g is None else g for g, b in zip(found, before)], -1))
    return torch.stack(rows, -2)


def adjoint(j: Tensor, grads: States) -> States:
    """g_t = dh_t + J_{t+1}^T g_{t+1}."""
    if len(grads) == 1:
        return [diagonal.backwards(j[..., 0, 0], grads[0], "two_level")]
    return list(block.backwards(j, torch.stack(grads, -1), True).unbind(-1))


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: StepOf, solver: Solver, count: int, time: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        first, read = list(tensors[:count]), tensors[count:]
        states = solver(step, first, read, time)
        ctx.step, ctx.count = step, count
        ctx.save_for_backward(*tensors, *states)
        return tuple(states)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        k = ctx.count
        saved = ctx.saved_tensors
        first, read, states = list(saved[:k]), saved[k:-k], list(saved[-k:])
        needs = ctx.needs_input_grad[4 + k :]
        again = torch.is_grad_enabled()  # gradients of gradients are asked for
        with torch.enable_grad():
            before = earlier(states, first) if again else [b.detach().requires_grad_() for b in earlier(states, first)]
            leaves = [r.view_as(r) if again else r.detach().requires_grad_(n) for r, n in zip(read, needs)]
            after = ctx.step(before, leaves)
            g = adjoint(jacobian(after, before, again), list(grads))
            wanted = [*before, *(leaf for leaf, n in zip(leaves, needs) if n)]
            pairs = [(a, s) for a, s in zip(after, g) if a.requires_grad]
            found = torch.autograd.grad([a for a, _ in pairs], wanted, [s for _, s in pairs], create_graph=again, allow_unused=True)
        starts = [None if f is None else f[:, 0] for f in found[:k]]
        rest = iter(found[k:])
        return (None, None, None, None, *starts, *(next(rest) if n else None for n in needs))


def run(step: StepOf, solver: Solver, first: States, read: Sequence[Tensor], time: int) -> States:
    """States after each step [N, T, …], differentiable in the first states and in all that the step reads."""
    if time == 0:
        return [f.new_zeros(f.shape[0], 0, *f.shape[1:]) for f in first]
    return list(_Implicit.apply(step, solver, len(first), time, *first, *read))


def in_order(step: StepOf, first: States, read: Sequence[Tensor], time: int) -> States:
    """One step after another."""
    now = [r.unbind(1) if r.shape[1] > 1 else [r[:, 0]] * time for r in read]
    states, kept = first, []
    for t in range(time):
        new = step([s.unsqueeze(1) for s in states], [r[t].unsqueeze(1) for r in now])
        states = [s.squeeze(1) for s in new]
        kept.append(states)
    return [torch.stack(column, 1) for column in zip(*kept)]
