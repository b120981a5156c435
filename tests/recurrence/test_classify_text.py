"""Equations as text, and recurrences explained."""

from __future__ import annotations

import subprocess
import sys

import pytest

from archdsl.graph.expressions import Expr, call, const, custom, var
from archdsl.recurrence.classes import Kind
from archdsl.recurrence.infix import infix
from archdsl.scanning.explain import CLASSES, explain_scan, scan_summary
from tests.recurrence.specs import STANDARD, one, region_of, standard

A, B, C = var("a[i]"), var("b[i]"), var("c[]")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (A + B * C, "a[i] + b[i] * c"),
        ((A + B) * C, "(a[i] + b[i]) * c"),
        (A - (B - C), "a[i] - (b[i] - c)"),
        (A + (B - C), "a[i] + b[i] - c"),
        (A - B - C, "a[i] - b[i] - c"),
        (A * (B * C), "a[i] * b[i] * c"),
        (A / (B * C), "a[i] / (b[i] * c)"),
        (A / B / C, "a[i] / b[i] / c"),
        (A * (B / C), "a[i] * (b[i] / c)"),
        (-(A * B), "-a[i] * b[i]"),
        (-A, "-a[i]"),
        (-(A + B), "-(a[i] + b[i])"),
        (call("exp", -A), "exp(-a[i])"),
        (call("square", A + B), "(a[i] + b[i]) ** 2"),
        (const(-2) ** A, "(-2) ** a[i]"),
        (A + B * -C, "a[i] - c * b[i]"),
        (A * call("exp", -(B * C)), "a[i] * exp(-b[i] * c)"),
        (call("sub", A, call("mul", -0.5, B)), "a[i] + 0.5 * b[i]"),
        (A ** (-B), "a[i] ** -b[i]"),
        ((A**B) ** C, "(a[i] ** b[i]) ** c"),
        (call("where", call("gt", A, 0), A, B * 2) + C, "(if a[i] > 0 then a[i] else 2 * b[i]) + c"),
        (
            call("where", call("gt", A, 0), A, call("where", call("lt", B, 1), B, C)),
            "if a[i] > 0 then a[i] else if b[i] < 1 then b[i] else c",
        ),
        (call("where", call("and_", call("gt", A, 0), call("lt", B, 0)), A, B), "if a[i] > 0 and b[i] < 0 then a[i] else b[i]"),
        (call("max", A + B, 0), "max(a[i] + b[i], 0)"),
        (custom(call("sign", A), [A], [B]), "sign(a[i])"),
        (0.1 * A + 1 / 3, "0.1 * a[i] + 0.333333"),
        (var("i[]") * A, "i[] * a[i]"),
        (const(-2) * A, "-2 * a[i]"),
        (A + call("mul", -2, B), "a[i] - 2 * b[i]"),
    ],
)
def test_infix(expression: Expr, text: str) -> None:
    assert infix(expression) == text


def test_equations_are_infix() -> None:
    assert str(standard("gated_delta_rule")).split("\n") == [
        "D[i,j] = exp(g) * S[i,j]",
        "m[i] = sum_s k[s] * D[s,i]",
        "t[i] = m[i] - v[i]",
        "S'[i,j] = D[i,j] - beta * k[i] * t[j]",
        "m_2[i] = sum_s q[s] * S'[s,i]",
    ]


def test_parts_of_a_state() -> None:
    step = one("h' = 0.5 * h + h[0] * concat(h[1..], h[..1], axis=0) + x; yield h'")
    assert str(step).split("\n") == ["c[i] = h[i+1]", "c[i+4] = h[i]", "h'[i] = 0.5 * h[i] + h[0] * c[i] + x[i]"]
    moved = one("h' = 0.5 * h + concat(h[1..], h[..1], axis=0)[2] * x; yield h'")
    assert "c[2] * x[i]" in str(moved)


def explained(call: str, **sizes: int) -> str:
    return explain_scan(region_of('import "std/scans.arch"', call, STANDARD[call]), sizes)


@pytest.mark.parametrize("call", STANDARD)
def test_every_scan_is_explained(call: str) -> None:
    text = explained(call)
    for needed in ("Equations", "Class: ", "State while decoding: ", "Forms", "step ", "kernel", "Chosen on cpu"):
        assert needed in text
    assert max(map(len, text.split("\n"))) <= 140


def test_what_the_pieces_are() -> None:
    lines = [line.strip() for line in explained("gated_delta_rule", T=512).split("\n")]
    assert "Class: delta rule: a decay less products of low rank" in lines
    assert "decay of S     exp(g) (one number)" in lines
    assert "taken away     beta * k[i], times what k[i] reads of decayed S along its first axis" in lines
    assert "m_2 reads      sum over i of q[i] * S'[i,j]" in lines
    assert "State while decoding: S [8, 4]: 32 numbers for each sequence and head, whatever its length (128 bytes in float32)" in lines


def test_why_a_gru_is_sequential() -> None:
    text = " ".join(explained("gru(6)").split())
    assert "sigmoid of the state is not affine in the state" in text
    assert "sigmoid(xz + hz)" in text
    assert "A gate that reads the state keeps the steps in order." in text
    assert "before the loop, for all times at once: input" in text


def test_a_step_without_index_notation() -> None:
    region = region_of("scan t { in x: [n, d]; state h: [n, d] = 0; h' = 0.5 * attend(h, x, x) + x; yield h' }", "t", "x: [T, 4, 8]")
    text = explain_scan(region)
    assert text.startswith("Class: none.")
    assert "plain torch loop" in text
    assert scan_summary(region).startswith("runs as a plain loop: ")


def test_every_class_has_words() -> None:
    assert set(CLASSES) == set(Kind)


def test_explaining_needs_no_torch() -> None:
    program = (
        "import sys; from tests.recurrence.specs import *; from archdsl.scanning.explain import explain_scan;"
        "explain_scan(region_of('import \"std/scans.arch\"', 'ema', STANDARD['ema']));"
        "assert not {'torch', 'numpy', 'networkx', 'rich', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
