"""`skip(router, capacity=1/8) { B }`: some positions go through B, the others around it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.elaboration.body import Body, Bound
from archdsl.elaboration.dispatch import Application, apply, outputs
from archdsl.elaboration.kinds import ClosureRecipe, Module, PrimitiveRecipe
from archdsl.elaboration.regions import call_types
from archdsl.elaboration.rounds import check_keeps, in_scope, round_region
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Instance, TensorType, Value
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES


def skip(body: Body, recipe: ClosureRecipe, node: ast.Route, x: Value, at: Application) -> Any:
    capacity, gated, predict, router = _options(body, recipe, node)
    scores = _scores(body, node, router, x)
    name = at.bound.name if at.bound is not None else body.claim("skip", at.label, at.span)
    region = round_region(body, recipe, node.body, "expert", name, {}, [x], name, at.span)
    check_keeps(body, node, region, x)
    instance = body.place(Instance(name, "skip", body.region, region=region), at.bound)
    inputs = [x, body.resolve(scores), *(body.resolve(outer) for outer, _ in region.captures)]
    types = call_types(region, inputs)
    if predict:
        types.append(TensorType((), "float", batched=False))
    attrs = {"capacity": capacity, "gated": gated, "predict": predict}
    out = body.add("skip", inputs, attrs, types, at.span, instance, [body.borrow(b) for b in region.borrowed])
    if predict:
        body.region.aux[f"{name}_choice"] = out[-1]
    return outputs(out[:1])


def _options(body: Body, recipe: ClosureRecipe, node: ast.Route) -> tuple[float, bool, float, Any]:
    """capacity, gated, predict, and the router: a module, a value, or None for the usual one."""
    capacity: Any = None
    router: Any = None
    options: dict[str, Any] = {"gated": True, "predict": 0.0}
    for argument in node.arguments:
        value = in_scope(body, recipe, argument.value)
        if argument.name == "capacity":
            capacity = value
        elif argument.name in options:
            options[argument.name] = value
        elif argument.name in (None, "router") and router is None:
            router = value
        else:
            body.fail("AD0202", "`skip` takes a router, capacity=, gated= and predict=", argument.span)
    if not isinstance(options["gated"], bool):
        body.fail("AD0233", "`gated` of skip must be true or false", node.span, describe(options["gated"]))
    if isinstance(options["predict"], bool) or not isinstance(options["predict"], (int, float, Fraction)) or options["predict"] < 0:
        body.fail("AD0233", "`predict` of skip is the weight of a side loss", node.span, describe(options["predict"]))
    if isinstance(capacity, bool) or not isinstance(capacity, (int, float, Fraction)) or not 0 < capacity <= 1:
        body.fail(
            "AD0204",
            "`skip` needs a capacity between 0 and 1",
            node.span,
            "the share of positions that go through the body",
            hint="For example `capacity=1/8`.",
        )
    return float(capacity), options["gated"], float(options["predict"]), router


def _scores(body: Body, node: ast.Route, router: Any, x: Value) -> Value:
    scores = router if router is not None else PrimitiveRecipe("linear", node.span, PRIMITIVES["linear"], {"out": 1})
    if isinstance(scores, Module):
        named = isinstance(scores, Bound) or "router" in body.region.instances
        scores = apply(body, scores, [x], Application(node.span, None if named else "router"))
    if not isinstance(scores, Value) or scores.type.rank != x.type.rank or scores.type.sizes[-1] != 1:
        body.fail(
            "AD0301",
            "the router of `skip` gives one score per position",
            node.span,
            f"it gives {scores.type if isinstance(scores, Value) else describe(scores)}",
            hint="For example `skip(linear(1), capacity=1/8) { … }`.",
        )
    return scores
