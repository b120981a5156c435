"""Modules: initial weights, dtypes, devices, state dicts, autograd, compile and export."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from archdsl.compiler import build, compile_graph
from archdsl.graph.ir import weights
from tests.compiler.specs import SPECS, graph, inputs, model


@pytest.mark.parametrize("name", SPECS)
def test_the_state_dict_is_the_graphs_weight_table(name: str) -> None:
    of = graph(name)
    made = build(of)
    table = {path: weight.shape for path, weight in weights(of.root)}
    assert {k: tuple(v.shape) for k, v in made.state_dict().items()} == table


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    of = graph("scans")
    a, b, c = (build(of, seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["linear.weight"], c["linear.weight"])


def test_initial_weights_follow_the_table() -> None:
    made = build(
        graph("""
arch Starts(d = 64) {
    in x: [d]
    param scale: [d] ~ ones
    return (x * scale) -> linear(256, bias ~ constant(3), weight ~ normal(0.5))
}
""")
    )
    assert torch.equal(made.scale, torch.ones(64))
    assert torch.equal(made.linear.bias, torch.full((256,), 3.0))
    assert abs(made.linear.weight.std().item() - 0.5) < 0.02
    assert isinstance(made.scale, torch.nn.Parameter)


def test_one_weight_does_not_depend_on_another() -> None:
    small = build(graph("arch A(d = 8) { in x: [d]; return x -> one: linear(d) }")).one.weight
    large = build(graph("arch A(d = 8) { in x: [d]; return x -> zero: linear(d) -> one: linear(d) }")).one.weight
    assert torch.equal(small, large)


def test_bfloat16_and_meta() -> None:
    of = graph("decoder")
    made = build(of, dtype="bfloat16").eval()
    assert {p.dtype for p in made.parameters()} == {torch.bfloat16}
    assert made(**inputs(of)).dtype == torch.bfloat16
    with torch.device("meta"):
        empty = compile_graph(of)()
    assert empty(torch.zeros(2, 5, dtype=torch.int64, device="meta")).shape == (2, 5, 11)


def test_state_dict_round_trip_and_deepcopy() -> None:
    of = graph("cells")
    given = inputs(of)
    a, b = build(of, seed=1).eval(), build(of, seed=2).eval()
    assert not torch.equal(a(**given), b(**given))
    b.load_state_dict(a.state_dict())
    assert torch.equal(a(**given), b(**given))
    assert torch.equal(copy.deepcopy(a)(**given), a(**given))


@pytest.mark.parametrize("name", SPECS)
def test_every_weight_that_trains_gets_a_gradient(name: str) -> None:
    of = graph(name)
    made = build(of, dtype=torch.float64).train()
    out = made(**inputs(of, batch=4))
    out.square().sum().backward()
    without = {n for n, p in made.named_parameters() if p.grad is None}
    assert {n for n in without if not n.startswith("drawn_in_eval.")} == set()


EXPORTED = ("decoder", "cells", "translator", "loops", "routes", "reversible")


@pytest.mark.parametrize("name", EXPORTED)
def test_whole_forms_compile_without_a_break(name: str) -> None:
    made = model(name, torch.float32)
    given = inputs(graph(name), dtype=torch.float32)
    compiled: Any = torch.compile(made, fullgraph=True, backend="eager")
    assert torch.allclose(compiled(**given), made(**given), atol=1e-5)
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPORTED)
def test_whole_forms_export_with_a_length_that_varies(name: str) -> None:
    _exports(name)


def test_a_decoder_exports_with_a_length_that_varies() -> None:
    _exports("decoder")


def _exports(name: str) -> None:
    made = model(name, torch.float32)
    of = graph(name)
    given = inputs(of, dtype=torch.float32)
    shapes = {k: {1: torch.export.Dim(f"size_{k}", min=4, max=64)} for k in given}
    program = torch.export.export(made, (), given, dynamic_shapes=shapes)
    longer = inputs(of, dtype=torch.float32, T=17, S=9)
    assert torch.allclose(program.module()(**longer), made(**longer), atol=1e-5)
