"""A classified step run over whole sequences: each group of states by the form of its class, then everything that reads them, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from archdsl.graph.expressions import Expr
from archdsl.recurrence.algebra import tensors
from archdsl.recurrence.classes import (
    AffineGroup,
    BlockDiagonalGroup,
    Classified,
    DeltaGroup,
    DenseGroup,
    DiagonalGroup,
    Group,
    MapGroup,
    MatrixGroup,
    NonlinearGroup,
    SoftmaxGroup,
    TropicalGroup,
)
from archdsl.recurrence.forms import linear_groups, other_groups
from archdsl.recurrence.forms.plan import Setting, Unsupported, shapes_of, unsupported
from archdsl.recurrence.forms.setting import Run

Runner = Callable[[Run], None]


def _evaluated(group: Group) -> list[Expr]:
    """Every expression that a run of a group works out."""
    queries = [r.query for r in group.readouts] if isinstance(group, AffineGroup) else []
    return [*(e.body for e in (*group.prepare, *group.equations)), *group.pieces(), *queries]


class Program:
    """The parallel forms of a step. Raises Unsupported if a group has none here."""

    def __init__(self, classified: Classified) -> None:
        self.classified = classified
        step = self.step = classified.step
        self.tensors = {t.name: t for t in step.tensors} | {t.name: t for g in classified.groups for t in g.tensors}
        reason = unsupported(classified)
        if reason is not None:
            raise Unsupported(reason)
        self.runners = [self._runner(g) for g in classified.groups]
        read = {n for e in classified.after for n in tensors(e.body)} | set(step.yields)
        for group in classified.groups:
            read |= {n for x in _evaluated(group) for n in tensors(x)} - set(group.states)
        names = {s.before for s in step.states} | {s.after for s in step.states}
        self.wanted = frozenset(read & names)

    def _runner(self, group: Group) -> Runner:
        rank = len(self.tensors[group.states[0]].shape)
        if isinstance(group, (MatrixGroup, DeltaGroup)):
            return linear_groups.Matrix(group, rank)
        if isinstance(group, SoftmaxGroup):
            return other_groups.SoftmaxSums(group, shapes_of(self.classified))
        if isinstance(group, NonlinearGroup):
            return other_groups.Elementwise(group, {s.before: s.after for s in self.step.states}, rank)
        if isinstance(group, DiagonalGroup):
            return partial(linear_groups.diagonal, group)
        if isinstance(group, BlockDiagonalGroup):
            return partial(linear_groups.block_diagonal, group)
        if isinstance(group, DenseGroup):
            return partial(linear_groups.dense, group)
        if isinstance(group, TropicalGroup):
            return partial(other_groups.tropical, group)
        assert isinstance(group, MapGroup)
        return partial(linear_groups.shift, group)

    def run(
        self,
        inputs: Sequence[Tensor],
        weights: Sequence[Tensor],
        begin: Sequence[Tensor | None],
        lengths: Tensor | None = None,
        setting: Setting | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Yields [N, T, …] and final states [N, …]. inputs [N, T, …] in the step's order, in float32 or float64; weights (constants too)
        in its order, with their lead axes; begin [N, …] or None; lengths [N]: beyond them yields are zero and states stay."""
        setting = setting or Setting()
        step = self.step
        like = inputs[0]
        n, time = like.shape[:2]
        fixed = {}
        for tensor, weight in zip(step.of("constant", "weight"), weights):
            flat = weight.reshape(-1, 1, *tensor.shape)
            fixed[tensor.name] = flat.repeat(n // flat.shape[0], *[1] * (flat.dim() - 1)) if flat.shape[0] > 1 else flat
        states = [
            like.new_full((n, *step.tensor(s.before).shape), s.start) if b is None else b
            for s, b in zip(step.states, list(begin) or [None] * len(step.states))
        ]
        if time == 0:
            return [like.new_zeros(n, 0, *step.tensor(name).shape) for name in step.yields], states
        names = [t.name for t in step.of("input")]
        mask = None if lengths is None else torch.arange(time, device=like.device) < lengths.view(-1, 1)
        size = setting.segment or time
        again = size < time and torch.is_grad_enabled() and any(t.requires_grad for t in (*inputs, *weights, *states))
        pieces: list[list[Tensor]] = []
        for first in range(0, time, size):
            part = [x[:, first : first + size] for x in inputs]
            cut = None if mask is None else mask[:, first : first + size]

            def piece(*given: Tensor, cut: Tensor | None = cut) -> tuple[Tensor, ...]:
                return self._piece(dict(zip(names, given)), fixed, list(given[len(names) :]), cut, setting)

            found = checkpoint(piece, *part, *states, use_reentrant=False, preserve_rng_state=False) if again else piece(*part, *states)
            pieces.append(list(found[: len(step.yields)]))
            states = list(found[len(step.yields) :])
        yields = [torch.cat(column, 1) if len(column) > 1 else column[0] for column in zip(*pieces)]
        return yields, states

    def _piece(
        self, inputs: dict[str, Tensor], fixed: dict[str, Tensor], begin: list[Tensor], mask: Tensor | None, setting: Setting
    ) -> tuple[Tensor, ...]:
        """One segment of time from given states."""
        step = self.step
        like = next(iter(inputs.values()))
        n, time = like.shape[:2]
        states = dict(zip((s.before for s in step.states), begin))
        run = Run(step, self.tensors, {**fixed, **inputs}, states, mask, self.wanted, setting, (n, time), like)
        for group, runner in zip(self.classified.groups, self.runners):
            run.prepare(group)
            runner(run)
        run.evaluator.run((e for e in self.classified.after if e.target not in run.given), self.tensors)
        yields = []
        for name in step.yields:
            shape = self.tensors[name].shape
            yields.append(run.ended(run.env[name].expand(n, time, *shape), 0.0))
        return (*yields, *(run.states[s.before] for s in step.states))
