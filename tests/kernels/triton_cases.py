"""Run in a process of its own with TRITON_INTERPRET=1: the Triton kernels against a plain loop over time in float64. Prints JSON."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from archdsl.graph.expressions import Expr, call, var
from archdsl.kernels.triton import usable
from archdsl.kernels.triton.scan_op import run, triton_kernel
from archdsl.recurrence.step import Equation, StateOf, Step
from archdsl.recurrence.step import Tensor as Part

ROW, COLUMN = ("i", 5), ("j", 3)


def diagonal() -> tuple[Step, Any]:
    value = var("a[i]") * var("h[i]") + var("b[i]")
    parts = (Part("a", (5,), "input"), Part("b", (5,), "input"), Part("h", (5,), "state"), Part("h'", (5,), "next"))
    step = Step(parts, (Equation("h'", ("i",), (ROW,), (), value),), (StateOf("h", "h'", 0.0),), ("h'",))

    def plain(x: list[Tensor], w: list[Tensor], h: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        new = x[0] * h[0] + x[1]
        return [new], [new]

    return step, plain


def gate() -> tuple[Step, Any]:
    """A gate that reads the state, a weight, a branch."""
    h: Expr = var("h[i]")
    z = call("sigmoid", var("x[i]") + var("u[i]") * h)
    new = z * h + (1 - z) * call("tanh", var("x[i]") - h) + call("where", call("gt", h, 0.1), call("softplus", h), 0.5 * h)
    parts = (Part("x", (5,), "input"), Part("u", (5,), "weight"), Part("h", (5,), "state"), Part("h'", (5,), "next"))
    step = Step(parts, (Equation("h'", ("i",), (ROW,), (), new),), (StateOf("h", "h'", 0.0),), ("h'",))

    def plain(x: list[Tensor], w: list[Tensor], s: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        z = torch.sigmoid(x[0] + w[0] * s[0])
        branch = torch.where(s[0] > 0.1, torch.nn.functional.softplus(s[0]), 0.5 * s[0])
        new = z * s[0] + (1 - z) * torch.tanh(x[0] - s[0]) + branch
        return [new], [new]

    return step, plain


def matrix() -> tuple[Step, Any]:
    """Gated linear attention: a decay per key channel."""
    sizes = {"q": (5,), "k": (5,), "v": (3,), "g": (5,)}
    parts = tuple(Part(n, s, "input") for n, s in sizes.items())
    parts += (Part("S", (5, 3), "state"), Part("S'", (5, 3), "next"), Part("y", (3,), "yield"))
    new = call("exp", var("g[i]")) * var("S[i,j]") + var("k[i]") * var("v[j]")
    read = Equation("y", ("j",), (COLUMN,), (("s", 5),), var("q[s]") * var("S'[s,j]"))
    step = Step(parts, (Equation("S'", ("i", "j"), (ROW, COLUMN), (), new), read), (StateOf("S", "S'", 0.0),), ("y",))

    def plain(x: list[Tensor], w: list[Tensor], s: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        q, k, v, g = x
        new = g.exp().unsqueeze(-1) * s[0] + k.unsqueeze(-1) * v.unsqueeze(-2)
        return [(q.unsqueeze(-1) * new).sum(-2)], [new]

    return step, plain


def delta() -> tuple[Step, Any]:
    """The delta rule, a scalar strength per time."""
    parts = tuple(Part(n, s, "input") for n, s in {"q": (5,), "k": (5,), "v": (3,), "beta": ()}.items())
    parts += (Part("S", (5, 3), "state"), Part("S'", (5, 3), "next"), Part("r", (3,), "temporary"), Part("y", (3,), "yield"))
    equations = (
        Equation("r", ("j",), (COLUMN,), (("s", 5),), var("k[s]") * var("S[s,j]")),
        Equation("S'", ("i", "j"), (ROW, COLUMN), (), var("S[i,j]") - var("beta[]") * var("k[i]") * (var("r[j]") - var("v[j]"))),
        Equation("y", ("j",), (COLUMN,), (("s", 5),), var("q[s]") * var("S'[s,j]")),
    )
    step = Step(parts, equations, (StateOf("S", "S'", 0.0),), ("y",))

    def plain(x: list[Tensor], w: list[Tensor], s: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        q, k, v, beta = x
        old = (k.unsqueeze(-1) * s[0]).sum(-2)
        new = s[0] - beta[:, None, None] * k.unsqueeze(-1) * (old - v).unsqueeze(-2)
        return [(q.unsqueeze(-1) * new).sum(-2)], [new]

    return step, plain


def gates() -> tuple[Step, Any]:
    """Two gates from one product with the state, read in halves."""
    parts = (Part("x", (10,), "input"), Part("U", (10, 5), "weight"), Part("h", (5,), "state"), Part("h'", (5,), "next"))
    parts += (Part("t", (10,), "temporary"), Part("z", (10,), "temporary"))
    both = ("i", 10)
    z = call("sigmoid", var("z[i]"))
    equations = (
        Equation("t", ("i",), (both,), (("s", 5),), var("U[i,s]") * var("h[s]")),
        Equation("z", ("i",), (both,), (), var("t[i]") + var("x[i]")),
        Equation("h'", ("i",), (ROW,), (), z * var("h[i]") + (1 - z) * call("tanh", var("z[i+5]"))),
    )
    step = Step(parts, equations, (StateOf("h", "h'", 0.0),), ("h'",))

    def plain(x: list[Tensor], w: list[Tensor], s: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        a, b = (s[0] @ w[0].T + x[0]).chunk(2, -1)
        new = a.sigmoid() * s[0] + (1 - a.sigmoid()) * b.tanh()
        return [new], [new]

    return step, plain


def loop(plain: Any, x: list[Tensor], w: list[Tensor], s: list[Tensor], lengths: Tensor) -> list[Tensor]:
    rows: list[list[Tensor]] = []
    for t in range(x[0].shape[1]):
        live = t < lengths
        out, new = plain([a[:, t] for a in x], w, s)
        s = [torch.where(live.view(-1, *[1] * (a.dim() - 1)), a, b) for a, b in zip(new, s)]
        rows.append([torch.where(live.view(-1, *[1] * (o.dim() - 1)), o, torch.zeros_like(o)) for o in out])
    return [*(torch.stack(column, 1) for column in zip(*rows)), *s]


def second(made: Any) -> float:
    """The largest relative error of the gradients of a random function of all gradients."""
    step, plain = made()
    kernel = triton_kernel(step)
    torch.manual_seed(2)
    n, time, lengths = 2, 5, torch.tensor([5, 3])
    parts = [(p, (n, time)) for p in kernel.inputs] + [(p, ()) for p in kernel.weights] + [(p, (n,)) for p in kernel.states]
    given = [(torch.randn(*lead, *p.shape, dtype=torch.float64) / 2).requires_grad_() for p, lead in parts]
    a, b = len(kernel.inputs), len(kernel.inputs) + len(kernel.weights)

    def ours() -> list[Tensor]:
        yields, ends = run(kernel, given[:a], given[a:b], given[b:], lengths)
        return [*yields, *ends]

    found = []
    for outputs in (ours(), loop(plain, given[:a], given[a:b], given[b:], lengths)):
        grads = torch.autograd.grad(sum(o.square().sum() for o in outputs), given, create_graph=True)
        torch.manual_seed(3)
        found.append(torch.autograd.grad(sum((g * torch.randn(g.shape, dtype=g.dtype)).sum() for g in grads), given))
    return max(float((f - e).abs().max() / (1e-30 + e.abs().max())) for f, e in zip(*found))


def case(made: Any, time: int, dtype: torch.dtype, block: int | None, lengths: list[int] | None, strong: bool = False) -> float:
    """The largest relative error over outputs, final states and all gradients."""
    step, plain = made()
    kernel = triton_kernel(step, block)
    torch.manual_seed(1)
    n = 2

    def draw(part: Part, *lead: int) -> Tensor:
        x = torch.randn(*lead, *part.shape, dtype=torch.float64)
        if part.name == "g":
            x = torch.nn.functional.logsigmoid(x) / (0.1 if strong else 1.0)
        if part.name == "a":
            x = x.sigmoid() * (1e-22 if strong else 1.0)
        return (x / 5**0.5 if part.name == "k" else x).to(dtype).requires_grad_()

    x, w = [draw(p, n, time) for p in kernel.inputs], [draw(p) for p in kernel.weights]
    s = [draw(p, n) for p in kernel.states]
    given = [*x, *w, *s]
    ends = None if lengths is None else torch.tensor(lengths)
    yields, final = run(kernel, x, w, s, ends)
    found = [*yields, *final]
    grads = [torch.randn(o.shape, dtype=dtype) for o in found]
    found += torch.autograd.grad(found, given, grads)
    exact = [t.detach().double().requires_grad_() for t in given]
    a, b = len(x), len(x) + len(w)
    want = loop(plain, exact[:a], exact[a:b], exact[b:], torch.full((n,), time) if ends is None else ends)
    want += torch.autograd.grad(want, exact, [g.double() for g in grads])
    return max(float((f - e).abs().max() / (1e-30 + e.abs().max())) for f, e in zip(found, want))


def main() -> None:
    report: dict[str, Any] = {}
    for name, made in {"diagonal": diagonal, "gate": gate, "matrix": matrix, "delta": delta, "gates": gates}.items():
        report[f"{name} exact"] = case(made, 7, torch.float64, 2, None)
        report[f"{name} single"] = case(made, 7, torch.float32, None, [7, 3])
    for name, made in {"gate": gate, "matrix": matrix}.items():
        report[f"{name} second"] = second(made)
    report["diagonal long"] = case(diagonal, 66, torch.float64, 2, [66, 65])  # past one checkpoint
    report["diagonal one"] = case(diagonal, 1, torch.float64, None, None)
    report["matrix strong"] = case(matrix, 9, torch.float32, 2, None, strong=True)
    report["diagonal strong"] = case(diagonal, 9, torch.float32, 2, None, strong=True)
    report["usable"] = usable(diagonal()[0], torch.zeros(1))
    print(json.dumps(report))


if __name__ == "__main__":
    main()
