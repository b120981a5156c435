"""The entropy of what an activation makes of its inputs, and what would lower it (Sun et al., arXiv:2405.12954).

For an increasing f and inputs of density p the entropy of f(x) is that of x plus E[log f'(x)]. To first order f + t eta changes it by
-t * integral of (p / f')' eta, so eta proportional to (p / f')' lowers it most. This is our reading: it gives the paper's own correction for
f(x) = x and normal inputs, x exp(-x^2 / 2) up to a factor, whose sign is learned anyway.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Function = Callable[[float], float]


def entropy_gain(slope: Function, samples: Sequence[float]) -> float:
    """E[log f'] in nats: how much more entropy f(x) has than x; -inf where f is flat on a sample."""
    slopes = [slope(x) for x in samples]
    return sum(map(math.log, slopes)) / len(slopes) if min(slopes) > 0 else -math.inf


def correction(slope: Function, bend: Function, samples: Sequence[float], at: Sequence[float], width: float | None = None) -> list[float]:
    """-(p / f')' at some points, for f with derivatives `slope` and `bend` and p as the samples show it.

    p is a sum of normal densities around the samples; width: their standard deviation (Silverman's rule if not said).
    """
    count = len(samples)
    if width is None:
        mean = sum(samples) / count
        width = 1.06 * math.sqrt(sum((s - mean) ** 2 for s in samples) / count) * count**-0.2
    found = []
    for x in at:
        near = [((x - s) / width, math.exp(-(((x - s) / width) ** 2) / 2)) for s in samples]
        scale = 1 / (count * width * math.sqrt(2 * math.pi))
        density, rise = scale * sum(e for _, e in near), -scale / width * sum(z * e for z, e in near)
        found.append(-(rise * slope(x) - density * bend(x)) / slope(x) ** 2)
    return found
