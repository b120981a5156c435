"""Structural recursion: every number below 2^12 and every tree of up to 6 nodes against direct recursion; depths; in-context rows."""

from __future__ import annotations

from collections import Counter
from functools import cache

import pytest

from archdsl.tasks import get_task
from archdsl.tasks.base import IGNORED
from archdsl.tasks.terms import (
    draw_tree,
    height,
    number,
    trees_of,
    trees_within,
    unfold_successor,
    unfold_traversal,
    unfolded,
    written,
)

pytestmark = pytest.mark.row("structural-recursion")


def digits(value: int) -> tuple[str, ...]:
    """Constructors by recursion on the value."""
    return ("1",) if value == 1 else (f"X{value % 2}", *digits(value // 2))


@cache
def shapes(nodes: int) -> list:
    """Every tree of so many nodes."""
    if nodes == 0:
        return [None]
    return [(left, 0, right) for i in range(nodes) for left in shapes(i) for right in shapes(nodes - 1 - i)]


def labelled(tree, labels):
    if tree is None:
        return None
    left = labelled(tree[0], labels)
    return left, next(labels), labelled(tree[2], labels)


def walk(tree, order):
    if tree is None:
        return ()
    left, label, right = walk(tree[0], order), (f"a{tree[1]}",), walk(tree[2], order)
    return label + left + right if order == "pre" else left + label + right


def test_the_successor_of_every_number_below_4096():
    for value in range(1, 4096):
        assert number(value) == digits(value)
        term, steps = ("S", *number(value)), 0
        while (after := unfold_successor(term)) is not None:
            term, steps = after, steps + 1
        assert term == digits(value + 1)
        carry = next(i for i, word in enumerate(digits(value)) if word != "X1")
        assert steps == carry + 1
        assert unfolded(("S", *number(value)), unfold_successor, carry + 1) == term


@pytest.mark.parametrize("order", ["pre", "in"])
def test_the_traversal_of_every_tree_of_up_to_six_nodes(order):
    unfold = unfold_traversal(order)
    for count in range(7):
        assert len(shapes(count)) == trees_within(count, count) == sum(trees_of(count, h) for h in range(count + 1))
        for shape in shapes(count):
            tree = labelled(shape, iter(range(count)))
            term, steps = ("F", *written(tree)), 0
            while (after := unfold(term)) is not None:
                term, steps = after, steps + 1
            assert term == walk(tree, order)
            assert steps == 2 * count + 1  # each node and each leaf once


def test_trees_are_drawn_alike():
    import random

    rng = random.Random(0)
    found = Counter(draw_tree(4, 4, False, rng.randrange) for _ in range(7000))
    assert len(found) == 14
    assert all(350 < n < 650 for n in found.values())
    exact = Counter(draw_tree(5, 3, True, rng.randrange) for _ in range(3000))
    assert all(height(tree) == 3 for tree in exact)
    assert len(exact) == trees_of(5, 3) == 6
    assert all(n > 350 for n in exact.values())


def read(task, row, targets):
    """The questions and answers of a row, and what is asked."""
    said = [task.word(token) for token in row]
    text = " ".join(said).split(" ; ")
    pairs = [tuple(tuple(side.split()) for side in part.split("=")) for part in text]
    return pairs, [task.word(token) for token in targets if token != IGNORED]


@pytest.mark.parametrize("order", ["lsb", "msb"])
@pytest.mark.parametrize("examples", [0, 2])
def test_successor_rows(order, examples):
    task = get_task("binary_successor", bits=9, order=order, examples=examples, oversample=0.5)
    turn = -1 if order == "msb" else 1
    for split in ("train", "valid", "test"):
        batch = task.batch(0, 0, 60, split)
        for row, targets, depth in zip(batch["tokens"].tolist(), batch["targets"].tolist(), batch["depth"].tolist()):
            pairs, asked = read(task, row, targets)
            for question, answer in pairs[:examples]:
                value = sum(2**i * (word in ("X1", "1")) for i, word in enumerate(question[::turn]))
                assert answer[::turn] == digits(value + 1)
            question = pairs[examples][0]
            value = sum(2**i * (word in ("X1", "1")) for i, word in enumerate(question[::turn]))
            assert tuple(asked) == (*digits(value + 1)[::turn], ";")
            assert depth == next(i for i, word in enumerate(digits(value)) if word != "X1")


def test_depths_are_alike_in_test_and_rare_in_training():
    task, spread = get_task("binary_successor", bits=10), {}
    for split in ("train", "test"):
        spread[split] = Counter(task.batch(0, 0, 2000, split)["depth"].tolist())
    assert spread["train"][0] > 900
    assert spread["train"][8] < 15
    assert spread["test"][7] > 60
    more = Counter(get_task("binary_successor", bits=10, oversample=1.0).batch(0, 0, 2000, "train")["depth"].tolist())
    assert more[7] > 60


@pytest.mark.parametrize(
    ("name", "options", "unfold"),
    [
        ("binary_successor", {"bits": 8}, unfold_successor),
        ("tree_traversal", {"order": "in"}, unfold_traversal("in")),
        ("tree_traversal", {"order": "pre", "nodes": 9}, unfold_traversal("pre")),
    ],
)
@pytest.mark.parametrize("k", [1, 3])
def test_partial_reductions_repeated_give_the_whole(name, options, unfold, k):
    task = get_task(name, k=k, **options)
    batch = task.batch(0, 0, 60, "test")
    for row, targets in zip(batch["tokens"].tolist(), batch["targets"].tolist()):
        pairs, asked = read(task, row, targets)
        term, answer = pairs[0][0], tuple(asked[:-1])
        assert answer == unfolded(term, unfold, k)
        whole = term
        while (after := unfold(whole)) is not None:
            whole = after
        while (after := unfolded(answer, unfold, k)) != answer:
            answer = after
        assert answer == whole


@pytest.mark.parametrize("order", ["pre", "in"])
def test_traversal_rows(order):
    task = get_task("tree_traversal", order=order, nodes=6, labels=5)
    batch = task.batch(3, 0, 80, "test")
    for row, targets, depth in zip(batch["tokens"].tolist(), batch["targets"].tolist(), batch["depth"].tolist()):
        pairs, asked = read(task, row, targets)
        tree, rest = parse(pairs[0][0])
        assert not rest
        assert tuple(asked) == (*walk(tree, order), ";")
        assert height(tree) == depth


def parse(words):
    if words[0] == ".":
        return None, words[1:]
    left, rest = parse(words[2:])
    right, rest = parse(rest)
    assert rest[0] == ")"
    return (left, int(words[1][1:]), right), rest[1:]
