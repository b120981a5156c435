"""Nested logic and reachability: tasks whose answer needs as many dependent steps as the row is deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from archdsl.tasks.base import Batch, Option, Options, Split, generator
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import LabelTask

if TYPE_CHECKING:
    import numpy as np

_WORDS = ("0", "1", "and", "or", "not", "(", ")", "=", "_")
_FALSE, _TRUE, _AND, _OR, _NOT, _OPEN, _CLOSE, _END, _PAD = range(9)


class NestedLogic(LabelTask):
    """The truth of a nested formula of and, or and not, as in "( 1 and not ( 0 or 1 ) ) =". True and false are equally often right.

    A row's `depth` is how many operations lie on the longest way from the root to a constant; it is uniform from 1 to `depth`.
    """

    name = "logic"
    options: ClassVar[Options] = {"depth": Option(4, "most operations on a way from the root to a constant", 1, 12)}

    def __init__(self, depth: int = 4):
        self.depth, self.vocab = depth, len(_WORDS)
        self.length = 2 ** (depth + 2) - 2  # a full tree of and/or: 2^d constants, 3 (2^d - 1) words around them, and =

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        depths, truths = random.integers(1, self.depth + 1, size), random.integers(0, 2, size)
        tokens, lengths = np.full((size, self.length), _PAD), np.empty(size, dtype=np.int64)
        for row in range(size):
            draws = iter(random.random(3 * self.length).tolist())
            words = [*formula(int(depths[row]), bool(truths[row]), draws), _END]
            lengths[row] = len(words)
            tokens[row, : len(words)] = words
        return {
            "tokens": torch.from_numpy(tokens),
            "targets": torch.from_numpy(truths),
            "lengths": torch.from_numpy(lengths),
            "depth": torch.from_numpy(depths),
        }

    def word(self, token: int) -> str:
        return _WORDS[token]

    def label(self, number: int) -> str:
        return ("false", "true")[number]


def formula(depth: int, truth: bool, draws: Iterator[float]) -> list[int]:
    """The words of a random formula of this depth and truth. Operands are drawn so that all ways to get the truth may come up."""
    if depth == 0:
        return [_TRUE if truth else _FALSE]
    draw = next(draws)
    if draw < 0.2:
        return [_NOT, *formula(depth - 1, not truth, draws)]
    sign = _AND if draw < 0.6 else _OR
    if truth == (sign == _AND):
        left = right = truth  # and: true only of two truths; or: false only of two falsehoods
    else:
        left, right = ((True, False), (False, True), (truth, truth))[int(next(draws) * 3)]
    deep, shallow = depth - 1, int(next(draws) * depth)
    first, second = (deep, shallow) if next(draws) < 0.5 else (shallow, deep)
    return [_OPEN, *formula(first, left, draws), sign, *formula(second, right, draws), _CLOSE]


class Reachability(LabelTask):
    """Whether one node of a directed graph can be reached from another. A row is edges "a b" in random order, then "? s t"; half the answers
    are yes.

    Nodes are renamed for each row. Half of the nodes lie on a chain from s (with stray edges forward along it), the other half on one of their
    own, and t lies in the first half or the second; so both answers look alike locally. `depth`: edges on the shortest way from s to t, or,
    where there is none, that t lies down its own chain.
    """

    name = "reachability"
    options: ClassVar[Options] = {
        "nodes": Option(12, "nodes, an even number", 4, 1 << 12),
        "extra": Option(4, "stray edges, each within a half and forward along its chain", 0, 1 << 14),
    }

    def __init__(self, nodes: int = 12, extra: int = 4):
        if nodes % 2:
            raise refuse(self.name, f"{nodes} nodes cannot be halved", "Use an even number of nodes.")
        self.nodes, self.extra, self.half = nodes, extra, nodes // 2
        self.edges = 2 * (self.half - 1) + extra
        self.vocab, self.length = nodes + 1, 2 * self.edges + 3

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        half, rows = self.half, np.arange(size)[:, None]
        chain = np.concatenate([np.arange(half - 1), half + np.arange(half - 1)])
        starts = np.concatenate([np.tile(chain, (size, 1)), random.integers(0, 2, (size, self.extra)) * half], axis=1)
        ends = starts + 1
        low, high = np.sort(np.argsort(random.random((size, self.extra, half)), axis=2)[..., :2], axis=2).transpose(2, 0, 1)
        base = starts[:, self.edges - self.extra :].copy()
        starts[:, self.edges - self.extra :], ends[:, self.edges - self.extra :] = base + low, base + high
        answers, targets = random.integers(0, 2, size), random.integers(1, half, size)
        goal = np.where(answers == 1, targets, half + targets)
        depth = _shortest(starts, ends, np.where(answers == 1, 0, half), goal, self.nodes)
        names = np.argsort(random.random((size, self.nodes)), axis=1)
        order = np.argsort(random.random((size, self.edges)), axis=1)
        tokens = np.full((size, self.length), self.nodes, dtype=np.int64)
        tokens[:, 0:-3:2] = names[rows, starts[rows, order]]
        tokens[:, 1:-3:2] = names[rows, ends[rows, order]]
        tokens[:, -2], tokens[:, -1] = names[:, 0], names[rows[:, 0], goal]
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(answers), "depth": torch.from_numpy(depth)}

    def word(self, token: int) -> str:
        return "?" if token == self.nodes else f"n{token}"

    def label(self, number: int) -> str:
        return ("no", "yes")[number]


def _shortest(starts: np.ndarray, ends: np.ndarray, source: np.ndarray, goal: np.ndarray, nodes: int) -> np.ndarray:
    """Edges [B] on the shortest way from `source` [B] to `goal` [B]; edges are starts [B, E] to ends [B, E]."""
    import numpy as np

    rows = np.arange(len(source))
    away = np.full((len(source), nodes), nodes)
    away[rows, source] = 0
    while True:
        nearer = away.copy()
        np.minimum.at(nearer, (rows[:, None], ends), away[rows[:, None], starts] + 1)
        if (nearer == away).all():
            return away[rows, goal]
        away = nearer
