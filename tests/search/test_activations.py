"""Activation search: what the space holds, what its texts compute, and what a short search finds."""

import math
from itertools import islice
from pathlib import Path

import pytest
import torch

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.kernels import build, pointwise
from archdsl.search.activations import ActivationSpace, signature
from archdsl.search.base import Goal, Rejected, Trial, seeded
from archdsl.search.drivers.registry import NAMES, driver
from archdsl.search.regression import CurveFit

row = pytest.mark.row("swish_search")

FEW = """act identity(x) = x
act negated(x) = -x
act scaled(x; beta = 1.0) = beta * x
act logistic(x) = sigmoid(x)
act root(x) = sqrt(x)
act learned(x; beta = 1.0) = beta
act plus(a, b) = a + b
act times(a, b) = a * b
act gated(a, b) = sigmoid(a) * b
act over(a, b) = a / b
"""
FOUND = {  # the paper's best finds, each as words of the space and as a function
    "x sigmoid(beta x)": ({"left": "scaled", "right": "identity", "join": "gated"}, lambda x: x * x.sigmoid()),
    "max(x, sigmoid x)": ({"left": "identity", "right": "logistic", "join": "greater"}, lambda x: torch.maximum(x, x.sigmoid())),
    "cos x - x": ({"left": "cosine", "right": "identity", "join": "minus"}, lambda x: x.cos() - x),
    "min(x, sin x)": ({"left": "identity", "right": "sine", "join": "lesser"}, lambda x: torch.minimum(x, x.sin())),
    "max(x, tanh x)": ({"left": "identity", "right": "hyperbolic_tangent", "join": "greater"}, lambda x: torch.maximum(x, x.tanh())),
    "sinc x + x": ({"left": "cardinal_sine", "right": "identity", "join": "plus"}, lambda x: torch.sinc(x / math.pi) + x),
    "atan(x)^2 - x": (
        {"left": "arc_tangent", "right": "arc_tangent", "join": "times", "inputs": "f, x", "left2": "identity", "right2": "identity",
         "join2": "minus"},
        lambda x: x.atan() ** 2 - x,
    ),
    "x asinh(x)^2": (
        {"left": "area_sine", "right": "identity", "join": "times", "inputs": "f, x", "left2": "identity", "right2": "area_sine",
         "join2": "times"},
        lambda x: x * x.asinh() ** 2,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def space():
    return ActivationSpace()


@pytest.fixture(scope="module")
def found():
    two = ActivationSpace(2)
    return {name: (two.candidate(two.point(**words)), truth) for name, (words, truth) in FOUND.items()}


@pytest.fixture
def few(tmp_path: Path):
    path = tmp_path / "few.arch"
    path.write_text(FEW)
    return ActivationSpace(path=path)


def network(candidate, width=64):
    text = candidate.text() + f"arch Net(d = {width}) {{\n    in x: [T, d]\n    return x -> found\n}}\n"
    return archdsl.parse(text).build(dtype=torch.float64)


@row
def test_one_unit_functions_are_counted(space):
    assert (len(space.unary), len(space.binary)) == (25, 10)
    assert space.count().number == 25**2 * 10
    points = list(space.points())
    assert len(points) == len({tuple(p.items()) for p in points}) == 25**2 * 10
    two = ActivationSpace(2)
    assert two.count().number == 6250 + 6250 * 3 * 6250
    assert list(islice(two.points(), 6251))[-1]["units"] == 1


@row
def test_duplicates_are_found_by_their_values(few):
    """6 x 6 x 4 points, told apart by hand."""
    texts = {c.text() for c in few.distinct()}
    assert few.count().number == 144
    keys = [c.key for c in few.distinct()]
    assert len(keys) == len(set(keys)) == len(texts)

    def key(left, right, join):
        return few.candidate(few.point(left=left, right=right, join=join)).key

    assert key("identity", "logistic", "times") == key("logistic", "identity", "times") == key("identity", "identity", "gated")
    assert key("scaled", "identity", "plus") == key("identity", "scaled", "plus")  # one learned number, whichever side
    assert key("negated", "negated", "times") == key("identity", "identity", "times")
    assert key("scaled", "learned", "plus") == key("learned", "scaled", "plus")  # two, by whatever names
    assert key("scaled", "identity", "gated") != key("identity", "identity", "gated")  # equal where beta begins, not as it learns
    assert key("identity", "negated", "plus") == key("negated", "identity", "plus")
    with pytest.raises(Rejected, match="value is nan"):
        key("root", "identity", "plus")
    with pytest.raises(Rejected, match="value is nan at x = 0"):
        key("identity", "identity", "over")


@row
def test_the_space_holds_silu_and_the_published_finds(space, found):
    silu = archdsl.parse('import "std/activations.arch"\narch A(d = 4) {\n in x: [d]\n return x -> silu\n}\n')
    ours = space.candidate(space.point(left="identity", right="logistic", join="times"))
    assert ours.text() == "act found(x) = x * sigmoid(x)\n"
    assert signature(ours.act) == signature(silu.graph.root.nodes[0].attrs.act)
    x = torch.linspace(-4, 4, 65, dtype=torch.float64).view(1, 1, 65)
    for candidate, truth in found.values():
        torch.testing.assert_close(network(candidate, 65)(x), truth(x), rtol=1e-12, atol=1e-12)


@row
def test_compiled_kernels_equal_eager(found, space, monkeypatch):
    try:
        build.compiler()
    except build.NoCompiler:
        pytest.skip("no C compiler")
    ran = []
    forward = pointwise.Kernel.forward
    monkeypatch.setattr(pointwise.Kernel, "forward", lambda *a: (ran.append(1), forward(*a))[1])
    rng = seeded("kernels")
    drawn = []
    while len(drawn) < 3:
        try:
            drawn.append(space.candidate(space.sample(rng)))
        except Rejected:
            continue
    chosen = [candidate for name, (candidate, _) in found.items() if name in ("x sigmoid(beta x)", "x asinh(x)^2")]
    for candidate in [*chosen, *drawn]:
        model = network(candidate)
        results = []
        for smallest in (0, 10**9):
            monkeypatch.setattr(pointwise, "SMALLEST", smallest)
            torch.manual_seed(0)
            x = torch.randn(2, 8, 64, dtype=torch.float64, requires_grad=True)
            y = model(x)
            results.append([y, *torch.autograd.grad(y.sum(), [x, *model.parameters()])])
        for by_kernel, eager in zip(*results, strict=True):
            torch.testing.assert_close(by_kernel, eager, rtol=1e-9, atol=1e-9)
    assert ran


@row
def test_swish(found):
    """beta = 0 is x/2, beta to infinity ReLU, beta = 1 SiLU with its minimum of -0.2785 at -1.2785."""
    model = network(found["x sigmoid(beta x)"][0])
    (beta,) = model.parameters()
    assert beta.item() == 1
    x = torch.linspace(-5, 5, 64 * 2000, dtype=torch.float64).view(1, -1, 64)
    with torch.no_grad():
        y = model(x)
        assert y.min().item() == pytest.approx(-0.278464542761, abs=1e-8)
        assert x.flatten()[y.argmin()].item() == pytest.approx(-1.27846454276, abs=1e-4)
        beta.fill_(0.0)
        torch.testing.assert_close(model(x), x / 2)
        beta.fill_(1e6)
        torch.testing.assert_close(model(x), x.relu(), rtol=0, atol=1e-6)


@row
def test_constants_come_last(space):
    """A short search for the activation of a small network on a curve: functions like SiLU and ReLU above constants."""
    fit = CurveFit(points=64)
    goals = (Goal("loss"),)

    def measured(number, point):
        try:
            candidate = space.candidate(point)
        except Rejected:
            return Trial(number, point, "failed")
        loss = fit(candidate, 0, 60, lambda step, value: False)["loss"]
        return Trial(number, point, "complete", (loss,), candidate.key)

    named = {
        "silu": ("identity", "logistic", "times"), "relu": ("positive", "positive", "greater"), "swish": ("scaled", "identity", "gated"),
        "zero": ("identity", "identity", "minus"), "one": ("identity", "identity", "near"), "learned": ("learned", "learned", "plus"),
    }  # fmt: skip
    loss = {}
    history = []
    for name, (left, right, join) in named.items():
        history.append(measured(len(history), space.point(left=left, right=right, join=join)))
        loss[name] = history[-1].values[0]
    evolution = driver("evolution", {"population": 8, "tournament": 4})
    for number in range(len(history), 26):
        history.append(measured(number, evolution.propose(space, goals, history, seeded(1, number), number).point))
    assert max(loss[n] for n in ("silu", "relu", "swish")) < 0.8 * min(loss[n] for n in ("zero", "one", "learned"))
    best = min(t.values[0] for t in history if t.values)
    assert best < loss["silu"]  # the search found something for this curve that is better still


@row
@pytest.mark.slow
def test_every_function_of_one_unit(space):
    """All 6,250: how many are functions at all, and how many differ."""
    candidates = list(space.distinct())
    assert len(candidates) == 3709
    silu = space.candidate(space.point(left="identity", right="logistic", join="times")).key
    assert silu in {c.key for c in candidates}
    for candidate in candidates[::150]:  # what is written is what was measured
        spec = archdsl.parse(candidate.text() + "arch A(d = 4) {\n in x: [d]\n return x -> found\n}\n")
        assert signature(spec.graph.root.nodes[0].attrs.act) == candidate.key


@pytest.mark.parametrize("name", [n for n in NAMES if n != "gp"])
def test_drivers_search_it(name):
    """By a made-up measure that likes few operations and SiLU's value at 1: all drivers run, on points of one and of two units."""
    space = ActivationSpace(2)
    history: list[Trial] = []
    for number in range(24):
        proposal = driver(name, {"population": 8} if name in ("evolution", "nsga2", "nsga3", "cmaes") else {}).propose(
            space, (Goal("far"),), history, seeded(name, number), number
        )
        try:
            candidate = space.candidate(proposal.point)
        except Rejected:
            history.append(Trial(number, proposal.point, "failed"))
            continue
        history.append(Trial(number, proposal.point, "complete", (candidate.costs["operations"],), candidate.key))
    assert sum(t.status == "complete" for t in history) >= (0 if name == "exhaustive" else 20)


def test_points_change_by_one_decision(space):
    rng = seeded("mutations")
    two = ActivationSpace(2)
    for each in (space, two):
        for _ in range(50):
            point = each.sample(rng)
            other = each.mutate(point, rng)
            assert each.open(other) is None
            assert other != point
            child = each.cross(point, other, rng)
            assert each.open(child) is None
            assert all(child[p] in (point.get(p), other.get(p)) for p in child)


def test_drawing_is_alike_by_derivations_and_by_choices():
    two = ActivationSpace(2)
    rng = seeded("draws")
    units = [two.sample(rng)["units"] for _ in range(200)]
    assert sum(units) == 200  # one in 18,751 points has one unit
    assert 60 < sum(two.sample(rng, "choices")["units"] for _ in range(200)) < 140


@pytest.mark.parametrize("text", ["act sine(x) = sin(x)\n", "act plus(a, b) = a + b\n", FEW + "act steep(s = 2)(x) = s * x\n"])
def test_a_file_that_does_not_fit_is_told(tmp_path, text):
    path = tmp_path / "parts.arch"
    path.write_text(text)
    with pytest.raises(ArchError, match="AD1019"):
        ActivationSpace(path=path)
