"""trials.jsonl: each ended trial as one line of JSON with a checksum, on the disk before anything else says that it ended.

The database of a study can be lost, cut or damaged; it is made again from this file. A line torn by a crash is cut off; a damaged one is
left out, and its trial is run again unless the database still has it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from archdsl.search.base import Trial
from archdsl.search.settings import wrong

MAX_LINE = 1 << 22


@dataclass
class Logged:
    """What a log holds. settings: the study's, from its first line; damaged: how many lines could not be used."""

    settings: dict[str, Any] | None = None
    trials: dict[str, dict[int, Trial]] = field(default_factory=dict)  # phase -> number -> trial
    damaged: int = 0


class Log:
    """The log of a study's folder. Calls come one at a time: the study's lock is held."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Logged:
        """Everything whole in the file."""
        found = Logged()
        try:
            lines = self.path.read_bytes().split(b"\n") if self.path.exists() else []
        except OSError as error:
            raise wrong("AD1037", f"cannot read {self.path}", note=error.strerror or str(error)) from None
        torn = bool(lines) and bool(lines.pop())
        for line in lines:
            data = _unsealed(line)
            if data is None:
                found.damaged += 1
            elif "settings" in data:
                found.settings = data["settings"]
            elif (trial := _trial(data.get("trial"))) is not None and isinstance(data.get("phase"), str):
                found.trials.setdefault(data["phase"], {}).setdefault(trial.number, trial)
            else:
                found.damaged += 1
        found.damaged += torn
        return found

    def begin(self, settings: Mapping[str, Any]) -> None:
        self._append({"settings": dict(settings)})

    def add(self, phase: str, trial: Trial) -> None:
        """Appends a trial; it is on the disk when this returns. Raises AD1037, and then the file is as it was."""
        self._append({"phase": phase, "trial": to_json(trial)})

    def _append(self, data: dict[str, Any]) -> None:
        line = _sealed(data)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise _full(self.path, error) from None
        try:
            end = self._whole(handle)
            try:
                os.lseek(handle, end, os.SEEK_SET)
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            except OSError as error:
                os.ftruncate(handle, end)
                raise _full(self.path, error) from None
        finally:
            os.close(handle)

    def _whole(self, handle: int) -> int:
        """Where the last whole line ends; what a crash left after it is cut off."""
        size = os.fstat(handle).st_size
        start = max(0, size - MAX_LINE)
        os.lseek(handle, start, os.SEEK_SET)
        tail = os.read(handle, size - start)
        end = start + tail.rfind(b"\n") + 1 if tail else 0
        if end < size:
            os.ftruncate(handle, end)
        return end


def to_json(trial: Trial) -> dict[str, Any]:
    """A trial as JSON data; numbers that JSON cannot say are left out of its metrics."""
    data = asdict(replace(trial, point=dict(trial.point), metrics=_finite(trial.metrics)))
    data["violations"] = [v if math.isfinite(v) else 1e308 for v in trial.violations]
    data["reports"] = [[step, value] for step, value in trial.reports if math.isfinite(value)]
    return data


def from_json(data: Mapping[str, Any]) -> Trial:
    """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for anything else."""
    values = data["values"]
    return Trial(
        int(data["number"]),
        {str(k): int(v) for k, v in data["point"].items()},
        _status(data["status"]),
        None if values is None else tuple(float(v) for v in values),
        str(data["key"]),
        {str(k): float(v) for k, v in data["metrics"].items()},
        tuple(float(v) for v in data["violations"]),
        tuple((int(s), float(v)) for s, v in data["reports"]),
        tuple(int(p) for p in data["parents"]),
        str(data["note"]),
        float(data["seconds"]),
    )


def _status(text: str) -> Any:
    if text not in ("complete", "pruned", "failed", "duplicate"):
        raise ValueError(text)
    return text


def _trial(data: Any) -> Trial | None:
    try:
        return from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _sealed(data: dict[str, Any]) -> bytes:
    text = json.dumps(data, sort_keys=True, ensure_ascii=True)
    return (json.dumps({**data, "sum": _sum(text)}, sort_keys=True, ensure_ascii=True) + "\n").encode()


def _unsealed(line: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(line)
        given = data.pop("sum")
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
    return data if given == _sum(json.dumps(data, sort_keys=True, ensure_ascii=True)) else None


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _full(path: Path, error: OSError) -> Exception:
    return wrong(
        "AD1037",
        f"cannot write {path}",
        note=f"The system says: {error.strerror or error}. What was written before is whole.",
        hint="Make room or mend the folder, then go on with --resume: no ended trial is lost.",
    )
