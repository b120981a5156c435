"""What an activation is like, read off its formula: range, monotony, smoothness, symmetry, moments of what it makes of normal numbers.

Everything is computed from the act's expression in Python floats, with learned parameters where they begin. Ranges and monotony are those on
a grid, fine within [-20, 20] and wide beyond it to 10,000; a value that still grows there counts as unbounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import pairwise

from archdsl.graph.acts import Act, lower_act
from archdsl.graph.calculus import NoDerivative, derivative
from archdsl.graph.expressions import Apply, Builder, Const, Custom, Expr, Var, call, fold, order, var
from archdsl.graph.functions import FUNCTIONS

FINE, NEAR, FAR = 0.025, 20.0, 1e4
_EDGE = 1e-7
NAMED = ("sigmoid", "tanh", "softplus", "logsigmoid", "erf", "atan", "asinh", "sin", "cos")  # activations that need no `act`


@dataclass(frozen=True)
class Properties:
    """kinks: where a derivative jumps. smooth: how many derivatives are continuous: -1 (the value itself jumps), 0, 1, 2, or inf.

    low, high: the range (its ends need not be reached). minimum: (x, value) where the lowest value is reached once. monotone: "rising",
    "falling" or "". symmetry: "odd", "even" or "". flat: whether it goes flat to the left and to the right. mean, std: of its values on
    standard normal numbers.
    """

    low: float
    high: float
    minimum: tuple[float, float] | None
    monotone: str
    smooth: float
    kinks: tuple[float, ...]
    symmetry: str
    flat: tuple[bool, bool]
    at_zero: float
    mean: float
    std: float

    @property
    def bounded(self) -> tuple[bool, bool]:
        """Below and above."""
        return math.isfinite(self.low), math.isfinite(self.high)


class Curve:
    """A one-input act as a function of a number, without declared slopes."""

    def __init__(self, act: Act):
        if len(act.inputs) != 1:
            raise ValueError(f"`{act.name}` takes {len(act.inputs)} values; a curve has one")
        self.variable = act.inputs[0]
        self.start = {p.name: float(p.init) for p in act.learned}
        self.formula = plain(act.forward)
        self._steps: dict[Expr, list[tuple[str, tuple[int, ...]]]] = {}
        self._values: dict[Expr, list[float]] = {}

    def at(self, formula: Expr, x: float) -> float:
        """The value of an expression in the act's variable, as `evaluate` gives it; what there is to do is listed once."""
        if formula not in self._steps:
            self._list(formula)
        values = self._values[formula].copy()
        for function, args in self._steps[formula]:
            values.append(x if not args else fold(function, [values[i] for i in args]))
        return float(values[-1])

    def _list(self, formula: Expr) -> None:
        """Constants first, then a step for each other node."""
        nodes = order(formula)
        fixed: list[Expr] = [n for n in nodes if isinstance(n, Const) or (isinstance(n, Var) and n.name != self.variable)]
        moving = [n for n in nodes if n not in fixed] or [var(self.variable)]
        place = {node: i for i, node in enumerate([*fixed, *moving])}
        if moving[-1] is not formula:  # a constant
            fixed.append(formula)
        self._values[formula] = [self._fixed(n) for n in fixed]
        self._steps[formula] = [(getattr(n, "function", ""), tuple(place[a] for a in n.args)) for n in moving]
        if moving[-1] is not formula:
            self._steps[formula] = []

    def __call__(self, x: float) -> float:
        return self.at(self.formula, x)

    def _fixed(self, node: Expr) -> float:
        if isinstance(node, Const):
            return float(node.value.real)
        assert isinstance(node, Var)
        return self.start[node.name]

    @cached_property
    def slopes(self) -> list[Expr]:
        """The first and second derivative, as far as they are known."""
        found: list[Expr] = []
        try:
            for _ in range(2):
                found.append(derivative(found[-1] if found else self.formula, self.variable))
        except NoDerivative:
            pass
        return found

    @cached_property
    def joints(self) -> list[float]:
        """Where the formula changes sides: ends of `if`, max, min, abs; steps of round and the like. Within [-20, 20]."""
        points = list(_grid(NEAR))
        found: set[float] = set()
        for node in order(self.formula):
            sides = FUNCTIONS[node.function].sides if isinstance(node, Apply) else None
            if sides is not None:
                between = sides(Builder(), *node.args)
                values = [self.at(between, x) for x in points]
                for a, b, u, v in zip(points, points[1:], values, values[1:], strict=False):
                    if u == 0 or (u < 0) != (v < 0):
                        found.add(round(_cross(partial(self.at, between), a, b), 9) + 0.0 if u else a + 0.0)
        return sorted(found)


def plain(root: Expr) -> Expr:
    """The formula with declared slopes left out."""
    done: dict[Expr, Expr] = {}
    for node in order(root):
        if isinstance(node, Custom):
            done[node] = done[node.value]
        elif isinstance(node, Apply):
            done[node] = call(node.function, *(done[a] for a in node.args))
        else:
            done[node] = node
    return done[root]


def properties(act: Act) -> Properties:
    """What a one-input act is like. Raises ValueError for acts of several inputs."""
    curve = Curve(act)
    points = list(_grid(FAR))
    values = [curve(x) for x in points]
    known = [(x, y) for x, y in zip(points, values) if not math.isnan(y)]
    low, high = _end([(x, -y) for x, y in known], lambda x: -curve(x)), _end(known, curve)
    kinks, smooth = _smoothness(curve)
    rising = all(b >= a - 1e-12 * max(1, abs(a)) for a, b in pairwise(values))
    falling = all(b <= a + 1e-12 * max(1, abs(a)) for a, b in pairwise(values))
    mean, variance = moments(curve)
    return Properties(
        -low, high, _minimum(curve, known), "rising" if rising else "falling" if falling else "", smooth, tuple(kinks), _symmetry(curve),
        (_flat(curve, -1), _flat(curve, 1)), curve(0.0), mean, math.sqrt(max(variance, 0.0)),
    )  # fmt: skip


def moments(curve: Callable[[float], float], mean: float = 0.0, variance: float = 1.0) -> tuple[float, float]:
    """Mean and variance of curve(z) for z normal with a mean and variance: how signals travel through a wide layer (arXiv:1706.02515)."""
    spread = math.sqrt(variance)
    joints = [(j - mean) / spread for j in getattr(curve, "joints", ())]
    edges = [-12.0, *(j for j in joints if -12 < j < 12), 12.0]
    first = second = 0.0
    for a, b in pairwise(edges):
        inset = min(1e-9, (b - a) / 4)  # each piece is taken from its own side
        for z, weight in _simpson(a + inset, b - inset, max(2, 2 * math.ceil((b - a) * 40))):
            y = curve(mean + spread * z)
            share = weight * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
            first += share * y
            second += share * y * y
    return first, second - first * first


def fixed_point(curve: Callable[[float], float], rounds: int = 100, weight: float = 1.0) -> tuple[float, float]:
    """Mean and variance after many layers of such units, weights of variance weight / inputs and sum zero, from mean 0 and variance 1."""
    mean, variance = 0.0, 1.0
    for _ in range(rounds):
        mean, variance = moments(curve, 0.0, weight * (variance + mean * mean))
    return mean, variance


# ---- parts


def _grid(far: float) -> Iterator[float]:
    """Numbers from -far to far: close together within 20, then each farther by a twentieth."""
    outer = []
    x = NEAR * 1.05
    while x <= far:
        outer.append(x)
        x *= 1.05
    count = round(NEAR / FINE)
    yield from (-x for x in reversed(outer))
    yield from (i * FINE for i in range(-count, count + 1))
    yield from outer


def _cross(g: Callable[[float], float], a: float, b: float) -> float:
    low = g(a) < 0
    for _ in range(60):
        middle = (a + b) / 2
        if (g(middle) < 0) == low:
            a = middle
        else:
            b = middle
    return (a + b) / 2


def _smoothness(curve: Curve) -> tuple[list[float], float]:
    formulas = [curve.formula, *curve.slopes]
    kinks, least = [], math.inf
    for x in curve.joints:
        edge = _EDGE * max(1.0, abs(x))
        for rank, formula in enumerate(formulas):
            left, right = curve.at(formula, x - edge), curve.at(formula, x + edge)
            if not abs(left - right) <= 1e-4 * max(1.0, abs(left), abs(right)):
                kinks.append(x)
                least = min(least, rank - 1)
                break
        else:
            least = min(least, len(formulas) - 1)
    return kinks, least


def _end(known: list[tuple[float, float]], curve: Callable[[float], float]) -> float:
    """The largest value, sought between the points of the grid too, or infinity where it still grows far out."""
    near = max(y for x, y in known if abs(x) <= 100)
    far = max(y for _, y in known)
    if far == math.inf or far > max(1.5 * near, near + 1):
        return math.inf
    at = max(range(len(known)), key=lambda i: known[i][1])
    return max(far, _top(curve, known[max(at - 1, 0)][0], known[min(at + 1, len(known) - 1)][0])[1])


def _top(curve: Callable[[float], float], a: float, b: float) -> tuple[float, float]:
    """Where between a and b the curve is highest, by thirds, and how high."""
    for _ in range(100):
        left, right = a + (b - a) / 3, b - (b - a) / 3
        a, b = (a, right) if curve(left) > curve(right) else (left, b)
    return (a + b) / 2, curve((a + b) / 2)


def _minimum(curve: Curve, known: list[tuple[float, float]]) -> tuple[float, float] | None:
    values = [y for _, y in known]
    lowest = min(values)
    places = [i for i, y in enumerate(values) if y <= lowest + 1e-9 * max(1.0, abs(lowest))]
    rivals = [y for a, y, b in zip(values, values[1:], values[2:]) if y <= min(a, b) and y <= lowest + 1e-3 * max(1.0, abs(lowest))]
    if len(places) != 1 or len(rivals) != 1 or places[0] in (0, len(known) - 1) or abs(known[places[0]][0]) > NEAR:
        return None
    x, height = _top(lambda x: -curve(x), known[places[0] - 1][0], known[places[0] + 1][0])
    return x, -height


def _symmetry(curve: Curve) -> str:
    pairs = [(curve(x), curve(-x)) for x in (0.137, 0.51, 1.3, 2.9, 7.7)]
    close = [abs(a - b) <= 1e-9 * max(1, abs(a)) for a, b in pairs], [abs(a + b) <= 1e-9 * max(1, abs(a)) for a, b in pairs]
    return "even" if all(close[0]) else "odd" if all(close[1]) else ""


def _flat(curve: Curve, side: int) -> bool:
    ends = [curve(side * x) for x in (3000.0, 5000.0, 10000.0)]
    return max(ends) - min(ends) < 1e-2


def _simpson(a: float, b: float, n: int) -> Iterator[tuple[float, float]]:
    """Points and weights of Simpson's rule with n (even) intervals."""
    h = (b - a) / n
    for i in range(n + 1):
        yield a + i * h, h / 3 * (1 if i in (0, n) else 4 if i % 2 else 2)


@cache
def library() -> dict[str, Act]:
    """Functions that are activations as they stand, and the acts of specs/std/activations.arch with their default arguments, by name."""
    from archdsl.diagnostics import Source
    from archdsl.language import syntax
    from archdsl.language.parser import parse
    from archdsl.share import share

    path = share("specs") / "std" / "activations.arch"
    x = var("x")
    built_in = {name: call(name, x) for name in NAMED}
    acts = {n: Act(n, (), ("x",), (), e, (("x", derivative(e, "x")),), False, f"{n}(x)") for n, e in built_in.items()}
    found = {d.name: d for d in parse(Source(path.name, path.read_text(encoding="utf-8"))).declarations if isinstance(d, syntax.ActDecl)}
    return acts | {name: lower_act(declared, {}, found.get) for name, declared in found.items()}
