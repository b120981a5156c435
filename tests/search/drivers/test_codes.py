"""Each page of the error codes of drivers and activations shows Python that raises exactly that code."""

import re

import pytest

from archdsl.diagnostics import ArchError
from archdsl.diagnostics.index import codes, explain


@pytest.mark.parametrize("code", [code for code in codes() if (code.startswith("AD102") and code != "AD1023") or code == "AD1019"])
def test_the_example_raises_its_code(code):
    (example,) = re.findall(r"```python\n(.*?)```", explain(code) or "", re.DOTALL)
    with pytest.raises(ArchError) as caught:
        exec(compile(example, code, "exec"), {})
    assert [d.code for d in caught.value.diagnostics] == [code]
