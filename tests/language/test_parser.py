"""The generated tables, the conflicts the grammar settles, recovery, and speed."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from archdsl.diagnostics import ArchError, Source
from archdsl.language import arch_parser, generate, parse
from archdsl.language.keywords import CONTEXTUAL
from archdsl.share import share
from tests.language.helpers import codes
from tests.timing import least_seconds

ROOT = Path(__file__).parents[2]


def test_the_generated_parser_is_current() -> None:
    assert Path(arch_parser.__file__).read_text(encoding="utf-8") == generate.generate(), "run `python -m archdsl.language.generate`"


def test_only_the_known_conflicts_are_settled_by_shifting(caplog: pytest.LogCaptureFixture) -> None:
    """A body behind `route(…)` and `skip(…)`, and an `else` behind `train { … }`, belong to these."""
    from lark import Lark
    from lark import logger as lark_logger

    grammar = (share("grammars") / "arch.lark").read_text(encoding="utf-8")
    lark_logger.addHandler(caplog.handler)
    level = lark_logger.level
    lark_logger.setLevel(logging.DEBUG)
    try:
        Lark(grammar, parser="lalr", lexer="basic", start=list(generate.STARTS), maybe_placeholders=True, debug=True)
    finally:
        lark_logger.setLevel(level)
        lark_logger.removeHandler(caplog.handler)
    lines = [r.getMessage() for r in caplog.records]
    conflicts = {line.split(":")[0].removeprefix("Shift/Reduce conflict for terminal ") for line in lines if "conflict" in line}
    rules = {line.strip() for line in lines if line.startswith(" *")}
    assert conflicts == {"_ELSE", "_LBRACE"}
    assert all("TRAIN" in rule or "ROUTE" in rule or "SKIP" in rule for rule in rules)


def test_reserved_words_are_few() -> None:
    assert set(arch_parser.KEYWORDS) == {"if", "then", "else", "and", "or", "not", "in", "true", "false", "none", "return", "yield"}
    assert not CONTEXTUAL & set(arch_parser.KEYWORDS)


def test_errors_in_several_places_are_all_told() -> None:
    text = "arch A {\n x = f(1 2)\n y = loop 3 { g -> }\n return x +\n}\nblock B = \nscan s { in x: [d]; z = x = 3; yield z }\nact c(x) = x"
    assert codes(text) == ["AD0127", "AD0122", "AD0123", "AD0123", "AD0139"]


def test_diagnostics_come_in_the_order_of_the_text() -> None:
    with pytest.raises(ArchError) as caught:
        parse(Source("t", "n = 1 2\nm = f(é)\nk = )\nj = 3 4"))
    starts = [d.span.start for d in caught.value.diagnostics if d.span]
    assert starts == sorted(starts)
    assert len(starts) == 4


def test_time_to_parse_grows_with_the_text() -> None:
    block = "block B(n = 2, f: module) {\n    in x: [T, n] where n % 2 == 0\n" + "    y = x -> linear(n) -> f(k=3)\n" * 20 + "    return x + y\n}\n"
    one, eight = (least_seconds(lambda n=n: parse(Source("t", block * n)), tries=7) for n in (1, 8))
    assert one < 0.08 and eight < 24 * one


def test_importing_the_front_end_is_cheap() -> None:
    """Neither torch nor Lark nor anything large is loaded, and parsing stays so."""
    program = (
        "import sys; from archdsl.language import parse, format_text; from archdsl.diagnostics import Source\n"
        "parse(Source('t', 'n = 1')); format_text(Source('t', 'n = 1'))\n"
        "print([m for m in ('torch', 'lark', 'networkx', 'rich', 'pydantic', 'pickle', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
