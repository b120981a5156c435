"""What differs between two architectures, by meaning: parameters, parts, attributes, wiring, costs, and which weights would not load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from archdsl.analysis import cost
from archdsl.analysis.canonical import canonical_weights, interface_hash, structure_hash
from archdsl.analysis.checked import Checked, graph_of
from archdsl.analysis.parts import Change, Comparison
from archdsl.analysis.usual import at_sizes, chosen_sizes
from archdsl.graph.ir import Graph, weights

SHOWN = 30  # lines of one section


@dataclass(frozen=True)
class Cost:
    """A figure before and after; `at` says for which sizes of the data."""

    name: str
    before: int
    after: int
    at: str = ""


@dataclass(frozen=True)
class WeightChange:
    """Weights of one shape, rounds folded: shapes before and after (None: not there), and how many paths it stands for."""

    path: str
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    count: int = 1


@dataclass
class Diff:
    """The difference of two architectures. Falsy if there is none; `text()` for people, `to_json()` for programs."""

    names: tuple[str, str]
    same_structure: bool
    same_interface: bool
    parameters: list[tuple[str, Any, Any]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    costs: list[Cost] = field(default_factory=list)
    contracts: list[tuple[str, str]] = field(default_factory=list)  # "added" or "removed", condition
    renamed: list[tuple[str, str]] = field(default_factory=list)  # paths of corresponding weights
    weights: list[WeightChange] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True if both compute the same from weights of the same names, and promise the same."""
        return self.same_structure and not (self.renamed or self.weights or self.parameters or self.contracts)

    def __bool__(self) -> bool:
        return not self.empty

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "names": list(self.names),
            "same_structure": self.same_structure,
            "same_interface": self.same_interface,
            "parameters": [{"name": n, "before": _plain(a), "after": _plain(b)} for n, a, b in self.parameters],
            "changes": [asdict(c) for c in self.changes],
            "costs": [asdict(c) for c in self.costs],
            "contracts": [{"change": c, "condition": t} for c, t in self.contracts],
            "renamed": [{"before": a, "after": b} for a, b in self.renamed],
            "weights": [asdict(w) for w in self.weights],
        }

    def text(self, color: bool = False) -> str:
        """A readable account, one change a line."""
        lines = [self._head()]
        lines += _section("Parameters", [("~", f"{n}: {_said(a)} -> {_said(b)}") for n, a, b in self.parameters])
        lines += _section("Parts", [(_SIGNS[c.kind], c.line()) for c in self.changes])
        lines += _section("Costs", [("", _cost_line(c)) for c in self.costs if c.before != c.after])
        lines += _section("Contracts", [("+" if c == "added" else "-", f"expect {t}") for c, t in self.contracts])
        lines += _section("Weights under another name", [("~", f"{a} -> {b}") for a, b in _short_renames(self.renamed)])
        lines += _section("Weights that would not load", [_weight_line(w) for w in self.weights])
        return "\n".join(_painted(line) if color else line for line in lines)

    def __str__(self) -> str:
        return self.text()

    def _head(self) -> str:
        a, b = self.names
        both = a if a == b else f"{a} and {b}"
        if self.empty:
            return f"{both}: same structure, same weight names."
        if self.same_structure:
            return f"{both}: same structure; " + ("weights go by other names." if self.renamed else "weights go by the same names.")
        return f"{a} -> {b}: the structure differs."


def diff(a: Checked | Graph, b: Checked | Graph, sizes: Mapping[str, int] | None = None) -> Diff:
    """Compares two specs (or graphs). `sizes` are the data's sizes for FLOPs and state; those left out are taken as 1024 (224 for H, W)."""
    left, right = graph_of(a), graph_of(b)
    same = structure_hash(left) == structure_hash(right)
    found = Diff((left.name, right.name), same, same and interface_hash(left) == interface_hash(right))
    found.parameters = _parameters(left.arguments, right.arguments)
    found.costs = _costs(left, right, dict(sizes or {}))
    found.contracts = _contracts(_expects(a), _expects(b))
    one = {path: w.shape for path, w in weights(left.root)}
    two = {path: w.shape for path, w in weights(right.root)}
    if same:
        found.renamed = [(x, y) for x, y in zip(canonical_weights(left), canonical_weights(right)) if x != y]
    else:
        comparison = Comparison(left, right)
        found.changes = comparison.changes()
        found.renamed = _renamed(comparison.moved(), one, two)
    found.weights = _weights(one, two, found.renamed)
    return found


_MISSING = object()


def _parameters(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = [*a, *(n for n in b if n not in a)]
    pairs = [(n, a.get(n, _MISSING), b.get(n, _MISSING)) for n in names]
    return [(n, x, y) for n, x, y in pairs if type(x) is not type(y) or x != y]


def _said(value: Any) -> str:
    return "(none)" if value is _MISSING else str(value)


def _plain(value: Any) -> Any:
    return None if value is _MISSING else value if isinstance(value, (int, float, str, bool)) else str(value)


def _expects(thing: Checked | Graph) -> list[str]:
    """What a spec's file expects of it, checked here or not (a contract on the defaults says nothing of other parameters)."""
    if isinstance(thing, Graph):
        return []
    return [" ".join(e.span.text.split()).removeprefix("expect ") for e in thing.namespace.expects if e.arch == thing.name]


def _contracts(a: list[str], b: list[str]) -> list[tuple[str, str]]:
    return [("removed", t) for t in a if t not in b] + [("added", t) for t in b if t not in a]


# ---- costs --------------------------------------------------------------------------------------------------------------------------


def _costs(a: Graph, b: Graph, sizes: dict[str, int]) -> list[Cost]:
    one, two = cost.Costs(), cost.Costs()
    figures = [
        ("parameters", one.parameters(a.root), two.parameters(b.root)),
        ("FLOPs", one.flops(a.root), two.flops(b.root)),
        ("state bytes", cost.state_bytes(a.root), cost.state_bytes(b.root)),
        ("activation bytes", cost.activation_bytes(a, one), cost.activation_bytes(b, two)),
    ]
    found = []
    for name, before, after in figures:
        chosen = chosen_sizes([after], chosen_sizes([before], sizes, a.facts) | sizes, b.facts) | chosen_sizes([before], sizes, a.facts)
        found.append(Cost(name, cost.at(before, chosen), cost.at(after, chosen), at_sizes(chosen)))
    return found


def _cost_line(c: Cost) -> str:
    change = f" ({(c.after - c.before) / c.before:+.1%})" if c.before else ""
    return f"{c.name}{f' at {c.at}' if c.at else ''}: {c.before:,} -> {c.after:,}{change}"


# ---- weights ------------------------------------------------------------------------------------------------------------------------

_ROUND = re.compile(r"(?<=\.)\d+(?=\.)")


def _weights(a: dict[str, tuple[int, ...]], b: dict[str, tuple[int, ...]], renamed: list[tuple[str, str]]) -> list[WeightChange]:
    """Weights of one side that the other lacks or has in another shape; rounds that agree are one row."""
    gone, new = {x for x, _ in renamed}, {y for _, y in renamed}
    groups: dict[tuple[str, Any, Any], list[str]] = {}
    for path in [*a, *(p for p in b if p not in a)]:
        before, after = None if path in gone else a.get(path), None if path in new else b.get(path)
        if before != after:
            groups.setdefault((_ROUND.sub("*", path), before, after), []).append(path)
    totals: dict[str, int] = {}
    for path in a.keys() | b.keys():
        totals[_ROUND.sub("*", path)] = totals.get(_ROUND.sub("*", path), 0) + 1
    return [
        WeightChange(_folded(paths) if len(paths) < totals[path] else path, before, after, len(paths))
        for (path, before, after), paths in groups.items()
    ]


def _folded(paths: list[str]) -> str:
    """Paths that differ in their rounds as one: `layers.30..31.norm.weight`; `*` where there is more than one level."""
    numbers = [int(m) for path in paths for m in _ROUND.findall(path)]
    if len(numbers) != len(paths) or numbers[-1] - numbers[0] != len(numbers) - 1 or len(numbers) == 1:
        return paths[0] if len(paths) == 1 else _ROUND.sub("*", paths[0])
    return _ROUND.sub(f"{numbers[0]}..{numbers[-1]}", paths[0])


def _renamed(moved: list[tuple[str, str]], a: dict[str, tuple[int, ...]], b: dict[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    """Weights of corresponding instances that keep their shape under another path."""
    other = dict(moved)
    found = []
    for path, shape in a.items():
        owner, _, name = path.rpartition(".")
        for place, leaf in ((owner, f".{name}"), (path, "")):
            target = other.get(_ROUND.sub("*", place + ".")[:-1])
            if target is not None:
                rounds = iter(_ROUND.findall(place + "."))
                there = re.sub(r"\*", lambda _: next(rounds, "*"), target) + leaf  # noqa: B023
                if b.get(there) == shape and there not in a and path not in b:
                    found.append((path, there))
    return found


def _short_renames(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Renames without what both paths end in and with rounds folded, each once: `layers -> blocks`."""
    found: dict[tuple[str, str], None] = {}
    for a, b in pairs:
        x, y = _ROUND.sub("*", a).split("."), _ROUND.sub("*", b).split(".")
        while len(x) > 1 and len(y) > 1 and x[-1] == y[-1]:
            x.pop(), y.pop()
        found[".".join(x), ".".join(y)] = None
    return list(found)


def _weight_line(w: WeightChange) -> tuple[str, str]:
    times = f"  ({w.count} x)" if w.count > 1 else ""
    if w.before is None:
        return "+", f"{w.path} {list(w.after or ())}{times}: new, keeps its first values"
    if w.after is None:
        return "-", f"{w.path} {list(w.before)}{times}: no longer there"
    return "~", f"{w.path} {list(w.before)} -> {list(w.after)}{times}"


# ---- text ---------------------------------------------------------------------------------------------------------------------------

_SIGNS = {"added": "+", "removed": "-", "changed": "~", "wiring": "~", "choice": "~"}
_COLORS = {"+": "\x1b[32m", "-": "\x1b[31m", "~": "\x1b[33m"}


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    lines = [f"  {sign or ' '} {text}" for sign, text in rows[:SHOWN]]
    if len(rows) > SHOWN:
        lines.append(f"    … and {len(rows) - SHOWN} more")
    return ["", f"{title}:", *lines]


def _painted(line: str) -> str:
    sign = line[2:3] if line.startswith("  ") else ""
    return f"{_COLORS[sign]}{line}\x1b[0m" if sign in _COLORS else line


__all__ = ["Change", "Cost", "Diff", "WeightChange", "diff"]
