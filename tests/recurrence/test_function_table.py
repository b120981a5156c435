"""Every function of the table in a step of every class: the parallel forms give what the loop over time as written gives, and so do kernels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import pytest
import torch
from torch import Tensor

import archdsl
from archdsl.graph.functions import ScalarFunction
from archdsl.primitives import TABLE
from archdsl.recurrence.convert import convert
from archdsl.recurrence.forms.plan import Setting
from archdsl.recurrence.forms.program import Program
from archdsl.recurrence.step import Step
from archdsl.recurrence.text import dumps
from archdsl.scanning.runner import _classified
from tests.graph.table import DTYPES, REAL
from tests.kernels.test_scan_kernels import _compiler

A, C = "(0.4 * tanh(a) + 0.5)", "(0.3 * tanh(c) + 0.6)"  # within 0.1 and 0.9: every function and its derivative is finite there
# One state for each function: {f} is it of inputs, {h} of a state, # its number.
APART = {
    "diagonal": "state h#: [d] = 0; h#' = {f} * h# + a; yield h#'",
    "read out": "state h#: [d] = 0; h#' = 0.5 * h# + a; yield {h'}",
    "nonlinear": "state h#: [d] = 0; h#' = 0.3 * {h} + a; yield h#'",
}
# All functions added up.
TOGETHER = {
    "constant diagonal": "state h: [d] = 0; h' = 0.5 * h + {f}; yield h'",
    "block nonlinear": "state g: [d] = 0; state h: [d] = 0; g' = 0.3 * {h} + a; h' = 0.3 * tanh(g) + c; yield h'",
    "dense affine": "param M: [d, d] ~ normal(0.1); state h: [d] = 0; h' = M @ h + {f}; yield h'",
    "matrix": "state S: [d, d] = 0; S' = diag({f}) @ S + outer(a, c); yield a @ S'",
    "delta": "state S: [d, d] = 0; S' = S - 0.1 * outer(a, a @ S - {f}); yield c @ S'",
    "tropical": "state h: [d] = 0; h' = max(h + {f}, c); yield h'",
    "softmax": "state w: [d] = 0; state u: [d] = 0; w' = w + exp({f}) * a; u' = u + exp({f}); yield w' / u'",
    "weights": "param p: [d] ~ uniform(0.2, 0.8); state h: [d] = 0; h' = {p} * h + a; yield h'",
}


def written(row: ScalarFunction, *args: str) -> str:
    """A number made by the function, in the language."""
    kinds = {"bool": row.arity, "where": 1}.get(row.takes, 0)
    args = tuple(f"({a} > 0.5)" if i < kinds else a for i, a in enumerate(args[: row.arity]))
    text = row.written.format(*args) if row.written else f"{row.name}({', '.join(args)})"
    return f"(if {text} then 0.7 else 0.3)" if row.result == "bool" else f"({text})"


def within(state: str) -> str:
    return f"(0.4 * tanh({state}) + 0.5)"


@cache
def spec(kind: str) -> archdsl.Spec:
    """A scan of a class with every function in it."""
    if kind in APART:
        parts = []
        for k, row in enumerate(REAL):
            part = APART[kind].replace("{f}", written(row, A, C, A))
            part = part.replace("{h}", written(row, within("h#"), C, A)).replace("{h'}", written(row, within("h#'"), C, A))
            parts.append(part.replace("#", str(k)))
    else:
        part = TOGETHER[kind]
        for mark, first in (("{f}", A), ("{h}", within("h")), ("{p}", "p")):
            part = part.replace(mark, f"0.02 * ({' + '.join(written(row, first, C, A) for row in REAL)})")
        parts = [part]
    lines, yields = zip(*(part.split("; yield ") for part in parts))
    text = "\n".join((*lines, f"yield {', '.join(yields)}"))
    results = ", ".join(f"y{k}" for k in range(len(lines)))
    arch = f"arch M {{ in a: [T, 4]; in c: [T, 4]; {results} = s(a, c); return {results} }}"
    return archdsl.parse(f"scan s {{ in a: [d]; in c: [d]\n{text}\n}}\n{arch}")


def inputs(dtype: torch.dtype) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 6, 4, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2)]


def derived(results: Sequence[Tensor], given: list[Tensor]) -> list[list[Tensor]]:
    """For each result it and its gradients."""
    found = []
    for y in results:
        grads = torch.autograd.grad(y.sum(), given, retain_graph=True, allow_unused=True) if y.requires_grad else [None] * len(given)
        found.append([y.detach(), *(torch.zeros_like(x) if g is None else g for g, x in zip(grads, given))])
    return found


def run(kind: str, kernels: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """By a built model: "loop" is the loop over time as written, "0" the parallel forms, "1" the compiled kernel."""
    monkeypatch.setenv("ARCHDSL_KERNELS", kernels)
    model, given = spec(kind).build(dtype=dtype), inputs(dtype)
    results = model(*given)
    return derived([results] if isinstance(results, Tensor) else results, [*given, *model.parameters()])


def differences(kind: str, found: list[list[Tensor]], wanted: list[list[Tensor]], dtype: torch.dtype) -> list[str]:
    names = [row.name for row in REAL] if kind in APART else [kind]
    bound = 2e-9 if dtype is torch.float64 else 1e-5  # torch's softplus and trigamma are right to nine digits
    assert len(names) == len(found) == len(wanted)
    far = ((n, max(float((p - q).norm() / (q.norm() + 1e-3)) for p, q in zip(f, w))) for n, f, w in zip(names, found, wanted))
    return [f"{name}: {error:.1e}" for name, error in far if not error <= bound]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [*APART, *TOGETHER])
def test_parallel_forms_give_what_the_loop_gives(kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = run(kind, "loop", dtype, monkeypatch)
    assert differences(kind, run(kind, "0", dtype, monkeypatch), wanted, dtype) == []


@pytest.mark.parametrize("kind", [*APART, *TOGETHER])
def test_each_step_is_of_its_class(kind: str) -> None:
    kinds = [group.kind.value for group in _classified(dumps(step(kind))).groups]
    said = {"read out": "constant diagonal", "nonlinear": "elementwise nonlinear", "weights": "diagonal"}.get(kind, kind)
    assert said in kinds and len(kinds) == (len(REAL) if kind in APART else 1)


def step(kind: str) -> Step:
    return convert(next(n for n in spec(kind).graph.root.nodes if n.op == "scan").instance.region, TABLE).step


@pytest.mark.parametrize("dtype", DTYPES)
def test_newtons_method_gives_what_the_loop_gives(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(dtype)
    program, by_name = Program(_classified(dumps(step("nonlinear")))), dict(zip("ac", given))
    results, _ = program.run([by_name[t.name] for t in program.step.of("input")], [], [], None, Setting(newton=True))
    wanted = run("nonlinear", "loop", dtype, monkeypatch)
    assert differences("nonlinear", derived(results, given), wanted, dtype) == []


@pytest.mark.skipif(not _compiler(), reason="no C compiler")
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kernel_gives_what_the_loop_gives(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where functions read the state, so that the adjoint works them out again."""
    wanted = run("nonlinear", "loop", dtype, monkeypatch)
    assert differences("nonlinear", run("nonlinear", "1", dtype, monkeypatch), wanted, dtype) == []
