"""Groups that are no affine recurrence: softmax sums, tropical ones, and nonlinear cells entry by entry."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archdsl.recurrence.algebra import tensors
from archdsl.recurrence.classes import NonlinearGroup, SoftmaxGroup, TropicalGroup
from archdsl.recurrence.forms import implicit, softmax
from archdsl.recurrence.forms.evaluate import Evaluator
from archdsl.recurrence.forms.newton import Newton
from archdsl.recurrence.forms.setting import Run
from archdsl.recurrence.forms.tape import Tape
from archdsl.recurrence.forms.tropical import max_scan
from archdsl.recurrence.step import INDICES


def tropical(group: TropicalGroup, run: Run) -> None:
    (state,) = group.states
    form = group.tropical
    loops, start = run.loops(state), run.states[state]
    sign = 1 if form.maximum else -1
    add = run.ended(run.whole(form.add, loops), 0.0) * sign
    low = add.new_full((), -torch.inf).expand_as(add) if form.floor is None else run.whole(form.floor, loops) * sign
    run.store(state, max_scan(add, run.ended(low, -torch.inf), start * sign) * sign)


class SoftmaxSums:
    """w and u with a running maximum, which is one of the states or our own."""

    def __init__(self, group: SoftmaxGroup, shapes: dict[str, tuple[int, ...]]) -> None:
        self.form = form = group.softmax
        self.missing = len(shapes[form.numerator]) - len(shapes[form.denominator])

    def stretched(self, x: Tensor) -> Tensor:
        """A tensor with u's axes as one with w's."""
        return x.view(*x.shape, *[1] * self.missing)

    def __call__(self, run: Run) -> None:
        form = self.form
        narrow, wide = run.loops(form.denominator), run.loops(form.numerator)
        score = self.stretched(run.ended(run.whole(form.score, narrow), -torch.inf))
        decay = torch.zeros_like(score)
        if form.log_decay is not None:
            decay = self.stretched(run.ended(run.whole(form.log_decay, narrow), 0.0))
        value = run.value(form.value, wide)
        w0, u0 = run.states[form.numerator], self.stretched(run.states[form.denominator])
        if form.maximum is not None:
            m0 = self.stretched(run.states[form.maximum])
            top = softmax.running_maximum(decay, score, m0)
        else:
            m0 = self.first_maximum(w0, u0)
            top = softmax.running_maximum(decay.detach(), score.detach(), m0)
            w0, u0 = w0 * torch.exp(-m0.clamp(min=-1e30)), u0 * torch.exp(-m0.clamp(min=-1e30))
            w0, u0 = (torch.where(m0 == -torch.inf, torch.zeros_like(x), x) for x in (w0, u0))
        found = softmax.sums(decay, score, value, w0, u0, top, m0, run.setting.engine)
        for ratio in form.ratios:
            m, w, u = found.after() if ratio.after else found.before()
            bonus = None if ratio.bonus is None else run.value(ratio.bonus, wide)
            extra = None if ratio.value is None else run.value(ratio.value, wide)
            run.env[ratio.target] = softmax.ratio(w, u, m, bonus, extra)
            run.given.add(ratio.target)
        self.keep(run, found)

    def first_maximum(self, w0: Tensor, u0: Tensor) -> Tensor:
        """log u0 where something is there; -inf where nothing is."""
        with torch.no_grad():
            empty = (w0 == 0).flatten(u0.dim() - self.missing).all(-1).view(u0.shape) if self.missing else w0 == 0
            return torch.where(u0 > 0, torch.log(u0), torch.where(empty & (u0 == 0), -torch.inf, 0.0).to(u0.dtype))

    def keep(self, run: Run, found: softmax.Sums) -> None:
        """The states in the spec's own terms."""
        form = self.form
        m, w, u = found.after()
        own = form.maximum is not None
        scale = None if own else torch.exp(m)
        narrow = u.reshape(*u.shape[: u.dim() - self.missing]) if self.missing else u
        thin = None if scale is None else scale.reshape(narrow.shape)
        if own:
            assert form.maximum is not None
            run.store(form.maximum, m.reshape(narrow.shape))
        pairs = ((form.numerator, w, scale), (form.denominator, narrow, thin))
        for name, value, factor in pairs:
            if name in run.wanted or run.after[name] in run.wanted:
                run.store(name, value if factor is None else value * factor)
            else:
                run.states[name] = value[:, -1] if factor is None else value[:, -1] * factor[:, -1]


class Elementwise:
    """A nonlinear cell whose entries do not mix."""

    def __init__(self, group: NonlinearGroup, after: dict[str, str], rank: int) -> None:
        self.group = group
        made = {e.target for e in group.equations}
        names = {n for e in group.equations for n in tensors(e.body)} - made - set(group.states)
        self.read = tuple(sorted(names))
        self.tape = Tape(group.equations, group.states, [after[s] for s in group.states], tuple(INDICES[:rank]))

    def __call__(self, run: Run) -> None:
        group = self.group
        read = [run.env[name] for name in self.read]
        if run.mask is not None:
            read.append(run.mask)
        loops = run.loops(group.states[0])

        def step(before: list[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
            env = dict(zip(self.read, given)) | dict(zip(group.states, before))
            Evaluator(env, run.like).run(group.equations, run.tensors)
            after = [env[run.after[s]].expand_as(b) for s, b in zip(group.states, before)]
            if run.mask is None:
                return after
            mask = given[-1].view(*given[-1].shape, *[1] * (after[0].dim() - 2))
            return [torch.where(mask, a, b) for a, b in zip(after, before)]

        def in_order(step: implicit.StepOf, first: list[Tensor], given: Sequence[Tensor], time: int) -> list[Tensor]:
            return self.tape.run(Evaluator(dict(zip(self.read, given)), run.like), loops, first, time, run.mask)

        solver = Newton(otherwise=in_order) if run.setting.newton else in_order
        found = implicit.run(step, solver, [run.states[s] for s in group.states], read, run.shape[1])
        for state, value in zip(group.states, found):
            run.store(state, value)
