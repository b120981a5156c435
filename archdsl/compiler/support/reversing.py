"""Rounds that can be undone: the backward pass finds each round's inputs again from its results, so that only the last are kept.

As in RevNets (Gomez et al., arXiv:1707.04585), for any rounds that have an `inverse`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from archdsl.primitives.support.once import once


def reversed_rounds(rounds: Any, count: int, *args: Any, **named: Any) -> Any:
    """values = round(*values, *given) for each round; args are `count` values, then what is given to all rounds.

    While training nothing inside the rounds is kept for the backward pass.
    """
    if not (rounds[0].training and torch.is_grad_enabled()):
        values = args[:count]
        for one in rounds:
            values = as_tuple(one(*values, *args[count:], **named))
        return values if len(values) > 1 else values[0]
    modules = [*rounds, *(a for a in args if isinstance(a, nn.Module))]
    weights = {id(p): p for m in modules for p in m.parameters() if p.requires_grad}
    values = Reversal.apply(list(rounds), count, named, len(args), *args, *weights.values())
    return values if len(values) > 1 else values[0]


def as_tuple(values: Any) -> tuple[Any, ...]:
    """One value or several as a tuple."""
    return values if isinstance(values, tuple) else (values,)


class Reversal(torch.autograd.Function):
    """The rounds as one function: its backward undoes them one by one and runs each again with gradients."""

    @staticmethod
    def forward(ctx: Any, rounds: list[Any], count: int, named: dict[str, Any], given: int, *args: Any) -> tuple[Tensor, ...]:
        values, others = args[:count], args[count:given]
        ctx.rounds, ctx.count, ctx.named, ctx.weights = rounds, count, named, args[given:]
        ctx.others = [None if isinstance(o, Tensor) else o for o in others]
        ctx.autocast = autocasts(args[0].device.type)
        ctx.draws = Draws(args[0].device)
        for i, one in enumerate(rounds):
            with ctx.draws.recorded(i, one):
                values = as_tuple(one(*values, *others, **named))
        ctx.save_for_backward(*args[:count], *values, *(o for o in others if isinstance(o, Tensor)))
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        with torch.no_grad():
            found = undone(ctx, grads)
        words = "reversible rounds have no second derivatives while training: in eval mode they run as written, and have them"
        return None, None, None, None, *once(found, [*ctx.saved_tensors, *ctx.weights, *grads], words)


def undone(ctx: Any, grads: Any) -> list[Tensor | None]:
    """The gradients of all arguments of a Reversal that can have any."""
    count, saved = ctx.count, list(ctx.saved_tensors)
    first: Any = saved[:count]
    values: Any = saved[count : 2 * count]
    tensors = iter(saved[2 * count :])
    others = [next(tensors).detach() if o is None else o for o in ctx.others]
    needs = ctx.needs_input_grad[4:]
    for other, need in zip(others, needs[count:]):
        if need:
            other.requires_grad_()
    sums: dict[int, Tensor] = {}
    with ExitStack() as stack:
        for setting in ctx.autocast:
            stack.enter_context(torch.autocast(**setting))
        for i in reversed(range(len(ctx.rounds))):
            one = ctx.rounds[i]
            with kept_buffers(one):
                inputs: Any = first
                if i:
                    with torch.no_grad(), ctx.draws.replayed(i, one, undoing=True):
                        inputs = as_tuple(one.inverse(*values, *others, **ctx.named))
                with ctx.draws.replayed(i, one):
                    grads = once_more(one, inputs, others, ctx.named, grads, sums, ctx.weights)
            values = inputs
    found = [g if need else None for g, need in zip(grads, needs)]
    rest = [sums.get(id(o)) for o in [*others, *ctx.weights]]
    return [*found, *rest]


def once_more(one: Any, inputs: Any, others: list[Any], named: dict[str, Any], grads: Any, sums: dict[int, Tensor], weights: Any) -> Any:
    """Runs a round again with gradients: those of its inputs; those of what is given and of weights are added to `sums`."""
    inputs = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        outs = as_tuple(one(*inputs, *others, **named))
    ends = [(o, g) for o, g in zip(outs, grads) if o.requires_grad]
    leaves = [*inputs, *(o for o in others if isinstance(o, Tensor) and o.requires_grad), *weights]
    found = torch.autograd.grad([o for o, _ in ends], leaves, [g for _, g in ends], allow_unused=True)
    for leaf, grad in zip(leaves[len(inputs) :], found[len(inputs) :]):
        if grad is not None:
            sums[id(leaf)] = sums[id(leaf)] + grad if id(leaf) in sums else grad
    return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found)]


@contextmanager
def kept_buffers(module: nn.Module) -> Iterator[None]:
    """Running statistics stay as they were: what runs inside has run before."""
    before = [(b, b.clone()) for b in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def autocasts(device: str) -> list[dict[str, Any]]:
    """The settings of mixed precision that are on, as torch.autocast takes them."""
    kinds = dict.fromkeys((device, "cpu"))
    return [{"device_type": k, "dtype": torch.get_autocast_dtype(k)} for k in kinds if torch.is_autocast_enabled(k)]


class Draws:
    """Random numbers drawn once and met again: the generators' states where each round, and each part it names in `draws`, began."""

    def __init__(self, device: torch.device):
        self.device = device
        self.rounds: list[Any] = []
        self.parts: list[dict[int, list[Any]]] = []

    def states(self) -> Any:
        """The states of the generators that can be drawn from."""
        return torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def restore(self, states: Any) -> None:
        """Sets them back."""
        torch.set_rng_state(states[0])
        if states[1] is not None:
            torch.cuda.set_rng_state(states[1], self.device)

    def drawing(self, one: nn.Module) -> list[nn.Module]:
        """The parts of a round that draw, where the way back meets them in another order."""
        return [getattr(m, name) for m in one.modules() for name in getattr(m, "draws", ())]

    @contextmanager
    def recorded(self, i: int, one: nn.Module) -> Iterator[None]:
        """Notes where round i and its parts begin."""
        parts: dict[int, list[Any]] = {}
        self.rounds.append(self.states())
        self.parts.append(parts)
        with self.hooked(one, lambda m, _: parts.setdefault(id(m), []).append(self.states())):
            yield

    @contextmanager
    def replayed(self, i: int, one: nn.Module, undoing: bool = False) -> Iterator[None]:
        """Round i draws as it did; on the way back (`undoing`) each of its parts by itself."""
        now = self.states()
        left = {part: list(states) for part, states in self.parts[i].items()}
        try:
            self.restore(self.rounds[i])
            with self.hooked(one if undoing else None, lambda m, _: self.restore(left[id(m)].pop(0))):
                yield
        finally:
            self.restore(now)

    @contextmanager
    def hooked(self, one: nn.Module | None, hook: Any) -> Iterator[None]:
        """The hook at the beginning of every part that draws."""
        handles = [part.register_forward_pre_hook(hook) for part in (self.drawing(one) if one is not None else [])]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
