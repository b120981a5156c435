"""Time in tests: the thread's own, so that other processes do not count, and the least of a few tries. Bounds leave a slow machine a factor of ten."""

from __future__ import annotations

import time
from collections.abc import Callable


def least_seconds(call: Callable[[], object], tries: int = 3) -> float:
    """The least seconds of this thread that a call takes."""
    times = []
    for _ in range(tries):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return min(times)
