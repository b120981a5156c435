"""The executor: the layers of a built model, run one by one in the order that a program gives, by the code the compiled model runs."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from archdsl.compiler import build
from archdsl.search.depth.program import Program, layer_runs
from archdsl.search.depth.skeleton import Skeleton

if TYPE_CHECKING:
    from torch._prims_common import DeviceLikeType

Hidden = tuple[Tensor, ...]  # what the layers hand on: one tensor [batch, time, …] per carried value


class Stack:
    """A built model cut into what stands before its layers, the layers, and what stands after.

    Each part is a small arch of its own (`Skeleton.before`, `.layer`, `.after`) compiled like any other, with the model's weights in it.
    """

    def __init__(self, skeleton: Skeleton, model: nn.Module):
        """model: what the skeleton's spec, or any program of it, built."""
        self.skeleton = skeleton
        self.depth = skeleton.depth
        base = model.get_submodule(skeleton.base)
        self.before = self._part(skeleton.before(), base)
        self.after = self._part(skeleton.after(), base)
        self.layers = [self._part(skeleton.layer(i), base) for i in range(skeleton.depth)]
        self.decodes = all(hasattr(part, "step") for part in [self.before, *self.layers])

    @classmethod
    def build(cls, skeleton: Skeleton, device: DeviceLikeType = "cpu", dtype: str = "float32", seed: int = 0) -> Stack:
        """The stack with its published or initial weights."""
        return cls(skeleton, skeleton.spec.build(device=str(device), dtype=dtype, seed=seed).eval())

    def _part(self, spec: Any, base: nn.Module) -> nn.Module:
        part = build(spec.graph, device="meta")
        setattr(part, self.skeleton.base, base)
        return part.eval()

    @torch.inference_mode()
    def run(self, program: Program, *inputs: Tensor, lengths: Tensor | None = None) -> Any:
        """The model's outputs under a program; equal bit for bit to those of the program's own compiled spec.

        inputs: what the model takes, batch first. lengths: [batch], for sequences padded on the right.
        """
        from archdsl.search.depth.prefixes import Prefixes

        return self.finish(Prefixes(Whole(self, inputs, lengths)).state(program), lengths)

    def finish(self, hidden: Hidden, lengths: Tensor | None = None) -> Any:
        """From what the last layer gave to the outputs."""
        return call(self.after, hidden, lengths)

    def flops(self, program: Program, time: int) -> float:
        """Forward FLOPs of one sequence under a program; a layer counts as any other."""
        spec = self.skeleton.spec
        whole, layer = spec.flops(T=time), self.skeleton.layer(0).flops(T=time)
        return float(whole + (layer_runs(program) - layer_runs(self.skeleton.start)) * layer)


def call(part: nn.Module, inputs: Sequence[Tensor], lengths: Tensor | None) -> Any:
    """A part on inputs, with lengths where it wants them."""
    if lengths is None or "lengths" not in inspect.signature(part.forward).parameters:
        return part(*inputs)
    return part(*inputs, lengths=lengths)


def carried(given: Any) -> Hidden:
    return given if isinstance(given, tuple) else (given,)


class Whole:
    """Whole sequences, as `forward` reads them: a run of this kind equals the compiled model's bit for bit."""

    def __init__(self, stack: Stack, inputs: Sequence[Tensor], lengths: Tensor | None = None):
        self.stack, self.inputs, self.lengths = stack, inputs, lengths

    def start(self) -> Hidden:
        return carried(call(self.stack.before, self.inputs, self.lengths))

    def layer(self, index: int, hidden: Hidden) -> Hidden:
        return carried(call(self.stack.layers[index], hidden, self.lengths))


class Branched:
    """Texts that begin alike, read as a tree: what several share is read once by the step form, and each goes on from its state.

    levels: (tokens [n, time] padded on the right, sizes [n]), from the common beginning to the ends; a row of one level goes on in equally
    many rows of the next, which stand together. Carries the hidden values of every level, level by level. Needs a stack that decodes. A
    layer's own state lives only while that layer runs.
    """

    def __init__(self, stack: Stack, levels: Sequence[tuple[Tensor, Tensor]]):
        self.stack, self.levels = stack, list(levels)

    def start(self) -> Hidden:
        return self._each(self.stack.before, [(tokens,) for tokens, _ in self.levels])

    def layer(self, index: int, hidden: Hidden) -> Hidden:
        return self._each(self.stack.layers[index], self.split(hidden))

    def split(self, hidden: Hidden) -> list[Hidden]:
        """The carried values of each level."""
        count = len(hidden) // len(self.levels)
        return [hidden[i : i + count] for i in range(0, len(hidden), count)]

    def _each(self, part: Any, inputs: Sequence[Hidden]) -> Hidden:
        found: Hidden = ()
        state, rows = None, 1
        for given, (tokens, sizes) in zip(inputs, self.levels):
            if state is None:
                out, state = part.prefill(*given, lengths=sizes)
            else:
                out, state = part.step(*given, fork(state, len(tokens) // rows), lengths=sizes)
            found += carried(out)
            rows = len(tokens)
        return found


def fork(state: Any, factor: int) -> Any:
    """A decoding state in which each sequence stands `factor` times in a row."""
    if isinstance(state, Tensor):
        return state.repeat_interleave(factor, 0)
    if isinstance(state, dict):
        return {name: fork(part, factor) for name, part in state.items()}
    if isinstance(getattr(state, "start", None), Tensor):  # the clock
        state.start = state.start.repeat_interleave(factor, 0)
    return state
