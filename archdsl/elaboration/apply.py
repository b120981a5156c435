"""Calls: arguments to parameters by kind, and modules applied to values."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, Label, Span, suggestion
from archdsl.elaboration import statics
from archdsl.elaboration.body import Body
from archdsl.elaboration.kinds import (
    MODULES,
    Bound,
    ClosureRecipe,
    DeclaredRecipe,
    FunctionRecipe,
    Handed,
    LabelledRecipe,
    PipeRecipe,
    PrimitiveRecipe,
    Scope,
    ShapeInit,
    StaticRange,
    View,
    type_key,
)
from archdsl.elaboration.statics import StaticError, describe
from archdsl.graph.functions import FUNCTIONS as SCALAR_FUNCTIONS
from archdsl.graph.ir import Init, Instance, Origin, Region, TensorType, Value
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.base import REQUIRED, Param, Use

Given = dict[str, tuple[Any, ast.Argument]]
Positional = list[tuple[Any, ast.Expr]]


# ---- calls ----------------------------------------------------------------------------------------------------------------------


def call(body: Body, callee: Any, positional: Positional, named: Given, node: ast.Call) -> Any:
    """`callee(…)`: configures a recipe, applies it when positional arguments are values, or both."""
    flat = _flatten(positional)
    while isinstance(callee, Handed) and (named or any(not isinstance(v, Value) for v, _ in flat)):
        callee = callee.recipe  # a recipe received as a parameter can be given parameters of its own: Mix(heads)
    if isinstance(callee, FunctionRecipe):
        return _function(body, callee, flat, named, node)
    values = [v for v, _ in flat if isinstance(v, Value)]
    statics_given = [(v, at) for v, at in flat if not isinstance(v, Value)]
    if isinstance(callee, PrimitiveRecipe):
        recipe: Any = _configure_primitive(body, callee, statics_given, named, node)
        if values or _is_source(callee):
            own = body.naming is not None and body.naming[0] is node and _is_source(callee)
            return primitive(body, recipe, values, node.span, None, base=body.naming[1] if own and body.naming else None)
        return recipe
    if isinstance(callee, DeclaredRecipe):
        recipe = _configure_declared(body, callee, statics_given, named, node)
        if values:
            return module(body, recipe, values, node.span, None)
        return recipe
    if statics_given or named:
        extra = statics_given[0][1].span if statics_given else next(iter(named.values()))[1].span
        body.fail(
            "AD0202",
            f"{describe(callee)} takes no further parameters here",
            extra,
            "not a value",
            hint="A bound instance or a pipe is applied to values only; give parameters where it is written.",
        )
    if not values:
        body.fail("AD0203", f"{describe(callee)} is applied to nothing", node.span, "no value among the arguments")
    return module(body, callee, values, node.span, None)


def _flatten(positional: Positional) -> Positional:
    """Tuples and lists of values count as the values they hold."""
    flat: Positional = []
    for value, at in positional:
        if isinstance(value, (tuple, list)) and value and all(isinstance(v, Value) for v in value):
            flat += [(v, at) for v in value]
        else:
            flat.append((value, at))
    return flat


def _is_source(recipe: PrimitiveRecipe) -> bool:
    return not recipe.primitive.inputs


def _function(body: Body, callee: FunctionRecipe, flat: Positional, named: Given, node: ast.Call) -> Any:
    if named:
        body.fail("AD0202", f"`{callee.name}` has no named parameters", next(iter(named.values()))[1].span)
    args = [v for v, _ in flat]
    if any(isinstance(a, Value) for a in args):
        if callee.name == "clamp" and len(args) == 3:
            return pointwise(body, "min", [pointwise(body, "max", args[:2], node.span), args[2]], node.span)
        name = callee.name if callee.name in SCALAR_FUNCTIONS else None
        if name is None:
            body.fail("AD0210", f"`{callee.name}` works on static numbers only", node.span, "given a value")
        for value, at in flat:
            if not isinstance(value, (Value, int, float, Fraction)) or isinstance(value, bool):
                body.fail("AD0210", f"`{callee.name}` cannot take {describe(value)}", at.span)
        return pointwise(body, name, args, node.span)
    if not args:
        return callee
    if callee.name not in statics.FUNCTIONS:
        for value, at in flat:
            if isinstance(value, MODULES):
                body.fail(
                    "AD0210",
                    f"`{callee.name}` works on values, not on modules",
                    at.span,
                    f"this is {describe(value)}, not yet applied",
                    hint=f"Put them in a row: `module -> {callee.name}`.",
                )
        if all(isinstance(a, (int, float, Fraction)) and not isinstance(a, bool) for a in args):
            if len(args) != SCALAR_FUNCTIONS[callee.name].arity:
                body.fail("AD0203", f"`{callee.name}` takes {SCALAR_FUNCTIONS[callee.name].arity} arguments, not {len(args)}", node.span)
            number = SCALAR_FUNCTIONS[callee.name].value(*(float(a) for a in args))
            if isinstance(number, complex) or not math.isfinite(number):
                body.fail("AD0405", "this number has no finite value", node.span)
            return number
        body.fail("AD0210", f"`{callee.name}` cannot take {describe(args[0])}", node.span)
    try:
        return statics.call(callee.name, args)
    except StaticError as error:
        body.fail(error.code, error.title, node.span, hint=error.hint)


# ---- configuring ----------------------------------------------------------------------------------------------------------------


def _configure_primitive(body: Body, callee: PrimitiveRecipe, given: Positional, named: Given, node: ast.Call) -> Any:
    params = callee.primitive.params
    args = dict(callee.args)
    taken = set(named) | set(callee.given)
    free = [p for p in params if p.name not in taken]
    if len(given) > len(free):
        at = given[len(free)][1]
        signature = ", ".join(p.name for p in params) or "no parameters"
        body.fail(
            "AD0203",
            f"`{callee.name}` has too many parameters here",
            at.span,
            f"{describe(given[len(free)][0])} has no place",
            note=f"It takes {signature}.",
        )
    for (value, at), param in zip(given, free):
        args[param.name] = _fit(body, callee.name, param, value, at.span)
    by_name = {p.name: p for p in params}
    for name, (value, argument) in named.items():
        if name in by_name:
            args[name] = _fit(body, callee.name, by_name[name], value, argument.span)
        elif callee.primitive.open:
            if isinstance(value, bool) or not isinstance(value, (int, Poly)):
                body.fail("AD0210", f"`{name}` must be a size", argument.span, describe(value))
            args.setdefault("named", {})
            args["named"] = {**args["named"], name: value}
        else:
            body.fail(
                "AD0202",
                f"`{callee.name}` has no parameter `{name}`",
                argument.span,
                "unknown parameter",
                hint=suggestion(name, by_name, f"It takes {', '.join(by_name)}." if by_name else "It takes none."),
            )
    now = tuple(dict.fromkeys([*callee.given, *(p.name for (_, _), p in zip(given, free)), *named]))
    return PrimitiveRecipe(callee.name, node.span, callee.primitive, args, now)


_WORDS = {
    "size": "a size",
    "int": "a whole number",
    "number": "a number",
    "bool": "true or false",
    "str": "a text",
    "list": "a list",
    "shape": "a shape",
    "module": "a module",
    "act": "an activation",
    "value": "a value",
    "init": "an initialiser",
}


def _fit(body: Body, owner: str, param: Param, value: Any, span: Span) -> Any:
    """Checks an argument against its parameter's kind."""
    if value is None and param.default is None:
        return None
    kind = param.kind
    ok = True
    if isinstance(value, Fraction) and kind in ("size", "int"):
        body.fail("AD0407", f"`{param.name}` of {owner} must be a whole number, not {value}", span, "this does not divide evenly")
    if isinstance(value, float) and kind in ("size", "int") and value.is_integer():
        value = int(value)
    number = isinstance(value, (int, float, Fraction)) and not isinstance(value, bool)
    if kind == "size":
        ok = (isinstance(value, int) and not isinstance(value, bool)) or isinstance(value, Poly)
        if ok and isinstance(value, int) and value < 1:
            body.fail("AD0407", f"`{param.name}` of {owner} must be at least 1, not {value}", span)
    elif kind == "int":
        ok = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        ok = number
        value = float(value) if isinstance(value, Fraction) else value
    elif kind == "bool":
        ok = isinstance(value, (bool, Init))
    elif kind == "str":
        ok = isinstance(value, str)
    elif kind == "list":
        ok = isinstance(value, (list, StaticRange)) or number
        value = list(value) if isinstance(value, StaticRange) else value
    elif kind == "shape":
        ok = isinstance(value, (list, ShapeInit))
    elif kind in ("module", "act"):
        value = value.inner if isinstance(value, LabelledRecipe) else value
        ok = isinstance(value, MODULES) or (kind == "act" and isinstance(value, str))
    elif kind == "value":
        ok = isinstance(value, (Value, Init))
    elif kind == "init":
        value = Init("constant", (float(value),)) if number else value
        ok = isinstance(value, Init)
    if not ok:
        body.fail("AD0210", f"`{param.name}` of {owner} must be {_WORDS.get(kind, kind)}", span, f"this is {describe(value)}")
    return value


def _configure_declared(body: Body, callee: DeclaredRecipe, given: Positional, named: Given, node: ast.Call) -> DeclaredRecipe:
    decl = callee.decl
    args, options = dict(callee.args), dict(callee.options)
    by_name = {p.name: p for p in decl.parameters}
    free = [p for p in decl.parameters if p.name not in named and p.name not in args]
    if len(given) > len(free):
        at = given[len(free)][1]
        signature = ", ".join(by_name) or "none"
        body.fail(
            "AD0203",
            f"`{callee.name}` has too many parameters here",
            at.span,
            f"{describe(given[len(free)][0])} has no place",
            labels=[Label(decl.name_span, f"its parameters: {signature}")],
        )
    for (value, at), param in zip(given, free):
        args[param.name] = _declared_argument(body, callee.name, param, value, at.span)
    extra = _scan_options(decl)
    for name, (value, argument) in named.items():
        if name in by_name:
            args[name] = _declared_argument(body, callee.name, by_name[name], value, argument.span)
        elif name in extra:
            options[name] = value
        else:
            known = [*by_name, *extra]
            body.fail(
                "AD0202",
                f"`{callee.name}` has no parameter `{name}`",
                argument.span,
                "unknown parameter",
                labels=[Label(decl.name_span, "declared here")],
                hint=suggestion(name, known, f"It takes {', '.join(known)}." if known else "It takes none."),
            )
    return body.made_by(node, DeclaredRecipe(callee.name, node.span, decl, callee.namespace, args, options, callee.cell))


def _scan_options(decl: Any) -> list[str]:
    if isinstance(decl, ast.ScanDecl):
        return ["final", *(s.name for s in decl.body.statements if isinstance(s, ast.State))]
    if isinstance(decl, ast.ActDecl):
        return ["axis", *(x.name for x in decl.learned)]
    return []


_KIND_TESTS: dict[str, tuple[str, Any]] = {
    "int": ("a whole number", lambda v: (isinstance(v, int) and not isinstance(v, bool)) or isinstance(v, Poly)),
    "size": ("a size", lambda v: (isinstance(v, int) and not isinstance(v, bool)) or isinstance(v, Poly)),
    "float": ("a number", lambda v: isinstance(v, (int, float, Fraction)) and not isinstance(v, bool)),
    "number": ("a number", lambda v: isinstance(v, (int, float, Fraction)) and not isinstance(v, bool)),
    "str": ("a text", lambda v: isinstance(v, str)),
    "bool": ("true or false", lambda v: isinstance(v, bool)),
    "list": ("a list", lambda v: isinstance(v, (list, StaticRange))),
    "module": ("a module", lambda v: isinstance(v, (*MODULES, LabelledRecipe))),
    "value": ("a value", lambda v: isinstance(v, Value)),
}


def _declared_argument(body: Body, owner: str, param: ast.Parameter, value: Any, span: Span) -> Any:
    if param.kind in _KIND_TESTS and not (value is None and isinstance(param.default, ast.NoneLit)):
        words, test = _KIND_TESTS[param.kind]
        if not test(value):
            body.fail(
                "AD0210",
                f"`{param.name}` of {owner} must be {words}",
                span,
                f"this is {describe(value)}",
                labels=[Label(param.span, "declared here")],
            )
    if isinstance(value, LabelledRecipe):
        return value.inner
    return value


# ---- applying -------------------------------------------------------------------------------------------------------------------


def module(body: Body, thing: Any, inputs: list[Any], span: Span, label: str | None, bound: Bound | None = None) -> Any:
    """Applies a module to values; a single output comes back as a value, several as a tuple."""
    from archdsl.elaboration import structure

    for item in inputs:
        if not isinstance(item, Value):
            body.fail("AD0210", f"a module is applied to values, not to {describe(item)}", span)
    if isinstance(thing, LabelledRecipe):
        return module(body, thing.inner, inputs, span, thing.label, bound)
    if isinstance(thing, Bound):
        return module(body, thing.recipe, inputs, span, label, thing)
    if isinstance(thing, Handed):
        made = body.made.get(id(thing))
        if made is None:
            if isinstance(thing.recipe, (Bound, Handed)):
                return module(body, thing.recipe, inputs, span, label, bound)
            made = Bound(body.claim(label or thing.name, label, span), thing.recipe, body, span)
            body.made[id(thing)] = made
            body.session.keep.append(thing)
        return module(body, made, inputs, span, None)
    if isinstance(thing, PipeRecipe):
        if label is None and bound is None:
            current: Any = tuple(inputs)
            for stage in thing.stages:
                current = module(body, stage.module, list(current) if isinstance(current, tuple) else [current], stage.span, stage.label)
            return current
        return structure.pipe_region(body, thing, inputs, span, label, bound)
    if isinstance(thing, PrimitiveRecipe):
        return primitive(body, thing, inputs, span, label, bound)
    if isinstance(thing, FunctionRecipe):
        if thing.name not in SCALAR_FUNCTIONS:
            body.fail("AD0210", f"`{thing.name}` works on static numbers only", span, "given a value")
        return pointwise(body, thing.name, list(inputs), span)
    if isinstance(thing, DeclaredRecipe):
        if isinstance(thing.decl, ast.BlockDecl):
            return structure.block(body, thing, inputs, span, label, bound)
        if isinstance(thing.decl, ast.ActDecl):
            return structure.act(body, thing, inputs, span, label, bound)
        return structure.scan(body, thing, inputs, span, label, bound)
    if isinstance(thing, ClosureRecipe):
        return structure.closure(body, thing, inputs, span, label, bound)
    if isinstance(thing, View):
        return thing.apply(body, inputs, span, label)
    raise AssertionError(type(thing).__name__)


def outputs(values: list[Value]) -> Any:
    return values[0] if len(values) == 1 else tuple(values)


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
    return _node(body, recipe, values, span, None, None, [])


def index(body: Body, value: Value, items: list[Any], span: Span) -> Any:
    """`x[…]`."""
    if any(isinstance(i, Value) for i in items):
        if len(items) == 1:
            recipe = PrimitiveRecipe("take", span, PRIMITIVES["take"])
            return primitive(body, recipe, [value, items[0]], span, None)
        body.fail("AD0210", "an index that is a value stands alone", span, hint="Use take(x, index, axis=…) for other axes.")
    plain = [(i.start, i.stop) if isinstance(i, slice) else i for i in items]
    return primitive(body, PrimitiveRecipe("slice", span, PRIMITIVES["slice"], {"items": plain}), [value], span, None)


def primitive(
    body: Body,
    recipe: PrimitiveRecipe,
    inputs: list[Any],
    span: Span,
    label: str | None,
    bound: Bound | None = None,
    base: str | None = None,
) -> Any:
    """Applies a primitive: ports checked, parameters completed, types inferred, a node and (with weights) an instance made.

    An instance without a label is called `base`, by default the primitive's name.
    """
    p = recipe.primitive
    least = len(p.inputs) - p.optional
    if p.variadic:
        if not inputs:
            body.fail("AD0203", f"`{recipe.name}` is applied to nothing", span)
    elif not least <= len(inputs) <= len(p.inputs):
        ports = ", ".join(p.inputs) or "no inputs"
        body.fail(
            "AD0203",
            f"`{recipe.name}` takes {len(p.inputs)} value{'s' if len(p.inputs) != 1 else ''}, not {len(inputs)}",
            span,
            f"its inputs: {ports}",
        )
    return _node(body, recipe, [body.resolve(v) for v in inputs], span, label, bound, [], base)


def complete(body: Body, recipe: PrimitiveRecipe, span: Span) -> dict[str, Any]:
    """All parameters: given or default; a missing required one is an error."""
    args = dict(recipe.args)
    for param in recipe.primitive.params:
        if param.name not in args:
            if param.default is REQUIRED:
                body.fail(
                    "AD0204",
                    f"`{recipe.name}` needs `{param.name}`",
                    span,
                    "not given",
                    note=param.doc,
                    hint=f"Write `{recipe.name}({param.name}=…)`.",
                )
            args[param.name] = param.default
    return args


def _node(
    body: Body,
    recipe: PrimitiveRecipe,
    values: list[Value],
    span: Span,
    label: str | None,
    bound: Bound | None,
    borrowed: list[Instance],
    base: str | None = None,
) -> Any:
    args = complete(body, recipe, span)
    for param in recipe.primitive.params:
        argument = args.get(param.name)
        if isinstance(argument, Value):
            args.setdefault("value_inputs", {})[param.name] = len(values)
            values = [*values, body.resolve(argument)]
            args[param.name] = values[-1].type
        elif param.kind == "module" and isinstance(argument, MODULES):
            instance = _instance_of(body, argument, recipe, param, span)
            borrowed = [*borrowed, body.borrow(instance)]
            args[param.name] = instance
        elif param.kind == "act" and isinstance(argument, MODULES):
            args[param.name] = lowered_act(body, argument, span)
    use = Use(
        recipe.primitive,
        args,
        [v.type for v in values],
        Origin(span, body.via),
        body.session.facts,
        body.session.collector,
        body.region.assumptions,
        {},
        dict(args),
    )
    types = recipe.primitive.infer(use)
    instance_ = None
    if use.weights:
        if bound is not None and bound.instance is not None:
            instance_ = body.borrow(bound.instance)
            if instance_.weights != use.weights:
                _do_not_fit(body, bound, span)
        else:
            if base is not None:
                body.reserved.discard(base)  # the name being bound is the one it takes
            name = bound.name if bound is not None else body.claim(base or recipe.name, label, span)
            instance_ = body.place(Instance(name, recipe.primitive.name, body.region, dict(use.weights)), bound)
    occurrence = instance_.name if instance_ else label or recipe.name
    made = body.add(recipe.primitive.name, values, use.attrs, types, span, instance_, borrowed, occurrence)
    return tuple(made) if recipe.primitive.several else outputs(made)


def _do_not_fit(body: Body, bound: Bound, span: Span) -> None:
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


def lowered_act(body: Body, argument: Any, span: Span) -> Any:
    """An act recipe as its lowered form (archdsl/graph/acts.py)."""
    from archdsl.elaboration import structure

    while isinstance(argument, (Handed, Bound)):
        argument = argument.recipe
    if isinstance(argument, DeclaredRecipe) and isinstance(argument.decl, ast.ActDecl):
        return structure.lower(body, argument, span)
    body.fail("AD0210", "an activation is asked for here", span, describe(argument))


def same_types(a: list[TensorType], b: list[TensorType]) -> bool:
    return type_key(a) == type_key(b)


__all__ = ["ArchError", "Diagnostic", "Region", "Scope", "call", "index", "module", "pointwise", "primitive"]
