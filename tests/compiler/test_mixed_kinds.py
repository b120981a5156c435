"""Real numbers and complex ones, ints and floats in one product: torch multiplies matrices of one dtype only."""

from __future__ import annotations

import pytest
import torch

import archdsl

SPEC = """
arch Mixed {
    in x: [T, 4]
    in n: int[T]
    z = complex(cos(x), sin(x))
    rows = real(x @ rearrange(z, "t d -> d t"))
    entries = imag(einsum("t d, t d -> t", x, z))
    counted = einsum("t, t d -> d", n, x)
    return rows, entries, counted, 2 ** (-1 - arange(4))
}
"""
SCAN = """
scan turning {
    in q: [n]; in k: [n]; in v: [m]
    param w: [n] ~ uniform(0, 6)
    state S: complex[n, m] = 0
    S' = diag(0.9 * complex(cos(w), sin(w))) @ S + outer(k, v)
    yield real(q @ S')
}
arch A { in x: [T, 8]; return turning(linear(4)(x), linear(4)(x), x) }
expect causal
"""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products(dtype: torch.dtype) -> None:
    x, n = torch.randn(2, 3, 4, dtype=dtype), torch.tensor([[1, 2, 3], [0, 5, 0]])
    z = torch.polar(torch.ones_like(x), x)
    rows, entries, counted, powers = archdsl.parse(SPEC).build(dtype=dtype)(x, n)
    torch.testing.assert_close(rows, x @ x.cos().mT)
    torch.testing.assert_close(entries, (x * z.imag).sum(-1))
    torch.testing.assert_close(counted, (n[..., None] * x).sum(1))
    assert powers.flatten()[:4].tolist() == [0.5, 0.25, 0.125, 0.0625]


def test_a_complex_state_read_by_real_numbers() -> None:
    """The plain loop gives what the kernel gives."""
    model = archdsl.parse(SCAN).build(seed=0, dtype=torch.float64)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    wanted = model(x)
    model.turning.kernel = None
    torch.testing.assert_close(model(x), wanted)
