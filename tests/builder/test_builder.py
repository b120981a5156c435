"""Specs written by a program: text and tree agree, and what is written elaborates."""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

import archdsl
from archdsl.builder import (
    Builder,
    E,
    after,
    begins,
    both,
    code,
    each,
    either,
    label,
    lambda_,
    loop,
    negate,
    one_of,
    parameter,
    pipe,
    repeat,
    route,
    skip,
    span,
    starts,
    train,
    when,
)
from archdsl.builder import names as n
from archdsl.diagnostics import ArchError, Source
from archdsl.language import parse, same_tree


def reads_back(b: Builder) -> str:
    """The text, checked to parse to the same tree and to print as itself."""
    text = b.text()
    assert same_tree(parse(Source("built", text)), b.file())
    assert Builder.from_text(text).text() == text
    return text


def decoder() -> Builder:
    b = Builder("A small decoder.")
    b.use("std/transformer.arch")
    with b.arch("Tiny", vocab=256, d=parameter(64, within=[32, 64]), depth=parameter(4, within=range(2, 9)), heads=4) as a:
        tokens = a.input("tokens", "int[T]", lengths=True)
        table = a.let("table", n.embedding(a.vocab, a.d))
        layer = n.residual(n.rmsnorm >> n.Attention(a.heads)) >> n.residual(n.rmsnorm >> n.SwiGLU(4 * a.d))
        a.returns(table(tokens) >> label("layers", repeat(a.depth, layer)) >> n.rmsnorm >> n.unembed(table))
    b.expect("causal")
    b.expect(n.params < 1_000_000, d=32)
    return b


def test_a_decoder() -> None:
    text = reads_back(decoder())
    assert "arch Tiny(vocab = 256, d in {32, 64} = 64, depth in 2..=8 = 4, heads = 4) {" in text
    assert "expect params < 1_000_000 with d=32" in text
    spec = decoder().spec()
    assert len(spec.contracts) == 2
    assert spec.structure_hash == archdsl.parse(text).structure_hash
    assert decoder().spec(depth=2).parameters < spec.parameters


def test_is_what_one_would_write_by_hand() -> None:
    b = Builder()
    with b.block("residual", f=parameter(kind="module")) as r:
        x = r.input("x", "[..]")
        r.returns(x + r.f(x))
    with b.arch("A", d=8) as a:
        x = a.input("x", "[T, d]")
        a.returns(x >> n.residual(n.linear(a.d, bias=begins(n.zeros)) >> n.relu))
    by_hand = "block residual(f: module) { in x: [..]; return x + f(x) }\narch A(d = 8) { in x: [T, d]; return x -> residual(linear(d, bias ~ zeros) -> relu) }"
    assert same_tree(parse(Source("hand", by_hand)), b.file())


def test_scans_and_acts() -> None:
    b = Builder()
    b.act("swish", "x * sigmoid(beta * x)", learned={"beta": 1.0})
    b.act("prelu", "if x > 0 then x else a * x", learned={"a": ("[axis]", 0.25)})
    b.act("spike", "if x > 0 then 1 else 0", backward="1 / (1 + (pi * x) ** 2)")
    b.act("leaky", when(n.x > 0, n.x, n.slope * n.x), slope=0.01)
    with b.scan("decay", doc="A leaky sum.", rate=0.5) as s:
        k = s.input("k", "[m]")
        state = s.state("S", [n.m], 0)
        s.step(state, s.rate * state + k)
        s.yields(after(state))
    with b.arch("A") as a:
        x = a.input("x", "[T, 8]")
        a.returns(x >> n.swish >> n.leaky(slope=0.1) >> n.prelu(axis=1) >> n.decay >> n.spike)
    reads_back(b)
    assert b.spec().parameters == 1 + 8


def test_structural_forms() -> None:
    b = Builder()
    with b.arch("A", d=8, depth=3) as a:
        x = a.input("x", [n.T, a.d])

        def layer(s: Any) -> None:
            y, h = s.input("y"), s.input("h")
            z = s.let("z", y >> n.linear(a.d))
            s.returns(z, h + z * Fraction(1, 2))

        y, h = a.let("y, h", (x, n.zeros([n.T, a.d])) >> label("layers", repeat(a.depth, layer)))
        y = a.let("w", y >> repeat(range(1, 3), n.linear(8 * n.i), index="i") >> n.linear(a.d))
        y = a.let(
            "u", y >> loop(span(0, 3), lambda s: s.returns(s.input("q") + n.signal(a.d)(n.i)), index="i", until=n.halt(threshold=0.9))
        )
        y = a.let("s", y >> skip(n.linear(1), n.linear(a.d), capacity=Fraction(1, 2)) >> route(n.topk(2), n.linear(a.d), experts=4))
        y = a.let("t", y >> train(n.dropout(0.1)) >> train(n.relu, n.tanh))
        y = a.let("v", y >> lambda_(lambda s: s.returns(s.input("p") * 2)) >> loop(2, n.linear(a.d), step=Fraction(1, 3)))
        a.aux("size", n.mean(y * y, axis=[0, 1]))
        a.tap("inner", y)
        a.where(n.T % 2 == 0)
        a.returns(y + h * n.param(starts([a.d], n.ones)))
    text = reads_back(b)
    assert "repeat i in 1..3 {" in text
    assert "loop i in 0..3 until halt(threshold=0.9) {" in text
    assert b.spec().parameters > 0


def test_text_where_it_is_shorter() -> None:
    b = Builder()
    b.declare('import "std/transformer.arch"\nblock Half(d) { in x: [.., d]; return x -> linear(d / 2) }')
    with b.arch("A", d=8) as a:
        a.lines("in x: [T, d]\ny = x -> Half(d)")
        a.returns(n.y + code("zeros([T, d / 2])"))
    b.declare("expect causal")
    reads_back(b)
    assert b.spec().contracts == ["expect causal"]


def test_a_spec_read_and_extended() -> None:
    b = Builder.from_text(decoder().text())
    with b.arch("Wide", d=64) as a:
        tokens = a.input("tokens", "int[T]")
        a.returns(tokens >> n.Tiny(d=a.d, depth=2))
    assert b.spec(arch="Wide").parameters == decoder().spec(depth=2).parameters


VALUES = {
    "-1": -1, "-0.5": -0.5, "1 / 3": Fraction(1, 3), "true": True, "none": None, '"a -> b"': "a -> b", "[1, 2]": [1, 2], "(1, 2)": (1, 2),
    "0..4": range(4), "not a": negate(n.a), "a and b or c": either(both(n.a, n.b), n.c), "-a ** 2": -(n.a**2),
    "(-a) ** 2": (-n.a) ** 2, "(a + b) * c": (n.a + n.b) * n.c, "a - (b - c)": n.a - (n.b - n.c), "2 * a // 3 % 4": 2 * n.a // 3 % 4,
    "a @ b": n.a @ n.b, "a <= b": n.a <= n.b, "b >= 1": n.b >= 1, "a != b": n.a != n.b, "x[0]": n.x[0], "x[1..3, ..2]": n.x[1:3, :2],
    "gru.cell(4)": n.gru.cell(4), "base.layers[0..11]": n.base.layers[0:11], "[f(i) for i in 0..n]": each(n.f(n.i), "i", span(0, n.n)),
    "if a then b else c": when(n.a, n.b, n.c), "a -> b -> c": pipe(n.a, pipe(n.b, n.c)), "a | b | c": n.a | n.b | n.c, "1 + a": 1 + n.a,
    "f(x, k=3, bias ~ zeros)": n.f(n.x, k=3, bias=begins(n.zeros)), "0..=4": span(0, 4, closed=True),
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES)
def test_expressions(text: str) -> None:
    b = Builder()
    b.constant("k", VALUES[text])
    assert b.text() == f"k = {text}\n"
    reads_back(b)


WRONG: dict[str, Callable[[], object]] = {
    "a name with a space": lambda: n("a b"),
    "text put in as a name": lambda: n("x) }\narch B { in y: [T] return y"),
    "a word of the language": lambda: n("return"),
    "a label": lambda: label("1st", n.linear(8)),
    "infinity": lambda: n.f(float("inf")),
    "a set": lambda: n.f({1, 2}),
    "an object": lambda: n.f(object()),
    "a range with a step": lambda: n.f(range(0, 8, 2)),
    "a slice with a step": lambda: n.x[::2],
    "truth": lambda: 1 if n.d > 3 else 2,
    "a chain of comparisons": lambda: 0 < n.d < 3,
    "taking apart": lambda: list(n.x),
    "after of a call": lambda: after(n.f(n.x)),
    "a contract first": lambda: Builder().expect("causal"),
    "a shape that is more": lambda: Builder().scan("s").__enter__().input("x", "[d] lengths\n    in y: [d]"),
    "an empty body": lambda: repeat(3, lambda s: None),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_written(what: str) -> None:
    with pytest.raises(ArchError) as caught:
        WRONG[what]()
    assert caught.value.diagnostics[0].code == "AD0921"


def test_mistakes_in_a_built_spec_are_diagnostics() -> None:
    b = Builder()
    with b.arch("A") as a:
        a.returns(a.input("x", "[T, 8]") >> n.linar(8))
    with pytest.raises(ArchError, match="linear"):
        b.spec()
    with pytest.raises(ArchError):
        code("1 +")
    with pytest.raises(AttributeError, match="no parameter"):
        _ = a.width


def _expression(r: random.Random, depth: int) -> E:
    if depth == 0:
        return r.choice([n.x, n.y, n.d, code("4"), code("0.5"), n.f(n.x), n.x[0]])
    left, right = _expression(r, depth - 1), _expression(r, depth - 1)
    made: list[Callable[[], E]] = [
        lambda: left + right,
        lambda: left - right,
        lambda: left * right,
        lambda: left / right,
        lambda: left**right,
        lambda: left @ right,
        lambda: -left,
        lambda: left | right,
        lambda: left >> right,
        lambda: label("part", left),
        lambda: when(left < right, left, right),
        lambda: n.g(left, key=right),
        lambda: repeat(left, right),
        lambda: loop(3, left, step=right),
        lambda: skip(left, right, capacity=0.5),
        lambda: train(left, right),
        lambda: lambda_(lambda s: s.returns(left, right)),
        lambda: each(left, "i", span(0, right)),
        lambda: negate(both(left, right)),
        lambda: n.h[left : right + 1],
        lambda: E(n.h.node).attr(left) if r.random() < 0.5 else n.k([left, right]),
    ]
    return r.choice(made)()


@pytest.mark.parametrize("seed", range(60))
def test_random_trees_read_back(seed: int) -> None:
    r = random.Random(seed)
    b = Builder("Random.")
    with b.block("B", d=parameter(within=one_of(2, 4), default=4), f=parameter(kind="module")) as a:
        x = a.input("x", r.choice(["[..]", "[T, d]", "int[T]"]), lengths=r.random() < 0.3)
        for i in range(r.randint(1, 4)):
            a.let(f"v{i}", _expression(r, r.randint(1, 3)))
        a.returns(x, _expression(r, 2))
    b.constant("c", _expression(r, 2))
    reads_back(b)


@pytest.mark.parametrize("seed", range(40))
def test_generated_files_read_back_through_the_builder(seed: int) -> None:
    from tests.language.generate_specs import Spec

    text = Spec(seed).text
    b = Builder.from_text(text)
    assert same_tree(parse(Source("generated", text)), b.file())
    assert same_tree(parse(Source("printed", b.text())), b.file())


def test_loaded_on_first_use_only() -> None:
    import subprocess
    import sys

    code_ = "import sys, archdsl; print('archdsl.builder' in sys.modules); archdsl.Builder; print([m for m in ('torch', 'networkx') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code_], capture_output=True, text=True, check=True)
    assert out.stdout.split("\n")[:2] == ["False", "[]"]


def test_the_documented_example() -> None:
    from pathlib import Path

    text = (Path(__file__).resolve().parents[2] / "docs" / "builder.md").read_text(encoding="utf-8")
    scope: dict[str, Any] = {}
    exec(text.split("```python")[1].split("```")[0], scope)
    assert scope["spec"].arguments["depth"] == 2
    assert scope["b"].spec().contracts == ["expect causal"]
