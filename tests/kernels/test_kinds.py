"""Scans given bools, whole numbers and floats of several widths: outputs of the kinds that the graph says, the same by every route."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import archdsl
from archdsl.diagnostics import ArchError
from archdsl.kernels import build
from tests.kernels.kinds import CASES, EDGE, TIME, given, outcome, outputs, spec
from tests.recurrence.steps import difference

ROOT = Path(__file__).parents[2]
ROUTES = {"kernel": "1", "forms": "0", "loop": "loop"}
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
SPIKING = ("spikes", "bools into floats", "bools and counts given", "bools kept of floats")  # a rounding may turn a bool over


@cache
def model(name: str, route: str, dtype: torch.dtype = torch.float64) -> Any:
    return built(spec(name), route, dtype)


def built(source: Any, route: str, dtype: torch.dtype) -> Any:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setenv("ARCHDSL_KERNELS", ROUTES[route])
        if route == "kernel":
            try:
                build.compiler()
            except build.NoCompiler:
                pytest.skip("no C compiler")
        return source.build(dtype=dtype, seed=3)


def kinds(name: str, dtype: torch.dtype) -> list[torch.dtype]:
    """What the graph says of the outputs."""
    return [{"float": dtype, "int": torch.int64, "bool": torch.bool}[v.type.kind] for v in spec(name).graph.root.outputs]


def hold(found: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-12) -> None:
    assert [f.shape for f in found] == [w.shape for w in wanted]
    for f, w in zip(found, wanted):
        assert difference(f.double(), w.double()) <= tolerance if w.is_floating_point() else torch.equal(f, w)


@pytest.mark.parametrize("route", ["kernel", "forms"])
@pytest.mark.parametrize("name", CASES)
def test_each_route_gives_the_loops_numbers_and_kinds(name: str, route: str) -> None:
    found, grads = outcome(model(name, route), given(name, torch.float64))
    wanted, slopes = outcome(model(name, "loop"), given(name, torch.float64))
    assert [y.dtype for y in found] == [y.dtype for y in wanted] == kinds(name, torch.float64)
    assert all(y.requires_grad for y, w in zip(found, wanted) if w.requires_grad)
    hold(found, wanted)
    hold(grads, slopes)


@pytest.mark.parametrize("name", ["reset first", "whole first", "compared", "bools and counts given"])
def test_gradients_flow(name: str) -> None:
    """By hand, not only as the loop has it: the state's share of a later output."""
    _, grads = outcome(model(name, "kernel"), given(name, torch.float64))
    assert all(float(g.abs().sum()) > 0 for g in grads)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", FLOATS[:3], ids=str)
@pytest.mark.parametrize("name", [n for n in CASES if n != "complex first"])  # torch has no complex numbers of half precision
def test_a_model_of_another_dtype_gives_that(name: str, dtype: torch.dtype, route: str) -> None:
    found, grads = outcome(model(name, route, dtype), given(name, dtype))
    wanted, slopes = outcome(model(name, "loop"), given(name, torch.float64))
    assert [y.dtype for y in found] == kinds(name, dtype)
    assert all(g.dtype == dtype for g in grads)
    if name not in SPIKING:
        tolerance = 0.04 if dtype != torch.float32 else 1e-5
        hold(found, wanted, tolerance)
        hold(grads, slopes, 2 * tolerance)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", [n for n in CASES if n != "whole to begin with"])  # what the state begins with is given once
@torch.inference_mode()
def test_decoding(name: str, route: str) -> None:
    module, inputs = model(name, route), given(name, torch.float64)
    whole = outputs(module(**inputs))
    pieces, state = [], None
    for start, end in ((0, 3), (3, 4), (4, TIME)):
        part = {n: x[:, start:end] for n, x in inputs.items()}
        out, state = module.prefill(**part) if state is None else module.step(**part, state=state)
        pieces.append(outputs(out))
    hold([torch.cat(column, 1) for column in zip(*pieces)], whole)
    assert [column[0].dtype for column in zip(*pieces)] == kinds(name, torch.float64)


def test_an_emitted_file_alone(tmp_path: Path) -> None:
    """All cases where archdsl cannot be imported."""
    for number, name in enumerate(CASES):
        (tmp_path / f"case{number}.py").write_text(model(name, "loop").spec_source)
        torch.save({n: x.detach() for n, x in given(name, torch.float64).items()}, tmp_path / f"case{number}.pt")
    code = f"""
import sys; sys.modules['archdsl'] = None
import importlib, torch
for k in range({len(CASES)}):
    model = importlib.import_module(f'case{{k}}').create(dtype=torch.float64, seed=3)
    torch.save(model(**torch.load(f'case{{k}}.pt')), f'out{{k}}.pt')
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for number, name in enumerate(CASES):
        found = outputs(torch.load(tmp_path / f"out{number}.pt"))
        assert [y.dtype for y in found] == kinds(name, torch.float64)
        hold(found, [y.detach() for y in outputs(model(name, "loop")(**given(name, torch.float64)))])


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_triton() -> None:
    """By its interpreter, in a process of its own; what has no kernel runs as the loop there too."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.kinds"], cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert {*EDGE, "reset first", "resets", "whole only", "bools kept", "bools and counts given"} <= report.keys()
    for name, results in report.items():
        wanted, slopes = outcome(model(name, "loop"), given(name, torch.float64))
        for (dtype, numbers), w in zip(results, [*wanted, *slopes], strict=True):
            assert dtype == str(w.dtype)
            assert difference(torch.tensor(numbers, dtype=torch.float64), w.double().flatten()) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("second", FLOATS, ids=str)
@pytest.mark.parametrize("first", FLOATS, ids=str)
def test_floats_of_two_widths(first: torch.dtype, second: torch.dtype, route: str) -> None:
    """What they come to together, in both orders, through the state as well."""
    text = "scan s { in a: [d]; in r: bool[]; in b: [d]; state h: [d] = 0; h' = 0.5 * h + a * b; yield h', (if r then a else b) }"
    module = built(_once(text + "\narch A { in a: [T, 3]; in r: bool[T]; in b: [T, 3]; return s(a, r, b) }"), route, torch.float32)
    torch.manual_seed(0)
    a, b = (torch.randn(2, TIME, 3).to(t).requires_grad_() for t in (first, second))
    r = torch.rand(2, TIME) > 0.5
    found, (da, db) = outcome(module, {"a": a, "r": r, "b": b})
    assert [y.dtype for y in found] == [torch.promote_types(first, second)] * 2
    assert (da.dtype, db.dtype) == (first, second)
    exact, slopes = outcome(module, {"a": a.detach().double().requires_grad_(), "r": r, "b": b.detach().double().requires_grad_()})
    for f, e in zip([*found, da, db], [*exact, *slopes]):
        assert difference(f.double(), e) < 0.05
    out, state = module.prefill(a[:, :3], r[:, :3], b[:, :3])
    assert state["s"]["h"].dtype == out[0].dtype == torch.promote_types(first, second)


@cache
def _once(text: str) -> Any:
    return archdsl.parse(text)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("name", [n for n in CASES if n != "complex first"])
def test_under_autocast(name: str, route: str) -> None:
    """Kinds stay, floats stay floats, and gradients reach the inputs and weights in their own dtype."""
    with torch.autocast("cpu", torch.bfloat16):
        found, grads = outcome(model(name, route, torch.float32), given(name, torch.float32))
    wanted, _ = outcome(model(name, "loop"), given(name, torch.float64))
    assert [y.is_floating_point() for y in found] == [w.is_floating_point() for w in wanted]
    assert [y.dtype for y in found if not y.is_floating_point()] == [w.dtype for w in wanted if not w.is_floating_point()]
    assert all(g.dtype == torch.float32 for g in grads)
    if name not in SPIKING:
        hold(found, wanted, 0.04)


@pytest.mark.parametrize("route", ["kernel", "forms"])
def test_half_precision_inputs_and_single_precision_weights(route: str) -> None:
    """As under autocast behind a linear map: the loop's dtype, not the first input's."""
    text = "scan s { in r: bool[]; in x: [d]; param a: [3] ~ uniform(0, 1); state h: [d] = 0; h' = (if r then 0 else a) * h + x; yield h' }"
    source = _once(text + "\narch A { in r: bool[T]; in x: [T, 3]; return s(r, linear(3)(x)) }")
    inputs = {n: given("reset first", torch.float32)[n] for n in ("r", "x")}
    with torch.autocast("cpu", torch.bfloat16):
        (found,), grads = outcome(built(source, route, torch.float32), inputs)
        (wanted,), slopes = outcome(built(source, "loop", torch.float32), inputs)
    assert found.dtype == wanted.dtype == torch.float32
    for f, w in zip([found, *grads], [wanted, *slopes]):
        assert difference(f, w) < 0.05


@pytest.mark.parametrize("name", ["reset first", "whole only", "bools and counts given"])
def test_compiled_and_exported(name: str) -> None:
    module, inputs = model(name, "kernel"), given(name, torch.float64)
    wanted, slopes = outcome(module, inputs)
    torch._dynamo.reset()
    found, grads = outcome(torch.compile(module, backend="aot_eager", fullgraph=True), inputs)
    hold(found, wanted)
    hold(grads, slopes)
    exported = torch.export.export(module, (), {n: x.detach() for n, x in inputs.items()})
    hold(outputs(exported.module()(**{n: x.detach() for n, x in inputs.items()})), wanted)


def test_whole_numbers_leave_their_kernel_to_others() -> None:
    """Only what is counted from step to step runs as the loop; the rest is worked out before, exactly, and keeps its kernel."""
    have = {name: getattr(model(name, "kernel").s, "kernel", None) is not None for name in CASES}
    assert {n for n, there in have.items() if not there} == {"counted", "counted beside", "large counts given"}


@pytest.mark.parametrize(
    ("scan", "said"),
    [
        ("in x: [d]; state n: int[d] = 0; n' = n + x; yield n'", "the state `n` holds whole numbers and is given real numbers"),
        ("in x: [d]; state n: bool[d] = 0; n' = n + 1; yield n'", "the state `n` holds bools and is given whole numbers"),
        (
            "in x: [d]; state h: [d] = 0; h' = complex(x, h); yield real(h')",
            "the state `h` holds real numbers and is given complex numbers",
        ),
        ("in x: [d]; state n: int[d] = zeros([d]); n' = n + 1; yield n'", "the state `n` holds whole numbers and is given real numbers"),
    ],
)
def test_a_state_cannot_hold_what_is_more_than_its_kind(scan: str, said: str) -> None:
    with pytest.raises(ArchError) as caught:
        archdsl.parse(f"scan s {{ {scan} }}\narch A {{ in x: [T, 3]; return s(x) }}")
    assert [d.code for d in caught.value.diagnostics] == ["AD0314"]
    assert said in str(caught.value)
