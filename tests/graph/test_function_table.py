"""The table of scalar functions: each column of each row is filled or refused in words, rows say the truth, and one row is all that it takes."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.graph.calculus import NoDerivative, derivative, partial
from archdsl.graph.expressions import Apply, apply, call, order, var
from archdsl.graph.functions import FUNCTIONS, Refused, ScalarFunction
from archdsl.graph.torch_text import to_torch
from archdsl.recurrence.algebra import bounds
from archdsl.recurrence.forms.evaluate import torch_function
from tests.graph.formulas import act, run
from tests.graph.table import DTYPES, REAL, points, slopes, taken, worth, wrong

ROWS = list(FUNCTIONS.values())
X, *_ = ARGUMENTS = tuple(map(var, "xyz"))
ROUGH = {"softplus", "logsigmoid", "digamma", "trigamma"}  # torch's are right to nine digits only, in value or slope


def ids(row: ScalarFunction) -> str:
    return row.name


each = pytest.mark.parametrize("row", ROWS, ids=ids)
each_real = pytest.mark.parametrize("row", REAL, ids=ids)


@each
def test_every_column_is_filled_or_refused_in_words(row: ScalarFunction) -> None:
    places = {str(i) for i in range(row.arity)}
    for text in (row.torch, row.c, row.triton, row.forms or row.torch, row.written or row.torch):
        if isinstance(text, Refused):
            assert len(text.reason.split()) > 3, text.reason
        else:
            assert set(re.findall(r"\{(\d)\}", text)) == places, text
    if isinstance(row.rules, Refused):
        assert len(row.rules.reason.split()) > 3
    else:
        assert len(row.rules) == row.arity


@each_real
def test_a_derivative_needs_only_what_every_writer_has(row: ScalarFunction) -> None:
    node = apply(row.name, *ARGUMENTS[: row.arity])
    if isinstance(row.rules, Refused):
        with pytest.raises(NoDerivative, match=row.rules.reason):
            partial(node, 0)
        return
    for i in range(row.arity):
        used = {n.function for n in order(partial(node, i)) if isinstance(n, Apply)}
        assert used <= {r.name for r in REAL}


def torch_differs(row: ScalarFunction, args: list[Tensor]) -> Tensor:
    """Where torch itself is not what the function is worth."""
    x, last, info = args[0], args[-1], torch.finfo(args[0].dtype)
    if row.name in ("sinh", "cosh"):  # it overflows before the value does
        return x.isfinite() & (x.abs() > math.log(info.max)) & (x.abs() < math.log(info.max) + 1)
    if row.name == "trigamma":  # it comes near infinity at the poles, and is rough far below
        return (x < 0) & ((x == x.floor()) | (x < -1e5))
    if row.name == "mod":  # NaN where the quotient overflows
        return (last.abs() < info.tiny * 2) & (last != 0)
    return torch.zeros_like(x, dtype=torch.bool)


@pytest.mark.parametrize("dtype", DTYPES)
@each_real
def test_torch_texts_are_worth_what_python_says_at_every_edge(row: ScalarFunction, dtype: torch.dtype) -> None:
    args = points(row, dtype)
    exact, kept = worth(row, args), ~torch_differs(row, args)
    moved = sum(((a.double() * g).abs().nan_to_num(0.0) for a, g in zip(args, slopes(row, args))), torch.zeros(()))
    for text in (row.torch, row.forms or row.torch):
        given = taken(row, args)
        found = torch_function(replace(row, forms=text))(*given).to(dtype)
        room = (1e8 if row.name in ROUGH and dtype is torch.float64 else 1.0) * exact.abs() + moved
        assert wrong(row, [a[kept] for a in args], found[kept], exact[kept], room[kept]) == []


@pytest.mark.parametrize("dtype", DTYPES)
@each_real
def test_emitted_text_of_values_and_slopes(row: ScalarFunction, dtype: torch.dtype) -> None:
    """Where numbers are sensible; at the edges torch is what it is."""
    args = [(torch.randn(200, generator=torch.Generator().manual_seed(i), dtype=torch.float64).tanh() * 0.45 + 0.5).to(dtype) for i in range(3)]
    args = args[: row.arity]
    node, given = call(row.name, *ARGUMENTS[: row.arity]), dict(zip("xyz", args))
    room = torch.full((), 1e8 if row.name in ROUGH and dtype is torch.float64 else 1.0)
    assert wrong(row, args, run(node, **given), worth(row, args), room) == []
    if isinstance(row.rules, Refused):
        return
    for name, wanted, moved in zip(given, slopes(row, args), slopes(row, args, again=True)):
        assert wrong(row, args, run(derivative(node, name), **given), wanted, moved + room) == []


@each_real
def test_the_language_reaches_it(row: ScalarFunction) -> None:
    logical = {"bool": row.arity, "where": 1}.get(row.takes, 0)
    args = [f"({x} > 0)" if i < logical else x for i, x in enumerate("xyz"[: row.arity])]
    text = f"{row.name}({', '.join(args)})" if row.named else row.written.format(*args)
    text = f"if {text} then 1 else 0" if row.result == "bool" else text
    declared = isinstance(row.rules, Refused)
    value = act(f"act f({', '.join('xyz'[: row.arity])}) = {text}" + " backward 1" * declared).forward
    made = call(row.name, *(call("gt", a, 0) if i < logical else a for i, a in enumerate(ARGUMENTS[: row.arity])))
    assert (value.args[0] if declared else value) is (call("where", made, 1, 0) if row.result == "bool" else made)


def test_traits_are_true() -> None:
    """Symmetry, order of arguments, monotony and range, at the points of the edges."""
    for row in REAL:
        args = [a + 0.0 for a in points(row, torch.float64)]  # no -0, of which rsqrt makes -inf
        value = worth(row, args)
        known = value[~value.isnan()]
        assert ((known >= row.low) & (known <= row.high)).all(), row.name
        if row.parity:
            same = value if row.parity == "even" else -value
            torch.testing.assert_close(worth(row, [-args[0]]), same, rtol=0, atol=0, equal_nan=True)
        if row.commutes:
            torch.testing.assert_close(worth(row, args[::-1]), value, rtol=0, atol=0, equal_nan=True)
        if row.rising:
            _, places = args[0].sort()
            rising = value[places][~value[places].isnan()]
            assert (rising[1:] >= rising[:-1]).all(), row.name
        if row.ints:
            assert isinstance(row.value(*(3, 2)[: row.arity]), int), row.name


@each
def test_torch_takes_complex_numbers_where_the_row_says_so(row: ScalarFunction) -> None:
    if row.takes != "number":
        return
    given = [torch.tensor([0.3 + 0.4j]), torch.tensor([0.5 - 0.2j])][: row.arity]
    if row.complexes:
        assert torch_function(row)(*given).is_complex() == (row.result != "real" and row.result != "bool" and row.name != "abs")
    else:
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch_function(row)(*given)


def test_bounds_follow_from_the_rows() -> None:
    inside = {"x": (-1.0, 2.0)}
    assert bounds(call("atan", X), lambda v: inside[v.name]) == (math.atan(-1), math.atan(2))
    assert bounds(call("log", X), lambda v: inside[v.name]) == (-math.inf, math.log(2))
    assert bounds(call("cosh", X)) == (1, math.inf)


CUBE = ScalarFunction(
    "cube", 1, lambda x: x * x * x, (lambda f, x: 3 * f.square(x),), "{0} ** 3", "{0} * {0} * {0}", "{0} * {0} * {0}", parity="odd",
)  # fmt: skip
SPEC = """
act bent(x) = cube(x) + 0.5 * x
scan s { in a: [d]; state h: [d] = 0; h' = cube(tanh(a)) * tanh(cube(h)) + a; yield h' }
arch M { in a: [T, 5]; return s(a) -> bent }
"""


@pytest.mark.parametrize("kernels", ["loop", "0", "1"])
def test_adding_a_function_is_adding_a_row(kernels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArchError):
        archdsl.parse(SPEC)
    monkeypatch.setitem(FUNCTIONS, "cube", CUBE)
    monkeypatch.setenv("ARCHDSL_KERNELS", kernels)
    a = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    y = archdsl.parse(SPEC).build(dtype=torch.float64)(a)
    h, steps = torch.zeros(2, 5, dtype=torch.float64), []
    for x in a.unbind(1):
        h = x.tanh() ** 3 * (h**3).tanh() + x
        steps.append(h**3 + 0.5 * h)
    wanted = torch.stack(steps, 1)
    torch.testing.assert_close(y, wanted)
    torch.testing.assert_close(torch.autograd.grad(y.sum(), a), torch.autograd.grad(wanted.sum(), a))
    assert call("cube", -X) is -call("cube", X)


def test_a_choice_between_numbers_keeps_their_digits() -> None:
    """torch.where of two plain numbers is made in float32."""
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert run(call("where", call("gt", X, 0), 0.7, 0.1), x=x).tolist() == [0.1, 0.7]
    model = archdsl.parse("arch M { in x: [T, 2]; return if x > 0 then 0.7 else 0.1 }").build(dtype=torch.float64)
    assert model(x.view(1, 1, 2)).flatten().tolist() == [0.1, 0.7]
    assert "x.new_full" not in to_torch([call("where", call("gt", X, 0), 0.5, 0)], {"x": "x"})[1][0]
