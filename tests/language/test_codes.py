"""Each syntax code's example gives that code, and its mended form gives none."""

from __future__ import annotations

import re

import pytest

from archdsl.diagnostics import ArchError, Source
from archdsl.diagnostics.index import codes, explain
from archdsl.language import parse

BLOCK = re.compile(r"```arch( fixed)?\n(.*?)```", re.DOTALL)
SYNTAX = [c for c in codes() if c.startswith("AD01")]
BY_SIZE = ("AD0110", "AD0113")  # an example would have that size; test_limits.py makes one


def found(text: str) -> list[str]:
    try:
        parse(Source("example.arch", text))
    except ArchError as error:
        return [d.code for d in error.diagnostics]
    return []


@pytest.mark.parametrize("code", SYNTAX)
def test_examples(code: str) -> None:
    page = explain(code)
    assert page is not None
    assert page.startswith("# ")
    examples = BLOCK.findall(page)
    if code in BY_SIZE:
        assert not examples
        return
    assert [fixed.strip() for fixed, _ in examples] in (["", "fixed"], [""])
    assert found(examples[0][1]) == [code]
    assert all(found(text) == [] for fixed, text in examples if fixed)


def test_every_code_of_the_front_end_is_explained() -> None:
    from pathlib import Path

    import archdsl.language

    used: set[str] = set()
    for path in Path(archdsl.language.__file__).parent.glob("*.py"):
        if path.name != "loader.py":
            used |= set(re.findall(r'"(AD01\d\d)"', path.read_text(encoding="utf-8")))
    assert used == set(SYNTAX)


def test_explain_forgives_case_and_prefix() -> None:
    assert explain("ad0101") == explain("AD0101") == explain("0101")
    assert explain("AD9999") is None
    assert explain("../../secret") is None
