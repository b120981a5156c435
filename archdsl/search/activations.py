"""Activations as a search space (Ramachandran et al. 2017, arXiv:1710.05941): core units b(u1(x1), u2(x2)) over the acts of a file.

A candidate is a line of the language, `act found(x; beta = 1.0) = x * sigmoid(beta * x)`, so that whatever takes an act takes what was
found. Two points mean the same if they have the same values on a fixed grid; a point whose value or slope is not finite there is none.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archdsl.diagnostics import ArchError, Diagnostic, Source
from archdsl.graph.acts import Act, lower_act
from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, count_ops, fold, order
from archdsl.language import syntax
from archdsl.language.format import unparse
from archdsl.search.base import Choice, Count, Point, Rejected
from archdsl.search.drivers.common import By, draw
from archdsl.search.forms import named, put
from archdsl.share import share

HERE = [i / 2 for i in range(-16, 17)]  # where value and slope must be finite
LARGEST = 3.4e38  # of float32
SPOTS = [math.sqrt(2) * i / 7 + 0.01 * i * i / 7 for i in range(-12, 13)]  # where functions are compared: nowhere even, odd or periodic
BETAS = (0.6, 1.7, 1.1, -0.7, 2.3, 0.3)  # learned numbers there
INPUTS = ("f, x", "x, f", "f, f")  # of the second unit; f is the first


@dataclass(frozen=True)
class ActCandidate:
    """An activation. costs: operations of the formula, and learned numbers."""

    point: Point
    key: str
    costs: Mapping[str, float]
    act: Act
    declaration: syntax.ActDecl

    def text(self) -> str:
        return unparse(self.declaration) + "\n"


class ActivationSpace:
    """Compositions of up to `units` core units (1 or 2), from the acts of a file: those of one input and those of two."""

    def __init__(self, units: Literal[1, 2] = 1, path: Path | None = None) -> None:
        self.units = units
        self.name = f"activations of {units} core unit" + "s" * (units > 1)
        self.unary, self.binary = _parts(path or share("grammars") / "activations.arch")
        self._known: dict[tuple[tuple[str, int], ...], ActCandidate | Rejected] = {}

    # ---- points ----

    def _rules(self, made: Point) -> Iterator[tuple[str, tuple[str, ...]]]:
        """The decisions in order, for the number of units that the point has."""
        if self.units == 2:
            yield "units", ("1", "2")
        second = self.units == 2 and made.get("units") == 1
        for unit in ("unit1", "unit2") if second else ("unit1",):
            if unit == "unit2":
                yield "unit2/inputs", INPUTS
            yield f"{unit}/left", tuple(self.unary)
            yield f"{unit}/right", tuple(self.unary)
            yield f"{unit}/join", tuple(self.binary)

    def open(self, made: Point) -> Choice | None:
        for path, options in self._rules(made):
            if path not in made:
                return Choice(path, "choice", options, weights=tuple(self._below({**made, path: i}) for i in range(len(options))))
        return None

    def _below(self, made: Point) -> int:
        return math.prod(len(options) for path, options in self._rules(made) if path not in made)

    def count(self) -> Count:
        first = self.open({})
        assert first is not None
        return Count(sum(first.weights or ()), True)

    def sample(self, rng: random.Random, by: By = "derivations") -> dict[str, int]:
        return self._filled({}, rng, by)

    def _filled(self, wanted: Point, rng: random.Random, by: By = "derivations") -> dict[str, int]:
        made: dict[str, int] = {}
        while (choice := self.open(made)) is not None:
            made[choice.path] = wanted[choice.path] if choice.path in wanted else draw(choice, rng, by)
        return made

    def mutate(self, point: Point, rng: random.Random) -> dict[str, int]:
        paths = dict(self._rules(point))
        place = rng.choice([path for path, options in paths.items() if len(options) > 1])
        other = rng.randrange(len(paths[place]) - 1)
        return self._filled({**point, place: other + (other >= point[place])}, rng)

    def cross(self, a: Point, b: Point, rng: random.Random) -> dict[str, int]:
        return self._filled({path: rng.choice([p[path] for p in (a, b) if path in p]) for path in {**a, **b}}, rng)

    def points(self) -> Iterator[dict[str, int]]:
        starts: list[dict[str, int]] = [{"units": 0}, {"units": 1}] if self.units == 2 else [{}]
        for start in starts:
            rules = [(path, options) for path, options in self._rules(start) if path not in start]
            for taken in itertools.product(*(range(len(options)) for _, options in rules)):
                yield {**start, **{path: option for (path, _), option in zip(rules, taken, strict=True)}}

    def point(self, **words: str) -> dict[str, int]:
        """A point by the names of acts: `point(left="identity", right="logistic", join="times")`; the second unit as left2, right2, join2,
        and inputs ("f, x", "x, f" or "f, f"). Raises KeyError, ValueError."""
        wanted: dict[str, int] = {"units": int("join2" in words)} if self.units == 2 else {}
        for path, options in self._rules(wanted):
            if path not in wanted:
                unit, _, part = path.partition("/")
                wanted[path] = options.index(words[part if unit == "unit1" or part == "inputs" else f"{part}2"])
        return wanted

    # ---- functions ----

    def declaration(self, point: Point) -> syntax.ActDecl:
        """The point as an act."""
        learned: list[syntax.LearnedParameter] = []
        taken = {path: options[point[path]] for path, options in self._rules(point)}
        x = named("x")

        def part(declaration: syntax.ActDecl, *inputs: Any) -> Any:
            names = {p.name: named(f"beta{len(learned) + i + 1}") for i, p in enumerate(declaration.learned)}
            learned.extend(syntax.LearnedParameter(p.span, names[p.name].id, p.shape, p.default) for p in declaration.learned)
            return put(declaration.forward, {**names, **dict(zip(declaration.inputs, inputs, strict=True))})

        def unit(name: str, left: Any, right: Any) -> Any:
            sides = [part(self.unary[taken[f"{name}/{side}"]], value) for side, value in (("left", left), ("right", right))]
            return part(self.binary[taken[f"{name}/join"]], *sides)

        formula = unit("unit1", x, x)
        if "unit2/inputs" in taken:
            formula = unit("unit2", *({"f": formula, "x": x}[word] for word in taken["unit2/inputs"].split(", ")))
        if len(learned) == 1:
            formula = put(formula, {learned[0].name: named("beta")})
            learned = [syntax.LearnedParameter(learned[0].span, "beta", learned[0].shape, learned[0].default)]
        return syntax.ActDecl(x.span, "found", x.span, [], ["x"], learned, formula, None)

    def candidate(self, point: Point) -> ActCandidate:
        """The point's activation. Raises Rejected if its value or slope is not finite everywhere on the grid."""
        place = tuple(sorted(point.items()))
        if place not in self._known:
            try:
                self._known[place] = self._candidate(point)
            except Rejected as why:
                self._known[place] = why
        found = self._known[place]
        if isinstance(found, Rejected):
            raise Rejected(*found.args)
        return found

    def _candidate(self, point: Point) -> ActCandidate:
        declaration = self.declaration(point)
        act = lower_act(declaration, {}, lambda name: None)
        _check(act)
        costs = {"operations": float(count_ops(act.forward)), "parameters": float(len(act.learned))}
        return ActCandidate(dict(point), signature(act), costs, act, declaration)

    def distinct(self) -> Iterator[ActCandidate]:
        """Every activation once, in order of the points; of those that mean the same the first."""
        seen = set()
        for point in self.points():
            try:
                candidate = self.candidate(point)
            except Rejected:
                continue
            if candidate.key not in seen:
                seen.add(candidate.key)
                yield candidate


def _parts(path: Path) -> tuple[dict[str, syntax.ActDecl], dict[str, syntax.ActDecl]]:
    """The file's acts of one input and of two. Raises ArchError: AD1019 if the file has none of either kind, or something else than acts."""
    from archdsl.language.parser import parse

    file = parse(Source(str(path), path.read_text(encoding="utf-8")))
    plain = [d for d in file.declarations if isinstance(d, syntax.ActDecl) and not d.parameters and len(d.inputs) in (1, 2)]
    unary = {d.name: d for d in plain if len(d.inputs) == 1}
    binary = {d.name: d for d in plain if len(d.inputs) == 2}
    strange = next((d for d in file.declarations if d not in plain), None)
    if strange is not None or not unary or not binary:
        raise ArchError(
            Diagnostic(
                "AD1019",
                f"{path.name} does not hold the parts of activations",
                strange.span if strange is not None else None,
                "not an act of one or two inputs" if strange is not None else "",
                hint="Write acts of one input and acts of two, without static parameters: `act sine(x) = sin(x)`, `act plus(a, b) = a + b`.",
            )
        )
    return unary, binary


def _columns(root: Expr, given: Mapping[str, Sequence[float]], rows: int) -> list[Any]:
    """The expression's values, one for each row of the inputs given."""
    done: dict[Expr, list[Any]] = {}
    for node in order(root):
        if isinstance(node, Const):
            done[node] = [node.value] * rows
        elif isinstance(node, Var):
            done[node] = list(given[node.name])
        elif isinstance(node, Custom):
            done[node] = done[node.value]
        elif isinstance(node, Apply):
            done[node] = [fold(node.function, values) for values in zip(*(done[a] for a in node.args), strict=True)]
    return done[root]


def _check(act: Act) -> None:
    given = {"x": HERE, **{p.name: [p.init] * len(HERE) for p in act.learned}}
    for what, formula in (("value", act.forward), *((f"slope in {name}", slope) for name, slope in act.slopes)):
        for x, value in zip(HERE, _columns(formula, given, len(HERE)), strict=True):
            if not abs(value) <= LARGEST:
                raise Rejected(f"the {what} is {value:g} at x = {x:g}")


def signature(act: Act) -> str:
    """Equal for activations that are equal up to the names of (up to three) learned numbers."""
    names = [p.name for p in act.learned]
    tables = []
    for betas in itertools.permutations(BETAS[: len(names)]) if len(names) <= 3 else [BETAS]:
        given = {"x": SPOTS, **{name: [beta] * len(SPOTS) for name, beta in zip(names, betas, strict=False)}}
        tables.append(" ".join(_rounded(v) for v in _columns(act.forward, given, len(SPOTS))))
    return hashlib.sha256("\n".join(sorted(tables)).encode()).hexdigest()[:16]


def _rounded(value: float) -> str:
    return "0" if abs(value) < 1e-9 else f"{value:.7e}"
