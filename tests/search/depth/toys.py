"""Small stacks: a random decoder, and one whose best program is planted."""

from __future__ import annotations

import math
from functools import cache

import torch

import archdsl
from archdsl.search.depth.scoring import Question
from archdsl.search.depth.skeleton import Skeleton, skeleton
from archdsl.search.depth.stack import Stack

DECODER = """
import "language/smollm2.arch"
arch Program {
    in tokens: int[T] lengths
    base = SmolLM2(vocab=50, d=24, depth=6, heads=3, kv_heads=1, hidden=32)   # as small as can be
    return tokens -> base.before(layers) -> %s -> base.after(layers)
}
"""

PLANTED = """
arch Turns(depth, vocab) {
    in tokens: int[T] lengths
    return tokens -> embedding(vocab, 2 * depth)
        -> layers: repeat depth { linear(2 * depth, bias=false) }
        -> head: linear(vocab, bias=false)
}
arch Program {
    in tokens: int[T] lengths
    base = Turns(6, 12)
    return tokens -> base.before(layers) -> base.layers -> base.after(layers)
}
"""
BEST = (0, 1, 3, 4, 4, 5)  # layer 2 is noise, layer 4 is needed twice


@cache
def decoder() -> Skeleton:
    return skeleton(archdsl.parse(DECODER % "base.layers"))


@cache
def decoder_stack(dtype: str = "float64") -> Stack:
    stack = Stack.build(decoder(), dtype=dtype, seed=3)
    for name, weight in stack.before.base.named_parameters():
        if "rmsnorm" not in name and "table" not in name:
            weight.data *= 4.0  # so that layers matter at random weights
    return stack


@cache
def planted() -> tuple[Stack, list[Question]]:
    """Layer i turns plane i by a fifth of a circle. The right choice of each question wants plane 2 unturned and plane 4 turned twice."""
    depth, questions = 6, 6
    stack = Stack.build(skeleton(archdsl.parse(PLANTED)), dtype="float64")
    base, step = stack.before.base, 2 * math.pi / 5
    generator = torch.Generator().manual_seed(1)
    phases = torch.rand(questions, depth, generator=generator, dtype=torch.float64) * 2 * math.pi
    wanted = torch.tensor([BEST.count(i) for i in range(depth)]) * step
    with torch.no_grad():
        for i, layer in enumerate(base.layers):
            turn = torch.eye(2 * depth, dtype=torch.float64)
            c, s = math.cos(step), math.sin(step)
            turn[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = torch.tensor([[c, -s], [s, c]])
            layer.linear.weight.copy_(turn)
        base.embedding.weight[:questions] = _points(phases)
        base.head.weight[questions:] = _points(phases + wanted)
    rights = range(questions, 2 * questions)
    return stack, [Question((q,), tuple((c,) for c in rights), q) for q in range(questions)]


def _points(angles: torch.Tensor) -> torch.Tensor:
    return torch.stack((angles.cos(), angles.sin()), -1).flatten(1)
