"""Every causal spec decodes as it reads: step by step, in chunks, and in ragged batches, to 1e-10 in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.specs.small import HARD, SMALL, files, first, inputs, model, name, spec

CLOSE = 1e-10
HEAVY = {"hard/depthprog.arch"}  # a stack of full size
KEYS = [*SMALL, *(name(p) for p in files(HARD) if name(p) not in HEAVY)]
DECODABLE = [k for k in KEYS if spec(k).causality.decodable]
MEMORY = {
    "coordinates/mip_hypernet.arch": ("gamma", "x"),
    "hard/encdec.arch": ("source", "target"),
    "language/rela.arch": ("source", "target"),
    "language/transformer.arch": ("source", "target"),
    "language/universal_transformer.arch": ("source", "target"),
    "sequence/pointer.arch": ("points", "order"),
}


def test_what_claims_to_be_causal_can_be_decoded() -> None:
    assert [k for k in KEYS if spec(k).causality.causal and k not in DECODABLE] == []
    assert len(DECODABLE) > 15


def split(key: str, given: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """What stays the same over time, and the name of what moves."""
    if key in MEMORY:
        still, moving = MEMORY[key]
        return {still: given[still]}, moving
    [moving] = given
    return {}, moving


@pytest.mark.parametrize("key", DECODABLE)
@torch.inference_mode()
def test_steps_equal_the_whole(key: str) -> None:
    made, given = model(key), inputs(spec(key))
    still, moving = split(key, given)
    whole = first(made(**given))
    x = given[moving]
    out, state = made.prefill(**still, **{moving: x[:, :3]})
    outs = [first(out)]
    for start, end in ((3, 4), (4, 7), (7, 8), (8, 9)):
        out, state = made.step(**{moving: x[:, start:end]}, state=state)
        outs.append(first(out))
    assert (torch.cat(outs, 1) - whole).abs().max() < CLOSE


def ragged(key: str) -> bool:
    return any(value.type.axes and value.type.axes[0].ragged is not None for value in spec(key).graph.root.inputs)


@pytest.mark.parametrize("key", [k for k in KEYS if ragged(k)])
@torch.inference_mode()
def test_a_ragged_batch_equals_its_sequences_alone(key: str) -> None:
    """Right-padded sequences of 9, 4 and 6 give what each gives by itself, whole and when decoding goes on after them."""
    made, given = model(key), inputs(spec(key), batch=3)
    sizes = {k: torch.tensor([v.shape[1], 4, 6]) for k, v in given.items()}
    many = [k for k in given if f"{k}_lengths" in made.forward.__annotations__]
    lengths = {f"{k}_lengths": sizes[k] for k in many} or {"lengths": next(iter(sizes.values()))}
    together = first(made(**given, **lengths))
    steps = key in DECODABLE
    if steps:
        _, moving = split(key, given)
        read, state = made.prefill(**given, **lengths)
        more = inputs(spec(key), batch=3, T=2)[moving]
        after, _ = made.step(**{moving: more}, state=state)
    for row in range(3):
        alone = {k: v[row : row + 1, : int(sizes[k][row])] for k, v in given.items()}
        single = first(made(**alone))[0]
        own = together[row, : len(single)] if steps or together.dim() > 2 else together[row]
        assert (own - single).abs().max() < CLOSE
        if steps:
            assert (first(read)[row, : len(single)] - single).abs().max() < CLOSE
            alone[moving] = torch.cat([alone[moving], more[row : row + 1]], 1)
            assert (first(after)[row] - first(made(**alone))[0, -2:]).abs().max() < CLOSE


@torch.inference_mode()
def test_state_does_not_grow_where_there_is_no_attention() -> None:
    for key in ("gla", "mamba", "mamba2", "retnet", "rwkv4"):
        of = spec(f"language/{key}.arch")
        assert isinstance(of.state_bytes(), int), key
    assert spec("language/llama2.arch").state_bytes(T=20) == 2 * spec("language/llama2.arch").state_bytes(T=10)
