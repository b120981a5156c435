"""Writes docs/tasks.md from the tasks themselves."""

from __future__ import annotations

import sys
from pathlib import Path

from written import main

from archdsl.tasks import TASKS, get_task
from archdsl.tasks.pages import asked

PAGE = Path(__file__).with_name("tasks.md")
HEAD = """# Tasks

Written by `make docs` from the tasks themselves; `archdsl train --show` lists them and `archdsl train --task NAME --show`
shows one, with a row of it.

A task makes batches from (seed, step, split) alone: the same three give the same rows on every machine, whatever was made before, and train,
valid and test never share a stream. So a run can be stopped and resumed bit for bit, and two models see the same rows.

    archdsl train tiny.arch --task mqar --option vocab=64 --option pairs=4
    archdsl train resnet_cifar --task digits --metric accuracy --until 0.97
    archdsl train gru_classifier --task digits          # the same pictures, as tokens: the spec's input decides

- A spec's parameters called `vocab`, `classes`, `size`, `length`, `channels` or `horizon` are set to what the task needs.
- Tokens to tokens: `in tokens: int[T]`, an output `[T, vocab]`. A class: an output `[classes]`, or `[T, vocab]`, which is read at the last
  position of each row. Images: `in image: [channels, H, W]`. Series: `in x: [T, channels]`.
- `depth`, where a task tells it, is what `archdsl.training.accuracy_by(model, task)` sorts the rows of the test part by.
- *Guessing* is what one gets who knows the rules and cannot use the row; *best* is the best possible value. A dash: not known.

In Python:

```python
from archdsl.tasks import get_task
from archdsl.training import TrainConfig, train

task = get_task("mqar", vocab=64)
result = train(model, task, TrainConfig(steps=500, metric="accuracy", until=0.99))
```

`train` also takes `report(step, value)`, which ends the run by returning true (a search that prunes), `on_step(step, model)` for schedules, and
`stages=curriculum(spec, model, [(0.3, {"rounds": 1}), …])`: the same weights with other settings of the spec at first.
"""
_ELSEWHERE = {  # what depends on data or on Python's library
    "digits": ("one of 10 classes", "0.1", "1"),
    "fashion_mnist": ("one of 10 classes", "0.1", "1"),
    "chars": ("the next character", "-", "-"),
}


def page() -> str:
    """The whole page."""
    parts = [HEAD, "| task | asked | metric | guessing | best |\n| --- | --- | --- | --- | --- |"]
    parts += [_row(name) for name in TASKS]
    return "\n".join([*parts, "", *(_section(name) for name in TASKS)])


def _row(name: str) -> str:
    if name in _ELSEWHERE:
        what, chance, best = _ELSEWHERE[name]
        return f"| [{name}](#{name}) | {what} | accuracy | {chance} | {best} |"
    task = get_task(name)
    metric = next(m for m in ("validity", "accuracy", "skill") if m in task.measures)
    measure = task.measures[metric]
    return f"| [{name}](#{name}) | {asked(task)} | {metric} | {_number(measure.chance)} | {_number(measure.ideal)} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _section(name: str) -> str:
    kind = TASKS[name]
    doc = "\n".join(line.removeprefix("    ") for line in (kind.__doc__ or "").strip().splitlines())
    lines = [f"## {name}\n", doc, "", "| option | default | |", "| --- | --- | --- |"]
    for option, said in kind.options.items():
        default = str(said.default).lower() if isinstance(said.default, bool) else said.default
        lines.append(f"| {option} | {default} | {said.doc} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(PAGE, page))
