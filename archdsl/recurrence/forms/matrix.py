"""Matrix states in chunks: S' = decay . S + sum_r key_r value_r^T, and delta rules, which also take away what reads of S say.

In a chunk all times are worked out at once from the state at its beginning; chunks follow one another by one small product each.
Delta rules (arXiv:2406.06484, arXiv:2412.06464, arXiv:2510.26692): the values written depend on reads of the states before, a triangular
system within the chunk (the UT form of the WY representation), solved in at least float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from archdsl.recurrence.forms.diagonal import linear_scan
from archdsl.recurrence.forms.products import Channels, Uniform

CHUNK = 64
SUB = 16


@dataclass(frozen=True)
class Update:
    """S_t = a_t S_{t-1} + sum_r key_r value_r^T + sum_e write_e (read_e^T S_{t-1}), decay over the rows of S.

    decay [N, T, 1 or n] or None; keys [N, T, R, n], values [N, T, R, m]; reads, writes [N, T, E, n] or None. paired: reads stand against
    keys one by one, S_t = a_t S_{t-1} + sum_r key_r (value_r - read_r^T S_{t-1})^T, and there are no writes.
    """

    decay: Tensor | None
    keys: Tensor
    values: Tensor
    reads: Tensor | None = None
    writes: Tensor | None = None
    paired: bool = False


Query = tuple[Tensor, bool]  # [N, T, n]; whether the state after the step is read, or the one before


def chunked(update: Update, queries: list[Query], start: Tensor, chunk: int = CHUNK, sub: int = SUB) -> tuple[list[Tensor], Tensor]:
    """What each query reads [N, T, m], and the last state. start [N, n, m]."""
    time = update.keys.shape[1]
    if time == 0:
        return [update.values.new_zeros(q.shape[0], 0, start.shape[-1]) for q, _ in queries], start
    part, cut = _cut(update, chunk, sub)
    return part.run([(cut(q), after) for q, after in queries], start, time)


def written(update: Update, start: Tensor, chunk: int = CHUNK, sub: int = SUB) -> tuple[Tensor, Tensor]:
    """A delta rule as plain sums of outer products: all sources [N, T, R, n] and the rows written along them [N, T, R, m]."""
    time = update.keys.shape[1]
    sources = update.keys if update.writes is None else torch.cat((update.keys, update.writes), 2)
    if time == 0:
        return sources, update.values.new_zeros(*sources.shape[:3], start.shape[-1])
    part, _ = _cut(update, chunk, sub)
    found = part.solved(start)[0]
    return sources, found.reshape(found.shape[0], -1, sources.shape[2], found.shape[-1])[:, :time]


def _cut(update: Update, chunk: int, sub: int) -> tuple[_Chunks, _Cut]:
    time = update.keys.shape[1]
    size = min(chunk, -(-time // sub) * sub)
    cut = _Cut(time, size)
    decay = None if update.decay is None else cut(update.decay, 1.0)
    keys, values = cut(update.keys), cut(update.values)
    by_row = decay is not None and decay.shape[-1] > 1
    products = Channels(decay, sub) if by_row else Uniform(decay, keys, size)  # type: ignore[arg-type]
    part = _Chunks(products, keys, values, None, None, update.paired)
    if update.reads is not None:
        part = replace(part, reads=cut(update.reads), writes=None if update.writes is None else cut(update.writes))
    return part, cut


class _Cut:
    """Cuts [N, T, …] into chunks [N, K, C, …]; the last is filled up."""

    def __init__(self, time: int, size: int):
        self.size, self.count = size, -(-time // size)
        self.missing = self.count * size - time

    def __call__(self, x: Tensor, fill: float = 0.0) -> Tensor:
        if self.missing:
            x = torch.cat((x, x.new_full((x.shape[0], self.missing, *x.shape[2:]), fill)), 1)
        return x.reshape(x.shape[0], self.count, self.size, *x.shape[2:])


@dataclass(frozen=True)
class _Chunks:
    products: Uniform | Channels
    keys: Tensor
    values: Tensor
    reads: Tensor | None
    writes: Tensor | None
    paired: bool

    def run(self, queries: list[Query], start: Tensor, time: int) -> tuple[list[Tensor], Tensor]:
        p = self.products
        rows, states, end = self.solved(start)
        found = []
        for query, after_step in queries:
            here = p.gram(query.unsqueeze(3), self.sources, after_step) @ rows
            out = here + (query * p.since[after_step]) @ states
            found.append(out.flatten(1, 2)[:, :time])
        return found, end

    @property
    def sources(self) -> Tensor:
        return self.keys if self.writes is None else torch.cat((self.keys, self.writes), 3)

    def solved(self, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is written along each source [N, K, C R, m], the states at the chunks' beginnings, and the last."""
        p = self.products
        n, count = self.keys.shape[:2]
        tails = (self.sources * p.until.unsqueeze(-2)).flatten(2, 3).mT  # [N, K, n, C R]
        if self.reads is not None:
            fixed, slope = self._system(self.sources)
            return self._chain(fixed, slope, tails, start)
        rows = self.values.flatten(2, 3)
        whole = p.whole.unsqueeze(-1).expand(n, count, -1, 1)
        after = linear_scan(whole, tails @ rows, start, "in_order" if count <= 16 else "two_level")
        return rows, torch.cat((start.unsqueeze(1), after[:, :-1]), 1), after[:, -1]

    def _system(self, sources: Tensor) -> tuple[Tensor, Tensor]:
        """What is written at each row as fixed + slope @ (state at the chunk's beginning)."""
        assert self.reads is not None
        p = self.products
        seen = (self.reads * p.since[False].unsqueeze(-2)).flatten(2, 3)  # [N, K, C E, n]
        g = p.gram(self.reads, sources, False)
        values = self.values.flatten(2, 3)
        size = g.shape[-2]
        eye = torch.eye(size, dtype=g.dtype, device=g.device)
        if self.paired:
            both = torch.cat((values, -seen), -1)
            solved = torch.linalg.solve_triangular(eye + g, both, upper=False, unitriangular=True)
            return solved[..., : values.shape[-1]], solved[..., values.shape[-1] :]
        # Rows of a time: first what is inserted, then what reads say. Only the latter are unknown.
        c, r, e = self.keys.shape[2], self.keys.shape[3], self.reads.shape[3]
        g = g.reshape(*g.shape[:-1], c, r + e)
        known, unknown = g[..., :r].flatten(-2), g[..., r:].flatten(-2)
        both = torch.cat((known @ values, seen), -1)
        solved = torch.linalg.solve_triangular(eye - unknown, both, upper=False, unitriangular=True)
        m = values.shape[-1]
        fixed = torch.cat((self.values, solved[..., :m].unflatten(-2, (c, e))), 3).flatten(2, 3)
        slope = solved[..., m:].unflatten(-2, (c, e))
        return fixed, torch.cat((slope.new_zeros(*slope.shape[:3], r, slope.shape[-1]), slope), 3).flatten(2, 3)

    def _chain(self, fixed: Tensor, slope: Tensor, tails: Tensor, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """States at the chunks' beginnings, one chunk after another."""
        n, count = fixed.shape[:2]
        whole = self.products.whole.unsqueeze(-1).expand(n, count, -1, 1)
        state, states = start, []
        added, turn = tails @ fixed, tails @ slope
        for k in range(count):
            states.append(state)
            state = whole[:, k] * state + torch.baddbmm(added[:, k], turn[:, k], state)
        before = torch.stack(states, 1)
        return fixed + slope @ before, before, state
