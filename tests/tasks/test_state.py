"""Parity, arithmetic, logic and reachability against evaluators of their own."""

from __future__ import annotations

import networkx
import pytest
import torch

from archdsl.tasks import get_task
from archdsl.tasks.base import IGNORED


def words(task, batch, row):
    count = int(batch["lengths"][row]) if "lengths" in batch else batch["tokens"].shape[1]
    assert (batch["tokens"][row, count:] == task.vocab - 1).all()  # padding
    return [task.word(token) for token in batch["tokens"][row, :count].tolist()]


@pytest.mark.parametrize("each", [False, True])
def test_parity(each):
    task = get_task("parity", length=9, shortest=3, held=14, each=each)
    for split, lengths in (("train", set(range(3, 10))), ("test", {14})):
        batch, found = task.batch(0, 0, 60, split), set()
        for row in range(60):
            bits = [int(word) for word in words(task, batch, row)] if "lengths" in batch else batch["tokens"][row].tolist()
            found.add(len(bits))
            expected = [sum(bits[: i + 1]) % 2 for i in range(len(bits))]
            targets = batch["targets"][row].tolist()
            assert (targets[: len(bits)] if each else [targets]) == (expected if each else expected[-1:])
            assert not each or set(targets[len(bits) :]) <= {IGNORED}
        assert found == lengths


def value(expression: list[str], modulus: int) -> int:
    """The value by recursive descent: a sum of products of numbers and brackets."""

    def atom() -> int:
        word = expression.pop(0)
        if word != "(":
            return int(word)
        found = total()
        assert expression.pop(0) == ")"
        return found

    def product() -> int:
        found = atom()
        while expression and expression[0] == "*":
            expression.pop(0)
            found *= atom()
        return found

    def total() -> int:
        found = product()
        while expression and expression[0] in "+-":
            found = found + product() if expression.pop(0) == "+" else found - product()
        return found

    found = total()
    assert not expression
    return found % modulus


@pytest.mark.parametrize(
    "options", [{}, {"times": False, "modulus": 7}, {"brackets": True}, {"brackets": True, "times": False, "length": 60}]
)
def test_arithmetic(options):
    task = get_task("mod_arith", **options)
    batch, signs, longest = task.batch(2, 0, 100, "train"), set(), 0
    for row in range(100):
        said = words(task, batch, row) if "lengths" in batch else [task.word(token) for token in batch["tokens"][row].tolist()]
        assert said.pop() == "="
        signs |= set(said) & set("+-*(")
        longest = max(longest, len(said))
        assert value(said, task.modulus) == int(batch["targets"][row])
    assert ("*" in signs) == options.get("times", True)
    assert ("(" in signs) == options.get("brackets", False)
    assert longest <= task.most < longest + 4


def truth(formula: list[str]) -> tuple[bool, int]:
    """Truth and depth by recursive descent."""
    word = formula.pop(0)
    if word == "not":
        inner, depth = truth(formula)
        return not inner, depth + 1
    if word != "(":
        return word == "1", 0
    left, a = truth(formula)
    sign = formula.pop(0)
    right, b = truth(formula)
    assert formula.pop(0) == ")"
    return (left and right) if sign == "and" else (left or right), 1 + max(a, b)


def test_logic():
    task = get_task("logic", depth=5)
    batch = task.batch(0, 0, 200, "train")
    for row in range(200):
        said = words(task, batch, row)
        assert said.pop() == "="
        assert truth(said) == (bool(batch["targets"][row]), int(batch["depth"][row]))
        assert not said
    assert batch["depth"].unique().tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("options", [{}, {"nodes": 20, "extra": 0}, {"nodes": 8, "extra": 9}])
def test_reachability(options):
    task = get_task("reachability", **options)
    batch = task.batch(0, 0, 100, "train")
    for row, depth, answer in zip(batch["tokens"].tolist(), batch["depth"].tolist(), batch["targets"].tolist()):
        graph = networkx.DiGraph(list(zip(row[:-3:2], row[1:-3:2])))
        start, goal = row[-2:]
        assert row[-3] == task.nodes
        assert graph.number_of_nodes() == task.nodes
        assert networkx.has_path(graph, start, goal) == bool(answer)
        if answer:
            assert networkx.shortest_path_length(graph, start, goal) == depth
    answers = batch["targets"].bool()  # how deep goals lie does not tell the answer
    assert abs(float(batch["depth"][answers].float().mean() - batch["depth"][~answers].float().mean())) < 1.5


def test_a_language_model_answers_a_label_at_the_last_position_of_each_row():
    task = get_task("logic", depth=2)
    batch = task.batch(0, 0, 8, "train")
    logits = torch.zeros(8, batch["tokens"].shape[1], task.vocab)
    logits[torch.arange(8), batch["lengths"] - 1, batch["targets"]] = 50.0
    assert task.metrics(logits, batch)["accuracy"] == 1.0
