"""Intervals of means, on numbers worked out by hand."""

from __future__ import annotations

import pytest

from archdsl.search.intervals import difference_margin, mean_interval, student


def test_students_t():
    assert student(1) == 12.706
    assert student(4.9) == student(4) == 2.776
    assert student(0.3) == 12.706
    assert student(40) == pytest.approx(2.0211, abs=2e-3)
    assert student(1e9) == pytest.approx(1.96, abs=1e-3)
    assert all(student(n) > student(n + 1) for n in range(1, 60))


def test_the_interval_of_a_mean():
    assert mean_interval([1, 2, 3, 4, 5]) == pytest.approx((3 - 1.963, 3 + 1.963), abs=1e-3)
    assert mean_interval([1.0]) is None


def test_the_margin_of_a_difference():
    """Variances 1/3 and 5/3 of the means, 4.08 degrees of freedom."""
    assert difference_margin([1, 2, 3], [2, 4, 6, 8]) == pytest.approx(2.776 * 2**0.5, abs=1e-3)
    assert difference_margin([1, 1], [2, 2]) == 0
    assert difference_margin([1], [2, 3]) is None
