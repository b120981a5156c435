"""`loop n { B }`: one instance of B applied n times."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label
from archdsl.elaboration.body import Body, build_region
from archdsl.elaboration.dispatch import Application, applies, outputs
from archdsl.elaboration.kinds import ClosureRecipe, PrimitiveRecipe, Scope, type_key
from archdsl.elaboration.nodes import primitive
from archdsl.elaboration.rounds import in_scope, round_indices
from archdsl.elaboration.statements import fill
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Init, Instance, Region, TensorType, Value
from archdsl.graph.sizes import decide_equal
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES


@applies(ast.Loop)
def _loop(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    """An index is a value here, since the weights may not depend on it."""
    node, bound = recipe.node, at.bound
    assert isinstance(node, ast.Loop)
    inputs = [body.resolve(v) for v in inputs]
    indices = round_indices(body, recipe, node.count)
    if indices and any(b - a != 1 for a, b in itertools.pairwise(indices)):
        body.fail("AD0235", "a loop runs over a range of whole numbers", node.count.span)
    name = bound.name if bound is not None else body.claim("loop", at.label, at.span)
    types = [v.type for v in inputs]
    options = _until(body, recipe, node.until)
    region = _region(body, recipe, node, name, types, options, at)
    _check_fixed_point(body, node, region, types)
    attrs: dict[str, Any] = {
        "carried": len(inputs),
        "count": len(indices),
        "start": indices[0] if indices else 0,
        "index": node.variable is not None,
        "step": _step_size(body, recipe, node),
        "until": options,
        "named": at.label is not None or bound is not None,  # a named loop's count may be changed in the built module
    }
    if bound is not None and bound.instance is not None:
        instance = body.borrow(bound.instance)
    else:
        instance = body.place(Instance(name, "loop", body.region, region=region), bound)
    captured = [body.resolve(outer) for outer, _ in region.captures]
    ponders = options is not None and options["cost"] > 0
    given = [*types, *([TensorType((), "float", batched=False)] if ponders else [])]
    out = body.add("loop", [*inputs, *captured], attrs, given, at.span, instance, [body.borrow(b) for b in region.borrowed])
    if ponders:
        body.region.aux[f"{name}_ponder"] = out[-1]
    return outputs(out[: len(types)])


def _region(
    body: Body,
    recipe: ClosureRecipe,
    node: ast.Loop,
    name: str,
    types: list[TensorType],
    options: dict[str, float] | None,
    at: Application,
) -> Region:
    """One round: its inputs are the index, if it has a name, and what is carried; its last output says when to halt, if it does."""
    syntax, until = node.body, node.until

    def fill_in(child: Body) -> None:
        index = Value(TensorType((), "int", False), child.region, None, node.variable)
        if node.variable:
            child.scope.local[node.variable] = index
        fill(child, syntax, types, name, at.span)
        if node.variable:
            child.region.inputs.insert(0, index)
        if until is not None:
            child.region.outputs.append(_halting(child, until, options))

    return build_region(
        body,
        ("loop", recipe.key(), type_key(types)),
        lambda: Region(name, "loop", syntax.span),
        lambda: Scope(recipe.scope.namespace, recipe.scope),
        fill_in,
        name,
        Label(at.span, f"in `{name}`, used here"),
        at.bound.owner if at.bound is not None else body,
        recipe,
    )


def _check_fixed_point(body: Body, node: ast.Loop, region: Region, types: list[TensorType]) -> None:
    results = [v.type for v in region.outputs[: len(region.outputs) - (node.until is not None)]]
    same = len(results) == len(types) and all(
        a.rank == b.rank and a.kind == b.kind and all(decide_equal(x, y, body.session.facts) for x, y in zip(a.sizes, b.sizes))
        for a, b in zip(results, types)
    )
    if not same:
        body.fail(
            "AD0224",
            "the body of a loop must keep the shape of what it is given",
            node.body.span,
            f"it takes {', '.join(map(str, types))} and gives {', '.join(map(str, results))}",
            note="A loop applies one instance again and again, so its result must fit its input.",
            hint="Use `repeat` where each round may change the shape.",
        )


def _step_size(body: Body, recipe: ClosureRecipe, node: ast.Loop) -> float | None:
    if node.step is None:
        return None
    value = in_scope(body, recipe, node.step)
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        body.fail("AD0233", "the step of a loop is a number", node.step.span, describe(value))
    return float(value)


def _until(body: Body, recipe: ClosureRecipe, until: ast.Expr | None) -> dict[str, float] | None:
    if until is None:
        return None
    options = {"threshold": 0.99, "bias": 0.0, "cost": 0.0}
    arguments = until.arguments if isinstance(until, ast.Call) else []
    name = until.function if isinstance(until, ast.Call) else until
    if not isinstance(name, ast.Name) or name.id != "halt":
        body.fail("AD0225", "a loop ends `until halt(…)`", until.span, hint="`until halt(threshold=0.99)` stops each position on its own.")
    for argument in arguments:
        value = in_scope(body, recipe, argument.value)
        if argument.name not in options or isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
            body.fail("AD0202", "`halt` takes threshold=, bias= and cost=", argument.span)
        options[argument.name] = float(value)
    return options


def _halting(child: Body, until: ast.Expr, options: dict[str, float] | None) -> Value:
    """The halting unit: one logit per position of the first carried value, weights under `halt` (Graves, arXiv:1603.08983)."""
    state = child.region.outputs[0]
    args: dict[str, Any] = {"out": 1}
    if options and options["bias"]:
        args["bias"] = Init("constant", (options["bias"],))
    recipe = PrimitiveRecipe("linear", until.span, PRIMITIVES["linear"], args)
    value: Value = primitive(child, recipe, [state], Application(until.span, "halt"))
    return value
