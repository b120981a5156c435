"""What a run tells: one JSON line per evaluation in log.jsonl, and a progress bar where someone looks on."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.training.config import TrainConfig


class Meter:
    """Averages between two evaluations."""

    def __init__(self) -> None:
        self.start, self.count, self.loss, self.norm, self.tokens = time.perf_counter(), 0, 0.0, 0.0, 0
        self.sides: dict[str, float] = {}

    def add(self, loss: float, norm: float, tokens: int, sides: dict[str, float]) -> None:
        self.count += 1
        self.loss += loss
        self.norm += norm
        self.tokens += tokens
        for path, value in sides.items():
            self.sides[path] = self.sides.get(path, 0.0) + value

    def record(self) -> dict[str, Any]:
        """Mean loss, side losses (unweighted, by path) and gradient norm since the last evaluation, and speed."""
        seconds = time.perf_counter() - self.start
        count = max(1, self.count)
        return {
            "loss": self.loss / count,
            **({"sides": {path: value / count for path, value in self.sides.items()}} if self.sides else {}),
            "grad_norm": self.norm / count,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(self.tokens / max(seconds, 1e-9), 1),
        }


class Log:
    """Appends records to `out`/log.jsonl, each flushed. When a run resumes at step `first`, later lines (of steps that will be done again)
    and a line torn by a crash are dropped."""

    def __init__(self, out: Path | None, first: int, config: TrainConfig):
        self.config = config
        self._file: IO[str] | None = None
        if out is None:
            return
        path = out / "log.jsonl"
        try:
            out.mkdir(parents=True, exist_ok=True)
            kept = [line for line in _lines(path) if line[0] <= first] if first else []
            path.write_text("".join(text for _, text in kept), encoding="utf-8")
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise ArchError(Diagnostic("AD0801", f"cannot write in `{out}`", note=str(error), hint="Choose another folder.")) from None

    def write(self, record: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    @contextmanager
    def progress(self, first: int) -> Iterator[Callable[[int, float], None]]:
        """A function to call after each step with (steps done, loss)."""
        if not (self.config.progress and sys.stderr.isatty()):
            yield lambda step, loss: None
            return
        from rich.console import Console
        from rich.progress import Progress, TextColumn, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn(), TextColumn("loss {task.fields[loss]:.4f}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task("training", total=self.config.steps, completed=first, loss=float("nan"))
            yield lambda step, loss: bar.update(task, completed=step, loss=loss)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Whole records with their step."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int) and line.endswith("\n"):
            found.append((record["step"], line))
    return found
