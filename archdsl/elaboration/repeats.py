"""Regions that run more or less than once: repeat, loop, route, skip, train."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label, Span
from archdsl.elaboration import apply
from archdsl.elaboration.body import MAX_ROUNDS, Body, build_region
from archdsl.elaboration.evaluate import evaluate, initialiser, is_module
from archdsl.elaboration.kinds import Bound, ClosureRecipe, PrimitiveRecipe, Scope, StaticRange, free_names, freeze, type_key
from archdsl.elaboration.statements import fill
from archdsl.elaboration.statics import describe
from archdsl.elaboration.structure import call_types
from archdsl.graph.ir import Init, Instance, Region, TensorType, Value
from archdsl.graph.sizes import decide_equal
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES


def _in_scope(body: Body, recipe: ClosureRecipe, node: ast.Expr) -> Any:
    """Evaluates one of the closure's own expressions (its count, its router) where the closure was written."""
    outer = body.scope
    body.scope = recipe.scope
    try:
        return evaluate(body, node)
    finally:
        body.scope = outer


def _rounds(body: Body, recipe: ClosureRecipe, count: ast.Expr, variable: str | None) -> list[Any]:
    value = _in_scope(body, recipe, count)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            body.fail("AD0408", f"cannot repeat {value} times", count.span)
        value = StaticRange(0, value)
    if not isinstance(value, (StaticRange, list)):
        hint = "A count is a whole number: `repeat 12 { … }`, or a range: `repeat i in 0..12 { … }`."
        if isinstance(value, Fraction):
            body.fail("AD0407", f"cannot repeat {value} times", count.span, "this does not divide evenly", hint=hint)
        body.fail("AD0210", "the number of rounds must be a whole number or a range", count.span, describe(value), hint=hint)
    if len(value) > MAX_ROUNDS:
        body.fail("AD0404", f"{len(value):,} rounds are too many", count.span, f"at most {MAX_ROUNDS:,}")
    return list(value)


def _round_region(
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
    types = [v.type for v in inputs]
    key = (kind, recipe.key(), id(syntax), freeze(local), type_key(types))
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


def repeat(
    body: Body, recipe: ClosureRecipe, node: ast.Repeat, inputs: list[Value], span: Span, label: str | None, bound: Bound | None
) -> Any:
    """`repeat n { B }`: B anew each round; rounds whose recipe, types and decisions agree share one region."""
    inputs = [body.resolve(v) for v in inputs]
    indices = _rounds(body, recipe, node.count, node.variable)
    if not indices:
        return apply.outputs(inputs)
    if bound is not None and bound.instance is not None:
        body.fail("AD0306", "a bound `repeat` can be applied once", span, labels=[Label(bound.span, "bound here")])
    name = bound.name if bound is not None else body.claim("repeat", label, span)
    uses_index = node.variable is not None and node.variable in free_names(node.body)
    rounds: list[Region] = []
    carried = inputs
    last: tuple[Any, Region, list[Value]] | None = None
    for i, index in enumerate(indices):
        local = {node.variable: index} if uses_index and node.variable else {}
        decided = body.below(f"{name}.{i}")
        if last is not None and not local and not decided and body.session.guide is None and last[0] == type_key([v.type for v in carried]):
            region = last[1]  # the common case, a thousand equal layers, costs nothing more
        else:
            region = _round_region(body, recipe, node.body, "repeat", name, local, carried, f"{name}.{i}", span)
            last = (type_key([v.type for v in carried]), region, carried)
        rounds.append(region)
        types = call_types(region, carried)
        if all(a == b.type for a, b in zip(types, carried)) and len(types) == len(carried):
            continue
        if i + 1 < len(indices):
            _carries(body, node, region, len(types), len(inputs), span)
        carried = [Value(t, body.region) for t in types]
    captured = _joint(body, rounds)
    borrowed = list({id(x): x for r in dict.fromkeys(rounds) for x in r.borrowed}.values())
    for region in dict.fromkeys(rounds):
        _align(region, captured, borrowed)
    instance = body.place(Instance(name, "repeat", body.region, rounds=rounds), bound)
    outer = [body.resolve(v) for v in captured]
    attrs = {"carried": len(inputs), "reversible": node.reversible}
    types = [v.type for v in carried]
    out = body.add("repeat", [*inputs, *outer], attrs, types, span, instance, [body.borrow(b) for b in borrowed])
    return apply.outputs(out)


def _carries(body: Body, node: ast.Repeat, region: Region, given: int, wanted: int, span: Span) -> None:
    if given != wanted:
        body.fail(
            "AD0223",
            f"this repeat carries {wanted} value{'s' if wanted > 1 else ''}, but its body gives {given}",
            node.body.span,
            "each round hands its results to the next",
        )


def _joint(body: Body, rounds: list[Region]) -> list[Value]:
    """The outer values any round captures, each once."""
    seen: dict[int, Value] = {}
    for region in dict.fromkeys(rounds):
        for outer, _ in region.captures:
            seen.setdefault(id(outer), outer)
    return list(seen.values())


def _align(region: Region, captured: list[Value], borrowed: list[Instance]) -> None:
    """Gives every round the same captures and borrowed instances in the same order, so that one call form fits all."""
    own = {id(outer): inner for outer, inner in region.captures}
    region.captures = [(outer, own.get(id(outer)) or Value(outer.type, region, None, outer.name)) for outer in captured]
    region.borrowed = list(borrowed)


def loop(body: Body, recipe: ClosureRecipe, node: ast.Loop, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    """`loop n { B }`: one instance of B applied n times; an index is a value, since the weights may not depend on it."""
    inputs = [body.resolve(v) for v in inputs]
    indices = _rounds(body, recipe, node.count, node.variable)
    if indices and any(b - a != 1 for a, b in itertools.pairwise(indices)):
        body.fail("AD0210", "a loop runs over a range of whole numbers", node.count.span)
    name = bound.name if bound is not None else body.claim("loop", label, span)
    syntax, until = node.body, node.until
    types = [v.type for v in inputs]
    uses_index = node.variable is not None
    options = _until(body, recipe, until)

    def fill_in(child: Body) -> None:
        if uses_index and node.variable:
            index = Value(TensorType((), "int", False), child.region, None, node.variable)
            child.scope.local[node.variable] = index
        fill(child, syntax, types, name, span)
        if uses_index and node.variable:
            child.region.inputs.insert(0, index)
        if until is not None:
            child.region.outputs.append(_halting(child, until, options))

    region = build_region(
        body,
        ("loop", recipe.key(), type_key(types)),
        lambda: Region(name, "loop", syntax.span),
        lambda: Scope(recipe.scope.namespace, recipe.scope),
        fill_in,
        name,
        Label(span, f"in `{name}`, used here"),
        bound.owner if bound is not None else body,
        recipe,
    )
    extra = 1 if until is not None else 0
    _fixed_point(body, node, region, types, extra)
    attrs: dict[str, Any] = {
        "carried": len(inputs),
        "count": len(indices),
        "start": indices[0] if indices else 0,
        "index": uses_index,
        "step": _step_size(body, recipe, node),
        "until": options,
        "named": label is not None or bound is not None,  # a named loop's count may be changed in the built module
    }
    if bound is not None and bound.instance is not None:
        instance = body.borrow(bound.instance)
    else:
        instance = body.place(Instance(name, "loop", body.region, region=region), bound)
    captured = [body.resolve(outer) for outer, _ in region.captures]
    ponders = options is not None and options["cost"] > 0
    given = [*types, *([TensorType((), "float", batched=False)] if ponders else [])]
    out = body.add("loop", [*inputs, *captured], attrs, given, span, instance, [body.borrow(b) for b in region.borrowed])
    if ponders:
        body.region.aux[f"{name}_ponder"] = out[-1]
    return apply.outputs(out[: len(types)])


def _fixed_point(body: Body, node: ast.Loop, region: Region, types: list[TensorType], extra: int) -> None:
    results = [v.type for v in region.outputs[: len(region.outputs) - extra]]
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
    value = _in_scope(body, recipe, node.step)
    if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
        body.fail("AD0210", "the step of a loop is a number", node.step.span, describe(value))
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
        value = _in_scope(body, recipe, argument.value)
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
    value: Value = apply.primitive(child, recipe, [state], until.span, "halt")
    return value


# ---- routers --------------------------------------------------------------------------------------------------------------------

ROUTERS = ("topk", "relu", "expert_choice", "hash", "soft")


def route(
    body: Body, recipe: ClosureRecipe, node: ast.Route, inputs: list[Value], span: Span, label: str | None, bound: Bound | None
) -> Any:
    """`route(topk(2), experts=8) { E }` and `skip(router, capacity=1/8) { B }`; see primitives/support/routing for what they compute."""
    if bound is not None and bound.instance is not None:
        body.fail("AD0306", f"a bound `{node.kind}` can be applied once", span, labels=[Label(bound.span, "bound here")])
    if len(inputs) != 1:
        body.fail("AD0203", f"`{node.kind}` takes 1 value, not {len(inputs)}", span)
    x = body.resolve(inputs[0])
    if node.kind == "skip":
        return _skip(body, recipe, node, x, span, label, bound)
    if node.kind != "route":
        body.fail("AD0225", f"there is no router form `{node.kind}`", node.span, hint="Known: route, skip.")
    router, options, logits = _route_options(body, recipe, node, x)
    name = bound.name if bound is not None else body.claim("experts", label, span)
    experts = options["experts"]
    regions = [_round_region(body, recipe, node.body, "expert", name, {}, [x], f"{name}.{i}", span) for i in range(experts)]
    captured = _joint(body, regions)
    if captured or any(r.borrowed for r in regions):
        body.fail(
            "AD0226", "an expert can't use values of the body around it", node.body.span, "each expert sees only the tokens sent to it"
        )
    _keeps(body, node, regions[0], x)
    instance = body.place(Instance(name, "route", body.region, rounds=regions), bound)
    attrs = {"router": router, "experts": experts}
    return apply.outputs(body.add("route", [x, logits], attrs, [x.type], span, instance))


def _keeps(body: Body, node: ast.Route, region: Region, x: Value) -> None:
    out = [v.type for v in region.outputs]
    if len(out) != 1 or out[0].sizes != x.type.sizes:
        body.fail(
            "AD0224",
            f"the body of `{node.kind}` must keep the shape of what it is given",
            node.body.span,
            f"it takes {x.type} and gives {', '.join(map(str, out))}",
        )


def _route_options(body: Body, recipe: ClosureRecipe, node: ast.Route, x: Value) -> tuple[dict[str, Any], dict[str, Any], Value]:
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
        options[argument.name] = _in_scope(body, recipe, argument.value)
    logits = options["logits"]
    experts = options["experts"]
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
    options["experts"] = experts
    if kind == "topk" and not 1 <= (args[0] if args else 1) <= experts:
        body.fail("AD0407", f"topk({args[0]}) of {experts} experts", positional[0].span, "k is between 1 and the number of experts")
    if not isinstance(logits, Value):
        gate = PrimitiveRecipe("linear", node.span, PRIMITIVES["linear"], {"out": experts, "bias": False})
        logits = apply.primitive(body, gate, [x], node.span, "router" if "router" not in body.region.instances else None)
    router = {
        "kind": kind,
        "k": (args[0] if args else 1) if kind in ("topk", "hash") else None,
        "capacity": float(options["capacity"])
        if options["capacity"] is not None
        else (float(args[0]) if kind == "expert_choice" and args else None),
        "normalise": bool(options["normalise"]),
    }
    return router, options, logits


def _router(body: Body, recipe: ClosureRecipe, node: ast.Expr) -> tuple[str, list[Any]]:
    name = node.function if isinstance(node, ast.Call) else node
    arguments = node.arguments if isinstance(node, ast.Call) else []
    if not isinstance(name, ast.Name) or name.id not in ROUTERS:
        from archdsl.diagnostics import suggestion

        text = name.id if isinstance(name, ast.Name) else ""
        body.fail(
            "AD0225",
            f"there is no router `{text}`" if text else "a router is named here",
            node.span,
            hint=suggestion(text, ROUTERS, f"Known: {', '.join(ROUTERS)}."),
        )
    args = [_in_scope(body, recipe, a.value) for a in arguments]
    for value, argument in zip(args, arguments):
        if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)) or (name.id == "topk" and not isinstance(value, int)):
            body.fail("AD0210", f"`{name.id}` takes a number", argument.span, describe(value))
    return name.id, args


def _skip(body: Body, recipe: ClosureRecipe, node: ast.Route, x: Value, span: Span, label: str | None, bound: Bound | None) -> Any:
    capacity: Any = None
    router: Any = None
    options: dict[str, Any] = {"gated": True, "predict": 0.0}
    for argument in node.arguments:
        value = _in_scope(body, recipe, argument.value)
        if argument.name == "capacity":
            capacity = value
        elif argument.name in options:
            options[argument.name] = value
        elif argument.name in (None, "router") and router is None:
            router = value
        else:
            body.fail("AD0202", "`skip` takes a router, capacity=, gated= and predict=", argument.span)
    if not isinstance(options["gated"], bool):
        body.fail("AD0210", "`gated` of skip must be true or false", node.span, describe(options["gated"]))
    if isinstance(options["predict"], bool) or not isinstance(options["predict"], (int, float, Fraction)) or options["predict"] < 0:
        body.fail("AD0210", "`predict` of skip is the weight of a side loss", node.span, describe(options["predict"]))
    if isinstance(capacity, bool) or not isinstance(capacity, (int, float, Fraction)) or not 0 < capacity <= 1:
        body.fail(
            "AD0204",
            "`skip` needs a capacity between 0 and 1",
            node.span,
            "the share of positions that go through the body",
            hint="For example `capacity=1/8`.",
        )
    if router is None:
        router = PrimitiveRecipe("linear", node.span, PRIMITIVES["linear"], {"out": 1})
    if is_module(router):
        scores = apply.module(
            body, router, [x], node.span, "router" if not isinstance(router, Bound) and "router" not in body.region.instances else None
        )
    else:
        scores = router
    if not isinstance(scores, Value) or scores.type.rank != x.type.rank or scores.type.sizes[-1] != 1:
        body.fail(
            "AD0301",
            "the router of `skip` gives one score per position",
            node.span,
            f"it gives {scores.type if isinstance(scores, Value) else describe(scores)}",
            hint="For example `skip(linear(1), capacity=1/8) { … }`.",
        )
    name = bound.name if bound is not None else body.claim("skip", label, span)
    region = _round_region(body, recipe, node.body, "expert", name, {}, [x], name, span)
    _keeps(body, node, region, x)
    instance = body.place(Instance(name, "skip", body.region, region=region), bound)
    attrs = {"capacity": float(capacity), "gated": options["gated"], "predict": float(options["predict"])}
    inputs = [x, body.resolve(scores), *(body.resolve(outer) for outer, _ in region.captures)]
    types = call_types(region, inputs)
    if attrs["predict"]:
        types.append(TensorType((), "float", batched=False))
    out = body.add("skip", inputs, attrs, types, span, instance, [body.borrow(b) for b in region.borrowed])
    if attrs["predict"]:
        body.region.aux[f"{name}_choice"] = out[-1]
    return apply.outputs(out[:1])


def train(
    body: Body, recipe: ClosureRecipe, node: ast.Train, inputs: list[Value], span: Span, label: str | None, bound: Bound | None
) -> Any:
    """`train { A } else { B }`: A while training, B in evaluation."""
    inputs = [body.resolve(v) for v in inputs]
    first = body.claim("in_training", label, span)
    a = _round_region(body, recipe, node.training, "train", first, {}, inputs, first, span)
    one = body.place(Instance(first, "train", body.region, region=a))
    two: Instance | None = None
    b: Region | None = None
    if node.otherwise is not None:
        second = body.claim("in_eval", f"{label}_in_eval" if label else None, span)
        b = _round_region(body, recipe, node.otherwise, "train", second, {}, inputs, second, span)
        two = body.place(Instance(second, "train", body.region, region=b))
    types = call_types(a, inputs)
    other = call_types(b, inputs) if b is not None else [v.type for v in inputs]
    if [t.sizes for t in types] != [t.sizes for t in other]:
        body.fail(
            "AD0227",
            "both sides of `train` must give the same shapes",
            span,
            f"{', '.join(map(str, types))} in training, {', '.join(map(str, other))} otherwise",
        )
    captured = [body.resolve(outer) for outer, _ in a.captures]
    more = [body.resolve(outer) for outer, _ in b.captures] if b is not None else []
    borrowed = [body.borrow(i) for i in [*a.borrowed, *(b.borrowed if b is not None else [])]]
    attrs = {"otherwise": two, "split": len(captured), "carried": len(inputs), "split_borrowed": len(a.borrowed)}
    return apply.outputs(body.add("train", [*inputs, *captured, *more], attrs, other, span, one, borrowed))


__all__ = ["initialiser", "loop", "repeat", "route", "train"]
