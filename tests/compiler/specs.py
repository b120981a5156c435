"""Small specs that between them use every structural node, and the way to a graph and a module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archdsl import api
from archdsl.compiler import build
from archdsl.compiler.causality import causality
from archdsl.graph.ir import Graph

GRU = """
scan gru(n) {
    in x: [d]
    state h: [n] = 0
    r, z = sigmoid(linear(2*n)(x) + linear(2*n)(h)) -> split(2)
    c = tanh(linear(n)(x) + r * linear(n)(h))
    h' = (1 - z) * c + z * h
    yield h'
}
"""

SPECS: dict[str, str] = {
    "decoder": """
import "std/transformer.arch"
arch Decoder(d = 16, heads = 2, vocab = 11) {
    in tokens: int[T] lengths
    table = embedding(vocab, d)
    return table(tokens)
        -> layers: repeat 3 { residual(rmsnorm -> Attention(heads)) -> residual(rmsnorm -> SwiGLU(24)) }
        -> rmsnorm -> unembed(table)
}
""",
    "loops": """
import "std/transformer.arch"
arch Loops(d = 16, heads = 2) {
    in x: [T, d] lengths
    a = x -> loop i in 0..4 until halt(threshold=0.99) { residual(rmsnorm -> Attention(heads)) -> residual(rmsnorm -> SwiGLU(32)) }
    b = a -> loop 3 step 1/3 { residual(rmsnorm -> Attention(heads)) }
    return b -> loop 2 { in y; return y + x } -> linear(8)
}
""",
    "routes": """
import "std/transformer.arch"
arch Routes(d = 16, heads = 2) {
    in x: [T, d] lengths
    return x -> residual(route(topk(2), experts=4) { SwiGLU(32) })
        -> residual(route(relu(), experts=3) { Attention(heads) })
        -> skip(linear(1), capacity=1/2) { residual(Attention(heads)) }
        -> skip(linear(1), capacity=1/4) { residual(SwiGLU(8)) }
}
""",
    "scans": GRU
    + """
scan gated_linear {
    in q: [n]
    in k: [n]
    in v: [m]
    in g: [n]
    state S: [n, m] = 0
    S' = diag(exp(g)) @ S + outer(k, v)
    yield q @ S'
}
arch Scans(d = 16, heads = 2, vocab = 11) {
    in tokens: int[T] lengths
    x = tokens -> embedding(vocab, d)
    q = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    k = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    v = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    g = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads) -> sigmoid
    y = gated_linear(q, k, v, 0 - g) -> rearrange("h t c -> t (h c)")
    return y + gru(d)(x) -> causal_conv(3) -> linear(vocab)
}
""",
    "cells": 'import "std/transformer.arch"\n'
    + GRU
    + """
block Layer(heads, cell) {
    in x: [T, d]
    in h: [T, p]
    y = x -> residual(rmsnorm -> Attention(heads))
    new = cell(y, h)
    return y + (new -> linear(d)), new
}
arch Cells(d = 16, p = 8, vocab = 11, heads = 2) {
    in tokens: int[T] lengths
    cell = gru.cell(p)
    table = embedding(vocab, d)
    x, h = (table(tokens), zeros([T, p])) -> layers: repeat 3 { Layer(heads, cell) }
    return x -> unembed(table)
}
""",
    "translator": """
import "std/transformer.arch"
block Cross(heads) {
    in x: [T, d]
    in m: [S, d]
    c = d / heads
    q = x -> q_proj: linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    k = m -> k_proj: linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    v = m -> v_proj: linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    return attend(q, k, v) -> rearrange("h t c -> t (h c)") -> o_proj: linear(d)
}
block Encoder(heads) {
    in x: [S, d]
    c = d / heads
    q = x -> linear(d) -> rearrange("t (h c) -> h t c", h=heads)
    return x + (attend(q, q, q) -> rearrange("h t c -> t (h c)"))
}
arch Translator(d = 16, vocab = 11, heads = 2) {
    in src: int[S] lengths
    in tgt: int[T] lengths
    table = embedding(vocab, d)
    m = table(src) -> encoder: repeat 2 { Encoder(heads) }
    y = table(tgt) -> decoder: repeat 2 { in x; h = x -> residual(rmsnorm -> Attention(heads)); return h + Cross(heads)(h, m) }
    return y -> unembed(table)
}
""",
    "hybrid": """
import "std/transformer.arch"
scan ema(n) {
    in x: [n]
    state h: [n] = 0
    h' = 0.9 * h + x
    yield h'
}
arch Hybrid(d = 16, heads = 2, vocab = 11) {
    in tokens: int[T] lengths
    h = tokens -> embedding(vocab, d) -> layers: repeat i in 0..4 {
        residual(rmsnorm -> (if i % 2 == 0 then Attention(heads) else ema(d))) -> residual(SwiGLU(32))
    }
    return h -> linear(vocab)
}
""",
    "summary": GRU
    + """
arch Summary(d = 4, n = 3, heads = 2) {
    in src: [S, d] lengths
    in tgt: [T, d] lengths
    _, last = gru(n, final=true)(src)
    y = tgt -> linear(heads * n) -> rearrange("t (h c) -> h t c", h=heads)
    z = gru(n, h=last)(y) -> rearrange("h t c -> t (h c)")
    return z -> linear(d)
}
""",
    "acts": """
act swish(x; beta = 1.0) = x * sigmoid(beta * x)
act prelu(x; a: [axis] = 0.25) = if x > 0 then x else a * x
act helu(alpha = 0.05)(x) = max(x, 0)         backward if x > -alpha then 1 else 0
scan lif(beta = 0.9, threshold = 1.0) {
    in x: [d]
    state u: [d] = 0
    charged = beta * u + x
    spike = helu(charged - threshold)
    u' = charged - threshold * spike
    yield spike
}
block Act(d) {
    in x: [T, d]
    return x -> helu(alpha=0.1) -> linear(d) -> swish
}
arch Acts(d = 8) {
    in x: [T, d]
    return x -> swish -> linear(d) -> prelu(axis=1) -> helu -> Act(d) -> lif
}
""",
    "sides": """
block Moved(d) {
    in x: [T, d]
    y = x -> linear(d)
    aux size = mean(y * y, axis="all")
    tap inner = y
    return x + y
}
arch Sides(d = 16) {
    in x: [T, d]
    h = x -> part: Moved(d) -> linear(d) -> drawn: train { linear(d) -> dropout(0.5) } else { linear(d) }
    return h -> dropped: train { dropout(0.1) }
}
""",
    "reversible": """
import "std/transformer.arch"
arch Reversible(d = 16, heads = 2, keep = 1) {
    in x: [T, d]
    return x -> layers: reversible repeat 3 { residual(rmsnorm -> Attention(heads) -> dropout(0.2)) }
}
""",
}

DECODABLE = tuple(SPECS)


def graph(name: str, **overrides: Any) -> Graph:
    """The graph of one of SPECS, or of a text."""
    return api.parse(SPECS.get(name, name), **overrides).graph


def model(name: str, dtype: torch.dtype = torch.float64) -> Any:
    """Its module in evaluation mode."""
    return build(graph(name), dtype=dtype).eval()


def inputs(of: Graph, batch: int = 2, dtype: torch.dtype = torch.float64, **sizes: int) -> dict[str, Tensor]:
    """Random inputs by name; symbolic sizes default to 12."""
    generator = torch.Generator().manual_seed(1)
    found = {}
    for value in of.root.inputs:
        shape = (batch, *(s if isinstance(s, int) else sizes.get(str(s), 12) for s in value.type.sizes))
        if value.type.kind == "int":
            found[value.name or "x"] = torch.randint(0, 11, shape, generator=generator)
        else:
            found[value.name or "x"] = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    return found


def decoded(of: Graph) -> list[str]:
    """Names of the inputs that decoding feeds."""
    return [v.name or "x" for v in causality(of).decoded]
