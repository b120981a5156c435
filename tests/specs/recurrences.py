"""The recurrences of the papers, one step each, for one sequence and one head, in plain torch: what the library's scans are compared with.

Each takes the weights by name, the states, and the inputs at one time, and gives the new states and the output.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]
Step = tuple[tuple[Tensor, ...], Tensor]
outer, exp, sigmoid, tanh = torch.outer, torch.exp, torch.sigmoid, torch.tanh


def affine(w: Weights, name: str, x: Tensor) -> Tensor:
    y = w[f"{name}.weight"] @ x
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def linear_attention(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor) -> Step:
    S = s[0] + outer(k, v)
    return (S,), S.T @ q


def normalised_linear_attention(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor) -> Step:
    S, z = s[0] + outer(k, v), s[1] + k
    return (S, z), S.T @ q / (q * z).sum()


def retention(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Step:
    S = exp(g) * s[0] + outer(k, v)
    return (S,), S.T @ q


def ssd(w: Weights, s: Any, x: Tensor, dt: Tensor, g: Tensor, B: Tensor, C: Tensor) -> Step:
    S = exp(g) * s[0] + dt * outer(B, x)
    return (S,), C @ S


def gated_linear(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Step:
    S = exp(g)[:, None] * s[0] + outer(k, v)
    return (S,), q @ S


def hgrn2(w: Weights, s: Any, q: Tensor, f: Tensor, v: Tensor) -> Step:
    S = f[:, None] * s[0] + outer(1 - f, v)
    return (S,), q @ S


def wkv6(w: Weights, s: Any, r: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Step:
    now = outer(k, v)
    return (decay[:, None] * s[0] + now,), r @ (s[0] + w["u"][:, None] * now)


def delta_rule(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, beta: Tensor) -> Step:
    S = (torch.eye(len(k)) - beta * outer(k, k)) @ s[0] + beta * outer(k, v)
    return (S,), q @ S


def gated_delta_rule(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor) -> Step:
    S = exp(g) * (torch.eye(len(k)) - beta * outer(k, k)) @ s[0] + beta * outer(k, v)
    return (S,), q @ S


def channel_gated_delta_rule(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor) -> Step:
    S = (torch.eye(len(k)) - beta * outer(k, k)) @ torch.diag(exp(g)) @ s[0] + beta * outer(k, v)
    return (S,), q @ S


def wkv7(w: Weights, s: Any, r: Tensor, decay: Tensor, k: Tensor, v: Tensor, a: Tensor, b: Tensor) -> Step:
    S = (torch.diag(decay) + outer(b, a)) @ s[0] + outer(k, v)
    return (S,), r @ S


def mlstm(w: Weights, s: Any, q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor) -> Step:
    """Unscaled: sigmoid forget gate, exponential input gate, the denominator at least one."""
    S, z = sigmoid(f) * s[0] + exp(i) * outer(k, v), sigmoid(f) * s[1] + exp(i) * k
    return (S, z, s[2]), q @ S / (q * z).sum().abs().clamp(min=1)


def selective(w: Weights, s: Any, u: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> Step:
    h = exp(dt[:, None] * -exp(w["A_log"])) * s[0] + (dt * u)[:, None] * B
    return (h,), (h * C).sum(-1) + w["D"] * u


def s4d(w: Weights, s: Any, u: Tensor) -> Step:
    A = torch.complex(-exp(w["log_decay"]), w["frequency"])
    dt = exp(w["log_dt"])[:, None]
    turn, B = exp(dt * A), (exp(dt * A) - 1) / A
    h = turn * s[0] + B * u[:, None]
    return (h,), 2 * (torch.complex(w["C_re"], w["C_im"]) * h).real.sum(-1) + w["D"] * u


def lssl(w: Weights, s: Any, u: Tensor) -> Step:
    """(1 - dt A / 2)^-1 ((1 + dt A / 2) x + dt B u), channel by channel with the matrices written out."""
    rows = []
    for c in range(len(u)):
        dt, A, eye = exp(w["log_dt"][c]), torch.diag(w["A"][c]), torch.eye(w["A"].shape[1])
        inverse = torch.linalg.inv(eye - dt / 2 * A)
        rows.append(inverse @ (eye + dt / 2 * A) @ s[0][c] + dt * inverse @ w["B"][c] * u[c])
    x = torch.stack(rows)
    return (x,), (w["C"] * x).sum(-1) + w["D"] * u


def lru(w: Weights, s: Any, x: Tensor) -> Step:
    turn = exp(-exp(w["nu"]) + 1j * exp(w["theta"]))
    B = torch.complex(w["B_re.weight"], w["B_im.weight"])
    h = turn * s[0] + torch.sqrt(1 - turn.abs() ** 2) * (B @ x.to(B.dtype))
    return (h,), (torch.complex(w["C_re.weight"], w["C_im.weight"]) @ h).real + w["param"] * x


def rg_lru(w: Weights, s: Any, x: Tensor, r: Tensor, i: Tensor) -> Step:
    a = sigmoid(-w["decay"]) ** (8 * sigmoid(r))  # softplus(d) = -log sigmoid(-d)
    h = a * s[0] + torch.sqrt(1 - a**2) * sigmoid(i) * x
    return (h,), h


def mega_ema(w: Weights, s: Any, x: Tensor) -> Step:
    alpha, delta = sigmoid(w["alpha"]), sigmoid(w["delta"])
    h = alpha * (x[:, None] * w["beta"]) + (1 - alpha * delta) * s[0]
    return (h,), (w["eta"] * h).sum(-1)


def diagonal(w: Weights, s: Any, a: Tensor, b: Tensor) -> Step:
    h = a * s[0] + b
    return (h,), h


def ema(w: Weights, s: Any, x: Tensor) -> Step:
    h = s[0] + (1 - 0.9) * (x - s[0])
    return (h,), h


def hgrn(w: Weights, s: Any, c: Tensor, f: Tensor) -> Step:
    h = f * exp(1j * w["theta"]) * s[0] + (1 - f) * c
    return (h,), h.real


def min_gru(w: Weights, s: Any, x: Tensor) -> Step:
    z = sigmoid(affine(w, "gate", x))
    h = (1 - z) * s[0] + z * affine(w, "candidate", x)
    return (h,), h


def min_lstm(w: Weights, s: Any, x: Tensor) -> Step:
    f, i = sigmoid(affine(w, "forget", x)), sigmoid(affine(w, "input", x))
    h = (f * s[0] + i * affine(w, "candidate", x)) / (f + i)
    return (h,), h


def qrnn_pool(w: Weights, s: Any, z: Tensor, f: Tensor, o: Tensor) -> Step:
    c = f * s[0] + (1 - f) * z
    return (c,), o * c


def softmax_stream(w: Weights, s: Any, score: Tensor, v: Tensor) -> Step:
    top, under = s[0] + exp(score) * v, s[1] + exp(score)
    return (top, under), top / under


def aaren(w: Weights, s: Any, score: Tensor, v: Tensor) -> Step:
    """Without the maximum, which changes no result."""
    top, under = s[2] + exp(score) * v, s[1] + exp(score)
    return (s[0], under, top), top / under


def wkv4(w: Weights, s: Any, k: Tensor, v: Tensor) -> Step:
    fade, bonus = exp(-exp(w["w"])), exp(w["u"] + k)
    y = (s[0] + bonus * v) / (s[1] + bonus)
    return (fade * s[0] + exp(k) * v, fade * s[1] + exp(k)), y


def max_plus(w: Weights, s: Any, a: Tensor, b: Tensor) -> Step:
    h = torch.maximum(s[0] + a, b)
    return (h,), h


def elman(w: Weights, s: Any, x: Tensor) -> Step:
    h = tanh(affine(w, "input", x) + affine(w, "recurrent", s[0]))
    return (h,), h


def jordan(w: Weights, s: Any, x: Tensor) -> Step:
    y = sigmoid(affine(w, "output", tanh(affine(w, "input", x) + affine(w, "recurrent", s[0]))))
    return (y,), y


def lstm_1997(w: Weights, s: Any, x: Tensor) -> Step:
    i, g, o = (affine(w, "input", x) + affine(w, "recurrent", s[0])).chunk(3)
    c = s[1] + sigmoid(i) * tanh(g)
    return (sigmoid(o) * tanh(c), c), sigmoid(o) * tanh(c)


def lstm(w: Weights, s: Any, x: Tensor) -> Step:
    i, f, g, o = (affine(w, "input", x) + affine(w, "recurrent", s[0])).chunk(4)
    c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
    return (sigmoid(o) * tanh(c), c), sigmoid(o) * tanh(c)


def lstm_peephole(w: Weights, s: Any, x: Tensor) -> Step:
    i, f, g, o = (affine(w, "input", x) + affine(w, "recurrent", s[0])).chunk(4)
    c = sigmoid(f + w["p_f"] * s[1]) * s[1] + sigmoid(i + w["p_i"] * s[1]) * tanh(g)
    h = sigmoid(o + w["p_o"] * c) * tanh(c)
    return (h, c), h


def layer_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    y = (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * w[f"{name}.weight"]
    return y + w[f"{name}.bias"] if f"{name}.bias" in w else y


def elman_layernorm(w: Weights, s: Any, x: Tensor) -> Step:
    h = tanh(layer_norm(w, "norm", affine(w, "input", x) + affine(w, "recurrent", s[0])))
    return (h,), h


def lstm_layernorm(w: Weights, s: Any, x: Tensor) -> Step:
    summed = layer_norm(w, "recurrent_norm", affine(w, "recurrent", s[0])) + layer_norm(w, "input_norm", affine(w, "input", x))
    i, f, g, o = summed.chunk(4)
    c = sigmoid(f) * s[1] + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(layer_norm(w, "cell_norm", c))
    return (h, c), h


def gru_layernorm(w: Weights, s: Any, x: Tensor) -> Step:
    summed = layer_norm(w, "recurrent_norm", affine(w, "recurrent", s[0])) + layer_norm(w, "input_norm", affine(w, "input", x))
    r, z = (sigmoid(part) for part in summed.chunk(2))
    back = layer_norm(w, "new_recurrent_norm", affine(w, "new_recurrent", s[0]))
    h = (1 - z) * tanh(layer_norm(w, "new_input_norm", affine(w, "new_input", x)) + r * back) + z * s[0]
    return (h,), h


def gru(w: Weights, s: Any, x: Tensor) -> Step:
    (xr, xz, xc), (hr, hz, hc) = affine(w, "input", x).chunk(3), affine(w, "recurrent", s[0]).chunk(3)
    z, c = sigmoid(xz + hz), tanh(xc + sigmoid(xr + hr) * hc)
    h = c + z * (s[0] - c)
    return (h,), h


def gru_reset_before(w: Weights, s: Any, x: Tensor) -> Step:
    (xr, xz, xc), (hr, hz) = affine(w, "input", x).chunk(3), affine(w, "gates", s[0]).chunk(2)
    z, c = sigmoid(xz + hz), tanh(xc + affine(w, "candidate", sigmoid(xr + hr) * s[0]))
    h = (1 - z) * c + z * s[0]
    return (h,), h


def mgu(w: Weights, s: Any, x: Tensor) -> Step:
    xf, xc = affine(w, "input", x).chunk(2)
    f = sigmoid(xf + affine(w, "gate", s[0]))
    h = (1 - f) * s[0] + f * tanh(xc + affine(w, "candidate", f * s[0]))
    return (h,), h


def indrnn(w: Weights, s: Any, x: Tensor) -> Step:
    h = torch.relu(affine(w, "input", x) + w["u"] * s[0])
    return (h,), h


def sru(w: Weights, s: Any, x: Tensor) -> Step:
    z, f, r = affine(w, "input", x).chunk(3)
    f, r = sigmoid(f + w["v_f"] * s[0]), sigmoid(r + w["v_r"] * s[0])
    c = f * s[0] + (1 - f) * z
    return (c,), r * c + (1 - r) * x


def elstm(w: Weights, s: Any, x: Tensor) -> Step:
    xf, xz, xo = affine(w, "input", x).chunk(3)
    f, z = sigmoid(xf + w["w_f"] * s[0]), tanh(xz + w["w_z"] * s[0])
    c = f * s[0] + (1 - f) * z
    return (c,), sigmoid(xo + affine(w, "output", c)) * c


def para_gru(w: Weights, s: Any, x: Tensor) -> Step:
    xz, xr, xc = affine(w, "input", x).chunk(3)
    z, r = sigmoid(w["a_z"] * s[0] + xz), sigmoid(w["a_r"] * s[0] + xr)
    h = (1 - z) * s[0] + z * tanh(w["a_c"] * r * s[0] + xc)
    return (h,), h


def para_lstm(w: Weights, s: Any, x: Tensor) -> Step:
    xf, xz, xo = affine(w, "input", x).chunk(3)
    f, z = sigmoid(w["a_f"] * s[0] + w["p_f"] * s[1] + xf), tanh(w["a_z"] * s[0] + xz)
    c = f * s[1] + (1 - f) * z
    h = sigmoid(w["a_o"] * s[0] + w["p_o"] * c + xo) * tanh(c)
    return (h, c), h


def slstm(w: Weights, s: Any, x: Tensor) -> Step:
    """Without the running maximum, which changes no result."""
    i, f, g, o = (affine(w, "input", x) + affine(w, "recurrent", s[0])).chunk(4)
    c, z = sigmoid(f) * s[1] + exp(i) * tanh(g), sigmoid(f) * s[2] + exp(i)
    h = sigmoid(o) * c / z
    return (h, c, z, s[3]), h


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return grad / (1 + (math.pi * x) ** 2)


class _SpikeAt(_Spike):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).to(x.dtype)


def lif(w: Weights, s: Any, x: Tensor) -> Step:
    u = 0.9 * s[0] + x
    spike: Tensor = _Spike.apply(u - 1.0)
    return (u - spike,), spike


def lif_reset(w: Weights, s: Any, x: Tensor) -> Step:
    u = s[0] + (x - s[0]) / 2
    spike: Tensor = _SpikeAt.apply(u - 1.0)
    return (u * (1 - spike),), spike


__all__ = [n for n, f in dict(globals()).items() if callable(f) and getattr(f, "__module__", "") == __name__ and not n.startswith("_")]
