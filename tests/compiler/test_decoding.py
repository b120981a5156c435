"""prefill and step give what the whole form gives: in chunks, one by one, for ragged batches, for the last position only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from archdsl.compiler import build
from tests.compiler.specs import DECODABLE, decoded, graph, inputs

CLOSE = 1e-10


def part(given: dict[str, Tensor], moving: list[str], start: int, end: int) -> dict[str, Tensor]:
    return {k: v[:, start:end] if k in moving else v for k, v in given.items()}


def made(name: str) -> tuple[Any, dict[str, Tensor], list[str]]:
    of = graph(name)
    return build(of, dtype=torch.float64).eval(), inputs(of), decoded(of)


@pytest.mark.parametrize("name", DECODABLE)
@torch.inference_mode()
def test_chunks_and_single_steps_equal_the_whole(name: str) -> None:
    model, given, moving = made(name)
    whole = model(**given)
    out, state = model.prefill(**part(given, moving, 0, 3))
    outs = [out]
    for start, end in ((3, 7), (7, 8), (8, 9), (9, 12)):
        new = part(given, moving, start, end)
        out, state = model.step(**{k: new[k] for k in moving}, state=state)
        outs.append(out)
    assert (torch.cat(outs, 1) - whole).abs().max() < CLOSE


RAGGED = ("decoder", "loops", "routes", "scans", "cells", "translator", "hybrid", "summary")


def keywords(name: str) -> dict[str, Tensor]:
    if name in ("translator", "summary"):
        return {"src_lengths": torch.tensor([5, 12]), "tgt_lengths": torch.tensor([4, 12])}
    return {"lengths": torch.tensor([4, 12])}


def alone(given: dict[str, Tensor], row: int, lengths: dict[str, Tensor]) -> dict[str, Tensor]:
    """One sequence of the batch, without its padding."""
    sizes = {k: int(lengths.get(f"{k}_lengths", lengths.get("lengths", torch.tensor([12, 12])))[row]) for k in given}
    return {k: v[row : row + 1, : sizes[k]] for k, v in given.items()}


@pytest.mark.parametrize("name", RAGGED)
@torch.inference_mode()
def test_a_ragged_batch_equals_its_sequences_alone(name: str) -> None:
    model, given, _ = made(name)
    lengths = keywords(name)
    together = model(**given, **lengths)
    read, _ = model.prefill(**given, **lengths)
    for row, size in enumerate((4, 12)):
        single = model(**alone(given, row, lengths))[0]
        assert (together[row, :size] - single).abs().max() < CLOSE
        assert (read[row, :size] - single).abs().max() < CLOSE


@pytest.mark.parametrize("name", RAGGED)
@torch.inference_mode()
def test_steps_after_a_ragged_prompt(name: str) -> None:
    model, given, moving = made(name)
    lengths = keywords(name)
    last, state = model.prefill(**given, **lengths, last_only=True)
    assert last.shape[1] == 1
    more = [inputs(graph(name), T=n)[moving[0]] for n in (1, 2)]
    outs = []
    for new in more:
        out, state = model.step(new, state)
        outs.append(out)
    for row in range(2):
        single = alone(given, row, lengths)
        single[moving[0]] = torch.cat([single[moving[0]], *(m[row : row + 1] for m in more)], 1)
        whole = model(**single)[0]
        assert (torch.cat(outs, 1)[row] - whole[-3:]).abs().max() < CLOSE
        assert (last[row, 0] - whole[-4]).abs().max() < CLOSE


def test_the_encoder_runs_once() -> None:
    model, given, _ = made("translator")
    calls = []
    model.encoder[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        _, state = model.prefill(**given)
        for _ in range(3):
            model.step(given["tgt"][:, :1], state)
    assert len(calls) == 1
    assert "fixed" in state["decoder"][0]["Cross"]  # keys and values of the source too


def test_last_only_skips_the_output_layer_for_other_positions() -> None:
    model, given, _ = made("decoder")
    shapes = []
    model.rmsnorm.register_forward_hook(lambda _, args, __: shapes.append(args[0].shape[1]))
    with torch.inference_mode():
        model.prefill(**given, last_only=True)
    assert shapes == [1]


def test_a_shared_instance_keeps_one_slot_for_each_use() -> None:
    of = graph("""
import "std/transformer.arch"
arch Twice(d = 16) {
    in x: [T, d]
    mix = Attention(2)
    return mix(mix(x))
}
""")
    model = build(of, dtype=torch.float64).eval()
    assert len([n for n, _ in model.named_parameters() if "q_proj" in n]) == 1
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    with torch.inference_mode():
        out, state = model.prefill(x[:, :4])
        rest, _ = model.step(x[:, 4:], state)
        assert (torch.cat([out, rest], 1) - model(x)).abs().max() < CLOSE
    assert len([k for k in state if k != "clock"]) == 2


def test_a_model_that_looks_ahead_has_no_step() -> None:
    of = graph("""
arch Both(d = 16) {
    in x: [T, d]
    h = x -> rearrange("t d -> 1 t d")
    return attend(h, h, h) -> rearrange("1 t d -> t d")
}
""")
    model = build(of)
    assert not hasattr(model, "step")
    assert not hasattr(model, "prefill")
