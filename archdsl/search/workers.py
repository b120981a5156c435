"""Trials in processes of their own: what a trial does to its process (a crash, no memory) is one trial's failure and nobody else's.

A worker is `python -m archdsl.search.worker`; lines of JSON go in and come out. It ends with the process that started it.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.search.base import Evaluator, Rejected, Space

START_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Work:
    """How a worker makes its space and evaluator: a function of archdsl, `module:name`, called with `options` (JSON data).

    It is written by archdsl, never read from a file: a study cannot name a Python object.
    """

    factory: str
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """One trial to run. stops: (effort, bound): the first goal's value must not be worse than the bound there; best: which way is better."""

    number: int
    point: Mapping[str, int]
    seed: int
    budget: int
    stops: tuple[tuple[int, float], ...] = ()
    best: Literal["min", "max"] = "min"
    parents: tuple[int, ...] = ()
    keep: str = ""  # where the evaluator may keep what later trials inherit

    def stops_at(self, step: int, value: float) -> bool:
        """Whether the trial is to stop here."""
        bound = dict(self.stops).get(step)
        return bound is not None and not (value <= bound if self.best == "min" else value >= bound)

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Job:
        return Job(**{**data, "stops": tuple((int(s), float(v)) for s, v in data["stops"]), "parents": tuple(data["parents"])})


@dataclass
class Event:
    """What a pool tells of a job. kind "report": step and value; "done": metrics, and whether it was stopped; "failed": a message."""

    number: int
    kind: Literal["report", "done", "failed"]
    step: int = 0
    value: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    stopped: bool = False
    message: str = ""
    seconds: float = 0.0


class Pool(Protocol):
    """Runs jobs, `jobs` at a time."""

    jobs: int

    @property
    def metrics(self) -> tuple[str, ...]: ...
    def busy(self) -> int: ...
    def start(self, job: Job) -> None: ...
    def poll(self, seconds: float) -> list[Event]:
        """What happened since, after at most so long."""

    def estimate(self, point: Mapping[str, int], budget: int) -> float | None:
        """Seconds that a trial would take, or None."""

    def close(self) -> None: ...


def perform(job: Job, space: Space, evaluator: Evaluator, tell: Any) -> Event:
    """Runs a job here; tell(step, value) is called for each report."""
    start, stopped = time.perf_counter(), False

    def report(step: int, value: float) -> bool:
        nonlocal stopped
        tell(step, value)
        stopped = stopped or job.stops_at(step, value)
        return stopped

    def event(kind: Literal["done", "failed"], **found: Any) -> Event:
        return Event(job.number, kind, seconds=round(time.perf_counter() - start, 3), **found)

    try:
        begin = getattr(evaluator, "begin", None)
        if begin is not None:
            begin(job)
        found = evaluator(space.candidate(job.point), job.seed, job.budget, report)
        return event("done", metrics={k: float(v) for k, v in found.items()}, stopped=stopped)
    except Rejected as why:
        return event("failed", message=f"no candidate: {why}")
    except ArchError as error:
        return event("failed", message=error.diagnostics[0].title)
    except MemoryError:
        return event("failed", message="out of memory")
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0][:300]
        return event("failed", message=f"{type(error).__name__}: {first}" if first else type(error).__name__)


class Inline:
    """Jobs in this very process, one at a time."""

    jobs = 1

    def __init__(self, space: Space, evaluator: Evaluator) -> None:
        self.space, self.evaluator, self._job = space, evaluator, None
        self.metrics = tuple(evaluator.metrics)
        self._next: list[Job] = []

    def busy(self) -> int:
        return len(self._next)

    def start(self, job: Job) -> None:
        self._next.append(job)

    def poll(self, seconds: float) -> list[Event]:
        if not self._next:
            time.sleep(seconds)
            return []
        job, events = self._next.pop(0), []
        done = perform(job, self.space, self.evaluator, lambda s, v: events.append(Event(job.number, "report", s, v)))
        return [*events, done]

    def estimate(self, point: Mapping[str, int], budget: int) -> float | None:
        estimate = getattr(self.evaluator, "estimate", None)
        return estimate(self.space.candidate(point), budget) if estimate else None

    def close(self) -> None:
        self._next.clear()


class _Worker:
    """One process and what it is doing."""

    def __init__(self, place: int, work: Work, threads: int, events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        self.place, self.since = place, 0.0
        self.job: Job | None = None
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        environment = {**os.environ, **{name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}}
        root = str(Path(__file__).resolve().parents[2])
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, environment.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "archdsl.search.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=environment,
            start_new_session=True,
        )
        self.send({"work": {"factory": work.factory, "options": dict(work.options)}, "threads": threads, "parent": os.getpid()})
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    def send(self, data: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(data).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it has ended; the reader says so

    def _read(self, events: queue.Queue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            try:
                data = json.loads(line)
            except ValueError:
                continue
            if isinstance(data, dict):
                events.put((self, data))
        events.put((self, None))

    def death(self) -> str:
        """Why the process ended, in a line."""
        code = self.process.wait()
        said = self._said()
        if code == -9:
            return "killed by the system (signal 9), most likely for want of memory"
        how = f"crashed with signal {-code}" if code < 0 else f"ended with code {code}"
        return f"its process {how}{f': {said}' if said else ''}"

    def _said(self) -> str:
        size = self.errors.seek(0, os.SEEK_END)
        self.errors.seek(max(0, size - 4000))
        lines = [line.strip() for line in self.errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1][:300] if lines else ""

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class Processes:
    """A pool of worker processes, each started when it is first needed. trial_seconds: a trial that takes longer is ended, and fails.

    metrics: what the evaluator measures, where that is known; otherwise a worker is started to ask it.
    """

    def __init__(self, work: Work, jobs: int, trial_seconds: float | None = None, metrics: Sequence[str] | None = None) -> None:
        self.work, self.jobs, self.trial_seconds = work, jobs, trial_seconds
        self.threads = threads_each(jobs)
        self._events: queue.Queue[tuple[_Worker, dict[str, Any] | None]] = queue.Queue()
        self._workers: list[_Worker] = []
        self._metrics = tuple(metrics) if metrics is not None else None

    @property
    def metrics(self) -> tuple[str, ...]:
        if self._metrics is None:
            self._metrics = tuple(self._answer(self._add(), "metrics")["metrics"])
        return self._metrics

    def busy(self) -> int:
        return sum(w.job is not None for w in self._workers)

    def start(self, job: Job) -> None:
        worker = next((w for w in self._workers if w.job is None), None) or self._add()
        worker.job, worker.since = job, time.monotonic()
        worker.send({"job": job.to_json()})

    def poll(self, seconds: float) -> list[Event]:
        events: list[Event] = []
        try:
            events += self._heard(*self._events.get(timeout=seconds))
            while True:
                events += self._heard(*self._events.get_nowait())
        except queue.Empty:
            return events + self._overdue()

    def estimate(self, point: Mapping[str, int], budget: int) -> float | None:
        worker = self._workers[0] if self._workers else self._add()
        worker.send({"estimate": dict(point), "budget": budget})
        seconds: float | None = self._answer(worker, "seconds")["seconds"]
        return seconds

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def _add(self) -> _Worker:
        worker = _Worker(len(self._workers), self.work, self.threads, self._events)
        self._workers.append(worker)
        return worker

    def _answer(self, worker: _Worker, word: str) -> dict[str, Any]:
        """Waits for what a worker says on being asked. Raises what went wrong there."""
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                who, data = self._events.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise ArchError(Diagnostic("AD1038", "a worker process does not answer", note=worker._said())) from None
            if data is None:
                raise ArchError(
                    Diagnostic("AD1038", "a worker process cannot start", note=f"It {who.death().removeprefix('its process ')}.")
                )
            if "wrong" in data:
                raise ArchError(*(Diagnostic(d["code"], d["title"], note=d["note"], hint=d["hint"]) for d in data["wrong"]))
            if word in data:
                return data

    def _heard(self, worker: _Worker, data: dict[str, Any] | None) -> list[Event]:
        job = worker.job
        if data is None:
            if worker not in self._workers:
                return []
            self._workers.remove(worker)
            why = worker.death()
            worker.kill()
            seconds = time.monotonic() - worker.since
            return [Event(job.number, "failed", message=why, seconds=round(seconds, 3))] if job else []
        if job is None:
            return []
        if "wrong" in data:
            worker.job = None
            return [Event(job.number, "failed", message=data["wrong"][0]["title"])]
        if "report" in data:
            return [Event(job.number, "report", int(data["report"][0]), float(data["report"][1]))]
        if "event" in data:
            worker.job = None
            return [Event(**data["event"])]
        return []

    def _overdue(self) -> list[Event]:
        events = []
        for worker in list(self._workers) if self.trial_seconds else []:
            if worker.job is not None and time.monotonic() - worker.since > (self.trial_seconds or 0):
                self._workers.remove(worker)
                worker.kill()
                events.append(
                    Event(
                        worker.job.number, "failed", message=f"took longer than {self.trial_seconds:g} s", seconds=self.trial_seconds or 0
                    )
                )
        return events


def threads_each(jobs: int) -> int:
    """Threads of a worker: the cores shared out, or fewer where OMP_NUM_THREADS says so."""
    share, asked = max(1, cores() // jobs), os.environ.get("OMP_NUM_THREADS", "")
    return min(share, int(asked)) if asked.isdigit() and int(asked) > 0 else share


def cores() -> int:
    """Processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
