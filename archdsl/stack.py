"""Deep recursion under the interpreter's own limit: where little of a thread's stack is left, work goes on on that of a new thread."""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


def with_room(frames: int, call: Callable[[], T]) -> T:
    """The result of `call()`, run where at least `frames` calls more fit under the recursion limit: here, or in a new thread, waited for.

    The limit holds for each thread by itself, so nothing that others see is changed.
    """
    try:
        sys._getframe(max(sys.getrecursionlimit() - frames, 0))
    except ValueError:  # the stack is not that deep yet
        return call()
    with ThreadPoolExecutor(1, "archdsl-stack") as another:
        return another.submit(copy_context().run, call).result()
