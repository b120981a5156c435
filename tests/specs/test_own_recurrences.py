"""Three recurrences that are in no paper go from text to a trained, decoding model with no Python."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import archdsl
from archdsl.cli.app import app

FILE = Path(__file__).parents[2] / "examples/recurrences.arch"
MIXERS = ("Echo", "Bouncing", "Erasing")


@pytest.mark.parametrize("mixer", MIXERS)
def test_kernel_is_the_loop_and_steps_are_the_whole(mixer, monkeypatch):
    spec = archdsl.load(FILE, Mixer=mixer, d=12)
    tokens = torch.randint(0, 64, (2, 21))
    kernel = spec.build(seed=0, dtype=torch.float64)
    by_kernel = kernel(tokens)
    ours = torch.autograd.grad(by_kernel.square().sum(), list(kernel.parameters()))
    monkeypatch.setenv("ARCHDSL_KERNELS", "loop")
    loop = spec.build(seed=0, dtype=torch.float64)
    whole = loop(tokens)
    assert torch.allclose(by_kernel, whole, rtol=1e-9, atol=1e-12)
    theirs = torch.autograd.grad(whole.square().sum(), list(loop.parameters()))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-8, atol=1e-10)
    with torch.inference_mode():
        y, state = kernel.prefill(tokens[:, :13])
        assert torch.allclose(y, whole[:, :13], rtol=1e-9, atol=1e-12)
        for t in range(13, 21):
            y, state = kernel.step(tokens[:, t : t + 1], state)
            assert torch.allclose(y[:, -1], whole[:, t], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("mixer", "below"), [("Echo", 2.0), ("Bouncing", 2.0), ("Erasing", 0.2)])
def test_trains_from_the_command_line(mixer, below, tmp_path):
    """Recall over 32 tokens: the matrix state learns it, the vectors get better than guessing (2.08)."""
    command = ["train", str(FILE), "--set", f"Mixer={mixer}", "--task", "in_context_recall", "--seq", "32", "--lr", "3e-3"]
    done = CliRunner().invoke(app, [*command, "--steps", "250", "--save", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    reached = float(done.output.rpartition("test: loss ")[2].split()[0])
    assert reached < below
