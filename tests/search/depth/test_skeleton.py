"""Specs as depth spaces: read, written back, refused."""

from __future__ import annotations

import random

import pytest

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.language.format import format_text
from archdsl.search.depth.program import COLA, DAMPED, identity, short
from archdsl.search.depth.skeleton import find_skeleton, load_skeleton, skeleton
from tests.search.depth.toys import DECODER, decoder


def read(middle: str, **options) -> str:
    return short(skeleton(archdsl.parse(DECODER % middle, **options)).start)


@pytest.mark.parametrize(
    ("middle", "text"),
    [
        ("base.layers", "0..6"),
        ("base.layers[0..2] -> base.layers[-1]", "0..2 5"),
        ("base.layers[2..2]", "nothing"),
        ("base.layers[1..3] -> loop 2 { base.layers[0..2] -> loop 2 step 1/3 { base.layers[2..5] } }", "1..3 (0..2 (2..5)x2~1/3)x2"),
        ("{ in x; return x -> base.layers[3] }", "3"),
        ("repeat i in 0..3 { base.layers[2 * i] }", "0 2 4"),
        ("loop 2 step 1 { base.layers[1..3] }", "(1..3)x2"),
    ],
)
def test_a_program_is_read_whatever_it_is_written_with(middle, text):
    assert read(middle) == text


def test_choices_over_layers_are_programs_too():
    middle = "repeat i in 0..6 { base.layers[i] | loop 2 { base.layers[i] } | { in x; return x } }"
    assert read(middle) == "0..6"
    assert read(middle, decisions={"repeat.0/choice": 1, "repeat.3/choice": 2}) == "(0)x2 1..3 4..6"


@pytest.mark.parametrize(
    "middle", ["base.layers -> relu", "relu -> base.layers", "{ in x; return x + base.layers[2](x) }", "loop 2 { base.layers[1] -> relu }"]
)
def test_anything_between_the_layers_is_refused(middle):
    with pytest.raises(ArchError, match="AD1080"):
        read(middle)


def test_an_ordinary_spec_is_no_depth_space():
    assert find_skeleton(archdsl.load("smollm2")) is None
    with pytest.raises(ArchError, match="AD1080"):
        skeleton(archdsl.load("smollm2"))


@pytest.mark.row("cola")
def test_every_program_is_a_spec_that_reads_back():
    rng, space = random.Random(0), decoder()
    for _ in range(60):
        program = identity(6)
        for _ in range(rng.randrange(5)):
            program = rng.choice(rng.choice((COLA, DAMPED)).edits(program, 6) or [None]).apply(program)
        text = space.text(program)
        assert "# as small as can be" in text
        assert format_text(archdsl.parse(text).namespace.source) == text
        assert skeleton(space.parse(text)).start == program


def test_the_shipped_space_is_the_model():
    space = load_skeleton("smollm2_depth")
    assert (space.start, space.depth, space.base, space.label, str(space.pretrained)) == (identity(30), 30, "base", "layers", "smollm2-135m")
    text = space.text((0, 1, 1, 2), "Found.")
    assert text.startswith('"""Found."""\nimport')
    assert skeleton(archdsl.parse(text)).start == (0, 1, 1, 2)
