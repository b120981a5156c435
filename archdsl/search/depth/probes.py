"""Probes of a stack: how much each layer changes what passes through it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from archdsl.search.depth.program import Edit, Program, identity
from archdsl.search.depth.scoring import Question, pad
from archdsl.search.depth.stack import Stack, Whole


@torch.inference_mode()
def block_influence(stack: Stack, questions: Sequence[Question], batch: int = 32) -> Tensor:
    """1 - cos(in, out) of each layer, the mean over all prompt positions; [depth] (ShortGPT, arXiv:2403.03853).

    The first of the carried values is looked at.
    """
    total, count = torch.zeros(stack.depth, dtype=torch.float64), 0
    for begin in range(0, len(questions), batch):
        prompts = [q.prompt for q in questions[begin : begin + batch]]
        sizes = torch.tensor([len(p) for p in prompts])
        work = Whole(stack, (pad(prompts),), sizes)
        hidden = work.start()
        real = torch.arange(hidden[0].shape[1]) < sizes[:, None]
        for index in range(stack.depth):
            after = work.layer(index, hidden)
            total[index] += (1 - torch.cosine_similarity(hidden[0], after[0], -1))[real].double().sum()
            hidden = after
        count += int(sizes.sum())
    return total / count


def least_influential(influence: Tensor, count: int = 1) -> Program:
    """The stack without the `count` layers of least influence."""
    out = set(influence.argsort()[:count].tolist())
    program = identity(len(influence))
    for at in sorted(out, reverse=True):
        program = Edit("skip", at, 1).apply(program)
    return program
