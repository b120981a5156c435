"""In-context language learning: strings are of their automaton, the oracle is exact, and the n-gram baseline reads the context."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from archdsl.tasks import get_task
from archdsl.tasks.automata import ngram

pytestmark = pytest.mark.row("icll_ngram")
SEPARATOR, PADDING = 18, 19


@pytest.fixture(scope="module")
def drawn():
    task = get_task("icll_dfa", length=300)
    return task, task.batch(0, 0, 40, "train"), task.automata(0, 0, 40, "train")


def test_automata_are_as_the_paper_says(drawn):
    _, _, automata = drawn
    symbols, edges = set(), set()
    for goes in automata.goes:
        used = [[symbol for symbol in range(18) if goes[state, symbol] >= 0] for state in range(12)]
        for state, own in enumerate(used):
            targets = [int(goes[state, symbol]) for symbol in own]
            edges.add(len(own))
            assert state not in targets
            assert len(set(targets)) == len(targets)
        symbols.add(len({symbol for own in used for symbol in own}))
    assert edges == {1, 2, 3}
    assert max(symbols) > 10
    assert min(symbols) < 8


def test_every_string_is_of_its_automaton_and_the_oracle_says_what_may_follow(drawn):
    _, batch, automata = drawn
    for row, tokens in enumerate(batch["tokens"].tolist()):
        assert tokens[0] == SEPARATOR
        goes, state, string = automata.goes[row], 0, []
        for place, token in enumerate(tokens):
            if token == PADDING:
                assert not batch["oracle"][row, place].any()
                continue
            if token == SEPARATOR:
                assert automata.accepts(row, string)
                assert len(string) <= 50
                state, string = 0, []
            else:
                string.append(token)
                state = int(goes[state, token])
                assert state >= 0
            legal = [symbol for symbol in range(18) if goes[state, symbol] >= 0]
            expected = torch.zeros(20)
            expected[legal] = 1 / len(legal)
            assert torch.allclose(batch["oracle"][row, place], expected)
        strings = [string for string in " ".join(map(str, tokens)).split(str(SEPARATOR)) if string.strip()]
        assert len(strings) <= 20
    assert not automata.accepts(0, [next(s for s in range(18) if automata.goes[0, 0, s] < 0)])


def test_the_oracle_scores_perfectly_and_guessing_as_said(drawn):
    task, batch, _ = drawn
    found = task.metrics(batch["oracle"].clamp(min=1e-30).log(), batch)
    assert found["validity"] == 1.0
    assert found["tvd"] < 1e-5
    uniform = task.metrics(torch.rand(*batch["oracle"].shape, generator=torch.Generator().manual_seed(0)) * 1e-3, batch)
    assert abs(uniform["validity"] - task.measures["validity"].chance) < 0.02
    assert abs(uniform["tvd"] - task.measures["tvd"].chance) < 0.02


def slow_ngram(tokens: list[int], order: int, vocab: int) -> list[list[float]]:
    rows = []
    for t in range(len(tokens)):
        counts = Counter(tokens[: t + 1])
        for n in range(1, min(order - 1, t + 1) + 1):
            context = tokens[t + 1 - n : t + 1]
            found = Counter(tokens[j + 1] for j in range(n - 1, t) if tokens[j + 1 - n : j + 1] == context)
            counts = found or counts
        total = sum(counts.values())
        rows.append([counts[v] / total for v in range(vocab)])
    return rows


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_the_ngram_baseline_equals_counting_by_hand(order):
    tokens = torch.randint(0, 3, (4, 40), generator=torch.Generator().manual_seed(1))
    expected = torch.tensor([slow_ngram(row, order, 4) for row in tokens.tolist()])
    assert torch.allclose(ngram(tokens, order, 4).exp(), expected, atol=1e-6)


def test_more_context_foretells_better_and_all_beat_guessing(drawn):
    task, batch, _ = drawn
    found = [task.metrics(ngram(batch["tokens"], order, task.vocab), batch) for order in (1, 2, 3)]
    validity = [each["validity"] for each in found]
    assert validity[0] > 2 * task.measures["validity"].chance
    assert validity[1] > validity[0] + 0.2
    assert validity[2] > validity[1]
    assert found[2]["tvd"] < found[1]["tvd"] < found[0]["tvd"]
