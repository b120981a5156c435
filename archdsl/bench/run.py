"""A whole benchmark: scans by name at some shapes, as one result with what it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from archdsl.bench.alone import Shape, scans
from archdsl.bench.cases import GRID, GRID_SCANS, Case
from archdsl.bench.machine import machine
from archdsl.bench.measure import measure

FORMS = ("kernel", "torch", "convolution", "newton")


def bench(
    names: Sequence[str] = (),
    shapes: Sequence[Shape] = (Shape(),),
    forms: Sequence[str] = FORMS,
    dtype: str = "float32",
    pairs: int = 5,
    file: Path | None = None,
    compiled: bool = False,
    tell: Callable[[list[dict[str, Any]]], None] = lambda rows: None,
    peers: bool = True,
) -> dict[str, Any]:
    """rows of `measure` for each scan and shape; `alone`: scans that only the loop runs. tell: is given the rows of each case when known."""
    known = scans(file)
    rows: list[dict[str, Any]] = []
    alone: list[str] = []
    for name in names or list(known):
        for shape in shapes:
            found = measure(Case(known[name], shape, getattr(torch, dtype), file), pairs, tuple(forms), compiled, peers=peers)
            if not found and name not in alone:
                alone.append(name)
            tell(found)
            rows += found
    return {"rows": rows, "alone": alone, "pairs": pairs, "dtype": dtype, "machine": {**machine(), "threads": torch.get_num_threads()}}


def grid(names: Sequence[str] = (), pairs: int = 5, tell: Callable[[list[dict[str, Any]]], None] = lambda rows: None) -> dict[str, Any]:
    """The kernel at the 40 shapes of the grid, which must nowhere be slower than the loop."""
    return bench(names or GRID_SCANS, GRID, ("kernel",), pairs=pairs, peers=False, tell=tell)
