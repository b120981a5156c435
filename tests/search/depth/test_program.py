"""Programs: canonical form, text, edits, shared prefixes."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import pairwise

import pytest

from archdsl.search.depth.program import (
    COLA,
    DAMPED,
    DRLLM,
    Damped,
    Edit,
    blocks,
    canonical,
    distinct_runs,
    identity,
    layer_runs,
    prefix_runs,
    short,
    sort_key,
    stages,
)

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("program", "text", "stage"),
    [
        (identity(30), "0..30", "base.layers[0..30]"),
        ((), "nothing", ""),
        ((5,), "5", "base.layers[5]"),
        ((3, 1, 3), "3 1 3", "base.layers[3] -> base.layers[1] -> base.layers[3]"),
        ((0, 1, 2, 1, 2, 3), "0 (1..3)x2 3", "base.layers[0] -> loop 2 { base.layers[1..3] } -> base.layers[3]"),
        ((4, 4, 4, 5), "(4)x3 5", "loop 3 { base.layers[4] } -> base.layers[5]"),
        ((0, Damped(HALF, (1, 2)), Damped(HALF, (1, 2))), "0 (1..3)x2~1/2", "base.layers[0] -> loop 2 step 1/2 { base.layers[1..3] }"),
        ((Damped(HALF, (1,)), 2) * 2, "((1)x1~1/2 2)x2", "loop 2 { loop 1 step 1/2 { base.layers[1] } -> base.layers[2] }"),
    ],
)
def test_text(program, text, stage):
    assert short(program) == text
    assert " -> ".join(stages(program)) == stage


def test_what_computes_the_same_is_one_program():
    assert canonical([0, Damped(Fraction(1), (1, Damped(Fraction(1), (2,)))), 3]) == (0, 1, 2, 3)
    assert canonical([0, Damped(HALF, ()), Damped(Fraction(0), (1, 2)), Damped(HALF, (Damped(HALF, ()),))]) == (0,)
    assert canonical([Damped(HALF, (Damped(Fraction(1), (1,)), 2))]) == (Damped(HALF, (1, 2)),)


def test_edits():
    start = identity(6)
    assert Edit("skip", 1, 2).apply(start) == (0, 3, 4, 5)
    assert Edit("repeat", 1, 2, 2).apply(start) == (0, 1, 2, 1, 2, 1, 2, 3, 4, 5)
    assert Edit("damp", 1, 2, 2).apply(start) == (0, Damped(HALF, (1, 2)), Damped(HALF, (1, 2)), 3, 4, 5)
    assert layer_runs(Edit("damp", 1, 2, 3).apply(start)) == 4 + 3 * 2


@pytest.mark.parametrize("rules", [COLA, DRLLM, DAMPED], ids=lambda r: r.name)
def test_edits_stay_within_their_rules(rules):
    rng, program = random.Random(0), identity(8)
    for _ in range(200):
        edits = rules.edits(program, 8)
        if not edits:
            program = identity(8)
            continue
        program = rng.choice(edits).apply(program)
        assert layer_runs(program) <= rules.cap * 8
        assert program == canonical(program)


def test_the_numbers_of_edits_are_those_of_the_papers():
    assert len(COLA.edits(identity(36), 36)) == (36 + 35 + 34 + 33) * (1 + 4)  # about 690 actions at depth 36
    assert len(DRLLM.edits(identity(36), 36)) == 36 + 35 + 36
    assert len([b for b in blocks(30) if b[0] == "repeat"]) == 465


def test_prefixes_inside_a_damped_part_are_shared_with_the_plain_program():
    damped = (0, Damped(HALF, (1, 2)), 3)
    assert list(prefix_runs(damped)) == [(0,), (0, 1), (0, 1, 2), damped]
    assert distinct_runs([damped, (0, 1, 2, 3)]) == 5
    assert distinct_runs([(0, 1, 2), (0, 1, 3), (0, 1, 2)]) == 4


def test_different_programs_have_different_texts():
    rng, seen = random.Random(1), {}
    for _ in range(3000):
        program = identity(5)
        for _ in range(rng.randrange(4)):
            edits = rng.choice((COLA, DAMPED)).edits(program, 5)
            program = rng.choice(edits).apply(program) if edits else program
        assert seen.setdefault(short(program), program) == program
    assert len(seen) > 500
    ordered = sorted(seen.values(), key=sort_key)
    shared = sum(a[:2] == b[:2] for a, b in pairwise(ordered))
    assert shared > len(ordered) - 200  # neighbours begin alike
