"""Measures an activation: a small network with it fits a curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from archdsl.search.activations import ActCandidate
from archdsl.search.base import Report

if TYPE_CHECKING:
    from torch import Tensor, nn

_NET = """
arch Net(width = 16) {
    in x: [1]
    return x -> linear(width) -> found -> linear(width) -> found -> linear(1)
}
"""


class CurveFit:
    """The mean squared error on unseen points between those trained on, of sin(2x) + |x| / 2 on [-3, 3] after `budget` steps of Adam.

    points: trained on at each step; there are as many unseen ones. A network that diverges has an infinite loss.
    """

    metrics = ("loss",)

    def __init__(self, points: int = 128, width: int = 16, rate: float = 0.01, every: int = 50) -> None:
        self.points, self.width, self.rate, self.every = points, width, rate, every

    def __call__(self, candidate: ActCandidate, seed: int, budget: int, report: Report) -> dict[str, float]:
        import torch

        model = self.network(candidate, seed)
        places = torch.linspace(-3, 3, 2 * self.points).unsqueeze(1)
        curve = (2 * places).sin() + places.abs() / 2
        seen, unseen = slice(0, None, 2), slice(1, None, 2)
        optimiser = torch.optim.Adam(model.parameters(), self.rate)
        for step in range(1, budget + 1):
            optimiser.zero_grad()
            loss = (model(places[seen]) - curve[seen]).square().mean()
            if not loss.isfinite():
                return {"loss": math.inf}
            loss.backward()
            optimiser.step()
            if step % self.every == 0 and report(step, _error(model, places[unseen], curve[unseen])):
                break
        return {"loss": _error(model, places[unseen], curve[unseen])}

    def network(self, candidate: ActCandidate, seed: int) -> nn.Module:
        """A network of two hidden layers with the activation; [points, 1] -> [points, 1]."""
        import archdsl

        return archdsl.parse(candidate.text() + _NET, width=self.width).build(seed=seed)


def _error(model: nn.Module, places: Tensor, curve: Tensor) -> float:
    import torch

    with torch.no_grad():
        error = (model(places) - curve).square().mean().item()
    return error if math.isfinite(error) else math.inf
