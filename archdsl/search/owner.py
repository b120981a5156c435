"""Who runs a trial, and whether that process still lives: told at once on the same machine, by its heartbeat on another."""

from __future__ import annotations

import os
import platform
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BEAT_SECONDS = 10.0  # between two signs of life
GRACE_SECONDS = 90.0  # without one, an owner on another machine counts as dead


def myself() -> dict[str, Any]:
    """This process: machine, boot, process namespace, number and start, and a word that no other process has."""
    pid = os.getpid()
    return {**_machine(), "pid": pid, "start": _started(pid), "token": uuid.uuid4().hex[:12]}


class Watch:
    """Judges owners. Heartbeats are counters: one that stood still for `grace` seconds of this process's own clock is dead, so that the
    clocks of machines need not agree."""

    def __init__(self, me: Mapping[str, Any], one_machine: bool, grace: float = GRACE_SECONDS) -> None:
        self.me, self.one_machine, self.grace = me, one_machine, grace
        self._seen: dict[str, tuple[Any, float]] = {}

    def dead(self, owner: Any, beat: Any) -> bool:
        if not isinstance(owner, dict) or "token" not in owner:
            return True  # released, or never taken
        if owner["token"] == self.me["token"]:
            return False
        here = {key: self.me[key] for key in ("host", "boot", "namespace")}
        if all(owner.get(key) == value for key, value in here.items()):
            return not _runs(int(owner.get("pid", 0)), owner.get("start"))
        if self.one_machine and owner.get("host") == here["host"] and owner.get("boot") != here["boot"]:
            return True  # the machine was started anew since
        now = time.monotonic()
        known, since = self._seen.setdefault(owner["token"], (beat, now))
        if known != beat:
            self._seen[owner["token"]] = (beat, now)
            return False
        return now - since > self.grace


def _machine() -> dict[str, str]:
    boot = Path("/proc/sys/kernel/random/boot_id")
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        return {"host": platform.node(), "boot": boot.read_text(encoding="ascii").strip(), "namespace": namespace}
    except OSError:
        return {"host": platform.node(), "boot": "", "namespace": ""}


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; a number is given to another process only with another start."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        fields = stat.rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except (OSError, IndexError):
        return ""


def _runs(pid: int, start: Any) -> bool:
    if Path("/proc/self/stat").exists():
        return bool(start) and _started(pid) == start
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
