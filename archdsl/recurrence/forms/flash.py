"""flash-linear-attention's kernels where they are installed and do what a group does (github.com/fla-org/flash-linear-attention).

A table names the function for each shape of update; a verifier says whether it fits, or why not; and before its first use for some sizes and
dtype a function is run beside our own chunked form on a small example, forward and backward. What disagrees is not used, and one line says so.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archdsl.graph.expressions import call
from archdsl.recurrence.algebra import powers
from archdsl.recurrence.classes import DeltaGroup, MatrixGroup
from archdsl.recurrence.forms.matrix import Update, chunked
from archdsl.recurrence.forms.plan import MatrixPlan

# What the update is -> module and function.
TABLE = {
    "simple": ("fla.ops.simple_gla", "chunk_simple_gla"),
    "channels": ("fla.ops.gla", "chunk_gla"),
    "delta": ("fla.ops.delta_rule", "chunk_delta_rule"),
    "gated delta": ("fla.ops.gated_delta_rule", "chunk_gated_delta_rule"),
}
WIDEST = 256  # of a head
TOLERANCE = {torch.float32: 5e-3, torch.bfloat16: 4e-2, torch.float16: 2e-2}


def kind_of(group: MatrixGroup | DeltaGroup, plan: MatrixPlan) -> tuple[str | None, str]:
    """The row of the table that does what a group does; None and the reason if there is none."""
    decay = group.decay
    if not plan.direct or len(group.readouts) != 1 or not group.readouts[0].after:
        return None, "the state is not read by one query after the step"
    if len(group.outers) != 1:
        return None, "not one outer product is added"
    if decay.along != "none" and decay.log is None:
        return None, "the decay is not given by its logarithm"
    if isinstance(group, MatrixGroup):
        return ("channels" if decay.along in ("row", "column") else "simple"), ""
    if len(group.removals) != 1 or decay.along not in ("none", "scalar"):
        return None, "a delta rule with several removals, or a decay per channel"
    (removal,), (outer,) = group.removals, group.outers
    key = outer.right if plan.turned else outer.left
    same = powers(call("mul", removal.scale, removal.left)) == powers(call("mul", outer.scale, key))
    if removal.left is not removal.right or not same or (decay.along == "scalar" and not removal.after_decay):
        return None, "what is removed is not what is inserted"
    return ("delta" if decay.along == "none" else "gated delta"), ""


def fits(kind: str, like: Tensor, n: int, m: int, masked: bool) -> tuple[bool, str]:
    """Whether the kernels serve these sizes, this dtype and device here."""
    if like.device.type != "cuda" and not _stands_in():
        return False, f"they run on CUDA devices, not on {like.device.type}"
    if importlib.util.find_spec("fla") is None:
        return False, "flash-linear-attention is not installed"
    if like.dtype not in TOLERANCE:
        return False, f"no kernels for {like.dtype}"
    if "delta" in kind and like.dtype == torch.float32:
        return False, "their delta rules take no float32"
    if max(n, m) > WIDEST:
        return False, f"a head wider than {WIDEST}"
    if masked:
        return False, "sequences of different lengths"
    return agrees(kind, n, m, like.dtype, str(like.device))


def _stands_in() -> bool:
    """Whether `fla` is a stand-in that runs anywhere, as in tests."""
    spec = importlib.util.find_spec("fla")
    return spec is not None and bool(getattr(importlib.import_module("fla"), "runs_anywhere", False))


class _Once(torch.autograd.Function):
    """Tensors as they are. What is written in Triton would be taken for a constant by a second derivative, which is refused here."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "flash-linear-attention has no second derivatives: set ARCHDSL_KERNELS=loop before the model is built, and its scans have them"
            )
        return grads


@functools.cache
def _function(kind: str) -> Callable[..., Any]:
    module, name = TABLE[kind]
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found


def run(kind: str, q: Tensor, k: Tensor, v: Tensor, log: Tensor | None, beta: Tensor | None, start: Tensor) -> tuple[Tensor, Tensor]:
    """What the query reads [N, T, m], and the last state. q, k [N, T, n], v [N, T, m], log [N, T, 1 or n], beta [N, T], start [N, n, m]."""
    function = _function(kind)
    known = inspect.signature(function).parameters
    given: dict[str, Any] = {"q": q.unsqueeze(2), "k": k.unsqueeze(2), "v": v.unsqueeze(2)}
    if kind == "channels":
        assert log is not None
        given["g"] = log.expand_as(k).unsqueeze(2).contiguous()
    elif kind in ("simple", "gated delta"):
        given["g"] = (torch.zeros_like(q[..., :1]) if log is None else log).float().contiguous()
    if beta is not None:
        given["beta"] = beta.unsqueeze(2).contiguous()
    if "head_first" in known:
        given["head_first"] = False
    given["initial_state"] = start.float().unsqueeze(1)
    tensors = {name: x.contiguous() for name, x in given.items() if isinstance(x, Tensor)}
    given |= dict(zip(tensors, _Once.apply(*tensors.values())))
    out, end = function(**given, scale=1.0, output_final_state=True)
    return out.squeeze(2), end.squeeze(1)


@functools.cache
def agrees(kind: str, n: int, m: int, dtype: torch.dtype, device: str) -> tuple[bool, str]:
    """Whether a function gives what our chunked form gives, forward and backward, on a small example."""
    try:
        worst = _compare(kind, n, m, dtype, device)
    except Exception as error:  # theirs may fail in any way; that must not stop a run that has another form
        worst, said = float("inf"), f"{type(error).__name__}: {error}"
    else:
        said = f"it is off by {worst:.1e}"
    if worst <= TOLERANCE[dtype]:
        return True, ""
    reason = f"{TABLE[kind][1]} does not agree with our own form ({said})"
    warnings.warn(f"flash-linear-attention is not used: {reason}", RuntimeWarning, stacklevel=2)
    return False, reason


def _compare(kind: str, n: int, m: int, dtype: torch.dtype, device: str) -> float:
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(device)

    time = 37
    q, k, v, start = some(2, time, n), torch.nn.functional.normalize(some(2, time, n), dim=-1), some(2, time, m), some(2, n, m)
    log = {"channels": -some(2, time, n).abs(), "delta": None}.get(kind, -some(2, time, 1).abs())
    beta = torch.sigmoid(some(2, time)) if "delta" in kind else None
    leaves = [x for x in (q, k, v, start, log, beta) if x is not None]
    weights = [some(2, time, m), some(2, n, m)]
    results = []
    for ours in (True, False):
        given = [x.to(dtype).detach().requires_grad_() for x in leaves]
        q, k, v, start, *rest = given
        log, beta = (rest.pop(0) if x is not None else None for x in (log, beta))
        if ours:
            out, end = _own(q.float(), k.float(), v.float(), log, beta, start.float())
        else:
            out, end = run(kind, q, k, v, log, beta, start)
        total = (out.float() * weights[0]).sum() + (end.float() * weights[1]).sum()
        results.append([out.float(), end.float(), *(g.float() for g in torch.autograd.grad(total, given))])
    return max(float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for b, a in zip(*results))


def _own(q: Tensor, k: Tensor, v: Tensor, log: Tensor | None, beta: Tensor | None, start: Tensor) -> tuple[Tensor, Tensor]:
    decay = None if log is None else log.float().exp()
    key, value, read = k.unsqueeze(2), v.unsqueeze(2), None
    if beta is not None:
        read = key if decay is None else key * decay.unsqueeze(2)
        key = key * beta.float()[..., None, None]
    (out,), end = chunked(Update(decay, key, value, read, None, read is not None), [(q, True)], start)
    return out, end
