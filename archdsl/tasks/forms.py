"""What tasks of one form share: loss, metrics, and how a row is shown."""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import TYPE_CHECKING, Any

from archdsl.tasks.base import IGNORED, Batch, Form, Input, Measure, token_loss, token_metrics

if TYPE_CHECKING:
    import torch

_WIDTH = 100  # characters in a shown line


class TokenTask:
    """Tokens in, one answer at each asked position.

    `answers`: how many answers are equally likely to one who knows the rules and cannot use the row; `length`: tokens in a row;
    `asked`: asked positions in a row, 0 where that varies.
    """

    name: str = ""
    vocab: int = 0
    length: int = 0
    answers: float = 0
    asked: int = 0
    settings: Mapping[str, Any] = {}

    @property
    def form(self) -> Form:
        return Form("tokens", (self.length,), "tokens", self.vocab)

    @property
    def measures(self) -> dict[str, Measure]:
        share = 1 / self.answers if self.answers else None
        rows = share**self.asked if share is not None and self.asked else None
        return {
            "loss": Measure("cross-entropy in nats per asked token", "min", log(self.answers) if self.answers else None, 0.0),
            "accuracy": Measure("share of asked tokens that are right", "max", share, 1.0),
            "rows_right": Measure("share of rows with every asked token right", "max", rows, 1.0),
        }

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return token_loss(outputs, batch["targets"])

    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]:
        return token_metrics(outputs, batch)

    def word(self, token: int) -> str:
        """A token as text."""
        return str(token)

    def show(self, batch: Batch, row: int) -> str:
        """The tokens, and below each the answer where one is asked."""
        count = int(batch["lengths"][row]) if "lengths" in batch else batch["tokens"].shape[1]
        pairs = zip(batch["tokens"][row, :count].tolist(), batch["targets"][row, :count].tolist())
        return two_lines([(self.word(token), "" if target == IGNORED else self.word(target)) for token, target in pairs])


class LabelTask(TokenTask):
    """Tokens, an image or a series in, one of `classes` out. A model with logits at each position answers at the last one.

    With `each` set, a row's targets are [T], a class after each token, and it is a token task.
    """

    classes: int = 2
    each: bool = False
    input: Input = "tokens"
    shape: tuple[int, ...] = ()

    @property
    def form(self) -> Form:
        return Form(self.input, self.shape or (self.length,), "tokens" if self.each else "class", self.classes)

    @property
    def measures(self) -> dict[str, Measure]:
        what = "answers" if self.each else "rows"
        found = {
            "loss": Measure("cross-entropy in nats", "min", log(self.classes), 0.0),
            "accuracy": Measure(f"share of {what} that are right", "max", 1 / self.classes, 1.0),
        }
        return found | ({"rows_right": Measure("share of rows right after every token", "max", None, 1.0)} if self.each else {})

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return token_loss(at_end(outputs, batch), batch["targets"])

    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]:
        found = token_metrics(at_end(outputs, batch), batch)
        return {name: found[name] for name in self.measures}

    def label(self, number: int) -> str:
        """A class as text."""
        return str(number)

    def show(self, batch: Batch, row: int) -> str:
        tokens: list[int] = batch["tokens"][row].tolist()
        targets: Any = batch["targets"][row].tolist()
        count = int(batch["lengths"][row]) if "lengths" in batch else len(tokens)
        words = [self.word(token) for token in tokens[:count]]
        if self.each:
            return two_lines([(word, self.label(target)) for word, target in zip(words, targets)])
        return f"{' '.join(words)}\n=> {self.label(targets)}"


def at_end(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Logits in line with the targets: where each row has one, and the model gives logits at each position, those of its last position."""
    import torch

    if outputs.dim() == batch["targets"].dim() + 1:
        return outputs
    if "lengths" not in batch:
        return outputs[:, -1]
    return outputs[torch.arange(len(outputs), device=outputs.device), batch["lengths"] - 1]


def two_lines(pairs: list[tuple[str, str]]) -> str:
    """Words with others below them, folded into lines."""
    lines: list[list[str]] = []
    above, below = "", ""
    for upper, lower in pairs:
        width = max(len(upper), len(lower), 1)
        if above and len(above) + width + 1 > _WIDTH:
            lines.append([above.rstrip(), below.rstrip()])
            above, below = "", ""
        above += upper.rjust(width) + " "
        below += (lower or ".").rjust(width) + " "
    lines.append([above.rstrip(), below.rstrip()])
    return "\n".join(f"   {a}\n=> {b}" for a, b in lines)
