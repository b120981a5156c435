"""Recall tasks of the mechanistic architecture design suite, MAD (Poli et al. 2024, arXiv:2403.17844, section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from archdsl.tasks.base import IGNORED, Batch, Option, Options, Split, generator
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import TokenTask

if TYPE_CHECKING:
    import numpy as np

_EVERY = Option(False, "train on every next token, as the paper's code does (held-out rows ask for the values alone)")


class InContextRecall(TokenTask):
    """Key-value pairs; where a key comes again, its value in this row is asked for.

    Keys are the lower half of the vocabulary, values the upper; each row has a map of its own. The last pair always repeats a key.
    """

    name = "in_context_recall"
    options: ClassVar[Options] = {
        "vocab": Option(16, "token numbers, half of them keys", 4, 1 << 16),
        "length": Option(128, "tokens in a row, with the last value", 6, 1 << 18),
        "every": _EVERY,
    }

    def __init__(self, vocab: int = 16, length: int = 128, every: bool = False):
        self.vocab, self.length, self.every = vocab, length - length % 2 - 1, every
        self.pairs, self.noise, self.share = length // 2, 0, 0.0
        self.keys = vocab // 2
        self.answers = vocab - self.keys

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np

        random = generator(seed, step, split)
        count = self.keys + self.answers
        rows = np.arange(size)[:, None]
        keys = random.integers(0, self.keys, (size, self.pairs))
        values = random.integers(self.keys, int(count), (size, self.keys))
        noisy = random.random((size, self.pairs)) < self.share
        kept = random.integers(0, self.pairs - 1, size)  # a pair before the last that stays, and which the last repeats
        noisy[np.arange(size), kept] = noisy[:, -1] = False
        keys[:, -1] = keys[np.arange(size), kept]
        first = _first_kept(keys, noisy, self.keys)
        tokens = np.empty((size, 2 * self.pairs), dtype=np.int64)
        tokens[:, 0::2], tokens[:, 1::2] = keys, values[rows, keys]
        if self.share:
            drawn = random.integers(int(count), self.vocab, tokens.shape)
            tokens = np.where(np.repeat(noisy, 2, axis=1), drawn, tokens)
        asked = ~noisy & (first[rows, keys] < np.arange(self.pairs))
        targets = np.full_like(tokens, IGNORED)
        targets[:, 0::2] = np.where(asked, tokens[:, 1::2], IGNORED)
        return finished(tokens, targets[:, :-1], self.every and split == "train")

    def word(self, token: int) -> str:
        if token >= self.keys + self.answers:
            return "~"
        return f"k{token}" if token < self.keys else f"v{token - self.keys}"


class NoisyRecall(InContextRecall):
    """In-context recall with pairs of noise, of tokens that mean nothing, put between."""

    name = "noisy_recall"
    options: ClassVar[Options] = {
        "vocab": Option(32, "token numbers, noise among them", 6, 1 << 16),
        "length": Option(128, "tokens in a row, with the last value", 6, 1 << 18),
        "noise": Option(16, "token numbers that are noise", 1, 1 << 16),
        "share": Option(0.2, "share of pairs that are noise", 0.0, 0.95),
        "every": _EVERY,
    }

    def __init__(self, vocab: int = 32, length: int = 128, noise: int = 16, share: float = 0.2, every: bool = False):
        if vocab - noise < 4:
            raise refuse(self.name, f"{noise} of {vocab} tokens are noise; at least 4 must be left for keys and values")
        super().__init__(vocab - noise, length, every)
        self.vocab, self.noise, self.share = vocab, noise, share


class FuzzyRecall(TokenTask):
    """In-context recall where keys and values are of several tokens: 1 to `key_size`, 1 to `value_size`. Held-out rows have the longest keys.

    Token 0 is padding, on the left; the rest is halved into tokens of keys and of values. Each asked value token is asked for at the token
    before it. The last pair always repeats an earlier one.
    """

    name = "fuzzy_recall"
    options: ClassVar[Options] = {
        "vocab": Option(16, "token numbers: padding, then those of keys, then those of values", 7, 1 << 16),
        "length": Option(128, "tokens in a row, with the last value", 12, 1 << 18),
        "key_size": Option(3, "most tokens of a key", 1, 8),
        "value_size": Option(3, "most tokens of a value", 1, 8),
        "every": _EVERY,
    }

    def __init__(self, vocab: int = 16, length: int = 128, key_size: int = 3, value_size: int = 3, every: bool = False):
        self.keys = (vocab - 1) // 2
        if key_size > self.keys or value_size > vocab - 1 - self.keys:
            raise refuse(self.name, f"a vocabulary of {vocab} has {self.keys} tokens for keys; their tokens differ within a key")
        if 2 * (key_size + value_size) > length:
            raise refuse(self.name, f"two pairs of up to {key_size + value_size} tokens do not fit in {length}")
        self.vocab, self.length, self.every = vocab, length - 1, every
        self.key_size, self.value_size, self.answers = key_size, value_size, vocab - 1 - self.keys

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np

        random = generator(seed, step, split)
        least = 1 if split == "train" else self.key_size
        most = (self.length + 1) // (least + 1)
        key_sizes = random.integers(least, self.key_size + 1, (size, most)).tolist()
        value_sizes = random.integers(1, self.value_size + 1, (size, most)).tolist()
        key_tokens = (1 + shuffled(random, size * most, self.keys, self.key_size)).reshape(size, most, -1).tolist()
        value_tokens = (1 + self.keys + shuffled(random, size * most, int(self.answers), self.value_size)).reshape(size, most, -1).tolist()
        probes = random.random(size)
        tokens = np.zeros((size, self.length + 1), dtype=np.int64)
        targets = np.full_like(tokens, IGNORED)
        for row in range(size):
            drawn = zip(key_tokens[row], key_sizes[row], value_tokens[row], value_sizes[row])
            pairs = [(tuple(key[:k]), tuple(value[:v])) for key, k, value, v in drawn]
            words, asked = _fuzzy_row(pairs, self.length + 1, self.key_size + self.value_size, float(probes[row]))
            tokens[row, -len(words) :], targets[row, -len(words) :] = words, asked
        return finished(tokens, targets[:, 1:].copy(), self.every and split == "train")

    def word(self, token: int) -> str:
        if token == 0:
            return "_"
        return f"k{token}" if token <= self.keys else f"v{token - self.keys}"


class Memorize(TokenTask):
    """A fixed map from keys to values, the same in every row and split, to be learned by heart. A row is key, blank, key, blank …, and the
    value is asked for at each blank, which is the last token number."""

    name = "memorize"
    options: ClassVar[Options] = {
        "vocab": Option(256, "token numbers: keys, values and the blank", 3, 1 << 18),
        "length": Option(32, "tokens in a row", 2, 1 << 18),
        "map_seed": Option(12345, "what the map is drawn from", 0, 1 << 31),
    }

    def __init__(self, vocab: int = 256, length: int = 32, map_seed: int = 12345):
        import numpy as np

        self.vocab, self.length = vocab, length - length % 2
        self.keys = (vocab - 1) // 2
        self.values = self.keys + np.random.Generator(np.random.Philox(map_seed)).permutation(self.keys)
        self.answers, self.asked = self.keys, self.length // 2

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        keys = generator(seed, step, split).integers(0, self.keys, (size, self.length // 2))
        tokens = np.full((size, self.length), self.vocab - 1, dtype=np.int64)
        targets = np.full_like(tokens, IGNORED)
        tokens[:, 0::2], targets[:, 1::2] = keys, self.values[keys]
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}


class Compression(TokenTask):
    """Random tokens and a last one that says "compress": the tokens themselves are asked for, each at its own place.

    It measures something only for a model that answers from what it holds at the last position (specs/sequence/compressor.arch does).
    """

    name = "compression"
    options: ClassVar[Options] = {
        "vocab": Option(16, "token numbers; the last says compress", 3, 1 << 18),
        "length": Option(32, "tokens in a row", 2, 1 << 18),
    }

    def __init__(self, vocab: int = 16, length: int = 32):
        self.vocab, self.length, self.answers, self.asked = vocab, length, vocab - 1, length - 1

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import torch

        tokens = generator(seed, step, split).integers(0, self.vocab - 1, (size, self.length))
        targets = tokens.copy()
        tokens[:, -1], targets[:, -1] = self.vocab - 1, IGNORED
        return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}


def shuffled(random: np.random.Generator, rows: int, count: int, take: int) -> np.ndarray:
    """[rows, take] different numbers below `count` in each row."""
    import numpy as np

    return np.argsort(random.random((rows, count), dtype=np.float32), axis=1)[:, :take]


def finished(tokens: Any, targets: Any, every: bool) -> Batch:
    """The batch of rows [B, T + 1] whose targets [B, T] stand at the token before the answer."""
    import torch

    asked = tokens[:, 1:].copy() if every else targets
    return {"tokens": torch.from_numpy(tokens[:, :-1].copy()), "targets": torch.from_numpy(asked)}


def _first_kept(keys: Any, noisy: Any, count: int) -> Any:
    """Where each key first stands in each row, noise aside; beyond the end if nowhere."""
    import numpy as np

    size, pairs = keys.shape
    first = np.full((size, count), pairs)
    np.minimum.at(first, (np.arange(size)[:, None], keys), np.where(noisy, pairs, np.arange(pairs)))
    return first


def _fuzzy_row(pairs: list[Any], length: int, longest: int, probe: float) -> tuple[list[int], list[int]]:
    """The words of a row and, at each word that is asked, the word itself. Its pairs are taken until `longest` words are left for the last,
    which repeats one of them."""
    known: dict[Any, Any] = {}
    words: list[int] = []
    asked: list[int] = []
    for key, drawn in pairs:
        value = known.get(key, drawn)
        if words and len(words) + len(key) + len(value) > length - longest:
            break
        words += [*key, *value]
        asked += [IGNORED] * len(key) + (list(value) if key in known else [IGNORED] * len(value))
        known[key] = value
    key, value = list(known.items())[int(probe * len(known))]
    return [*words, *key, *value], [*asked, *[IGNORED] * len(key), *value]
