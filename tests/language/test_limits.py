"""Hostile sizes give a diagnostic in no time, and what is just within the limits passes."""

from __future__ import annotations

import time

import pytest

from archdsl.diagnostics import ArchError, Source
from archdsl.language import format_text, parse, unparse
from archdsl.language.limits import MAX_FILE_BYTES, MAX_FLAT, MAX_HEIGHT, MAX_NAME, MAX_NESTING, MAX_TOKENS
from tests.language.helpers import codes, tree

HUGE = 20_000
TOO_MUCH = {
    "file": ("#" * (MAX_FILE_BYTES + 1), "AD0110"),
    "wide file": ("#" + "ä" * (MAX_FILE_BYTES // 2), "AD0110"),
    "tokens": ("a=1;" * (MAX_TOKENS // 4 + 1), "AD0113"),
    "parentheses": ("n = " + "(" * HUGE, "AD0114"),
    "lists": ("n = " + "[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1), "AD0114"),
    "braces": ("block A = " + "{" * HUGE, "AD0114"),
    "calls": ("n = f" + "(1)" * 10_000, "AD0115"),
    "indices": ("n = f" + "[1]" * 10_000, "AD0115"),
    "attributes": ("n = f" + ".a" * 10_000, "AD0115"),
    "minuses": ("n = " + "- " * 10_000 + "1", "AD0115"),
    "nots": ("n = " + "not " * 10_000 + "x", "AD0115"),
    "powers": ("n = " + "2 ** " * 10_000 + "1", "AD0115"),
    "sums": ("n = " + "1 + " * 10_000 + "1", "AD0115"),
    "ands": ("n = " + "a and " * 10_000 + "a", "AD0115"),
    "ifs": ("n = " + "if a then b else " * 5_000 + "c", "AD0115"),
    "conditions": ("n = " + "if " * 5_000 + "a" + " then b else c" * 5_000, "AD0115"),
    "pipes": ("n = " + "f -> " * 10_000 + "f", "AD0115"),
    "choices": ("n = " + "f | " * 10_000 + "f", "AD0115"),
    "loops": ("n = " + "loop 2 + " * 5_000 + "2", "AD0115"),
    "repeats": ("n = " + "repeat " * 9_000 + "2", "AD0115"),
    "labels": ("n = " + "a: " * 9_000 + "f", "AD0115"),
    "lists of sums": ("n = " + "[1 + 1 + " * 60 + "1" + "]" * 60, "AD0115"),
    "sums after calls": ("n = " + "f(" * 60 + "1" + ") + 1 + 1" * 60, "AD0115"),
    "name": ("a" * 100_000 + " = 1", "AD0111"),
    "integer": ("n = " + "9" * 100_000, "AD0112"),
    "float": ("n = 1." + "9" * 100_000, "AD0112"),
    "exponent": ("n = 1e999", "AD0112"),
    "long exponent": ("n = 1e" + "9" * 100_000, "AD0112"),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_too_much(case: str) -> None:
    text, code = TOO_MUCH[case]
    start = time.thread_time()
    assert code in codes(text)
    assert time.thread_time() - start < 1


SLOW_IF_QUADRATIC = {
    "open comments": "/*" * 100_000,
    "open strings": '"\\' * 100_000,
    "open docs": '"""' * 80_000,
    "quotes": "'" * 200_000,
    "letters": "ä" * 120_000,
    "nul": "\0" * 200_000,
    "closing": ")" * 40_000,
    "newlines": "\n" * 200_000,
    "comments": "#\n" * 100_000,
    "statements": "block A { " + "x = f(1)\n" * 6_000 + "return x }",
    "errors": "= \n" * 20_000,
    "bad bodies": "block A { f( }\n" * 5_000,
    "commas": "n = f(" + "1," * 20_000 + ")",
    "docs": '"""a"""\n' * 20_000,
    "spaces": "n = " + " " * 200_000 + "1",
    "numbers": "n = " + "1_" * 100_000,
    "digits then dots": "1." * 20_000,
}


@pytest.mark.parametrize("case", SLOW_IF_QUADRATIC)
def test_time_grows_with_the_text_only(case: str) -> None:
    start = time.thread_time()
    codes(SLOW_IF_QUADRATIC[case])
    assert time.thread_time() - start < 2


def test_what_is_within_the_limits() -> None:
    deep = "n = " + "(" * MAX_NESTING + "1" + ")" * MAX_NESTING
    tall = "n = " + "1 + " * (MAX_HEIGHT - 2) + "1"
    flat = "n = " + "f -> " * (MAX_FLAT - 1) + "f"
    long = "a" * MAX_NAME + " = 1"
    wide = "n = [" + "1 + 1, " * 5_000 + "1]"
    nested = "block A = " + "loop 2 { " * MAX_NESTING + "f" + " }" * MAX_NESTING
    sums = "n = " + " -> ".join(["a + b + c"] * 300)
    for text in (deep, tall, flat, long, wide, nested, sums):
        file = tree(text)
        assert unparse(file)
        assert format_text(Source("t", text))


def test_at_most_twenty_errors() -> None:
    assert len(codes("n = = 1\n" * 100)) == 20


@pytest.mark.parametrize("text", ["\0", "\ufeff\ufeff", "\x1b[31m", "n\u200b = 1", "ＡＢ = 1", "n = ٣", "\ud800", "a\u0301 = 1", "\u2028"])
def test_odd_characters(text: str) -> None:
    with pytest.raises(ArchError) as caught:
        parse(Source("t.arch", text))
    shown = str(caught.value)
    assert "\x1b" not in shown
    assert "\0" not in shown
