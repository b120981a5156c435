"""Golden diagnostics: each tests/errors/<folder>/<case>.txt holds a spec, a line `----`, and the diagnostics it must give.

Cases in syntax/ are only parsed; those of other folders go through the whole check, with their folder as the root of imports.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archdsl.diagnostics import ArchError, Diagnostic, Source
from archdsl.diagnostics.render import render_all
from archdsl.language import parse

HERE = Path(__file__).parent
SEPARATOR = "\n----\n"


def _check_text() -> object:
    try:
        from archdsl import api
    except ImportError:
        return None
    return getattr(api, "check_text", None)


CHECK = _check_text()
CASES = [p for p in sorted(HERE.glob("*/*.txt")) if p.parent.name == "syntax" or CHECK is not None]


def diagnose(path: Path, text: str) -> list[Diagnostic]:
    try:
        if path.parent.name == "syntax":
            parse(Source(f"{path.stem}.arch", text))
            return []
        assert callable(CHECK)
        return list(CHECK(text, path.parent).warnings)
    except ArchError as error:
        return error.diagnostics


@pytest.mark.parametrize("path", CASES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden(path: Path, pytestconfig: pytest.Config) -> None:
    text, _, expected = path.read_text(encoding="utf-8").partition(SEPARATOR)
    text += "\n"
    rendered = render_all(diagnose(path, text)) + "\n"
    if pytestconfig.getoption("--bless", default=False) or os.environ.get("BLESS"):
        path.write_text(text.rstrip("\n") + SEPARATOR + rendered, encoding="utf-8")
        return
    assert expected, f"{path.name} expects nothing yet: look at what it gives, then run with --bless\n{rendered}"
    assert rendered == expected


def test_there_are_cases() -> None:
    assert len([p for p in CASES if p.parent.name == "syntax"]) >= 60
