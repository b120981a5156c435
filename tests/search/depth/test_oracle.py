"""The per-sample oracle and its null on a model that knows nothing."""

from __future__ import annotations

import pytest

from archdsl.search.depth.oracle import Case, Oracle, oracle, search_sample, shares
from archdsl.search.depth.program import identity, layer_runs
from archdsl.search.depth.scoring import Exam
from tests.search.depth.test_scoring import some_questions
from tests.search.depth.toys import decoder_stack, planted

pytestmark = pytest.mark.row("cola")


def test_an_untrained_model_passes_nearly_everything_with_enough_simulations():
    """The trap: told the right answer, the search finds a program for most questions of a model with random weights."""
    stack = decoder_stack("float32")
    found = oracle(stack, some_questions(8, 2, 1), some_questions(8, 2, 2), seed=0, simulations=25)
    plain, all_of = shares(found.cases, 0).passed
    assert all_of == 8
    assert plain < 6
    for cases in (found.cases, found.null, found.again):
        assert shares(cases).passed[0] >= 6
        assert shares(cases, 1).passed[0] <= shares(cases, 10).passed[0] <= shares(cases).passed[0]
    assert found.flips[1] == 8
    assert found.alone[1] == sum(case.program is not None for case in found.cases)


def test_a_case_says_what_was_found():
    stack, questions = planted()
    for number, question in enumerate(questions):
        case = search_sample(stack, question, number, simulations=60)
        assert case.right == bool(Exam(stack, [question]).score(identity(6)).verdicts[0])
        if case.program is not None:
            assert Exam(stack, [question]).score(case.program).verdicts[0]
            assert not case.right or layer_runs(case.program) < 6
            assert 1 <= case.after <= 60


def test_shares_and_flips_by_hand():
    cases = [Case(True, 3, (0,), 5), Case(True, None, None, 5), Case(False, 7, (1,), 5), Case(False, None, None, 5)]
    found = shares(cases)
    assert (found.kept, found.mended, found.passed) == ((1, 2), (1, 2), (3, 4))
    assert shares(cases, 5).mended == (0, 2)
    again = [cases[1], cases[0], cases[2], cases[3]]
    assert Oracle(cases, cases, again, (0, 2), 10).flips == (2, 4)
