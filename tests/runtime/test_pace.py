"""Threads of decoding steps: all of them on an idle machine, one while others keep the cores busy; torch's setting is left as it was."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from archdsl.runtime.pace import Pace


def play(pace: Pace, seconds: Callable[[int, int], float], steps: int) -> list[int]:
    """The threads of each step, where step `i` with `n` threads takes seconds(i, n)."""
    used = []
    for i in range(steps):
        n = pace.next()
        used.append(n)
        pace.took(seconds(i, n))
    return used


def test_an_idle_machine_uses_all_threads() -> None:
    used = play(Pace(2), lambda i, n: 0.033 if n == 2 else 0.060, 300)
    assert used[:3] == [1, 1, 2] and used.count(1) == 2


def test_a_busy_machine_uses_one() -> None:
    used = play(Pace(2), lambda i, n: 0.5 if n == 2 else 0.06, 300)
    assert used[:4] == [1, 1, 2, 1]
    total = sum(0.5 if n == 2 else 0.06 for n in used)
    assert total < 1.1 * 300 * 0.06


@pytest.mark.parametrize("threads", [2, 8])
def test_it_follows_as_load_comes_and_goes(threads: int) -> None:
    used = play(Pace(threads), lambda i, n: (0.5 if n > 1 else 0.06) if 100 <= i < 200 else (0.033 if n > 1 else 0.06), 400)
    assert used[50:100] == [threads] * 50
    assert used[120:200].count(threads) <= 1
    assert used[-20:] == [threads] * 20


def test_noise_costs_little() -> None:
    used = play(Pace(2), lambda i, n: (0.033 if n == 2 else 0.060) * (3 if i % 10 == 0 else 1), 400)
    assert used.count(1) < 30


def test_one_thread_is_left_alone() -> None:
    assert set(play(Pace(1), lambda i, n: 1.0, 50)) == {1}


def test_the_setting_is_as_before_also_after_an_error() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        pace, seen = Pace(2), []
        for _ in range(4):
            pace.run(lambda: seen.append(torch.get_num_threads()))
            assert torch.get_num_threads() == 2
        assert 1 in seen and 2 in seen
        with pytest.raises(ZeroDivisionError):
            pace.run(lambda: 1 // 0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
