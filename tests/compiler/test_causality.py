"""What is causal, what looks ahead and where, and what can be decoded."""

from __future__ import annotations

import pytest

from archdsl import api
from archdsl.compiler.causality import causality
from archdsl.diagnostics import ArchError
from tests.compiler.specs import DECODABLE, graph


@pytest.mark.parametrize("name", DECODABLE)
def test_causal_models_are_decodable(name: str) -> None:
    report = causality(graph(name))
    assert report.causal
    assert report.decodable
    assert report.axis == "T"
    assert report.lookaheads == []


LOOKING = """
block Both {
    in x: [T, d]
    h = x -> rearrange("t d -> 1 t d")
    return attend(h, h, h) -> rearrange("1 t d -> t d")
}
arch Ahead(d = 16) {
    in x: [T, d]
    return x -> linear(d) -> layers: repeat 3 { mix: Both -> linear(d) }
}
"""


def test_a_look_ahead_is_named_with_its_path_and_place() -> None:
    report = causality(graph(LOOKING))
    assert not report.causal
    assert not report.decodable
    (finding,) = report.lookaheads
    assert finding.path == "layers.mix.attend"
    assert finding.span.text == "attend(h, h, h)"
    assert "every position" in finding.reason
    diagnostic = finding.diagnostic()
    assert diagnostic.code == "AD0701"
    assert "layers.mix.attend" in diagnostic.note


def test_the_contract_is_refused() -> None:
    with pytest.raises(ArchError) as caught:
        api.check_text(LOOKING + "expect causal")
    assert caught.value.diagnostics[0].code == "AD0701"


@pytest.mark.parametrize(
    ("body", "op"),
    [
        ('x - (mean(x, axis=0) -> rearrange("d -> 1 d"))', "mean"),
        ("softmax(x, axis=0)", "softmax"),
        ("x -> flip(axis=0)", "flip"),
        ('x -> causal_conv(3) -> rearrange("t d -> d t") -> linear(4) -> rearrange("d t -> t d")', "linear"),
    ],
)
def test_ops_that_look_ahead(body: str, op: str) -> None:
    size, result = ("8", "y") if op == "linear" else ("T", "x + y")
    report = causality(graph(f"arch Look(d = 4) {{ in x: [{size}, d]; y = {body}; return {result} }}"))
    assert not report.causal
    if op != "linear":  # there the axis is lost altogether
        assert op in {f.node.op for f in report.lookaheads}


def test_a_fixed_time_axis_is_judged_but_not_decoded() -> None:
    report = causality(graph("arch Fixed(d = 4) { in x: [8, d]; return x -> causal_conv(3) }"))
    assert report.causal
    assert not report.decodable
    assert "fixed size 8" in report.reason


def test_time_is_followed_by_identity_not_by_place() -> None:
    text = """
arch Turned(d = 4) {
    in x: [T, d]
    y = x -> rearrange("t d -> d t") -> exp -> rearrange("d t -> t d")
    return y -> causal_conv(2)
}
"""
    assert causality(graph(text)).causal


def test_attention_over_another_axis_is_no_look_ahead() -> None:
    text = """
arch Columns(d = 4) {
    in x: [T, 6, d]
    h = x -> rearrange("t n d -> t 1 n d")
    return attend(h, h, h) -> rearrange("t 1 n d -> t n d")
}
"""
    report = causality(graph(text))
    assert report.axis == "T"
    assert report.causal


def test_side_losses_do_not_count() -> None:
    text = """
arch Side(d = 4) {
    in x: [T, d]
    aux spread = mean(x * x, axis="all")
    return x -> linear(d)
}
"""
    assert causality(graph(text)).causal


def test_expert_choice_looks_over_all_positions() -> None:
    text = """
arch Choosy(d = 4) {
    in x: [T, d]
    return x -> route(expert_choice(2), experts=2) { linear(d) }
}
"""
    report = causality(graph(text))
    assert not report.causal
    assert report.lookaheads[0].node.op == "route"


def test_training_may_look_ahead() -> None:
    text = """
arch Trains(d = 4) {
    in x: [T, d]
    return x -> train { in y; return y - (mean(y, axis=0) -> rearrange("d -> 1 d")) } else { linear(d) }
}
"""
    assert causality(graph(text)).causal
