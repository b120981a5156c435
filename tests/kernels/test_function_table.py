"""Every function of the table in C and in Triton, value and adjoint, in both precisions, at sensible and at edge arguments."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from archdsl.graph.expressions import call, var
from archdsl.kernels import pointwise, scan_op
from archdsl.kernels.c_text import NoC
from archdsl.kernels.scan_source import source
from archdsl.kernels.triton.emit import Emitter
from archdsl.kernels.triton.triton_text import NoTriton
from archdsl.recurrence.step import Equation, StateOf, Step, Tensor
from tests.graph.table import DTYPES, act, columns, judged, step
from tests.kernels.test_scan_kernels import _compiler

ROOT = Path(__file__).parents[2]
compiled = pytest.mark.skipif(not _compiler(), reason="no C compiler")
triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_scans_in_c(dtype: torch.dtype) -> None:
    given = [c.view(1, 1, -1).requires_grad_() for c in columns(dtype)]
    (value,), _ = scan_op.run(scan_op.kernel(step(given[0].shape[-1])), given, [], [])
    assert judged(given, value, list(torch.autograd.grad(value.sum(), given))) == []


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_in_c(dtype: torch.dtype) -> None:
    given = columns(dtype)
    kernel = pointwise.kernel(act(), dtype)
    assert kernel is not None
    value = kernel.forward(tuple(given), ())
    assert judged(given, value, list(kernel.backward(torch.ones_like(value), tuple(given), ()))) == []


@triton
def test_scans_in_triton_by_its_interpreter() -> None:
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    assert said("-m", "tests.kernels.function_cases", env=env) == []


@triton
@pytest.mark.slow
def test_scans_in_triton_compile_for_a_gpu(tmp_path: Path) -> None:
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    assert said("-m", "tests.kernels.function_cases", "compile", env=env) is None


def said(*words: str, env: dict[str, str]) -> object:
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def simple(function: str) -> Step:
    parts = (Tensor("x", (3,), "input"), Tensor("h", (3,), "state"), Tensor("h'", (3,), "next"))
    body = call(function, var("x[i]")) + var("h[i]")
    return Step(parts, (Equation("h'", ("i",), (("i", 3),), (), body),), (StateOf("h", "h'", 0.0),), ("h'",))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("angle", "`angle` has no {} form: complex values are real and imaginary parts there"),
        ("trigamma", "no derivative is known for `trigamma`: the table ends with the second derivative of lgamma"),
    ],
)
def test_what_a_row_refuses_is_said_in_words(function: str, reason: str) -> None:
    with pytest.raises(NoC) as in_c:
        source(simple(function))
    with pytest.raises(NoTriton) as in_triton:
        Emitter(simple(function)).text()
    assert (str(in_c.value), str(in_triton.value)) == (reason.format("C"), reason.format("Triton"))
