"""What the operations that hold regions share: how often they run, their regions, and what those use from outside."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label, Span
from archdsl.elaboration.body import MAX_ROUNDS, Body, build_region
from archdsl.elaboration.dispatch import evaluate
from archdsl.elaboration.kinds import ClosureRecipe, Scope, StaticRange, freeze, type_key
from archdsl.elaboration.statements import fill
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Region, Value
from archdsl.language import syntax as ast


def in_scope(body: Body, recipe: ClosureRecipe, node: ast.Expr) -> Any:
    """Evaluates one of the closure's own expressions (its count, its router) where the closure was written."""
    outer = body.scope
    body.scope = recipe.scope
    try:
        return evaluate(body, node)
    finally:
        body.scope = outer


def round_indices(body: Body, recipe: ClosureRecipe, count: ast.Expr) -> list[Any]:
    """What the index of each round is, for a count or a range."""
    value = in_scope(body, recipe, count)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            body.fail("AD0408", f"cannot repeat {value} times", count.span)
        value = StaticRange(0, value)
    if not isinstance(value, (StaticRange, list)):
        hint = "A count is a whole number: `repeat 12 { … }`, or a range: `repeat i in 0..12 { … }`."
        if isinstance(value, Fraction):
            body.fail("AD0407", f"cannot repeat {value} times", count.span, "this does not divide evenly", hint=hint)
        body.fail("AD0235", "the number of rounds must be a whole number or a range", count.span, describe(value), hint=hint)
    if len(value) > MAX_ROUNDS:
        body.fail("AD0404", f"{len(value):,} rounds are too many", count.span, f"at most {MAX_ROUNDS:,}")
    return list(value)


def round_region(
    body: Body,
    recipe: ClosureRecipe,
    syntax: ast.Body,
    kind: str,
    name: str,
    local: dict[str, Any],
    inputs: list[Value],
    path: str,
    span: Span,
) -> Region:
    """The region of one round (a side of `train`, an expert): `local` holds its index, if it has one; `path` is what its decisions begin with."""
    types = [v.type for v in inputs]
    key = (kind, recipe.key(), syntax, freeze(local), type_key(types))
    return build_region(
        body,
        key,
        lambda: Region(name, kind, syntax.span),
        lambda: Scope(recipe.scope.namespace, recipe.scope, dict(local)),
        lambda child: fill(child, syntax, types, name, span),
        path,
        Label(span, f"in `{name}`, used here"),
        recipe=recipe,
    )


def captured_by(rounds: list[Region]) -> list[Value]:
    """The outer values any round captures, each once."""
    return list(dict.fromkeys(outer for region in rounds for outer, _ in region.captures))


def check_keeps(body: Body, node: ast.Route, region: Region, x: Value) -> None:
    """Refuses a body that changes the shape: what goes around it could not be put together with what went through."""
    out = [v.type for v in region.outputs]
    if len(out) != 1 or out[0].sizes != x.type.sizes:
        body.fail(
            "AD0224",
            f"the body of `{node.kind}` must keep the shape of what it is given",
            node.body.span,
            f"it takes {x.type} and gives {', '.join(map(str, out))}",
        )
