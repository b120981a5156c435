"""Sizes of the data that figures are taken at where the user gives none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from archdsl.graph.sizes import Facts, Poly, decide_compare, symbol

USUAL = {"H": 224, "W": 224}
USUAL_OTHER = 1024


def chosen_sizes(figures: Iterable[Any], sizes: Mapping[str, int] | None, facts: Facts | None = None) -> dict[str, int]:
    """Numbers for the symbols of figures: those given, else usual ones, halved where the spec says that they are too large."""
    given = dict(sizes or {})
    symbols = sorted({s for f in figures if isinstance(f, Poly) for s in f.symbols()})
    return {s: given[s] if s in given else _usual(s, facts) for s in symbols}


def _usual(name: str, facts: Facts | None) -> int:
    size = USUAL.get(name, USUAL_OTHER)
    while facts is not None and size > 1 and decide_compare("<", symbol(name), size, facts):
        size //= 2
    return size


def at_sizes(sizes: Mapping[str, int]) -> str:
    """`T=1024, H=224`."""
    return ", ".join(f"{name}={n}" for name, n in sizes.items())
