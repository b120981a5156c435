from __future__ import annotations

import math

import pytest
import torch

from archdsl.graph.ir import Axis
from archdsl.graph.sizes import symbol
from archdsl.primitives.support.clock import Clock
from archdsl.primitives.support.position import rotary, rotary_frequencies, rotary_table, sinusoid
from tests.primitives.helpers import refused
from tests.primitives.made import Made, close, close_with_gradients, decode, decode_ragged, value
from tests.rounding import ROOM

T, C = 9, 8
PLANS = (
    [(5, 2, 3), (1, 1, 1), (1, 1, 1)],
    [(1, 3, 6), (2, 4, 1), (1, 1, 1), (3, 0, 1)],
)


def turned(x, base=10_000.0, size=None, interleaved=False, offset=0, positions=None):
    """Rotary by complex multiplication of pairs."""
    size = size or x.shape[-1]
    part, rest = x[..., :size], x[..., size:]
    a, b = (part[..., 0::2], part[..., 1::2]) if interleaved else part.chunk(2, -1)
    speeds = torch.tensor([base ** (-2 * i / size) for i in range(size // 2)], dtype=torch.float64)
    places = torch.arange(x.shape[-2], dtype=torch.float64) + offset if positions is None else positions.double()
    angle = places[..., None] * speeds
    z = torch.complex(a, b) * torch.polar(torch.ones_like(angle), angle)
    out = torch.stack((z.real, z.imag), -1).flatten(-2) if interleaved else torch.cat((z.real, z.imag), -1)
    return torch.cat((out, rest), -1)


OPTIONS = [{}, {"base": 500}, {"dim": 4}, {"interleaved": True}, {"interleaved": True, "dim": 6, "offset": 3}, {"offset": 2}]


def as_reference(options):
    return {"size" if name == "dim" else name: v for name, v in options.items()}


def made_rotary(lead=(2,), **options):
    axis = Axis(symbol("T"))
    return Made("rotary", value(*lead, axis, C), **options), axis


@pytest.mark.parametrize("options", OPTIONS)
def test_rotary_turns_pairs(options):
    made, axis = made_rotary(**options)
    x = torch.randn(3, 2, T, C, dtype=torch.float64)
    whole = close_with_gradients(made, lambda x: turned(x, **as_reference(options)), [x])
    for chunks in ([1] * T, [5, 3, 1], [T]):
        close(decode(made, [x], [-2], axis, chunks), whole)
    for plan in PLANS:
        for b, result in enumerate(decode_ragged(made, [x], [-2], axis, plan)):
            close(result, whole[b, :, : result.shape[-2]])


def test_rotary_needs_few_axes_and_takes_many():
    for lead in ((), (2, 3)):
        made, axis = made_rotary(lead)
        x = torch.randn(3, *lead, T, C, dtype=torch.float64)
        close(made(x), turned(x))
        for b, result in enumerate(decode_ragged(made, [x], [-2], axis, PLANS[1])):
            close(result, made(x)[b, ..., : result.shape[-2], :])


def test_rotary_is_relative():
    x, y = torch.randn(2, 1, 1, C, dtype=torch.float64)
    dots = [(rotary(x, offset=i) * rotary(y, offset=i + 3)).sum() for i in (0, 5, 50)]
    assert torch.allclose(torch.stack(dots), dots[0].expand(3), rtol=1e-6)


@pytest.mark.parametrize("batched", [False, True])
def test_rotary_at_given_positions(batched):
    x, p = value(2, T, C), value(T, kind="int", batched=batched)
    made = Made("rotary", x, positions=p.type, value_inputs={"positions": 1})
    made.node.inputs.append(p)
    t = torch.randn(3, 2, T, C, dtype=torch.float64)
    places = torch.randint(0, 50, (3, T) if batched else (T,))
    expected = torch.stack([turned(t[b], positions=places[b] if batched else places) for b in range(3)])
    close(made(t, places), expected)


def test_float32_angles_are_those_of_transformers():
    pytest.importorskip("transformers")
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    q = torch.randn(2, 3, 300, 16)
    cases = {
        None: ({"rope_type": "default"}, None),
        "linear": ({"rope_type": "linear", "factor": 4.0}, ("linear", 4.0)),
        "llama3": (
            {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
            ("llama3", 8.0, 1.0, 4.0, 64),
        ),
        "yarn": (
            {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0, "original_max_position_embeddings": 64},
            ("yarn", 4.0, 32.0, 1.0, 64),
        ),
    }
    for theirs, ours in cases.values():
        parameters = {"rope_theta": 10_000.0, **theirs}
        config = LlamaConfig(hidden_size=64, num_attention_heads=4, max_position_embeddings=256, rope_parameters=parameters)
        cos, sin = LlamaRotaryEmbedding(config)(q, torch.arange(300)[None])
        expected = apply_rotary_pos_emb(q, q, cos, sin)[0]
        largest = 1 if ours is None else 300  # the angle; a scaled speed is another in its last place
        bound = ROOM * torch.finfo(q.dtype).eps * largest * float(q.abs().max())
        torch.testing.assert_close(rotary(q, scaling=ours), expected, rtol=0, atol=bound)


def test_ntk_slows_the_slowest_pair_by_the_factor():
    plain, slow = rotary_frequencies(16, 1e4, None, torch.device("cpu")), rotary_frequencies(16, 1e4, ("ntk", 4.0), torch.device("cpu"))
    assert torch.allclose(plain[-1] / slow[-1], torch.tensor(4.0))
    assert plain[0] == slow[0]


def test_rotary_tables_grow_and_are_kept_apart():
    x = torch.randn(1, 1, 3, C)
    rotary_table.__dict__.pop("kept", None)
    with torch.inference_mode():
        rotary(x)
    first = rotary_table(3, x, C, 1e4, False, None)[0]
    assert rotary_table(200, x, C, 1e4, False, None)[0] is first
    assert rotary_table(3000, x, C, 1e4, False, None)[0].shape[0] >= 3000
    assert rotary_table(3, x.double(), C, 1e4, False, None)[0].dtype == torch.float64
    rotary(x.requires_grad_()).sum().backward()
    assert rotary(torch.empty(2, 5, 8, device="meta")).is_meta
    assert rotary(x.bfloat16()).dtype == torch.bfloat16


def test_position_adds_rows_of_a_table():
    axis = Axis(symbol("T"))
    for lead in ((), (2,)):
        made = Made("position", value(*lead, axis, C), max=16, offset=2)
        x = torch.randn(3, *lead, T, C, dtype=torch.float64)
        table = made.module.weight
        whole = close_with_gradients(made, lambda x, table=table: x + table[2 : 2 + T], [x])
        close(decode(made, [x], [-2], axis, [5, 3, 1]), whole)
        for plan in PLANS:
            for b, result in enumerate(decode_ragged(made, [x], [-2], axis, plan)):
                close(result, whole[b, ..., : result.shape[-2], :])


def test_position_padding_may_reach_beyond_the_table():
    axis = Axis(symbol("T"))
    made = Made("position", value(axis, C), max=T)
    x = torch.randn(2, T, C, dtype=torch.float64)
    results = decode_ragged(made, [x], [-2], axis, [(T, 2), (0, 7)])
    for b in range(2):
        close(results[b], made(x)[b])


def test_sinusoidal():
    axis = Axis(symbol("T"))
    made = Made("sinusoidal", value(axis, C))
    x = torch.randn(3, T, C, dtype=torch.float64)
    code = [[(math.sin, math.cos)[i % 2](t * 10_000 ** (-(i - i % 2) / C)) for i in range(C)] for t in range(T)]
    whole = close_with_gradients(made, lambda x: x + torch.tensor(code, dtype=torch.float64), [x])
    close(decode(made, [x], [-2], axis, [5, 3, 1]), whole)
    for b, result in enumerate(decode_ragged(made, [x], [-2], axis, PLANS[1])):
        close(result, whole[b, : result.shape[-2]])
    signal = Made("signal", value(kind="int", batched=False), d=C)
    close(signal(torch.tensor(4)), torch.tensor(code[4], dtype=torch.float64))
    assert sinusoid(torch.arange(3), 7).shape == (3, 7)


def test_sines_first_and_closed_speeds():
    code = sinusoid(torch.arange(4), 8, dtype=torch.float64)
    first = sinusoid(torch.arange(4), 8, interleaved=False, dtype=torch.float64)
    close(first, torch.cat((code[:, 0::2], code[:, 1::2]), -1))
    axis = Axis(symbol("T"))
    made = Made("sinusoidal", value(axis, 8), interleaved=False)
    x = torch.randn(2, 4, 8, dtype=torch.float64)
    close(made(x), x + first)
    close(decode(made, [x], [-2], axis, [3, 1]), x + first)
    speeds = rotary_frequencies(8, 1e4, ("closed",), torch.device("cpu"))
    torch.testing.assert_close(speeds, torch.tensor([1.0, 1e4 ** (-1 / 3), 1e4 ** (-2 / 3), 1e-4]))
    assert Made("rotary", value(axis, 8), scaling="closed")(x).shape == x.shape


def test_clock():
    clock = Clock()
    clock.begin(4)
    assert clock.positions(4).tolist() == [0, 1, 2, 3]
    clock.advance()
    clock.begin(2, torch.tensor([2, 0]))
    assert clock.positions(2).tolist() == [4, 5]
    clock.advance()
    clock.begin(2)
    assert clock.positions(2).tolist() == [[6, 7], [4, 5]]
    assert clock.limit == 6
    clock.advance()
    assert clock.limit == 8
    assert clock.start.tolist() == [8, 6]


def test_refused():
    assert refused("rotary", value(T, 7)).code == "AD0302"
    assert refused("rotary", value(T, 8), dim=10).code == "AD0261"
    assert refused("rotary", value(T, 8), scaling="more").code == "AD0260"
    assert refused("rotary", value(T, 8), scaling="yarn", low=40.0).code == "AD0261"
    assert refused("rotary", value(T, 8, kind="int")).code == "AD0314"
    assert refused("position", value(T, 8), max=4).code == "AD0322"
    assert refused("position", value("T", "d"), max=4).code == "AD0305"
