"""Deep but legal inputs pass under the interpreter's own recursion limit, which no call changes, wherever in the stack the call stands."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

import archdsl
from archdsl.analysis.canonical import FLAT_LIMIT, flat_size
from archdsl.diagnostics import Source
from archdsl.graph.acts import lower_act
from archdsl.language import parse
from archdsl.language.syntax import ActDecl
from archdsl.search.space import open_space
from archdsl.stack import Calls, unwound

T = TypeVar("T")
SCAN = "scan s { in x: [d]; state h: [d] = 0; h' = h + x; yield h' }\n"


@pytest.fixture(autouse=True)
def limit_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sys.getrecursionlimit() == 1000
    monkeypatch.setattr(sys, "setrecursionlimit", lambda limit: pytest.fail("changed for all threads"))


def below(calls: int, run: Callable[[], T]) -> T:
    """The result of a function called from this deep in the stack."""
    return run() if calls == 0 else below(calls - 1, run)


def chain(links: int, link: str) -> str:
    """A body that computes a1, a2, … each from the one before."""
    return "in x: [T, 8]\na0 = x\n" + "".join(link.format(new=i + 1, old=i) for i in range(links)) + f"return a{links}"


# ---- hashes -------------------------------------------------------------------------------------------------------------------------

CHAINS = {
    "3,000 operations": chain(3000, "a{new} = relu(a{old})\n"),
    "1,000 scans": chain(1000, "a{new} = s(a{old})\n"),
    "400 loops that capture": chain(400, "a{new} = x -> loop 2 {{ in h; return relu(h) + a{old} }}\n"),
    "1,000 rounds": "in x: [T, 8]; return x -> repeat i in 0..1000 { linear(8 + i) -> linear(8) }",
}


@pytest.mark.parametrize("body", CHAINS.values(), ids=CHAINS)
def test_hashes_of_long_chains(body: str) -> None:
    spec = archdsl.parse(f"{SCAN}arch A {{\n{body}\n}}")
    assert below(600, lambda: spec.structure_hash) == spec.structure_hash
    assert len(spec.interface_hash) == 40


def test_hashes_of_nested_blocks_that_are_listed_one_by_one() -> None:
    text = "block D(n) = if n == 0 then relu else (D(n - 1) -> D(n - 1))\nblock E(n) = if n == 0 then D({0}) else (tanh -> E(n - 1))\n"
    spec = archdsl.parse(text.format(17) + "arch A { in x: [8]; return x -> E(75) }")
    assert flat_size(spec.graph.root) > FLAT_LIMIT
    assert below(600, lambda: spec.structure_hash) == spec.structure_hash


# ---- spaces ---------------------------------------------------------------------------------------------------------------------------


def test_a_space_of_1200_rounds() -> None:
    space = open_space("arch A { in x: [8]; return x -> repeat 1200 { linear(8) | (linear(8) -> relu) } }\n")
    assert space.count().number == 2**1200
    assert len(below(600, lambda: space.sample(random.Random(0)))) == 1200


def test_a_unit_of_300_decisions() -> None:
    body = chain(300, "a{new} = (relu | tanh)(a{old})\n")
    space = open_space(f"arch A {{\n{body}\n}}\n", runs=2)
    assert below(700, space.count).number == 2**300


def test_points_of_many_decisions() -> None:
    space = open_space("arch A { in x: [8]; return x -> repeat 200 { relu | tanh } }\n")
    assert len(below(800, lambda: next(space.points()))) == 200


def test_a_way_through_that_turns_after_300_decisions() -> None:
    body = chain(300, "a{new} = (relu | tanh)(a{old})\n").replace("return a300", "return linear(8)(a300) + (linear(7) | linear(8))(a300)")
    space = below(700, lambda: open_space(f"arch A {{\n{body}\n}}\n"))
    assert len(space.grammar.root.outcomes) == 1
    assert space.grammar.runs == 2


# ---- acts -----------------------------------------------------------------------------------------------------------------------------


def test_acts_as_high_as_allowed() -> None:
    text = "act f0(x) = tanh(x)\n" + "".join(f"act f{k}(x) = f{k - 1}(x)\n" for k in range(1, 98))
    acts = {d.name: d for d in parse(Source("acts", text)).declarations if isinstance(d, ActDecl)}
    assert str(below(700, lambda: lower_act(acts["f97"], {}, acts.get)).forward) == "tanh(x)"


# ---- open calls in a list -------------------------------------------------------------------------------------------------------------


def test_calls_may_be_open_without_bound() -> None:
    def total(n: int) -> Calls[int]:
        return n + (yield total(n - 1)) if n else 0

    assert unwound(total(20_000)) == 20_000 * 20_001 // 2


def test_an_error_ends_all_open_calls() -> None:
    closed: list[int] = []

    def fails(n: int) -> Calls[Any]:
        try:
            return (yield fails(n - 1)) if n else 1 // 0
        finally:
            closed.append(n)

    with pytest.raises(ZeroDivisionError):
        unwound(fails(3))
    assert sorted(closed) == [0, 1, 2, 3]
