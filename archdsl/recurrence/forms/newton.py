"""All states of a nonlinear recurrence at once by Newton's method: each iteration is a linear scan (DEER, arXiv:2309.12252; quasi-DEER and
damping, arXiv:2407.19115). Works where the recurrence forgets; a chaotic one does not converge, and runs in order, with a warning.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from archdsl.recurrence.forms import block, diagonal
from archdsl.recurrence.forms.implicit import Solver, States, StepOf, earlier, in_order, jacobian


@dataclass
class Newton:
    """A solver for `implicit.run`. After each iteration the step is applied once more and compared: the residual is what decides.

    tolerance: of the residual, in units of the dtype's precision times the state's size. limit: iterations. clip: bound on |J|, so that a
    guess far off cannot blow up. otherwise: what runs where it does not converge. fallbacks counts the runs that had to go in order;
    iterations and residual are those of the last run.
    """

    tolerance: float = 64.0
    limit: int = 16
    clip: float = 1.0
    otherwise: Solver = in_order
    fallbacks: int = 0
    iterations: int = 0
    residual: float = 0.0

    def __call__(self, step: StepOf, first: States, read: Sequence[Tensor], time: int) -> States:
        states = [f.unsqueeze(1).expand(-1, time, *f.shape[1:]) for f in first]
        for count in range(1, self.limit + 1):
            self.iterations = count
            before = [b.detach().requires_grad_() for b in earlier(states, first)]
            with torch.enable_grad():
                after = step(before, read)
                j = jacobian(after, before)
            after, before = [a.detach() for a in after], [b.detach() for b in before]
            size = max(float(a.abs().max()) for a in after) + 1
            self.residual = max(float((a - s).abs().max()) for a, s in zip(after, states))
            if self.residual <= self.tolerance * torch.finfo(after[0].dtype).eps * size:
                return after
            if not self.residual < float("inf"):
                break
            states = self._solve(j.clamp(-self.clip, self.clip), after, before, first)
        self.fallbacks += 1
        warnings.warn(
            f"Newton's method did not converge in {self.iterations} iterations (residual {self.residual:.1e}): the scan runs in order",
            RuntimeWarning,
            stacklevel=2,
        )
        return self.otherwise(step, first, read, time)

    def _solve(self, j: Tensor, after: States, before: States, first: States) -> States:
        """h_t = J_t h_{t-1} + f(h_{t-1} before) - J_t (h_{t-1} before)."""
        if len(after) == 1:
            a = j[..., 0, 0]
            return [diagonal.linear_scan(a, after[0] - a * before[0], first[0])]
        old, new = torch.stack(before, -1), torch.stack(after, -1)
        rest = new - (j * old.unsqueeze(-2)).sum(-1)
        return list(block.block_scan(j, rest, torch.stack(first, -1)).unbind(-1))
