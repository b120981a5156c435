"""What a run of a group's form is given, and where it leaves what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from archdsl.graph.expressions import Expr
from archdsl.recurrence.classes import Group
from archdsl.recurrence.forms.evaluate import Env, Evaluator, Loops
from archdsl.recurrence.forms.plan import Setting
from archdsl.recurrence.step import INDICES, Step
from archdsl.recurrence.step import Tensor as Part


@dataclass
class Run:
    """One run over [N, T]: `env` holds tensors by name, `states` each state at the beginning and, once its group has run, at the end."""

    step: Step
    tensors: Mapping[str, Part]
    env: Env
    states: dict[str, Tensor]
    mask: Tensor | None
    wanted: frozenset[str]  # states (before or after) that something reads for all times
    setting: Setting
    shape: tuple[int, int]
    like: Tensor
    given: set[str] = field(default_factory=set)  # targets of equations that a form has worked out

    def __post_init__(self) -> None:
        self.evaluator = Evaluator(self.env, self.like)
        self.after = {s.before: s.after for s in self.step.states}

    def loops(self, name: str) -> Loops:
        return tuple(zip(INDICES, self.tensors[name].shape))

    def value(self, expr: Expr, loops: Loops) -> Tensor:
        return self.evaluator.value(expr, loops)

    def whole(self, expr: Expr, loops: Loops) -> Tensor:
        """The value stretched to [N, T, all loops]."""
        return self.value(expr, loops).expand(*self.shape, *(s for _, s in loops))

    def ended(self, x: Tensor, fill: float) -> Tensor:
        """x with `fill` at the times after a sequence's end."""
        if self.mask is None:
            return x
        mask = self.mask.view(*self.mask.shape, *[1] * (x.dim() - 2))
        return torch.where(mask, x, torch.full((), fill, dtype=x.dtype, device=x.device))

    def prepare(self, group: Group) -> None:
        self.evaluator.run((e for e in group.prepare if e.target not in self.given), self.tensors)

    def store(self, state: str, found: Tensor) -> None:
        """All states after each step [N, T, …]: for whoever reads them, and the last."""
        first = self.states[state]
        if state in self.wanted:
            self.env[state] = torch.cat((first.unsqueeze(1), found[:, :-1]), 1)
        self.env[self.after[state]] = found
        self.states[state] = found[:, -1] if found.shape[1] else first
