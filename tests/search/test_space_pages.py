"""The pages of the space's diagnostics: each failing example fails with its code, each mended one runs."""

import re
from pathlib import Path

import pytest

import archdsl
from archdsl.diagnostics import ArchError

PAGES = sorted((Path(archdsl.__file__).parent / "diagnostics" / "codes").glob("AD100*.md"))
FENCE = re.compile(r"^```python( fixed)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [(page.stem, bool(fixed), text) for page in PAGES for fixed, text in FENCE.findall(page.read_text())]


@pytest.mark.parametrize(("code", "fixed", "text"), EXAMPLES, ids=[f"{c}-{'fixed' if f else 'fails'}" for c, f, _ in EXAMPLES])
def test_example(code, fixed, text):
    program = compile(text, code, "exec")
    if fixed:
        exec(program, {})  # examples of our own pages
        return
    with pytest.raises(ArchError) as caught:
        exec(program, {})
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_every_code_of_the_spaces_has_a_page():
    assert [p.stem for p in PAGES] == [f"AD100{i}" for i in range(1, 7)]
