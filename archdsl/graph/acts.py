"""Activations: a declared act with its static arguments becomes formulas for its value and its derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from archdsl.graph.calculus import NoDerivative, derivative
from archdsl.graph.expressions import Custom, Expr, order, var
from archdsl.graph.lowering import Entry, Lowering, Resolve, distinct, fail
from archdsl.language import syntax
from archdsl.stack import with_room

ROOM = 750  # calls that an act may need: six for each of the MAX_HEIGHT operators and calls stacked in it


@dataclass(frozen=True, slots=True)
class Learned:
    """A learned parameter: one number, or one per entry of the axis named at use; `init` is where it begins."""

    name: str
    per_axis: bool
    init: float


@dataclass(frozen=True)
class Act:
    """A lowered act. Two acts are equal if they compute the same, under the same name.

    forward and backward are in the variables `inputs` and the learned parameters' names. custom: the slope was declared, here or in an
    act it calls, so it need not be the derivative of `forward`.
    """

    name: str
    statics: tuple[tuple[str, float], ...]
    inputs: tuple[str, ...]
    learned: tuple[Learned, ...]
    forward: Expr
    slopes: tuple[tuple[str, Expr], ...]
    custom: bool
    text: str = ""  # the formula as written, for people

    @cached_property
    def backward(self) -> dict[str, Expr]:
        """d forward / d name for every input and learned parameter (the declared slope where there is one)."""
        return dict(self.slopes)


def lower_act(decl: syntax.ActDecl, statics: Mapping[str, int | float | Fraction], resolve: Resolve) -> Act:
    """An act with its static arguments.

    statics: numbers by name; parameters left out take their defaults; the name of a learned parameter sets where that begins. resolve: see
    `lowering.lower`. Raises ArchError (AD0280 to AD0288).
    """
    return with_room(ROOM, lambda: _lower_act(decl, statics, resolve))


def _lower_act(decl: syntax.ActDecl, statics: Mapping[str, int | float | Fraction], resolve: Resolve) -> Act:
    lowering = Lowering(resolve)
    distinct(decl)
    begins = {p.name for p in decl.learned}
    given: dict[str, Entry] = {k: v for k, v in statics.items() if k not in begins}
    unknown = sorted(given.keys() - {p.name for p in decl.parameters})
    if unknown:
        fail("AD0281", f"`{decl.name}` has no parameter `{unknown[0]}`", decl.name_span, "declared here")
    env = lowering.environment(decl, given)
    names = [p.name for p in decl.parameters]
    numbers = tuple((n, lowering.number(syntax.Name(decl.name_span, n), env, f"`{n}` of {decl.name}")) for n in names)
    learned = tuple(_learned(lowering, decl, p, env, statics) for p in decl.learned)
    inputs = {name: var(name) for name in decl.inputs}
    value = lowering.body(decl, inputs, {**given, **{p.name: var(p.name) for p in learned}}, resolve, decl.name_span)
    try:
        slopes = tuple((name, derivative(value, name)) for name in [*decl.inputs, *(p.name for p in learned)])
    except NoDerivative as problem:
        fail(
            "AD0285", f"no derivative is known for `{problem.function}`, which `{decl.name}` uses", decl.forward.span,
            note=f"{problem.reason[0].upper()}{problem.reason[1:]}.", hint=f"Declare it: `act {decl.name}(…) = … backward …`.",
        )  # fmt: skip
    declared = any(isinstance(n, Custom) for n in order(value))
    return Act(decl.name, numbers, tuple(decl.inputs), learned, value, slopes, declared, decl.forward.span.text)


def _learned(
    lowering: Lowering,
    decl: syntax.ActDecl,
    p: syntax.LearnedParameter,
    env: Mapping[str, Entry],
    statics: Mapping[str, int | float | Fraction],
) -> Learned:
    per_axis = False
    if p.shape is not None:
        dims = p.shape.dims
        named = len(dims) == 1 and isinstance(dims[0], syntax.Name) and dims[0].id == "axis"
        per_axis = named and p.shape.kind == "float" and not p.shape.groups
        if not per_axis and dims:
            fail(
                "AD0286", f"a learned parameter of an activation is one number, or one per entry of an axis: `{p.name}`", p.shape.span,
                hint=f"Write `{p.name} = …` or `{p.name}: [axis] = …`.",
            )  # fmt: skip
    start = float(statics[p.name]) if p.name in statics else lowering.number(p.default, env, f"the start of `{p.name}` of {decl.name}")
    return Learned(p.name, per_axis, start)
