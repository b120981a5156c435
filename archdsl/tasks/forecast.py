"""Forecasting made-up series: floats in, floats out. The errors are held against the naive forecast, which repeats the last value seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from archdsl.tasks.base import Batch, Form, Measure, Option, Options, Split, generator

if TYPE_CHECKING:
    import numpy as np
    import torch

_KINDS = ("sines", "ar", "logistic")


class Forecast:
    """Made-up series of numbers, to be gone on with: the next value after each, or a number of values at the end.

    A series is [length, channels]; asked for are the `horizon` values that follow, [horizon, channels], or with horizon=0 the next value
    after each, [length, channels].

    kind "sines": three sines of random period (4 to `length`), phase and height for each channel, with noise of standard deviation `noise`.
    "ar": a stable process x_t = a x_(t-1) + b x_(t-2) + e_t, with a, b drawn for each row from complex poles of radius 0.7 to 0.98 (noise is
    e; without effect on the scale, which is normed). "logistic": x_t+1 = r x_t (1 - x_t), r from 3.6 to 4, observed with noise. All are
    scaled to about zero mean and unit variance.
    """

    name = "forecast"
    vocab = 0
    settings: Mapping[str, Any] = {}
    options: ClassVar[Options] = {
        "kind": Option("sines", "sines, ar or logistic", choices=_KINDS),
        "length": Option(96, "values that are seen", 4, 1 << 16),
        "horizon": Option(0, "values to foretell after them; 0: the next one after each", 0, 1 << 14),
        "channels": Option(1, "series side by side", 1, 1 << 10),
        "noise": Option(0.1, "standard deviation of the noise", 0.0, 100.0),
    }

    def __init__(self, kind: str = "sines", length: int = 96, horizon: int = 0, channels: int = 1, noise: float = 0.1):
        self.kind, self.length, self.horizon, self.channels, self.noise = kind, length, horizon, channels, noise

    @property
    def form(self) -> Form:
        return Form("series", (self.length, self.channels), "values", self.channels, (self.horizon or self.length, self.channels))

    @property
    def measures(self) -> dict[str, Measure]:
        """Guessing is to say the mean, 0, whatever is seen; for `skill` it is the naive forecast."""
        least = self.noise**2 / (1 + self.noise**2) if self.kind == "sines" else None
        return {
            "loss": Measure("mean square error", "min", 1.0, least),
            "mae": Measure("mean absolute error", "min"),
            "naive": Measure("mean square error of repeating the last value seen", "min"),
            "skill": Measure("1 - loss / naive, so the naive forecast has 0", "max", 0.0),
        }

    def batch(self, seed: int, step: int, size: int, split: Split) -> Batch:
        import numpy as np
        import torch

        random = generator(seed, step, split)
        total = self.length + max(1, self.horizon)
        made = {"sines": self._sines, "ar": self._ar, "logistic": self._logistic}[self.kind](random, size, total)
        values = torch.from_numpy(np.ascontiguousarray(made.astype(np.float32)))
        targets = values[:, self.length :] if self.horizon else values[:, 1:]
        return {"series": values[:, : self.length], "targets": targets.contiguous()}

    def _sines(self, random: np.random.Generator, size: int, total: int) -> np.ndarray:
        import numpy as np

        shape = (size, 1, self.channels, 3)
        period, phase = 4 * (self.length / 4) ** random.random(shape), random.random(shape)
        height = random.uniform(0.5, 1.0, shape)
        waves = height * np.sin(2 * np.pi * (np.arange(total)[None, :, None, None] / period + phase))
        clean = waves.sum(-1) / np.sqrt((height**2).sum(-1) / 2)  # unit variance over many periods
        return (clean + self.noise * random.standard_normal(clean.shape)) / np.sqrt(1 + self.noise**2)

    def _ar(self, random: np.random.Generator, size: int, total: int) -> np.ndarray:
        import numpy as np

        shape = (size, self.channels)
        radius, angle = random.uniform(0.7, 0.98, shape), random.uniform(0.05, 0.5, shape) * np.pi
        a, b = 2 * radius * np.cos(angle), -(radius**2)
        scale = np.sqrt((1 + b) * ((1 - b) ** 2 - a**2) / (1 - b))  # of e, so that x has variance 1
        shocks = random.standard_normal((total + 200, *shape)) * scale
        series = np.zeros((total + 200, *shape))
        for t in range(2, total + 200):
            series[t] = a * series[t - 1] + b * series[t - 2] + shocks[t]
        return series[200:].transpose(1, 0, 2)

    def _logistic(self, random: np.random.Generator, size: int, total: int) -> np.ndarray:
        import numpy as np

        shape = (size, self.channels)
        rate, x = random.uniform(3.6, 4.0, shape), random.uniform(0.1, 0.9, shape)
        series = np.empty((total + 50, *shape))
        for t in range(total + 50):
            x = rate * x * (1 - x)
            series[t] = x
        clean = (series[50:].transpose(1, 0, 2) - 0.6) / 0.3
        return (clean + self.noise * random.standard_normal(clean.shape)) / np.sqrt(1 + self.noise**2)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        return (fitted(outputs, batch["targets"]).float() - batch["targets"]).square().mean()

    def metrics(self, outputs: torch.Tensor, batch: Batch) -> dict[str, float]:
        targets, series = batch["targets"], batch["series"]
        apart = fitted(outputs, targets).float() - targets
        naive = float(((series[:, -1:] if self.horizon else series) - targets).square().mean())
        loss = float(apart.square().mean())
        return {"loss": loss, "mae": float(apart.abs().mean()), "naive": naive, "skill": 1 - loss / max(naive, 1e-12)}

    def show(self, batch: Batch, row: int) -> str:
        def said(values: torch.Tensor) -> str:
            numbers = [f"{value:.2f}" for value in values[:, 0].tolist()]
            return " ".join(numbers if len(numbers) <= 16 else [*numbers[:12], "…", *numbers[-3:]])

        return f"   {said(batch['series'][row])}\n=> {said(batch['targets'][row])}"


def fitted(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Outputs in the shape of the targets [B, N, C]: a model of one channel may leave its axis out."""
    return outputs.unsqueeze(-1) if outputs.dim() == targets.dim() - 1 else outputs
