"""Copying: repeat a string after it ended, or pick its symbols out of noise."""

from __future__ import annotations

from typing import ClassVar

from archdsl.tasks.base import IGNORED, Batch, Option, Options, Split, generator
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import TokenTask

_OPTIONS = {
    "vocab": Option(16, "token numbers; 0 is noise, 1 the start signal, the rest are symbols", 4, 1 << 20),
    "symbols": Option(16, "symbols to remember in a row", 1, 1 << 16),
}


class Copy(TokenTask):
    """Symbols, then a start signal, then the same symbols in order (Graves et al. 2014, arXiv:1410.5401).

    Row: s1 … sn, 1, s1 … s(n-1); the targets from the signal on are s1 … sn.
    """

    name = "copy"
    options: ClassVar[Options] = _OPTIONS

    def __init__(self, vocab: int = 16, symbols: int = 16):
        self.vocab, self.symbols = vocab, symbols
        self.length, self.answers, self.asked = 2 * symbols, vocab - 2, symbols

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        word = generator(seed, step, split).integers(2, self.vocab, (size, self.symbols))
        row = np.concatenate([word, np.ones((size, 1), dtype=np.int64), word], axis=1)
        targets = row[:, 1:].copy()
        targets[:, : self.symbols] = IGNORED
        return {"tokens": torch.from_numpy(row[:, :-1].copy()), "targets": torch.from_numpy(targets)}


class SelectiveCopy(TokenTask):
    """Symbols stand at random places among noise; after the start signals they are to be given in order.

    From Gu and Dao 2023 (arXiv:2312.00752, section 4.1.1); MAD has it too, with 16 symbols in 256 places.

    Row: `length` places of which `symbols` hold symbols and the others 0, then `symbols` signals at which the symbols are asked.
    """

    name = "selective_copy"
    options: ClassVar[Options] = {**_OPTIONS, "length": Option(64, "places among which the symbols stand", 1, 1 << 20)}

    def __init__(self, vocab: int = 16, symbols: int = 16, length: int = 64):
        if symbols > length:
            raise refuse("selective_copy", f"{symbols} symbols do not fit in {length} places")
        self.vocab, self.symbols, self.places = vocab, symbols, length
        self.length, self.answers, self.asked = length + symbols, vocab - 2, symbols

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        word = random.integers(2, self.vocab, (size, self.symbols))
        where = np.sort(np.argsort(random.random((size, self.places)), axis=1)[:, : self.symbols], axis=1)
        tokens = np.zeros((size, self.length), dtype=np.int64)
        np.put_along_axis(tokens, where, word, axis=1)
        tokens[:, self.places :] = 1
        targets = np.full_like(tokens, IGNORED)
        targets[:, self.places :] = word
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}
