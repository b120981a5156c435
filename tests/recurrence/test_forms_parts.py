"""The parts that forms are made of, each against its definition."""

from __future__ import annotations

import math
import warnings

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from archdsl.recurrence.forms import diagonal, implicit, softmax
from archdsl.recurrence.forms.block import block_scan
from archdsl.recurrence.forms.dense import dense_scan
from archdsl.recurrence.forms.diagonal import ENGINES, linear_scan
from archdsl.recurrence.forms.matrix import Update, chunked
from archdsl.recurrence.forms.newton import Newton
from archdsl.recurrence.forms.products import Channels, Uniform, segments
from archdsl.recurrence.forms.tropical import max_scan
from tests.recurrence.steps import DECAYS, difference, gradients
from tests.rounding import off

DOUBLE = torch.float64


def leaf(*shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    return torch.randn(*shape, dtype=dtype).requires_grad_()


def one_by_one(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
    kept = []
    for t in range(b.shape[1]):
        h = a[:, t if a.shape[1] > 1 else 0] * h + b[:, t]
        kept.append(h)
    return torch.stack(kept, 1)


def same(ours: Tensor, theirs: Tensor, leaves: list[Tensor], tolerance: float = 1e-10) -> None:
    pairs = [(ours, theirs), *zip(gradients([ours], leaves), gradients([theirs], leaves))]
    worst = max(difference(a, b) for a, b in pairs)
    assert worst <= tolerance


# ---- linear scans -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [1, 2, 3, 7, 16, 17, 63, 64, 65, 129])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_linear_scan(engine: str, time: int, dtype: torch.dtype) -> None:
    for steps in (1, time):
        if engine == "convolution" and steps > 1:
            continue
        a = torch.randn(1 if steps == 1 else 2, steps, 5, dtype=dtype)
        a = (a / a.abs().clamp(min=1)).requires_grad_()
        b, h = leaf(2, time, 5, dtype=dtype), leaf(2, 5, dtype=dtype)
        ours, theirs = linear_scan(a, b, h, engine), one_by_one(a, b, h)
        parts = (lambda x: torch.view_as_real(x)) if dtype.is_complex else (lambda x: x)
        pairs = [(ours, theirs)]
        g = torch.randn_like(ours)
        pairs += zip(torch.autograd.grad(ours, (a, b, h), g), torch.autograd.grad(theirs, (a, b, h), g))
        assert max(difference(parts(x), parts(y)) for x, y in pairs) < 1e-11


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("decay", DECAYS)
def test_constant_decays(engine: str, decay: float) -> None:
    a = torch.full((1, 1, 3), decay, dtype=DOUBLE, requires_grad=True)
    b, h = leaf(2, 130, 3), leaf(2, 3)
    same(linear_scan(a, b, h, engine), one_by_one(a, b, h), [a, b, h])


@pytest.mark.parametrize("engine", ["two_level", "tree"])
def test_products_that_underflow_are_zero(engine: str) -> None:
    """float32: the product of a chunk's decays is far below the smallest number. No NaN, no lost gradient."""
    a = torch.full((1, 200, 4), math.exp(-60.0)).requires_grad_()
    b, h = leaf(1, 200, 4, dtype=torch.float32), leaf(1, 4, dtype=torch.float32)
    found = linear_scan(a, b, h, engine)
    wanted = one_by_one(a, b, h)
    assert off(found, wanted) < 1e-6
    assert all(off(x, y) < 1e-6 for x, y in zip(gradients([found], [a, b, h]), gradients([wanted], [a, b, h])))


@pytest.mark.parametrize("levels", [True, False])
@pytest.mark.parametrize("time", [1, 17, 65])
def test_block_scan(levels: bool, time: int) -> None:
    a, b, h = (torch.randn(2, time, 4, 3, 3, dtype=DOUBLE) / 3).requires_grad_(), leaf(2, time, 4, 3), leaf(2, 4, 3)
    state, kept = h, []
    for t in range(time):
        state = torch.einsum("ndij,ndj->ndi", a[:, t], state) + b[:, t]
        kept.append(state)
    same(block_scan(a, b, h, levels), torch.stack(kept, 1), [a, b, h])


@pytest.mark.parametrize("sweeps", [True, False])
@pytest.mark.parametrize("steps", [1, 40])
def test_dense_scan(sweeps: bool, steps: int) -> None:
    a, b, s = (torch.randn(1, steps, 4, 4, dtype=DOUBLE) / 4).requires_grad_(), leaf(2, 40, 4, 3), leaf(2, 4, 3)
    state, kept = s, []
    for t in range(40):
        state = a[:, t if steps > 1 else 0] @ state + b[:, t]
        kept.append(state)
    same(dense_scan(a, b, s, sweeps), torch.stack(kept, 1), [a, b, s])


# ---- products of decays ---------------------------------------------------------------------------------------------------------------------


def test_segments() -> None:
    """E[t, j] = a_{j+1} … a_t, with zeros and negatives among the a; the gradient needs no division by them."""
    a = torch.randn(2, 9, 3, dtype=DOUBLE)
    a[0, 4] = 0
    a[1, 2:4] = 0
    a.requires_grad_()
    e = segments(a)
    rows = []
    for t in range(10):
        rows.append(torch.stack([a[:, j:t].prod(1) if j <= t else torch.zeros(2, 3, dtype=DOUBLE) for j in range(10)], 1))
    same(e, torch.stack(rows, 1), [a])
    assert torch.autograd.gradcheck(segments, (a,))


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("sub", [4, 8, 16])
def test_a_decay_per_channel_through_sub_chunks(after: bool, sub: int) -> None:
    """Equal decays in all channels: the anchored form gives what the mask gives."""
    a = torch.rand(2, 3, 16, 1, dtype=DOUBLE).requires_grad_()
    x, y = leaf(2, 3, 16, 2, 5), leaf(2, 3, 16, 1, 5)
    one, many = Uniform(a, x, 16), Channels(a.expand(-1, -1, -1, 5), sub)
    same(many.gram(x, y, after), one.gram(x, y, after), [a, x, y])
    for p, q in ((many.since[after], one.since[after]), (many.until, one.until), (many.whole, one.whole)):
        torch.testing.assert_close(p, q.expand_as(p), rtol=1e-12, atol=1e-14)


def test_no_quotient_of_cumulative_products() -> None:
    """Decays of 1e-30 in float32, 64 in a row: what a chunk gives is finite, and right to rounding."""
    n, time = 4, 64
    decay = torch.full((1, time, n), 1e-30).requires_grad_()
    k, v, q = (torch.randn(1, time, 1, n).requires_grad_() for _ in range(3))
    (found,), end = chunked(Update(decay, k, v), [(q[:, :, 0], True)], torch.zeros(1, n, n))
    exact = (q[:, :, 0] * k[:, :, 0]).sum(-1, keepdim=True) * v[:, :, 0]
    assert off(found, exact) < 1e-6
    assert all(g.isfinite().all() for g in gradients([found, end], [decay, k, v, q]))


@pytest.mark.parametrize("chunk", [16, 32, 64, 128])
def test_delta_rule_near_its_edge(chunk: int) -> None:
    """beta near 2 and keys nearly parallel: the triangular systems are at their worst; float32 loses their condition at most."""
    torch.manual_seed(3)
    base = torch.randn(1, 1, 1, 16, dtype=DOUBLE)
    k = F.normalize(base + 0.05 * torch.randn(2, 256, 1, 16, dtype=DOUBLE), dim=-1)
    v, q = torch.randn(2, 256, 1, 16, dtype=DOUBLE), torch.randn(2, 256, 16, dtype=DOUBLE)
    start = torch.zeros(2, 16, 16, dtype=DOUBLE)

    def run(dtype: torch.dtype, size: int) -> Tensor:
        update = Update(None, (1.9 * k).to(dtype), v.to(dtype), k.to(dtype), None, True)
        return chunked(update, [(q.to(dtype), True)], start.to(dtype), size)[0][0]

    keys = k.view(-1, chunk, 16)
    condition = torch.linalg.cond(torch.eye(chunk, dtype=DOUBLE) + (1.9 * keys @ keys.mT).tril(-1)).max()
    assert off(run(torch.float32, chunk), run(DOUBLE, 16)) < condition * torch.finfo(torch.float32).eps


# ---- maxima and softmax -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("time", [1, 16, 17, 130])
def test_max_scan(time: int) -> None:
    a, b, h = leaf(2, time, 4), leaf(2, time, 4), leaf(2, 4)
    state, kept = h, []
    for t in range(time):
        state = torch.maximum(state + a[:, t], b[:, t])
        kept.append(state)
    same(max_scan(a, b, h), torch.stack(kept, 1), [a, b, h])


def test_a_tie_goes_to_the_new_value() -> None:
    a, b, h = torch.zeros(1, 3, 1, requires_grad=True), torch.ones(1, 3, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    da, db, dh = torch.autograd.grad(max_scan(a, b, h)[:, -1].sum(), (a, b, h))
    assert (da.sum(), dh.sum()) == (0, 0)
    assert db.flatten().tolist() == [0, 0, 1]


def test_minus_infinity_is_nothing() -> None:
    h = torch.full((1, 2), -math.inf)
    found = max_scan(torch.zeros(1, 40, 2), torch.full((1, 40, 2), -math.inf), h)
    assert (found == -math.inf).all()


@pytest.mark.parametrize("size", [1.0, 100.0, 10000.0])
def test_softmax_of_any_scores(size: float) -> None:
    """Scores at which exp overflows or vanishes, and positions that are masked out altogether."""
    score = (torch.randn(2, 50, 1, dtype=DOUBLE) * size).requires_grad_()
    value = leaf(2, 50, 4)
    masked, again = (torch.where(torch.arange(50).view(1, -1, 1) % 7 == 3, -math.inf, score) for _ in range(2))
    none = torch.full((2, 1), -math.inf, dtype=DOUBLE)
    decay = torch.zeros_like(masked)
    top = softmax.running_maximum(decay, masked.detach(), none)
    found = softmax.sums(decay, masked, value, torch.zeros(2, 4, dtype=DOUBLE), torch.zeros(2, 1, dtype=DOUBLE), top, none)
    ours = softmax.ratio(found.numerator, found.denominator, found.maximum, None, None)
    keep = torch.ones(50, 50, dtype=torch.bool).tril()
    theirs = torch.softmax(again.mT.expand(-1, 50, -1).masked_fill(~keep, -math.inf), -1) @ value
    leaves = [score, value]
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(gradients([ours], leaves), gradients([theirs], leaves), rtol=1e-10, atol=1e-13)


# ---- Newton -----------------------------------------------------------------------------------------------------------------------------------


def cell(strength: float) -> implicit.StepOf:
    return lambda before, read: [torch.tanh(strength * before[0] + read[0])]


def test_newton_converges_and_stops() -> None:
    x, h = leaf(2, 200, 5), leaf(2, 5)
    solver = Newton()
    (found,) = implicit.run(cell(0.9), solver, [h], [x], 200)
    (wanted,) = implicit.run(cell(0.9), implicit.in_order, [h], [x], 200)
    same(found, wanted, [x, h])
    assert solver.fallbacks == 0
    assert solver.iterations <= 10
    assert solver.residual < 1e-12


def test_newton_that_does_not_converge_runs_in_order() -> None:
    """A chaotic map: counted, said, and still right."""
    x, h = (torch.rand(1, 300, 2, dtype=DOUBLE) / 100).requires_grad_(), torch.rand(1, 2, dtype=DOUBLE).requires_grad_()

    def logistic(before: list[Tensor], read: object) -> list[Tensor]:
        return [torch.sin(20 * before[0]) + read[0]]  # type: ignore[index]

    solver = Newton(limit=5)
    with pytest.warns(RuntimeWarning, match="did not converge in 5 iterations"):
        (found,) = implicit.run(logistic, solver, [h], [x], 300)
    assert solver.fallbacks == 1
    (wanted,) = implicit.run(logistic, implicit.in_order, [h], [x], 300)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_the_adjoint_is_one_scan() -> None:
    """Gradients of a nonlinear cell equal those of a graph through all steps."""
    x, h = leaf(2, 60, 3), leaf(2, 3)
    (found,) = implicit.run(cell(0.7), implicit.in_order, [h], [x], 60)
    state, kept = h, []
    for t in range(60):
        state = torch.tanh(0.7 * state + x[:, t])
        kept.append(state)
    same(found, torch.stack(kept, 1), [x, h])


def test_forms_have_few_nodes() -> None:
    """Adjoints are derived: the graph of a scan does not grow with its length."""

    def nodes(time: int) -> int:
        found = linear_scan(torch.rand(1, time, 2, requires_grad=True), torch.rand(1, time, 2, requires_grad=True), torch.zeros(1, 2))
        seen, stack = set(), [found.grad_fn]
        while stack:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                stack += [n for n, _ in node.next_functions]
        return len(seen)

    assert nodes(10) == nodes(1000)


def test_engines_agree_on_what_they_are() -> None:
    assert set(ENGINES) == {"in_order", "two_level", "tree", "convolution"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = diagonal.backwards(torch.ones(1, 1, 1), torch.ones(1, 5, 1), "two_level")
    assert g.flatten().tolist() == [5, 4, 3, 2, 1]
