"""A step in index notation: S'[i,j] = exp(g[i]) * S[i,j] + k[i] * v[j];  y[j] = sum_s q[s] * S'[s,j].

Each equation defines one tensor, entry by entry, from entries of tensors before it; sums stand only at the outside. Accesses are variables of
archdsl.graph.expressions whose name spells the access ("S[i,j]"), so simplification and derivatives are the ones used everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Apply, Expr, Var, order, substitute, var

INDICES = "ijklmn"  # names of free indices by position
SUMMED = ("s", "p", "r")  # names of summed indices


@dataclass(frozen=True)
class Tensor:
    """A tensor of the step, by name. role: input, constant (does not change over time), weight, state, next, yield or temporary.

    lead: for weights, how many axes stand before the written ones (one matrix per head).
    """

    name: str
    shape: tuple[int, ...]
    role: str
    lead: int = 0


@dataclass(frozen=True)
class Equation:
    """target[at] = sum over `sums` of body, for all values of the free indices. `at` are index texts: "i", or "i+16" for a part."""

    target: str
    at: tuple[str, ...]
    free: tuple[tuple[str, int], ...]
    sums: tuple[tuple[str, int], ...]
    body: Expr
    span: Span | None = field(default=None, compare=False)

    def __str__(self) -> str:
        from archdsl.recurrence.infix import infix

        body = infix(self.body)
        if self.sums and is_sum(self.body):
            body = f"({body})"
        total = "".join(f"sum_{name} " for name, _ in self.sums)
        return f"{access_text(self.target, self.at).removesuffix('[]')} = {total}{body}"


@dataclass(frozen=True)
class StateOf:
    """A state: the tensor before the step, the one after it, and the number it begins with when no other beginning is given."""

    before: str
    after: str
    start: float


@dataclass(frozen=True)
class Step:
    """The ordered part of a recurrence. `yields` are tensors given at each time, in order."""

    tensors: tuple[Tensor, ...]
    equations: tuple[Equation, ...]
    states: tuple[StateOf, ...]
    yields: tuple[str, ...]

    def tensor(self, name: str) -> Tensor:
        return next(t for t in self.tensors if t.name == name)

    def of(self, *roles: str) -> list[Tensor]:
        return [t for t in self.tensors if t.role in roles]

    def __str__(self) -> str:
        return "\n".join(map(str, self.equations))


def is_sum(body: Expr) -> bool:
    """Whether a sum sign before the text of `body` would take in its first addend only."""
    return isinstance(body, Apply) and body.function in ("add", "sub", "where", "neg")


def access_text(name: str, at: tuple[str, ...]) -> str:
    return f"{name}[{','.join(at)}]"


def access(name: str, at: tuple[str, ...]) -> Var:
    """One entry of a tensor."""
    return var(access_text(name, at))


def parse_access(node: Var) -> tuple[str, tuple[str, ...]]:
    """The tensor and the indices of an access."""
    name, _, rest = node.name.partition("[")
    inside = rest[:-1]
    return name, tuple(inside.split(",")) if inside else ()


def accesses(expr: Expr) -> Iterator[Var]:
    """The distinct accesses an expression reads (derivatives of acts with a declared slope read no more than their arguments)."""
    for node in order(expr):
        if isinstance(node, Var):
            yield node


def reindexed(expr: Expr, names: Mapping[str, str]) -> Expr:
    """The expression with indices renamed: {"i": "s"} or {"i": "j+16"}."""
    from archdsl.graph.expressions import _reach

    values: dict[str, Expr] = {}
    for node in order(*_reach(expr)):
        if isinstance(node, Var) and node.name not in values:
            name, at = parse_access(node)
            values[node.name] = access(name, tuple(_shift(a, names) for a in at))
    return substitute(expr, values)


def _shift(index: str, names: Mapping[str, str]) -> str:
    base, plus, offset = index.partition("+")
    if base not in names:
        return index
    new, _, more = names[base].partition("+")
    total = (int(offset) if plus else 0) + (int(more) if more else 0)
    if new.isdigit():
        return str(int(new) + total)
    return f"{new}+{total}" if total else new


def split_index(index: str) -> tuple[str, int]:
    """("i", 16) for "i+16"; ("", 3) for the number "3"."""
    base, _, offset = index.partition("+")
    if base.isdigit():
        return "", int(base)
    return base, int(offset or 0)
