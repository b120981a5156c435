"""Primitives with weights, built and run on their own: whole, step by step, in chunks and in ragged batches."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from archdsl.graph.ir import Axis, Instance, Kind, Node
from archdsl.primitives import TABLE
from archdsl.primitives.initialisers import plain
from archdsl.primitives.support.clock import Clock
from archdsl.primitives.support.random import initialise
from tests.primitives.helpers import LAST, SUPPORT, FakeEmitter, check, value


class Emitter(FakeEmitter):
    """The fake emitter with what primitives that own weights ask for."""

    training = "self.training"
    batch = "batch"

    def weight(self, name: str) -> str:
        return f"self.{name}" if name else "self"

    def module_source(self, instance: Instance) -> str:
        return instance.name

    def placement(self, kind: Kind) -> str:
        return "device=None, " + super().placement(kind)


class Made:
    """A node with its instance as the emitted module would hold it, in float64."""

    def __init__(self, primitive: str, *values: Any, seed: int = 0, **args: Any) -> None:
        self.node: Node = check(primitive, *values, **args)
        self.p = TABLE[primitive]
        weights = dict(LAST[0].weights)
        self.node.instance = Instance("it", primitive, None, weights)
        text = self.p.module(self.node) if weights else None
        self.text = text
        if text is not None:
            self.module: Any = eval(text, {"nn": nn, **SUPPORT}).double()
            held = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
            assert {n: tuple(t.shape) for n, t in held.items()} == {n: w.shape for n, w in weights.items()}, text
            for name, weight in weights.items():
                assert isinstance(held[name], nn.Parameter) == weight.trainable, name
                initialise(held[name], plain(weight.init), seed, name)
        else:
            tensors = {}
            for name, weight in weights.items():
                tensors[name] = torch.empty(weight.shape, dtype=torch.float64, requires_grad=weight.trainable)
                initialise(tensors[name], plain(weight.init), seed, name)
            self.module = tensors.get("", SimpleNamespace(**tensors, training=True))

    def parameters(self) -> list[torch.Tensor]:
        if isinstance(self.module, nn.Module):
            return list(self.module.parameters())
        return [self.module] if isinstance(self.module, torch.Tensor) else [t for t in vars(self.module).values() if torch.is_tensor(t)]

    def source(self, emitter: Emitter, count: int, step: bool) -> str:
        names = [f"x{i}" for i in range(count)]
        return (self.p.step if step else self.p.emit)(self.node, names, emitter)  # type: ignore[arg-type]

    def __call__(
        self,
        *tensors: torch.Tensor,
        lengths: Any = None,
        time: Axis | None = None,
        clock: Clock | None = None,
        slot: dict[str, Any] | None = None,
        sizes: dict[str, int] | None = None,
        **extra: Any,
    ) -> Any:
        emitter = Emitter(sizes, lengths is not None, time)
        text = self.source(emitter, len(tensors), clock is not None)
        scope = {"torch": torch, "nn": nn, "F": F, "self": self.module, "lengths": lengths, "clock": clock, "slot": slot}
        return eval(text, {**scope, **SUPPORT, **extra, **{f"x{i}": t for i, t in enumerate(tensors)}})


def decode(
    made: Made, tensors: Sequence[torch.Tensor], axes: Sequence[int], time: Axis, chunks: Sequence[int], out: int = -2, **extra: Any
) -> Any:
    """The step form over equal sequences, `chunks` positions at a time; axes: where each tensor has time (0: nowhere)."""
    clock, slot, results, begin = Clock(), {}, [], 0
    for chunk in chunks:
        clock.begin(chunk)
        parts = [t.narrow(a, begin, chunk) if a else t for t, a in zip(tensors, axes)]
        results.append(made(*parts, time=time, clock=clock, slot=slot, **extra))
        clock.advance()
        begin += chunk
    return torch.cat(results, out)


def decode_ragged(
    made: Made, tensors: Sequence[torch.Tensor], axes: Sequence[int], time: Axis, plan: Sequence[Sequence[int]], out: int = -2
) -> Any:
    """The step form over sequences that advance differently: each step of the plan says how many positions each sequence gets.

    New positions are padded on the right with NaN-free garbage; the results are put back in place, one tensor per sequence.
    """
    clock, slot = Clock(), {}
    batch = tensors[0].shape[0]
    seen = [0] * batch
    results: list[list[torch.Tensor]] = [[] for _ in range(batch)]
    for counts in plan:
        new = max(counts)
        clock.begin(new, None if min(counts) == new else torch.tensor(counts))
        parts = []
        for t, a in zip(tensors, axes):
            rows = []
            for b in range(batch):
                row = t[b].narrow(a, seen[b], counts[b])
                shape = list(row.shape)
                shape[a] = new - counts[b]
                rows.append(torch.cat((row, 100 * torch.randn(shape, dtype=row.dtype)), a))
            parts.append(torch.stack(rows))
        result = made(*parts, time=time, clock=clock, slot=slot)
        for b in range(batch):
            results[b].append(result[b].narrow(out, 0, counts[b]))
            seen[b] += counts[b]
        clock.advance()
    return [torch.cat(r, out) for r in results]


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-10) -> None:
    """Equal shapes, and entries within a share of the largest."""
    assert a.shape == b.shape, (a.shape, b.shape)
    assert torch.isfinite(a).all()
    limit = tolerance * max(float(b.detach().abs().max()), 1e-30)
    worst = float((a - b).detach().abs().max()) if a.numel() else 0.0
    assert worst <= limit, (worst, limit)


def close_with_gradients(
    made: Made, reference: Any, tensors: Sequence[torch.Tensor], tolerance: float = 1e-9, **extra: Any
) -> torch.Tensor:
    """The whole form and a plain formula agree, and so do all gradients."""
    tensors = [t.detach().clone().requires_grad_(t.is_floating_point()) for t in tensors]
    result, expected = made(*tensors, **extra), reference(*tensors)
    close(result, expected)
    wanted = [t for t in (*tensors, *made.parameters()) if t.requires_grad]
    probe = torch.randn_like(expected)
    ours = torch.autograd.grad((result * probe).sum(), wanted, allow_unused=True, retain_graph=True)
    theirs = torch.autograd.grad((expected * probe).sum(), wanted, allow_unused=True)
    for a, b in zip(ours, theirs):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            limit = tolerance * max(float(b.abs().max()), 1.0)
            assert float((a - b).abs().max()) <= limit
    return result


__all__ = ["Clock", "Emitter", "Made", "check", "close", "close_with_gradients", "decode", "decode_ragged", "value"]
