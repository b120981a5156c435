"""Tasks that need a state: parity, and arithmetic modulo m (Delétang et al. 2022, "Neural networks and the Chomsky hierarchy",
arXiv:2207.02098)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from archdsl.tasks.base import IGNORED, Batch, Option, Options, Split, generator
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import LabelTask

if TYPE_CHECKING:
    import numpy as np


class Parity(LabelTask):
    """Whether the bits so far have an odd number of ones: asked at the end, or after each bit.

    `shortest` makes training rows of from `shortest` to `length` bits; `held` gives held-out rows another length than training rows, to
    see what holds beyond what was seen. Rows of several lengths are padded on the right.
    """

    name = "parity"
    options: ClassVar[Options] = {
        "length": Option(32, "most bits in a training row", 1, 1 << 18),
        "shortest": Option(0, "least bits in a training row; 0: as length", 0, 1 << 18),
        "held": Option(0, "bits in a held-out row; 0: as length", 0, 1 << 18),
        "each": Option(False, "ask after each bit"),
    }

    def __init__(self, length: int = 32, shortest: int = 0, held: int = 0, each: bool = False):
        if shortest > length:
            raise refuse(self.name, f"shortest is {shortest} and length {length}", "Make shortest at most length.")
        self.longest, self.shortest, self.held, self.each = length, shortest or length, held or length, each
        self.length = max(self.longest, self.held)
        self.vocab = 2 + (self.shortest < self.longest)  # the last is padding

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        least, most = (self.shortest, self.longest) if split == "train" else (self.held, self.held)
        lengths = random.integers(least, most + 1, size)
        within = np.arange(most) < lengths[:, None]
        bits = random.integers(0, 2, (size, most))
        parity = (bits * within).cumsum(1) % 2
        bits[~within] = 2
        targets = np.where(within, parity, IGNORED) if self.each else parity[:, -1]
        batch: Batch = {"tokens": torch.from_numpy(bits), "targets": torch.from_numpy(targets)}
        return batch if least == most else {**batch, "lengths": torch.from_numpy(lengths)}


class ModularArithmetic(LabelTask):
    """The value of an expression like 3 * 2 + 4 - 1 modulo m; * binds before + and -. With `brackets`, of one with brackets.

    Tokens: the numbers 0 .. m-1, then + - * ( ) and =. Rows end in =, where the value is asked for. Without brackets an expression has
    `length` tokens (numbers and signs in turn); with brackets it is drawn so that every operation has its own pair of them, and `length`
    is the most tokens; it is padded on the right.
    """

    name = "mod_arith"
    options: ClassVar[Options] = {
        "modulus": Option(5, "m", 2, 1000),
        "length": Option(31, "most tokens in an expression", 1, 1 << 16),
        "brackets": Option(False, "draw expressions with brackets"),
        "times": Option(True, "draw * too; without it, + and - alone"),
    }

    def __init__(self, modulus: int = 5, length: int = 31, brackets: bool = False, times: bool = True):
        self.modulus, self.brackets, self.signs = modulus, brackets, 3 if times else 2
        self.most = length if brackets else length - 1 + length % 2
        self.length, self.vocab, self.classes = self.most + 1, modulus + 6 + brackets, modulus

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import torch

        random = generator(seed, step, split)
        if self.brackets:
            return self._bracketed(random, size)
        tokens, values = self._flat(random, size)
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(values)}

    def _flat(self, random: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and values: a sum of products, from left to right."""
        import numpy as np

        count, m = (self.most + 1) // 2, self.modulus
        numbers, signs = random.integers(0, m, (size, count)), random.integers(0, self.signs, (size, count - 1))
        tokens = np.full((size, self.length), m + 5, dtype=np.int64)
        tokens[:, 0 : self.most : 2], tokens[:, 1 : self.most : 2] = numbers, m + signs
        total, product = np.zeros(size, dtype=np.int64), numbers[:, 0]
        for i in range(count - 1):
            number, sign = numbers[:, i + 1], signs[:, i]
            total = np.where(sign == 2, total, total + product) % m
            product = np.where(sign == 2, product * number, np.where(sign == 1, -number, number)) % m
        return tokens, (total + product) % m

    def _bracketed(self, random: np.random.Generator, size: int) -> Batch:
        """Each row from its own numbers of operations; the tree's shape is drawn by splitting the operations left and right."""
        import numpy as np
        import torch

        most = (self.most - 1) // 4  # an operation adds a sign, two brackets and a number
        counts = random.integers(0, most + 1, size).tolist()
        draws = random.random((size, 3 * most + 1))
        tokens = np.full((size, self.length), self.vocab - 1, dtype=np.int64)
        lengths, values = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
        for row, count in enumerate(counts):
            words, values[row] = self._tree(count, iter(draws[row].tolist()))
            lengths[row] = len(words) + 1
            tokens[row, : lengths[row]] = [*words, self.modulus + 5]
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(values), "lengths": torch.from_numpy(lengths)}

    def _tree(self, operations: int, draws: Iterator[float]) -> tuple[list[int], int]:
        """The tokens and the value of a random expression, made with a stack of its own: an expression may be deep."""
        m, todo = self.modulus, [(False, operations)]  # (whether its two sides are done, the sign or the operations to come)
        done: list[tuple[list[int], int]] = []
        while todo:
            joins, count = todo.pop()
            if joins:
                (right, b), (left, a) = done.pop(), done.pop()
                done.append(([m + 3, *left, m + count, *right, m + 4], (a + b, a - b, a * b)[count] % m))
            elif count == 0:
                number = int(next(draws) * m)
                done.append(([number], number))
            else:
                before, sign = int(next(draws) * count), int(next(draws) * self.signs)
                todo += [(True, sign), (False, count - 1 - before), (False, before)]
        return done[0]

    def word(self, token: int) -> str:
        return str(token) if token < self.modulus else "+-*()=_"[token - self.modulus]
