"""Ratios of exponential sums, w' = e^d w + e^s v and u' = e^d u + e^s, with a running maximum: what is kept is (w, u) e^-m.

m' = max(m + d, s) bounds every exponent by 0; it changes no ratio, so no gradient flows through it (arXiv:1805.02867, arXiv:2405.13956).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from archdsl.recurrence.forms.diagonal import linear_scan
from archdsl.recurrence.forms.tropical import max_scan


@dataclass(frozen=True)
class Sums:
    """At each time: the maximum, and both sums divided by its exponential. `first` holds the same before the first step."""

    maximum: Tensor
    numerator: Tensor
    denominator: Tensor
    first: tuple[Tensor, Tensor, Tensor]

    def before(self) -> tuple[Tensor, Tensor, Tensor]:
        """Each one step earlier."""
        now = (self.maximum, self.numerator, self.denominator)
        m, w, u = (torch.cat((f.unsqueeze(1), x[:, :-1]), 1) for f, x in zip(self.first, now))
        return m, w, u

    def after(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.maximum, self.numerator, self.denominator


def difference(a: Tensor, b: Tensor) -> Tensor:
    """a - b, with -inf - -inf = -inf."""
    return a - torch.where(b == -torch.inf, torch.zeros_like(b), b)


def running_maximum(decay: Tensor, score: Tensor, start: Tensor) -> Tensor:
    """m_t = max(m_{t-1} + decay_t, score_t)."""
    return max_scan(decay, score, start)


def sums(
    decay: Tensor, score: Tensor, value: Tensor, w0: Tensor, u0: Tensor, maximum: Tensor, m0: Tensor, engine: str = "two_level"
) -> Sums:
    """decay, score and maximum [N, T, …] have u's body axes, stretched to w's rank; value [N, T, body of w]. w0, u0: sums * e^-m0."""
    before = torch.cat((m0.unsqueeze(1), maximum[:, :-1]), 1)
    kept = torch.exp(difference(before + decay, maximum))
    gain = torch.exp(difference(score, maximum))
    u = linear_scan(kept, gain, u0, engine)
    w = linear_scan(kept, (gain * value).expand(value.shape[0], gain.shape[1], *w0.shape[1:]), w0, engine)
    return Sums(maximum, w, u, (m0, w0, u0))


def ratio(numerator: Tensor, denominator: Tensor, maximum: Tensor, bonus: Tensor | None, value: Tensor | None) -> Tensor:
    """(w + e^bonus value) / (u + e^bonus), from sums divided by e^maximum."""
    if bonus is None or value is None:
        return numerator / denominator
    top = torch.maximum(maximum, bonus).detach()
    scale, extra = torch.exp(difference(maximum, top)), torch.exp(difference(bonus, top))
    return (numerator * scale + extra * value) / (denominator * scale + extra)
