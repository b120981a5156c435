"""Routed mixtures against dense references, with gradients."""

import math

import pytest
import torch
from helpers import check, refused, run, value
from torch import nn

from archdsl.primitives.routing import active_experts, route_flops, skip_flops
from archdsl.primitives.support import routing
from archdsl.primitives.support.clock import Clock

D, E = 6, 4


def make(seed=0, dtype=torch.float64, out=5):
    torch.manual_seed(seed)
    experts = nn.ModuleList(nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, out)) for _ in range(E)).to(dtype)
    x = torch.randn(3, 7, D, dtype=dtype, requires_grad=True)
    logits = torch.randn(3, 7, E, dtype=dtype, requires_grad=True)
    return experts, x, logits


def dense(x, weights, experts):
    return sum(weights[..., e, None].to(x.dtype) * experts[e](x) for e in range(E))


def gradients(out, x, logits, experts):
    wanted = [x, logits, *experts.parameters()]
    found = torch.autograd.grad((out * torch.arange(out.numel(), dtype=out.dtype).view(out.shape).sin()).sum(), wanted, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found)]


def same(route, reference, experts, x, logits):
    a, b = route(), reference()
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)
    for p, q in zip(gradients(a, x, logits, experts), gradients(b, x, logits, experts)):
        torch.testing.assert_close(p, q, rtol=1e-9, atol=1e-11)


def topk_reference(logits, k, normalise):
    weights = logits.softmax(-1)
    lowest = weights.topk(k, -1).values[..., -1:]
    weights = weights * (weights >= lowest)
    return weights / weights.sum(-1, keepdim=True) if normalise else weights


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("normalise", [True, False])
def test_topk_equals_dense(k, normalise):
    experts, x, logits = make()
    same(
        lambda: routing.route_topk(x, logits, experts, k, normalise),
        lambda: dense(x, topk_reference(logits, k, normalise), experts),
        experts, x, logits,
    )  # fmt: skip


def test_topk_only_chosen_positions_run_and_each_expert_once():
    experts, x, logits = make()
    seen = []
    counting = [lambda rows, e=e: seen.append(rows.shape[0]) or experts[e](rows) for e in range(E)]
    routing.route_topk(x, logits, counting, 2)
    assert len(seen) == E
    assert sum(seen) == 2 * 21


@pytest.mark.parametrize("train", [True, False])
def test_expert_without_positions(train):
    experts, x, logits = make()
    with torch.no_grad():
        logits[..., 1] = -100
    with torch.set_grad_enabled(train):
        out = routing.route_topk(x, logits, experts, 2)
        torch.testing.assert_close(out, dense(x, topk_reference(logits, 2, True), experts))
    if train:
        out.sum().backward()
        assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in experts[1].parameters())


def test_topk_capacity_drops_late_choices():
    experts, x, _ = make()
    logits = torch.zeros(3, 7, E, dtype=torch.float64)
    logits[..., 2] = 5.0
    out = routing.route_topk(x, logits, experts, 1, capacity=1.0)
    places = math.ceil(21 / E)
    full = experts[2](x).reshape(21, -1)
    torch.testing.assert_close(out.reshape(21, -1)[:places], full[:places])
    assert not out.reshape(21, -1)[places:].any()
    loose = routing.route_topk(x, logits, experts, 1, capacity=float(E))
    torch.testing.assert_close(loose.reshape(21, -1), full)


def test_relu_equals_dense_also_where_no_expert_is_active():
    experts, x, logits = make()
    with torch.no_grad():
        logits[0, 0] = -1.0
    same(
        lambda: routing.route_relu(x, logits, experts), lambda: dense(x, logits.relu(), experts), experts, x, logits
    )
    assert not routing.route_relu(x, logits, experts)[0, 0].any()
    nothing = routing.route_relu(x, -logits.abs() - 1, experts)
    assert nothing.shape == (3, 7, 5)
    assert not nothing.any()


def test_relu_is_continuous_where_a_gate_crosses_zero():
    experts, x, logits = make()
    outs = []
    for gate in (-1e-9, 1e-9):
        with torch.no_grad():
            logits[0, 0, 0] = gate
        outs.append(routing.route_relu(x, logits, experts))
    assert (outs[0] - outs[1]).abs().max() < 1e-8


def test_soft_equals_dense():
    experts, x, logits = make()
    same(
        lambda: routing.route_soft(x, logits, experts), lambda: dense(x, logits.softmax(-1), experts), experts, x, logits
    )


def test_hash_is_fixed_and_even():
    experts, x, _ = make()
    keys = torch.arange(21).view(3, 7)
    out = routing.route_hash(x, keys, experts)
    owners = routing.hashed(keys, E)
    for b in range(3):
        for t in range(7):
            torch.testing.assert_close(out[b, t], experts[owners[b, t]](x[b, t]))
    load = torch.bincount(routing.hashed(torch.arange(50_000), 8), minlength=8) / 50_000
    assert (load - 1 / 8).abs().max() < 0.01


def expert_choice_reference(x, logits, experts, capacity):
    out = torch.zeros(*x.shape[:-1], 5, dtype=x.dtype)
    scores = logits.softmax(-1)
    places = math.ceil(capacity * x.shape[1] / E)
    for b in range(x.shape[0]):
        for e in range(E):
            for t in scores[b, :, e].topk(places).indices.tolist():
                row = torch.zeros_like(out)
                row[b, t] = 1
                out = out + row * (scores[b, t, e] * experts[e](x[b, t]))
    return out


@pytest.mark.parametrize("capacity", [0.5, 1.0, 2.0])
def test_expert_choice_equals_a_plain_loop(capacity):
    experts, x, logits = make()
    same(
        lambda: routing.route_expert_choice(x, logits, experts, capacity),
        lambda: expert_choice_reference(x, logits, experts, capacity),
        experts, x, logits,
    )  # fmt: skip


def test_expert_choice_leaves_padding_out():
    experts, x, logits = make()
    lengths = torch.tensor([7, 3, 5])
    out = routing.route_expert_choice(x, logits, experts, 1.0, lengths)
    changed = logits.detach().clone()
    changed[1, 3:] += torch.randn(4, E, dtype=torch.float64) * 10
    again = routing.route_expert_choice(x, changed, experts, 1.0, lengths)
    torch.testing.assert_close(out[1, :3], again[1, :3])


@pytest.mark.parametrize("name", ["topk", "relu", "soft", "expert_choice", "hash"])
def test_meta_and_compiled_forms(name):
    experts, x, logits = make(dtype=torch.float32)
    keys = torch.arange(21).view(3, 7)
    calls = {
        "topk": lambda m, x, g, k: routing.route_topk(x, g, m, 2),
        "relu": lambda m, x, g, k: routing.route_relu(x, g, m),
        "soft": lambda m, x, g, k: routing.route_soft(x, g, m),
        "expert_choice": lambda m, x, g, k: routing.route_expert_choice(x, g, m, 1.0),
        "hash": lambda m, x, g, k: routing.route_hash(x, k, m),
    }

    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.experts = experts

        def forward(self, x, logits, keys):
            return calls[name](self.experts, x, logits, keys)

    expected = Mixture()(x, logits, keys)
    with torch.no_grad():
        exported = torch.export.export(Mixture(), (x.detach(), logits.detach(), keys)).module()(x, logits, keys)
    torch.testing.assert_close(exported, expected, rtol=1e-5, atol=1e-6)
    experts.to("meta")
    assert calls[name](experts, x.to("meta"), logits.to("meta"), keys.to("meta")).shape == expected.shape


def test_bfloat16():
    experts, x, logits = make(dtype=torch.bfloat16)
    for out in (routing.route_topk(x, logits, experts, 2), routing.route_relu(x, logits, experts), routing.route_soft(x, logits, experts)):
        assert out.dtype == torch.bfloat16
        assert out.isfinite().all()


# ---- mixture of depths ----------------------------------------------------------------------------------------------------------


def running_mean(rows):
    """A causal body that mixes positions."""
    return rows + rows.cumsum(-2) / torch.arange(1, rows.shape[-2] + 1, dtype=rows.dtype)[:, None]


def depth_reference(x, scores, chosen):
    out = x.clone()
    for b in range(x.shape[0]):
        index = chosen[b].nonzero().squeeze(-1)
        if index.numel():
            gate = scores[b, index].sigmoid()
            out[b, index] = x[b, index] + gate * (running_mean(x[b, index]) - x[b, index])
    return out


@pytest.mark.parametrize("training", [True, False])
def test_mixture_of_depths_equals_a_plain_loop(training):
    torch.manual_seed(3)
    x = torch.randn(3, 8, D, dtype=torch.float64, requires_grad=True)
    scores = torch.randn(3, 8, 1, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        scores[1] = -1.0  # nothing goes through
    score = scores.detach().squeeze(-1)
    chosen = score >= score.topk(2, -1).values[:, -1:] if training else score > 0
    if training:
        with torch.no_grad():
            scores[1] = torch.linspace(-2, -1, 8, dtype=torch.float64)[:, None]
        chosen[1] = torch.arange(8) >= 6
    out = routing.mixture_of_depths(x, scores, running_mean, 0.25, training)
    expected = depth_reference(x, scores, chosen)
    torch.testing.assert_close(out, expected)
    for a, b in zip(torch.autograd.grad(out.sin().sum(), (x, scores)), torch.autograd.grad(expected.sin().sum(), (x, scores))):
        torch.testing.assert_close(a, b)


def test_mixture_of_depths_runs_the_body_on_few_positions_and_none_is_fine():
    x, scores = torch.randn(2, 16, D), torch.randn(2, 16, 1)
    seen = []
    routing.mixture_of_depths(x, scores, lambda rows: seen.append(rows.shape) or rows * 2, 1 / 8, True)
    assert seen == [(2, 2, D)]
    assert torch.equal(routing.mixture_of_depths(x, -scores.abs(), lambda rows: rows * 2, 1 / 8, False), x)


def test_mixture_of_depths_in_steps_equals_whole():
    torch.manual_seed(4)
    x, scores = torch.randn(3, 9, D, dtype=torch.float64), torch.randn(3, 9, 1, dtype=torch.float64)
    whole = routing.mixture_of_depths(x, scores, running_mean, 0.5, False)
    inner = {}

    def body(rows, clock):
        total = inner.get("sum", torch.zeros(3, 1, D, dtype=torch.float64))
        sums = total + rows.cumsum(-2)
        places = clock.positions(rows.shape[-2]) + 1
        real = torch.cat((total, sums), -2)
        count = torch.full((3,), rows.shape[-2]) if clock.count is None else clock.count
        inner["sum"] = real.gather(-2, count.view(3, 1, 1).expand(3, 1, D))
        return rows + sums / places[..., None]

    slot, clock, parts = {}, Clock(), []
    for a, b in ((0, 4), (4, 5), (5, 6), (6, 9)):
        clock.begin(b - a)
        parts.append(routing.mixture_of_depths_step(x[:, a:b], scores[:, a:b], body, slot, clock))
        clock.advance()
    torch.testing.assert_close(torch.cat(parts, 1), whole)


# ---- balance and cost -----------------------------------------------------------------------------------------------------------


def test_balance_loss():
    even = torch.eye(E, dtype=torch.float64).repeat(5, 1) * 1e-9
    assert routing.balance_loss(even, 1, "topk").item() == pytest.approx(1)
    one = torch.zeros(20, E, dtype=torch.float64)
    one[:, 0] = 50
    assert routing.balance_loss(one, 1, "topk").item() == pytest.approx(E)
    gates = torch.eye(E, dtype=torch.float64).repeat(5, 1) - 0.5
    share = 1 / E  # active share, mean gate 0.5 / E
    assert routing.balance_loss(gates, 1, "relu").item() == pytest.approx(E * E * share * 0.5 / E)
    node = check("balance_loss", value(7, E), k=2)
    logits = torch.randn(3, 7, E, requires_grad=True)
    run(node, logits).backward()
    assert logits.grad.abs().sum() > 0
    assert node.outputs[0].type.rank == 0
    assert run(check("z_loss", value(7, E)), torch.zeros(3, 7, E)).item() == pytest.approx(math.log(E) ** 2)
    assert refused("balance_loss", value(7, E), k=9).code == "AD0316"
    assert refused("balance_loss", value(7, E), router="x").code == "AD0316"


def test_cost():
    assert route_flops({"kind": "topk", "k": 2}, [100] * 8) == 200
    assert route_flops({"kind": "hash"}, [100] * 8) == 100
    assert route_flops({"kind": "soft"}, [100] * 8) == 800
    assert route_flops({"kind": "expert_choice", "capacity": 1.5}, [100] * 8) == 150
    assert route_flops({"kind": "relu", "k": None}, [100] * 8) == 800
    assert active_experts({"kind": "topk", "k": 9}, 8) == 8
    assert skip_flops(0.125, 800) == 100
