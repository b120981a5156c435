"""The recall tasks of MAD against slow readings of their rows."""

from __future__ import annotations

import pytest

from archdsl.diagnostics import ArchError
from archdsl.tasks import get_task
from archdsl.tasks.base import IGNORED


def rows(task, split="train", size=40):
    batch = task.batch(1, 0, size, split)
    return list(zip(batch["tokens"].tolist(), batch["targets"].tolist()))


@pytest.mark.parametrize(("name", "options"), [("in_context_recall", {}), ("noisy_recall", {}), ("noisy_recall", {"share": 0.9})])
def test_a_repeated_key_asks_for_its_value_and_nothing_else_is_asked(name, options):
    task, asked, noise = get_task(name, length=40, **options), 0, 0
    for tokens, targets in rows(task):
        seen: dict[int, int] = {}
        for place in range(0, len(tokens), 2):
            key, target = tokens[place], targets[place]
            if key >= 16:
                noise += 1
                assert target == IGNORED
                continue
            assert key < 8
            assert target == seen.get(key, IGNORED)
            if place + 1 < len(tokens):
                assert targets[place + 1] == IGNORED
                assert 8 <= tokens[place + 1] < 16
                assert seen.setdefault(key, tokens[place + 1]) == tokens[place + 1]
            asked += target != IGNORED
        assert targets[-1] != IGNORED
    assert asked >= 40
    assert (noise > 0) == (name == "noisy_recall")


def test_training_on_every_token_leaves_held_out_rows_alone():
    plain, every = (get_task("in_context_recall", length=20, every=flag) for flag in (False, True))
    for tokens, targets in rows(every):
        assert targets[:-1] == tokens[1:]
    assert rows(plain, "valid") == rows(every, "valid")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_fuzzy_recall(split):
    task = get_task("fuzzy_recall", length=60)
    sizes, repeats = set(), 0
    for tokens, targets in rows(task, split):
        words = [*tokens, targets[-1]]  # the last value token is not fed
        pairs = read_pairs([word for word in words if word], task.keys)
        answers = [target for target in targets if target != IGNORED]
        seen: dict[tuple, tuple] = {}
        expected = []
        for key, value in pairs:
            if key in seen:
                assert seen[key] == value
                expected += value
            seen[key] = value
            sizes.add(len(key))
            assert len(set(key)) == len(key)
        assert answers == expected
        assert len(pairs) > len(seen)
        assert all(word == target for word, target in zip(words[1:], targets) if target != IGNORED)
        repeats += len(pairs) - len(seen)
    assert sizes == ({1, 2, 3} if split == "train" else {3})
    assert repeats >= 40


def read_pairs(words, keys):
    """Runs of key tokens and of value tokens, in turn."""
    pairs, at = [], 0
    while at < len(words):
        key, value = [], []
        while at < len(words) and words[at] <= keys:
            key.append(words[at])
            at += 1
        while at < len(words) and words[at] > keys:
            value.append(words[at])
            at += 1
        pairs.append((tuple(key), tuple(value)))
    return pairs


def test_memorized_facts_are_the_same_in_every_row_and_split():
    task, facts = get_task("memorize", vocab=41), {}
    for split in ("train", "valid", "test"):
        for tokens, targets in rows(task, split, 100):
            assert tokens[1::2] == [40] * 16
            for key, value in zip(tokens[0::2], targets[1::2]):
                assert facts.setdefault(key, value) == value
    assert sorted(facts) == list(range(20))
    assert sorted(facts.values()) == list(range(20, 40))
    assert get_task("memorize", vocab=41, map_seed=1).batch(0, 0, 1, "train")["targets"].tolist() != rows(task, size=1)[0][1]


def test_compression_asks_for_the_row_itself():
    for tokens, targets in rows(get_task("compression", length=9)):
        assert targets == [*tokens[:-1], IGNORED]
        assert tokens[-1] == 15


@pytest.mark.parametrize(
    ("name", "options"),
    [("noisy_recall", {"noise": 30}), ("fuzzy_recall", {"vocab": 7, "key_size": 4}), ("fuzzy_recall", {"length": 12, "key_size": 4})],
)
def test_options_that_do_not_go_together(name, options):
    with pytest.raises(ArchError, match="AD0814"):
        get_task(name, **options)
