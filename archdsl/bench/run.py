"""A whole benchmark: scans by name at some shapes, as one result with what it was measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import Any

import torch

from archdsl.bench.alone import Shape, scans
from archdsl.bench.cases import ASSOCIATIVE, GRID, GRID_SCANS, Case
from archdsl.bench.machine import machine
from archdsl.bench.measure import against_associative, measure

Tell = Callable[[list[dict[str, Any]]], None]
Done = Set[tuple[str, Shape]]
FORMS = ("kernel", "torch", "convolution", "newton")


def bench(
    names: Sequence[str] = (),
    shapes: Sequence[Shape] = (Shape(),),
    forms: Sequence[str] = FORMS,
    dtype: str = "float32",
    pairs: int = 5,
    file: Path | None = None,
    compiled: bool = False,
    tell: Tell = lambda rows: None,
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
    return result(rows, alone, pairs, dtype)


def grid(names: Sequence[str] = (), pairs: int = 5, done: Done = frozenset(), tell: Tell = lambda rows: None) -> dict[str, Any]:
    """The kernel at the 40 shapes of the grid, which must nowhere be slower than the loop. done: what to leave out, as scan and shape."""
    rows: list[dict[str, Any]] = []
    for name in names or GRID_SCANS:
        shapes = [shape for shape in GRID if (name, shape) not in done]
        if shapes:
            rows += bench([name], shapes, ("kernel",), pairs=pairs, peers=False, tell=tell)["rows"]
    return result(rows, [], pairs, "float32")


def associative(names: Sequence[str] = (), pairs: int = 5, done: Done = frozenset(), tell: Tell = lambda rows: None) -> dict[str, Any]:
    """The kernel against torch's compiled associative_scan at the shapes of the grid that leave it room."""
    known = scans()
    rows: list[dict[str, Any]] = []
    for name in names or ASSOCIATIVE:
        for shape in GRID:
            row = None if (name, shape) in done else against_associative(Case(known[name], shape), pairs)
            found = [row] if row else []
            tell(found)
            rows += found
    return result(rows, [], pairs, "float32")


def result(rows: list[dict[str, Any]], alone: list[str], pairs: int, dtype: str) -> dict[str, Any]:
    """Rows with what they were measured on."""
    return {"rows": rows, "alone": alone, "pairs": pairs, "dtype": dtype, "machine": {**machine(), "threads": torch.get_num_threads()}}
