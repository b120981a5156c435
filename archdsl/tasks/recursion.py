"""Structural recursion as sequences: the successor of a binary number, and traversals of trees (arXiv:2401.12947; archdsl.tasks.terms).

A row is a question, `=`, its answer and `;`, perhaps after examples of the same form; the answer and its `;` are asked for. Training draws
numbers, or tree shapes of a size, uniformly, so that deep recursion is rare; `test` draws every depth alike; `valid` is like training
without oversampling. Guessing is a digit or a label at random.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from archdsl.tasks.base import IGNORED, Batch, Option, Options, Split, generator
from archdsl.tasks.forms import TokenTask
from archdsl.tasks.terms import (
    MARKS,
    OPTIONS,
    Words,
    draw_tree,
    height,
    number,
    trees_of,
    unfold_successor,
    unfold_traversal,
    unfolded,
    written,
)

if TYPE_CHECKING:
    import numpy as np


class _Recursion(TokenTask):
    """Rows of questions and answers about terms; `term` and `unfold` say which."""

    words: Words
    unfold: Callable[[Words], Words | None]
    most: int  # words in a question and its answer, with the marks

    def __init__(self, k: int, examples: int, oversample: float):
        self.k, self.examples, self.oversample = k, examples, oversample
        self.vocab, self.length = len(self.words), (examples + 1) * self.most - 1
        self._numbers = {word: i for i, word in enumerate(self.words)}

    def draw(self, random: np.random.Generator, even: bool) -> tuple[Words, int, int]:
        """A term, its depth, and how many unfoldings it takes at most. even: each depth alike."""
        raise NotImplementedError

    def pair(self, random: np.random.Generator, even: bool) -> tuple[Words, Words, int]:
        """A question, its answer and the depth."""
        term, depth, most = self.draw(random, even)
        if not self.k:
            return term[1:], unfolded(term, self.unfold, most), depth
        begun = unfolded(term, self.unfold, int(random.integers(0, most + 1)))
        return begun, unfolded(begun, self.unfold, self.k), depth

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        share = {"train": self.oversample, "valid": 0.0, "test": 1.0}[split]
        tokens = np.zeros((size, self.length + 1), dtype=np.int64)
        targets, depths = np.full_like(tokens, IGNORED), np.zeros(size, dtype=np.int64)
        for row in range(size):
            at = 0
            for example in range(self.examples + 1):
                question, answer, depths[row] = self.pair(random, bool(random.random() < share))
                words = [self._numbers[word] for word in (*question, "=", *answer, ";")]
                tokens[row, at : at + len(words)] = words
                if example == self.examples:
                    begin = at + len(question) + 1
                    targets[row, begin : at + len(words)] = tokens[row, begin : at + len(words)]
                at += len(words)
        return {
            "tokens": torch.from_numpy(tokens[:, :-1].copy()),
            "targets": torch.from_numpy(targets[:, 1:].copy()),
            "depth": torch.from_numpy(depths),
        }

    def word(self, token: int) -> str:
        return self.words[token]


class BinarySuccessor(_Recursion):
    """The number after a binary number. Depth: how many leading X1 it has, the length of the carry.

    order: least significant bit first, as the constructors stand ("lsb"), or last ("msb"), the paper's control.
    """

    name = "binary_successor"
    options: ClassVar[Options] = {
        "bits": Option(12, "most bits of n", 1, 512),
        "order": Option("lsb", "lsb or msb", choices=("lsb", "msb")),
        **OPTIONS,
    }
    words = (*MARKS, "X0", "X1", "1", "S")

    def __init__(self, bits: int = 12, order: str = "lsb", k: int = 0, examples: int = 0, oversample: float = 0.0):
        self.bits, self.order, self.most, self.answers = bits, order, 2 * bits + (5 if k else 3), 2
        super().__init__(k, examples, oversample)

    def unfold(self, term: Words) -> Words | None:
        return unfold_successor(term)

    def draw(self, random: np.random.Generator, even: bool) -> tuple[Words, int, int]:
        if even:
            size = int(random.integers(1, self.bits + 1))
            depth = int(random.integers(0, size))
            rest = [f"X{bit}" for bit in random.integers(0, 2, max(0, size - 2 - depth))]
            digits = (*["X1"] * depth, *(["X0"] if depth < size - 1 else []), *rest, "1")
        else:
            digits = number(1 + below(random, 2**self.bits - 1))
            depth = next(i for i, word in enumerate(digits) if word != "X1")
        return ("S", *digits), depth, depth + 1

    def pair(self, random: np.random.Generator, even: bool) -> tuple[Words, Words, int]:
        question, answer, depth = super().pair(random, even)
        return (question[::-1], answer[::-1], depth) if self.order == "msb" else (question, answer, depth)


class TreeTraversal(_Recursion):
    """The labels of a binary tree in pre-order or in-order. Depth: the tree's height."""

    name = "tree_traversal"
    options: ClassVar[Options] = {
        "nodes": Option(6, "most nodes; each number from 1 on is as likely", 1, 64),
        "labels": Option(8, "different labels", 1, 1 << 12),
        "order": Option("pre", "pre or in", choices=("pre", "in")),
        **OPTIONS,
    }

    def __init__(self, nodes: int = 6, labels: int = 8, order: str = "pre", k: int = 0, examples: int = 0, oversample: float = 0.0):
        self.nodes, self.labels, self.answers = nodes, labels, labels
        self.words = (*MARKS, "(", ")", ".", "F", *(f"a{i}" for i in range(labels)))
        self.unfold = unfold_traversal(order)
        tree = 4 * nodes + 1
        self.most = 2 * (tree + nodes + 2) + 2 if k else tree + nodes + 2
        super().__init__(k, examples, oversample)

    def draw(self, random: np.random.Generator, even: bool) -> tuple[Words, int, int]:
        count = int(random.integers(1, self.nodes + 1))
        if even:
            heights = [h for h in range(1, count + 1) if trees_of(count, h)]
            tree = draw_tree(count, heights[int(random.integers(0, len(heights)))], True, lambda n: below(random, n))
        else:
            tree = draw_tree(count, count, False, lambda n: below(random, n))
        words = tuple(f"a{random.integers(0, self.labels)}" if word == "a0" else word for word in written(tree))
        return ("F", *words), height(tree), 2 * count + 1


def below(random: np.random.Generator, limit: int) -> int:
    """A number from 0 to below a limit of any size."""
    if limit < 1 << 62:
        return int(random.integers(0, limit))
    bits = limit.bit_length()
    while True:
        draw = int.from_bytes(random.bytes((bits + 7) // 8), "big") >> (-bits % 8)
        if draw < limit:
            return draw
