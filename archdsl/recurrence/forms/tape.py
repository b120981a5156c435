"""A nonlinear cell in order, as a list of torch calls: what reads no state is worked out before, for all times at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archdsl.graph.expressions import Apply, Const, Custom, Expr
from archdsl.graph.functions import FUNCTIONS
from archdsl.recurrence.forms.evaluate import Evaluator, Loops, torch_function
from archdsl.recurrence.step import Equation, access


class Tape:
    """The equations of a group whose entries do not mix. Each slot holds a state, a value that reads no state (`leaves`), a number, or the
    result of a call; `calls` fill their slots in order."""

    def __init__(self, equations: Sequence[Equation], states: Sequence[str], after: Sequence[str], own: tuple[str, ...]) -> None:
        self.size = len(states)
        self.slots: dict[Expr, int] = {access(name, own): k for k, name in enumerate(states)}
        self.leaves: dict[int, Expr] = {}
        self.numbers: dict[int, Any] = {}
        self.calls: list[tuple[int, str, tuple[int, ...]]] = []
        self.moving: set[Expr] = set(self.slots)
        for equation in equations:
            target = access(equation.target, own)
            self.visit(equation.body)
            self.slots[target] = self.slot(equation.body)
            self.moving.add(target)
        self.after = [self.slots[access(name, own)] for name in after]

    def visit(self, node: Expr) -> bool:
        """Whether a value depends on the states; if so, the calls that make it are on the tape."""
        if isinstance(node, Custom):
            moves = self.visit(node.value)
            if moves:
                self.slots[node] = self.slots[node.value]
                self.moving.add(node)
            return moves
        if node in self.moving or not isinstance(node, Apply):
            return node in self.moving
        found = [self.visit(a) for a in node.args]
        if not any(found):
            return False
        args = tuple(self.slot(a) for a in node.args)
        self.moving.add(node)
        self.slots[node] = self.size
        self.calls.append((self.size, node.function, args))
        self.size += 1
        return True

    def slot(self, node: Expr) -> int:
        if node not in self.slots:
            if isinstance(node, Const):
                self.numbers[self.size] = node.value
            else:
                self.leaves[self.size] = node
            self.slots[node] = self.size
            self.size += 1
        return self.slots[node]

    def run(self, evaluator: Evaluator, loops: Loops, first: Sequence[Tensor], time: int, mask: Tensor | None) -> list[Tensor]:
        """States after each step [N, T, …]. mask [N, T]: where it is false a state stays."""
        like = evaluator.like
        values: list[Any] = [None] * self.size
        values[: len(first)] = first
        for slot, number in self.numbers.items():
            values[slot] = torch.as_tensor(number, dtype=like.dtype, device=like.device)
        columns: list[tuple[int, Sequence[Tensor]]] = []
        for slot, leaf in self.leaves.items():
            value = evaluator.value(leaf, loops)
            if leaf.is_bool:
                value = value != 0
            if value.shape[1] == 1:
                values[slot] = value[:, 0]
            else:
                columns.append((slot, value.unbind(1)))
        plan = [(slot, torch_function(FUNCTIONS[function]), args) for slot, function, args in self.calls]
        out = [torch.empty(f.shape[0], time, *f.shape[1:], dtype=f.dtype, device=f.device) for f in first]
        for t in range(time):
            for slot, column in columns:
                values[slot] = column[t]
            for slot, function, args in plan:
                values[slot] = function(*[values[a] for a in args])
            new = [values[slot] for slot in self.after]
            for k, into in enumerate(out):
                if mask is not None:
                    new[k] = torch.where(mask[:, t].view(-1, *[1] * (into.dim() - 2)), new[k], values[k])
                into[:, t] = new[k]
            values[: len(first)] = [into[:, t] for into in out]
        return out
