"""Questions from reasoning-gym: splits, wrong choices, guessing."""

from __future__ import annotations

import pytest

pytest.importorskip("reasoning_gym")

from archdsl.runtime.tokenizer import CharTokenizer
from archdsl.search.depth.questions import TASKS, Task, ask, blind, generate, splits
from archdsl.search.depth.scoring import Question

SUMS = TASKS[0]
LETTERS = CharTokenizer([chr(i) for i in range(10, 0x250)])


def test_splits_share_no_question_and_repeat():
    first = splits(SUMS, [20, 30, 10], seed=3)
    assert [len(part) for part in first] == [20, 30, 10]
    asked = [item.question for part in first for item in part]
    assert len(set(asked)) == 60
    assert [item.question for part in splits(SUMS, [20, 30, 10], seed=3) for item in part] == asked
    assert [item.question for item in splits(SUMS, [20], seed=4)[0]] != asked[:20]


def test_a_task_with_few_items_gives_what_it_has():
    tiny = Task("products", {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    first, second = splits(tiny, [60, 200], seed=0)
    assert len(first) == 60
    assert 0 < len(second) < 60


@pytest.mark.parametrize("task", TASKS, ids=lambda t: t.name)
def test_wrong_choices_are_answers_of_others_of_like_length_that_are_wrong(task):
    items = generate(task, 40, seed=1)
    answers = {item.answer for item in items}
    by_prompt = {LETTERS.decode(q.prompt): q for q in ask(task, items, LETTERS, 0)}
    gaps = 0
    for item in items:
        question = by_prompt.get(f"Question: {item.question}\nAnswer:")
        if question is None:
            continue  # too long
        choices = [LETTERS.decode(c).strip() for c in question.choices]
        assert choices[question.right] == item.answer
        assert len(set(choices)) == len(choices) >= 2
        assert set(choices) <= answers
        assert sum(item.accepts(choice) for choice in choices) == 1
        gaps += max(abs(len(c) - len(item.answer)) for c in choices)
    assert gaps <= 4 * max(1, len(by_prompt))


def test_unanswerable_questions_hold_no_right_choice():
    items = generate(SUMS, 60, seed=1)
    places = [0] * 4
    for item, question in zip(items, ask(SUMS, items, LETTERS, 0, answerable=False)):
        assert item.answer not in [LETTERS.decode(c).strip() for c in question.choices]
        places[question.right] += 1
    assert min(places) >= 5  # the choice called right stands anywhere


def test_guessing_by_how_often_an_answer_is_right():
    one, two = (1,), (2,)
    uneven = [Question((0,), (one, two), 0)] * 8 + [Question((0,), (one, two), 1)] * 2
    assert blind(uneven) == 0.8
    assert blind([Question((0,), ((i,), (i + 100,)), 0) for i in range(6)]) == 0.5  # each answer once: nothing to go by
