"""Structural nodes compute what they mean: against references written out by hand."""

from __future__ import annotations

import pytest
import torch

from archdsl.compiler import build
from archdsl.compiler.collect import collect_aux, collect_taps, tap
from tests.compiler.specs import graph, inputs, model


def test_repeat_makes_weights_anew_and_loop_shares_them() -> None:
    of = graph("""
arch Both(d = 8) {
    in x: [d]
    return x -> layers: repeat 3 { linear(d) } -> again: loop 3 { linear(d) }
}
""")
    made = build(of, dtype=torch.float64)
    names = [n for n, _ in made.named_parameters()]
    assert names == [f"layers.{i}.linear.{w}" for i in range(3) for w in ("weight", "bias")] + ["again.linear.weight", "again.linear.bias"]
    x = torch.randn(2, 8, dtype=torch.float64)
    want = x
    for i in range(3):
        want = made.layers[i].linear(want)
    for _ in range(3):
        want = made.again.linear(want)
    assert torch.equal(made(x), want)


def test_a_damped_loop_with_its_index() -> None:
    of = graph("""
arch Damped(d = 4) {
    in x: [d]
    return x -> loop i in 2..5 step 1/4 { in y; return y * i }
}
""")
    x = torch.randn(3, 4, dtype=torch.float64)
    want = x
    for i in (2, 3, 4):
        want = want + 0.25 * (want * i - want)
    assert torch.allclose(build(of, dtype=torch.float64)(x), want, rtol=0, atol=1e-12)


def test_halting_is_the_mean_of_states_by_halting_share() -> None:
    of = graph("""
arch Halts(d = 4) {
    in x: [T, d]
    return x -> ponder: loop 5 until halt(threshold=0.9) { linear(d) -> tanh }
}
""")
    made = build(of, dtype=torch.float64)
    with torch.no_grad():
        made.ponder.halt.bias.fill_(-0.5)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    want = torch.zeros_like(x)
    for b in range(2):
        for t in range(3):
            state, used = x[b, t], 0.0
            for i in range(5):
                state = torch.tanh(made.ponder.linear(state))
                p = torch.sigmoid(made.ponder.halt(state)).item()
                stop = used + p >= 0.9 or i == 4
                share = 1 - used if stop else p
                want[b, t] += share * state.detach()
                used += share
                if stop:
                    break
    assert torch.allclose(made(x), want, rtol=0, atol=1e-12)


ROUTED = """
arch Routed(d = 6) {{
    in x: [T, d]
    return x -> route({router}, experts=3) {{ linear(d) }}
}}
"""


def test_topk_routing_against_all_experts_weighted() -> None:
    made = build(graph(ROUTED.format(router="topk(2)")), dtype=torch.float64).eval()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    weights = made.router(x).softmax(-1)
    values, chosen = weights.topk(2, -1)
    gates = torch.zeros_like(weights).scatter(-1, chosen, values / values.sum(-1, keepdim=True))
    want = sum(gates[..., i : i + 1] * made.experts[i].linear(x) for i in range(3))
    got = made(x)
    assert torch.allclose(got, want, rtol=0, atol=1e-12)
    got.sum().backward()
    assert made.router.weight.grad.abs().sum() > 0


def test_each_expert_runs_only_on_its_rows() -> None:
    made = build(graph(ROUTED.format(router="topk(1)")), dtype=torch.float64).eval()
    rows = []
    for expert in made.experts:
        expert.linear.register_forward_hook(lambda _, args, __: rows.append(args[0].shape[-2]))
    made(torch.randn(4, 5, 6, dtype=torch.float64))
    assert sum(rows) == 20


def test_expert_choice_takes_the_same_number_for_each_expert() -> None:
    from archdsl.compiler.support.routing import gate_expert_choice

    logits = torch.randn(2, 8, 4)
    gates = gate_expert_choice(logits, 2.0)
    assert ((gates > 0).sum(-2) == 4).all()
    ragged = gate_expert_choice(logits, 2.0, torch.tensor([4, 8]))
    assert torch.equal(ragged[0, :4], gate_expert_choice(logits[:1, :4], 2.0)[0])
    assert (ragged[0, 4:] == 0).all()


def test_skip_in_training_sends_the_best_positions_through() -> None:
    of = graph("""
arch Skips(d = 6) {
    in x: [T, d]
    return x -> part: skip(linear(1), capacity=1/4) { linear(d) }
}
""")
    made = build(of, dtype=torch.float64)
    x = torch.randn(2, 8, 6, dtype=torch.float64)
    scores = made.router(x)
    through = x + torch.sigmoid(scores) * (made.part.linear(x) - x)
    best = scores.squeeze(-1).topk(2, -1).indices
    want = x.clone()
    for b in range(2):
        for t in best[b].tolist():
            want[b, t] = through[b, t]
    assert torch.allclose(made.train()(x), want, rtol=0, atol=1e-12)
    assert torch.allclose(made.eval()(x), torch.where(scores > 0, through, x), rtol=0, atol=1e-12)


def test_train_and_eval_sides() -> None:
    made = model("sides")
    x = inputs(graph("sides"))["x"]
    h = made.linear(x + made.part.linear(x))
    assert torch.allclose(made(x), made._modules["drawn_in_eval"].linear(h), rtol=0, atol=1e-12)
    made.train()
    torch.manual_seed(3)
    first = made(x)
    assert not torch.equal(first, made(x))


def test_side_losses_by_path_and_only_while_training() -> None:
    made = model("sides")
    x = inputs(graph("sides"))["x"]
    made(x)
    assert collect_aux(made) == {}
    made.train()
    made(x)
    made(x)
    found = collect_aux(made)
    assert list(found) == ["part.size"]
    assert torch.allclose(found["part.size"].mean(), made.part.linear(x).square().mean())
    found["part.size"].sum().backward()
    assert made.part.linear.weight.grad is not None


def test_taps_are_read_only_when_asked_for() -> None:
    made = model("sides")
    x = inputs(graph("sides"))["x"]
    made(x)
    assert collect_taps(made) == {}
    tap(made)
    made(x)
    assert torch.equal(collect_taps(made)["part.inner"], made.part.linear(x))
    tap(made, False)
    assert collect_taps(made) == {}


PLAIN = """
import "std/transformer.arch"
arch Reversible(d = 16, heads = 2, keep = 1) {
    in x: [T, d]
    return x -> layers: repeat 3 { residual(rmsnorm -> Attention(heads) -> dropout(0.2)) }
}
"""


def test_a_reversible_repeat_gives_the_same_gradients() -> None:
    x = inputs(graph("reversible"))["x"]
    results = []
    for text in ("reversible", PLAIN):
        made = build(graph(text), dtype=torch.float64).train()
        torch.manual_seed(5)
        loss = made(x).square().sum()
        loss.backward()
        results.append([loss, *(p.grad for p in made.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_a_scan_is_its_step_over_time() -> None:
    made = model("scans")
    x = torch.randn(2, 7, 16, dtype=torch.float64)
    h = torch.zeros(2, 16, dtype=torch.float64)
    want = []
    for t in range(7):
        h = made.gru.cell(x[:, t], h)
        want.append(h)
    got, last = made.gru(x)
    assert torch.allclose(got, torch.stack(want, 1), rtol=0, atol=1e-12)
    _, short = made.gru(x, lengths=torch.tensor([3, 7]))
    assert torch.allclose(short[0], want[2][0], rtol=0, atol=1e-12)
    assert torch.allclose(short[1], last[1], rtol=0, atol=1e-12)
    second, _ = made.gru(x[:, 4:], made.gru(x[:, :4])[1])
    assert torch.allclose(second, got[:, 4:], rtol=0, atol=1e-12)


def test_stated_sizes_are_asserted() -> None:
    of = graph("""
arch Pairs(d = 4) {
    in x: [T, d] where T % 2 == 0
    return x -> rearrange("(t k) d -> t (k d)", k=2)
}
""")
    made = build(of)
    assert made(torch.randn(1, 6, 4)).shape == (1, 3, 8)
    with pytest.raises(AssertionError, match="T must be a multiple of 2"):
        made(torch.randn(1, 5, 4))


def test_a_depth_program_shares_the_weights_it_runs_again() -> None:
    of = graph("""
import "language/smollm2.arch"
arch Shallow {
    in tokens: int[T] lengths
    base = pretrained(SmolLM2(vocab=11, d=16, depth=6, heads=2, kv_heads=1, hidden=24), "smollm2-135m")
    return tokens -> base.before(layers) -> base.layers[0..2] -> loop 2 { base.layers[2..4] } -> base.layers[5] -> base.after(layers)
}
""")
    made = build(of, dtype=torch.float64).eval()
    tokens = torch.randint(0, 11, (2, 6))
    x = made.base.table(tokens)
    for i in (0, 1, 2, 3, 2, 3, 5):
        x = made.base.layers[i](x)
    want = made.base.rmsnorm(x) @ made.base.table.weight.T
    assert torch.allclose(made(tokens), want, rtol=0, atol=1e-12)
    assert all(n.startswith("base.") for n, _ in made.named_parameters())
    with torch.inference_mode():
        out, state = made.prefill(tokens[:, :4])
        rest, _ = made.step(tokens[:, 4:], state)
        assert torch.allclose(torch.cat([out, rest], 1), want, rtol=0, atol=1e-12)
