"""What a search says while it runs: a live line on a terminal, one plain line for each trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from typing import Any, TextIO

from archdsl.search.base import Trial
from archdsl.search.settings import Settings, said, said_time
from archdsl.search.study import News, winners

TITLES = {"search": "search", "random": "random baseline", "final": "fresh seeds"}


class Progress:
    """Takes a study's news. `live`: redraw one line with rich, instead of writing a line for each trial."""

    def __init__(self, settings: Settings, out: TextIO | None = None, live: bool = False) -> None:
        self.settings, self.out = settings, out or sys.stderr
        self.phase, self.began = "", 0.0
        self.total: int | None = None
        self.trials: list[Trial] = []
        self.running = 0
        self._live: Any = None
        if live:
            from rich.console import Console
            from rich.live import Live

            self._live = Live("", console=Console(file=self.out), refresh_per_second=4, transient=True)
            self._live.start()

    def __call__(self, news: News) -> None:
        if news.kind == "note":
            self._write(news.text)
        elif news.kind == "phase":
            self.phase, self.total, self.began, self.trials = news.phase, news.total, time.monotonic(), []
            if self._live is None and news.phase != "search":
                self._write(f"{TITLES[news.phase]}:")
        elif news.kind == "trial" and news.trial is not None:
            self.trials.append(news.trial)
            if self._live is None:
                self._write(self.line(news.trial))
        self.running = news.running if news.kind in ("trial", "idle") else self.running
        if self._live is not None:
            self._live.update(self.status())

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def line(self, trial: Trial) -> str:
        """A trial as a line: `trial 12  loss 0.4312  params 123,456  (best 0.4001)  3.1 s`."""
        parts = [f"trial {trial.number:>3}"]
        if trial.values is None:
            parts += [trial.status, trial.note]
        else:
            parts += [f"{g.metric} {said(v)}" for g, v in zip(self.settings.goals, trial.values, strict=True)]
            if "params" in trial.metrics and all(g.metric != "params" for g in self.settings.goals):
                parts.append(f"params {said(trial.metrics['params'])}")
            if not trial.feasible:
                parts.append("misses a limit")
        if self.phase != "final" and (best := self._best()) is not None:
            parts.append(f"(best {best})")
        if trial.seconds:
            parts.append(said_time(trial.seconds))
        return "  ".join(part for part in parts if part)

    def status(self) -> str:
        """The live line."""
        count = Counter(t.status for t in self.trials)
        done = len(self.trials)
        parts = [f"[bold]{TITLES[self.phase]}[/bold] {done}{f'/{self.total}' if self.total else ''}"] if self.phase else [""]
        if self.phase != "final" and (best := self._best()):
            parts.append(f"best {best}")
        if self.phase != "final" and len(self.settings.goals) > 1:
            parts.append(f"front {len(winners(self.trials, self.settings))}")
        parts += [f"{count[kind]} {kind}" for kind in ("pruned", "failed", "duplicate") if count[kind]]
        parts.append(f"{self.running} running")
        if (left := self._left(done)) is not None:
            parts.append(f"{said_time(left)} left")
        return "  ·  ".join(parts)

    def _best(self) -> str:
        found = winners(self.trials, self.settings)[:1]
        return f"{said((found[0].values or (0.0,))[0])}" if found else ""

    def _left(self, done: int) -> float | None:
        passed = time.monotonic() - self.began
        if self.settings.budget.seconds is not None and self.phase != "final":
            return max(0.0, self.settings.budget.seconds - passed)
        return passed / done * (self.total - done) if done and self.total else None

    def _write(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            self.out.write(f"{text}\n")
            self.out.flush()
