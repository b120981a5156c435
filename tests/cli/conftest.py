"""Running commands as a user would: in this process, or in a fresh one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archdsl.cli.app import app

ROOT = Path(__file__).parents[2]
GOOD = "arch Good(d = 8) {\n    in x: [T, d]\n    return x -> linear(d)\n}\n"
BAD = "arch Bad(d = 8) {\n    in x: [T, d]\n    return x -> linaer(d)\n}\n"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """run("check", "x.arch", input="…") in an empty folder that holds good.arch and bad.arch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.arch").write_text(GOOD)
    (tmp_path / "bad.arch").write_text(BAD)

    def call(*args: str, input: str | bytes | None = None) -> Result:
        return CliRunner().invoke(app, [str(a) for a in args], input=input, prog_name="archdsl")

    return call


def process(*args: str, cwd: Path | None = None, env: dict[str, str] | None = None, **options: object) -> subprocess.CompletedProcess[str]:
    """A fresh process `archdsl ARGS…`."""
    command = [sys.executable, "-m", "archdsl", *args]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=120, **options)  # type: ignore[call-overload]
