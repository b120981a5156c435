"""The tasks by name, and their options checked. A new task is one file and one line here."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import ArchError, Collector, Diagnostic, suggestion
from archdsl.tasks.automata import InContextAutomata
from archdsl.tasks.base import Option, Task
from archdsl.tasks.chars import Chars
from archdsl.tasks.copying import Copy, SelectiveCopy
from archdsl.tasks.forecast import Forecast
from archdsl.tasks.images import Digits, FashionMNIST
from archdsl.tasks.logic import NestedLogic, Reachability
from archdsl.tasks.mqar import MQAR
from archdsl.tasks.recall import Compression, FuzzyRecall, InContextRecall, Memorize, NoisyRecall
from archdsl.tasks.recursion import BinarySuccessor, TreeTraversal
from archdsl.tasks.state import ModularArithmetic, Parity

_ALL = (
    *(MQAR, InContextRecall, NoisyRecall, FuzzyRecall, Memorize, Compression, Copy, SelectiveCopy),
    *(Parity, ModularArithmetic, NestedLogic, Reachability, BinarySuccessor, TreeTraversal, InContextAutomata),
    *(Chars, Digits, FashionMNIST, Forecast),
)
TASKS: dict[str, Any] = {task.name: task for task in _ALL}


def get_task(name: str, **options: Any) -> Task:
    """The task `name` with these options; texts such as "64" are read as numbers. Raises AD0814 for what is unknown or out of bounds."""
    if name not in TASKS:
        raise ArchError(
            Diagnostic("AD0814", f"there is no task `{name}`", note=f"Tasks: {', '.join(TASKS)}.", hint=suggestion(name, TASKS))
        )
    known, found, given = TASKS[name].options, Collector(), {}
    for key, value in options.items():
        if key not in known:
            title = f"the task {name} has no option `{key}`"
            found.add(Diagnostic("AD0814", title, note=f"Options: {', '.join(known)}.", hint=suggestion(key, known)))
            continue
        given[key], problem = _value(value, known[key])
        if problem:
            title = f"the option `{key}` of the task {name} is {value!r}; it must be {problem}"
            found.add(Diagnostic("AD0814", title, note=f"{key}: {known[key].doc}."))
    found.check()
    task: Task = TASKS[name](**given)
    task.settings = {key: given.get(key, option.default) for key, option in known.items()}
    return task


def _value(value: Any, option: Option) -> tuple[Any, str]:
    """The value in the option's kind, and what is wrong with it."""
    kind = type(option.default)
    if kind is bool:
        words = {"true": True, "false": False}
        value = words.get(value, value) if isinstance(value, str) else value
        return value, "" if isinstance(value, bool) else "true or false"
    if kind is str:
        good = isinstance(value, str) and (not option.choices or value in option.choices)
        return value, "" if good else f"one of {', '.join(option.choices)}" if option.choices else "a text"
    if isinstance(value, str):
        try:
            value = kind(value)
        except ValueError:
            return value, "a whole number" if kind is int else "a number"
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        return value, "a whole number" if kind is int else "a number"
    bounds = [f"{word} {limit:g}" for word, limit in (("at least", option.least), ("at most", option.most)) if limit is not None]
    low = option.least is not None and value < option.least
    high = option.most is not None and value > option.most
    return value, " and ".join(bounds) if low or high or value != value else ""
