"""The executor against the compiled model: bits, caches, prefixes."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch

import archdsl
from archdsl.search.depth.prefixes import Prefixes
from archdsl.search.depth.program import COLA, DAMPED, Damped, distinct_runs, identity, layer_runs
from archdsl.search.depth.skeleton import skeleton
from archdsl.search.depth.stack import Branched, Stack, Whole
from tests.search.depth.toys import decoder, decoder_stack

PROGRAMS = {
    "identity": identity(6),
    "skip": (0, 1, 4, 5),
    "without the first": (1, 2, 3, 4, 5),
    "loop": (0, 1, 2, 1, 2, 1, 2, 5),
    "reorder": (3, 1, 3, 0),
    "damped": (0, Damped(Fraction(1, 3), (1, 2)), Damped(Fraction(1, 3), (1, 2)), 5),
    "nested": (Damped(Fraction(1, 2), (0, Damped(Fraction(1, 4), (1,)), 2)), 2),
    "nothing": (),
}
pytestmark = pytest.mark.row("cola")


def some_programs(count: int, seed: int = 0) -> list:
    rng, found = random.Random(seed), []
    for _ in range(count):
        program = identity(6)
        for _ in range(rng.randrange(1, 4)):
            program = rng.choice(rng.choice((COLA, DAMPED)).edits(program, 6) or COLA.edits(identity(6), 6)).apply(program)
        found.append(program)
    return found


def compiled(program):
    """The program's own spec, built, with the stack's weights."""
    model = decoder().with_program(program).build(dtype="float64").eval()
    model.base.load_state_dict(decoder_stack().before.base.state_dict())
    return model


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_runs_as_its_own_spec_does_bit_for_bit(program):
    tokens, lengths = torch.randint(0, 50, (3, 9)), torch.tensor([9, 4, 7])
    with torch.inference_mode():
        assert torch.equal(decoder_stack().run(program, tokens), compiled(program)(tokens))
        assert torch.equal(decoder_stack().run(program, tokens, lengths=lengths), compiled(program)(tokens, lengths=lengths))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_identity_is_the_plain_model_bit_for_bit(dtype):
    plain = archdsl.load("smollm2", contracts=False, vocab=50, d=24, depth=6, heads=3, kv_heads=1, hidden=32).build(dtype=dtype).eval()
    stack = Stack.build(decoder(), dtype=dtype)
    plain.load_state_dict(stack.before.base.state_dict())
    tokens = torch.randint(0, 50, (2, 11))
    with torch.inference_mode():
        assert torch.equal(stack.run(identity(6), tokens), plain(tokens))


def test_skipping_all_is_the_head_on_the_embedding_and_a_loop_is_a_loop():
    stack, tokens = decoder_stack(), torch.randint(0, 50, (2, 5))
    base = stack.before.base
    with torch.inference_mode():
        x = base.table(tokens)
        assert torch.equal(stack.run((), tokens), torch.nn.functional.linear(base.rmsnorm(x), base.table.weight))
        for _ in range(3):
            for layer in base.layers[2:4]:
                x = layer(x)
        assert torch.equal(stack.run((2, 3) * 3, tokens), torch.nn.functional.linear(base.rmsnorm(x), base.table.weight))


@pytest.mark.parametrize("program", [*PROGRAMS.values(), *some_programs(6)], ids=str)
def test_cached_decoding_equals_uncached(program):
    model, tokens = compiled(program), torch.randint(0, 50, (2, 10))
    with torch.inference_mode():
        whole = model(tokens)
        first, state = model.prefill(tokens[:, :3])
        rest = [model.step(tokens[:, t : t + 1], state)[0] for t in range(3, 10)]
    assert (torch.cat([first, *rest], 1) - whole).abs().max() <= 1e-12 * whole.abs().max()


def test_prompts_that_go_on_in_several_ways_equal_whole_texts():
    stack, ways = decoder_stack(), 3
    prompts, sizes = torch.randint(0, 50, (4, 7)), torch.tensor([7, 3, 5, 1])
    tails, tail_sizes = torch.randint(0, 50, (12, 4)), torch.randint(1, 5, (12,))
    for program in PROGRAMS.values():
        with torch.inference_mode():
            first, second = Prefixes(Branched(stack, [(prompts, sizes), (tails, tail_sizes)])).state(program)
            for row in range(12):
                text = torch.cat((prompts[row // ways, : sizes[row // ways]], tails[row, : tail_sizes[row]]))
                (whole,) = Prefixes(Whole(stack, (text[None],))).state(program)
                both = torch.cat((first[row // ways, : sizes[row // ways]], second[row, : tail_sizes[row]]))
                assert (both - whole[0]).abs().max() <= 1e-12 * whole.abs().max()


@pytest.mark.parametrize("memory", [0, 20_000, 1 << 30])
def test_shared_prefixes_give_the_same_bits(memory):
    stack, tokens, programs = decoder_stack("float32"), torch.randint(0, 50, (3, 8)), some_programs(40) + list(PROGRAMS.values())
    shared = Prefixes(Whole(stack, (tokens,)), memory)
    with torch.inference_mode():
        for program in programs:
            (alone,) = Prefixes(Whole(stack, (tokens,)), 0).state(program)
            assert torch.equal(shared.state(program)[0], alone)
            assert shared.held <= memory
    asked, distinct = sum(map(layer_runs, programs)), distinct_runs(programs)
    assert distinct < 0.75 * asked
    expected = {0: asked, 1 << 30: distinct}
    assert shared.runs == expected.get(memory, shared.runs)
    assert distinct <= shared.runs <= asked


TWO = """
import "language/transformer.arch"
block Mix(d) { in x: [T, d]; in h: [T, d]; y = x + linear(d)(h); return y, tanh(linear(d)(y)) }
arch Two(d = 8, depth = 4) {
    in tokens: int[T] lengths
    table = embedding(20, d)
    x, h = (table(tokens), table(tokens) * 2) -> layers: repeat depth { in x, h; return Mix(d)(x, h) }
    return linear(20)(x + h)
}
arch Program {
    in tokens: int[T] lengths
    base = Two(8, 4)
    return tokens -> base.before(layers) -> base.layers[0..2] -> base.layers[1..4] -> base.after(layers)
}
"""


def test_several_carried_values():
    space = skeleton(archdsl.parse(TWO))
    model = space.spec.build(dtype="float64").eval()
    tokens = torch.randint(0, 20, (2, 6))
    with torch.inference_mode():
        assert torch.equal(Stack(space, model).run((0, 1, 1, 2, 3), tokens), model(tokens))
