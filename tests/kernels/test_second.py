"""Derivatives of derivatives through scans: exact by kernels, operators and forms; what has none is refused in words, never zero."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import archdsl
from archdsl.kernels import build
from archdsl.kernels.scan_op import kernel, run
from archdsl.recurrence.forms.program import Program
from tests.recurrence.steps import ORDERED, USES, Tensors, classified, difference, loop, step_of
from tests.recurrence.test_forms import SETTINGS, settings

MAIN = ("diagonal", "gated_linear", "delta_rule", "wkv4", "max_plus", "lif", "para_lstm(4)", "lstm(4)", "mlstm")
SPEC = """
scan s { in x: [d]; state h: [d] = 1; h' = x * h; yield h' }
arch A { in x: [T, 1]; return x + s(x) }
"""
SURROGATE = """
scan s { in x: [d]; param w: [d] ~ uniform(0, 1); state v: [d] = 0; v' = w * v + x - step(v - 0.3); yield v', step(v' - 0.5) }
arch A { in x: [T, 3]; y, z = s(x -> linear(3)); return y + z }
"""
ROUTES = {"kernel": "1", "forms": "0", "loop": "loop"}


def _compiler() -> bool:
    try:
        build.compiler()
    except build.NoCompiler:
        return False
    return True


needs_compiler = pytest.mark.skipif(not _compiler(), reason="no C compiler")


@cache
def model(text: str, route: str) -> Any:
    if route == "kernel" and not _compiler():
        pytest.skip("no C compiler")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setenv("ARCHDSL_KERNELS", ROUTES[route])
        return archdsl.parse(text).build(dtype=torch.float64, seed=1)


def products(outputs: Callable[[], list[Tensor]], tensors: list[Tensor], orders: int = 2) -> list[list[Tensor]]:
    """Gradients of a function of the outputs, then of a random linear function of those, and so on."""
    torch.manual_seed(5)
    total = sum(((o * torch.randn(o.shape, dtype=o.dtype)).sum() + o.square().sum() for o in outputs()), torch.zeros(()))
    found = []
    for order in range(orders):
        grads = [torch.zeros_like(t) for t in tensors]
        if total.requires_grad:
            last = order + 1 == orders
            grads = list(torch.autograd.grad(total, tensors, create_graph=not last, allow_unused=True, materialize_grads=True))
        found.append(grads)
        total = sum(((g * torch.randn(g.shape, dtype=g.dtype)).sum() for g in grads), torch.zeros(()))
    return found


def hold(found: list[list[Tensor]], wanted: list[list[Tensor]], tolerance: float = 1e-10) -> None:
    for f, w in zip(found, wanted):
        assert [difference(a, b) < tolerance for a, b in zip(f, w)] == [True] * len(w)


def by_step(use: str, given: Tensors, lengths: Tensor | None = None, orders: int = 2) -> list[list[Tensor]]:
    return products(
        lambda: [y for part in loop(step_of(use), given.inputs, given.weights, given.begin, lengths) for y in part], given.all, orders
    )


def by_kernel(use: str, given: Tensors, lengths: Tensor | None = None, orders: int = 2) -> list[list[Tensor]]:
    k = kernel(step_of(use))
    return products(lambda: [y for part in run(k, given.inputs, given.weights, given.begin, lengths) for y in part], given.all, orders)


@pytest.mark.parametrize("route", ROUTES)
def test_a_product_of_all_inputs(route: str) -> None:
    """y = (x1 + x1, x2 + x1 x2), by hand."""
    square = lambda x: model(SPEC, route)(x.view(1, 2, 1)).square().sum()  # noqa: E731
    x, v = torch.tensor([2.0, 3.0], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    gradient, product = torch.autograd.functional.vhp(square, x, v)
    assert float(gradient) == 4**2 + 9**2
    assert product.tolist() == [62, 54]
    assert torch.autograd.functional.hvp(square, x, v)[1].tolist() == [62, 54]
    assert torch.autograd.functional.hessian(square, x).tolist() == [[26, 36], [36, 18]]


@needs_compiler
@pytest.mark.parametrize("use", [*USES, *ORDERED])
def test_kernels(use: str) -> None:
    given = Tensors(use, 5, sequences=2)
    hold(by_kernel(use, given), by_step(use, given))


@needs_compiler
@pytest.mark.parametrize("use", MAIN)
def test_kernels_with_lengths(use: str) -> None:
    given, lengths = Tensors(use, 5, sequences=3), torch.tensor([5, 2, 0])
    hold(by_kernel(use, given, lengths), by_step(use, given, lengths))


@needs_compiler
@pytest.mark.parametrize("use", ["diagonal", "gated_linear", "elman(4)"])
def test_third_derivatives(use: str) -> None:
    given = Tensors(use, 3, sequences=2)
    hold(by_kernel(use, given, orders=3), by_step(use, given, orders=3))


@needs_compiler
@pytest.mark.parametrize("use", ["gated_linear", "elman(4)"])
@pytest.mark.parametrize("which", range(3))
def test_what_alone_needs_a_gradient(use: str, which: int) -> None:
    """Inputs, weights or first states: the adjoint depends on each of them, and what it kept hides the last."""
    given = Tensors(use, 5, sequences=3)
    for k, group in enumerate((given.inputs, given.weights, given.begin)):
        for tensor in group:
            tensor.requires_grad_(k == which)
    tensors = (given.inputs, given.weights, given.begin)[which]
    if not tensors:
        return
    k, weights, begin = kernel(step_of(use)), given.weights, given.begin
    for times in (5, 0):
        inputs, lengths = [x[:, :times] for x in given.inputs], torch.tensor([5, 2, 0]).clamp(max=times)
        found = products(lambda: [y for part in run(k, inputs, weights, begin, lengths) for y in part], tensors)  # noqa: B023
        wanted = products(lambda: [y for part in loop(k.step, inputs, weights, begin, lengths) for y in part], tensors)  # noqa: B023
        hold(found, wanted)


@needs_compiler
@pytest.mark.parametrize("use", ["gated_linear", "elman(4)", "lif"])
def test_the_operator(use: str) -> None:
    """What is watched goes through torch.library; a first state that nobody gives, and one that needs no gradient, among the others."""
    given, k = Tensors(use, 5, sequences=3), kernel(step_of(use))
    lengths = torch.tensor([5, 2, 0])
    with FlopCounterMode(display=False):
        hold(by_kernel(use, given, lengths), by_step(use, given, lengths))
    fixed = [b.detach() for b in given.begin]
    tensors = [*given.inputs, *given.weights]
    wanted = products(lambda: [y for part in loop(k.step, given.inputs, given.weights, fixed, lengths) for y in part], tensors)
    for mode in (contextlib.nullcontext(), FlopCounterMode(display=False)):
        with mode:
            hold(products(lambda: [y for part in run(k, given.inputs, given.weights, fixed, lengths) for y in part], tensors), wanted)


@pytest.mark.parametrize("use", USES)
def test_forms(use: str) -> None:
    given = Tensors(use, 20, sequences=2)
    wanted = by_step(use, given)
    for name in settings(use):
        program = Program(classified(use))
        found = products(
            lambda: [y for part in program.run(given.inputs, given.weights, given.begin, None, SETTINGS[name]) for y in part],  # noqa: B023
            given.all,
        )
        hold(found, wanted)


@pytest.mark.parametrize("route", ["kernel", "forms"])
def test_a_declared_slope_has_a_slope(route: str) -> None:
    """Of a surrogate that is smooth; the emitted loop has it as an autograd function of its own."""
    x = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    found, wanted = ([x, *model(SURROGATE, r).parameters()] for r in (route, "loop"))
    hold(products(lambda: [model(SURROGATE, route)(x)], found), products(lambda: [model(SURROGATE, "loop")(x)], wanted))
    assert all(float(g.abs().sum()) > 0 for g in products(lambda: [model(SURROGATE, route)(x)], found)[1])


@needs_compiler
def test_recording_alone_changes_no_number() -> None:
    """create_graph without a second derivative, and a second pass over a kept graph."""
    module, x = model(SURROGATE, "kernel"), torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    weights = [x, *module.parameters()]
    plain, total = torch.autograd.grad(module(x).square().sum(), weights), module(x).square().sum()
    for _ in range(2):
        torch.testing.assert_close(torch.autograd.grad(total, weights, create_graph=True), plain, rtol=0, atol=0)


@needs_compiler
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpoints(reentrant: bool) -> None:
    module, x = model(SURROGATE, "kernel"), torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad(module(x).square().sum(), x)
    checkpoint(module, x, use_reentrant=reentrant).square().sum().backward()
    torch.testing.assert_close(x.grad, plain, rtol=0, atol=0)


def _dual(f: Any, x: Tensor) -> Any:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(f(forward_ad.make_dual(x, torch.ones_like(x)))).tangent


FUNCTIONS: dict[str, Callable[[Any, Tensor], Any]] = {
    "jvp": lambda f, x: torch.func.jvp(f, (x,), (torch.ones_like(x),)),
    "dual numbers": _dual,
    "dual numbers over gradients": lambda f, x: _dual(
        lambda z: torch.autograd.grad(f(z).sum(), z, create_graph=True)[0], x.requires_grad_()
    ),
    "jacfwd": lambda f, x: torch.func.jacfwd(f)(x),
    "jacfwd twice": lambda f, x: torch.func.jacfwd(torch.func.jacfwd(f))(x),
    "jvp of a grad": lambda f, x: torch.func.jvp(torch.func.grad(lambda z: f(z).sum()), (x,), (torch.ones_like(x),)),
    "jvp of another input": lambda f, x: torch.func.jvp(lambda z: torch.func.jvp(lambda u: u * f(z), (x,), (x,))[1], (x,), (x,)),
    "grad": lambda f, x: torch.func.grad(lambda z: f(z).sum())(x),
    "hessian": lambda f, x: torch.func.hessian(lambda z: f(z).sum())(x),
    "jacrev": lambda f, x: torch.func.jacrev(f)(x),
    "vmap": lambda f, x: torch.func.vmap(f)(torch.stack((x, x))),
    "vmap of grad": lambda f, x: torch.func.vmap(torch.func.grad(lambda z: f(z).sum()))(torch.stack((x, x))),
    "linearize": lambda f, x: torch.func.linearize(f, x),
    "forward jacobian": lambda f, x: torch.autograd.functional.jacobian(f, x, vectorize=True, strategy="forward-mode"),
    "compiled": lambda f, x: torch.compile(lambda z: torch.func.jvp(f, (z,), (z,)), backend="aot_eager")(x),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_forward_mode_and_transforms_are_refused_in_words(name: str, route: str) -> None:
    """And the loop, which the words point to, has them all."""
    module = model(SPEC, route)

    def f(x: Tensor) -> Tensor:
        return module(x.view(1, 2, 1)).view(2)

    x = torch.tensor([2.0, 3.0], dtype=torch.float64)
    torch._dynamo.reset()
    if route == "loop":
        FUNCTIONS[name](f, x)
        return
    with pytest.raises(RuntimeError, match=r"forward-mode derivatives.*ARCHDSL_KERNELS=loop"):
        FUNCTIONS[name](f, x)
    torch.testing.assert_close(f(x), torch.tensor([4.0, 9.0], dtype=torch.float64))  # and nothing is left behind


def test_the_loop_has_forward_derivatives() -> None:
    x = torch.tensor([2.0, 3.0], dtype=torch.float64)
    found = torch.func.jvp(lambda z: model(SPEC, "loop")(z.view(1, 2, 1)).view(2), (x,), (torch.ones_like(x),))[1]
    assert found.tolist() == [2, 6]


@needs_compiler
def test_several_gradients_at_once_are_refused_in_words() -> None:
    with pytest.raises(RuntimeError, match="ARCHDSL_KERNELS=loop"):
        torch.autograd.functional.jacobian(lambda x: model(SPEC, "kernel")(x), torch.ones(1, 2, 1, dtype=torch.float64), vectorize=True)


@needs_compiler
def test_a_transform_of_something_else_leaves_a_scan_alone() -> None:
    """Its inputs are plain there."""
    module, x = model(SPEC, "kernel"), torch.ones(1, 2, 1, dtype=torch.float64)
    found = torch.func.jvp(lambda z: z * module(x), (x,), (x,))[1]
    torch.testing.assert_close(found, module(x))
