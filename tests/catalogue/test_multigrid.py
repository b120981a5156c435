"""Multigrid neural operators: MgNO against plain torch, as a solver, and trained."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archdsl
from archdsl.api import find
from tests.catalogue.learning import built, fell, losses, moved, parameters


def cycle(text: str, channels: int = 2) -> nn.Module:
    arch = f"arch A {{ in f: [{channels}, H, W] where H % 8 == 0 and W % 8 == 0; return f -> it: {text} }}"
    return archdsl.parse(find("mgno").read_text() + arch, arch="A", contracts=False).build(dtype="float64").eval()


def by_hand(model: nn.Module, f: Tensor, schedule: list[list[int]], mode: str, residual: bool) -> Tensor:
    """The V-cycle with the model's convolutions, in the order of the released code: down over the levels, then up."""
    where = {"zeros": "constant", "circular": "circular", "reflect": "reflect"}[mode]

    def conv(m: nn.Conv2d, x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (1, 1, 1, 1), where), m.weight, stride=m.stride)

    def smooth(units: Any, u: Tensor, f: Tensor) -> Tensor:
        for unit in units:
            u = u + conv(unit.S, f - conv(unit.A, u))
        return u

    def units(level: nn.Module, name: str) -> list[nn.Module]:
        rounds = getattr(level, name, None)
        return [r.Smooth for r in rounds] if rounds is not None else []

    u, level, kept = conv(model.it.S, f), model.it.Level, []
    for j, (before, after) in enumerate(schedule):
        count = before - (j == 0)
        first = units(level, "before" if hasattr(level, "before") else "repeat")[:count] if count else []
        rest = "repeat_2" if count and hasattr(level, "repeat_2") else "repeat"
        last = units(level, rest)[:after] if after else []
        u = smooth(first, u, f)
        kept.append((u, f, level, last))
        if j + 1 < len(schedule):
            below = level.Corrected
            f = conv(below.R, f - conv(below.A, u) if residual else f)
            u, level = conv(below.Pi, u), below.Level
    for (u_fine, f_fine, level, last), _ in zip(reversed(kept[:-1]), kept):
        u = smooth(last, u_fine + F.conv_transpose2d(u, level.Corrected.T.weight, stride=2, padding=1), f_fine)
    return u


@pytest.mark.row("mgno")
def test_mgno_has_the_counts_of_the_released_code() -> None:
    assert parameters("mgno") == 572_661
    pipe = {"depth": 5, "channels": 2, "schedule": [[1, 0], [1, 0], [1, 0], [1, 0], [1, 1], [2, 0]]}
    assert parameters("mgno", **pipe) == 783_876
    assert parameters("mgno_flow") == 2_885_194


@pytest.mark.row("mgno")
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect"])
@pytest.mark.parametrize(("schedule", "residual"), [([[1, 0], [1, 0], [2, 0]], False), ([[2, 1], [1, 2], [1, 0]], True)])
def test_the_cycle_against_plain_torch_and_linear(mode: str, schedule: list[list[int]], residual: bool) -> None:
    model = cycle(f'VCycle(3, {schedule}, "{mode}", {str(residual).lower()})')
    f, g = torch.randn(2, 2, 2, 16, 16, dtype=torch.float64)
    assert (model(f) - by_hand(model, f, schedule, mode, residual)).abs().max() < 1e-12
    assert (model(2 * f - 3 * g) - 2 * model(f) + 3 * model(g)).abs().max() < 1e-12


@pytest.mark.row("mgno")
def test_with_circular_padding_it_moves_with_its_input() -> None:
    """By multiples of the coarsest grid's distance, away from the borders (the transposed convolutions know these)."""
    model = cycle('VCycle(3, [[1, 0], [1, 0], [1, 0]], "circular")')
    f = torch.randn(1, 2, 64, 64, dtype=torch.float64)
    here, there = model(f).roll((4, 8), (2, 3)), model(f.roll((4, 8), (2, 3)))
    assert (here - there)[..., 24:-24, 24:-24].abs().max() < 1e-12
    assert (here - there).abs().max() > 1e-6


@pytest.mark.row("mgno")
def test_as_a_multigrid_solver_it_lowers_the_residual() -> None:
    """A, S, R and T set to the Poisson equation's stencil, damped Jacobi, full weighting and linear interpolation."""
    model = cycle("VCycle(1, [[2, 1], [2, 1], [2, 1], [8, 0]], residual=true)", 1)
    stencil = torch.tensor([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], dtype=torch.float64)
    ramp = torch.tensor([0.25, 0.75, 0.75, 0.25], dtype=torch.float64)
    weigh = torch.tensor([1, 2, 1], dtype=torch.float64) / 4
    with torch.no_grad():
        for name, m in model.named_modules():
            leaf = name.rpartition(".")[2]
            if leaf == "A":
                m.weight.copy_(stencil)
            elif leaf == "S":
                m.weight.zero_()
                m.weight[..., 1, 1] = 0.8 / 4
            elif leaf == "Pi":
                m.weight.zero_()
            elif leaf == "R":
                m.weight.copy_(4 * weigh[:, None] * weigh)  # the stencil of a grid twice as coarse is four times as small
            elif leaf == "T":
                m.weight.copy_(ramp[:, None] * ramp)
    f = torch.randn(1, 1, 32, 32, dtype=torch.float64)
    u, left = torch.zeros_like(f), []
    for _ in range(6):
        r = f - F.conv2d(u, stencil[None, None], padding=1)
        left.append(r.norm().item())
        u = u + model(r)
    assert all(b < 0.7 * a for a, b in itertools.pairwise(left))
    assert left[-1] < 0.02 * left[0]


@pytest.mark.row("mgno")
def test_the_flow_variant_normalises_and_adds_the_input() -> None:
    model = moved(built("mgno_flow", size=8, depth=1, width=3, schedule=[[1, 0], [1, 0]]))
    u = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    c = model.layers[0].cycle
    fine = F.conv2d(F.pad(u, (1,) * 4, "circular"), c.S.weight, c.S.bias)
    below = c.Level.Corrected
    coarse = F.conv2d(F.pad(fine, (1,) * 4, "circular"), below.Pi.weight, stride=2)
    f = F.conv2d(F.pad(u, (1,) * 4, "circular"), below.R.weight, stride=2)
    unit = below.Level.repeat[0].Smooth
    left = f - F.conv2d(F.pad(coarse, (1,) * 4, "circular"), unit.A.weight, unit.A.bias)
    coarse = coarse + F.conv2d(F.pad(left, (1,) * 4, "circular"), unit.S.weight, unit.S.bias)
    y = fine + F.conv_transpose2d(coarse, below.T.weight, stride=2, padding=1)
    y = F.layer_norm(y, (3, 8, 8), below.norm.weight.view(3, 8, 8), below.norm.bias.view(3, 8, 8))
    assert (model(u) - u - F.conv2d(F.gelu(y), model.last.weight)).abs().max() < 1e-12


def darcy(count: int, size: int) -> tuple[Tensor, Tensor]:
    """-div(a grad u) = 1 with two-valued a and u = 0 around, solved densely on a small grid. a [N, 1, n, n], u alike."""
    rng = torch.Generator().manual_seed(0)
    noise = F.interpolate(torch.randn(count, 1, 5, 5, generator=rng), (size, size), mode="bicubic")
    a = torch.where(noise > 0, 12.0, 3.0)
    matrix = torch.zeros(count, size * size, size * size)
    index = torch.arange(size * size).view(size, size)
    wide = F.pad(a[:, 0], (1, 1, 1, 1), mode="replicate")
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        other = wide[:, 1 + dy : 1 + dy + size, 1 + dx : 1 + dx + size]
        w = 2 * a[:, 0] * other / (a[:, 0] + other)
        matrix[:, index.flatten(), index.flatten()] += w.flatten(1)
        ys, xs = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        inside = (ys + dy >= 0) & (ys + dy < size) & (xs + dx >= 0) & (xs + dx < size)
        to = (ys + dy).clamp(0, size - 1) * size + (xs + dx).clamp(0, size - 1)
        matrix[:, index[inside], to[inside]] -= w[:, inside]
    u = torch.linalg.solve(matrix, torch.ones(count, size * size, 1) / (size + 1) ** 2).view(count, 1, size, size)
    return (a - a.mean()) / a.std(), u / u.std()


@pytest.mark.row("mgno")
@pytest.mark.slow
def test_mgno_learns_the_darcy_problem_better_than_a_plain_network() -> None:
    a, u = darcy(80, 16)
    settings = {"depth": 2, "width": 8, "schedule": [[1, 0], [1, 0], [1, 0], [2, 0]]}
    torch.manual_seed(0)
    mine = built("mgno", "float32", **settings)
    wanted = sum(p.numel() for p in mine.parameters())
    width = max(n for n in range(4, 64) if 9 * n + n + 4 * (9 * n * n + n) + n + 1 <= wanted)
    layers = [nn.Conv2d(1, width, 3, padding=1), *(nn.Sequential(nn.GELU(), nn.Conv2d(width, width, 3, padding=1)) for _ in range(4))]
    plain = nn.Sequential(*layers, nn.GELU(), nn.Conv2d(width, 1, 1))
    errors = []
    for model in (mine, plain):

        def loss(m: nn.Module, chosen: Tensor) -> Tensor:
            return ((m(a[chosen]) - u[chosen]).flatten(1).norm(dim=1) / u[chosen].flatten(1).norm(dim=1)).mean()

        found = losses(model, lambda s: torch.randint(64, (16,), generator=torch.Generator().manual_seed(s)), loss, 150, 0.005)
        with torch.inference_mode():
            errors.append(loss(model, torch.arange(64, 80)).item())
        assert fell(found, 0.7)
    assert errors[0] < 0.8 * errors[1]
