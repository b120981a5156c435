"""The value model as written in docs/language/value-model.md: every example there must behave as it says."""

import re
from pathlib import Path

import pytest

from archdsl.api import check_text
from archdsl.diagnostics import ArchError

PAGE = Path(__file__).parents[2] / "docs" / "language" / "value-model.md"
EXAMPLES = re.findall(r"^```arch (accept|reject)(?: (\S+))?\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_holds_enough_examples():
    assert len(EXAMPLES) >= 40


@pytest.mark.parametrize(("verdict", "detail", "text"), EXAMPLES, ids=[f"{i}-{v}-{d}" for i, (v, d, _) in enumerate(EXAMPLES)])
def test_example(verdict, detail, text):
    if verdict == "accept":
        spec = check_text(text)
        if detail:
            assert spec.parameters == int(detail.removeprefix("params="))
        return
    with pytest.raises(ArchError) as caught:
        check_text(text)
    codes = [d.code for d in caught.value.diagnostics]
    assert codes == [detail]
    assert all(d.span is not None and d.title for d in caught.value.diagnostics)
