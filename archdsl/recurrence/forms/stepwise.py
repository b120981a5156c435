"""The plain loop over a step's equations, under autograd: slow, and right for every step, class or none, and for derivatives of any order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archdsl.recurrence.forms.evaluate import Evaluator
from archdsl.recurrence.step import Step


def loop(
    step: Step, inputs: Sequence[Tensor], weights: Sequence[Tensor], begin: Sequence[Tensor], lengths: Tensor | None = None
) -> tuple[list[Tensor], list[Tensor]]:
    """Yields [N, T, …] and final states [N, …]. inputs [N, T, …], weights with their lead axes, begin [N, …]; lengths [N]: beyond them yields
    are zero and states stay."""
    n, time = inputs[0].shape[:2]
    tensors = {t.name: t for t in step.tensors}
    fixed = {t.name: w.reshape(-1, 1, *t.shape) for t, w in zip(step.of("constant", "weight"), weights)}
    fixed = {name: w.repeat(n // w.shape[0], *[1] * (w.dim() - 1)) if w.shape[0] > 1 else w for name, w in fixed.items()}
    states, kept = list(begin), []
    for t in range(time):
        env = {p.name: x[:, t : t + 1] for p, x in zip(step.of("input"), inputs)} | fixed
        env |= {s.before: x.unsqueeze(1) for s, x in zip(step.states, states)}
        Evaluator(env, inputs[0]).run(step.equations, tensors)
        new = [env[s.after].expand(n, 1, *tensors[s.after].shape).squeeze(1) for s in step.states]
        found = [env[name].expand(n, 1, *tensors[name].shape).squeeze(1) for name in step.yields]
        if lengths is not None:
            new = [_running(t < lengths, a, b) for a, b in zip(new, states)]
            found = [_running(t < lengths, y, torch.zeros_like(y)) for y in found]
        states = new
        kept.append(found)
    yields = [torch.stack(column, 1) for column in zip(*kept)] or [inputs[0].new_zeros(n, 0, *tensors[name].shape) for name in step.yields]
    return yields, states


def _running(runs: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(runs.view(-1, *[1] * (new.dim() - 1)), new, old)
