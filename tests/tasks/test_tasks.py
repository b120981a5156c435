"""Tasks: batches are what they claim to be, depend on (seed, step, split) only, and options are checked."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from archdsl.diagnostics import ArchError
from archdsl.tasks import TASKS, get_task
from archdsl.tasks.base import IGNORED, SPLITS, token_loss
from tests.timing import least_seconds

SMALL = {
    "mqar": {"vocab": 64},
    "copy": {"symbols": 5},
    "selective_copy": {"symbols": 5},
    "chars": {"text": "python", "length": 32},
    "icll_dfa": {"length": 100},
    "memorize": {"vocab": 40},
}
HERE = sorted(TASKS.keys() - {"fashion_mnist", "digits"} | ({"digits"} if find_spec("sklearn") else set()))


@pytest.mark.parametrize("name", HERE)
def test_batches_depend_on_seed_step_and_split_only(name):
    task, again = get_task(name, **SMALL.get(name, {})), get_task(name, **SMALL.get(name, {}))
    first = task.batch(1, 2, 8, "train")
    task.batch(9, 9, 3, "valid")
    assert all(torch.equal(first[key], again.batch(1, 2, 8, "train")[key]) for key in first)
    others = [(2, 2, "train"), (1, 3, "train"), (1, 2, "valid"), (1, 2, "test")]
    kind = task.form.input
    assert not any(torch.equal(first[kind], task.batch(seed, step, 8, split)[kind]) for seed, step, split in others)


@pytest.mark.parametrize("name", HERE)
def test_batches_have_the_form_the_task_says_and_a_perfect_model_scores_best(name):
    task = get_task(name, **SMALL.get(name, {}))
    form = task.form
    for split in SPLITS:
        batch = task.batch(0, 0, 6, split)
        rows, targets = batch[form.input], batch["targets"]
        assert rows.shape == (6, *form.shape)
        if form.input == "tokens":
            assert rows.dtype == torch.int64
            assert 0 <= int(rows.min()) <= int(rows.max()) < task.vocab
        if form.output == "values":
            assert targets.shape == (6, *form.answer)
            perfect = targets.clone()
        else:
            assert targets.shape == ((6,) if form.output == "class" else rows.shape)
            assert ((targets == IGNORED) | ((targets >= 0) & (targets < form.width))).all()
            assert (targets != IGNORED).any()
            perfect = 50.0 * torch.nn.functional.one_hot(targets.clamp(min=0), form.width).float()
        found = task.metrics(perfect, batch)
        assert found.keys() == task.measures.keys()
        assert found["loss"] < 1e-6
        assert float(task.loss(perfect, batch)) < 1e-6
        assert all(found[key] == 1.0 for key in ("accuracy", "rows_right", "skill", "validity") if key in found)
        assert task.show(batch, 5)


@pytest.mark.parametrize("name", sorted({"parity", "mod_arith", "logic", "reachability", "digits"} & set(HERE)))
def test_guessing_gives_about_what_the_task_says(name):
    task = get_task(name)
    batch = task.batch(0, 0, 400, "train")
    guesses = torch.from_numpy(np.random.default_rng(0).random((400, task.form.width))).float()
    chance = task.measures["accuracy"].chance
    assert abs(task.metrics(guesses, batch)["accuracy"] - chance) < 0.1
    shares = torch.bincount(batch["targets"], minlength=task.form.width) / 400
    assert float(shares.max()) < chance + 0.12  # no answer is right much more often


@pytest.mark.parametrize("name", HERE)
def test_batches_are_made_quickly(name):
    task = get_task(name, **SMALL.get(name, {}))
    assert least_seconds(lambda: task.batch(0, 1, 32, "train"), tries=5) < 0.3


@pytest.mark.row("zoology-mqar")
@pytest.mark.parametrize("noise", [False, True])
def test_mqar_asks_each_key_once_for_its_stored_value(noise):
    task = get_task("mqar", vocab=40, length=33, pairs=6, noise=noise)
    batch = task.batch(3, 0, 50, "train")
    for row, asked in zip(batch["tokens"].tolist(), batch["targets"].tolist()):
        stored = dict(zip(row[0:12:2], row[1:12:2]))
        assert len(stored) == 6
        assert all(1 <= key < 20 for key in stored)
        assert all(20 <= value < 40 for value in stored.values())
        assert len(set(stored.values())) == 6
        places = [i for i, target in enumerate(asked) if target != IGNORED]
        assert {row[i] for i in places} == set(stored)
        assert len(places) == 6
        assert all(i >= 12 and i % 2 == 0 for i in places)
        assert all(asked[i] == stored[row[i]] for i in places)


@pytest.mark.row("zoology-mqar")
@pytest.mark.parametrize("power", [0.01, 1.0])
def test_mqar_distances_follow_the_power_law(power):
    task = get_task("mqar", vocab=16, length=34, pairs=1, power=power)  # one pair: the first draw shows the law itself
    slots = 16
    batch = task.batch(0, 0, 20_000, "train")
    where = (batch["targets"] != IGNORED).int().argmax(1)
    shares = np.bincount((where.numpy() - 2) // 2, minlength=slots) / 20_000
    law = np.arange(1, slots + 1) ** (power - 1.0)
    assert np.abs(shares - law / law.sum()).max() < 0.015


def test_copy_and_selective_copy_ask_for_the_symbols_in_order():
    batch = get_task("copy", symbols=5).batch(0, 0, 20, "train")
    for row, asked in zip(batch["tokens"].tolist(), batch["targets"].tolist()):
        assert asked == [IGNORED] * 5 + row[:5]
        assert row[5:] == [1, *row[:4]]
    batch = get_task("selective_copy", symbols=5, length=20).batch(0, 0, 20, "train")
    for row, asked in zip(batch["tokens"].tolist(), batch["targets"].tolist()):
        assert [token for token in row[:20] if token] == asked[20:]
        assert row[20:] == [1] * 5


def test_chars_reads_a_file_and_splits_do_not_overlap(tmp_path):
    path = tmp_path / "numbers.txt"
    path.write_text(" ".join(f"{n:04d}é" for n in range(1000)), encoding="utf-8")
    task = get_task("chars", text=str(path), length=24)
    batch = task.batch(0, 0, 4, "train")
    assert torch.equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])
    text = task.tokenizer.decode(batch["tokens"][0].tolist())
    assert text in path.read_text(encoding="utf-8")

    def numbers(split: str) -> set[str]:
        rows = task.batch(0, 0, 200, split)["tokens"]
        return {word for row in rows for word in task.tokenizer.decode(row.tolist()).split()[1:-1]}

    assert not numbers("train") & numbers("valid")
    assert not numbers("valid") & numbers("test")
    assert max(numbers("train")) < min(numbers("valid")) < min(numbers("test"))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("mqra", {}, "`mqar`"),
        ("mqar", {"vocb": 3}, "`vocab`"),
        ("mqar", {"pairs": 0}, "at least 1"),
        ("mqar", {"length": "x"}, "whole number"),
        ("mqar", {"power": float("nan")}, "at least"),
        ("mqar", {"noise": "maybe"}, "true or false"),
        ("mqar", {"pairs": 40}, "do not fit"),
        ("mqar", {"pairs": 8, "vocab": 8}, "different keys"),
        ("selective_copy", {"symbols": 9, "length": 8}, "do not fit"),
        ("copy", {"symbols": True}, "whole number"),
    ],
)
def test_wrong_names_and_options(name, options, words):
    with pytest.raises(ArchError, match="AD0814") as caught:
        get_task(name, **options)
    assert words in str(caught.value)


def test_options_given_as_text_are_read():
    assert get_task("mqar", vocab="64", power="0.5", noise="true").power == 0.5


def test_the_loss_is_that_of_the_asked_positions():
    logits, targets = torch.randn(2, 3, 5), torch.tensor([[1, IGNORED, 2], [IGNORED, IGNORED, 4]])
    expected = -sum(logits[b, t].log_softmax(-1)[targets[b, t]] for b, t in [(0, 0), (0, 2), (1, 2)]) / 3
    assert torch.allclose(token_loss(logits, targets), expected)
    assert float(token_loss(logits, torch.full((2, 3), IGNORED))) == 0.0
