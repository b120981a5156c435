"""Primitives with weights, written in specs, built, and run whole, in chunks and in ragged batches."""

from __future__ import annotations

import pytest
import torch

import archdsl

T = 9

CAUSAL = {
    "attend": 'return x -> rearrange("t (h c) -> h t c", h=4) -> self -> rearrange("h t c -> t (h c)")',
    "linear": "return x -> linear(12, bias ~ zeros, weight ~ normal(0.1)) -> linear(16, bias=false)",
    "hyper": "w = param([16, 16] ~ orthogonal)\n return linear(x, 16, weight=w, bias=false)",
    "norms": "return x -> rmsnorm(unit_offset=true) -> layernorm -> l2norm -> groupnorm(4, axis=-1) -> batchnorm(axis=-1) -> rmsnorm(scale=false)",
    "conv": "return x -> causal_conv(4, groups=16) -> causal_conv(3, 8, dilation=2) -> causal_conv(1, 16)",
    "positions": "return x -> position(32) -> sinusoidal -> rotary(dim=8) -> rotary(500, interleaved=true)",
    "arange": "return x + signal(arange(T), 16)",
    "sources": "return x * param([16] ~ ones) + zeros([T, 16]) + ones([16]) + full([16], 0.5) + buffer([16] ~ normal(1))",
    "dropout": "return x -> dropout(0.5) -> dropout(0.5, axis=1) -> droppath(0.1)",
}
ATTENTION = ("", "window=3", 'bias="alibi"', "softcap=2.0", "sinks=true", 'score="relu", normalise="length"', "scale=0.2, window=20")


def spec_of(body: str) -> archdsl.Spec:
    text = f"arch Tested {{\n in x: [T, 16] lengths\n {body}\n}}\n"
    return archdsl.parse(text)


def bodies() -> dict[str, str]:
    found = {name: body for name, body in CAUSAL.items() if name != "attend"}
    for options in ATTENTION:
        q = 'x -> linear(16) -> rearrange("t (h c) -> h t c", h=4)'
        kv = 'x -> linear(8) -> rearrange("t (h c) -> h t c", h=2)'
        extra = f", {options}" if options else ""
        found[f"attend({options})"] = (
            f'return attend({q} -> rotary, {kv} -> rotary, {kv}, causal=true{extra}) -> rearrange("h t c -> t (h c)")'
        )
    return found


@pytest.mark.parametrize("name", bodies())
def test_steps_equal_the_whole(name):
    spec = spec_of(bodies()[name])
    model = spec.build(seed=1).double().eval()
    assert spec.parameters == sum(p.numel() for p in model.parameters())
    x = torch.randn(3, T, 16, dtype=torch.float64)
    whole = model(x)
    for chunks in ([1] * T, [5, 3, 1]):
        state, parts, begin = None, [], 0
        for chunk in chunks:
            new = x[:, begin : begin + chunk]
            y, state = model.prefill(new) if state is None else model.step(new, state)
            parts.append(y)
            begin += chunk
        torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-10, atol=1e-10)
    lengths = torch.tensor([5, 2, 3])
    padded = x[:, :5].masked_fill(torch.arange(5)[:, None] >= lengths[:, None, None], 7.0)
    y, state = model.prefill(padded, lengths)
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(y[b, :n], whole[b, :n], rtol=1e-10, atol=1e-10)
    for i in range(3):
        new = torch.stack([x[b, n + i : n + i + 1] for b, n in enumerate(lengths.tolist())])
        y, state = model.step(new, state)
        for b, n in enumerate(lengths.tolist()):
            torch.testing.assert_close(y[b, 0], whole[b, n + i], rtol=1e-10, atol=1e-10)


WHOLE = {
    "bidirectional": (
        'arch A { in x: [T, 16] lengths\n h = x -> rearrange("t (h c) -> h t c", h=4)\n return attend(h, h, h) -> rearrange("h t c -> t (h c)") }',
        (9, 16),
    ),
    "text conv": (
        'arch A { in x: [T, 16] lengths\n return x -> rearrange("t c -> c t") -> conv1d(8, k=5) -> conv1d(8, k=3, stride=2) -> groupnorm(2) '
        '-> deconv1d(8, 2) -> rearrange("c t -> t c") -> mean(axis=0) }',
        (9, 16),
    ),
}
IMAGES = {
    "image": "arch A { in x: [3, 8, 8]\n return x -> conv2d(8, k=3, stride=2) -> batchnorm -> depthwise_conv2d(3) -> groupnorm(2) -> deconv2d(4, 2) "
    "-> instancenorm -> layernorm(axis=0) -> mean(axis=[1, 2]) -> linear(5) }",
    "free image": "arch A { in x: [3, H, W] where H % 4 == 0 and W % 4 == 0\n y = x -> conv2d(8, k=4, stride=4, padding=0)\n"
    " return y -> conv2d(8, k=2, mode=\"reflect\") -> deconv2d(3, k=4, stride=2, padding=1, output_padding=0) }",
}


@pytest.mark.parametrize("name", WHOLE)
def test_padded_batches_equal_single_runs(name):
    text, shape = WHOLE[name]
    spec = archdsl.parse(text)
    model = spec.build(seed=1).double().eval()
    x, lengths = torch.randn(3, *shape, dtype=torch.float64), torch.tensor([9, 4, 6])
    result = model(x, lengths=lengths)
    for b, n in enumerate(lengths.tolist()):
        alone = model(x[b : b + 1, :n], lengths=lengths[b : b + 1])
        got = result[b : b + 1, :n] if result.dim() == 3 else result[b : b + 1]
        torch.testing.assert_close(got, alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", IMAGES)
def test_images(name):
    spec = archdsl.parse(IMAGES[name])
    model = spec.build(seed=1).eval()
    assert spec.parameters == sum(p.numel() for p in model.parameters())
    y = model(torch.randn(2, 3, 8, 8))
    assert y.shape == ((2, 5) if name == "image" else (2, 3, 4, 4))


def test_random_and_shared_tables_in_a_spec():
    spec = archdsl.parse(
        "arch A { in tokens: int[T]\n table = embedding(11, 16)\n"
        " return table(tokens) + random([T, 16] ~ normal(0.5)) -> unembed(table, bias=true) }"
    )
    model = spec.build(seed=1)
    assert spec.parameters == 11 * 16 + 11 == sum(p.numel() for p in model.parameters())
    tokens = torch.zeros(2, 5, dtype=torch.int64)
    y = model(tokens)
    assert y.shape == (2, 5, 11)
    assert not torch.equal(y[0], y[1])
