"""How far means of a few values can be trusted: Student's t, for pairs and for two sides of different spread (Welch)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

# two-sided 95 %, by degrees of freedom from 1
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t; of broken degrees of freedom, that of the next whole number below. At least one degree."""
    if freedom >= len(_STUDENT) + 1:
        return 1.96 + 2.46 / freedom  # right to 0.002
    return _STUDENT[max(0, math.floor(freedom) - 1)]


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The mean's 95 % interval; None of fewer than two values."""
    if len(values) < 2:
        return None
    mean, half = statistics.fmean(values), student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def difference_margin(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Half the 95 % interval of the difference of two means; None where a side has fewer than two values."""
    if len(a) < 2 or len(b) < 2:
        return None
    parts = [(statistics.variance(side) / len(side), len(side) - 1) for side in (a, b)]
    total = sum(share for share, _ in parts)
    if total == 0:
        return 0.0
    return student(total**2 / sum(share**2 / freedom for share, freedom in parts)) * math.sqrt(total)
