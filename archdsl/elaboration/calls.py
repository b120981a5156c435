"""`callee(…)`: arguments evaluated; values applied, parameters given, or both."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from archdsl.elaboration import statics
from archdsl.elaboration.arguments import Named, Positional, configure_declared, configure_primitive
from archdsl.elaboration.body import Body
from archdsl.elaboration.depth import part
from archdsl.elaboration.dispatch import Application, apply, call_of, calls, evaluate, evaluates
from archdsl.elaboration.initial import initialiser
from archdsl.elaboration.kinds import DeclaredRecipe, FunctionRecipe, Handed, LabelledRecipe, Module, PrimitiveRecipe
from archdsl.elaboration.nodes import pointwise, primitive
from archdsl.elaboration.statics import StaticError, describe
from archdsl.graph.functions import FUNCTIONS as SCALAR_FUNCTIONS
from archdsl.graph.ir import Value
from archdsl.language import syntax as ast


@evaluates(ast.Call)
def _call(body: Body, node: ast.Call) -> Any:
    if isinstance(node.function, ast.Attribute) and node.function.name in ("before", "after"):
        view = part(body, evaluate(body, node.function.value), node)
        if view is not None:
            return view
    callee = evaluate(body, node.function)
    if isinstance(callee, LabelledRecipe):
        callee = callee.inner
    if not isinstance(callee, Module):
        body.fail("AD0207", f"{describe(callee)} cannot be called", node.function.span, "not a module or a function")
    positional, named = _arguments(body, callee, node)
    while isinstance(callee, Handed) and (named or any(not isinstance(v, Value) for v, _ in positional)):
        callee = callee.recipe  # a recipe received as a parameter can be given parameters of its own: Mix(heads)
    return (call_of(callee) or _plain)(body, callee, positional, named, node)


def _arguments(body: Body, callee: Any, node: ast.Call) -> tuple[Positional, Named]:
    """The arguments of a call; tuples and lists of values count as the values they hold."""
    positional: Positional = []
    named: Named = {}
    for argument in node.arguments:
        if argument.tilde or (argument.name is not None and _wants_initialiser(callee, argument.name)):
            value: Any = initialiser(body, argument.value)
        else:
            value = evaluate(body, argument.value)
        if argument.name is not None:
            if argument.name in named:
                body.fail("AD0203", f"`{argument.name}` is given twice", argument.span, "given again here")
            named[argument.name] = (value, argument)
        elif isinstance(value, (tuple, list)) and value and all(isinstance(v, Value) for v in value):
            positional += [(v, argument.value) for v in value]
        else:
            positional.append((value, argument.value))
    return positional, named


def _wants_initialiser(callee: Any, name: str) -> bool:
    if not isinstance(callee, PrimitiveRecipe):
        return False
    return any(p.name == name and p.kind == "init" for p in callee.primitive.params)


def _plain(body: Body, callee: Module, positional: Positional, named: Named, node: ast.Call) -> Any:
    """A call of what takes values only."""
    extra = next((at.span for v, at in positional if not isinstance(v, Value)), None)
    if extra is None and named:
        extra = next(iter(named.values()))[1].span
    if extra is not None:
        body.fail(
            "AD0202",
            f"{describe(callee)} takes no further parameters here",
            extra,
            "not a value",
            hint="A bound instance or a pipe is applied to values only; give parameters where it is written.",
        )
    if not positional:
        body.fail("AD0203", f"{describe(callee)} is applied to nothing", node.span, "no value among the arguments")
    return apply(body, callee, [v for v, _ in positional], Application(node.span))


def _apart(positional: Positional) -> tuple[list[Value], Positional]:
    """The values among the arguments, and the others."""
    return [v for v, _ in positional if isinstance(v, Value)], [(v, at) for v, at in positional if not isinstance(v, Value)]


@calls(PrimitiveRecipe)
def _primitive(body: Body, callee: PrimitiveRecipe, positional: Positional, named: Named, node: ast.Call) -> Any:
    values, given = _apart(positional)
    recipe = configure_primitive(body, callee, given, named, node)
    source = not callee.primitive.inputs
    if not values and not source:
        return recipe
    own = source and body.naming is not None and body.naming[0] is node
    return primitive(body, recipe, values, Application(node.span, base=body.naming[1] if own and body.naming else None))


@calls(DeclaredRecipe)
def _declared(body: Body, callee: DeclaredRecipe, positional: Positional, named: Named, node: ast.Call) -> Any:
    values, given = _apart(positional)
    recipe = configure_declared(body, callee, given, named, node)
    return apply(body, recipe, values, Application(node.span)) if values else recipe


# ---- functions of numbers -------------------------------------------------------------------------------------------------------


@calls(FunctionRecipe)
def _function(body: Body, callee: FunctionRecipe, positional: Positional, named: Named, node: ast.Call) -> Any:
    if named:
        body.fail("AD0202", f"`{callee.name}` has no named parameters", next(iter(named.values()))[1].span)
    args = [v for v, _ in positional]
    if any(isinstance(a, Value) for a in args):
        return _of_values(body, callee, positional, node)
    if not args:
        return callee
    if callee.name not in statics.FUNCTIONS:
        return _of_numbers(body, callee, positional, node)
    try:
        return statics.call(callee.name, args)
    except StaticError as error:
        body.fail(error.code, error.title, node.span, hint=error.hint)


def _of_values(body: Body, callee: FunctionRecipe, positional: Positional, node: ast.Call) -> Any:
    args = [v for v, _ in positional]
    if callee.name == "clamp" and len(args) == 3:
        return pointwise(body, "min", [pointwise(body, "max", args[:2], node.span), args[2]], node.span)
    if callee.name not in SCALAR_FUNCTIONS:
        body.fail("AD0238", f"`{callee.name}` works on static numbers only", node.span, "given a value")
    for value, at in positional:
        if not isinstance(value, (Value, int, float, Fraction)) or isinstance(value, bool):
            body.fail("AD0210", f"`{callee.name}` cannot take {describe(value)}", at.span)
    return pointwise(body, callee.name, args, node.span)


def _of_numbers(body: Body, callee: FunctionRecipe, positional: Positional, node: ast.Call) -> float:
    """A scalar function that has no exact form: of plain numbers only."""
    function = SCALAR_FUNCTIONS[callee.name]
    for value, at in positional:
        if isinstance(value, Module):
            body.fail(
                "AD0237",
                f"`{callee.name}` works on values, not on modules",
                at.span,
                f"this is {describe(value)}, not yet applied",
                hint=f"Put them in a row: `module -> {callee.name}`.",
            )
    args = [v for v, _ in positional]
    if not all(isinstance(a, (int, float, Fraction)) and not isinstance(a, bool) for a in args):
        body.fail("AD0210", f"`{callee.name}` cannot take {describe(args[0])}", node.span)
    if len(args) != function.arity:
        body.fail("AD0203", f"`{callee.name}` takes {function.arity} arguments, not {len(args)}", node.span)
    number = function.value(*(float(a) for a in args))
    if isinstance(number, complex) or not math.isfinite(number):
        body.fail("AD0405", "this number has no finite value", node.span)
    return number
