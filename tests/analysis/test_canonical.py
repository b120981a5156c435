"""Hashes of meaning: what must not matter, what must, stability over processes, and speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import archdsl
from archdsl.analysis.canonical import FLAT_LIMIT, canonical_weights, flat_size
from tests.timing import least_seconds

ROOT = Path(__file__).resolve().parents[2]
STD = 'import "std/transformer.arch"\n'


def structure(text: str, **overrides: object) -> str:
    return archdsl.parse(text, **overrides).structure_hash


SAME = {
    "names of values, labels and the arch": (
        "arch A { in x: [T, 8]; y = x -> first: linear(8); return y -> relu }",
        "arch B { in value: [T, 8]; h = value -> other: linear(8); return h -> relu }",
    ),
    "symbols of sizes": (
        "arch A { in x: [T, 8]; return x + zeros([T, 8]) -> linear(8) }",
        "arch A { in x: [N, 8]; return x + zeros([N, 8]) -> linear(8) }",
    ),
    "a block in its place": (
        "block F(n) = linear(n) -> relu -> linear(8)\narch A { in x: [T, 8]; return x + F(16)(x) }",
        "arch A { in x: [T, 8]; return x + (x -> linear(16) -> relu -> linear(8)) }",
    ),
    "defaults written out": (
        "arch A { in x: [T, 8]; return x -> rmsnorm -> linear(8) }",
        "arch A { in x: [T, 8]; return x -> rmsnorm(eps=1e-6, axis=1) -> linear(8, bias=true) }",
    ),
    "a whole number as a float": (
        "arch A { in x: [4, T, 8]; return x -> rotary(10_000) }",
        "arch A { in x: [4, T, 8]; return x -> rotary(10_000.0) }",
    ),
    "association of pipes": (
        "arch A { in x: [T, 8]; return x -> linear(8) -> (relu -> linear(8)) }",
        "arch A { in x: [T, 8]; return (x -> linear(8) -> relu) -> linear(8) }",
    ),
    "a labelled part of a pipe": (
        "arch A { in x: [T, 8]; return x -> head: (linear(8) -> relu) -> linear(8) }",
        "arch A { in x: [T, 8]; return x -> linear(8) -> relu -> linear(8) }",
    ),
    "what no output needs": (
        "arch A { in x: [T, 8]; unused = x -> linear(99) -> relu; return x -> linear(8) }",
        "arch A { in x: [T, 8]; return x -> linear(8) }",
    ),
    "the order of independent lines": (
        "arch A { in x: [T, 8]; a = x -> linear(8, bias=false); b = x -> linear(8); return a * 2 + b }",
        "arch A { in x: [T, 8]; b = x -> linear(8); a = x -> linear(8, bias=false); return a * 2 + b }",
    ),
    "the order in which a block takes its values": (
        "block F { in a: [T, 8]; in b: [T, 8]; return (b -> linear(8)) - (a -> tanh) }\n"
        "arch A { in x: [T, 8]; return F(x -> linear(8), x -> linear(8)) }",
        "arch A { in x: [T, 8]; second = x -> linear(8); return (second -> linear(8)) - (x -> linear(8) -> tanh) }",
    ),
    "a repeat and its rounds written out": (
        "arch A { in x: [T, 8]; return x -> repeat 3 { linear(8) -> relu } }",
        "arch A { in x: [T, 8]; return x -> linear(8) -> relu -> linear(8) -> relu -> linear(8) -> relu }",
    ),
    "a repeat by its index": (
        "arch A { in x: [T, 8]; return x -> repeat i in 0..2 { linear(8 * (i + 1)) } }",
        "arch A { in x: [T, 8]; return x -> linear(8) -> linear(16) }",
    ),
    "a value that every round reads": (
        "arch A { in x: [T, 8]; m = x -> linear(8); return x -> repeat 2 { in y; return y * m -> linear(8) } }",
        "arch A { in x: [T, 8]; m = x -> linear(8); a = x * m -> linear(8); return a * m -> linear(8) }",
    ),
    "axis names of a pattern": (
        'arch A { in x: [T, 8]; return x -> rearrange("t (h c) -> h t c", h=2) }',
        'arch A { in x: [T, 8]; return x -> rearrange("time (heads k) -> heads time k", k=4) }',
    ),
    "axis names of a sum of products": (
        'arch A { in x: [T, 8]; return einsum(x, x, pattern="t d, t e -> d e") }',
        'arch A { in x: [T, 8]; return einsum(x, x, pattern="time left,  time right -> left right") }',
    ),
    "an activation written again": (
        "act mine(x; slope = 0.5) = x * sigmoid(slope * x)\narch A { in x: [T, 8]; return x -> linear(8) -> mine }",
        "act yours(v; b = 0.5) = v * sigmoid(b * v)\narch A { in x: [T, 8]; return x -> linear(8) -> yours }",
    ),
    "a choice taken and the option written": (
        "block F = linear(8) | (linear(4) -> linear(8))\narch A { in x: [T, 8]; return x -> F }",
        "arch A { in x: [T, 8]; return x -> linear(8) }",
    ),
    "names inside a scan": (
        "scan s { in q: [n]; in k: [n]; state S: [n] = 0; state dead: [n] = 0; S' = 0.5 * S + k; dead' = dead + q; "
        "yield q * S' }\n"
        "arch A { in x: [T, 8]; return s(x, linear(8)(x)) }",
        "scan r { in a: [m]; in b: [m]; state Z: [m] = 0; Z' = 0.5 * Z + b; yield a * Z' }\n"
        "arch A { in x: [T, 8]; return r(x, linear(8)(x)) }",
    ),
    "a shared instance reached through a block": (
        "block F(f: module) { in x: [..]; return f(x) * 2 }\narch A { in x: [T, 8]; g = linear(8); y = g(x); return F(g)(y) }",
        "arch A { in x: [T, 8]; g = linear(8); return g(g(x)) * 2 }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SAME)
def test_does_not_matter(what: str) -> None:
    a, b = SAME[what]
    assert structure(a) == structure(b)


BASE = "arch A { in x: [T, 8]; return x -> linear(8) -> relu -> linear(8) }"
DIFFERENT = {
    "a size": ("arch A { in x: [T, 8]; return x -> linear(16) -> relu -> linear(8) }", BASE),
    "an attribute": ("arch A { in x: [4, T, 8]; return x -> rotary(10_000) }", "arch A { in x: [4, T, 8]; return x -> rotary(100_000) }"),
    "how weights begin": (
        "arch A { in x: [T, 8]; return x -> linear(8, bias ~ ones) }",
        "arch A { in x: [T, 8]; return x -> linear(8, bias ~ normal(0.02)) }",
    ),
    "one instance twice or two instances": (
        "arch A { in x: [T, 8]; f = linear(8); return f(f(x)) }",
        "arch A { in x: [T, 8]; return x -> linear(8) -> linear(8) }",
    ),
    "one shared block or two": (
        "block B = linear(8) -> relu\narch A { in x: [T, 8]; f = B; return f(f(x)) }",
        "block B = linear(8) -> relu\narch A { in x: [T, 8]; return x -> B -> B }",
    ),
    "which of two instances comes back": (
        "arch A { in x: [T, 8]; f = linear(8); g = linear(8); return x -> f -> g -> f }",
        "arch A { in x: [T, 8]; f = linear(8); g = linear(8); return x -> f -> g -> g }",
    ),
    "loop and repeat": (
        "arch A { in x: [T, 8]; return x -> loop 3 { linear(8) } }",
        "arch A { in x: [T, 8]; return x -> repeat 3 { linear(8) } }",
    ),
    "rounds of a loop": (
        "arch A { in x: [T, 8]; return x -> loop 3 { linear(8) } }",
        "arch A { in x: [T, 8]; return x -> loop 4 { linear(8) } }",
    ),
    "rounds of a repeat": (
        "arch A { in x: [T, 8]; return x -> repeat 3 { linear(8) } }",
        "arch A { in x: [T, 8]; return x -> repeat 4 { linear(8) } }",
    ),
    "a residual": ("arch A { in x: [T, 8]; return x + linear(8)(x) }", "arch A { in x: [T, 8]; return linear(8)(x) }"),
    "sides of a subtraction": (
        "arch A { in x: [T, 8]; y = linear(8)(x); return x - y }",
        "arch A { in x: [T, 8]; y = linear(8)(x); return y - x }",
    ),
    "two inputs of one size or of two": (
        "arch A { in x: [T, 8]; in y: [T, 8]; return mean(x, axis=0) + mean(y, axis=0) }",
        "arch A { in x: [T, 8]; in y: [S, 8]; return mean(x, axis=0) + mean(y, axis=0) }",
    ),
    "lengths": ("arch A { in x: [T, 8] lengths; return x -> mean(axis=0) }", "arch A { in x: [T, 8]; return x -> mean(axis=0) }"),
    "training only": (
        "arch A { in x: [T, 8]; return x -> train { linear(8) } else { relu } }",
        "arch A { in x: [T, 8]; return x -> train { relu } else { linear(8) } }",
    ),
    "a declared slope": (
        "act s(x) = if x > 0 then 1 else 0 backward 1 / (1 + x ** 2)\narch A { in x: [T, 8]; return x -> s }",
        "act s(x) = if x > 0 then 1 else 0 backward 1 / (2 + x ** 2)\narch A { in x: [T, 8]; return x -> s }",
    ),
    "the update of a state": (
        "scan s { in k: [n]; state S: [n] = 0; S' = 0.5 * S + k; yield S' }\narch A { in x: [T, 8]; return s(x) }",
        "scan s { in k: [n]; state S: [n] = 0; S' = 0.6 * S + k; yield S' }\narch A { in x: [T, 8]; return s(x) }",
    ),
    "state before or after the step": (
        "scan s { in k: [n]; state S: [n] = 0; S' = 0.5 * S + k; yield S' }\narch A { in x: [T, 8]; return s(x) }",
        "scan s { in k: [n]; state S: [n] = 0; S' = 0.5 * S + k; yield S }\narch A { in x: [T, 8]; return s(x) }",
    ),
    "a side loss": (
        "arch A { in x: [T, 8]; y = linear(8)(x); aux size = mean(y * y, axis=[0, 1]); return y }",
        "arch A { in x: [T, 8]; y = linear(8)(x); return y }",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DIFFERENT)
def test_matters(what: str) -> None:
    a, b = DIFFERENT[what]
    assert structure(a) != structure(b)


def test_choice_taken_matters() -> None:
    text = "block F = linear(8) | (linear(4) -> linear(8))\narch A { in x: [T, 8]; return x -> repeat 2 { F } }"
    spec = archdsl.parse(text)
    name = spec.decisions[0][0]
    assert archdsl.parse(text, decisions={name: 1}).structure_hash != spec.structure_hash


def test_interface_sees_names_and_structure_does_not() -> None:
    a = archdsl.parse("arch A { in x: [T, 8]; return x -> one: linear(8) -> relu }")
    b = archdsl.parse("arch A { in x: [T, 8]; return x -> two: linear(8) -> relu }")
    assert a.structure_hash == b.structure_hash
    assert a.interface_hash != b.interface_hash
    assert a.interface_hash == archdsl.parse("arch Other { in y: [N, 8]; return y -> one: linear(8) -> relu }").interface_hash


def test_weights_correspond_in_canonical_order() -> None:
    a = archdsl.parse("arch A { in x: [T, 8]; f = linear(8); return x -> repeat 2 { residual(rmsnorm -> linear(8)) } -> f }\n"
                      "block residual(f: module) { in x: [..]; return x + f(x) }")  # fmt: skip
    b = archdsl.parse(
        "arch A { in x: [T, 8]; a = x + (x -> n1: rmsnorm -> l1: linear(8)); "
        "return a + (a -> n2: rmsnorm -> l2: linear(8)) -> l3: linear(8) }"
    )
    assert a.structure_hash == b.structure_hash
    pairs = dict(zip(canonical_weights(a.graph), canonical_weights(b.graph)))
    assert pairs["f.weight"] == "l3.weight"
    assert pairs["repeat.1.residual.f.linear.bias"] == "l2.bias"
    assert sorted(pairs) == sorted(a.weight_shapes)


def test_same_in_another_process() -> None:
    here = [archdsl.load(n).structure_hash for n in ("smollm2", "gpt2")]
    code = "import archdsl; print(*[archdsl.load(n).structure_hash for n in ('smollm2', 'gpt2')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env={"PYTHONHASHSEED": "7"}, check=True)
    assert out.stdout.split() == here


def test_depth_program_equals_the_layers_it_applies() -> None:
    model = "arch M(depth = 4) { in x: [T, 8]; return x -> linear(8) -> layers: repeat depth { linear(8) -> relu } -> linear(2) }\n"
    program = (
        model
        + 'arch P { in x: [T, 8]; base = pretrained(M, "none"); return x -> base.before(layers) -> base.layers[{}] -> base.after(layers) }}'
    )
    assert structure(program.replace("{}", "0..4").replace("}}", "}")) == structure(model)
    assert structure(program.replace("{}", "0..2").replace("}}", "}")) == structure(model, depth=2)
    twice = program.replace("base.layers[{}]", "base.layers[0] -> base.layers[0]").replace("}}", "}")
    assert structure(twice) != structure(model, depth=2)


def test_a_graph_too_long_to_list_flat() -> None:
    text = "arch A(n = 400) { in x: [T, 8]; return x -> repeat 400 { repeat n { linear(8) -> relu -> linear(8) } } }"
    spec = archdsl.parse(text)
    assert flat_size(spec.graph.root) > FLAT_LIMIT
    assert least_seconds(lambda: spec.structure_hash) < 2
    first = spec.structure_hash
    assert first == archdsl.parse(text.replace("x", "y")).structure_hash
    assert first != structure(text, n=401)
