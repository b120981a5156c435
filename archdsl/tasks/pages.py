"""Tasks as text: the list, one task with its options and an example, and what its figures are worth."""

from __future__ import annotations

import re
from collections.abc import Mapping

from archdsl.tasks.base import Measure, Task
from archdsl.tasks.registry import TASKS


def overview() -> str:
    """All tasks, a line each."""
    width = max(map(len, TASKS))
    return "\n".join(f"{name:<{width}}  {first_sentence(task.__doc__)}" for name, task in TASKS.items())


def first_sentence(doc: str | None) -> str:
    """What comes before the first full stop or the first empty line."""
    text = " ".join((doc or "").split("\n\n")[0].split())
    return re.split(r"(?<! al)\.(?: |$)|: ", text)[0]


def described(task: Task, seed: int = 0) -> str:
    """A task: what it is, its options as set, its metrics, and a row."""
    form, known = task.form, TASKS[task.name].options
    feeds = f"{'int' if form.input == 'tokens' else ''}{list(form.shape)}"
    lines = [task.name, "", _unindented(TASKS[task.name].__doc__ or ""), "", f"in: {form.input} {feeds}"]
    lines[-1] += f" of {task.vocab} numbers" if task.vocab else ""
    lines += [f"asked: {asked(task)}", "", "options:"]
    lines += [f"  {name}={_plain(task.settings.get(name, option.default))}  {option.doc}" for name, option in known.items()]
    lines += ["", "metrics:", *(f"  {name}  {measure.doc}{_worth(measure)}" for name, measure in task.measures.items())]
    return "\n".join([*lines, "", "a row:", task.show(task.batch(seed, 0, 1, "train"), 0)])


def asked(task: Task) -> str:
    """What the answer is."""
    form = task.form
    if form.output == "tokens":
        return f"one of {form.width} at positions of the row"
    return f"one of {form.width} classes" if form.output == "class" else f"numbers {list(form.answer)}"


def figures(task: Task, found: Mapping[str, float]) -> str:
    """Metrics with what guessing gives and the best possible: "accuracy 0.9312 (guessing 0.25, best 1)"."""
    measures = task.measures
    return ", ".join(f"{name} {value:.4f}{_worth(measures[name]) if name in measures else ''}" for name, value in found.items())


def _worth(measure: Measure) -> str:
    named = (("guessing", measure.chance), ("best", measure.ideal))
    said = [f"{word} {value:.3g}" for word, value in named if value is not None]
    return f" ({', '.join(said)})" if said else ""


def _plain(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _unindented(doc: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in doc.strip().splitlines())
