"""Golden diagnostics of studies: a case holds the command, after an empty line the file it names, `----`, and what must come on stderr."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from archdsl.cli.app import app

CASES = sorted((Path(__file__).parent / "studies").glob("*.study"))


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_golden(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config) -> None:
    monkeypatch.chdir(tmp_path)
    text, _, expected = path.read_text(encoding="utf-8").partition("----\n")
    command, _, content = text.partition("\n")
    words = shlex.split(command)
    if content.strip():
        Path(words[1]).write_text(content.removeprefix("\n"), encoding="utf-8")
    result = CliRunner().invoke(app, words, prog_name="archdsl")
    assert result.exit_code in (1, 2), result.output
    assert result.stderr.count("error[") == result.stderr.count("error[AD"), result.stderr
    if pytestconfig.getoption("--bless", default=False) or os.environ.get("BLESS"):
        path.write_text(f"{text}----\n{result.stderr}", encoding="utf-8")
        return
    assert result.stderr == expected
    assert not list(tmp_path.glob("runs/*/*")), "nothing was begun"


def test_there_are_cases() -> None:
    assert len(CASES) >= 25
