"""Generated pages are what their writers would write now, and the writers take no word that they do not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import DOCS, writer

WRITERS = sorted(path.stem.removeprefix("write_") for path in DOCS.glob("write_*.py"))


@pytest.mark.parametrize("name", WRITERS)
def test_the_page_is_current(name: str) -> None:
    made = writer(name)
    assert made.main(made.PAGE, made.page, ["--check"]) == 0, "run `make docs`"


def test_a_stale_page_is_told_and_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main = writer("cli").main
    page = tmp_path / "some.md"
    assert main(page, lambda: "new", ["--check"]) == 1 and not page.exists()
    page.write_text("old")
    assert main(page, lambda: "new", ["--check"]) == 1 and page.read_text() == "old"
    assert "is not current: run `make docs`" in capsys.readouterr().out
    assert main(page, lambda: "new", []) == 0 and page.read_text() == "new"
    assert main(page, lambda: "new", ["--check"]) == 0


@pytest.mark.parametrize("words", [["--chekc"], ["--che"], ["cli.md"]])
def test_unknown_arguments_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    made = writer("tasks")
    before = made.PAGE.read_text(encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        made.main(made.PAGE, made.page, words)
    assert stopped.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
    assert made.PAGE.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", WRITERS)
def test_writers_run_as_scripts(name: str) -> None:
    ended = subprocess.run([sys.executable, str(DOCS / f"write_{name}.py"), "--help"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0 and f"Writes docs/{name}.md" in ended.stdout
