"""Steps to hold forms to: small scans of every class, inputs for them, and what the plain loop over a step's equations gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import archdsl
from archdsl.primitives import TABLE
from archdsl.recurrence.classes import Classified
from archdsl.recurrence.classify import classify
from archdsl.recurrence.convert import convert
from archdsl.recurrence.forms.stepwise import loop
from archdsl.recurrence.step import Step
from tests.rounding import near

STANDARD = (Path(__file__).parents[2] / "specs/std/scans.arch").read_text()
OWN = """
scan before { in a: [d]; in b: [d]; state h: [d] = 0; h' = a * h + b; yield h + h' }
scan turning { in x: [d]; in a: [d]; in b: [d]; state u: [d] = 0; state v: [d] = 1
  u' = a * u - b * v + x
  v' = b * u + a * v
  yield u' * v' }
scan given_decay { in q: [n]; in k: [n]; in v: [m]; in f: [n]; state S: [n, m] = 0; S' = diag(f) @ S + outer(k, v); yield q @ S' }
scan columns { in q: [n]; in k: [n]; in v: [m]; in g: [n]; state S: [m, n] = 0; S' = S @ diag(exp(g)) + outer(v, k); yield S' @ q }
scan two_updates { in q: [n]; in k: [n]; in l: [n]; in v: [m]; in w: [m]; in g: []; state S: [n, m] = 0
  S' = exp(g) * S + outer(k, v) - 0.5 * outer(l, w)
  yield q @ S'; yield l @ S }
scan outgoing { in q: [n]; in k: [n]; in v: [m]; state S: [n, m] = 0; S' = S + outer(k, v); yield q @ tanh(S') }
scan delta_vector { in k: [n]; in v: [n]; in b: []; state h: [n] = 0; h' = h - b * (dot(k, h) * k) + v; yield h' }
scan delta_seen { in k: [n]; in v: [m]; in b: []; state S: [n, m] = 0; S' = S - b * outer(k, k @ S - v); yield S' @ v }
scan mixing { in x: [d]; param A: [d, d] ~ normal(0.2); state h: [d] = 0; h' = A @ h + x; yield tanh(h') }
scan shifted { in x: [d]; state last: [d] = 0; last' = x; yield x - last }
scan lowest { in a: [d]; in b: [d]; state h: [d] = 0; h' = min(h + a, b); yield h' }
"""
# Name in a file -> inputs and their sizes (0: one number per step). Sizes are no powers of two.
USES: dict[str, dict[str, int]] = {
    "diagonal": {"a": 5, "b": 5}, "before": {"a": 5, "b": 5}, "turning": {"x": 5, "a": 5, "b": 5}, "shifted": {"x": 5}, "ema": {"x": 5},
    "mega_ema(3)": {"x": 5}, "min_lstm(4)": {"x": 5}, "rg_lru": {"x": 5, "r": 5, "i": 5}, "selective(3)": {"u": 5, "dt": 5, "B": 3, "C": 3},
    "linear_attention": {"q": 5, "k": 5, "v": 3}, "normalised_linear_attention": {"q": 5, "k": 5, "v": 3},
    "retention": {"q": 5, "k": 5, "v": 3, "g": 0}, "gated_linear": {"q": 5, "k": 5, "v": 3, "g": 5},
    "given_decay": {"q": 5, "k": 5, "v": 3, "f": 5}, "columns": {"q": 5, "k": 5, "v": 3, "g": 5}, "outgoing": {"q": 5, "k": 5, "v": 3},
    "two_updates": {"q": 5, "k": 5, "l": 5, "v": 3, "w": 3, "g": 0}, "mlstm": {"q": 5, "k": 5, "v": 5, "i": 0, "f": 0},
    "delta_rule": {"q": 5, "k": 5, "v": 3, "beta": 0}, "gated_delta_rule": {"q": 5, "k": 5, "v": 3, "beta": 0, "g": 0},
    "channel_gated_delta_rule": {"q": 5, "k": 5, "v": 3, "beta": 0, "g": 5}, "wkv7": {"r": 5, "w": 5, "k": 5, "v": 3, "a": 5, "b": 5},
    "delta_vector": {"k": 5, "v": 5, "b": 0}, "delta_seen": {"k": 5, "v": 3, "b": 0}, "mixing": {"x": 5},
    "softmax_stream": {"s": 0, "v": 5}, "aaren": {"s": 0, "v": 5}, "wkv4": {"k": 5, "v": 5}, "max_plus": {"a": 5, "b": 5},
    "lowest": {"a": 5, "b": 5}, "lru(4)": {"x": 5}, "s4d(3)": {"u": 5}, "hgrn": {"c": 5, "f": 5}, "indrnn(4)": {"x": 5}, "para_gru(4)": {"x": 5}, "para_lstm(4)": {"x": 5}, "sru": {"x": 5}, "lif": {"x": 5},
}  # fmt: skip
# General nonlinear steps: no parallel form.
ORDERED: dict[str, dict[str, int]] = {name: {"x": 5} for name in ("elman(4)", "jordan(4, 3)", "lstm(4)", "gru(4)", "slstm(4)")}
# Last axes of whole vectors (and one too long for that): matrices go row by row through vector registers.
ROWS: dict[str, dict[str, int]] = {
    "linear_attention/16": {"q": 5, "k": 5, "v": 16}, "normalised_linear_attention/16": {"q": 16, "k": 16, "v": 16},
    "retention/128": {"q": 3, "k": 3, "v": 128, "g": 0}, "gated_linear/48": {"q": 5, "k": 5, "v": 48, "g": 5},
    "gated_linear/144": {"q": 2, "k": 2, "v": 144, "g": 2}, "columns/16": {"q": 16, "k": 16, "v": 3, "g": 16},
    "two_updates/32": {"q": 5, "k": 5, "l": 5, "v": 32, "w": 32, "g": 0}, "outgoing/16": {"q": 5, "k": 5, "v": 16},
    "mlstm/16": {"q": 16, "k": 16, "v": 16, "i": 0, "f": 0}, "delta_rule/64": {"q": 5, "k": 5, "v": 64, "beta": 0},
    "gated_delta_rule/16": {"q": 16, "k": 16, "v": 16, "beta": 0, "g": 0}, "delta_seen/16": {"k": 5, "v": 16, "b": 0},
    "channel_gated_delta_rule/32": {"q": 5, "k": 5, "v": 32, "beta": 0, "g": 5},
    "wkv7/16": {"r": 5, "w": 5, "k": 5, "v": 16, "a": 5, "b": 5}, "selective(16)/16": {"u": 5, "dt": 5, "B": 16, "C": 16},
}  # fmt: skip
WIDER = {"elman(37)": {"x": 5}, "lstm(20)": {"x": 5}, "gru(36)": {"x": 5}}
UNIT = {"k", "a", "l"}  # keys of delta rules: of length one
DECAYS = (1.0, 1 - 1e-7, 0.5, math.exp(-50), 0.0)


@cache
def region(use: str) -> Any:
    inputs, written = (USES | ORDERED | WIDER | ROWS)[use], use.partition("/")[0]
    declared = "; ".join(f"in {name}: [T{f', {size}' if size else ''}]" for name, size in inputs.items())
    spec = archdsl.parse(f"{STANDARD}\n{OWN}\narch A {{ {declared}; return {written}({', '.join(inputs)}) }}")
    return next(n for n in spec.graph.root.nodes if n.op == "scan").instance.region


@cache
def step_of(use: str) -> Step:
    return convert(region(use), TABLE).step


@cache
def classified(use: str) -> Classified:
    return classify(step_of(use))


class Tensors:
    """Inputs [N, T, …], weights and initial states for a step, all with gradients."""

    def __init__(self, use: str, time: int, dtype: torch.dtype = torch.float64, sequences: int = 3, seed: int = 0):
        torch.manual_seed(seed + time)
        step = step_of(use)
        use = use.partition("/")[0]
        delta = any(t.name in ("beta",) for t in step.of("input")) or use in ("wkv7", "delta_vector", "delta_seen")
        self.inputs = []
        for t in step.of("input"):
            x = torch.randn(sequences, time, *t.shape, dtype=torch.float64) / 2
            if t.name == "g":
                x = F.logsigmoid(x)
            elif t.name in ("f", "w", "beta") or (use in ("diagonal", "before") and t.name == "a") or (t.name == "b" and not t.shape):
                x = torch.sigmoid(x)
            elif delta and t.name in UNIT:
                x = F.normalize(x, dim=-1)
            elif use == "wkv7" and t.name == "b":
                x = -F.normalize(x, dim=-1)
            elif t.name == "dt" or use.startswith("normalised"):
                x = x.abs() + 0.1
            self.inputs.append(x.to(dtype).requires_grad_())
        self.weights = [(torch.rand(t.shape, dtype=torch.float64) / 2).to(dtype).requires_grad_() for t in step.of("constant", "weight")]
        shapes = [step.tensor(s.before).shape for s in step.states]
        self.begin = [(torch.rand(sequences, *s, dtype=torch.float64) + 0.1).to(dtype).requires_grad_() for s in shapes]
        self.names = [t.name for t in (*step.of("input"), *step.of("constant", "weight"))] + [s.before for s in step.states]

    @property
    def all(self) -> list[Tensor]:
        return [*self.inputs, *self.weights, *self.begin]


def gradients(outputs: Sequence[Tensor], tensors: Sequence[Tensor], seed: int = 1) -> list[Tensor]:
    """Gradients of a random linear function of the outputs (the same for the same seed)."""
    torch.manual_seed(seed)
    weights = [torch.randn(o.shape, dtype=torch.float64).to(o.dtype) for o in outputs]
    used = [(o, w) for o, w in zip(outputs, weights) if o.requires_grad]
    found = torch.autograd.grad([o for o, _ in used], list(tensors), [w for _, w in used], allow_unused=True)
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, tensors)]


def difference(a: Tensor, b: Tensor) -> float:
    """Largest difference relative to the largest entry; infinite where either is not a number."""
    if a.numel() == 0:
        return 0.0
    scale = max(float(b.abs().max()), 1e-12)
    worst = float((a - b).abs().max()) / scale
    return worst if worst == worst else math.inf


class Reference:
    """What the step gives: outputs, final states, and the gradients of a random function of them."""

    def __init__(self, use: str, given: Tensors, lengths: Tensor | None = None):
        yields, ends = loop(step_of(use), given.inputs, given.weights, given.begin, lengths)
        self.given, self.outputs = given, [*yields, *ends]
        self.results = [*self.outputs, *gradients(self.outputs, given.all)]
        self.names = [*(f"output {i}" for i in range(len(self.outputs))), *(f"d {name}" for name in given.names)]

    def found(self, yields: Sequence[Tensor], ends: Sequence[Tensor]) -> list[Tensor]:
        """The same of another way's outputs."""
        outputs = [*yields, *ends]
        assert [f.shape for f in outputs] == [o.shape for o in self.outputs]
        return [*outputs, *gradients(outputs, self.given.all)]

    def check(self, yields: Sequence[Tensor], ends: Sequence[Tensor], tolerance: float = 1e-9) -> None:
        """Requires another way's outputs, and their gradients, to be the step's."""
        errors = zip(self.names, map(difference, self.found(yields, ends), self.results))
        wrong = {name: e for name, e in errors if not e <= tolerance}
        assert not wrong, wrong

    def check_rounding(self, yields: Sequence[Tensor], ends: Sequence[Tensor], exact: Reference) -> None:
        """Requires another way to lose no more to a precision than the step does in it, both held to the step in float64."""
        near(self.found(yields, ends), self.results, exact.results, self.names, terms=self.given.inputs[0].shape[1])
