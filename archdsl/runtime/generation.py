"""Generation: tokens one after another from a built model, streamed, for one prompt or a batch of prompts of different lengths.

The prompt is read once (`prefill`), then each token costs one `step` with the state the model keeps.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.runtime.pace import Pace
from archdsl.runtime.sampling import Sampler, Sampling
from archdsl.runtime.tokenizer import Detokenizer, Tokenizer

Prompt = Sequence[int] | torch.Tensor


def generate(
    model: nn.Module,
    tokens: Prompt,
    *,
    max_new: int = 128,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    seed: int = 0,
    stop: Collection[int] = (),
    cache: bool = True,
) -> Iterator[int]:
    """Yields new tokens of one prompt (numbers, or a tensor [T] or [1, T]). A token in `stop` ends it and is not yielded.

    For the options see `Sampling`; cache=False reads the whole text anew for each token (slow; for comparison). Raises AD0809.
    """
    how = Sampling(repetition_penalty, temperature, top_k, top_p, min_p, seed)
    prompt = torch.as_tensor(tokens, dtype=torch.long)
    for row in generate_batch(model, prompt.reshape(1, -1), max_new=max_new, sampling=how, stop=stop, cache=cache):
        if row[0] is not None:
            yield row[0]


def generate_batch(
    model: nn.Module,
    tokens: torch.Tensor | Sequence[Prompt],
    *,
    lengths: torch.Tensor | Sequence[int] | None = None,
    max_new: int = 128,
    sampling: Sampling | None = None,
    stop: Collection[int] = (),
    cache: bool = True,
) -> Iterator[list[int | None]]:
    """Yields, for each new position, one token per prompt; None once that prompt has ended (by `stop`).

    tokens: [B, T] with `lengths` [B] if padded on the right, or a list of prompts. Raises AD0809.
    """
    batch, sizes = _batch(tokens, lengths)
    if max_new < 0:
        raise _bad(f"`max_new` is {max_new}; it must be 0 or above")
    if cache and not (hasattr(model, "prefill") and hasattr(model, "step")):
        raise _bad("this model has no decoding step", "Use cache=False to read the whole text anew for each token.")
    return _run(model, batch, sizes, max_new, sampling or Sampling(), frozenset(stop), cache)


def _batch(tokens: torch.Tensor | Sequence[Prompt], lengths: torch.Tensor | Sequence[int] | None) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(tokens, torch.Tensor):
        batch = tokens.long()
        if batch.dim() != 2:
            raise _bad(f"the prompts are a tensor of {batch.dim()} axes; [batch, time] is needed")
        sizes = torch.full((batch.shape[0],), batch.shape[1]) if lengths is None else torch.as_tensor(lengths, dtype=torch.long)
    else:
        rows = [torch.as_tensor(row, dtype=torch.long) for row in tokens]
        sizes = torch.tensor([len(row) for row in rows], dtype=torch.long)
        batch = nn.utils.rnn.pad_sequence(rows, batch_first=True) if rows else torch.zeros(0, 0, dtype=torch.long)
    if batch.shape[0] == 0 or sizes.shape != batch.shape[:1] or int(sizes.min()) < 1 or int(sizes.max()) > batch.shape[1]:
        raise _bad(f"the prompts have lengths {sizes.tolist()} in {list(batch.shape)}", "Each prompt needs at least one token.")
    return batch, sizes


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _run(
    model: nn.Module, batch: torch.Tensor, sizes: torch.Tensor, max_new: int, how: Sampling, stop: frozenset[int], cache: bool
) -> Iterator[list[int | None]]:
    """The loop itself. Gradient mode is entered for each call only, never across a yield, where the caller's code runs."""
    device = _device(model)
    reader = _Cached(model, device) if cache else _Plain(model)
    training = model.training
    model.eval()
    try:
        if max_new == 0:
            return
        logits = reader.start(batch.to(device), sizes.to(device))
        sampler = Sampler(how, batch.shape[0], logits.shape[-1], logits.device)
        for row, size in enumerate(sizes.tolist()):
            sampler.note(row, batch[row, :size].to(device))
        running = [True] * batch.shape[0]
        for count in range(1, max_new + 1):
            chosen = sampler.choose(logits)
            numbers = chosen.tolist()
            running = [alive and number not in stop for alive, number in zip(running, numbers)]
            if not any(running):
                return
            yield [number if alive else None for alive, number in zip(running, numbers)]
            if count == max_new:
                return
            for row in range(len(numbers)):
                sampler.note(row, chosen[row])
            logits = reader.next(chosen)
    finally:
        model.train(training)


class _Cached:
    """prefill, then step."""

    def __init__(self, model: Any, device: torch.device):
        self.model, self.state = model, None
        self.pace = Pace(torch.get_num_threads() if device.type == "cpu" else 1)

    @torch.inference_mode()
    def start(self, batch: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        ragged = bool((sizes != batch.shape[1]).any())
        logits, self.state = self.model.prefill(batch, lengths=sizes if ragged else None, last_only=True)
        return _last(logits, sizes)

    @torch.inference_mode()
    def next(self, chosen: torch.Tensor) -> torch.Tensor:
        logits, self.state = self.pace.run(lambda: self.model.step(chosen[:, None], self.state))
        return logits[:, -1]


class _Plain:
    """The whole text for each token."""

    def __init__(self, model: nn.Module):
        self.model = model

    @torch.inference_mode()
    def start(self, batch: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        self.batch, self.sizes = batch, sizes
        ragged = bool((sizes != batch.shape[1]).any())
        return _last(self.model(batch, lengths=sizes) if ragged else self.model(batch), sizes)

    @torch.inference_mode()
    def next(self, chosen: torch.Tensor) -> torch.Tensor:
        longer = nn.functional.pad(self.batch, (0, 1))
        longer.scatter_(1, self.sizes[:, None], chosen[:, None])
        return self.start(longer, self.sizes + 1)


def _last(logits: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
    """Logits [B, vocab] at each prompt's own last token."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[torch.arange(logits.shape[0], device=logits.device), sizes - 1]


def stream_text(
    model: nn.Module, tokenizer: Tokenizer, prompt: str | Sequence[int], *, stop: Sequence[str] = (), **options: Any
) -> Iterator[str]:
    """Yields pieces of text as they become whole. Ends at the tokenizer's end tokens, or before the first of the `stop` texts.

    options: those of `generate`.
    """
    numbers = tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
    detokenizer, held = Detokenizer(tokenizer), ""
    for token in generate(model, numbers, **{"stop": tokenizer.eos, **options}):
        held += detokenizer.push(token)
        ends = [at for text in stop if (at := held.find(text)) >= 0]
        if ends:
            yield held[: min(ends)]
            return
        # What could be the beginning of a stop text waits.
        wait = max((n for text in stop for n in range(1, len(text)) if held.endswith(text[:n])), default=0)
        ready, held = held[: len(held) - wait], held[len(held) - wait :]
        if ready:
            yield ready
    rest = held + detokenizer.flush()
    if rest:
        yield rest


def _bad(title: str, hint: str = "") -> ArchError:
    return ArchError(Diagnostic("AD0809", title, hint=hint))
