"""What the proofs of rows share: a block as a module with its weights by name, short runs of training, sizes of what is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl

Named = dict[str, Tensor]
FILES = ("transformer", "residual", "gates", "units", "scans")
IMPORTS = "".join(f'import "std/{f}.arch"\n' for f in FILES)


def block(use: str, shape: str = "[T, 8]", *, more: str = "", move: float = 0.1) -> tuple[nn.Module, Named]:
    """A float64 module that is one block, its weights moved a little from where they begin, and these by their names within it."""
    model = archdsl.parse(f"{IMPORTS}{more}\narch A {{ in x: {shape}; return x -> it: {use} }}").build(dtype="float64").eval()
    moved(model, move)
    return model, {n.removeprefix("it."): p for n, p in model.named_parameters()}


def moved(model: nn.Module, by: float = 0.1) -> nn.Module:
    torch.manual_seed(2)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(by * torch.randn_like(p))
    return model


def lin(w: Named, name: str, x: Tensor) -> Tensor:
    return F.linear(x, w[f"{name}.weight"], w.get(f"{name}.bias"))


def heads(x: Tensor, h: int) -> Tensor:
    """[B, T, h c] -> [B, h, T, c]."""
    return x.unflatten(-1, (h, -1)).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def same(ours: Tensor, theirs: Tensor, *leaves: Tensor, tolerance: float = 1e-10) -> None:
    """Equal values, and equal gradients with respect to the leaves, of a random function of the result."""
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    torch.manual_seed(5)
    seed = torch.randn_like(ours)
    a = torch.autograd.grad((ours * seed).sum(), leaves, retain_graph=True)
    b = torch.autograd.grad((theirs * seed).sum(), leaves)
    for x, y in zip(a, b):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


def decoded(model: Any, tokens: Tensor, prompt: int, *fixed: Tensor) -> Tensor:
    """The outputs of a causal model read in pieces: a prompt, then one position at a time."""
    with torch.inference_mode():
        out, state = model.prefill(*fixed, tokens[:, :prompt])
        parts = [out]
        for t in range(prompt, tokens.shape[1]):
            out, state = model.step(tokens[:, t : t + 1], state)
            parts.append(out)
    return torch.cat(parts, 1)


def falls(model: nn.Module, loss: Callable[[int], Tensor], steps: int, lr: float = 1e-2) -> tuple[float, float]:
    """Adam on loss(step): the mean loss of the first and of the last tenth of the steps."""
    model.train()
    adam = torch.optim.Adam(model.parameters(), lr)
    losses = []
    for step in range(steps):
        value = loss(step)
        adam.zero_grad()
        value.backward()
        adam.step()
        losses.append(float(value.detach()))
    tenth = max(1, steps // 10)
    return sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth


def copying(model: nn.Module, vocab: int, half: int = 4, batch: int = 16) -> Callable[[int], Tensor]:
    """A loss for language models: the second half of each row repeats the first. A few rows, again and again: a short run is enough."""
    torch.manual_seed(1000)
    first = torch.randint(0, vocab, (batch, half))
    rows = torch.cat([first, first], 1)

    def loss(step: int) -> Tensor:
        logits = model(rows[:, :-1])
        return F.cross_entropy(logits[:, half - 1 :].flatten(0, 1), rows[:, half:].flatten())

    return loss


def kept_bytes(run: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for the backward one, each stored tensor once."""
    kept: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        run()
    return sum(kept.values())
