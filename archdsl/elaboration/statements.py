"""Filling a region from a body of statements: inputs, bindings, weights, results."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import ArchError, Label, Span
from archdsl.elaboration.binding import bind_target
from archdsl.elaboration.body import Body
from archdsl.elaboration.conditions import require
from archdsl.elaboration.dispatch import Application, apply, evaluate
from archdsl.elaboration.initial import initialiser
from archdsl.elaboration.kinds import POISON, Module, Poison
from archdsl.elaboration.shapes import match_shape, shape_of
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Axis, DeclaredAttrs, Init, Instance, TensorType, Value, Weight
from archdsl.language import syntax as ast


def fill(body: Body, syntax: ast.Body, types: list[TensorType], owner: str, call_span: Span) -> None:
    """Elaborates a body applied to inputs of these types into `body.region`."""
    if syntax.expression is not None:
        _point_free(body, syntax.expression, types, owner)
        return
    statements = syntax.statements
    declared = [s for s in statements if isinstance(s, ast.Input)]
    _arity(body, declared, types, owner, call_span)
    reserve(body, statements)
    pending = iter(types)
    result: list[Value] | None = None
    for statement in statements:
        try:
            if isinstance(statement, ast.Input):
                _input(body, statement, next(pending, None))
            elif isinstance(statement, ast.Return):
                result = _return(body, statement, owner)
            else:
                run(body, statement)
        except ArchError as error:
            body.report(error)
            poison(body, statement)
        except Poison:
            poison(body, statement)
    if not any(isinstance(s, ast.Return) for s in statements):
        body.fail(
            "AD0217",
            f"`{owner}` returns nothing",
            Span(syntax.span.source, syntax.span.start, syntax.span.start + 1),
            "this body has no `return`",
            hint="End it with `return value`.",
        )
    if result is None:
        raise Poison
    body.region.outputs = result


def _point_free(body: Body, expression: ast.Expr, types: list[TensorType], owner: str) -> None:
    """`= f -> g` and `{ f -> g }`: the module the expression stands for, applied to the inputs."""
    inputs = [Value(t, body.region) for t in types]
    body.region.inputs = inputs
    thing = evaluate(body, expression)
    if isinstance(thing, Module):
        if not inputs:
            body.fail("AD0203", f"`{owner}` is applied to nothing", expression.span)
        thing = apply(body, thing, inputs, Application(expression.span))
    elif not inputs and isinstance(thing, (Value, tuple)):
        pass
    else:
        body.fail(
            "AD0209",
            f"the body of `{owner}` should be a module",
            expression.span,
            f"this is {describe(thing)}",
            hint="Write a module such as `linear(64) -> relu`, or name the input: `{ in x  return … }`.",
        )
    body.region.outputs = _results(body, thing, expression)


def _results(body: Body, thing: Any, node: ast.Node) -> list[Value]:
    things = list(thing) if isinstance(thing, tuple) else [thing]
    values = []
    for item in things:
        if not isinstance(item, Value):
            hint = "Apply it to a value: `x -> module`." if isinstance(item, Module) else ""
            body.fail("AD0218", "only values can be returned", node.span, f"this is {describe(item)}", hint=hint)
        values.append(body.resolve(item))
    return values


def _return(body: Body, statement: ast.Return, owner: str) -> list[Value]:
    values: list[Value] = []
    for expression in statement.values:
        values += _results(body, evaluate(body, expression), expression)
    return values


def _arity(body: Body, declared: list[ast.Input], types: list[TensorType], owner: str, span: Span) -> None:
    required = [d for d in declared if d.default is None]
    if len(required) <= len(types) <= len(declared):
        return
    names = ", ".join(d.name for d in declared) or "none"
    labels = [Label(declared[0].span.to(declared[-1].span), f"its inputs: {names}")] if declared else []
    count = f"{len(declared)} value{'s' if len(declared) != 1 else ''}"
    body.fail("AD0203", f"`{owner}` takes {count}, not {len(types)}", span, f"given {len(types)}", labels=labels)


def reserve(body: Body, statements: list[Any]) -> None:
    for statement in statements:
        if isinstance(statement, ast.Bind):
            body.reserved.update(t.id + ("'" if t.primed else "") for t in statement.targets)
        elif isinstance(statement, ast.State):
            body.reserved.add(statement.name)


def poison(body: Body, statement: Any) -> None:
    """After a problem: names this statement would have bound stay silent instead of causing errors of their own."""
    names = []
    if isinstance(statement, ast.Bind):
        names = [t.id + ("'" if t.primed else "") for t in statement.targets]
    elif isinstance(statement, ast.Input):
        names = [statement.name]
        names += [d.id for d in (statement.shape.dims if statement.shape else []) if isinstance(d, ast.Name)]
    elif isinstance(statement, (ast.State, ast.ParamDecl)):
        names = [statement.name]
    for name in names:
        if not body.scope.has(name):
            body.scope.local[name] = POISON
    if isinstance(statement, ast.Bind):
        for name in names:
            body.scope.local[name] = POISON


def _input(body: Body, statement: ast.Input, given: TensorType | None) -> None:
    if given is None:
        assert statement.default is not None
        body.bind(statement.name, evaluate(body, statement.default), statement.name_span)
        return
    if statement.shape is not None:
        match_shape(body, statement.shape, given, statement.name)
    value = Value(given, body.region, None, statement.name)
    body.region.inputs.append(value)
    body.bind(statement.name, value, statement.name_span)
    if statement.where is not None:
        require(body, statement.where)


# ---- statements -----------------------------------------------------------------------------------------------------------------


def run(body: Body, statement: Any) -> None:
    """One statement that is neither an input nor a return."""
    if isinstance(statement, ast.Bind):
        _bind(body, statement)
    elif isinstance(statement, ast.Where):
        require(body, statement.condition)
    elif isinstance(statement, ast.ParamDecl):
        parameter(body, statement)
    elif isinstance(statement, ast.Aux):
        value = evaluate(body, statement.value)
        if not isinstance(value, Value):
            body.fail("AD0218", "a side loss must be a value", statement.value.span, describe(value))
        body.region.aux[statement.name] = body.resolve(value)
    elif isinstance(statement, ast.Tap):
        value = evaluate(body, statement.value)
        if not isinstance(value, Value):
            body.fail("AD0218", "a tap must be a value", statement.value.span, describe(value))
        body.region.taps[statement.name] = body.resolve(value)
        body.bind(statement.name, value, statement.span)
    else:
        word = type(statement).__name__.lower()
        body.fail(
            "AD0219",
            f"`{word}` belongs in a scan",
            statement.span,
            "this body is not a scan",
            hint="Recurrences are declared at the top of the file: `scan name { … }`.",
        )


def _bind(body: Body, statement: ast.Bind) -> None:
    targets = statement.targets
    # `scale = param([d])`: a parameter written straight into a binding takes its name.
    body.naming = (statement.value, targets[0].id) if len(targets) == 1 else None
    try:
        thing = evaluate(body, statement.value)
    finally:
        body.naming = None
    for target in targets:
        if target.primed and body.region.kind != "scan":
            body.fail("AD0219", f"`{target.id}'` belongs in a scan", target.span, "only a scan has a next state")
    if len(targets) == 1:
        bind_target(body, targets[0], thing, statement)
        return
    if not isinstance(thing, (tuple, list)):
        body.fail(
            "AD0220",
            f"{len(targets)} names for one thing",
            statement.value.span,
            f"this is {describe(thing)}",
            hint="`split(2)` gives two values; a block may `return a, b`.",
        )
    if len(thing) != len(targets):
        body.fail("AD0220", f"{len(targets)} names for {len(thing)} things", statement.span, f"this gives {len(thing)}")
    for target, item in zip(targets, thing):
        bind_target(body, target, item, statement)


def parameter(body: Body, statement: ast.ParamDecl) -> None:
    """`param R: [n, n] ~ init`: a weight of this body; groups in front of a colon are lead axes (one per head)."""
    init = initialiser(body, statement.init) if statement.init is not None else Init("zeros")
    dims = _fixed(body, statement.shape, statement.shape.dims)
    lead = _fixed(body, statement.shape, statement.shape.groups)
    name = body.claim(statement.name, statement.name, statement.name_span)
    weight = Weight("", tuple(lead + dims), init, statement.shape.kind)  # type: ignore[arg-type]
    instance = body.place(Instance(name, "param", body.region, {"": weight}))
    kind = TensorType(tuple(Axis(d) for d in dims), statement.shape.kind, False)  # type: ignore[arg-type]
    attrs = DeclaredAttrs(shape=lead + dims, init=init, lead=len(lead))
    [value] = body.add("param", [], attrs, [kind], statement.span, instance)
    value.name = statement.name
    body.bind(statement.name, value, statement.name_span)


def _fixed(body: Body, shape: ast.Shape, dims: list[Any]) -> list[int]:
    result = []
    for dim in shape_of(body, ast.Shape(shape.span, shape.kind, dims)):
        if isinstance(dim, ast.Name):
            body.fail(
                "AD0201",
                f"there is no size called `{dim.id}`",
                dim.span,
                "unknown size",
                hint="A weight needs sizes that are known: parameters, or names bound by an input's shape.",
            )
        if not isinstance(dim, int):
            body.fail("AD0305", "a weight needs fixed sizes", shape.span, f"{dim} is only known when data arrives")
        result.append(dim)
    return result
