"""Support functions are traced whole: no graph break, no branch on data, any length of time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.primitives.helpers import SUPPORT

S = SUPPORT
LENGTHS = torch.tensor([5, 3])

CASES = {
    "rotary": lambda x: S["rotary"](x),
    "rotary_yarn": lambda x: S["rotary"](x, scaling=("yarn", 4.0, 32.0, 1.0, 64), interleaved=True, size=4),
    "sinusoidal": lambda x: S["add_sinusoid"](x),
    "attend": lambda x: S["attend"](x, x[:, :2], x[:, :2], causal=True),
    "attend_lengths": lambda x: S["attend"](x, x[:, :2], x[:, :2], lengths=LENGTHS, window=3),
    "attend_alibi": lambda x: S["attend"](x, x, x, causal=True, bias="alibi", softcap=2.0, sinks=torch.zeros(4)),
    "attend_window": lambda x: S["attend_window"](x, x, x, 2, causal=True),
    "attend_chunks": lambda x: S["attend_chunks"](x, x, x, 4, lengths=LENGTHS),
    "attend_relu": lambda x: S["attend"](x, x, x, causal=True, score="relu", normalise="length"),
    "causal_conv": lambda x: S["causal_conv"](x, torch.ones(8, 1, 4), None, groups=8),
    "causal_conv_full": lambda x: S["causal_conv"](x, torch.ones(6, 8, 4), torch.ones(6), dilation=2),
    "zero_beyond": lambda x: S["zero_beyond"](x, LENGTHS, -2),
    "rms_norm": lambda x: S["rms_norm"](x, None, 1e-6, axis=-3),
    "group_norm": lambda x: S["group_norm"](x, 2, None, None, 1e-5, -3, lengths=LENGTHS, ragged=-2),
    "l2_norm": lambda x: S["l2_norm"](x),
}


class Call(nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return CASES[self.name](x)


@pytest.mark.parametrize("name", CASES)
def test_exported_with_a_free_length(name):
    x = torch.randn(2, 4, 6, 8)
    time = torch.export.Dim("time", min=2, max=4096)
    program = torch.export.export(Call(name), (x,), dynamic_shapes={"x": {2: time}})
    for length in (6, 9):
        y = torch.randn(2, 4, length, 8)
        torch.testing.assert_close(program.module()(y), CASES[name](y), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["rotary", "attend_alibi", "attend_window", "causal_conv", "group_norm"])
def test_compiled_in_one_graph(name):
    torch.compiler.reset()
    compiled = torch.compile(Call(name), backend="aot_eager", fullgraph=True, dynamic=True)
    for length in (6, 9):
        x = torch.randn(2, 4, length, 8, requires_grad=True)
        y = compiled(x)
        y.square().sum().backward()
        expected = CASES[name](x.detach())
        torch.testing.assert_close(y.detach(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("name", ["rotary", "sinusoidal", "attend", "attend_lengths", "rms_norm", "l2_norm", "zero_beyond"])
def test_dtype_is_kept_and_meta_works(name, dtype):
    x = torch.randn(2, 4, 6, 8, dtype=dtype)
    y = CASES[name](x)
    assert y.dtype == dtype
    assert torch.isfinite(y).all()
    if "lengths" not in name and name != "zero_beyond":
        assert CASES[name](x.to("meta")).shape == y.shape
