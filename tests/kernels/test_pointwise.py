"""Activations in C against the plain torch functions they stand for, and everything that must fall back to torch."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import pytest
import torch

from archdsl.kernels import build, pointwise
from archdsl.kernels.pointwise import accelerated, kernel
from tests.rounding import ROOM, units

sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
from formulas import act, generated, standard

ACTS = standard()
SCALAR = sorted(n for n, a in ACTS.items() if not any(p.per_axis for p in a.learned))
FEW = ["aria2", "crrelu", "gish", "golu", "pau", "sau", "sinc", "step", "swish", "xielu"]
SIZES = [0.0, 1e-30, 0.5, 1, 3, 20, 88, 89, 104, 710, 1e4]
EXTREMES = torch.tensor([*SIZES, *(-v for v in SIZES)], dtype=torch.float64)


@pytest.fixture(scope="module", autouse=True)
def _compiler():
    try:
        build.compiler()
    except build.NoCompiler:
        pytest.skip("no C compiler")


def both(name: str, dtype: torch.dtype, n: int = 10_001):
    """Inputs and the gradients sent back, then outputs and gradients of plain torch and of the kernel."""
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(n, generator=generator, dtype=torch.float64) * 3
    values[: len(EXTREMES)] = EXTREMES
    seed = torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)
    results: list = [(values.to(dtype), seed)]
    plain = generated(ACTS[name])
    for function in (plain, accelerated(ACTS[name], plain)):
        x = values.to(dtype, copy=True).requires_grad_()
        learned = [torch.tensor(p.init, dtype=dtype, requires_grad=True) for p in ACTS[name].learned]
        y = function.apply(x, *learned)
        y.backward(seed)
        results.append((y.detach(), x.grad, [w.grad for w in learned]))
    assert kernel(ACTS[name], dtype) is not None
    return results


def agree(name: str, dtype: torch.dtype) -> None:
    (x, seed), (y, dx, dw), (ky, kdx, kdw) = both(name, dtype)
    assert not ky.isnan().any()
    assert not kdx.isnan().any()
    inner = 900 if name == "sine" else 30  # slopes of what is inside: sin(30 x), by which both its value and its slope move; asin near 1
    assert units(ky, y, x, y) <= ROOM
    assert units(kdx, dx, inner * seed, inner * seed * x, dx) <= ROOM
    for ours, theirs in zip(kdw, dw):
        assert (ours - theirs).abs() <= 1e-3 * theirs.abs() + 1e-3 * y.numel() ** 0.5


@pytest.mark.parametrize("name", FEW)
def test_kernel_equals_torch_float32(name):
    agree(name, torch.float32)


@pytest.mark.parametrize("name", ["golu", "swish"])
def test_kernel_equals_torch_float64(name):
    agree(name, torch.float64)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", SCALAR)
def test_every_activation_has_a_kernel_that_equals_torch(name, dtype):
    agree(name, dtype)


def test_two_inputs():
    glu = act("act glu(a, b) = a * sigmoid(b)")
    function = accelerated(glu, generated(glu))
    a, b = (torch.randn(64, 100, requires_grad=True) for _ in range(2))
    y = function.apply(a, b)
    y.square().sum().backward()
    torch.testing.assert_close(y, a * torch.sigmoid(b))
    s = torch.sigmoid(b)
    torch.testing.assert_close(a.grad, 2 * a * s * s)
    torch.testing.assert_close(b.grad, 2 * a * s * a * s * (1 - s))


def test_results_do_not_depend_on_the_number_of_threads():
    found = kernel(ACTS["swish"], torch.float32)
    x, grad, beta = torch.randn(100_003), torch.randn(100_003), torch.tensor(1.3)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append([found.forward((x,), (beta,)), *found.backward(grad, (x,), (beta,))])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


class _Spy:
    """Counts what goes to the plain function."""

    def __init__(self):
        plain = generated(ACTS["golu"])
        self.calls = 0

        def forward(ctx, *tensors):
            self.calls += 1
            return plain.forward(ctx, *tensors)

        counting = type("Golu", (), {"forward": staticmethod(forward), "backward": staticmethod(plain.backward), "__doc__": ""})
        self.function = accelerated(ACTS["golu"], counting)


@pytest.mark.parametrize(
    ("x", "to_torch"),
    [
        (torch.randn(128, 64), False),
        (torch.randn(8, 16, 8, 8).to(memory_format=torch.channels_last), False),
        (torch.randn(64), True),
        (torch.randn(128, 64).bfloat16(), True),
        (torch.randn(64, 256).t(), True),
        (torch.randn(128, 128)[:, ::2], True),
        (torch.randn(128, 64, device="meta"), True),
    ],
)
def test_kernel_or_torch(x, to_torch):
    spy = _Spy()
    y = spy.function.apply(x)
    assert spy.calls == int(to_torch)
    assert y.shape == x.shape
    assert y.dtype is x.dtype
    if x.device.type == "cpu":
        rtol, atol = (2e-2, 1e-2) if x.dtype is torch.bfloat16 else (1e-5, 1e-6)
        torch.testing.assert_close(y, x * torch.exp(-torch.exp(-x)), rtol=rtol, atol=atol)


def test_gradient_of_another_layout():
    x = torch.randn(8, 16, 8, 8).to(memory_format=torch.channels_last).requires_grad_()
    function = accelerated(ACTS["golu"], generated(ACTS["golu"]))
    weight = torch.randn(8, 16, 8, 8)
    (function.apply(x) * weight).sum().backward()
    z = x.detach().contiguous().requires_grad_()
    (generated(ACTS["golu"]).apply(z) * weight).sum().backward()
    torch.testing.assert_close(x.grad, z.grad)
    function.apply(x).sum().backward()  # an expanded gradient: strides of zero


def test_gradients_of_gradients_take_the_torch_form():
    x = torch.randn(5000, dtype=torch.float64, requires_grad=True)
    function = accelerated(ACTS["golu"], generated(ACTS["golu"]))
    (first,) = torch.autograd.grad(function.apply(x).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    (one,) = torch.autograd.grad(generated(ACTS["golu"]).apply(x).sum(), x, create_graph=True)
    (two,) = torch.autograd.grad(one.sum(), x)
    torch.testing.assert_close(second, two)


def test_compiles_to_the_torch_form():
    function = accelerated(ACTS["golu"], generated(ACTS["golu"]))
    x = torch.randn(128, 64)
    compiled = torch.compile(lambda x: function.apply(x) + 1, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), function.apply(x) + 1)


def test_without_a_compiler_torch_is_used_and_said_once(monkeypatch, caplog):
    def missing(source):
        raise build.NoCompiler("no C compiler was found")

    monkeypatch.setattr(pointwise, "load", missing)
    pointwise.kernel.cache_clear()
    pointwise._tell.cache_clear()
    try:
        for _ in range(3):
            for name in ("golu", "mish"):
                x = torch.randn(128, 64)
                torch.testing.assert_close(accelerated(ACTS[name], generated(ACTS[name])).apply(x), generated(ACTS[name]).apply(x))
        assert len(caplog.records) == 1
        assert "no C compiler" in caplog.text
    finally:
        pointwise.kernel.cache_clear()
        pointwise._tell.cache_clear()


def test_acts_without_a_c_form_have_no_kernel():
    assert kernel(ACTS["prelu"], torch.float32) is None
    assert kernel(act("act f(x) = angle(x) backward 1"), torch.float32) is None
    assert kernel(ACTS["golu"], torch.bfloat16) is None


def test_no_text_of_a_spec_reaches_the_c():
    text = pointwise.source(act('act system(exit; popen = 1.0) = exit * popen   # "); system("true")'))
    for word in ("system", "exit", "popen", "true"):
        assert word not in text.replace("memcpy", "")


MATH = ["exp", "expm1", "log", "log1p", "sigmoid", "tanh", "sinh", "cosh", "erf", "erfc", "softplus", "logsigmoid"]


@pytest.mark.parametrize(("dtype", "head"), [(torch.float32, ""), (torch.float64, "#define REAL64 1\n")])
def test_vector_math_is_accurate_to_units_in_the_last_place(dtype, head):
    header = Path(pointwise.__file__).with_name("vector_math.h").read_text(encoding="utf-8")
    loops = "".join(f"void f_{f}(const real *x, real *y, long n) {{ for (long i = 0; i < n; i++) y[i] = m_{f}(x[i]); }}\n" for f in MATH)
    library = build.load(head + header + loops)
    generator = torch.Generator().manual_seed(0)
    spread = [torch.randn(20_000, generator=generator, dtype=torch.float64) * s for s in (1e-3, 1, 8, 40)]
    special = torch.tensor([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e4, -1e4, torch.finfo(dtype).tiny / 8], dtype=torch.float64)
    values = torch.cat([*spread, special]).to(dtype)
    for name in MATH:
        x = values.abs() if name == "log" else torch.where(values < -0.999, values.abs(), values) if name == "log1p" else values
        y = torch.empty_like(x)
        getattr(library, f"f_{name}")(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(x.numel()))
        exact = _exact(name, x.double())
        rounded = exact.to(dtype)
        assert torch.equal(rounded.isnan(), y.isnan()), name
        assert torch.equal(rounded.isinf(), y.isinf()), name
        normal = rounded.isfinite() & (rounded.abs() > 4 * torch.finfo(dtype).tiny)
        unit = torch.finfo(dtype).eps * rounded.abs()
        error = ((y.double() - exact).abs() / unit.double())[normal].max().item()
        assert error < 8, (name, error)


def _exact(name, x):
    if name in ("softplus", "logsigmoid"):
        x = -x if name == "logsigmoid" else x
        value = x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))
        return -value if name == "logsigmoid" else value
    return getattr(torch, name)(x)
