"""A weight with lead axes (one per head) means the same in the kernel and in the plain loop, wherever it stands."""

from __future__ import annotations

import pytest
import torch

import archdsl

CASES = [
    ("[heads: n]", "S + u * outer(k, v)"),
    ("[heads: n]", "exp(-square(u)) * S + outer(k, v)"),
    ("[heads: n]", "S + sum(u) * outer(k, v)"),
    ("[heads: n]", "S + diag(u) @ outer(k, v)"),
    ("[heads: n, n]", "S + outer(k @ u, v)"),
    ("[heads: n, n]", "u @ S + outer(k, v)"),
    ("[heads:]", "exp(-square(u)) * S + outer(k, v)"),
]


@pytest.mark.parametrize("heads", [2, 4])  # 4: as many heads as entries, so that a wrong meeting of axes would go unseen
@pytest.mark.parametrize(("shape", "update"), CASES)
def test_loop_and_kernel_and_heads_alone_agree(shape, update, heads, monkeypatch):
    text = f"""
    scan mine(heads, n) {{ in k: [n]; in v: [n]; param u: {shape} ~ normal(0.5); state S: [n, n] = 0; S' = {update}; yield k @ S' }}
    arch A(h = {heads}) {{ in k: [h, T, 4]; in v: [h, T, 4]; return mine(h, 4)(k, v) }}"""
    spec = archdsl.parse(text)
    k, v = torch.randn(2, 3, heads, 5, 4, dtype=torch.float64)
    by_kernel = spec.build(seed=0, dtype=torch.float64)(k, v)
    monkeypatch.setenv("ARCHDSL_KERNELS", "loop")
    loop = spec.build(seed=0, dtype=torch.float64)
    expected = loop(k, v)
    assert torch.allclose(by_kernel, expected, rtol=1e-12)
    one = archdsl.parse(text, h=1).build(seed=0, dtype=torch.float64)
    (weight,), (whole,) = one.parameters(), loop.parameters()
    for head in range(heads):
        with torch.no_grad():
            weight.copy_(whole[head : head + 1])
        assert torch.allclose(one(k[:, head : head + 1], v[:, head : head + 1])[:, 0], expected[:, head], rtol=1e-12)
