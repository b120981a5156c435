"""Multi-query associative recall (Arora et al. 2023, "Zoology", arXiv:2312.04927).

A row begins with `pairs` key-value pairs; later each key is shown again once, and the value that was stored with it is asked for at that
position. How far away a key comes back follows a power law: slot i (from 0) has weight (i + 1)^(power - 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from archdsl.tasks.base import IGNORED, Batch, Option, Options, Split, generator
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import TokenTask

if TYPE_CHECKING:
    import numpy as np


class MQAR(TokenTask):
    """Key-value pairs; later each key comes once more, at a distance that follows a power law, and its value is asked for.

    Keys are drawn without repetition from [1, vocab / 2), values from [vocab / 2, vocab); 0 is filler unless `noise` is set."""

    name = "mqar"
    options: ClassVar[Options] = {
        "vocab": Option(8192, "token numbers, half of them keys", 4, 1 << 18),
        "length": Option(64, "tokens in a row", 4, 1 << 20),
        "pairs": Option(4, "key-value pairs in a row", 1, 1 << 18),
        "power": Option(0.01, "exponent of the law of distances; 1 is uniform", 1e-6, 10),
        "noise": Option(False, "fill the gaps with random tokens instead of 0"),
    }

    def __init__(self, vocab: int = 8192, length: int = 64, pairs: int = 4, power: float = 0.01, noise: bool = False):
        if 4 * pairs > length:
            raise refuse(
                "mqar", f"{pairs} pairs do not fit in {length} tokens", "Each pair takes 4 tokens: use a length of at least 4 * pairs."
            )
        if pairs > vocab // 2 - 1:
            raise refuse("mqar", f"{pairs} pairs need as many different keys; a vocabulary of {vocab} has {vocab // 2 - 1}")
        self.vocab, self.length, self.pairs, self.power, self.noise = vocab, length, pairs, power, noise
        self.answers, self.asked = pairs, pairs  # a guesser picks one of the values that the row holds

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        half, context = self.vocab // 2, 2 * self.pairs
        keys = 1 + _distinct(random, size, half - 1, self.pairs)
        values = half + _distinct(random, size, self.vocab - half, self.pairs)
        tokens = np.zeros((size, self.length), dtype=np.int64)
        targets = np.full((size, self.length), IGNORED, dtype=np.int64)
        if self.noise:
            tokens[:, context:] = random.integers(1, self.vocab, (size, self.length - context))
        tokens[:, 0:context:2], tokens[:, 1:context:2] = keys, values
        where = context + 2 * self._slots(random, size)
        np.put_along_axis(tokens, where, keys, axis=1)
        np.put_along_axis(targets, where, values, axis=1)
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}

    def _slots(self, random: np.random.Generator, size: int) -> np.ndarray:
        """Distinct slots per row [size, pairs], drawn one after another by weight: the largest of log-weight plus Gumbel noise."""
        import numpy as np

        slots = (self.length - 2 * self.pairs) // 2
        score = (self.power - 1) * np.log(np.arange(1, slots + 1)) + random.gumbel(size=(size, slots))
        return np.argsort(-score, axis=1)[:, : self.pairs]


def _distinct(random: np.random.Generator, rows: int, count: int, take: int) -> np.ndarray:
    """[rows, take] different numbers below `count` in each row, in random order: the places of the smallest of random draws."""
    import numpy as np

    draws = random.random((rows, count), dtype=np.float32)
    places = np.argpartition(draws, take - 1, axis=1)[:, :take]
    return np.take_along_axis(places, np.argsort(np.take_along_axis(draws, places, axis=1), axis=1), axis=1)
