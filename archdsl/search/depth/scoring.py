"""Scoring: length-normalised log-likelihoods of the choices of questions, margins, accuracy and its interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from archdsl.search.depth.prefixes import MEMORY, Prefixes
from archdsl.search.depth.program import Program
from archdsl.search.depth.stack import Branched, Hidden, Stack, Whole


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt and its choices as tokens; `right` is the place of the right one, or of the one called right where none is."""

    prompt: tuple[int, ...]
    choices: tuple[tuple[int, ...], ...]
    right: int


@dataclass(frozen=True)
class Scores:
    """What a program makes of questions. values: [questions, choices], mean log-probability of a choice's tokens; right: [questions]."""

    values: Tensor
    right: Tensor

    @property
    def margins(self) -> Tensor:
        """By how much the right choice leads the best of the others, -1..1; [questions].

        Each choice's share is the softmax of `values` over the choices. In plain nats a program that only sharpens the model's outputs
        (loops of late layers do) would gain margin without one answer more.
        """
        shares = self.values.double().softmax(1)
        mask = torch.nn.functional.one_hot(self.right, shares.shape[1]).bool()
        return shares[mask] - shares.masked_fill(mask, -math.inf).max(1).values

    @property
    def verdicts(self) -> Tensor:
        """Whether the right choice is ahead; [questions]. A tie is no answer."""
        mask = torch.nn.functional.one_hot(self.right, self.values.shape[1]).bool()
        return self.values[mask] > self.values.masked_fill(mask, -math.inf).max(1).values

    @property
    def margin(self) -> float:
        """The mean margin; minus infinity if the program yields no numbers."""
        mean = float(self.margins.mean())
        return mean if math.isfinite(mean) else -math.inf

    @property
    def correct(self) -> int:
        return int(self.verdicts.sum())

    @property
    def accuracy(self) -> float:
        return self.correct / len(self.right)


class Exam:
    """Questions scored under programs of a stack, in parts of `batch` questions; programs that begin alike share that beginning.

    Equal programs give equal bits whatever else was scored, since the shapes never change. memory: bytes of states kept, for all parts.
    """

    def __init__(self, stack: Stack, questions: Sequence[Question], batch: int = 32, memory: int = MEMORY):
        self.stack, self.questions = stack, list(questions)
        parts = [self.questions[i : i + batch] for i in range(0, len(self.questions), batch)]
        make = _BranchedPart if stack.decodes else _WholePart
        self.parts = [make(stack, part, memory // len(parts)) for part in parts]
        self.right = torch.tensor([q.right for q in self.questions])

    @property
    def runs(self) -> float:
        """Layers run so far, in passes over all questions."""
        return sum(part.prefixes.runs * len(part.questions) for part in self.parts) / len(self.questions)

    @property
    def tokens(self) -> int:
        """Token positions that one layer run works on, padding included."""
        return sum(part.tokens for part in self.parts)

    @torch.inference_mode()
    def score(self, program: Program) -> Scores:
        values = torch.cat([part.values(part.prefixes.state(program)) for part in self.parts])
        return Scores(values, self.right)


class _Part:
    """Questions of one batch."""

    def __init__(self, stack: Stack, questions: Sequence[Question]):
        self.stack, self.questions = stack, questions
        self.ways = len(questions[0].choices)
        self.choices = [c for q in questions for c in q.choices]
        self.targets = pad(self.choices)
        self.sizes = torch.tensor([len(c) for c in self.choices])

    def means(self, logits: Tensor) -> Tensor:
        """Mean log-probability of each choice from the logits before each of its tokens [questions * ways, time, vocabulary]."""
        found = logits.float().log_softmax(-1).gather(-1, self.targets[..., None])[..., 0]
        real = torch.arange(found.shape[1]) < self.sizes[:, None]
        return (found.where(real, 0.0).sum(1) / self.sizes).view(-1, self.ways)


class _BranchedPart(_Part):
    """What all prompts begin with is read once, then each prompt once, then the choices; a choice's last token is never read, since nothing
    follows it."""

    def __init__(self, stack: Stack, questions: Sequence[Question], memory: int):
        super().__init__(stack, questions)
        prompts = [q.prompt for q in questions]
        shared = common(prompts)
        own = [p[shared:] for p in prompts]
        self.ends = torch.tensor([len(p) - 1 for p in own])
        levels = [(pad([prompts[0][:shared]]), torch.tensor([shared]))] if shared else []
        self.level = len(levels)  # where the prompts end
        levels.append((pad(own), self.ends + 1))
        if self.targets.shape[1] > 1:
            levels.append((self.targets[:, :-1], self.sizes - 1))
        self.tokens = sum(tokens.numel() for tokens, _ in levels)
        self.work = Branched(stack, levels)
        self.prefixes = Prefixes(self.work, memory)

    def values(self, hidden: Hidden) -> Tensor:
        levels = self.work.split(hidden)
        rows = torch.arange(len(self.ends))
        found = [x[rows, self.ends][:, None].repeat_interleave(self.ways, 0) for x in levels[self.level]]
        for way in levels[self.level + 1 :]:
            found = [torch.cat((first, more), 1) for first, more in zip(found, way)]
        return self.means(self.stack.finish(tuple(found)))


class _WholePart(_Part):
    """Each choice is read with its prompt; for models that do not decode."""

    def __init__(self, stack: Stack, questions: Sequence[Question], memory: int):
        super().__init__(stack, questions)
        texts = [q.prompt + c for q in questions for c in q.choices]
        self.lengths = torch.tensor([len(t) for t in texts])
        self.begin = torch.tensor([len(q.prompt) - 1 for q in questions for _ in q.choices])
        self.tokens = pad(texts).numel()
        self.prefixes = Prefixes(Whole(stack, (pad(texts),), self.lengths), memory)

    def values(self, hidden: Hidden) -> Tensor:
        logits = self.stack.finish(hidden, self.lengths)
        places = (self.begin[:, None] + torch.arange(self.targets.shape[1])).clamp(max=logits.shape[1] - 1)
        return self.means(logits.gather(1, places[..., None].expand(-1, -1, logits.shape[-1])))


def common(rows: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all rows begin with, leaving each at least one of its own; 0 for a single row."""
    if len(rows) < 2:
        return 0
    low, high, most = min(rows), max(rows), min(map(len, rows)) - 1  # what the first and last in order share, all share
    return next((i for i in range(most) if low[i] != high[i]), most)


def pad(rows: Sequence[Sequence[int]]) -> Tensor:
    """Token rows padded on the right with zeros: [rows, longest]."""
    return pad_sequence([torch.tensor(row, dtype=torch.long) for row in rows], batch_first=True)


# ---- intervals ------------------------------------------------------------------------------------------------------------------


def wilson(right: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share (95% by default)."""
    if total == 0:
        return 0.0, 1.0
    share, spread = right / total, z * z / total
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / total + spread / (4 * total)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def sign_test(gained: int, lost: int) -> float:
    """Two-sided chance of so uneven a split of changed verdicts if gains and losses were alike (McNemar's exact test)."""
    changed = gained + lost
    tail = sum(math.comb(changed, k) for k in range(min(gained, lost) + 1)) / 2**changed
    return min(1.0, 2 * tail)
