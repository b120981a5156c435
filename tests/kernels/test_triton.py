"""Triton kernels by Triton's interpreter, which must be asked for before triton is imported: hence a process of its own, run once."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from archdsl.graph.expressions import var
from archdsl.kernels.triton import usable
from archdsl.kernels.triton.emit import Emitter
from archdsl.kernels.triton.triton_text import NoTriton
from archdsl.recurrence.step import Equation, StateOf, Step, Tensor

ROOT = Path(__file__).parents[2]
interpreted = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
DOUBLE = [f"{n} exact" for n in ("diagonal", "gate", "matrix", "delta", "gates")] + ["diagonal long", "diagonal one"]
SINGLE = [f"{n} single" for n in ("diagonal", "gate", "matrix", "delta", "gates")] + ["matrix strong", "diagonal strong"]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.triton_cases"], cwd=ROOT, env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@interpreted
@pytest.mark.parametrize("name", DOUBLE)
def test_the_kernel_is_the_step_loop_in_double_precision(report: dict[str, Any], name: str) -> None:
    assert report[name] < 1e-12


@interpreted
@pytest.mark.parametrize("name", SINGLE)
def test_the_kernel_is_the_step_loop_in_single_precision(report: dict[str, Any], name: str) -> None:
    assert report[name] < 1e-5


@interpreted
@pytest.mark.parametrize("name", ["gate second", "matrix second"])
def test_derivatives_of_derivatives(report: dict[str, Any], name: str) -> None:
    assert report[name] < 1e-12


@interpreted
def test_the_interpreter_serves_the_cpu(report: dict[str, Any]) -> None:
    assert report["usable"] == [True, ""]


@interpreted
def test_the_source_compiles_for_a_gpu(tmp_path: Path) -> None:
    """Down to machine code for sm_90, which needs no GPU at hand."""
    env = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.triton_compile"], cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_kernel_on_the_cpu_without_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    ok, reason = usable(dense(4), torch.zeros(1))
    assert not ok
    assert "cpu" in reason or "not installed" in reason


def dense(n: int) -> Step:
    parts = (Tensor("A", (n, n), "weight"), Tensor("h", (n,), "state"), Tensor("h'", (n,), "next"))
    body = var("A[i,s]") * var("h[s]")
    return Step(parts, (Equation("h'", ("i",), (("i", n),), (("s", n),), body),), (StateOf("h", "h'", 0.0),), ("h'",))


def test_a_step_too_large_for_registers_is_refused_with_the_reason() -> None:
    Emitter(dense(16)).text()
    with pytest.raises(NoTriton, match="more than registers hold"):
        Emitter(dense(1024)).text()


def test_the_axis_that_nothing_sums_over_is_shared_out() -> None:
    assert Emitter(dense(16)).layout.blocks == 1
    parts = (Tensor("x", (10,), "input"), Tensor("h", (10,), "state"), Tensor("h'", (10,), "next"))
    step = Step(parts, (Equation("h'", ("i",), (("i", 10),), (), 0.5 * var("h[i]") + var("x[i]")),), (StateOf("h", "h'", 0.0),), ("h'",))
    assert Emitter(step, 4).layout.blocks == 3
