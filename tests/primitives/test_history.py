"""All positions so far: what may be made of them, what is kept of them, and what is refused."""

from __future__ import annotations

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError

SHARED = """
block Layer(heads) {
    in x: [T, d]
    in k: [h, T, c]
    in v: [h, T, c]
    q = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    return x + (attend(q, k, v, OPTIONS) -> rearrange("h t c -> t (h c)") -> linear(d))
}
arch A {
    in x: [T, 8] lengths
    k = x -> linear(8) -> rearrange("t (h c) -> h t c", h=2) KEYS
    v = x -> linear(6) -> history -> linear(8) -> rmsnorm -> rearrange("t (h c) -> h t c", h=2)
    return x -> repeat 3 { in x; return Layer(2)(x, k, v) }
}
expect causal
"""
X = torch.randn(2, 150, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("keys", ["", "-> rotary -> history", "-> history -> rotary"])
@pytest.mark.parametrize(
    "options", ["causal=true", "causal=true, window=4", "causal=true, chunk=5", 'causal=true, bias="alibi"', "causal=true, score=relu"]
)
def test_steps_give_what_the_whole_gives(keys: str, options: str) -> None:
    """One position at a time, several at once, past the first 64 rows, and sequences of different lengths."""
    model = archdsl.parse(SHARED.replace("KEYS", keys).replace("OPTIONS", options)).build(dtype="float64").eval()
    with torch.inference_mode():
        whole = model(X)
        bound = 1e-12 * max(1.0, float(whole.abs().max()))  # scores that are not normalised add up to thousands
        out, state = model.prefill(X[:, :60])
        parts = [out]
        for start, end in ((60, 61), (61, 66), (66, 130), (130, 131), (131, 150)):
            out, state = model.step(X[:, start:end], state)
            parts.append(out)
        assert (torch.cat(parts, 1) - whole).abs().max() < bound
        lengths = torch.tensor([3, 7])
        _, state = model.prefill(X[:, :7], lengths=lengths)
        out, _ = model.step(X[torch.arange(2), lengths][:, None], state)
        assert (out[:, 0] - whole[torch.arange(2), lengths]).abs().max() < bound


def test_what_is_kept_is_counted_once() -> None:
    spec = archdsl.parse(SHARED.replace("KEYS", "-> history").replace("OPTIONS", "causal=true"))
    assert spec.state_bytes(T=100) == 100 * 4 * (8 + 6)
    own = archdsl.parse(SHARED.replace("KEYS", "").replace("OPTIONS", "causal=true"))
    assert own.state_bytes(T=100) == 100 * 4 * (3 * 8 + 6)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return x + history(x)", "sets single positions beside"),
        ("return history(x)", "no axis of an input reaches"),
        ('return x + expand(mean(history(x), axis=0) -> rearrange("d -> 1 d"), [T, 8])', "averages over the axis"),
        ("return attend(x, history(x), history(x))", "attends to every position"),
        ("y = x -> history -> ema; return attend(x, y, y, causal=true)", "takes all positions so far"),
        ('return x @ rearrange(history(x), "t d -> d t") @ history(x)', "single positions beside"),
    ],
)
def test_only_causal_attention_brings_it_back(body: str, reason: str) -> None:
    with pytest.raises(ArchError) as caught:
        archdsl.parse(f'import "std/scans.arch"\narch A {{ in x: [T, 8]; {body} }}\nexpect causal')
    assert any(reason in str(d) for d in caught.value.diagnostics)


def test_sizes_of_fixed_inputs_reach_the_steps() -> None:
    text = "arch A { in x: [N, 4]; in order: int[M]; return take(x, order) * 0.5 + cumsum(one_hot(order, N), axis=0) @ x }"
    spec = archdsl.parse(text)
    assert spec.causality.decodable
    model = spec.build(dtype="float64").eval()
    x, order = torch.randn(2, 5, 4, dtype=torch.float64), torch.tensor([[0, 3, 1], [4, 4, 2]])
    with torch.inference_mode():
        out, state = model.prefill(x, order[:, :1])
        rest, _ = model.step(order[:, 1:], state)
        assert (torch.cat([out, rest], 1) - model(x, order)).abs().max() < 1e-12


def test_what_two_dots_stood_for() -> None:
    text = "block B { in x: [.., d]; return x + random([.., d] ~ uniform(1, 2)) }"
    for shape, size in (("[4]", (4,)), ("[T, 4]", (3, 4)), ("[2, T, 4]", (2, 3, 4))):
        model = archdsl.parse(f"{text}\narch A {{ in x: {shape}; return x -> B }}").build()
        out = model(torch.zeros(5, *size))
        assert out.shape == (5, *size)
        assert len(out.unique()) == out.numel()
