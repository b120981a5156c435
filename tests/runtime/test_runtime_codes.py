"""Each AD08 page of the error index shows Python that raises exactly that code."""

from __future__ import annotations

import re

import pytest

from archdsl.diagnostics import ArchError
from archdsl.diagnostics.index import codes, explain

RUNTIME = [code for code in codes() if code.startswith("AD08")]


@pytest.mark.parametrize("code", RUNTIME)
def test_the_example_raises_its_code(code):
    page = explain(code)
    assert page is not None
    assert page.startswith("# ")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    with pytest.raises(ArchError) as caught:
        exec(compile(example, code, "exec"), {})
    assert [d.code for d in caught.value.diagnostics] == [code]
    assert str(caught.value)
