"""Scans that are given bools, whole numbers and floats of several widths, and what a model makes of them.

Run as a script with TRITON_INTERPRET=1 it prints what Triton's kernels give: name -> [dtype, numbers] of each output and gradient, as JSON;
of some steps in tests/recurrence/degenerate.py too.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

import archdsl
from tests.recurrence.degenerate import STEPS

# name -> the scan, the model's inputs, the call
CASES = {
    "reset first": (
        "in r: bool[]; in x: [d]; state h: [d] = 0; h' = (if r then 0 else 0.9) * h + x; yield h'",
        "in r: bool[T]; in x: [T, 3]", "r, x",
    ),
    "resets": (
        "in r: bool[d]; in x: [d]; state h: [d] = 0.3; h' = if r and x > 0 then x else 0.9 * h + x; yield h'",
        "in r: bool[T, 3]; in x: [T, 3]", "r, x",
    ),
    "whole first": ("in c: int[]; in x: [d]; state h: [d] = 0; h' = 0.5 * h + c * x; yield h'", "in c: int[T]; in x: [T, 3]", "c, x"),
    "whole only": ("in c: int[]; state h: [] = 0.5; h' = 0.7 * h + c; yield h'", "in c: int[T]", "c"),
    "whole and a weight": ("in c: int[]; param w: [4]; state h: [4] = 1; h' = tanh(w * h) + c; yield h'", "in c: int[T]", "c"),
    "whole and a product": ("in c: int[]; state h: [4] = 1; h' = tanh(linear(4)(h)) + c; yield h'", "in c: int[T]", "c"),
    "compared": (  # float32 does not know one such number from the next
        "in c: int[]; in x: [d]; state h: [d] = 0; h' = (if c % 16777217 == 1 then 0.25 else 0.5) * h + x; yield h'",
        "in big: int[T]; in x: [T, 3]", "big, x",
    ),
    "counted": ("in c: int[]; state n: int[] = 0; n' = (n * 1103515245 + c) % 2147483648; yield n'", "in c: int[T]", "c"),
    "counted beside": (
        "in x: [d]; state h: [d] = 0; state n: int[] = 0; n' = n + 1; h' = (h * n + x) / n'; yield h', n'", "in x: [T, 3]", "x",
    ),
    "passed on": (
        "in c: int[]; in r: bool[]; in x: [d]; state h: [d] = 0; h' = 0.5 * h + x; yield h', 2 * c + 16777217, not r, c",
        "in c: int[T]; in r: bool[T]; in x: [T, 3]", "c, r, x",
    ),
    "bools kept": ("in r: bool[]; state on: bool[] = 0; on' = on or r; yield on', 0.5 * on'", "in r: bool[T]", "r"),
    "bools kept of floats": ("in x: [d]; state on: bool[d] = 0; on' = on or x > 1; yield (if on' then x else 0), on", "in x: [T, 3]", "x"),
    "bools and counts given": (
        "in x: [d]; state h: [d] = 0; h' = 0.5 * h + x; yield h' > 0, sum(h' > 0), (if h' > 0.5 then 3 else -1), h'", "in x: [T, 3]", "x",
    ),
    "large counts given": (
        "in c: int[]; in x: [d]; state h: [d] = 0; h' = 0.5 * h + x; yield (if h' > 0 then c else -c)", "in big: int[T]; in x: [T, 3]", "big, x",
    ),
    "spikes": (
        "in x: [d]; state v: [d] = 0; u = 0.5 * v + x; z = if u > 1 then 1 else 0; v' = u * (1 - z); yield z, v'", "in x: [T, 3]", "x",
    ),
    "bools into floats": ("in x: [d]; state h: [d] = 0; h' = x > h; yield h + x", "in x: [T, 3]", "x"),
    "whole into floats": (
        "in c: int[]; in x: [d]; state h: [] = 0.5; state g: [] = 0; h' = 2 * c; g' = g + h; yield h + x, g'", "in c: int[T]; in x: [T, 3]", "c, x",
    ),
    "whole to begin with": (
        "in x: [d]; state h: [d] = 0; h' = 0.9 * h + x; yield h'", "in x: [T, 3]; in b: int[3]", "x, h=b",
    ),
    "complex first": (
        "in z: complex[d]; in x: [d]; state h: [d] = 0; state g: complex[d] = 0; h' = 0.5 * h + x + real(z); g' = 0.5 * g + z; yield h', imag(g')",
        "in x: [T, 3]", "complex(x, x), x",
    ),
}  # fmt: skip
EDGE = ("delay", "swapped", "set to a weight", "nothing kept", "one next for two", "next of another", "complex")
TIME = 6


def case(name: str) -> tuple[str, str, str]:
    return CASES[name] if name in CASES else (f"in x: [d]; {STEPS[name]}", "in x: [T, 3]", "x")


def spec(name: str) -> Any:
    scan, inputs, call = case(name)
    return archdsl.parse(f"scan s {{ {scan} }}\narch A {{ {inputs}; return s({call}) }}")


def given(name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The model's inputs by name, two sequences; the floats with gradients."""
    torch.manual_seed(0)
    made = {
        "r": torch.rand(2, TIME, 3) > 0.6,
        "c": torch.randint(-3, 4, (2, TIME)),
        "big": torch.tensor([[0, 1, 16777217, 16777218, 16777219, 33554435], [2**40 + 1, 2**24, 2**24 + 1, -1, 3, 16777218]]),
        "x": torch.randn(2, TIME, 3, dtype=torch.float64).to(dtype).requires_grad_(),
        "b": torch.tensor([[1, 2, 3], [4, 5, -6]]),
    }
    inputs = case(name)[1]
    if "bool[T]" in inputs:
        made["r"] = made["r"][..., 0]
    return {part.split()[1][:-1]: made[part.split()[1][:-1]] for part in inputs.split("; ")}


def outputs(found: Any) -> list[Tensor]:
    return list(found) if isinstance(found, tuple) else [found]


def outcome(model: Any, inputs: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """What a model gives, and the gradients of a sum of squares of its floats."""
    found = outputs(model(**inputs))
    floats = [y for y in found if y.requires_grad]
    leaves = [t for t in (*inputs.values(), *model.parameters()) if t.requires_grad]
    if not floats:
        return found, []
    return found, list(
        torch.autograd.grad(sum(y.double().square().sum() for y in floats), leaves, allow_unused=True, materialize_grads=True)
    )


def through_triton() -> None:
    from archdsl.kernels.triton import usable
    from archdsl.kernels.triton.scan_op import run, triton_kernel
    from archdsl.scanning.runner import ScanKernel

    def run_form(self: ScanKernel, inputs: Any, weights: Any, begin: Any, lengths: Any, _: Any) -> Any:
        assert usable(self.step, inputs[0]) == (True, "")
        return run(triton_kernel(self.step), inputs, weights, begin, lengths)

    ScanKernel.run_form, ScanKernel._serves = run_form, lambda *_: False  # type: ignore[method-assign]
    report: dict[str, Any] = {}
    for name in (*CASES, *EDGE):
        model = spec(name).build(dtype=torch.float64, seed=3)
        if getattr(model.s, "kernel", None) is not None:
            found, grads = outcome(model, given(name, torch.float64))
            report[name] = [[str(t.dtype), t.double().flatten().tolist()] for t in (*found, *grads)]
    print(json.dumps(report))


if __name__ == "__main__":
    through_triton()
