"""In-context language learning: strings of a random automaton, a new one for each row (Akyürek et al. 2024, arXiv:2401.12973).

The paper's sampler and its released code differ in small things; this follows the paper: 4 to 12 states, 4 to 18 symbols, from each state 1 to
3 edges with different symbols to different other states, every state accepting, walks uniform over a state's edges. Unreachable and
equivalent states are left in: they change no string and no probability.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from archdsl.tasks.base import IGNORED, Batch, Measure, Option, Options, Split, generator, token_loss
from archdsl.tasks.errors import refuse
from archdsl.tasks.forms import TokenTask

if TYPE_CHECKING:
    import numpy as np
    import torch

_EDGES = 3


@dataclass(frozen=True)
class Automata:
    """One automaton for each row, as arrays: goes [B, states, symbols] is the next state, or -1 where there is no edge. All begin in 0."""

    goes: np.ndarray

    def accepts(self, row: int, string: list[int]) -> bool:
        """Whether every symbol of a string has an edge to follow."""
        state = 0
        for symbol in string:
            state = int(self.goes[row, state, symbol])
            if state < 0:
                return False
        return True


class InContextAutomata(TokenTask):
    """Strings of one automaton, each after a separator; every next token is asked for, separators too.

    Tokens: the symbols, then the separator, then padding. Strings have from 1 to `longest` symbols, each length alike, and a row is cut at
    `length` tokens. The batch's `oracle` [B, T, vocab] holds the true probabilities of the next symbol.
    """

    name = "icll_dfa"
    options: ClassVar[Options] = {
        "vocab": Option(20, "token numbers: symbols, the separator and padding", 6, 1 << 12),
        "states": Option(12, "most states; the least is 4", 4, 256),
        "fewest": Option(10, "least strings in a row", 1, 1 << 12),
        "strings": Option(20, "most strings in a row", 1, 1 << 12),
        "longest": Option(50, "most symbols in a string", 1, 1 << 12),
        "length": Option(512, "most tokens in a row", 2, 1 << 18),
    }

    def __init__(self, vocab: int = 20, states: int = 12, fewest: int = 10, strings: int = 20, longest: int = 50, length: int = 512):
        if fewest > strings:
            raise refuse(self.name, f"fewest is {fewest} and strings {strings}", "Make fewest at most strings.")
        self.vocab, self.symbols, self.states = vocab, vocab - 2, states
        self.fewest, self.strings, self.longest, self.length = fewest, strings, longest, length

    def automata(self, seed: int, step: int, size: int, split: Split) -> Automata:
        """The automata behind the rows of a batch."""
        return Automata(self._automata(generator(seed, step, split), size))

    def _automata(self, random: np.random.Generator, size: int) -> np.ndarray:
        import numpy as np

        n, m = self.states, self.symbols
        states, letters = random.integers(4, n + 1, (size, 1, 1)), random.integers(4, m + 1, (size, 1, 1))
        alphabet = np.argsort(random.random((size, m)), axis=1)  # the first `letters` of a row are its symbols
        edges = random.integers(1, _EDGES + 1, (size, n, 1))
        by_symbol = np.where(np.arange(m) < letters, random.random((size, n, m)), 2.0)
        by_state = np.where(np.arange(n) < states, random.random((size, n, n)), 2.0)
        by_state[:, np.arange(n), np.arange(n)] = 2.0  # no edge from a state to itself
        symbols = np.argsort(by_symbol, axis=2)[..., :_EDGES]
        targets = np.argsort(by_state, axis=2)[..., :_EDGES]
        rows = np.arange(size)[:, None, None]
        goes = np.full((size, n, m), -1)
        taken = np.where(np.arange(_EDGES) < edges, targets, -1)
        goes[rows, np.arange(n)[:, None], alphabet[rows, symbols]] = taken
        return goes

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        goes = self._automata(random, size)
        symbols, chances = self._walks(random, goes)
        counts = random.integers(self.fewest, self.strings + 1, size)
        lengths = random.integers(1, self.longest + 1, (size, self.strings))
        tokens = np.full((size, self.length + 1), self.vocab - 1, dtype=np.int64)
        oracle = np.zeros((size, self.length, self.vocab), dtype=np.float32)
        for row in range(size):
            shown = np.arange(self.longest + 1) <= lengths[row, : counts[row], None]  # the separator and the string
            words = symbols[row, : counts[row]][shown][: self.length + 1]
            after = chances[row, : counts[row]][shown][: self.length]
            tokens[row, : len(words)] = words
            oracle[row, : len(after), : self.symbols] = after
        targets = np.where(tokens[:, 1:] == self.vocab - 1, IGNORED, tokens[:, 1:])
        return {
            "tokens": torch.from_numpy(tokens[:, :-1].copy()),
            "targets": torch.from_numpy(targets),
            "oracle": torch.from_numpy(oracle),
        }

    def _walks(self, random: np.random.Generator, goes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A separator and a string, [B, strings, longest + 1], and the probabilities of the symbol after each, [..., symbols]."""
        import numpy as np

        size = len(goes)
        rows, state = np.arange(size)[:, None], np.zeros((size, self.strings), dtype=np.int64)
        symbols = np.full((size, self.strings, self.longest + 1), self.vocab - 2)
        legal = (goes >= 0).astype(np.float32)
        shares = legal / legal.sum(-1, keepdims=True)
        order = np.argsort(goes < 0, axis=-1, kind="stable")[..., :_EDGES]  # the symbols of a state's edges
        edges = (goes >= 0).sum(-1)
        draws = random.random((self.longest, size, self.strings))
        visited = np.zeros((size, self.strings, self.longest + 1), dtype=np.int64)
        for i in range(self.longest):
            taken = (draws[i] * edges[rows, state]).astype(np.int64)
            symbols[:, :, i + 1] = order[rows, state, taken]
            state = goes[rows, state, symbols[:, :, i + 1]]
            visited[:, :, i + 1] = state
        return symbols, shares[rows[..., None], visited]

    @property
    def measures(self) -> dict[str, Measure]:
        """Guessing: a symbol of the vocabulary at random."""
        edges = (1 + _EDGES) / 2
        return {
            "loss": Measure("cross-entropy in nats per token, separators too", "min"),
            "validity": Measure("share of symbols foretold that the automaton allows", "max", edges / self.symbols, 1.0),
            "tvd": Measure("total variation between the model's and the automaton's next symbol", "min", 1 - edges / self.symbols, 0.0),
        }

    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]:
        """Where a symbol comes next, of the model's distribution over symbols (the separator may come anywhere, so it is left out)."""
        targets, oracle = batch["targets"], batch["oracle"][..., : self.symbols]
        asked = (targets >= 0) & (targets < self.symbols)
        shares = outputs[..., : self.symbols].float().softmax(-1)
        valid = oracle.gather(-1, shares.argmax(-1, keepdim=True)).squeeze(-1) > 0
        apart = (shares - oracle).abs().sum(-1) / 2
        count = asked.sum().clamp(min=1)
        return {
            "loss": float(token_loss(outputs, targets)),
            "validity": float((valid & asked).sum() / count),
            "tvd": float((apart * asked).sum() / count),
        }

    def word(self, token: int) -> str:
        return "|" if token == self.vocab - 2 else "_" if token == self.vocab - 1 else chr(97 + token) if self.symbols <= 26 else str(token)


def ngram(tokens: torch.Tensor, order: int, vocab: int) -> torch.Tensor:
    """Logits [B, T, vocab] of an n-gram model that counts in the row itself and backs off: the baseline of in-context language learning.

    After position t it looks for earlier places where the last order - 1 tokens stood, and takes the shares of what followed them; if they
    never stood before, one token less; at last the shares of all tokens so far. tokens: [B, T] int64. Memory grows with T squared.
    """
    import torch
    from torch.nn.functional import one_hot

    size, length = tokens.shape
    same = tokens[:, :, None] == tokens[:, None, :]
    earlier = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril(-1)
    follows = torch.zeros(size, length, vocab, device=tokens.device)
    follows[:, :-1] = one_hot(tokens[:, 1:], vocab).float()
    seen = one_hot(tokens, vocab).float().cumsum(1)  # all tokens so far, this one too
    counts, match = seen, earlier.expand(size, -1, -1)
    for n in range(1, order):
        before = torch.zeros_like(same)
        before[:, n - 1 :, n - 1 :] = same[:, : length - n + 1, : length - n + 1]
        match = match & before
        found = match.float() @ follows
        counts = torch.where(found.sum(-1, keepdim=True) > 0, found, counts)
    return (counts / counts.sum(-1, keepdim=True)).clamp(min=1e-9).log()
