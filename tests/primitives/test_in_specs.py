"""Primitives as a user meets them: written in a spec, built, and compared with the same thing in torch."""

import itertools

import pytest
import torch

from archdsl.api import check_text
from archdsl.diagnostics import ArchError


def built(text):
    spec = check_text(text)
    return spec, spec.build(dtype="float64")


def test_graph_attention():
    _, model = built("""
arch Graph {
    in nodes: [N, 8]
    in edges: int[2, E]
    score = (take(nodes, edges[0]) -> linear(1))[.., 0]
    w = segment_softmax(score, edges[1], N)
    return segment_sum(take(nodes, edges[0]) * (w -> rearrange("e -> e 1")), edges[1], N)
}""")
    nodes, edges = torch.randn(2, 5, 8, dtype=torch.float64), torch.randint(5, (2, 2, 7))
    weight = next(p for n, p in model.named_parameters() if n.endswith("weight"))
    bias = next(p for n, p in model.named_parameters() if n.endswith("bias"))
    for b in range(2):
        source, target = edges[b]
        score = nodes[b, source] @ weight[0] + bias
        expected = torch.zeros(5, 8, dtype=torch.float64)
        for n in range(5):
            mine = target == n
            if mine.any():
                expected[n] = score[mine].softmax(0) @ nodes[b, source[mine]]
        torch.testing.assert_close(model(nodes, edges)[b], expected)


def test_pooled_scores_of_unequal_sequences():
    _, model = built("""
arch Scores {
    in x: [T, 8] lengths
    y = x -> rearrange("t (h c) -> h t c", h=2)
    return einsum("h t c, h s c -> h t s", y, y) / 2 -> softmax -> mean(axis=0) -> amax(axis=1) -> mean
}""")
    x, lengths = torch.randn(3, 6, 8, dtype=torch.float64), torch.tensor([6, 2, 4])
    out = model(x, lengths=lengths)
    for i, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(out[i : i + 1], model(x[i : i + 1, :n]))


CAUSAL = """
arch Running {
    in x: [T, 8]
    y = x -> cumsum
    a, b = concat(y, y -> shift(2), x -> cummax, x -> sigmoid -> cumprod) -> split(2)
    return a - max(b, 0)
}
expect causal"""


@pytest.mark.parametrize("cuts", [(4, 5, 6, 9), (1, 2, 9), (3, 9)])
def test_steps_equal_whole(cuts):
    _, model = built(CAUSAL)
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    out, state = model.prefill(x[:, : cuts[0]])
    parts = [out]
    for a, b in itertools.pairwise(cuts):
        out, state = model.step(x[:, a:b], state)
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, 1), model(x))


@pytest.mark.parametrize("op", ["softmax(axis=0)", "flip(axis=0)", "shift(-1)", "roll(1)", "sort(axis=0)", "normalise(axis=0)"])
def test_what_looks_ahead_is_not_causal(op):
    with pytest.raises(ArchError) as caught:
        check_text(f"arch A {{\n    in x: [T, 8]\n    return x -> {op}\n}}\nexpect causal\n")
    assert [d.code for d in caught.value.diagnostics] == ["AD0701"]


@pytest.mark.parametrize(
    "op", ["softmax", "flip(axis=1)", "shift(3)", "roll(1, axis=1)", "sort", "cumsum", "topk(2) -> { in a, b; return a * b }"]
)
def test_what_does_not_is(op):
    check_text(f"arch A {{\n    in x: [T, 8]\n    return x -> {op}\n}}\nexpect causal\n")
