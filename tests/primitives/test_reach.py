"""What built-in primitives say of the positions they read, held against numbers; and the words they say it with."""

from __future__ import annotations

from typing import Any

import pytest

import archdsl
from archdsl.analysis import witness
from archdsl.diagnostics import ArchError
from archdsl.primitives import TABLE
from archdsl.primitives.reach import EARLIER, SAME, UNDECLARED, Bound, Reach, everything, window
from tests.primitives.helpers import check, value

USES = """
x -> linear(3)
x -> rmsnorm
x -> layernorm
x -> l2norm
t -> rmsnorm(axis=0, scale=false)
t -> batchnorm
x -> groupnorm(2, axis=1)
t -> groupnorm(2)
x -> flip(axis=1)
x -> roll(1, axis=1)
x -> roll(0)
x -> pad(1)
x -> pad(0, axis=0)
h -> flatten(last=1)
h -> squeeze(0)
x -> unsqueeze(0)
x -> rearrange("t (a b) -> a t b", b=2)
x -> tile("t d -> t n d", n=2)
concat(x, x)
stack(x, x, axis=1)
(x -> split(2))[0]
h -> expand([2, T, 4])
x[.., 0..2]
x[.., 1]
x -> softmax
x -> log_softmax(axis=0)
x -> normalise
x -> sum(axis=1)
x -> mean(axis=0)
x -> amax(axis=1, keep=true)
x -> argmax(axis=1)
x -> variance(axis=1)
x -> sort
x -> argsort
(x -> topk(2))[0]
x -> cumsum
x -> cumsum(axis=1)
x -> cumprod
x -> cummax
x -> shift(2)
x -> shift(0)
x -> shift(-1)
x -> shift(3, axis=1)
x -> causal_conv(3)
x -> causal_conv(3, dilation=2)
x -> history
t -> conv1d(5)
t -> conv1d(5, k=1)
t -> depthwise_conv1d(k=3, stride=2)
t -> deconv1d(3, k=1)
t -> maxpool1d(1)
t -> avgpool1d(3, stride=1, padding=1)
t -> upsample(2)
x -> fft -> real
einsum("t d, t d -> t d", x, x)
einsum("t d, s d -> t s", x, x)
outer(x, x)
dot(x, x)
x @ t
add(x, x)
multiply(x, x, x)
x -> detach
x -> dropout(0.5)
x -> droppath(0.5)
x -> rotary
x -> rotary(offset=3)
x -> sinusoidal
x -> position(130)
-x
x -> relu
solve(outer(x, x) + eye(4), outer(x, x))
attend(h, h, h)
attend(h, h, h, causal=true)
attend(h, h, h, causal=true, window=3)
attend(h, h, h, causal=true, chunk=5)
attend(h, h, h, causal=true, bias="alibi")
"""
ARCH = """
arch A {{
    in x: [T, 4]
    in t: [4, T]
    in h: [1, T, 4]
    return {}
}}
"""


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Takes built-in primitives for one's own; fills with the operations that were run."""
    run: list[str] = []
    stepped = witness._Alone.stepped

    def noted(alone: Any) -> Any:
        run.append(alone.node.op)
        return stepped(alone)

    monkeypatch.setattr(witness, "own_primitives", lambda: frozenset(TABLE))
    monkeypatch.setattr(witness._Alone, "stepped", noted)
    return run


@pytest.mark.parametrize("use", USES.strip().split("\n"))
def test_what_built_in_primitives_say_is_so(use: str, tried: list[str]) -> None:
    graph = archdsl.parse(ARCH.format(use)).graph
    witness.check_own(graph)
    assert tried == [node.op for node in graph.root.nodes]


def test_a_built_in_that_said_something_else_would_be_found(tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(TABLE["causal_conv"]), "reach", staticmethod(lambda node: 1))
    with pytest.raises(ArchError, match="causal_conv"):
        witness.check_own(archdsl.parse(ARCH.format("x -> causal_conv(3)")).graph)


def test_bounds_where_they_are_plain() -> None:
    x, t = value("T", 4), value(4, "T")
    q = value(2, "T", 4)
    cases = {
        ("shift", -2): (check("shift", x, n=3), "i - 3"),
        ("causal_conv", -2): (check("causal_conv", x, k=3, dilation=2), "i - 4..i"),
        ("conv1d", -1): (check("conv1d", t, out=2, k=3, stride=2), "2*i - 1..2*i + 1"),
        ("maxpool1d", -1): (check("maxpool1d", t, k=2), "2*i..2*i + 1"),
        ("attend", -2): (check("attend", q, q, q, causal=True, window=3), "i - 2..i"),
        ("cumsum", -2): (check("cumsum", x), "..i"),
        ("flip", -2): (check("flip", x, axis=0), ".."),
        ("exp", -2): (check("pointwise", x, function="exp"), "i"),
    }
    said = {op: str(TABLE[node.op].time(node, 1 if node.op == "attend" else 0, op[1])) for op, (node, _) in cases.items()}
    assert said == {op: wanted for op, (_, wanted) in cases.items()}


# ---- the words ----


@pytest.mark.parametrize(
    "bound", [Bound(), Bound(1, 3), Bound(1, -3), Bound(2), Bound(1, 0, 2), Bound(1, 1, 2), Bound(0, 5), Bound(3, -1, 2)]
)
def test_bounds_by_trying(bound: Bound) -> None:
    at = [bound.at(i) for i in range(40)]
    assert bound.never_later == all(j <= i for i, j in enumerate(at))
    assert bound.never_earlier == all(j >= i for i, j in enumerate(at))


def test_what_each_word_says() -> None:
    assert (SAME.ahead, SAME.looks_back) == (None, False)
    assert (EARLIER.ahead, EARLIER.looks_back) == (None, True)
    assert (window(2).ahead, window(2).looks_back) == (None, True)
    assert window(0, 1).ahead == "reads later positions"  # the bound says so, though no reason is given
    assert (UNDECLARED.ahead is not None, UNDECLARED.declared) == (True, False)
    assert [str(r) for r in (SAME, EARLIER, window(2, 1), Reach(Bound(2), Bound(2, 1)), everything("x"), UNDECLARED)] == [
        "i", "..i", "i - 2..i + 1", "2*i..2*i + 1", "..", "undeclared",
    ]  # fmt: skip
    assert str(Reach(Bound(1, 0, 2), Bound(1, 0, 2))) == "floor(i / 2)"
    assert str(Reach(Bound(2, 1, 3), None)) == "floor((2*i + 1) / 3).."
    assert window(2).admits(5, 3)
    assert not window(2).admits(5, 2)
    assert not window(2).admits(5, 6)
