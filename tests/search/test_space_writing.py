"""Winners as specs: without decisions, of the same meaning, and found again as the point they were."""

from __future__ import annotations

import random
import re

import pytest

from archdsl import api
from archdsl.diagnostics import ArchError, Source
from archdsl.language import format_text
from archdsl.search.space import open_space
from archdsl.search.tree import closed
from tests.search.spaces import SPACES

DOC = re.compile(r'^""".*?"""', re.DOTALL)


def body(text: str) -> str:
    """The text without its doc string and blank lines."""
    return re.sub(r"\n\n+", "\n", DOC.sub("", text)).strip()


@pytest.mark.parametrize("name", sorted(SPACES))
def test_a_winner_means_what_its_point_does_and_is_found_again(name):
    space, rng = open_space(SPACES[name], nesting=4), random.Random(0)
    for _ in range(8):
        point = space.sample(rng)
        candidate = space.candidate(point)
        text = candidate.text()
        spec = api.parse(text)
        assert spec.decisions == []
        assert spec.structure_hash == candidate.key
        assert format_text(Source("winner", text)) == text
        assert space.parse(text) == point  # by the decisions that its doc string tells
        found = space.parse(DOC.sub("", text) + "\n")  # by its structure alone
        assert space.candidate(found).key == candidate.key


def test_nothing_of_one_candidate_is_left_for_another():
    """What a key names of one candidate would keep all of it alive."""
    space = open_space(SPACES["shared"])
    shared = space.grammar.session.regions
    text = DOC.sub("", space.candidate(space.sample(random.Random(0))).text()) + "\n"
    space.parse(text)
    assert shared
    assert all(closed(key[0]) for key in shared)


@pytest.mark.parametrize(
    ("name", "point", "written"),
    [
        (
            "index",
            {"layers.0/choice": 0, "layers.1/choice": 0, "layers.2/choice": 1, "layers.3/choice": 1},
            "arch A {\n    in x: [8]\n    return x\n        -> layers: (\n"
            "            repeat i in 1..3 { linear(8 * i) -> relu -> linear(8) }\n"
            "                -> repeat i in 3..5 { linear(8 * i) -> gelu -> linear(8) }\n        )\n}",
        ),
        (
            "captured",
            {"repeat.0/Op/choice": 0, "repeat.1/Op/choice": 0, "repeat.2/Op/choice": 1},
            "arch A {\n    in x: [8]\n    h = x -> linear(8)\n    return x\n        -> repeat 2 { in z; return z + h -> linear(8) }\n"
            "        -> { in z; return z + h -> linear(2 * 8) -> linear(8) }\n}",
        ),
        ("recipes", {"F": 0}, "block P(d) = linear(d)\narch A(F = P) { in x: [8]; return x -> F(8) -> repeat 2 { F(8) } }"),
        (
            "recipes",
            {"F": 1, "Q/choice": 0, "repeat.0/Q/choice": 0, "repeat.1/Q/choice": 0},
            "block Q(d) = linear(d) -> relu\narch A { in x: [8]; return x -> Q(8) -> repeat 2 { Q(8) } }",
        ),
        (
            "constants",
            {"choice": 0, "choice_2": 1},
            "w = 8\narch A { in x: [8]; return x -> linear(w) -> relu -> linear(w) -> gelu }",
        ),
        (
            "modes",
            {"n": 2, "loop/F/choice": 0, "in_training/choice": 1, "in_eval/choice": 0},
            "arch A(n = 4) { in x: [8]; return x -> loop n { linear(8) } -> train { dropout(0.2) } else { linear(8) } }",
        ),
    ],
)
def test_how_winners_read(name, point, written):
    assert body(open_space(SPACES[name]).candidate(point).text()) == written


def test_equal_rounds_stay_one_repeat():
    space = open_space("spaces/hybrids")
    text = space.candidate(space.complete({"d": 0})).text()
    rounds = "layers: repeat depth { residual(rmsnorm -> Attention(heads)) -> residual(rmsnorm -> SwiGLU(wide * d)) }"
    assert rounds in " ".join(text.split())
    assert "block" not in text
    assert "scans" not in text  # only files that are still needed are imported
    assert "A point of hybrids.arch:\nd=0 heads=1 wide=0 layers.0/residual/f/Norm/choice=0" in text


def test_contracts_and_arguments_go_with_the_winner():
    space = open_space("hybrid", overrides={"depth": 2, "vocab": 64})
    candidate = space.candidate(space.complete({"d": 0, "layers.0/residual/f/Mixer/choice": 2, "layers.1/residual/f/Mixer/choice": 2}))
    spec = api.parse(candidate.text())
    assert len(spec.contracts) == 3
    assert spec.arguments == {"vocab": 64, "d": 64, "depth": 2}  # nothing speaks of heads any more
    assert spec.parameters == candidate.costs["parameters"]


def test_a_written_winner_is_found_in_a_file(tmp_path):
    space = open_space("spaces/hybrids")
    point = space.sample(random.Random(1))
    path = tmp_path / "winner.arch"
    path.write_text(space.candidate(point).text())
    assert space.parse(path) == point


def test_a_model_written_by_hand_is_found_by_its_structure():
    text = """
import "std/gates.arch"
import "std/mixers.arch"
import "std/transformer.arch"

block Short { in x: [T, d]; y = x -> causal_conv(4); return y * silu(y) }

arch Mine {
    in tokens: int[T] lengths
    table = embedding(512, 64)
    x = table(tokens)
    a = x + (x -> rmsnorm -> Short)
    b = a + (a -> rmsnorm -> SwiGLU(128))
    c = b + (b -> rmsnorm -> Attention(8))
    return residual(rmsnorm -> SwiGLU(128))(c) -> rmsnorm -> unembed(table)
}
"""
    point = open_space("hybrid").parse(text)
    assert point == {"d": 0, "depth": 0, "heads": 2, "layers.0/residual/f/Mixer/choice": 2, "layers.1/residual/f/Mixer/choice": 1}


def test_experts_that_differ_cannot_be_written_and_equal_ones_can():
    space = open_space("""
block E = linear(8) | (linear(16) -> linear(8))
arch A { in x: [T, 8]; return x -> route(topk(1), experts=2) { E } }
""")
    alike = space.candidate({"experts.0/E/choice": 1, "experts.1/E/choice": 1})
    assert "route(topk(1), experts=2) { linear(16) -> linear(8) }" in alike.text()
    with pytest.raises(ArchError) as caught:
        space.candidate({"experts.0/E/choice": 0, "experts.1/E/choice": 1}).text()
    assert [d.code for d in caught.value.diagnostics] == ["AD1006"]
