"""Bounds of sizes, and sample values that agree with what is known: the evidence behind the decisions of `sizes`."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING, Any

from archdsl.graph.polynomial import Poly, evaluate, weight

if TYPE_CHECKING:
    from archdsl.graph.sizes import Facts


Memo = dict[Any, tuple[Any, Any]]
FLAT = 20  # atoms; a size of more is bounded from the inside out, since its parts may stand hundreds deep in each other


def _atom_least(atom: Any, facts: Facts, memo: Memo) -> Any:
    """A lower bound of an atom, or None."""
    if isinstance(atom, str):
        return facts.least(atom)
    lows = [bounds(a, facts, memo)[0] for a in atom.args]
    if atom.kind == "max":
        known = [low for low in lows if low is not None]
        return max(known) if known else None
    if atom.kind == "min":
        return None if None in lows else min(lows)
    bottom = atom.args[1]
    if lows[0] is None or lows[0] < 0:
        return Fraction(lows[0] // bottom) if lows[0] is not None and isinstance(bottom, int) else None
    return lows[0] // bottom if isinstance(bottom, int) and atom.kind == "floor" else 0


def bounds(size: Any, facts: Facts, memo: Memo | None = None) -> tuple[Any, Any]:
    """(lower, upper) bounds; None where none is known. Each atom is written as its least value plus something >= 0.

    memo: what was found for parts; a size nested n deep would else be bounded (facts + 1)^n times.
    """
    if not isinstance(size, Poly):
        return size, size
    memo = {} if memo is None else memo
    if size not in memo:
        for part in _inside_out(size) if weight(size) > FLAT else (size,):
            if part not in memo:
                memo[part] = _bounds(part, facts, memo)
    return memo[size]


def _inside_out(size: Poly) -> Iterator[Poly]:
    """The size and those that its functions are of, what is inside before what is around it."""
    waiting: list[tuple[Poly, bool]] = [(size, False)]
    seen: set[Poly] = set()
    while waiting:
        part, ready = waiting.pop()
        if ready:
            yield part
        elif part not in seen:
            seen.add(part)
            waiting.append((part, True))
            waiting += [(a, False) for atom in part.atoms() if not isinstance(atom, str) for a in atom.args if isinstance(a, Poly)]


def _bounds(size: Poly, facts: Facts, memo: Memo) -> tuple[Any, Any]:
    tries = [size, *(size - p for p in facts.nonnegative)]
    low = next((b for b in (_shifted(p, facts, memo)[0] for p in tries) if b is not None), None)
    tries = [size, *(size + p for p in facts.nonnegative)]
    high = next((b for b in (_shifted(p, facts, memo)[1] for p in tries) if b is not None), None)
    return low, high


def _shifted(size: Any, facts: Facts, memo: Memo) -> tuple[Any, Any]:
    if not isinstance(size, Poly):
        return size, size
    total: Any = 0
    least = {atom: _atom_least(atom, facts, memo) for atom in set(size.atoms())}
    if any(v is None for v in least.values()):
        return None, None
    for monomial, c in size.terms.items():
        term: Any = c
        for atom, power in monomial:
            term = term * (Poly({((atom, 1),): 1}) + least[atom]) ** power
        total = total + term
    if not isinstance(total, Poly):
        return total, total
    rising = all(c > 0 for m, c in total.terms.items() if m)
    falling = all(c < 0 for m, c in total.terms.items() if m)
    return (total.constant if rising else None), (total.constant if falling else None)


_STEP = 720_720
_OFFSETS = (0, 1, -1, 2, 3, 5)


def points(symbols: set[str], facts: Facts) -> list[dict[str, int]]:
    """Sample values that agree with the facts: large, unlike each other, and with telling remainders (0, 1, -1, 2, ...)."""
    names = sorted(symbols)
    every = sorted(set(names).union(*(p.symbols() for p in (*facts.sums, *facts.nonnegative, *facts.zero)), []))
    points = []
    for i in range(2 * len(_OFFSETS)):
        point = {}
        for j, name in enumerate(every):
            mixed = (i * 7919 + j * 104_729 + 12_289) * 48_271 % 65_521 + 3
            value = mixed * _STEP + _OFFSETS[i] if i < len(_OFFSETS) else mixed * 31 + j
            least = facts.least(name)
            point[name] = value * least // gcd(value, least)
        if _agrees(point, facts):
            points.append(point)
    return points


def _agrees(point: dict[str, int], facts: Facts) -> bool:
    for monomial, k in facts.divisors.items():
        if all(a in point for a, _ in monomial) and evaluate(Poly({monomial: 1}), point) % k:
            return False
    return (
        all(Fraction(evaluate(p, point)).denominator == 1 for p in facts.sums)
        and all(evaluate(p, point) >= 0 for p in facts.nonnegative)
        and all(evaluate(p, point) == 0 for p in facts.zero)
    )
