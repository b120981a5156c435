"""Deep recursion under the interpreter's own limit: open calls kept in a list, or, where little of a thread's stack is left, a new thread's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

T = TypeVar("T")
Calls = Generator[Any, Any, T]  # a function that yields the calls it needs, of its own kind, and is sent what each returns


def unwound(call: Calls[T]) -> T:
    """The result of a recursion written as generators. Its open calls are kept in a list, so they may be nested as deep as memory allows;
    an error in one ends them all."""
    open_calls: list[Calls[Any]] = [call]
    result: Any = None
    while open_calls:
        try:
            needed = open_calls[-1].send(result)
        except StopIteration as end:
            open_calls.pop()
            result = end.value
        else:
            open_calls.append(needed)
            result = None
    found: T = result
    return found


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
