"""Scores against a plain forward pass over whole texts; intervals against known values."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

import archdsl
from archdsl.search.depth.probes import block_influence, least_influential
from archdsl.search.depth.program import identity
from archdsl.search.depth.scoring import Exam, Question, Scores, common, sign_test, wilson
from archdsl.search.depth.skeleton import skeleton
from archdsl.search.depth.stack import Stack
from tests.search.depth.toys import decoder_stack

pytestmark = pytest.mark.row("cola")


def some_questions(count: int, longest: int, seed: int = 0) -> list[Question]:
    rng = random.Random(seed)

    def text(low: int, high: int) -> tuple[int, ...]:
        return tuple(rng.randrange(50) for _ in range(rng.randint(low, high)))

    return [Question(text(1, 6), tuple(text(1, longest) for _ in range(3)), rng.randrange(3)) for _ in range(count)]


@pytest.mark.parametrize("longest", [1, 4])
@pytest.mark.parametrize("batch", [2, 7])
@pytest.mark.parametrize("alike", [(), (7, 7, 9)], ids=["different prompts", "prompts that begin alike"])
def test_scores_are_the_mean_log_probabilities_of_the_choices(longest, batch, alike):
    stack, questions = decoder_stack(), [replace(q, prompt=alike + q.prompt) for q in some_questions(7, longest)]
    for program in (identity(6), (0, 1, 2, 1, 2, 5), ()):
        scores = Exam(stack, questions, batch).score(program)
        for row, question in zip(scores.values, questions):
            for value, choice in zip(row, question.choices):
                logits = stack.run(program, torch.tensor([question.prompt + choice]))[0]
                found = logits.float().log_softmax(-1)
                begin = len(question.prompt)
                expected = sum(found[begin - 1 + i, token] for i, token in enumerate(choice)) / len(choice)
                assert abs(float(value - expected)) < 1e-6


LOOKS_AHEAD = """
block Mean(d) { in x: [T, d] lengths; return x + linear(d)(mean(x, axis=0, keep=true)) }
arch Both(d = 8, depth = 3) {
    in tokens: int[T] lengths
    return tokens -> embedding(50, d) -> layers: repeat depth { Mean(d) } -> linear(50)
}
arch Program {
    in tokens: int[T] lengths
    base = Both()
    return tokens -> base.before(layers) -> base.layers -> base.after(layers)
}
"""


def test_a_stack_that_looks_ahead_is_scored_by_whole_texts():
    stack, questions = Stack.build(skeleton(archdsl.parse(LOOKS_AHEAD)), dtype="float64"), some_questions(5, 3)
    assert not stack.decodes
    for program in (identity(3), (0, 0, 2)):
        scores = Exam(stack, questions, batch=2).score(program)
        for row, question in zip(scores.values, questions):
            for value, choice in zip(row, question.choices):
                found = stack.run(program, torch.tensor([question.prompt + choice]))[0].float().log_softmax(-1)
                begin = len(question.prompt)
                expected = sum(found[begin - 1 + i, token] for i, token in enumerate(choice)) / len(choice)
                assert abs(float(value - expected)) < 1e-6


def test_what_all_begin_with():
    assert common([(1, 2, 3), (1, 2, 4), (1, 2, 3, 5)]) == 2
    assert common([(1, 2), (1, 2, 3)]) == 1  # each keeps a token of its own
    assert common([(1, 2, 3)]) == common([(1,), (1, 2)]) == common([(2, 1), (1, 1)]) == 0


def test_margins_verdicts_and_ties():
    values = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 2.0, 0.0]])
    scores = Scores(values, torch.tensor([0, 0, 1]))
    e = math.e
    assert torch.allclose(scores.margins, torch.tensor([(e - 1) / (e + 2), (1 - e) / (e + 2), 0.0], dtype=torch.float64))
    assert scores.verdicts.tolist() == [True, False, False]
    assert (scores.correct, scores.accuracy) == (1, pytest.approx(1 / 3))


def test_a_broken_program_has_the_worst_margin():
    scores = Scores(torch.tensor([[math.nan, 0.0]]), torch.tensor([0]))
    assert scores.margin == -math.inf
    assert scores.correct == 0


def test_equal_programs_give_equal_bits_whatever_was_scored_before():
    stack, questions = decoder_stack("float32"), some_questions(9, 3)
    fresh, used = Exam(stack, questions, 4, memory=0), Exam(stack, questions, 4)
    for program in ((0, 1, 2), (0, 1, 2, 2, 3), (0, 1, 2, 3, 4, 5), (0, 1, 2, 2, 3)):
        assert torch.equal(fresh.score(program).values, used.score(program).values)
    assert used.runs < 0.6 * fresh.runs


def test_intervals():
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=1e-4))
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 5) == pytest.approx(2 / 32)
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)


def test_block_influence():
    stack, questions = decoder_stack(), some_questions(5, 2)
    influence = block_influence(stack, questions, batch=2)
    expected = torch.zeros(6, dtype=torch.float64)
    for question in questions:
        x = stack.before.base.table(torch.tensor([question.prompt]))
        for i, layer in enumerate(stack.before.base.layers):
            y = layer(x)
            expected[i] += (1 - torch.cosine_similarity(x, y, -1)).sum().item()
            x = y
    assert torch.allclose(influence, expected / sum(len(q.prompt) for q in questions))
    low = int(influence.argmin())
    assert least_influential(influence) == tuple(i for i in range(6) if i != low)
    assert len(least_influential(influence, 3)) == 3
