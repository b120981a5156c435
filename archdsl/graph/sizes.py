"""Symbolic sizes: exact arithmetic, what is known about them, and the three-valued decisions shape checking rests on.

A size is an int, or a `Poly` over symbols that stand for whole numbers >= 1. `Facts` holds what `where` clauses state. Each question is
answered True (proved), False (refuted) or None (open: the caller assumes it and the emitted code asserts it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from math import lcm
from typing import Any

from archdsl.graph.polynomial import (
    Function,
    Monomial,
    Number,
    Poly,
    Size,
    SizeTooLarge,
    evaluate,
    function,
    make,
    numerator,
    source,
    symbol,
    whole,
)
from archdsl.graph.size_bounds import bounds, points

__all__ = [
    "Facts", "Poly", "Size", "SizeTooLarge", "ceildiv", "decide_compare", "decide_divides", "decide_equal", "evaluate", "floordiv", "mod",
    "size_max", "size_min", "source", "substitute", "symbol",
]  # fmt: skip


class Facts:
    """What is known about sizes beyond being whole numbers >= 1. Grows by `divisible`, `equal`, `less_equal`; `copy` to branch."""

    def __init__(self) -> None:
        self._said: list[tuple[str, Any, Any]] = []
        self._replace: dict[str, Size] = {}
        self.zero: list[Poly] = []  # equations that give no substitution
        self.divisors: dict[Monomial, int] = {}
        self.sums: list[Poly] = []  # sums known to be whole
        self.nonnegative: list[Poly] = []

    def copy(self) -> Facts:
        """An independent copy."""
        other = Facts()
        other._said = list(self._said)
        other._replace = dict(self._replace)
        other.zero = list(self.zero)
        other.divisors = dict(self.divisors)
        other.sums = list(self.sums)
        other.nonnegative = list(self.nonnegative)
        return other

    def __iter__(self) -> Iterator[str]:
        """The facts as people write them: `H % 8 == 0`, `T == 2*S`, `T <= 512`."""
        text = {"divisible": "{} % {} == 0", "equal": "{} == {}", "less_equal": "{} <= {}"}
        for kind, a, b in self._said:
            yield text[kind].format(f"({a})" if kind == "divisible" and isinstance(a, Poly) and len(a.terms) > 1 else a, b)

    @property
    def stated(self) -> tuple[tuple[str, Any, Any], ...]:
        """The facts as (kind, a, b): kind is "divisible" (b divides a), "equal" or "less_equal"."""
        return tuple(self._said)

    # ---- stating ----

    def divisible(self, size: Size, by: Size) -> None:
        """States that `by` divides `size`."""
        if isinstance(size, Poly) and self._note("divisible", size, by):
            self._add_whole(self.reduce(size) / self.reduce(by))

    def equal(self, a: Size, b: Size) -> None:
        """States that two sizes are equal. A contradiction (3 == 4) states nothing."""
        if a == b or not self._note("equal", a, b):
            return
        difference = self.reduce(a) - self.reduce(b)
        if not isinstance(difference, Poly):
            return
        name = _solvable(difference, prefer=(a, b))
        if name is None:
            self.zero.append(difference)
            return
        monomial: Monomial = ((name, 1),)
        value = make({m: -Fraction(c) / difference.terms[monomial] for m, c in difference.terms.items() if m != monomial})
        self._replace = {k: substitute(v, {name: value}) for k, v in self._replace.items()}
        self._replace[name] = value
        divisors, sums, zero, nonnegative = self.divisors, self.sums, self.zero, self.nonnegative
        self.divisors, self.sums, self.zero, self.nonnegative = {}, [], [], []
        for m, k in divisors.items():
            self._add_whole(self.reduce(make({m: Fraction(1, k)})))
        for p in [*sums, value]:
            self._add_whole(self.reduce(p))
        self.zero = [r for r in map(self.reduce, zero) if isinstance(r, Poly)]
        self.nonnegative = [r for r in map(self.reduce, [*nonnegative, value - 1]) if isinstance(r, Poly)]

    def less_equal(self, a: Size, b: Size) -> None:
        """States that a <= b."""
        difference = self.reduce(b) - self.reduce(a)
        if isinstance(difference, Poly) and self._note("less_equal", a, b):
            self.nonnegative.append(difference)

    def _note(self, kind: str, a: Any, b: Any) -> bool:
        if (kind, a, b) in self._said:
            return False
        self._said.append((kind, a, b))
        return True

    def _add_whole(self, size: Any) -> None:
        if not isinstance(size, Poly):
            return
        if len(size.terms) == 1:
            ((monomial, c),) = size.terms.items()
            if all(isinstance(a, str) for a, _ in monomial):
                self.divisors[monomial] = lcm(self.divisors.get(monomial, 1), c.denominator)
                return
        self.sums.append(size)

    # ---- asking ----

    def reduce(self, size: Any) -> Any:
        """The size with every known equation used."""
        return substitute(size, self._replace) if self._replace and isinstance(size, Poly) else size

    def divides(self, size: Size, k: int) -> bool:
        """True if k is known to divide size."""
        if isinstance(size, int):
            return size % k == 0
        return self.whole(self.reduce(size) / k)

    def whole(self, size: Any) -> bool:
        """True if a size is known to be a whole number for every value of its symbols."""
        if not isinstance(size, Poly):
            return whole(size).denominator == 1
        rest = self.fractional(size)
        return not isinstance(rest, Poly) and Fraction(rest).denominator == 1

    def fractional(self, size: Any) -> Any:
        """What is left of a size after taking away parts known to be whole (the constant is kept)."""
        rest = _drop_whole(size, self)
        for known in self.sums:
            if not isinstance(rest, Poly):
                break
            monomial = next((m for m in known.terms if m and m in rest.terms), None)
            if monomial is None:
                continue
            ratio = Fraction(rest.terms[monomial]) / known.terms[monomial]
            if ratio.denominator == 1:
                rest = _drop_whole(rest - known * ratio, self)
        return rest

    def divisor(self, monomial: Monomial) -> int:
        """A number known to divide a product of sizes; 0 if the product itself may not be whole."""
        result = 1
        for atom, power in monomial:
            if isinstance(atom, str):
                result *= self.divisors.get(((atom, 1),), 1) ** power
            elif not _atom_whole(atom, self):
                return 0
        for known, k in self.divisors.items():
            if len(known) > 1 and all(dict(monomial).get(a, 0) >= p for a, p in known):
                result = lcm(result, k)
        return result

    def least(self, name: str) -> int:
        """A lower bound of a symbol: 1, or what is known to divide it."""
        return self.divisors.get(((name, 1),), 1)


NOTHING = Facts()


def floordiv(a: Size, b: Size, facts: Facts = NOTHING) -> Size:
    """a // b (towards minus infinity). Parts known to be multiples of b are taken out: floor((2*T + 1)/2) = T."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    a, b = facts.reduce(a), facts.reduce(b)
    if not isinstance(b, int):
        quotient: Any = a / b
        return quotient if facts.whole(quotient) else function("floor", (a, b))
    if b < 0:
        a, b = -a, -b
    value: Any = a / b if isinstance(a, Poly) else Fraction(a, b)
    rest = facts.fractional(value)
    taken = value - rest
    if not isinstance(rest, Poly):
        return taken + Fraction(rest).__floor__()
    return taken + _floor_of(rest, facts)


def ceildiv(a: Size, b: Size, facts: Facts = NOTHING) -> Size:
    """a / b rounded up."""
    if isinstance(a, Poly) and isinstance(b, int) and facts.whole(a):
        return floordiv(a + (b - 1), b, facts)
    return -floordiv(-a, b, facts)


def mod(a: Size, b: Size, facts: Facts = NOTHING) -> Size:
    """The remainder a - b * (a // b)."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return facts.reduce(a) - facts.reduce(b) * floordiv(a, b, facts)


def size_max(*sizes: Size, facts: Facts = NOTHING) -> Size:
    """The largest of several sizes, dropping those another is known to reach."""
    return _extreme("max", ">=", sizes, facts)


def size_min(*sizes: Size, facts: Facts = NOTHING) -> Size:
    """The smallest of several sizes, dropping those another is known to stay below."""
    return _extreme("min", "<=", sizes, facts)


def substitute(size: Any, values: Mapping[str, Any]) -> Any:
    """The size with sizes put for symbols."""
    if not isinstance(size, Poly) or not values or not (size.symbols() & values.keys()):
        return size
    total: Any = 0
    for monomial, coefficient in size.terms.items():
        term: Any = coefficient
        for atom, power in monomial:
            base = values.get(atom) if isinstance(atom, str) else _substitute_function(atom, values)
            if base is None:
                base = symbol(atom)  # type: ignore[arg-type]
            term = term * base**power
        total = total + term
    return whole(total)


def decide_equal(a: Size, b: Size, facts: Facts = NOTHING) -> bool | None:
    """True: equal for all values. False: never, or only by accident (two sizes of different names). None: for some values."""
    if a is b or a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    difference: Any = facts.reduce(a) - facts.reduce(b)
    if not isinstance(difference, Poly):
        return difference == 0
    for zero in facts.zero:
        monomial = next(iter(zero.terms))
        if difference - zero * (Fraction(difference.terms.get(monomial, 0)) / zero.terms[monomial]) == 0:
            return True
    low, high = bounds(difference, facts)
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    checks = [evaluate(difference, point) == 0 for point in points(difference.symbols(), facts)]
    return None if any(checks) or not checks else False


def decide_divides(size: Size, by: Size, facts: Facts = NOTHING) -> tuple[bool | None, Size]:
    """Whether `by` divides `size`, and the quotient (exact when it does; rounded down when refuted)."""
    if by == 0:
        return False, size
    if isinstance(size, int) and isinstance(by, int):
        return size % by == 0, size // by
    size, by = facts.reduce(size), facts.reduce(by)
    quotient: Any = whole(Fraction(size, by)) if isinstance(size, int) and isinstance(by, int) else size / by
    if facts.whole(quotient):
        return True, quotient
    if not isinstance(by, int):
        return None, quotient
    symbols = quotient.symbols() if isinstance(quotient, Poly) else set()
    checks = [Fraction(evaluate(quotient, point)).denominator == 1 for point in points(symbols, facts)]
    if checks and not any(checks):
        return False, floordiv(size, by, facts)
    return None, quotient


def decide_compare(op: str, a: Size, b: Size, facts: Facts = NOTHING) -> bool | None:
    """a < b, a <= b, a > b or a >= b, from the signs of symbols and the facts."""
    if op in (">", ">="):
        return decide_compare("<" if op == ">" else "<=", b, a, facts)
    difference: Any = facts.reduce(b) - facts.reduce(a)
    low, high = bounds(difference, facts)
    if low is not None and (low > 0 or (op == "<=" and low == 0)):
        return True
    if high is not None and (high < 0 or (op == "<" and high == 0)):
        return False
    return None


# ---- inside ---------------------------------------------------------------------------------------------------------------------


def _solvable(difference: Poly, prefer: tuple[Any, ...]) -> str | None:
    """A symbol that stands alone in one linear term, so that the equation gives its value. A plain side is preferred."""
    alone = [m[0][0] for m in difference.terms if len(m) == 1 and m[0][1] == 1 and isinstance(m[0][0], str)]

    def elsewhere(name: str) -> bool:
        others = make({m: c for m, c in difference.terms.items() if m != ((name, 1),)})
        return isinstance(others, Poly) and name in others.symbols()

    usable = sorted(str(n) for n in alone if not elsewhere(str(n)))
    plain = [p.name for p in prefer if isinstance(p, Poly) and p.name in usable]
    if plain:
        return plain[0]
    by_factor = sorted(usable, key=lambda n: abs(Fraction(difference.terms[((n, 1),)]).numerator))
    return by_factor[0] if by_factor else None


def _atom_whole(atom: Function, facts: Facts) -> bool:
    return atom.kind == "floor" or (atom.kind in ("max", "min") and all(facts.whole(a) for a in atom.args))


def _drop_whole(size: Any, facts: Facts) -> Any:
    """Takes the whole multiples out of each term: 3*T/2 leaves T/2; with 2 | T it leaves nothing."""
    if not isinstance(size, Poly):
        return size
    terms: dict[Monomial, Number] = {}
    for monomial, c in size.terms.items():
        divisor = facts.divisor(monomial) if monomial else 0
        terms[monomial] = c if divisor == 0 else Fraction(c * divisor - (c * divisor).__floor__(), divisor)
    return make(terms)


def _floor_of(rest: Poly, facts: Facts) -> Any:
    """floor of a sum in canonical form: the constant between 0 and 1, nested floors by whole numbers merged."""
    constant = Fraction(rest.constant)
    lowest = constant.__floor__()
    body = rest - constant
    top, bottom = numerator(body)
    if all(m == () or facts.divisor(m) for m in top.terms):  # whole above: the constant counts in whole steps of 1/bottom
        top = top + ((constant - lowest) * bottom).__floor__()
    else:
        top, bottom = numerator(rest - lowest)
    if len(top.terms) == 1:
        ((monomial, c),) = top.terms.items()
        atom = monomial[0][0]
        if c == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(atom, Function) and atom.kind == "floor":
            inner, k = atom.args
            if isinstance(k, int):
                return lowest + floordiv(inner, k * bottom, facts)
    return lowest + function("floor", (top, bottom))


def _substitute_function(atom: Function, values: Mapping[str, Any]) -> Any:
    args = [substitute(a, values) for a in atom.args]
    if atom.kind == "floor":
        return floordiv(args[0], args[1])
    if atom.kind == "quotient":
        return whole(Fraction(args[0])) / args[1] if isinstance(args[0], int) else args[0] / args[1]
    return _extreme(atom.kind, ">=" if atom.kind == "max" else "<=", args, NOTHING)


def _extreme(kind: str, op: str, sizes: Iterable[Size], facts: Facts) -> Size:
    flat: list[Any] = []
    for size in sizes:
        reduced = facts.reduce(size)
        atom = next(reduced.atoms()) if isinstance(reduced, Poly) and len(reduced.terms) == 1 else None
        if isinstance(atom, Function) and atom.kind == kind and reduced == function(kind, atom.args):
            flat.extend(atom.args)
        else:
            flat.append(reduced)
    kept: list[Any] = []
    for size in flat:
        if any(decide_compare(op, other, size, facts) for other in kept):
            continue
        kept = [other for other in kept if not decide_compare(op, size, other, facts)]
        kept.append(size)
    return kept[0] if len(kept) == 1 else function(kind, tuple(sorted(kept, key=str)))
