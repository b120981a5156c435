"""Warnings about scans, and silence where all is well."""

from __future__ import annotations

import pytest

import archdsl
from tests.recurrence.specs import STANDARD, spec_of

USE = "\narch A { in x: [T, 8]; return x -> t }"


def codes(body: str, use: str = USE) -> list[str]:
    return [w.code for w in archdsl.parse(f"scan t {{ in x: [d]; {body} }}{use}").warnings]


@pytest.mark.parametrize("call", STANDARD)
def test_the_library_gives_none(call: str) -> None:
    assert spec_of('import "std/scans.arch"', call, STANDARD[call]).warnings == []


@pytest.mark.parametrize(
    ("update", "warned"),
    [
        ("1.01 * h + x", True),
        ("-2 * h + x", True),
        ("h + x", False),
        ("-h + x", False),
        ("exp(x) * h", False),  # may be more than one, need not
        ("(1.5 + sigmoid(x)) * h + x", True),
        ("(0.5 + sigmoid(x)) * h + x", False),
        ("2 * tanh(h) + x", False),  # bounded all the same
        ("(if x > 0 then 2 else 3) * h", True),
        ("(if x > 0 then 2 else 0) * h", False),
        ("exp(softplus(x) + 0.1) * h", True),
        ("exp(-softplus(x)) * h + x", False),
    ],
)
def test_growth(update: str, warned: bool) -> None:
    assert codes(f"state h: [d] = 0; h' = {update}; yield h'") == (["AD0710"] if warned else [])


@pytest.mark.parametrize(
    ("update", "warned"),
    [
        ("x / h", True),
        ("x / (1 + abs(h))", False),
        ("x / (1 + h ** 2)", False),
        ("x / (2 + sigmoid(h))", False),
        ("x / sigmoid(h)", True),  # may come as near to zero as one likes
        ("h / x", False),  # divides by an input
        ("h / sqrt(sum(h ** 2) + 1e-6)", False),
        ("h / sqrt(sum(h ** 2))", True),
        ("(h + x) / (h - x)", True),
    ],
)
def test_division(update: str, warned: bool) -> None:
    assert codes(f"state h: [d] = 1; h' = {update}; yield h'") == (["AD0711"] if warned else [])


def test_division_in_a_yield_is_no_update() -> None:
    assert codes("state h: [d] = 1; h' = 0.5 * h + x; yield x / h'") == []


def test_states_that_reach_no_yield() -> None:
    assert codes("state h: [d] = 0; h' = 0.9 * h + x; yield 2 * x") == ["AD0712"]
    assert codes("state h: [d] = 0; h' = 0.9 * h + x; yield x - h") == []  # the state before the step counts
    chained = "state h: [d] = 0; state c: [d] = 0; h' = 0.9 * h + x; c' = 0.5 * c + h'; yield c'"
    assert codes(chained) == []
    through_a_sum = "state h: [d] = 0; h' = 0.9 * h + x; m = sum(h' * x); yield m * x"
    assert codes(through_a_sum) == []


def test_a_state_handed_out_at_the_end_is_of_use() -> None:
    kept = "\narch A { in x: [T, 8]; y, h = t(x, final=true); return h }"
    assert codes("state h: [d] = 0; h' = 0.9 * h + x; yield 2 * x", kept) == []
    cell = "\narch A { in x: [8]; c = t.cell; y, h = c(x, zeros([8])); return h }"
    assert codes("state h: [d] = 0; h' = 0.9 * h + x; yield 2 * x", cell) == []


def test_yields_never_used() -> None:
    body = "state h: [d] = 0; h' = 0.9 * h + x; yield h', x - h'"

    def use(text: str) -> str:
        return f"\narch A {{ in x: [T, 8]; a, b = x -> t; {text} }}"

    assert codes(body, use("return a")) == ["AD0713"]
    assert codes(body, use("return a + b")) == []
    assert codes(body, use("return a, b")) == []
    assert codes(body, "\narch A { in x: [T, 8]; a, _b = x -> t; return a }") == []
    # One use of two reads it: that is enough.
    assert codes(body, "\narch A { in x: [T, 8]; s = t; a, b = s(x); c, e = s(a); return c + e }") == []


def test_each_scan_is_warned_about_once() -> None:
    text = "scan t { in x: [d]; state h: [d] = 0; h' = 2 * h + x; yield h' }\narch A { in x: [T, 8]; return x -> repeat 3 { t } -> t }"
    assert [w.code for w in archdsl.parse(text).warnings] == ["AD0710"]
