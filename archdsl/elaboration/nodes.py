"""Applying primitives: ports checked, parameters completed, types inferred, a node and (with weights) an instance made."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NoReturn

from archdsl.diagnostics import Label, Span
from archdsl.elaboration.acts import lowered_act
from archdsl.elaboration.body import Body, Bound
from archdsl.elaboration.dispatch import Application, applies, outputs
from archdsl.elaboration.kinds import FunctionRecipe, Handed, Module, PrimitiveRecipe
from archdsl.graph.functions import FUNCTIONS as SCALAR_FUNCTIONS
from archdsl.graph.ir import Instance, Origin, Value
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.base import Param, Use


@applies(FunctionRecipe)
def _function(body: Body, recipe: FunctionRecipe, inputs: list[Value], at: Application) -> Any:
    if recipe.name not in SCALAR_FUNCTIONS:
        body.fail("AD0238", f"`{recipe.name}` works on static numbers only", at.span, "given a value")
    return pointwise(body, recipe.name, inputs, at.span)


def pointwise(body: Body, function: str, operands: list[Any], span: Span) -> Any:
    """A scalar function over values; static numbers become constants of the operation."""
    table = SCALAR_FUNCTIONS[function]
    if len(operands) != table.arity:
        body.fail("AD0203", f"`{function}` takes {table.arity} argument{'s' if table.arity > 1 else ''}, not {len(operands)}", span)
    scalars: dict[int, Any] = {}
    values: list[Value] = []
    for position, operand in enumerate(operands):
        if isinstance(operand, Value):
            values.append(body.resolve(operand))
        else:
            scalars[position] = float(operand) if isinstance(operand, Fraction) else operand
    recipe = PrimitiveRecipe("pointwise", span, PRIMITIVES["pointwise"], {"function": function, "scalars": scalars})
    return _node(body, recipe, values, Application(span))


@applies(PrimitiveRecipe)
def primitive(body: Body, recipe: PrimitiveRecipe, inputs: list[Any], at: Application) -> Any:
    """Applies a primitive to values."""
    p = recipe.primitive
    least = len(p.inputs) - p.optional
    if p.variadic:
        if not inputs:
            body.fail("AD0203", f"`{recipe.name}` is applied to nothing", at.span)
    elif not least <= len(inputs) <= len(p.inputs):
        ports = ", ".join(p.inputs) or "no inputs"
        body.fail(
            "AD0203",
            f"`{recipe.name}` takes {len(p.inputs)} value{'s' if len(p.inputs) != 1 else ''}, not {len(inputs)}",
            at.span,
            f"its inputs: {ports}",
        )
    return _node(body, recipe, [body.resolve(v) for v in inputs], at)


def _node(body: Body, recipe: PrimitiveRecipe, values: list[Value], at: Application) -> Any:
    p = recipe.primitive
    args = _given(body, recipe, at.span)
    values, borrowed, value_inputs = _taken_from_arguments(body, recipe, args, values, at.span)
    session, origin = body.session, Origin(at.span, body.via)
    types = [v.type for v in values]
    use = Use(p, p.attributes(**args), types, origin, session.facts, session.collector, body.region.assumptions, {})
    types = p.infer(use)
    instance = _instance(body, recipe, use, at) if use.weights else None
    occurrence = instance.name if instance else at.label or recipe.name
    made = body.add(p.name, values, use.attrs, types, at.span, instance, borrowed, occurrence, value_inputs=value_inputs)
    return tuple(made) if p.several else outputs(made)


def _given(body: Body, recipe: PrimitiveRecipe, span: Span) -> dict[str, Any]:
    """The parameters given; a required one that is missing is an error."""
    for param in recipe.primitive.required:
        if param.name not in recipe.args:
            body.fail(
                "AD0204",
                f"`{recipe.name}` needs `{param.name}`",
                span,
                "not given",
                note=param.doc,
                hint=f"Write `{recipe.name}({param.name}=…)`.",
            )
    return dict(recipe.args)


def _taken_from_arguments(
    body: Body, recipe: PrimitiveRecipe, args: dict[str, Any], values: list[Value], span: Span
) -> tuple[list[Value], list[Instance], dict[str, int]]:
    """Arguments that are values become inputs, modules the instances they stand for, acts their lowered forms; `args` is changed.

    Gives the inputs, the instances, and which input each parameter is that was given as a value.
    """
    borrowed: list[Instance] = []
    value_inputs: dict[str, int] = {}
    if not any(isinstance(argument, (Value, Module)) for argument in args.values()):
        return values, borrowed, value_inputs
    for param in recipe.primitive.params:
        argument = args.get(param.name)
        if isinstance(argument, Value):
            value_inputs[param.name] = len(values)
            values = [*values, body.resolve(argument)]
            args[param.name] = values[-1].type
        elif param.kind == "module" and isinstance(argument, Module):
            instance = _instance_of(body, argument, recipe, param, span)
            borrowed.append(body.borrow(instance))
            args[param.name] = instance
        elif param.kind == "act" and isinstance(argument, Module):
            args[param.name] = lowered_act(body, argument, span)
    return values, borrowed, value_inputs


def _instance(body: Body, recipe: PrimitiveRecipe, use: Use, at: Application) -> Instance:
    """The instance that owns the weights: the bound one, if it was made before, or a new one."""
    bound = at.bound
    if bound is not None and bound.instance is not None:
        instance = body.borrow(bound.instance)
        if instance.weights != use.weights:
            do_not_fit(body, bound, at.span)
        return instance
    if at.base is not None:
        body.reserved.discard(at.base)  # the name being bound is the one it takes
    name = bound.name if bound is not None else body.claim(at.base or recipe.name, at.label, at.span)
    return body.place(Instance(name, recipe.primitive.name, body.region, dict(use.weights)), bound)


def do_not_fit(body: Body, bound: Bound, span: Span) -> NoReturn:
    body.fail(
        "AD0306",
        f"the shared instance `{bound.name}` does not fit here",
        span,
        "its weights would have other sizes for this input",
        labels=[Label(bound.span, "made here, once")],
        hint="Write the module a second time for weights of its own.",
    )


def _instance_of(body: Body, argument: Any, recipe: PrimitiveRecipe, param: Param, span: Span) -> Instance:
    while isinstance(argument, Handed):
        argument = argument.recipe
    if isinstance(argument, Bound) and argument.instance is not None:
        return argument.instance
    name = getattr(argument, "name", "module")
    if isinstance(argument, Bound):
        body.fail(
            "AD0216",
            f"`{name}` has not been applied yet, so {recipe.name} cannot share its weights",
            span,
            labels=[Label(argument.span, "bound here")],
            hint=f"Apply it to a value before this line: `{name}(x)`.",
        )
    body.fail(
        "AD0216",
        f"`{param.name}` of {recipe.name} must be an instance, to share its weights",
        span,
        f"`{name}` is written in place, so it would be a new one",
        hint=f"Bind it first: `table = {name}(…)`, apply it, then pass `table`.",
    )
