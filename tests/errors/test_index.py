"""Every diagnostic code is explained, and the failing example of its page fails with that very code."""

import re
from pathlib import Path

import pytest

import archdsl
from archdsl.api import check_text
from archdsl.diagnostics import ArchError, Source
from archdsl.language import parse

PACKAGE = Path(archdsl.__file__).parent
PAGES = {p.stem: p.read_text() for p in sorted((PACKAGE / "diagnostics" / "codes").glob("AD*.md"))}
FENCE = re.compile(r"^```(arch[^\n]*|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [(code, kind.strip(), text) for code, page in PAGES.items() for kind, text in FENCE.findall(page)]


def test_every_code_in_the_source_has_a_page():
    used = set()
    for path in PACKAGE.rglob("*.py"):
        used |= set(re.findall(r'"(AD\d{4})"', path.read_text()))
    assert used - set(PAGES) == set()


def test_every_page_has_a_title_and_an_example():
    for code, page in PAGES.items():
        assert page.startswith("# "), code
        assert "```" in page, code


@pytest.mark.parametrize(("code", "kind", "text"), EXAMPLES, ids=[f"{c}-{k.replace(' ', '-')}" for c, k, _ in EXAMPLES])
def test_example(code, kind, text):
    look = check_text if code > "AD02" else lambda t: parse(Source("spec.arch", t))  # syntax pages show fragments of files
    if kind == "text":
        return
    if kind == "arch fixed":
        look(text)
        return
    if kind == "arch warning":
        assert [w.code for w in check_text(text).warnings] == [code]
        return
    with pytest.raises(ArchError) as caught:
        look(text).emit()  # a few problems are met only when a step form is written
    assert code in [d.code for d in caught.value.diagnostics]
