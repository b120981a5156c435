"""Mixtures of experts and of depths: only the chosen positions run through a body.

x is [..., d], one position per leading entry; experts are callables from [N, d] to [N, m]. Weights are made in float32 at least. Where data
cannot be looked at (meta device, export) every expert sees every position and unchosen ones get weight 0: the same result at a higher cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from archdsl.primitives.support.clock import Clock

# A body or expert.
Expert = Callable[[Tensor], Tensor]


def data_is_known(x: Tensor) -> bool:
    """False on the meta device, under fake tensors and while exporting: then no size may depend on data."""
    exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)()
    return not (exporting or x.is_meta or type(x.data) is not Tensor)


def wide_softmax(logits: Tensor) -> Tensor:
    """Softmax over the last axis in float32, or float64 for float64."""
    return logits.softmax(-1, dtype=torch.float64 if logits.dtype == torch.float64 else torch.float32)


def mix_dense(x: Tensor, weights: Tensor, experts: Sequence[Expert]) -> Tensor:
    """sum over e of weights[..., e] * experts[e](x): every expert on every position."""
    rows = x.reshape(-1, x.shape[-1])
    shares = weights.reshape(-1, weights.shape[-1]).to(x.dtype)
    total = shares[:, 0, None] * experts[0](rows)
    for e in range(1, len(experts)):
        total = total + shares[:, e, None] * experts[e](rows)
    return total.reshape(*x.shape[:-1], total.shape[-1])


def mix_pairs(x: Tensor, tokens: Tensor, owners: Tensor, weights: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Runs expert owners[p] on row tokens[p] of x [N, d] for every pair p and adds weights[p] * result to that row: [N, m].

    Pairs are grouped by expert, so each expert runs once. While training also experts without rows run (on none): every rank of a
    distributed run then meets the same modules, and their gradients are zeros.
    """
    order = owners.argsort(stable=True)
    counts = torch.bincount(owners, minlength=len(experts)).tolist()
    tokens, weights = tokens[order], weights[order].to(x.dtype)
    parts = x.index_select(0, tokens).split(counts)
    run_all = torch.is_grad_enabled() or not tokens.numel()
    results = [expert(part) for expert, part in zip(experts, parts) if part.shape[0] or run_all]
    rows = torch.cat(results) * weights[:, None]
    return rows.new_zeros(x.shape[0], rows.shape[-1]).index_add(0, tokens, rows)


def topk_weights(logits: Tensor, k: int, normalise: bool) -> tuple[Tensor, Tensor]:
    """The k largest of softmax(logits) and their experts, each [..., k]; `normalise` makes the k weights add up to 1."""
    weights, chosen = wide_softmax(logits).topk(k, -1)
    if normalise:
        weights = weights / weights.sum(-1, keepdim=True)
    return weights, chosen


def within_capacity(chosen: Tensor, experts: int, capacity: float) -> Tensor:
    """Which choices [N, k] find a place: first choices before second ones, earlier positions first, capacity * N * k / E places each."""
    places = math.ceil(capacity * chosen.numel() / experts)
    queue = chosen.t().reshape(-1)
    taken = torch.nn.functional.one_hot(queue, experts)
    rank = (taken.cumsum(0) * taken).sum(-1)
    return (rank <= places).view(chosen.shape[1], chosen.shape[0]).t()


def route_topk(
    x: Tensor, logits: Tensor, experts: Sequence[Expert], k: int, normalise: bool = True, capacity: float | None = None
) -> Tensor:
    """Each position goes to its k best experts (Shazeer et al., 2017; Fedus et al., 2022).

    x [..., d], logits [..., E] -> [..., m]. capacity: each expert takes at most capacity * N * k / E of the N positions; choices beyond
    that are dropped.
    """
    weights, chosen = topk_weights(logits.reshape(-1, len(experts)), k, normalise)
    if capacity is not None:
        weights = weights * within_capacity(chosen, len(experts), capacity)
    if not data_is_known(x):
        dense = weights.new_zeros(weights.shape[0], len(experts)).scatter(-1, chosen, weights)
        return mix_dense(x, dense.view(logits.shape), experts)
    rows = x.reshape(-1, x.shape[-1])
    tokens = torch.arange(rows.shape[0], device=x.device).repeat_interleave(k)
    owners, shares = chosen.reshape(-1), weights.reshape(-1)
    if capacity is not None:
        kept = shares.detach().nonzero().squeeze(-1)
        tokens, owners, shares = tokens[kept], owners[kept], shares[kept]
    out = mix_pairs(rows, tokens, owners, shares, experts)
    return out.view(*x.shape[:-1], out.shape[-1])


def route_relu(x: Tensor, logits: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Each position goes to every expert whose logit is positive, weighted by it (ReMoE, Wang et al., 2024): none, some or all."""
    gates = logits.reshape(-1, len(experts)).relu()
    if not data_is_known(x):
        return mix_dense(x, gates.view(logits.shape), experts)
    tokens, owners = gates.detach().nonzero(as_tuple=True)
    out = mix_pairs(x.reshape(-1, x.shape[-1]), tokens, owners, gates[tokens, owners], experts)
    return out.view(*x.shape[:-1], out.shape[-1])


def route_soft(x: Tensor, logits: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Every expert on every position, weighted by softmax(logits) (Jacobs et al., 1991)."""
    return mix_dense(x, wide_softmax(logits), experts)


def hashed(keys: Tensor, n: int) -> Tensor:
    """A number below n for each whole number, spread evenly and the same in every run (multiplicative hashing, Knuth)."""
    return ((keys.long() * 2_654_435_761 % 4_294_967_296) >> 12) % n


def route_hash(x: Tensor, keys: Tensor, experts: Sequence[Expert]) -> Tensor:
    """Each position goes to the expert its key (a whole number, such as the token) hashes to (Roller et al., 2021). keys [...]."""
    owners = hashed(keys.reshape(-1), len(experts))
    if not data_is_known(x):
        return mix_dense(x, torch.nn.functional.one_hot(owners, len(experts)).view(*x.shape[:-1], len(experts)), experts)
    rows = x.reshape(-1, x.shape[-1])
    out = mix_pairs(rows, torch.arange(rows.shape[0], device=x.device), owners, rows.new_ones(rows.shape[0]), experts)
    return out.view(*x.shape[:-1], out.shape[-1])


def route_expert_choice(
    x: Tensor, logits: Tensor, experts: Sequence[Expert], capacity: float, lengths: Tensor | None = None
) -> Tensor:
    """Each expert takes its capacity * T / E best positions of every sequence (Zhou et al., 2022); looks at all positions.

    x [..., T, d], logits [..., T, E]. lengths [B]: positions beyond are taken last and count nothing.
    """
    time, count = x.shape[-2], len(experts)
    places = min(max(math.ceil(capacity * time / count), 1), time)
    scores = wide_softmax(logits).transpose(-1, -2)  # [..., E, T]
    if lengths is not None:
        real = torch.arange(time, device=x.device) < lengths.to(x.device).view(-1, *[1] * (x.dim() - 1))
        scores = scores.masked_fill(~real, 0)
    weights, chosen = scores.topk(places, -1)  # [..., E, places]
    out: Tensor | None = None
    for e, expert in enumerate(experts):
        index = chosen[..., e, :, None]
        rows = x.gather(-2, index.expand(*x.shape[:-2], places, x.shape[-1]))
        y = expert(rows.reshape(-1, x.shape[-1])).reshape(*rows.shape[:-1], -1) * weights[..., e, :, None].to(x.dtype)
        if out is None:
            out = y.new_zeros(*x.shape[:-1], y.shape[-1])
        out = out.scatter_add(-2, index.expand(y.shape), y)
    assert out is not None
    return out


def gather_positions(x: Tensor, index: Tensor) -> Tensor:
    """Positions of x [..., T, d] by index [..., P]: [..., P, d]."""
    return x.gather(-2, index[..., None].expand(*index.shape, x.shape[-1]))


def apply_at(x: Tensor, index: Tensor, gate: Tensor, body: Expert) -> Tensor:
    """x with the positions at index [..., P] moved towards body's result by gate [..., P]: x + gate * (body(x) - x) there."""
    rows = gather_positions(x, index)
    new = rows + gate[..., None].to(x.dtype) * (body(rows) - rows)
    return x.scatter(-2, index[..., None].expand(new.shape), new)


def selected_first(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Indices [..., P] of the chosen among [..., T] in order, then others, P the most chosen in a sequence; and how many, [...]."""
    counts = chosen.sum(-1)
    order = chosen.logical_not().to(torch.uint8).sort(dim=-1, stable=True).indices
    if data_is_known(chosen):
        order = order[..., : max(int(counts.max()), 1)]
    return order, counts


def mixture_of_depths(x: Tensor, scores: Tensor, body: Expert, capacity: float, training: bool, lengths: Tensor | None = None) -> Tensor:
    """Some positions go through the body, the others pass unchanged (Raposo et al., 2024).

    x [..., T, d], scores [..., T, 1]. Chosen positions become x + sigmoid(score) * (body(x) - x), where the body sees the chosen positions
    only, in their order. Training: the capacity * T highest scores. Else: scores above 0, so that no later position is looked at.
    """
    score = scores.squeeze(-1)
    if lengths is not None:
        real = torch.arange(x.shape[-2], device=x.device) < lengths.to(x.device).view(-1, *[1] * (score.dim() - 1))
        score = score.masked_fill(~real, torch.finfo(score.dtype).min)
    if training:
        places = min(max(math.ceil(capacity * x.shape[-2]), 1), x.shape[-2])
        index = score.topk(places, -1).indices.sort(-1).values
        return apply_at(x, index, score.gather(-1, index).sigmoid(), body)
    chosen = score > 0
    index, counts = selected_first(chosen)
    inside = torch.arange(index.shape[-1], device=x.device) < counts[..., None]
    return apply_at(x, index, score.gather(-1, index).sigmoid() * inside, body)


def mixture_of_depths_step(
    x: Tensor, scores: Tensor, body: Callable[[Tensor, Clock], Tensor], slot: dict[str, Clock], clock: Clock
) -> Tensor:
    """Decoding form: x [B, new, d] holds the new positions; the body's own clock in the slot counts only those that went through."""
    score = scores.squeeze(-1)
    chosen = score > 0
    if clock.count is not None:
        chosen = chosen & (torch.arange(x.shape[-2], device=x.device) < clock.count.to(x.device)[:, None])
    index, counts = selected_first(chosen)
    own = slot.setdefault("clock", Clock())
    own.begin(index.shape[-1], counts)
    inside = torch.arange(index.shape[-1], device=x.device) < counts[..., None]
    out = apply_at(x, index, score.gather(-1, index).sigmoid() * inside, lambda rows: body(rows, own))
    own.advance()
    return out


def expert_load(logits: Tensor, k: int) -> Tensor:
    """The share of top-k choices that each expert gets, [E], adding up to 1."""
    chosen = logits.detach().reshape(-1, logits.shape[-1]).topk(k, -1).indices
    return torch.nn.functional.one_hot(chosen, logits.shape[-1]).to(logits.dtype).mean((0, 1))


def balance_loss(logits: Tensor, k: int, router: str) -> Tensor:
    """Load-balancing loss of a router over all positions, a scalar that is 1 when softmax routing is even.

    topk (Fedus et al., 2022): E * sum of share chosen * mean probability.
    relu (Wang et al., 2024): E / k * sum of share active * mean gate.
    """
    rows = logits.reshape(-1, logits.shape[-1])
    if router == "relu":
        gates = rows.relu()
        return logits.shape[-1] / k * ((gates.detach() > 0).to(rows.dtype).mean(0) * gates.mean(0)).sum()
    return logits.shape[-1] * (expert_load(rows, k) * wide_softmax(rows).to(rows.dtype).mean(0)).sum()


def z_loss(logits: Tensor) -> Tensor:
    """Mean of logsumexp(logits)^2 over all positions: keeps a router's logits small (Zoph et al., 2022)."""
    return logits.logsumexp(-1).square().mean()
