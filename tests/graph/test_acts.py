"""Activations: the standard library against independent formulas, derived gradients, extreme inputs, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from archdsl.diagnostics import ArchError
from archdsl.graph.acts import lower_act
from archdsl.graph.calculus import derivative
from archdsl.graph.expressions import evaluate, substitute, var
from archdsl.primitives.act import class_source
from archdsl.primitives.known_acts import torch_text
from tests.graph.formulas import STD, act, declarations, generated, run, standard
from tests.rounding import ROOM, units

ACTS = standard()
PLAIN = sorted(n for n, a in ACTS.items() if not a.custom)
GRID = torch.linspace(-6, 6, 97, dtype=torch.float64) + 0.0137


def sig(x):
    return 1 / (1 + (-x).exp())


def phi(x):
    return torch.distributions.Normal(0.0, 1.0).cdf(x)


def hinge(x, low, high):
    return torch.maximum(torch.minimum(x, torch.tensor(high, dtype=x.dtype)), torch.tensor(low, dtype=x.dtype))


def neg_pos(x, below, above):
    return torch.where(x > 0, above, below)


# Written from the papers, apart from the .arch file, with the library's default arguments.
FORMULAS = {
    "identity": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "brelu": lambda x: hinge(x, 0.0, 1.0),
    "shifted_relu": lambda x: F.relu(x - 1),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "relu_squared": lambda x: F.relu(x).pow(2),
    "leaky_relu": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.25], dtype=x.dtype)),
    "prelu_shared": lambda x: F.leaky_relu(x, 0.25),
    "srelu": lambda x: F.leaky_relu(x, 0.2),
    "crrelu": lambda x: F.relu(x) + 0.01 * x * torch.exp(-(x * x) / 2),
    "polyrelu": lambda x: sum(F.relu(x) ** k for k in (1, 2, 3)) / 3,
    "displaced_relu": lambda x: F.threshold(x, -1, -1),
    "apl": lambda x: F.relu(x) + 0.2 * F.relu(0.5 - x) + 0.2 * F.relu(-0.5 - x),
    "nlrelu": lambda x: torch.log(F.relu(x) + 1),
    "elu": F.elu,
    "celu": F.celu,
    "selu": F.selu,
    "pelu": F.elu,
    "mpelu": F.elu,
    "pdelu": lambda x: neg_pos(x, torch.clamp(1 + 0.1 * x, min=0) ** 10 - 1, x),
    "soft_exponential": lambda x: 2 * (torch.exp(x / 2) - 1) + 0.5,
    "serlu": lambda x: neg_pos(x, 1.07862 * 2.90427 * x * torch.exp(x), 1.07862 * x),
    "isrlu": lambda x: neg_pos(x, x / (1 + x * x).sqrt(), x),
    "xielu": lambda x: neg_pos(x, 0.8 * (torch.exp(x) - 1 - x) + 0.5 * x, 0.8 * x * x + 0.5 * x),
    "silu": F.silu,
    "swish": F.silu,
    "softened": lambda x: neg_pos(x, 0.7 * F.silu(x), x),
    "velu_gate": lambda x: x * sig(torch.arctan(x) + torch.arcsin(x.clamp(1e-6 - 1, 1 - 1e-6))),
    "eswish": lambda x: 1.5 * F.silu(x),
    "dsilu": lambda x: sig(x) + x * sig(x) * sig(-x),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * sig(1.702 * x),
    "mish": F.mish,
    "telu": lambda x: x * torch.tanh(torch.exp(x)),
    "serf": lambda x: x * torch.erf(torch.log(1 + torch.exp(x))),
    "logish": lambda x: x * torch.log(1 + sig(x)),
    "smish": lambda x: x * torch.tanh(torch.log(1 + sig(x))),
    "phish": lambda x: x * torch.tanh(x * phi(x)),
    "gish": lambda x: x * torch.log(2 - torch.exp(-torch.exp(x))),
    "golu": lambda x: x * torch.exp(-torch.exp(-x)),
    "aria2": lambda x: x * (1 + torch.exp(-2 * x)) ** -1.5,
    "elish": lambda x: neg_pos(x, (torch.exp(x) - 1) / (1 + torch.exp(-x)), x / (1 + torch.exp(-x))),
    "hardelish": lambda x: neg_pos(x, (torch.exp(x) - 1) * hinge((x + 1) / 2, 0.0, 1.0), x * hinge((x + 1) / 2, 0.0, 1.0)),
    "lisht": lambda x: x * torch.tanh(x),
    "flatten_swish": lambda x: neg_pos(x, torch.full_like(x, -0.2), x * sig(x) - 0.2),
    "hardswish": F.hardswish,
    "sinlu": lambda x: (x + torch.sin(x)) * sig(x),
    "squareplus": lambda x: 0.5 * (x + torch.sqrt(x * x + 4)),
    "smelu": lambda x: torch.where(x <= -1, 0 * x, torch.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "gsmelu": lambda x: torch.where(x <= -1, 0 * x, torch.where(x >= 1, x, (x + 1) ** 2 / 4)),
    "sau": lambda x: 0.625 * x + 0.375 * (x * (2 * phi(x) - 1) + math.sqrt(2 / math.pi) * torch.exp(-(x**2) / 2)),
    "bent_identity": lambda x: x + (torch.hypot(x, torch.ones_like(x)) - 1) / 2,
    "srs": lambda x: x / (x / 5 + torch.exp(-x / 3)),
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "softsign": F.softsign,
    "elliott": lambda x: 0.5 * F.softsign(x) + 0.5,
    "isru": lambda x: x / torch.hypot(x, torch.ones_like(x)),
    "penalised_tanh": lambda x: F.leaky_relu(torch.tanh(x), 0.25),
    "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 * x / 3),
    "symlog": lambda x: x.sign() * torch.log(1 + x.abs()),
    "tanhshrink": F.tanhshrink,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "sine": lambda x: torch.sin(30 * x),
    "snake": lambda x: x + (1 - torch.cos(2 * x)) / 2,
    "snake_axis": lambda x: x + (1 - torch.cos(2 * x)) / 2,
    "gcu": lambda x: x * torch.cos(x),
    "dra": lambda x: x,
    "sinc": lambda x: torch.sinc(x / math.pi),
    "gaussian": lambda x: torch.exp(-x.pow(2)),
    "ricker": lambda x: (1 - x.pow(2)) * torch.exp(-x.pow(2) / 2),
    "max_sigmoid": lambda x: torch.maximum(x, sig(x)),
    "cos_minus": lambda x: torch.cos(x) - x,
    "min_sin": lambda x: torch.minimum(x, torch.sin(x)),
    "atan_squared": lambda x: torch.arctan(x).square() - x,
    "max_tanh": lambda x: torch.maximum(x, torch.tanh(x)),
    "sinc_plus": lambda x: torch.sinc(x / math.pi) + x,
    "asinh_squared": lambda x: x * torch.arcsinh(x).square(),
    "pau": lambda x: (
        _polynomial(x, [0.02996348, 0.61690165, 2.37539147, 3.06608078, 1.52474449, 0.25281987])
        / (1 + _polynomial(x, [0.0, 1.19160814, 4.40811795, 0.91111034, 0.34885983]).abs())
    ),
    "helu": F.relu,
    "regelu2": F.gelu,
    "resilu2": F.silu,
    "fires": lambda x: (x > 0).double(),
    "step": lambda x: (x > 0).double(),
    "spike_at": lambda x: (x >= 0).double(),
    "step_sigmoid": lambda x: (x > 0).double(),
    "step_fast": lambda x: (x > 0).double(),
    "step_triangle": lambda x: (x > 0).double(),
    "sign_through": torch.sign,
    "round_through": torch.round,
}

SLOPES = {
    "helu": lambda x: (x > -0.05).double(),
    "regelu2": lambda x: _steps(x, [-3.1858810036855245, -0.001178821281161997, 3.190832613414926], [-0.0492226, 1.0979632, -0.0487406]),
    "resilu2": lambda x: _steps(x, [-6.3050461001646445, -0.0008684942046214787, 6.325815242089708], [-0.0406036, 1.0809254, -0.0403219]),
    "fires": torch.ones_like,
    "step": lambda x: 1 / (1 + (math.pi * x) ** 2),
    "spike_at": lambda x: 1 / (1 + (math.pi * x) ** 2),
    "step_sigmoid": lambda x: 4 * sig(4 * x) * sig(-4 * x),
    "step_fast": lambda x: 1 / (1 + 25 * x.abs()) ** 2,
    "step_triangle": lambda x: torch.relu(1 - x.abs()),
    "sign_through": lambda x: (x.abs() <= 1).double(),
    "round_through": torch.ones_like,
}


def _steps(x, edges, heights):
    return sum(h * (x > e).to(x.dtype) for e, h in zip(edges, heights))


def _polynomial(x, coefficients):
    return sum(c * x**k for k, c in enumerate(coefficients))


def begins(name: str, like: torch.Tensor) -> dict[str, torch.Tensor]:
    """An act's learned parameters at their start."""
    return {p.name: torch.tensor(p.init, dtype=like.dtype) for p in ACTS[name].learned}


def apply(name: str, x: torch.Tensor, learned: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    return generated(ACTS[name]).apply(x, *(learned or begins(name, x)).values())


def test_the_library_is_whole():
    assert len(ACTS) >= 45
    assert set(FORMULAS) == set(ACTS)
    assert set(SLOPES) == {n for n, a in ACTS.items() if a.custom}


@pytest.mark.parametrize("name", sorted(ACTS))
def test_forward_equals_an_independent_formula(name):
    torch.testing.assert_close(apply(name, GRID), FORMULAS[name](GRID), rtol=1e-8, atol=2e-9)


@pytest.mark.parametrize("name", sorted(ACTS))
def test_float_evaluator_equals_torch(name):
    start = {p.name: p.init for p in ACTS[name].learned}
    values = [evaluate(ACTS[name].forward, {"x": v.item(), **start}) for v in GRID[::7]]
    torch.testing.assert_close(torch.tensor(values, dtype=torch.float64), apply(name, GRID[::7]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", PLAIN)
def test_derived_gradients_pass_gradcheck(name):
    x = GRID[::5].clone().requires_grad_()
    learned = {k: (v + 0.1).requires_grad_() for k, v in begins(name, x).items()}
    if name == "pdelu":
        x = (x * 1.3).detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *w: apply(name, x, dict(zip(learned, w))), (x, *learned.values()), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", PLAIN)
def test_gradient_equals_autograd_of_the_formula(name):
    x = GRID.clone().requires_grad_()
    (ours,) = torch.autograd.grad(apply(name, x).sum(), x)
    (theirs,) = torch.autograd.grad(FORMULAS[name](x).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=5e-9)


@pytest.mark.parametrize("name", sorted(SLOPES))
def test_declared_slopes_are_used(name):
    x = GRID.clone().requires_grad_()
    (ours,) = torch.autograd.grad(apply(name, x).sum(), x)
    torch.testing.assert_close(ours, SLOPES[name](GRID), rtol=1e-9, atol=1e-6 if "2" in name else 1e-12)


EXTREMES = [0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 6.0, 20.0, -20.0, 88.0, -88.0, 89.0, -89.0, 710.0, -710.0, 1e4, -1e4]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", sorted(ACTS))
def test_extreme_inputs_give_no_nan(name, dtype):
    x = torch.tensor(EXTREMES, dtype=dtype).requires_grad_()
    learned = {k: v.requires_grad_() for k, v in begins(name, x).items()}
    y = apply(name, x, learned)
    assert y.dtype is dtype
    assert not y.isnan().any()
    grads = torch.autograd.grad(y.sum(), [x, *learned.values()])
    for given, grad in zip([x, *learned.values()], grads):
        assert grad.dtype is given.dtype
        assert not grad.isnan().any(), dict(zip(EXTREMES, grad.tolist())) if grad.dim() else grad
        assert grad.dim() == 0 or grad.isfinite().all()


def test_golu_is_stable_in_half_precision():
    x = torch.tensor([-6e4, -1e4, -20.0, 0.0, 1e4, 6e4], dtype=torch.float16).requires_grad_()
    y = apply("golu", x)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert y.tolist() == [0, 0, 0, 0, 1e4, 6e4]
    assert grad.tolist()[:3] == [0, 0, 0]
    assert grad[3].item() == pytest.approx(1 / math.e, rel=torch.finfo(torch.float16).eps)  # exp(-1), rounded once
    assert grad.tolist()[4:] == [1, 1]


@pytest.mark.parametrize("name", sorted(ACTS))
def test_float32_is_close_to_float64(name):
    x = torch.linspace(-12, 12, 301, dtype=torch.float64)
    single, double = x.float().requires_grad_(), x.float().double().requires_grad_()
    a, b = apply(name, single), apply(name, double)
    (da,), (db,) = torch.autograd.grad(a.sum(), single), torch.autograd.grad(b.sum(), double)
    speed = 30 if name == "sine" else 1  # sin(30 x): what is inside moves 30 times as far, and its slope 30 times that
    assert units(a, b, speed * x, b) <= ROOM
    assert units(da, db, speed**2 * x, db) <= ROOM


KNOWN = {
    "identity": "x",
    "relu": "torch.relu(x)",
    "relu6": "F.relu6(x)",
    "silu": "F.silu(x)",
    "gelu": "F.gelu(x)",
    "gelu_tanh": 'F.gelu(x, approximate="tanh")',
    "elu": "F.elu(x)",
    "selu": "F.selu(x)",
    "leaky_relu": "F.leaky_relu(x, 0.01)",
    "mish": "F.mish(x)",
    "hardswish": "F.hardswish(x)",
    "hardsigmoid": "F.hardsigmoid(x)",
    "hardtanh": "F.hardtanh(x)",
    "softsign": "F.softsign(x)",
    "tanhshrink": "F.tanhshrink(x)",
    "softshrink": "F.softshrink(x, 0.5)",
    "hardshrink": "F.hardshrink(x, 0.5)",
    "threshold": "F.threshold(x, 0, 0)",
}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_torch_own_functions_are_recognised(name):
    source = torch_text(ACTS[name].forward, "x", "x")
    assert source == KNOWN[name]
    x = GRID.clone().requires_grad_()
    y = eval(source, {"torch": torch, "F": F, "x": x})
    torch.testing.assert_close(y, apply(name, x), rtol=1e-8, atol=2e-9)
    (theirs,) = torch.autograd.grad(y.sum(), x)
    (ours,) = torch.autograd.grad(apply(name, x).sum(), x)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=5e-9)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("act f(x) = if x > 0 then x else 0.3 * (exp(x) - 1)", "F.elu(x, 0.3)"),
        ("act f(a = 2.0)(z) = if z > 0 then z else a * (exp(z / a) - 1)", "F.celu(x, 2)"),
        ("act f(x) = x / (1 + exp(-x))", "F.silu(x)"),
        ("act f(x) = log(1 + exp(3 * x)) / 3", "F.softplus(x, 3)"),
        ("act f(x) = clamp(x, -2, 0.5)", "F.hardtanh(x, -2, 0.5)"),
        ("act f(x) = x -> tanh", "torch.tanh(x)"),
        ("act relu(x) = max(x, 0.1)", None),
        ("act silu(x) = x * sigmoid(1.1 * x)", None),
        ("act elu(x) = if x > 0 then x else 1 - exp(x)", None),
        ("act softshrink(x) = if x > 0.5 then x - 0.5 else if x < -0.4 then x + 0.5 else 0", None),
    ],
)
def test_recognition_goes_by_formula_not_by_name(text, source):
    lowered = act(text)
    assert torch_text(lowered.forward, lowered.inputs[0], "x") == source


def test_statics_defaults_and_overrides():
    elu = act("act elu(alpha = 1.0)(x) = if x > 0 then x else alpha * (exp(x) - 1)", alpha=0.25)
    assert elu.statics == (("alpha", 0.25),)
    assert evaluate(elu.forward, {"x": -1.0}) == pytest.approx(0.25 * math.expm1(-1))
    later = act("act f(a, b = 2 * a)(x; w = a + b) = w * x", a=3)
    assert later.statics == (("a", 3), ("b", 6))
    assert later.learned[0].init == 9
    assert act("act f(x; w = 1.0) = w * x", w=4).learned[0].init == 4


def test_acts_call_acts():
    lowered = act("""
        act gate(k = 1.0)(x) = sigmoid(k * x)
        act scaled(x; s = 2.0) = s * x
        act both(x; w = 1.0) = gate(k=3)(x) * scaled(x, s=w) + (x -> gate(2))
    """)
    x, w = 0.7, 1.3
    assert evaluate(lowered.forward, {"x": x, "w": w}) == pytest.approx(x * w / (1 + math.exp(-3 * x)) + 1 / (1 + math.exp(-2 * x)))
    assert not lowered.custom


def test_a_called_act_keeps_its_own_slope():
    lowered = act("""
        act spike(x; a = 1.0) = if a * x > 0 then a else 0     backward 7 * a
        act neuron(x; t = 0.5) = 2 * spike(3 * x - t, a=t)
    """)
    assert lowered.custom
    assert evaluate(lowered.forward, {"x": 1.0, "t": 0.5}) == 1.0
    assert evaluate(lowered.backward["x"], {"x": 1.0, "t": 0.5}) == 2 * 7 * 0.5 * 3
    assert evaluate(lowered.backward["t"], {"x": 1.0, "t": 0.5}) == 2 * (-7 * 0.5 + 1)


def test_names_are_found_where_an_act_was_declared():
    """A resolver may hand over the place an act was declared in; its own names are looked up there."""
    library = declarations("act inner(x) = 2 * x\nact outer(x) = inner(x)")
    user = declarations("act inner(x) = 100 * x\nact mine(x) = outer(x) + inner(x)")

    def resolve(name):
        return user.get(name) or ((library[name], library.get) if name in library else None)

    lowered = lower_act(user["mine"], {}, resolve)
    assert evaluate(lowered.forward, {"x": 1.0}) == 102


def test_two_inputs():
    glu = act("act glu(a, b) = a * sigmoid(b)")
    assert set(glu.backward) == {"a", "b"}
    a, b = (torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(generated(glu).apply, (a, b))


def test_learned_gradients_are_summed_over_all_but_their_axis():
    prelu = generated(ACTS["prelu"])
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    slope = torch.rand(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, a: prelu.apply(x, a.view(-1, 1)), (x, slope))
    (ours,) = torch.autograd.grad(prelu.apply(x, slope.view(-1, 1)).square().sum(), slope)
    (theirs,) = torch.autograd.grad(F.prelu(x, slope).square().sum(), slope)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["golu", "swish", "prelu_shared", "isru"])
def test_gradients_can_be_differentiated_again(name):
    x = GRID[::9].clone().requires_grad_()
    learned = {k: v.requires_grad_() for k, v in begins(name, x).items()}
    assert torch.autograd.gradgradcheck(lambda x, *w: apply(name, x, dict(zip(learned, w))), (x, *learned.values()))


@pytest.mark.parametrize("name", ["golu", "prelu_shared", "step"])
def test_generated_functions_compile(name):
    function = generated(ACTS[name])
    learned = list(begins(name, GRID).values())
    compiled = torch.compile(lambda x: function.apply(x, *learned) * 2, backend="aot_eager", fullgraph=True)
    x, y = GRID.clone().requires_grad_(), GRID.clone().requires_grad_()
    a, b = compiled(x), function.apply(y, *learned) * 2
    a.sum().backward()
    b.sum().backward()
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(x.grad, y.grad)


def test_generated_text_reads_well():
    assert (
        class_source("Swish", ACTS["swish"])
        == '''@with_kernel
class Swish(torch.autograd.Function):
    """swish(x) = x * sigmoid(beta * x)."""

    formula = """
{"inputs": ["x"], "learned": ["beta"], "value": ["x", "beta", ["mul", 1, 0], ["sigmoid", 2], ["mul", 0, 3]]}
    """

    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, grad):
        x, beta = ctx.saved_tensors
        sigmoid = torch.sigmoid(beta * x)
        product = sigmoid * (1 - sigmoid)
        return (sigmoid + x * (product * beta)) * grad, (x * (product * x) * grad).sum_to_size(beta.shape)
'''
    )


def test_names_of_a_spec_cannot_break_the_text():
    odd = act('act lambda(grad, torch; ctx = 1.0) = grad * torch * ctx + exp(grad)   # """ \\')
    function = generated(odd)
    a, b = (torch.randn(3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    w = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function.apply, (a, b, w))


REFUSED = [
    ("AD0280", "act f(x) = x + betta"),
    ("AD0280", "act f(x) = sigmiod(x)"),
    ("AD0281", "act f(x) = exp(x, 2)"),
    ("AD0281", "act g(a, b) = a * b\nact f(x) = g(x)"),
    ("AD0281", "act g(k = 1.0)(x) = k * x\nact f(x) = g(q=2)(x)"),
    ("AD0281", "act g(k = 1.0)(x) = k * x\nact f(x) = g(k=x)(x)"),
    ("AD0281", "act g(x; w = 1.0) = w * x\nact f(x) = g(x)"),
    ("AD0281", "act f(k)(x) = k * x"),
    ("AD0280", "act f(x; w = x) = w * x"),
    ("AD0281", "act f(x) = exp(x=x)"),
    ("AD0282", "act f(x) = x @ x"),
    ("AD0282", 'act f(x) = "relu"'),
    ("AD0282", "act f(x) = [x, x]"),
    ("AD0282", "act f(x) = exp"),
    ("AD0282", "act f(x) = x(2)"),
    ("AD0283", "act f(x) = f(x - 1)"),
    ("AD0283", "act g(x) = f(x)\nact f(x) = g(x)"),
    ("AD0285", "act f(x) = imag(x)"),
    ("AD0286", "act f(x, x) = x"),
    ("AD0286", "act f(x)(x) = x"),
    ("AD0286", "act f(x; w: [3] = 1.0) = w * x"),
    ("AD0288", "act f(a, b) = a * b backward a"),
]


@pytest.mark.parametrize(("code", "text"), REFUSED)
def test_refused_with_a_place_and_a_reason(code, text):
    with pytest.raises(ArchError) as caught:
        act(text)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == code
    assert diagnostic.title
    assert diagnostic.span is not None


def test_did_you_mean():
    with pytest.raises(ArchError) as caught:
        act("act f(x) = sigmiod(x)")
    assert "sigmoid" in caught.value.diagnostics[0].hint


@pytest.mark.parametrize(
    "text",
    [
        "act a0(x) = x * x + 1\n" + "\n".join(f"act a{i}(x) = a{i - 1}(a{i - 1}(x))" for i in range(1, 40)),
        "act a0(x) = x + 1\n" + "\n".join(f"act a{i}(x) = a{i - 1}(x)" for i in range(1, 400)),
    ],
)
def test_hostile_expansion_is_stopped(text):
    with pytest.raises(ArchError) as caught:
        act(text)
    assert caught.value.diagnostics[0].code == "AD0284"


def test_wide_sharing_stays_small():
    """Each act doubles the size as text; as a graph it grows by a node."""
    text = "act a0(x) = tanh(x)\n" + "\n".join(f"act a{i}(x) = sin(a{i - 1}(x)) + cos(a{i - 1}(x))" for i in range(1, 25))
    lowered = act(text)
    assert evaluate(derivative(lowered.forward, "x"), {"x": 0.3}) == pytest.approx(
        (evaluate(lowered.forward, {"x": 0.3 + 1e-6}) - evaluate(lowered.forward, {"x": 0.3 - 1e-6})) / 2e-6, rel=1e-4, abs=1e-6
    )


@pytest.mark.row("golu")
def test_golu_landmarks():
    golu = ACTS["golu"]
    assert evaluate(golu.forward, {"x": -0.567143}) == pytest.approx(-0.09726, abs=1e-5)
    assert evaluate(golu.backward["x"], {"x": -0.567143}) == pytest.approx(0, abs=1e-5)
    assert evaluate(golu.backward["x"], {"x": 0.0}) == pytest.approx(0.367879, abs=1e-6)
    assert evaluate(golu.backward["x"], {"x": 2.24}) == pytest.approx(1.113397, abs=1e-4)


@pytest.mark.row("smelu")
def test_smelu_joins_smoothly():
    found = declarations(STD.read_text(encoding="utf-8"))
    for beta in (0.1, 0.5, 1.0):
        smelu = lower_act(found["smelu"], {"beta": beta}, found.get)
        assert evaluate(smelu.backward["x"], {"x": 0.0}) == pytest.approx(0.5)
        for joint, slope in ((-beta, 0), (beta, 1)):
            for side in (-1e-9, 1e-9):
                assert evaluate(smelu.backward["x"], {"x": joint + side}) == pytest.approx(slope, abs=1e-6)
        gap = max(abs(evaluate(smelu.forward, {"x": v}) - max(v, 0)) for v in torch.linspace(-2, 2, 401).tolist())
        assert gap == pytest.approx(beta / 4, rel=1e-6)
    leaky = lower_act(found["gsmelu"], {"alpha": 1e-6, "beta": 1e-6, "left": 0.1}, found.get)
    assert evaluate(leaky.forward, {"x": -2.0}) == pytest.approx(-0.2, abs=1e-5)
    assert evaluate(leaky.forward, {"x": 2.0}) == pytest.approx(2, abs=1e-5)


@pytest.mark.row("sau")
def test_sau_is_leaky_relu_smoothed():
    found = declarations(STD.read_text(encoding="utf-8"))
    alpha, beta = 0.1, 2.0
    sau = lower_act(found["sau"], {"alpha": alpha, "beta": beta}, found.get)
    t = torch.linspace(-8, 8, 400_001, dtype=torch.float64)
    kernel = beta / math.sqrt(2 * math.pi) * torch.exp(-((beta * t) ** 2) / 2)
    for v in (-1.5, -0.2, 0.0, 0.4, 2.0):
        exact = torch.trapezoid(F.leaky_relu(v - t, alpha) * kernel, t).item()
        assert evaluate(sau.forward, {"x": v}) == pytest.approx(exact, abs=1e-8)
    assert evaluate(sau.forward, {"x": 0.0}) == pytest.approx((1 - alpha) / (beta * math.sqrt(2 * math.pi)))


@pytest.mark.row("helu")
def test_helu_is_relu_forward_and_wider_backward():
    x = torch.linspace(-1, 1, 2001).requires_grad_()
    y = apply("helu", x)
    assert torch.equal(y, F.relu(x))
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(grad, (x > -0.05).float())


@pytest.mark.row("polycom")
def test_polyrelu_special_cases():
    forward = ACTS["polyrelu"].forward
    for coefficients, expected in (((0, 1, 0, 0), F.relu(GRID)), ((0, 0, 1, 0), F.relu(GRID) ** 2)):
        fixed = substitute(forward, {f"a{i}": c for i, c in enumerate(coefficients)})
        torch.testing.assert_close(run(fixed, x=GRID), expected)
    assert [p.init for p in ACTS["polyrelu"].learned] == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])


@pytest.mark.row("crrelu-eafo")
def test_crrelu_without_correction_is_relu():
    assert substitute(ACTS["crrelu"].forward, {"eps": 0}) is ACTS["relu"].forward
    assert ACTS["crrelu"].learned[0].init == 0.01


def test_xielu_equals_the_published_module():
    transformers = pytest.importorskip("transformers.activations")
    if not hasattr(transformers, "XIELUActivation"):
        pytest.skip("this transformers has no xIELU")
    module = transformers.XIELUActivation(dtype=torch.float32, with_vector_loads=False)
    x = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(apply("xielu", x), module(x), rtol=1e-2, atol=1e-2)


def test_elu_mean_is_nearer_zero_than_relu():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4096, generator=generator, dtype=torch.float64)
    assert abs(apply("elu", x).mean()) < abs(apply("relu", x).mean())


def test_variables_and_parameters_do_not_mix():
    lowered = act("act f(x; w = 1.0) = w * x + w")
    assert substitute(lowered.forward, {"w": 2}) is 2 * var("x") + 2
