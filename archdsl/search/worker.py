"""A worker process: reads jobs as lines of JSON, runs them, writes what comes of them. Started by archdsl.search.workers."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from typing import Any

from archdsl.diagnostics import ArchError
from archdsl.search.workers import Job, perform


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a trial prints is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(lines,), daemon=True).start()

    def say(data: dict[str, Any]) -> None:
        out.write(json.dumps(data) + "\n")
        out.flush()

    hello = json.loads(lines.get())
    _die_with(hello["parent"])
    try:
        os.environ["OMP_NUM_THREADS"] = str(hello["threads"])
        space, evaluator = _factory(hello["work"]["factory"])(hello["work"]["options"])
        _limit_threads(hello["threads"])
    except ArchError as error:
        say({"wrong": [{"code": d.code, "title": d.title, "note": d.note, "hint": d.hint} for d in error.diagnostics]})
        return
    say({"metrics": list(evaluator.metrics)})
    while True:
        asked = json.loads(lines.get())
        if "estimate" in asked:
            say({"seconds": _estimate(space, evaluator, asked)})
        elif "job" in asked:
            event = perform(Job.from_json(asked["job"]), space, evaluator, lambda s, v: say({"report": [s, v]}))
            event.metrics = {name: value for name, value in event.metrics.items() if value == value and abs(value) != float("inf")}
            say({"event": asdict(event)})


def _listen(lines: queue.Queue[str]) -> None:
    """Ends the process when whoever started it is gone, in the middle of a trial too."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def _die_with(parent: int) -> None:
    """Asks the kernel to end this process with its parent, and to take it first where memory runs out."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("800")
    except (OSError, AttributeError):
        pass  # not Linux: `_listen` does it
    if os.getppid() != parent:
        os._exit(0)


def _factory(name: str) -> Callable[[dict[str, Any]], tuple[Any, Any]]:
    module, _, function = name.partition(":")
    found: Callable[[dict[str, Any]], tuple[Any, Any]] = getattr(import_module(module), function)
    return found


def _limit_threads(threads: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def _estimate(space: Any, evaluator: Any, asked: dict[str, Any]) -> float | None:
    estimate = getattr(evaluator, "estimate", None)
    if estimate is None:
        return None
    try:
        return float(estimate(space.candidate(asked["estimate"]), asked["budget"]))
    except Exception:
        return None  # a trial will say what is wrong with it


if __name__ == "__main__":
    main()
