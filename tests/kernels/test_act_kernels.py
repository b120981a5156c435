"""Activations of emitted files: archdsl's C kernel where it can run them, plain torch everywhere else, the same numbers either way."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import archdsl
from archdsl.graph.expression_text import dump_act, load_act
from archdsl.kernels import build, pointwise
from tests.graph.formulas import standard
from tests.rounding import near, off

SPEC = """import "std/activations.arch"
act duo(a, b; w = 0.7) = a * sigmoid(w * b) + exp(-a * a)
act bent(x) = if x > 0 then x else 0.1 * x backward if x > 0 then 1 else 0.5 * exp(x)
arch A(d = 64) {
    in x: [T, d]
    y = x -> linear(d) -> swish -> linear(d) -> golu
    return duo(y, x -> pau -> bent) -> linear(d)
}
"""


def _missing(source: str) -> None:
    raise build.NoCompiler("there is none")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From here on nothing can be compiled or loaded."""
    pointwise.kernel.cache_clear()
    monkeypatch.setattr(pointwise, "load", _missing)
    yield
    pointwise.kernel.cache_clear()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what the kernels ran."""
    try:
        build.compiler()
    except build.NoCompiler:
        pytest.skip("no C compiler")
    seen: list[str] = []
    for name in ("forward", "backward"):
        own = getattr(pointwise.Kernel, name)
        monkeypatch.setattr(pointwise.Kernel, name, lambda *a, own=own, name=name: (seen.append(name), own(*a))[1])
    return seen


def results(model: nn.Module, dtype: torch.dtype) -> list[Tensor]:
    """The output, and the gradients of the input and of every parameter."""
    torch.manual_seed(0)
    x = torch.randn(2, 64, 64, dtype=torch.float64).to(dtype).requires_grad_()
    y = model(x)
    return [y.detach(), *torch.autograd.grad(y.square().sum(), [x, *model.parameters()])]


def exact(model: nn.Module) -> list[Tensor]:
    """The same in float64."""
    return results(copy.deepcopy(model).double(), torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_built_model_gives_the_same_with_kernels_and_without(
    dtype: torch.dtype, calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = archdsl.parse(SPEC).build(dtype=dtype)
    by_kernel = results(model, dtype)
    assert (calls.count("forward"), calls.count("backward")) == (5, 5)
    monkeypatch.setattr(pointwise, "SMALLEST", 10**9)
    plain = results(model, dtype)
    assert len(calls) == 10
    if dtype == torch.float64:
        assert max(map(off, by_kernel, plain)) < 1e-12
    else:
        near(by_kernel, plain, exact(model))
    assert len(plain) == 2 + len(list(model.parameters()))


def test_without_a_compiler_the_numbers_are_the_same(no_compiler: None, caplog: pytest.LogCaptureFixture) -> None:
    pointwise._tell.cache_clear()
    model = archdsl.parse(SPEC).build(dtype="float64")
    got = results(model, torch.float64)
    assert "there is none" in caplog.text
    x = torch.randn(2, 64, 64, dtype=torch.float64)
    beta = next(p for n, p in model.named_parameters() if n.endswith("beta"))
    first = next(m for m in model.modules() if isinstance(m, nn.Linear))(x)
    assert first.numel() >= pointwise.SMALLEST
    assert beta.numel() == 1
    assert all(t.isfinite().all() for t in got)


def test_the_file_alone_needs_no_archdsl(tmp_path: Path, calls: list[str]) -> None:
    """In a process that cannot import archdsl, the emitted file runs as plain torch."""
    spec = archdsl.parse(SPEC)
    (tmp_path / "model.py").write_text(spec.emit())
    torch.save(spec.build().state_dict(), tmp_path / "weights.pt")
    script = (
        "import sys; sys.modules['archdsl'] = None\n"
        "import torch, model\n"
        "m = model.create(); m.load_state_dict(torch.load('weights.pt')); torch.manual_seed(0)\n"
        "torch.save(m(torch.randn(2, 64, 64)).detach(), 'y.pt')\n"
    )
    subprocess.run([sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.')\n{script}"], cwd=tmp_path, check=True, timeout=60)
    torch.manual_seed(0)
    x = torch.randn(2, 64, 64)
    ours = spec.build()(x).detach()
    assert "forward" in calls
    near([ours], [torch.load(tmp_path / "y.pt")], [spec.build(dtype="float64")(x.double())])


def test_the_file_carries_the_formula_as_text() -> None:
    source = archdsl.parse(SPEC).emit()
    assert '{"inputs": ["x"], "learned": ["beta"], "value": ["x", "beta", ["mul", 1, 0], ["sigmoid", 2], ["mul", 0, 3]]}' in source
    assert source.count("@with_kernel") == 5


def test_what_learns_along_an_axis_stays_in_torch() -> None:
    source = archdsl.parse('import "std/activations.arch"\narch A { in x: [T, 8]; return x -> prelu(axis=-1) }').emit()
    assert "with_kernel" not in source


@pytest.mark.parametrize("compiled", [True, False])
def test_compile_and_export_take_the_torch_form(compiled: bool, calls: list[str]) -> None:
    model = archdsl.parse(SPEC).build()
    wanted, truth = results(model, torch.float32), exact(model)
    calls.clear()
    if compiled:
        near(results(torch.compile(model, backend="aot_eager", fullgraph=True), torch.float32), wanted, truth)
    else:
        torch.manual_seed(0)
        x = torch.randn(2, 64, 64, dtype=torch.float64).float()
        with torch.no_grad():
            exported = torch.export.export(model, (x,)).module()
            near([exported(x)], wanted[:1], truth[:1])
    assert calls == []


@pytest.mark.parametrize("name", sorted(standard()))
def test_an_act_survives_its_text(name: str) -> None:
    given = standard()[name]
    if any(p.per_axis for p in given.learned):
        return
    again = load_act(dump_act(given))
    assert again.forward == given.forward
    assert again.backward == given.backward
    assert (again.inputs, [p.name for p in again.learned], again.custom) == (given.inputs, [p.name for p in given.learned], given.custom)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"inputs": ["x"]}',
        '{"inputs": ["x"], "learned": [], "value": [["system", 0]]}',
        '{"inputs": ["x"], "learned": [], "value": ["x", ["exp", 7]]}',
        '{"inputs": ["x y"], "learned": [], "value": [1]}',
        '{"inputs": ["x"], "learned": [], "value": ["x", ["exp"]]}',
        json.dumps({"inputs": ["x"], "learned": [], "value": ["x; system()"]}),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not "):
        load_act(text)
