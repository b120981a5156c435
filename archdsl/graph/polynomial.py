"""Exact polynomials over size symbols: the arithmetic under `sizes`.

A `Poly` is a sum of rational coefficients times monomials; a monomial is a product of powers of atoms; an atom is a symbol (its name) or an
opaque function of sizes (`Function`: floor, max, min, quotient). A result that is constant is never a Poly: it is an int, or a Fraction
when it is not whole. Budgets on terms, degree and nesting keep hostile input from growing without bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import lcm
from typing import Any, Union

MAX_TERMS = 256
MAX_DEGREE = 24
MAX_WEIGHT = 400  # atoms inside one opaque function, nested ones included
MAX_BITS = 512  # of a coefficient


class SizeTooLarge(ValueError):
    """A size expression outgrew its budget. The caller turns it into a diagnostic."""


class Function:
    """An opaque function of sizes: floor(a / b), quotient a / b, max(...) or min(...)."""

    __slots__ = ("_hash", "_text", "args", "kind", "weight")

    def __init__(self, kind: str, args: tuple[Any, ...]):
        self.kind = kind
        self.args = args
        self.weight = 1 + sum(weight(a) for a in args)
        if self.weight > MAX_WEIGHT:
            raise SizeTooLarge("a size is made of too many nested divisions, maxima or minima")
        self._hash = hash((kind, args))
        self._text: str | None = None

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, Function) and self._hash == other._hash and self.kind == other.kind and self.args == other.args

    def __hash__(self) -> int:
        return self._hash

    def __str__(self) -> str:
        if self._text is None:
            self._text = self._write()
        return self._text

    def _write(self) -> str:
        if self.kind in ("max", "min"):
            return f"{self.kind}({', '.join(map(str, self.args))})"
        top, bottom = self.args
        name = "floor"
        if self.kind == "floor" and isinstance(top, Poly) and top.constant == bottom - 1 and isinstance(bottom, int):
            name, top = "ceil", top - (bottom - 1)
        fraction = f"{_grouped(top)}/{_grouped(bottom, product=False)}"
        return fraction if self.kind == "quotient" else f"{name}({fraction})"


Atom = Union[str, Function]
Monomial = tuple[tuple[Atom, int], ...]
Number = Union[int, Fraction]
Terms = dict[Monomial, Number]


class Poly:
    """An immutable, hashable, canonical polynomial that is not constant. Made by `symbol` and arithmetic, never directly."""

    __slots__ = ("_hash", "_text", "terms")

    def __init__(self, terms: Terms):
        self.terms = terms
        self._hash: int | None = None
        self._text: str | None = None

    @property
    def constant(self) -> Number:
        """The constant term."""
        return self.terms.get((), 0)

    @property
    def name(self) -> str | None:
        """The symbol's name if this is a plain symbol."""
        if len(self.terms) == 1:
            ((monomial, coefficient),) = self.terms.items()
            if coefficient == 1 and len(monomial) == 1 and monomial[0][1] == 1 and isinstance(monomial[0][0], str):
                return monomial[0][0]
        return None

    def atoms(self) -> Iterator[Atom]:
        """Every atom of every monomial, repeats included; not those inside functions."""
        for monomial in self.terms:
            for atom, _ in monomial:
                yield atom

    def symbols(self) -> set[str]:
        """Names of all symbols, those inside functions included."""
        found: set[str] = set()
        for atom in self.atoms():
            if isinstance(atom, str):
                found.add(atom)
            else:
                for arg in atom.args:
                    if isinstance(arg, Poly):
                        found |= arg.symbols()
        return found

    def __add__(self, other: Any) -> Any:
        if isinstance(other, Poly):
            terms = dict(self.terms)
            for monomial, coefficient in other.terms.items():
                terms[monomial] = terms.get(monomial, 0) + coefficient
            return make(terms)
        if isinstance(other, (int, Fraction)):
            terms = dict(self.terms)
            terms[()] = terms.get((), 0) + other
            return make(terms)
        return NotImplemented

    __radd__ = __add__

    def __neg__(self) -> Poly:
        return Poly({m: -c for m, c in self.terms.items()})

    def __sub__(self, other: Any) -> Any:
        return self + -other if isinstance(other, (int, Fraction, Poly)) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return -self + other if isinstance(other, (int, Fraction)) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, (int, Fraction)):
            return make({m: c * other for m, c in self.terms.items()})
        if not isinstance(other, Poly):
            return NotImplemented
        if len(self.terms) * len(other.terms) > 8 * MAX_TERMS:
            raise SizeTooLarge("a size has too many terms")
        terms: Terms = {}
        for m, c in self.terms.items():
            for n, d in other.terms.items():
                product = _times(m, n)
                terms[product] = terms.get(product, 0) + c * d
        return make(terms)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        if isinstance(other, (int, Fraction)):
            return self * (Fraction(1) / other)
        return _divide(self, other) if isinstance(other, Poly) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return _divide(other, self) if isinstance(other, (int, Fraction)) else NotImplemented

    def __pow__(self, exponent: Any) -> Any:
        if not isinstance(exponent, int) or exponent < 0:
            return NotImplemented
        if exponent > MAX_DEGREE:
            raise SizeTooLarge(f"a size is raised to the power {exponent}")
        result: Any = 1
        for _ in range(exponent):
            result = result * self
        return result

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Poly) and self.terms == other.terms)

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(frozenset(self.terms.items()))
        return self._hash

    def __str__(self) -> str:
        if self._text is None:
            self._text = _write(self.terms)
        return self._text

    def __repr__(self) -> str:
        return f"Size({self})"


Size = Union[int, Poly]


def symbol(name: str) -> Poly:
    """The size of that name: a whole number >= 1 not known before data arrives."""
    return Poly({((name, 1),): 1})


def weight(size: Any) -> int:
    """How many atoms a size is made of."""
    if not isinstance(size, Poly):
        return 0
    return sum(1 if isinstance(a, str) else a.weight for a in size.atoms())


def whole(number: Any) -> Any:
    """A Fraction that is whole as an int; anything else as it is."""
    return number.numerator if isinstance(number, Fraction) and number.denominator == 1 else number


def make(terms: Terms) -> Any:
    """The canonical size of a sum of terms: int, Fraction or Poly. Checks the budgets."""
    clean = {m: whole(c) for m, c in terms.items() if c}
    if not clean:
        return 0
    if len(clean) == 1 and () in clean:
        return clean[()]
    if len(clean) > MAX_TERMS:
        raise SizeTooLarge("a size has too many terms")
    for monomial, c in clean.items():
        if sum(power for _, power in monomial) > MAX_DEGREE:
            raise SizeTooLarge("a size is a product of too many sizes")
        if max(c.numerator.bit_length(), c.denominator.bit_length()) > MAX_BITS:
            raise SizeTooLarge("a size has too large a factor")
    return Poly(clean)


def function(kind: str, args: tuple[Any, ...]) -> Poly:
    """An opaque function as a size."""
    return Poly({((Function(kind, args), 1),): 1})


def numerator(size: Any) -> tuple[Any, int]:
    """(n, d) with whole coefficients in n, d > 0 and size = n / d in lowest terms."""
    if isinstance(size, Poly):
        bottom = lcm(*(c.denominator for c in size.terms.values()))
        return (size * bottom, bottom) if bottom > 1 else (size, 1)
    return size.numerator, size.denominator


def evaluate(size: Any, values: Mapping[str, int]) -> Any:
    """A size with numbers for its symbols: an int, or a Fraction if it is not whole. KeyError names a symbol without a value."""
    if not isinstance(size, Poly):
        return size
    total: Any = 0
    for monomial, coefficient in size.terms.items():
        term: Any = coefficient
        for atom, power in monomial:
            base = values[atom] if isinstance(atom, str) else _evaluate_function(atom, values)
            term = term * base**power
        total = total + term
    return whole(total)


def source(size: Any, names: Mapping[str, str] | None = None) -> str:
    """Python text that computes a size in whole numbers; `names` gives the text for a symbol (itself by default).

    The value must be whole where it is used: `H/2` becomes `H // 2`.
    """
    if not isinstance(size, Poly):
        return str(size)
    top, bottom = numerator(size)
    parts: list[str] = []
    for monomial, c in _ordered(top.terms):
        factors = [_power_source(atom, power, names) for atom, power in monomial]
        if abs(c) != 1 or not factors:
            factors.insert(0, str(abs(c)))
        text = " * ".join(factors)
        parts.append((" - " if c < 0 else " + ") + text if parts else ("-" if c < 0 else "") + text)
    text = "".join(parts)
    if bottom == 1:
        return text
    return f"({text}) // {bottom}" if len(parts) > 1 else f"{text} // {bottom}"


def _power_source(atom: Atom, power: int, names: Mapping[str, str] | None) -> str:
    if isinstance(atom, str):
        text = names[atom] if names is not None else atom
    elif atom.kind in ("max", "min"):
        text = f"{atom.kind}({', '.join(source(a, names) for a in atom.args)})"
    else:
        top, bottom = (source(a, names) for a in atom.args)
        text = f"({top if top.isidentifier() else f'({top})'} // {bottom if bottom.isalnum() else f'({bottom})'})"
    return text if power == 1 else f"{text} ** {power}"


def _evaluate_function(atom: Function, values: Mapping[str, int]) -> Any:
    args = [evaluate(a, values) for a in atom.args]
    if atom.kind == "floor":
        return args[0] // args[1]
    if atom.kind == "quotient":
        return whole(Fraction(args[0]) / args[1])
    return max(args) if atom.kind == "max" else min(args)


def _times(m: Monomial, n: Monomial) -> Monomial:
    if not m:
        return n
    if not n:
        return m
    powers = dict(m)
    for atom, power in n:
        powers[atom] = powers.get(atom, 0) + power
    return tuple(sorted(powers.items(), key=_atom_key))


def _atom_key(item: tuple[Atom, int]) -> str:
    return item[0] if isinstance(item[0], str) else str(item[0])


def _over(m: Monomial, n: Monomial) -> Monomial | None:
    """m / n if n divides m."""
    powers = dict(m)
    for atom, power in n:
        powers[atom] = powers.get(atom, 0) - power
        if powers[atom] < 0:
            return None
    return tuple((a, p) for a, p in powers.items() if p)


def _divide(top: Any, bottom: Poly) -> Any:
    """Exact division where the polynomial divides evenly, else an opaque quotient."""
    if not isinstance(top, Poly):
        return 0 if top == 0 else function("quotient", (top, bottom))
    (lead, lead_c), *_ = _lexical(bottom.terms)
    rest: Any = top
    quotient: Terms = {}
    for _ in range(MAX_TERMS):
        (m, c), *_ = _lexical(rest.terms)
        ratio = _over(m, lead)
        if ratio is None:
            break
        factor = Fraction(c) / lead_c
        quotient[ratio] = quotient.get(ratio, 0) + factor
        rest = rest - bottom * make({ratio: factor})
        if not isinstance(rest, Poly):
            if rest == 0:
                return make(quotient)
            break
    return function("quotient", (top, bottom))


def _lexical(terms: Terms) -> list[tuple[Monomial, Number]]:
    """Terms in a lexicographic monomial order (compatible with multiplication), largest first."""
    atoms = sorted({item[0] for m in terms for item in m}, key=str)
    return sorted(terms.items(), key=lambda t: [dict(t[0]).get(a, 0) for a in atoms], reverse=True)


def _ordered(terms: Terms) -> list[tuple[Monomial, Number]]:
    """Terms as people write them: higher powers first, then by name."""
    return sorted(terms.items(), key=lambda t: (-sum(p for _, p in t[0]), [(str(a), p) for a, p in t[0]]))


def _write(terms: Terms) -> str:
    bottom = Fraction(terms.get((), 0)).denominator
    if bottom > 1 and len(terms) > 1:
        bottom = lcm(*(c.denominator for c in terms.values()))
        return f"({_write({m: whole(c * bottom) for m, c in terms.items()})})/{bottom}"
    text = ""
    for monomial, c in _ordered(terms):
        factors = [str(a) if p == 1 else f"{a}**{p}" for a, p in monomial]
        if abs(c.numerator) != 1 or not factors:
            factors.insert(0, str(abs(c.numerator)))
        term = "*".join(factors) + (f"/{c.denominator}" if c.denominator != 1 else "")
        text += (" - " if c < 0 else " + ") + term if text else ("-" if c < 0 else "") + term
    return text


def _grouped(size: Any, product: bool = True) -> str:
    text = str(size)
    simple = not isinstance(size, Poly) or (len(size.terms) == 1 and (product or size.name is not None))
    return text if simple else f"({text})"
