"""Specs chosen because they are hard to say: each builds, runs forward and backward with finite gradients, and keeps its contracts."""

from __future__ import annotations

import pytest
import torch

import archdsl
from tests.specs.small import HARD, first, inputs, model, spec

RUN = [f"hard/{p.name}" for p in sorted(HARD.glob("*.arch")) if p.name != "depthprog.arch"]
UNVISITED = ".experts."  # few tokens do not reach every expert


@pytest.mark.parametrize("key", RUN)
def test_runs_forward_and_backward(key: str) -> None:
    archdsl.load(HARD.parent / key)  # with its contracts
    made, of = model(key), spec(key)
    assert sum(p.numel() for p in made.parameters()) == of.parameters
    made.zero_grad()
    out = first(made(**inputs(of, T=16)))
    assert torch.isfinite(out).all()
    (out * torch.randn_like(out)).sum().backward()
    grads = {n: p.grad for n, p in made.named_parameters()}
    assert [n for n, g in grads.items() if g is not None and not torch.isfinite(g).all()] == []
    assert [n for n, g in grads.items() if g is None and UNVISITED not in n] == []


def test_a_depth_program_reuses_the_stack() -> None:
    """Layers 0 to 10, 11 to 13 twice, 17 to 29: three layers dropped, nothing new."""
    of = archdsl.load(HARD / "depthprog.arch")
    assert of.parameters == archdsl.load("smollm2").parameters
    assert of.causality.decodable


@pytest.mark.slow
@torch.inference_mode()
def test_a_depth_program_decodes() -> None:
    made = archdsl.load(HARD / "depthprog.arch").build().eval()
    tokens = torch.randint(0, 1000, (1, 6))
    whole = made(tokens)
    out, state = made.prefill(tokens[:, :4])
    rest, _ = made.step(tokens[:, 4:], state)
    assert (torch.cat([out, rest], 1) - whole).abs().max() < 1e-3
