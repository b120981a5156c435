"""Every function of the table at sensible and at edge arguments: what it is worth there, its gradients, and how near a form must come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from archdsl.graph.acts import Act
from archdsl.graph.calculus import derivative
from archdsl.graph.expressions import ZERO, Expr, call, custom, var
from archdsl.graph.functions import FUNCTIONS, Refused, ScalarFunction
from archdsl.recurrence.forms.evaluate import torch_function
from archdsl.recurrence.step import Equation, StateOf, Step
from archdsl.recurrence.step import Tensor as Part

REAL = [row for row in FUNCTIONS.values() if not isinstance(row.c, Refused)]
DTYPES = [torch.float32, torch.float64]
NAMES = ("number", "x", "y", "z")

_FEW = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.5, 3.0, -3.0, 2**-10, 7.25, -40.0, 1e5, math.inf, -math.inf, math.nan]
_MANY = [
    *(s * v for v in (1.5, 2.5, 0.1, 0.49999997, 0.75, 0.999, 1e-8, 1e-20, 6.0, 12.3, 20.0, 33.3, 87.0, 88.8, 89.2, 104.0) for s in (1, -1)),
    *(s * v for v in (700.0, 710.2, 745.5, 1e4, 1e6 + 0.5, 8388609.0, 1e10, 1e30) for s in (1, -1)),
]  # fmt: skip


def points(row: ScalarFunction, dtype: torch.dtype) -> list[Tensor]:
    """Arguments, a column each: 0, 1, infinity, NaN, ends of domains, what overflows, what is subnormal, halves, and what is common."""
    info = torch.finfo(dtype)
    ends = [s * v for v in (info.tiny, info.tiny / 8, info.eps, info.max, 1 - info.eps / 2, 1 + info.eps) for s in (1, -1)]
    drawn = torch.randn(90, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    common = [*drawn[:45].tolist(), *(drawn[45:] * 6).tolist()]
    if row.arity == 1:
        return [torch.tensor([*_FEW, *_MANY, *ends, *common], dtype=torch.float64).to(dtype)]
    few = torch.tensor(_FEW, dtype=torch.float64)
    a, b = (grid.reshape(-1) for grid in torch.meshgrid(few, few, indexing="ij"))
    a, b = torch.cat((a, torch.tensor(common))), torch.cat((b, torch.tensor(common[::-1])))
    return [a.to(dtype), b.to(dtype), b.roll(7).to(dtype)][: row.arity]


def taken(row: ScalarFunction, args: list[Tensor]) -> list[Tensor]:
    """Arguments of the kinds that a function takes."""
    bools = {"bool": row.arity, "where": 1}.get(row.takes, 0)
    return [a != 0 if i < bools else a for i, a in enumerate(args)]


def worth(row: ScalarFunction, args: list[Tensor]) -> Tensor:
    """The row's value in Python, entry by entry."""
    rows = zip(*(a.tolist() for a in taken(row, [a.double() for a in args])))
    return torch.tensor([float(row.value(*entry)) for entry in rows], dtype=torch.float64)


def slopes(row: ScalarFunction, args: list[Tensor], again: bool = False) -> list[Tensor]:
    """Gradients by torch's autograd in float64; `again`: the magnitude of what moves them, sum |x_j d2 f / dx_i dx_j|."""
    given = [a.double().requires_grad_() for a in args]
    found = [torch.zeros_like(a) for a in given]
    if isinstance(row.rules, Refused) or any(row.rules):
        found = _derived(torch_function(row)(*taken(row, given)), given, again)
    if not again:
        if row.name == "digamma":  # torch's trigamma is right to nine digits
            found = [worth(FUNCTIONS["trigamma"], args)]
        if row.name == "mod":  # torch rounds the quotient -0 of an infinite divisor down
            found[1] = torch.where(given[1].isinf(), 0.0, found[1])
        return found
    return [sum(((x * d).abs() for x, d in zip(given, _derived(g, given, False))), torch.zeros(())).detach() for g in found]


def _derived(value: Tensor, given: list[Tensor], again: bool) -> list[Tensor]:
    if not value.requires_grad:
        return [torch.zeros_like(g) for g in given]
    found = torch.autograd.grad(value.sum(), given, create_graph=again, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, given)]


def wrong(row: ScalarFunction, args: list[Tensor], found: Tensor, wanted: Tensor, moved: Tensor, least: float = 0.0) -> list[str]:
    """Where a result is not what it should be: outside units of rounding of the value, of `moved` (what rounding an argument does), and of
    `least`. NaN and infinity must be where they are wanted; what has no full precision at its size may be zero."""
    info = torch.finfo(found.dtype)
    rounded = wanted.to(found.dtype)
    allowed = 16 * info.eps * (wanted.abs() + moved.nan_to_num(0.0, info.max, info.max) + least) + 4 * info.tiny
    near = (found.double() - wanted).abs() <= allowed
    edge = wanted.abs() >= info.max * (1 - 64 * info.eps)  # to overflow there is a matter of rounding
    same = (found == rounded) | (found.isnan() & rounded.isnan()) | near | (edge & (found.abs() >= info.max * (1 - 64 * info.eps)))
    return [
        f"{row.name}({', '.join(repr(a[i].item()) for a in args)}) in {found.dtype}: {found[i].item()!r}, not {wanted[i].item()!r}"
        for i in (~same).nonzero().flatten().tolist()
    ]


def chosen(number: Expr, args: Sequence[Expr]) -> Expr:
    """The function of REAL that a number says, of arguments. Nothing of another one can reach value or gradient."""
    total: Expr = ZERO
    for k, row in enumerate(REAL):
        value = call(row.name, *args[: row.arity])
        if isinstance(row.rules, Refused):
            value = custom(value, args[:1], [ZERO])
        total = call("add", total, call("where", call("eq", number, k), value, 0))
    return total


def step(width: int) -> Step:
    """A scan: entry i of its state becomes `chosen` of the inputs' entries i."""
    number, *args = (var(f"{name}[i]") for name in NAMES)
    parts = (*(Part(n, (width,), "input") for n in NAMES), Part("h", (width,), "state"), Part("h'", (width,), "next"))
    equation = Equation("h'", ("i",), (("i", width),), (), chosen(number, args))
    return Step(parts, (equation,), (StateOf("h", "h'", 0.0),), ("h'",))


def act() -> Act:
    """The same as an activation."""
    number, *args = map(var, NAMES)
    value = chosen(number, args)
    return Act("chosen", (), NAMES, (), value, tuple((n, derivative(value, n)) for n in NAMES), True)


def columns(dtype: torch.dtype) -> list[Tensor]:
    """Arguments for `chosen`: for each function its number and its points, [entries] each."""
    made: list[list[Tensor]] = [[], [], [], []]
    for k, row in enumerate(REAL):
        args = points(row, dtype)
        for column, a in zip(made, [torch.full_like(args[0], k), *args, *args[:1] * (3 - row.arity)]):
            column.append(a)
    return [torch.cat(column) for column in made]


def judged(given: list[Tensor], value: Tensor, grads: list[Tensor], least: Mapping[str, float] = {}) -> list[str]:
    """What is wrong with values, and with gradients where there is a value, at `columns`. least: more room for values, in units of rounding
    at one."""
    number, *arguments = (g.detach().flatten() for g in given)
    found: list[str] = []
    for k, row in enumerate(REAL):
        here = number == k
        args = [a[here] for a in arguments[: row.arity]]
        first, exact = slopes(row, args), worth(row, args)
        moved = sum(((a.double() * g).abs().nan_to_num(0.0) for a, g in zip(args, first)), torch.zeros(()))
        found += wrong(row, args, value.detach().flatten()[here], exact, moved, least.get(row.name, 0.0))
        if isinstance(row.rules, Refused):
            continue
        for g, wanted, second in zip(grads[1:], first, slopes(row, args, again=True)):
            kept = torch.where(exact.isnan(), wanted.to(g.dtype), g.flatten()[here])
            found += ["gradient of " + said for said in wrong(row, args, kept, wanted, second, least=1.0)]
    return found
