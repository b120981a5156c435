"""Equations in index notation on tensors: all sequences and all times at once.

A tensor of the step is held as [sequence or 1, time or 1, body…]. Within an equation every value has one axis per loop (free and summed
indices), of size 1 where it does not depend on the index, so that torch's broadcasting does the rest; sums of products become einsum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var
from archdsl.graph.functions import FUNCTIONS, ScalarFunction
from archdsl.recurrence.step import Equation, parse_access, split_index
from archdsl.recurrence.step import Tensor as Part

Env = dict[str, Tensor]
Loops = tuple[tuple[str, int], ...]


def _larger(a: Any, b: Any) -> Tensor:
    """max whose gradient goes to one side: the second where they are equal."""
    a, b = _pair(a, b)
    return torch.where((a > b) | (a != a), a, b)


def _smaller(a: Any, b: Any) -> Tensor:
    a, b = _pair(a, b)
    return torch.where((a < b) | (a != a), a, b)


def _pair(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    like = a if isinstance(a, Tensor) else b
    return tuple(x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=like.dtype, device=like.device) for x in (a, b))  # type: ignore[return-value]


@lru_cache(maxsize=256)
def torch_function(row: ScalarFunction) -> Callable[..., Any]:
    """A row's function of tensors, of which some may be plain numbers."""
    names = [f"x{i}" for i in range(row.arity)]
    text = (row.forms or row.torch).format(*names)
    scope = {"torch": torch, "F": F, "larger": _larger, "smaller": _smaller}
    found: Callable[..., Any] = eval(f"lambda {', '.join(names)}: {text}", scope)
    return found


class _Declared(torch.autograd.Function):
    """A value with declared slopes: forward(value, slope…, argument…). Slopes may have derivatives of their own: the second ones."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *rest: Tensor) -> Tensor:
        half = len(rest) // 2
        ctx.save_for_backward(*rest[:half])
        ctx.shapes = [a.shape for a in rest[half:]]
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        slopes = ctx.saved_tensors
        found = [(grads[0] * s).sum_to_size(shape) for s, shape in zip(slopes, ctx.shapes)]
        return (None, *(None for _ in slopes), *found)


class Evaluator:
    """Works out expressions over the tensors of `env`."""

    def __init__(self, env: Env, like: Tensor):
        self.env = env
        self.like = like

    def value(self, root: Expr, loops: Loops) -> Tensor:
        """The value with axes [sequence, time, one per loop], of size 1 where it does not depend on them."""
        names = [n for n, _ in loops]
        sizes = dict(loops)
        done: dict[Expr, Any] = {}
        for node in _order(root):
            if isinstance(node, Const):
                done[node] = node.value
            elif isinstance(node, Var):
                done[node] = self.read(node, names, sizes)
            elif isinstance(node, Custom):
                done[node] = self._declared(node, done)
            else:
                assert isinstance(node, Apply)
                done[node] = self._apply(node.function, [done[a] for a in node.args])
        result = done[root]
        if not isinstance(result, Tensor):
            result = torch.full((1,) * (2 + len(names)), result, dtype=self.like.dtype, device=self.like.device)
        return result.to(self.like.dtype) if result.dtype == torch.bool else result

    def _declared(self, node: Custom, done: Mapping[Expr, Any]) -> Any:
        value = done[node.value]
        if not torch.is_grad_enabled() or not isinstance(value, Tensor):
            return value
        pairs = [(done[a], done[s]) for a, s in zip(node.arguments, node.slopes) if isinstance(done[a], Tensor)]
        if value.dtype == torch.bool:
            value = value.to(self.like.dtype)
        slopes = [s if isinstance(s, Tensor) else torch.as_tensor(s, dtype=value.dtype, device=value.device) for _, s in pairs]
        return _Declared.apply(value.detach(), *slopes, *(a for a, _ in pairs))

    def _apply(self, function: str, args: list[Any]) -> Any:
        if function == "where":
            condition, *sides = args
            if not isinstance(condition, Tensor):
                return sides[0] if condition else sides[1]
            a, b = (s if isinstance(s, Tensor) else torch.as_tensor(s, dtype=self.like.dtype, device=self.like.device) for s in sides)
            return torch.where(condition, a, b)
        if not any(isinstance(a, Tensor) for a in args):
            args = [torch.as_tensor(a, dtype=self.like.dtype, device=self.like.device) for a in args]
        return torch_function(FUNCTIONS[function])(*args)

    def read(self, node: Var, names: Sequence[str], sizes: Mapping[str, int]) -> Tensor:
        """An access as a tensor with one axis per loop."""
        name, at = _access(node)
        found = self.env[name]
        if at == tuple(names) and found.shape[2:] == tuple(sizes.values()):
            return found
        order: list[str] = []
        axis = 2
        for index in at:
            base, shift = split_index(index)
            if not base:
                found = found.select(axis, shift)
                continue
            if shift or found.shape[axis] != sizes[base]:
                found = found.narrow(axis, shift, sizes[base])
            if base in order:
                first = 2 + order.index(base)
                found = found.diagonal(0, first, axis).movedim(-1, first)
                continue
            order.append(base)
            axis += 1
        wanted = [n for n in names if n in order]
        found = found.permute(0, 1, *(2 + order.index(n) for n in wanted))
        for k, n in enumerate(names):
            if n not in order:
                found = found.unsqueeze(2 + k)
        return found

    def total(self, root: Expr, free: Loops, sums: Loops) -> Tensor:
        """The sum over `sums`, with axes [sequence, time, one per free loop]."""
        if not sums:
            return self.value(root, free)
        loops = (*free, *sums)
        number, factors = _factors(root)
        if len(factors) < 2:
            body = self.value(root, loops)
            shape = (*body.shape[: 2 + len(free)], *(s for _, s in sums))
            return body.expand(shape).sum(dim=tuple(range(2 + len(free), 2 + len(loops))))
        result = self._contract([self.value(f, loops) for f in factors], loops, len(free))
        return result if number == 1 else result * number

    def _contract(self, factors: list[Tensor], loops: Loops, free: int) -> Tensor:
        """einsum of values that have all axes; axes of size 1 are left out, so that weights stay matrices."""
        operands: list[Any] = []
        for value in factors:
            axes = [k for k in range(value.dim()) if value.shape[k] != 1]
            operands += [value.reshape([value.shape[k] for k in axes]), axes]
        present = {k for axes in operands[1::2] for k in axes}
        count = 2 + len(loops)
        out = [k for k in range(2 + free) if k in present]
        result: Tensor = torch.einsum(*operands, out)
        shape = [result.shape[out.index(k)] if k in present else 1 for k in range(2 + free)]
        result = result.reshape(shape)
        for k in range(2 + free, count):  # a sum over what nothing depends on
            if k not in present:
                result = result * loops[k - 2][1]
        return result

    def run(self, equations: Iterable[Equation], tensors: Mapping[str, Part]) -> None:
        """Works out equations in order; their targets are added to the environment."""
        for equation in equations:
            self.define(equation, tensors[equation.target])

    def define(self, equation: Equation, tensor: Part) -> None:
        value = self.total(equation.body, equation.free, equation.sums)
        value = value.expand(*value.shape[:2], *(s for _, s in equation.free))
        names = tuple(n for n, _ in equation.free)
        if equation.at == names and tuple(s for _, s in equation.free) == tensor.shape:
            self.env[equation.target] = value
            return
        old = self.env.get(equation.target)
        lead = value.shape[:2] if old is None else torch.broadcast_shapes(value.shape[:2], old.shape[:2])
        new = value.new_zeros(*lead, *tensor.shape) if old is None else old.expand(*lead, *tensor.shape).clone()
        place = new
        order: list[str] = []
        axis = 2
        sizes = dict(equation.free)
        for index in equation.at:
            base, shift = split_index(index)
            if not base:
                place = place.select(axis, shift)
            elif base in order:
                first = 2 + order.index(base)
                place = place.diagonal(0, first, axis).movedim(-1, first)
            else:
                place = place.narrow(axis, shift, sizes[base])
                order.append(base)
                axis += 1
        place.copy_(value.permute(0, 1, *(2 + names.index(n) for n in order)))
        self.env[equation.target] = new


def _factors(root: Expr) -> tuple[float, list[Expr]]:
    """number * factors of a product."""
    number, factors, stack = 1.0, [], [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Apply) and node.function == "mul":
            stack += node.args
        elif isinstance(node, Apply) and node.function == "neg":
            number, stack = -number, [*stack, *node.args]
        elif isinstance(node, Const) and not isinstance(node.value, complex):
            number *= node.value
        else:
            factors.append(node)
    return number, factors[::-1]


@lru_cache(maxsize=4096)
def _access(node: Var) -> tuple[str, tuple[str, ...]]:
    return parse_access(node)


@lru_cache(maxsize=4096)
def _order(root: Expr) -> list[Expr]:
    """Nodes in order, a Custom after its value, its arguments and its slopes."""
    seen: set[Expr] = set()
    result: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(root, False)]
    while stack:
        node, ready = stack.pop()
        if ready:
            result.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            needs = (node.value, *node.arguments, *node.slopes) if isinstance(node, Custom) else node.args
            stack.extend((a, False) for a in reversed(needs))
    return result
