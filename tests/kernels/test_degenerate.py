"""Steps at the edge (tests/recurrence/degenerate.py) through check, build, every form and decoding: what the loop as written gives."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

import archdsl
from archdsl.kernels import build
from archdsl.scanning.explain import explain_scan
from tests.recurrence.degenerate import STEPS, drawn
from tests.recurrence.steps import difference

ROUTES = {"kernel": "1", "forms": "0", "loop": "loop"}
DRAWN = {f"drawn {seed}": drawn(seed) for seed in range(30)}
LENGTHS = torch.tensor([7, 2, 0])


@cache
def spec(name: str, final: bool) -> Any:
    step = (STEPS | DRAWN)[name]
    return archdsl.parse(f"scan s {{ in x: [d]; {step} }}\narch A {{ in x: [T, 3] lengths; return s(x{', final=true' * final}) }}")


def model(name: str, route: str, final: bool = True) -> Any:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setenv("ARCHDSL_KERNELS", ROUTES[route])
        return spec(name, final).build(dtype=torch.float64, seed=1)


def outputs(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, tuple) else [found]


def outcome(module: Any, yields: int, lengths: Tensor | None) -> list[Tensor]:
    """Yields within each sequence's length, final states, and the gradients of the input and all weights."""
    torch.manual_seed(0)
    x = torch.randn(3, 7, 3, dtype=torch.float64, requires_grad=True)
    found = outputs(module(x) if lengths is None else module(x, lengths=lengths))
    if lengths is not None:
        real = torch.arange(7) < lengths[:, None]
        found[:yields] = [torch.where(real.view(3, 7, *[1] * (y.dim() - 2)), y, torch.zeros_like(y)) for y in found[:yields]]
    total = sum((y.abs().square().sum() for y in found if y.requires_grad), torch.zeros(()))
    leaves = [x, *module.parameters()]
    if total.requires_grad:
        return [*found, *torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)]
    return [*found, *map(torch.zeros_like, leaves)]


def hold(found: list[Tensor], wanted: list[Tensor]) -> None:
    assert [(f.shape, f.dtype) for f in found] == [(w.shape, w.dtype) for w in wanted]
    assert all(difference(f, w) < 1e-10 if w.dtype != torch.bool else torch.equal(f, w) for f, w in zip(found, wanted))


def _compiler() -> bool:
    try:
        build.compiler()
    except build.NoCompiler:
        return False
    return True


@pytest.mark.parametrize("route", ["kernel", "forms"])
@pytest.mark.parametrize("name", [*STEPS, *list(DRAWN)[:6]])
def test_each_form_gives_what_the_loop_gives(name: str, route: str) -> None:
    if route == "kernel" and not _compiler():
        pytest.skip("no C compiler")
    ours, plain = model(name, route), model(name, "loop")
    scan = next(n for n in spec(name, True).graph.root.nodes if n.op == "scan")
    yields = len(scan.instance.region.outputs)
    for lengths in (None, LENGTHS):
        hold(outcome(ours, yields, lengths), outcome(plain, yields, lengths))
    if route == "kernel" and getattr(ours.s, "kernel", None) is not None:
        assert ours.s.kernel._ready == {torch.float64: True}


@pytest.mark.parametrize("name", list(DRAWN)[6:])
def test_drawn_steps(name: str) -> None:
    ours, plain = model(name, "forms"), model(name, "loop")
    yields = len(next(n for n in spec(name, True).graph.root.nodes if n.op == "scan").instance.region.outputs)
    hold(outcome(ours, yields, LENGTHS), outcome(plain, yields, LENGTHS))


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", STEPS)
@torch.inference_mode()
def test_decoding(name: str, route: str) -> None:
    if route == "kernel" and not _compiler():
        pytest.skip("no C compiler")
    module, x = model(name, route, final=False), torch.randn(2, 7, 3, dtype=torch.float64)
    first, state = module.prefill(x[:, :3])
    second, state = module.step(x[:, 3:4], state)
    third, state = module.step(x[:, 4:], state)
    hold([torch.cat(p, 1) for p in zip(*map(outputs, (first, second, third)))], outputs(module(x)))


@pytest.mark.parametrize("name", [*STEPS, *list(DRAWN)[:6]])
def test_checked_and_explained(name: str) -> None:
    whole = spec(name, False)
    assert all(w.code.startswith("AD07") for w in whole.warnings)
    assert explain_scan(next(n for n in whole.graph.root.nodes if n.op == "scan").instance)


def test_by_hand() -> None:
    """The step before, from what a state begins with."""
    x = torch.arange(1.0, 13).view(1, 4, 3).double()
    for route in ROUTES:
        if route != "kernel" or _compiler():
            assert model("delay", route, final=False)(x)[0, :, 0].tolist() == [0, 1, 4, 7]
            assert model("two back", route, final=False)(x)[0, :, 0].tolist() == [1, 0, 1, 4]
            assert model("swapped", route, final=False)(x)[0, :, 0].tolist() == [1, 5, 7, 11]
            assert model("nothing kept, one yield", route, final=False)(x)[0, :, 0].tolist() == [2, 8, 14, 20]


# step, inputs of the model, call; what stands for each input in a call of the same scan where all have the lead axes written out
LEADS = {
    "one without heads": ("in k: [d]; in x: [d]; state h: [d] = 0; h' = 0.5 * h + x * k; yield h'", "in k: [2, T, 3]; in x: [T, 3]", "k, x"),
    "first without heads": ("in x: [d]; in k: [d]; state h: [d] = 0; h' = 0.5 * h + x * k; yield h'", "in x: [T, 3]; in k: [2, T, 3]", "x, k"),
    "one head for all": ("in k: [d]; in x: [d]; state h: [d] = 0; h' = x; yield h, x, h + k", "in k: [2, T, 3]; in x: [1, T, 3]", "k, x"),
    "one head, nothing else read": ("in k: [d]; in x: [d]; state h: [d] = 0; h' = x; yield h", "in k: [2, T, 3]; in x: [1, T, 3]", "k, x"),
    "nothing kept": ("in k: [d]; in x: [d]; yield 2 * x, k", "in k: [2, T, 3]; in x: [T, 3]", "k, x"),
    "a weight": ("in k: [d]; in x: [d]; state h: [d] = 0; h' = x; yield h + k, x", "in k: [2, T, 3]", "k, param([3] ~ normal(1))"),
    "a weight over time": ("in x: [d]; in k: [d]; state h: [d] = 0; h' = x; yield h, x, k", "in k: [4, 3]", "param([4, 3] ~ normal(1)), k"),
}  # fmt: skip


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("batch", [2, 3])
@pytest.mark.parametrize("name", LEADS)
def test_inputs_without_all_lead_axes(name: str, batch: int, route: str) -> None:
    """As if each were repeated along the axes that it lacks, and results that have them all."""
    if route == "kernel" and not _compiler():
        pytest.skip("no C compiler")
    step, declared, call = LEADS[name]
    parts = [part.split()[1][:-1] for part in declared.split("; ")]
    shapes = {"[2, T, 3]": (2, 4, 3), "[1, T, 3]": (1, 4, 3), "[T, 3]": (4, 3), "[4, 3]": (4, 3)}
    given = {n: torch.randn(batch, *shapes[part.split(": ")[1]], dtype=torch.float64) for n, part in zip(parts, declared.split("; "))}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setenv("ARCHDSL_KERNELS", ROUTES[route])
        module = archdsl.parse(f"scan s {{ {step} }}\narch A {{ {declared}; return s({call}) }}").build(dtype=torch.float64, seed=1)
        patch.setenv("ARCHDSL_KERNELS", "loop")
        every = archdsl.parse(f"scan s {{ {step} }}\narch A {{ in a: [2, T, 3]; in b: [2, T, 3]; return s(a, b) }}").build(
            dtype=torch.float64
        )
    names = [part.strip() for part in call.split(", param")[0].split(", ") if part in given]
    (weight,) = list(module.parameters()) or [None]
    whole = [given[n] for n in names]
    whole = [w.unsqueeze(1) if w.dim() == 3 else w for w in whole]
    if weight is not None:
        whole.insert(0 if call.startswith("param") else 1, weight.detach().expand(4, 3))
    wanted = outputs(every(*(w.expand(batch, 2, 4, 3) for w in whole)))
    found = outputs(module(**given))
    if name == "a weight over time":
        wanted = [w[:, 0] for w in wanted]
    hold(found, wanted)
