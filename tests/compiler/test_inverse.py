"""Derived inverses: what they give back, what is refused, and rounds that keep nothing for the backward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archdsl
from archdsl.diagnostics import ArchError

HEAD = "block F(n) { in x: [..]; return x -> linear(n) -> tanh -> linear(n) }\n"
INVERTIBLE = {
    "sums": "in x: [6]; in y: [6]; a = x + F(6)(y); b = 2 - y + F(6)(a); return a, -b",
    "products": "in x: [6]; in y: [6]; a = x * exp(F(6)(y)); b = y / (2 + sigmoid(F(6)(a))); return b * 3, 4 - a",
    "a known dividend": "in x: [6]; return (1 + exp(param([6] ~ normal(1.0)))) / x",
    "many terms": "in x: [6]; in y: [6]; a = add(x, y, F(6)(y)); return a, multiply(2 + sigmoid(F(6)(a)), y)",
    "layout": 'in x: [2, 4, 6]; return x -> rearrange("c (h i) w -> (i c) w h", i=2) -> flip(axis=0) -> roll(2, axis=1) -> unsqueeze(1) -> squeeze(1)',
    "squeezed": 'in x: [4, 6]; return x -> rearrange("a b -> a 1 b 1") -> squeeze([1, 3])',
    "parts": "in x: [9]; a, b, c = x -> split([2, 3, 4]); return concat(b, c, pad(a, 1, 2))",
    "stacked": "in x: [6]; in y: [6]; return stack(x, y + F(6)(x))",
    "one of several": "in x: [6]; in y: [4]; return concat(x, F(4)(x) + y), x",
    "blocks": "in x: [6]; a, b = x -> split(2); c, d = Couple(a, b); return concat(c, d) -> identity",
    "repeats": "in x: [6]; in y: [6]; return (x, y) -> repeat 3 { in x, y; return y, x + F(6)(y) }",
    "nested": "in x: [6]; in y: [6]; return (x, y) -> repeat 2 { repeat 2 { in x, y; return y, x + F(6)(y) } }",
    "kept beside": "in x: [T, 6] lengths; a, b = x -> split(2); return concat(a + cumsum(F(3)(b)), b)",
}
COUPLE = "block Couple { in a: [n]; in b: [n]; return b, a + F(n)(b) }\n"


def parsed(body: str, **options: Any) -> archdsl.Spec:
    return archdsl.parse(f"{HEAD}{COUPLE}arch A {{ {body} }}", **options)


@pytest.mark.parametrize("name", INVERTIBLE)
def test_what_was_given_is_found_again(name: str) -> None:
    of = archdsl.parse(f"{HEAD}{COUPLE}arch A {{ {INVERTIBLE[name]} }}\nexpect invertible")
    model = of.build(dtype="float64")
    given = [
        torch.randn(3, *(5 if not isinstance(s, int) else s for s in v.type.sizes), dtype=torch.float64) + 3 for v in of.graph.root.inputs
    ]
    made = model(*given)
    back = model.inverse(*(made if isinstance(made, tuple) else (made,))[: model.inverse.__code__.co_argcount - 1])
    for x, y in zip(given, back if isinstance(back, tuple) else (back,), strict=True):
        assert (x - y).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("in x: [6]; return x -> linear(6)", "`linear` cannot be undone"),
        ("in x: [6]; return x -> F(6)", "`linear` cannot be undone"),
        ("in x: [6]; return x + x", "`add` takes the same value twice"),
        ("in x: [6]; return x + sum(x)", "`add` cannot be undone"),
        ("in x: [6]; a, b = x -> split(2); return a", "does not determine"),
        ("in x: [6]; return x -> repeat 2 { relu }", "`relu` cannot be undone"),
        ("in x: [6]; in y: [T, 6]; return y + x", "and [6]"),
        ("in x: [6]; in y: [1]; a = x + y; return a, x", "`add` cannot be undone"),
        ("in x: [6]; return x -> loop 2 { in x; return x + 1 }", "`loop` cannot be undone"),
    ],
)  # fmt: skip
def test_what_loses_something_is_refused(body: str, said: str) -> None:
    with pytest.raises(ArchError) as caught:
        archdsl.parse(f"{HEAD}arch A {{ {body} }}\nexpect invertible")
    (problem,) = caught.value.diagnostics
    assert said in f"{problem.title} {problem.label} {problem.note}"
    if problem.code != "AD0310":
        assert problem.code == "AD0714"
        assert archdsl.parse(f"{HEAD}arch A {{ {body} }}\nexpect not invertible")
        assert not hasattr(parsed(body).build(), "inverse")


ROUNDS = {
    "coupling": "in x: [8]; in y: [8]; return (x, y) -> {} repeat 4 {{ in x, y; return y, x + F(8)(y) }}",
    "one value": "in x: [8]; in y: [8]; return x -> {} repeat 4 {{ in x; return 2 * x + F(8)(y) }}",
    "dropout": "in x: [8]; in y: [8]; return (x, y) -> {} repeat 4 {{ in x, y; return y, x + (y -> F(8) -> dropout(0.3)) }}",
    "draws in another order": """in x: [8]; in y: [8]; return (x, y) -> {} repeat 4 {{
        in x, y
        a = x + Noisy(8)(y)
        return a, y + Noisy(8)(a)
    }}""",
    "draws in nested parts": """in x: [8]; in y: [8]; return (x, y) -> {} repeat 3 {{
        in x, y
        a, b = NoisyCouple(x, y)
        return NoisyCouple(a, b)
    }}""",
    "batch norm": "in x: [8]; in y: [8]; return (x, y) -> {} repeat 4 {{ in x, y; return y, x + (y -> linear(8) -> batchnorm -> relu) }}",
    "shared": "in x: [8]; in y: [8]; f = linear(8); a, b = (x, y) -> {} repeat 3 {{ in x, y; return y, x + f(y) }}; return a, f(b)",
    "captured": "in x: [8]; in y: [8]; g = sigmoid(y -> linear(8)); return (x, y) -> {} repeat 3 {{ in x, y; return y, x + g * F(8)(y) }}",
}
NOISY = """block Noisy(n) { in x: [..]; return x -> linear(n) -> dropout(0.4) }
block NoisyCouple { in x: [n]; in y: [n]; return y, x + Noisy(n)(y) }
"""


def run(body: str, word: str, inputs: tuple[Tensor, Tensor]) -> tuple[list[Tensor], nn.Module, int]:
    """Results, gradients and buffers of one training step, the model, and the bytes kept for the backward pass."""
    of = archdsl.parse(f"{HEAD}{NOISY}arch A {{ {body.format(word)} }}")
    model = of.build(dtype="float64").train()
    given = [x.clone().requires_grad_() for x in inputs]
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = model(*given)
    after = torch.get_rng_state()
    outs = list(out) if isinstance(out, tuple) else [out]
    sum((o * o).sum() for o in outs).backward()
    assert torch.equal(after, torch.get_rng_state())  # the backward pass draws nothing that others see
    parts = [*outs, *(x.grad for x in given), *(p.grad for p in model.parameters()), *model.buffers()]
    owned = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return [p for p in parts if p is not None], model, sum(n for at, n in kept.items() if at not in owned)


@pytest.mark.parametrize("name", ROUNDS)
def test_gradients_are_those_of_the_plain_repeat(name: str) -> None:
    inputs = (torch.randn(6, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64))
    mine, _, _ = run(ROUNDS[name], "reversible", inputs)
    plain, _, _ = run(ROUNDS[name], "", inputs)
    assert any("Reversal" in line for line in [type(mine[0].grad_fn).__name__, str(mine[0].grad_fn.next_functions)])
    assert len(mine) == len(plain)
    for a, b in zip(mine, plain):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-10)


def test_what_is_kept_does_not_grow_with_the_rounds() -> None:
    inputs = (torch.randn(6, 8, dtype=torch.float64), torch.randn(6, 8, dtype=torch.float64))
    body = "in x: [8]; in y: [8]; return (x, y) -> {{}} repeat {n} {{{{ in x, y; return y, x + F(8)(y) }}}}"
    figures = {w: [run(body.format(n=n), w, inputs)[2] for n in (3, 12)] for w in ("reversible", "")}
    assert figures["reversible"][0] == figures["reversible"][1]
    assert figures[""][1] > 3 * figures[""][0] > 3 * figures["reversible"][0]


def test_the_figure_knows_what_is_kept() -> None:
    def kept(word: str, n: int, inner: str = "return y, x + F(8)(y)") -> int:
        return parsed(f"in x: [8]; in y: [8]; return (x, y) -> {word} repeat {n} {{ in x, y; {inner} }}").activation_bytes()

    assert kept("reversible", 3) == kept("reversible", 30) == 4 * (2 * 8 + 2 * 8 + 2 * 8)  # the model's inputs; the repeat's; its results
    assert kept("", 30) > kept("reversible", 30)
    assert kept("reversible", 30, "return y, F(8)(y) * x") < kept("reversible", 30, "return relu(y), F(8)(y) * x")


def test_rounds_without_an_inverse_keep_their_inputs() -> None:
    of = parsed("in x: [8]; return x -> reversible repeat 3 { in x; return relu(x) + F(8)(x) }")
    assert [w.code for w in of.warnings] == ["AD0715"]
    assert "recomputed(" in of.emit()
    assert "reversed_rounds(" not in of.emit()


@pytest.mark.parametrize(
    "inner",
    [
        "a = x + dropout(F(8)(y), 0.5); return a, y + dropout(F(8)(a), 0.5)",
        "a, b = Inline(x, y); return Inline(a, b)",
        "g = Noisy(8); a = x + g(y); return a, y + g(a)",
    ],
)
def test_draws_that_cannot_be_met_again_are_not_undone(inner: str) -> None:
    inline = "block Inline { in x: [n]; in y: [n]; return y, x + dropout(F(n)(y), 0.5) }\n"
    text = f"arch A {{ in x: [8]; in y: [8]; return (x, y) -> reversible repeat 3 {{ in x, y; {inner} }} }}"
    of = archdsl.parse(HEAD + NOISY + inline + text)
    assert "another order" in of.warnings[0].label
    assert "recomputed(" in of.emit()


def test_a_side_loss_keeps_its_gradient() -> None:
    text = "arch A { in x: [8]; in y: [8]; return (x, y) -> reversible repeat 2 { in x, y; aux s = sum(y); return y, x + F(8)(y) } }"
    of = archdsl.parse(HEAD + text)
    assert "side loss" in of.warnings[0].note
    assert "recomputed(" in of.emit()


def test_mixed_precision_is_that_of_the_forward_pass() -> None:
    of = parsed("in x: [8]; in y: [8]; return (x, y) -> reversible repeat 2 { in x, y; return y, x + F(8)(y) }")
    model = of.build().train()
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        a, b = model(x, y)
    (a.float().square().sum() + b.float().square().sum()).backward()
    assert set(seen) == {torch.bfloat16}
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_evaluation_runs_the_rounds_plainly() -> None:
    of = parsed("in x: [8]; in y: [8]; return (x, y) -> reversible repeat 2 { in x, y; return y, x + F(8)(y) }")
    model = of.build(dtype="float64").eval()
    x, y = torch.randn(2, 4, 8, dtype=torch.float64)
    a, _ = model(x, y)
    assert "Reversal" not in str(a.grad_fn)


def test_second_derivatives_are_refused_while_training_and_exact_in_evaluation() -> None:
    """A weight, an input: neither may take the other's gradient for a constant."""
    of = parsed("in x: [8]; in y: [8]; return (x, y) -> reversible repeat 2 { in x, y; return y, x + F(8)(y) }")
    model = of.build(dtype="float64", seed=1).train()
    x, y = torch.randn(2, 4, 8, dtype=torch.float64)
    leaves = [x.requires_grad_(), *model.parameters()]
    plain = torch.autograd.grad(sum(v.square().sum() for v in model(x, y)), leaves)
    recorded = torch.autograd.grad(sum(v.square().sum() for v in model(x, y)), leaves, create_graph=True)
    torch.testing.assert_close(recorded, plain, rtol=0, atol=0)
    for gradient, leaf in ((recorded[0], leaves[0]), (recorded[1], leaves[0]), (recorded[0], leaves[1])):
        with pytest.raises(RuntimeError, match="no second derivatives while training"):
            torch.autograd.grad(gradient.sum(), leaf, retain_graph=True)
    model.eval()
    assert torch.autograd.gradgradcheck(lambda x: model(x, y), x)
