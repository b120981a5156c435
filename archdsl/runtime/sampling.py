"""From logits to the next token: greedy, temperature, top-k, nucleus and min-p sampling, and a repetition penalty."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from archdsl.diagnostics import ArchError, Diagnostic


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen. Filters are applied in the order of the fields; each is off at its default.

    repetition_penalty: logits of tokens already seen are divided (if positive) or multiplied by it (Keskar et al. 2019, arXiv:1909.05858).
    temperature: 0 takes the most likely token and leaves the rest of the fields aside. top_k: keep the k most likely. top_p: keep the
    fewest tokens whose probabilities reach p (Holtzman et al. 2019, arXiv:1904.09751). min_p: keep tokens at least p times as likely as
    the most likely one (Nguyen et al. 2024, arXiv:2407.01082). seed: each row has its own stream, seed + row, so a row's text does not
    depend on its neighbours.
    """

    repetition_penalty: float = 1.0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        rules = (
            ("repetition_penalty", self.repetition_penalty > 0, "above 0"),
            ("temperature", 0 <= self.temperature < 1e4, "0 or above"),
            ("top_k", self.top_k is None or self.top_k >= 1, "at least 1"),
            ("top_p", self.top_p is None or 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("min_p", self.min_p is None or 0 <= self.min_p <= 1, "between 0 and 1"),
            ("seed", 0 <= self.seed < 1 << 62, "a whole number, 0 or above"),
        )
        for name, good, words in rules:
            if not good:
                title = f"`{name}` is {getattr(self, name)}; it must be {words}"
                raise ArchError(Diagnostic("AD0809", title, hint="Leave it out to switch it off."))


class Sampler:
    """Chooses tokens for a batch, row by row independent. `seen` holds, for each row, which tokens occurred."""

    def __init__(self, how: Sampling, batch: int, vocab: int, device: torch.device):
        self.how = how
        self._streams = [torch.Generator(device="cpu").manual_seed(how.seed + row) for row in range(batch)]
        penalised = how.repetition_penalty != 1.0
        self.seen = torch.zeros(batch, vocab, dtype=torch.bool, device=device) if penalised else None

    def note(self, row: int, tokens: torch.Tensor) -> None:
        """Marks tokens of a row as seen."""
        if self.seen is not None:
            self.seen[row, tokens] = True

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Next tokens [batch] for logits [batch, vocab]."""
        logits = logits.float()
        if self.seen is not None:
            logits = torch.where(self.seen, _penalised(logits, self.how.repetition_penalty), logits)
        if self.how.temperature == 0:
            return logits.argmax(-1)
        probabilities = filtered(logits / self.how.temperature, self.how).softmax(-1).cpu()
        picks = [torch.multinomial(row, 1, generator=stream) for row, stream in zip(probabilities, self._streams)]
        return torch.cat(picks).to(logits.device)


def _penalised(logits: torch.Tensor, penalty: float) -> torch.Tensor:
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def filtered(logits: torch.Tensor, how: Sampling) -> torch.Tensor:
    """Logits [batch, vocab] with those that the filters drop at -inf. The most likely token always stays."""
    if how.top_k is not None and how.top_k < logits.shape[-1]:
        least = logits.topk(how.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    if how.top_p is not None and how.top_p < 1:
        order = logits.sort(dim=-1, descending=True)
        likely = order.values.softmax(-1)
        dropped = likely.cumsum(-1) - likely >= how.top_p  # what stands before already reaches p
        logits = logits.masked_fill(dropped.scatter(-1, order.indices, dropped), -torch.inf)
    if how.min_p:
        likely = logits.softmax(-1)
        logits = logits.masked_fill(likely < how.min_p * likely.amax(-1, keepdim=True), -torch.inf)
    return logits
