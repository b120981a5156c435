"""Small training runs for the catalogue's proofs: real digits, and a loop that gives the losses."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl


@cache
def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits: images [N, 1, 8, 8] around zero and classes, 1,400 to learn from and the rest to ask about."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    images, classes = images[order], torch.tensor(data.target)[order]
    return images[:1400], classes[:1400], images[1400:], classes[1400:]


def losses(
    model: nn.Module,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any], Tensor],
    steps: int,
    rate: float = 0.01,
    kind: str = "adam",
    clip: float | None = None,
) -> list[float]:
    """The loss of every step of plain training at a rate that falls to zero along a cosine."""
    model.train()
    made = torch.optim.Adam(model.parameters(), rate) if kind == "adam" else torch.optim.SGD(model.parameters(), rate, 0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(made, steps)
    found = []
    for step in range(steps):
        made.zero_grad()
        value = loss(model, batch(step))
        value.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        schedule.step()
        found.append(value.item())
    return found


def on_digits(model: nn.Module, steps: int, size: int = 64, enlarge: int = 1, **options: Any) -> tuple[list[float], float]:
    """Losses of learning the digits, and the accuracy on those never seen. Images may be enlarged for models that shrink their maps."""
    images, classes, asked, wanted = digits()

    def batch(step: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(len(images), (size,), generator=torch.Generator().manual_seed(step))
        return grown(images[chosen], enlarge), classes[chosen]

    found = losses(model, batch, lambda m, b: F.cross_entropy(first(m(b[0])), b[1]), steps, **options)
    model.eval()
    with torch.inference_mode():
        return found, (first(model(grown(asked, enlarge))).argmax(-1) == wanted).float().mean().item()


def grown(images: Tensor, factor: int) -> Tensor:
    return images if factor == 1 else images.repeat_interleave(factor, -1).repeat_interleave(factor, -2)


def first(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def fell(found: list[float], to: float) -> bool:
    """Whether the mean of the last tenth is below `to` times that of the first tenth."""
    n = max(1, len(found) // 10)
    return sum(found[-n:]) < to * sum(found[:n])


def moved(model: nn.Module, by: float = 0.1) -> nn.Module:
    """The model in evaluation, no weight at a special value; running statistics moved too, variances staying above zero."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
            tensor.add_(by * (torch.rand_like(tensor) if tensor.min() >= 0.9 else torch.randn_like(tensor)))
    return model.eval()


def built(path: str, dtype: str = "float64", **settings: Any) -> nn.Module:
    """A spec at a small size, its contracts left alone."""
    return archdsl.load(path, contracts=False, **settings).build(dtype=dtype)


def parameters(path: str, **settings: Any) -> int:
    """The exact count at other settings."""
    return archdsl.load(path, contracts=False, **settings).parameters


def gmacs(path: str, settings: dict[str, Any], **sizes: int) -> float:
    """Multiply-adds of one input, in thousands of millions."""
    return float(archdsl.load(path, contracts=False, **settings).flops(**sizes)) / 2e9
