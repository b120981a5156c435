"""Groups whose next states are affine in their states, by the forms of their classes."""

from __future__ import annotations

import torch
from torch import Tensor

from archdsl.graph.expressions import ONE, ZERO, Expr, call
from archdsl.recurrence.algebra import powers
from archdsl.recurrence.classes import BlockDiagonalGroup, DeltaGroup, DenseGroup, DiagonalGroup, MapGroup, MatrixGroup, Turn
from archdsl.recurrence.forms import flash
from archdsl.recurrence.forms.block import block_scan
from archdsl.recurrence.forms.dense import dense_scan
from archdsl.recurrence.forms.diagonal import linear_scan
from archdsl.recurrence.forms.matrix import Update, chunked, written
from archdsl.recurrence.forms.plan import matrix_plan
from archdsl.recurrence.forms.setting import Run


def shift(group: MapGroup, run: Run) -> None:
    """A state that is the previous step's value of something."""
    for state in group.states:
        loops = run.loops(state)
        now = run.whole(group.bias[state], loops)
        if run.mask is None:
            run.store(state, now)
        else:  # held after the end: a scan that replaces
            one = run.ended(torch.zeros_like(now[..., :1] if loops else now), 1.0)
            run.store(state, linear_scan(one, run.ended(now, 0.0), run.states[state], run.setting.engine))


def diagonal(group: DiagonalGroup | MatrixGroup, run: Run) -> None:
    (state,) = group.states
    loops = run.loops(state)
    decay = run.ended(run.value(group.decay.value, loops), 1.0)
    bias = run.ended(run.whole(group.bias[state], loops), 0.0)
    engine = "convolution" if run.setting.convolve and decay.shape[1] == 1 and _fades(group, decay) else run.setting.engine
    run.store(state, linear_scan(decay, bias, run.states[state], engine))


def _fades(group: DiagonalGroup | MatrixGroup, decay: Tensor) -> bool:
    """Whether powers of the coefficient stay bounded: where they grow, an FFT would drown the small ones in rounding."""
    return group.decay.sign == "unit" or bool((decay.detach().abs() <= 1).all())


def block_diagonal(group: BlockDiagonalGroup, run: Run) -> None:
    loops = run.loops(group.states[0])
    if group.turn is not None:
        turning(group, group.turn, run)
        return
    k = len(group.states)
    rows = []
    for target in group.states:
        row: list[Expr] = [ZERO] * k
        for term in group.terms:
            if term.target == target:
                place = group.states.index(term.state)
                row[place] = call("add", row[place], term.coefficient)
        rows.append(torch.stack([run.whole(c, loops) for c in row], -1))
    a = torch.stack(rows, -2)
    b = torch.stack([run.whole(group.bias[s], loops) for s in group.states], -1)
    if run.mask is not None:
        mask = run.mask.view(*run.mask.shape, *[1] * (len(loops) + 1))
        a = torch.where(mask.unsqueeze(-1), a, torch.eye(k, dtype=a.dtype, device=a.device))
        b = torch.where(mask, b, torch.zeros((), dtype=b.dtype, device=b.device))
    found = block_scan(a, b, torch.stack([run.states[s] for s in group.states], -1), run.setting.engine != "in_order")
    for place, state in enumerate(group.states):
        run.store(state, found[..., place])


def turning(group: BlockDiagonalGroup, turn: Turn, run: Run) -> None:
    """Two states that are one complex number, by the forms of diagonal recurrences."""
    u, v = group.states
    loops = run.loops(u)
    parts = torch.broadcast_tensors(run.value(turn.re, loops), run.value(turn.im, loops))
    factor = run.ended(torch.complex(*parts), 1.0)
    bias = run.ended(torch.complex(run.whole(group.bias[u], loops), run.whole(group.bias[v], loops)), 0.0)
    fades = bool((factor.detach().abs() <= 1).all())
    engine = "convolution" if run.setting.convolve and factor.shape[1] == 1 and fades else run.setting.engine
    found = linear_scan(factor, bias, torch.complex(run.states[u], run.states[v]), engine)
    run.store(u, found.real)
    run.store(v, found.imag)


def dense(group: DenseGroup, run: Run) -> None:
    (state,) = group.states
    shape = run.tensors[state].shape
    assert group.matrix is not None
    turned = group.side == "column"
    out, size = ("j", shape[1]) if turned else ("i", shape[0])
    a = run.value(group.matrix, ((out, size), ("s", size)))
    a = a.expand(*a.shape[:2], size, size)
    b, start = run.ended(run.whole(group.bias[state], run.loops(state)), 0.0), run.states[state]
    if run.mask is not None:
        mask = run.mask.view(*run.mask.shape, 1, 1)
        a = torch.where(mask, a, torch.eye(size, dtype=a.dtype, device=a.device))
    if len(shape) == 1:
        b, start = b.unsqueeze(-1), start.unsqueeze(-1)
    elif turned:
        b, start = b.mT, start.mT
    found = dense_scan(a, b, start, run.setting.engine != "in_order")
    run.store(state, found.squeeze(-1) if len(shape) == 1 else found.mT if turned else found)


# ---- matrix states ------------------------------------------------------------------------------------------------------------------------


class Matrix:
    """A matrix (or delta) group in chunks; written out entry by entry where chunks do not serve all that reads it."""

    def __init__(self, group: MatrixGroup | DeltaGroup, rank: int) -> None:
        self.group, self.rank = group, rank
        self.plan = matrix_plan(group, rank)
        self.turned, self.delta = self.plan.turned, isinstance(group, DeltaGroup)

    def __call__(self, run: Run) -> None:
        if not self.plan.direct and isinstance(self.group, MatrixGroup):
            diagonal(self.group, run)
            return
        (state,) = self.group.states
        if run.setting.fla and self.theirs(run):
            return
        update = self.update(run)
        start = run.states[state]
        start = start.unsqueeze(-1) if self.rank == 1 else start.mT if self.turned else start
        chunk, sub = run.setting.chunk, run.setting.sub
        if not self.plan.direct:
            self.written_out(run, update, start)
            return
        readouts = self.group.readouts
        asked = [(self.side(run, q, self.turned).expand(*run.shape, -1), r.after) for (q, _), r in zip(self.plan.queries, readouts)]
        found, end = chunked(update, asked, start, chunk, sub)
        self.finish(run, found, end)

    def finish(self, run: Run, found: list[Tensor], end: Tensor) -> None:
        (state,) = self.group.states
        for (_, outside), readout, value in zip(self.plan.queries, self.group.readouts, found):
            kept = run.value(outside, run.loops(state)).squeeze(2 + readout.axis)
            run.env[readout.target] = value if outside is ONE else value * kept
            run.given.add(readout.target)
        run.states[state] = end.mT if self.turned else end

    def theirs(self, run: Run) -> bool:
        """Runs the group by flash-linear-attention, if it can."""
        group = self.group
        kind, _ = flash.kind_of(group, self.plan)
        (state,) = group.states
        n, m = run.states[state].shape[1:] if not self.turned else run.states[state].mT.shape[1:]
        low = run.setting.low or run.like.dtype
        if kind is None or not flash.fits(kind, run.like.new_empty(0, dtype=low), n, m, run.mask is not None)[0]:
            return False
        (outer,) = group.outers
        key, value = (outer.right, outer.left) if self.turned else (outer.left, outer.right)
        k = self.side(run, key if self.delta else call("mul", outer.scale, key), self.turned)
        v, q = self.side(run, value, not self.turned), self.side(run, self.plan.queries[0][0], self.turned)
        loops = run.loops(state)
        log = beta = None
        if group.decay.along != "none":
            assert group.decay.log is not None
            log = run.value(group.decay.log, loops)
            log = log.squeeze(2) if self.turned else log.squeeze(3)
            log = log.expand(*run.shape, -1)
        if isinstance(group, DeltaGroup):
            beta = run.value(group.removals[0].scale, loops)[..., 0, 0].expand(run.shape).to(low)
        q, k, v = (x.expand(*run.shape, -1).to(low) for x in (q, k, v))
        start = run.states[state].mT if self.turned else run.states[state]
        out, end = flash.run(kind, q, k, v, log, beta, start)
        self.finish(run, [out.to(run.like.dtype)], end.to(run.like.dtype))
        return True

    def written_out(self, run: Run, update: Update, start: Tensor) -> None:
        """A delta rule whose states are read otherwise: what is written at each time, then all states from that."""
        (state,) = self.group.states
        sources, rows = written(update, start, run.setting.chunk, run.setting.sub)
        decay = torch.ones_like(sources[:1, :1, 0, :1]) if update.decay is None else update.decay
        found = linear_scan(decay.unsqueeze(-1), torch.einsum("ntrk,ntrm->ntkm", sources, rows), start, run.setting.engine)
        run.store(state, found.squeeze(-1) if self.rank == 1 else found.mT if self.turned else found)

    def side(self, run: Run, value: Expr, second: bool) -> Tensor:
        """An expression of one axis of the state as [N or 1, T or 1, its size]; of the second axis if `second`."""
        (state,) = self.group.states
        loops = run.loops(state)
        found = run.value(value, loops)
        if self.rank == 1:
            return found.expand(*found.shape[:2], loops[0][1])
        found = found.squeeze(2) if second else found.squeeze(3)
        return found.expand(*found.shape[:2], loops[1 if second else 0][1])

    def update(self, run: Run) -> Update:
        group = self.group
        (state,) = group.states
        loops = run.loops(state)
        decay = None
        if group.decay.along != "none":
            value = run.value(group.decay.value, loops)
            value = value if self.rank == 1 else value.squeeze(2) if self.turned else value.squeeze(3)
            if group.decay.along == "scalar":
                value = value[..., :1]
            decay = run.ended(value.expand(*run.shape, value.shape[-1]), 1.0)
        keys, values, marks = self.inserted(run)
        if not isinstance(group, DeltaGroup):
            return Update(decay, self.rows(run, keys, True), self.rows(run, values))
        reads = [self.read(run, r.right, r.after_decay, decay) for r in group.removals]
        removed = [powers(call("mul", r.scale, r.left)) for r in group.removals]
        if all(removed.count(m) == 1 and marks.count(m) == 1 for m in removed):
            blank = torch.zeros_like(reads[0])
            matched = [reads[removed.index(m)] if m in removed else blank for m in marks]
            return Update(decay, self.rows(run, keys, True), self.rows(run, values), self.rows(run, matched), None, True)
        writes = [self.side(run, call("neg", call("mul", r.scale, r.left)), self.turned) for r in group.removals]
        return Update(decay, self.rows(run, keys, True), self.rows(run, values), self.rows(run, reads), self.rows(run, writes, True))

    def read(self, run: Run, right: Expr, after_decay: bool, decay: Tensor | None) -> Tensor:
        value = self.side(run, right, self.turned)
        return value * decay if after_decay and decay is not None else value

    def rows(self, run: Run, parts: list[Tensor], stop: bool = False) -> Tensor:
        """Vectors side by side [N, T, R, size]; stop: zero after a sequence's end."""
        stacked = torch.stack([p.expand(*run.shape, -1) for p in parts], 2)
        return run.ended(stacked, 0.0) if stop else stacked

    def inserted(self, run: Run) -> tuple[list[Tensor], list[Tensor], list[dict[Expr, int]]]:
        """Keys and values of what is added, and what each key is made of."""
        group = self.group
        (state,) = group.states
        if self.rank == 1:
            bias = self.side(run, group.bias[state], False)
            return [bias], [torch.ones_like(bias[..., :1])], [powers(group.bias[state])]
        if not group.outers:
            shape = run.tensors[state].shape
            n, m = shape[::-1] if self.turned else shape
            return [run.like.new_zeros(1, 1, n)], [run.like.new_zeros(1, 1, m)], [{}]
        keys, values, marks = [], [], []
        for outer in group.outers:
            key, value = (outer.right, outer.left) if self.turned else (outer.left, outer.right)
            scaled = call("mul", outer.scale, key)
            keys.append(self.side(run, scaled, self.turned))
            values.append(self.side(run, value, not self.turned))
            marks.append(powers(scaled))
        return keys, values, marks
