"""`route(topk(2), experts=8) { E }`: each position goes to some of several experts; see primitives/support/routing for what it computes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label, suggestion
from archdsl.elaboration.body import MAX_ROUNDS, Body
from archdsl.elaboration.dispatch import Application, applies, outputs
from archdsl.elaboration.kinds import ClosureRecipe, PrimitiveRecipe
from archdsl.elaboration.nodes import primitive
from archdsl.elaboration.rounds import check_keeps, in_scope, round_region
from archdsl.elaboration.skip import skip
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Instance, Value
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES

ROUTERS = ("topk", "relu", "expert_choice", "hash", "soft")


@applies(ast.Route)
def _routed(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    node = recipe.node
    assert isinstance(node, ast.Route)
    if at.bound is not None and at.bound.instance is not None:
        body.fail("AD0306", f"a bound `{node.kind}` can be applied once", at.span, labels=[Label(at.bound.span, "bound here")])
    if len(inputs) != 1:
        body.fail("AD0203", f"`{node.kind}` takes 1 value, not {len(inputs)}", at.span)
    x = body.resolve(inputs[0])
    if node.kind == "skip":
        return skip(body, recipe, node, x, at)
    if node.kind != "route":
        body.fail("AD0225", f"there is no router form `{node.kind}`", node.span, hint="Known: route, skip.")
    return _route(body, recipe, node, x, at)


def _route(body: Body, recipe: ClosureRecipe, node: ast.Route, x: Value, at: Application) -> Any:
    router, experts, logits = _options(body, recipe, node, x)
    name = at.bound.name if at.bound is not None else body.claim("experts", at.label, at.span)
    regions = [round_region(body, recipe, node.body, "expert", name, {}, [x], f"{name}.{i}", at.span) for i in range(experts)]
    if any(r.captures or r.borrowed for r in regions):
        body.fail(
            "AD0226", "an expert can't use values of the body around it", node.body.span, "each expert sees only the tokens sent to it"
        )
    check_keeps(body, node, regions[0], x)
    instance = body.place(Instance(name, "route", body.region, rounds=regions), at.bound)
    return outputs(body.add("route", [x, logits], {"router": router, "experts": experts}, [x.type], at.span, instance))


def _options(body: Body, recipe: ClosureRecipe, node: ast.Route, x: Value) -> tuple[dict[str, Any], int, Value]:
    """The router's settings, how many experts there are, and the scores of the positions for them."""
    positional = [a for a in node.arguments if a.name is None]
    if len(positional) != 1:
        body.fail(
            "AD0225",
            "`route` takes one router",
            node.span,
            f"known routers: {', '.join(ROUTERS)}",
            hint="For example `route(topk(2), experts=8) { … }`.",
        )
    kind, args = _router(body, recipe, positional[0].value)
    options: dict[str, Any] = {"experts": None, "logits": None, "normalise": True, "capacity": None}
    for argument in node.arguments:
        if argument.name is None:
            continue
        if argument.name not in options:
            body.fail("AD0202", f"`route` has no parameter `{argument.name}`", argument.span, hint=f"It takes {', '.join(options)}.")
        options[argument.name] = in_scope(body, recipe, argument.value)
    logits, experts = options["logits"], options["experts"]
    if isinstance(logits, Value):
        logits = body.resolve(logits)
        size = logits.type.sizes[-1] if logits.type.rank else None
        experts = experts if experts is not None else size
        if size != experts:
            body.fail(
                "AD0301", "the logits do not fit the experts", node.span, f"{experts} experts, but the last axis of the logits is {size}"
            )
    if not isinstance(experts, int) or isinstance(experts, bool) or not 1 <= experts <= MAX_ROUNDS:
        body.fail("AD0204", "`route` needs the number of experts", node.span, hint="For example `experts=8`.")
    if kind == "topk" and not 1 <= (args[0] if args else 1) <= experts:
        body.fail("AD0407", f"topk({args[0]}) of {experts} experts", positional[0].span, "k is between 1 and the number of experts")
    if not isinstance(logits, Value):
        gate = PrimitiveRecipe("linear", node.span, PRIMITIVES["linear"], {"out": experts, "bias": False})
        logits = primitive(body, gate, [x], Application(node.span, None if "router" in body.region.instances else "router"))
    capacity = options["capacity"]
    if capacity is None and kind == "expert_choice" and args:
        capacity = args[0]
    router = {
        "kind": kind,
        "k": (args[0] if args else 1) if kind in ("topk", "hash") else None,
        "capacity": float(capacity) if capacity is not None else None,
        "normalise": bool(options["normalise"]),
    }
    return router, experts, logits


def _router(body: Body, recipe: ClosureRecipe, node: ast.Expr) -> tuple[str, list[Any]]:
    name = node.function if isinstance(node, ast.Call) else node
    arguments = node.arguments if isinstance(node, ast.Call) else []
    if not isinstance(name, ast.Name) or name.id not in ROUTERS:
        text = name.id if isinstance(name, ast.Name) else ""
        body.fail(
            "AD0225",
            f"there is no router `{text}`" if text else "a router is named here",
            node.span,
            hint=suggestion(text, ROUTERS, f"Known: {', '.join(ROUTERS)}."),
        )
    args = [in_scope(body, recipe, a.value) for a in arguments]
    for value, argument in zip(args, arguments):
        if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)) or (name.id == "topk" and not isinstance(value, int)):
            body.fail("AD0233", f"`{name.id}` takes a number", argument.span, describe(value))
    return name.id, args
