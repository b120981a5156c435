"""Trains a candidate on a task and measures it: what a trial of an architecture search is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.search.base import Report
from archdsl.search.settings import wrong

if TYPE_CHECKING:
    from torch import nn

    from archdsl.search.workers import Job
    from archdsl.tasks import Task

MEASURED = ("latency_ms", "train_seconds")  # beside the task's metrics
WARM_UP, TIMED = 2, 9


class Trainer:
    """Trains with the given settings for `budget` steps; evaluates on held-out batches, and reports the first goal's metric there.

    training: TrainConfig's settings but for steps and seed. inherit: a candidate begins with its parent's weights where path and shape are
    the same. latency_ms is the median time of a forward pass on one row of the task.
    """

    def __init__(self, task: Task, training: Mapping[str, Any], reported: str, device: str = "cpu", inherit: bool = False) -> None:
        self.task, self.training, self.device, self.inherit = task, dict(training), device, inherit
        measures = list(task.measures)
        self.reported = reported if reported in measures else measures[0]
        self.metrics = (*measures, *MEASURED)
        self._job: Job | None = None

    def begin(self, job: Job) -> None:
        """Told before each call: which trial it is."""
        self._job = job

    def __call__(self, candidate: Any, seed: int, budget: int, report: Report) -> dict[str, float]:
        from archdsl.training import TrainConfig, train

        model = candidate.spec.build(device=self.device, seed=seed)
        if self.inherit:
            self._inherit(model)

        def on_eval(record: dict[str, Any]) -> bool:
            return not report(record["step"], record["valid"][self.reported])

        settings = {"eval_every": max(1, budget // 10), **self.training}
        result = train(model, self.task, TrainConfig(steps=budget, seed=seed, **settings), on_eval=on_eval)
        if self.inherit:
            self._bequeath(model)
        return {**result.metrics, "latency_ms": self.latency(model), "train_seconds": result.seconds}

    def estimate(self, candidate: Any, budget: int) -> float:
        """Seconds that a training would take, from a few of its steps."""
        from archdsl.training import TrainConfig, evaluate, train

        every = self.training.get("eval_every", max(1, budget // 10))
        settings: dict[str, Any] = {**self.training, "eval_every": 1_000_000}
        train(candidate.spec.build(device=self.device), self.task, TrainConfig(steps=1, **settings))  # compiles kernels, imports
        marks = [time.perf_counter()]
        model = candidate.spec.build(device=self.device)
        marks.append(time.perf_counter())
        evaluate(model, self.task, batch=self.training.get("batch", 32), batches=self.training.get("eval_batches", 4))
        marks.append(time.perf_counter())
        train(model, self.task, TrainConfig(steps=3, **settings))
        marks.append(time.perf_counter())
        build, held_out, some = (after - before for before, after in pairwise(marks))
        return build + max(0.0, some - held_out) / 3 * budget + held_out * budget / every

    def latency(self, model: nn.Module) -> float:
        """Milliseconds of a forward pass on one row: the median of several."""
        import torch

        from archdsl.training.loop import forward

        batch = self.task.batch(0, 0, 1, "valid")
        row: Any = {key: value.to(self.device) if isinstance(value, torch.Tensor) else value for key, value in dict(batch).items()}
        model.eval()
        times = []
        with torch.no_grad():
            for _ in range(WARM_UP + TIMED):
                start = time.perf_counter()
                forward(model, row)
                if self.device.startswith("cuda"):
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
        return statistics.median(times[WARM_UP:]) * 1000

    def _inherit(self, model: nn.Module) -> None:
        """Copies the parent's weights where path and shape are the same; the first parent that has them kept."""
        import torch
        from safetensors.torch import load_file

        for parent in self._job.parents if self._job is not None else ():
            path = Path(self._job.keep) / f"{parent:06d}.safetensors" if self._job is not None else None
            if path is None or not path.is_file():
                continue
            theirs = load_file(path)
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    if name in theirs and theirs[name].shape == weight.shape:
                        weight.copy_(theirs[name])
            return

    def _bequeath(self, model: nn.Module) -> None:
        from archdsl.runtime.saving import save_weights

        if self._job is not None and self._job.keep:
            folder = Path(self._job.keep)
            folder.mkdir(parents=True, exist_ok=True)
            save_weights(model, folder / f"{self._job.number:06d}.safetensors", {})


def make(options: Mapping[str, Any]) -> tuple[Any, Trainer]:
    """The space and evaluator of a worker process, from the data that `plan` wrote."""
    import torch

    from archdsl.search.space import open_space
    from archdsl.tasks import get_task

    device = options["device"]
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise wrong("AD0907", f"the device `{device}` cannot be used here", note=str(error).splitlines()[0]) from None
    space = open_space(options["space"], arch=options["arch"], overrides=options["set"], sizes=options["sizes"])
    task = get_task(options["task"], **options["task_options"])
    return space, Trainer(task, options["training"], options["reported"], device, options["inherit"])
