"""Evaluating expressions inside a body: a number, a value in the graph, or a module, decided by the kinds of what it is made of."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn

from archdsl.diagnostics import ArchError, Label, suggestion
from archdsl.elaboration import apply, depth, statics
from archdsl.elaboration.body import Body
from archdsl.elaboration.kinds import (
    MODULES,
    POISON,
    Alias,
    Bound,
    ClosureRecipe,
    DeclaredRecipe,
    FunctionRecipe,
    Handed,
    LabelledRecipe,
    PipeRecipe,
    Poison,
    PrimitiveRecipe,
    Recipe,
    Scope,
    ShapeInit,
    Stage,
    StaticRange,
)
from archdsl.elaboration.statics import StaticError, describe
from archdsl.graph.functions import CONSTANTS, OPERATORS
from archdsl.graph.functions import FUNCTIONS as SCALAR_FUNCTIONS
from archdsl.graph.ir import Init, TensorType, Value
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.initialisers import TABLE as INITIALISERS

MAX_LIST = 4096


def evaluate(body: Body, node: ast.Expr) -> Any:
    """The thing an expression stands for."""
    return _DISPATCH[type(node)](body, node)


def is_module(thing: Any) -> bool:
    return isinstance(thing, MODULES)


def is_values(thing: Any) -> bool:
    """A value, or a tuple holding at least one."""
    return isinstance(thing, Value) or (isinstance(thing, tuple) and any(isinstance(t, Value) for t in thing))


# ---- names ----------------------------------------------------------------------------------------------------------------------


def _name(body: Body, node: ast.Name) -> Any:
    name = node.id + "'" if node.primed else node.id
    scope = body.scope
    if scope.has(name):
        thing = scope.find(name)
        if thing is POISON:
            raise Poison
        return thing
    if node.primed:
        body.fail(
            "AD0212",
            f"`{name}` is used before it is given",
            node.span,
            "no value yet",
            hint=f"Write `{name} = …` above this line; `{node.id}` alone is the state before the step.",
        )
    found = lookup(body, node.id, scope)
    if found is not None:
        return body.made_by(node, found)
    if node.id in body.reserved:
        body.fail(
            "AD0211", f"`{node.id}` is used before it is bound", node.span, "bound further down", hint="Move its line above this one."
        )
    _unknown_name(body, node)


def _unknown_name(body: Body, node: ast.Name) -> NoReturn:
    scope = body.scope
    options = (
        scope.visible() | set(scope.namespace.names) | set(PRIMITIVES) | set(SCALAR_FUNCTIONS) | set(body.session.loader.prelude().names)
    )
    body.fail(
        "AD0201",
        f"there is nothing called `{node.id}`",
        node.span,
        "unknown name",
        hint=suggestion(node.id, options, _import_hint(node.id)),
    )


def lookup(body: Body, name: str, scope: Scope) -> Any:
    """A name of the file, its imports, the primitives, the functions or the prelude; None if there is none."""
    span = None
    if name in scope.namespace.names:
        return declared(body, name, *scope.namespace.names[name])
    if name in scope.namespace.aliases:
        return Alias(name, scope.namespace.aliases[name])
    if name == "pretrained":
        return depth.Pretrained(name, span)  # type: ignore[arg-type]
    if name in PRIMITIVES:
        return PrimitiveRecipe(name, span, PRIMITIVES[name])  # type: ignore[arg-type]
    if name in SCALAR_FUNCTIONS or name in statics.FUNCTIONS:
        return FunctionRecipe(name, span)  # type: ignore[arg-type]
    if name in CONSTANTS:
        return CONSTANTS[name]
    prelude = body.session.loader.prelude()
    if name in prelude.names:
        return declared(body, name, *prelude.names[name])
    return None


def declared(body: Body, name: str, decl: Any, namespace: Any) -> Any:
    if isinstance(decl, ast.Constant):
        return _constant(body, decl, namespace)
    return DeclaredRecipe(name, decl.name_span, decl, namespace)


_EVALUATING = object()


def _constant(body: Body, decl: ast.Constant, namespace: Any) -> Any:
    known = namespace.constants.get(decl.name)
    if known is _EVALUATING:
        body.fail("AD0402", f"the constant `{decl.name}` is defined through itself", decl.name_span, "a circle", hint="Give it a value.")
    if known is None and decl.name not in namespace.constants:
        namespace.constants[decl.name] = _EVALUATING
        outer, decided = body.scope, len(body.region.decisions)
        body.scope = Scope(namespace)
        try:
            known = evaluate(body, decl.value)
        finally:
            body.scope = outer
            namespace.constants.pop(decl.name, None)
        if len(body.region.decisions) > decided:
            return known  # a choice decides at each use
        namespace.constants[decl.name] = known
    return known


def _import_hint(name: str) -> str:
    from archdsl.elaboration.library import where_declared

    place = where_declared(name)
    return f'The library has it: add `import "{place}"` at the top of the file.' if place else ""


# ---- operators ------------------------------------------------------------------------------------------------------------------


def _number(body: Body, node: ast.Number) -> Any:
    return node.value


def _literal(body: Body, node: Any) -> Any:
    return node.value


def _none(body: Body, node: ast.NoneLit) -> None:
    return None


def _unary(body: Body, node: ast.Unary) -> Any:
    operand = evaluate(body, node.operand)
    if isinstance(operand, Value):
        return apply.pointwise(body, "neg" if node.op == "-" else "not_", [operand], node.span)
    if node.op == "not":
        if not isinstance(operand, bool):
            body.fail("AD0210", f"`not` needs true or false, not {describe(operand)}", node.span)
        return not operand
    if operand == CONSTANTS["inf"]:
        return -CONSTANTS["inf"]
    return _static(body, node, lambda: statics.binary("-", 0, operand, body.session.facts))


def _binary(body: Body, node: ast.Binary) -> Any:
    left = evaluate(body, node.left)
    if node.op in ("and", "or") and isinstance(left, bool):
        if left is (node.op == "or"):
            return left
        right = evaluate(body, node.right)
        if isinstance(right, bool):
            return right
        body.fail("AD0210", f"`{node.op}` needs true or false on both sides", node.right.span, describe(right))
    right = evaluate(body, node.right)
    if node.op in ("==", "!=") and any(a is None and (isinstance(b, Value) or is_module(b)) for a, b in ((left, right), (right, left))):
        return node.op == "!="  # known here: a value or a module is never `none`
    if isinstance(left, Value) or isinstance(right, Value):
        for side, where in ((left, node.left), (right, node.right)):
            if is_module(side):
                _module_in_arithmetic(body, node, side, where)
            if isinstance(side, (bool, int, float, Fraction, Value)) or (isinstance(side, Poly) and node.op != "@"):
                continue
            body.fail("AD0210", f"`{node.op}` cannot combine a value with {describe(side)}", where.span, describe(side))
        if node.op == "@":
            for side, where in ((left, node.left), (right, node.right)):
                if not isinstance(side, Value):
                    body.fail(
                        "AD0210", "`@` multiplies two values", where.span, f"this is {describe(side)}", hint="Use `*` to scale by a number."
                    )
            return apply.primitive(body, PrimitiveRecipe("matmul", node.span, PRIMITIVES["matmul"]), [left, right], node.span, None)
        return apply.pointwise(body, OPERATORS[node.op], [left, right], node.span)
    for side, where in ((left, node.left), (right, node.right)):
        if is_module(side):
            _module_in_arithmetic(body, node, side, where)
    if node.op == "@":
        body.fail("AD0210", "`@` multiplies two values", node.span, f"not {describe(left)} and {describe(right)}")
    return _static(body, node, lambda: statics.binary(node.op, left, right, body.session.facts))


def _module_in_arithmetic(body: Body, node: ast.Binary, side: Any, where: ast.Expr) -> None:
    body.fail(
        "AD0210",
        f"`{node.op}` works on values, not on modules",
        where.span,
        f"this is {describe(side)}, not yet applied to anything",
        hint="Apply it first: `x -> module` or `module(x)`; to put modules in a row use `->`.",
    )


def _static(body: Body, node: ast.Node, compute: Callable[[], Any]) -> Any:
    try:
        return compute()
    except StaticError as error:
        body.fail(error.code, error.title, node.span, hint=error.hint)
    except (ValueError, OverflowError, ZeroDivisionError, TypeError) as error:
        body.fail("AD0405", "this has no value", node.span, str(error)[:120])


def _if(body: Body, node: ast.If) -> Any:
    condition = evaluate(body, node.condition)
    if isinstance(condition, Value):
        then, otherwise = evaluate(body, node.then), evaluate(body, node.otherwise)
        for side, where in ((then, node.then), (otherwise, node.otherwise)):
            if not isinstance(side, (Value, int, float, Fraction)):
                body.fail(
                    "AD0210",
                    "each side of an `if` over values must be a value or a number",
                    where.span,
                    describe(side),
                    note="The condition is a value, so both sides are computed and mixed element by element.",
                )
        return apply.pointwise(body, "where", [condition, then, otherwise], node.span)
    if not isinstance(condition, bool):
        body.fail(
            "AD0210", "the condition of an `if` must be true or false", node.condition.span, describe(condition), hint="Compare: `n == 0`."
        )
    taken = node.then if condition else node.otherwise
    if body.naming is not None and body.naming[0] is node:
        body.naming = (taken, body.naming[1])  # `A = if fixed then buffer(…) else param(…)` names either
    return evaluate(body, taken)


# ---- lists, shapes, ranges ------------------------------------------------------------------------------------------------------


def _list(body: Body, node: ast.ListExpr) -> list[Any]:
    items: list[Any] = []  # a shape may hold `..`: what it stood for in the shape of an input of this body
    for item in node.items:
        if isinstance(item, ast.Ellipsis_) and body.rest is not None:
            items += body.rest
        else:
            items.append(evaluate(body, item))
    return items


def _tuple(body: Body, node: ast.TupleExpr) -> tuple[Any, ...]:
    return tuple(evaluate(body, item) for item in node.items)


def _ellipsis(body: Body, node: ast.Ellipsis_) -> Any:
    hint = "In a shape it is what it was in the shape of an input of the same body."
    body.fail("AD0213", "`..` has a meaning only in a shape or an index", node.span, hint=hint)


def _range(body: Body, node: ast.Range) -> StaticRange:
    low, high = evaluate(body, node.low), evaluate(body, node.high)
    for end, where in ((low, node.low), (high, node.high)):
        if not isinstance(end, int) or isinstance(end, bool):
            body.fail("AD0210", "a range needs whole numbers", where.span, describe(end))
    return StaticRange(low, high + 1 if node.closed else high)


def _comprehension(body: Body, node: ast.Comprehension) -> list[Any]:
    source = evaluate(body, node.source)
    if isinstance(source, int) and not isinstance(source, bool):
        source = StaticRange(0, source)
    if not isinstance(source, (list, tuple, StaticRange)):
        body.fail("AD0210", "`for` runs over a list or a range", node.source.span, describe(source))
    if len(source) > MAX_LIST:
        body.fail("AD0404", "this list would be too long", node.source.span, f"{len(source):,} items; at most {MAX_LIST:,}")
    outer = body.scope
    result = []
    try:
        for item in source:
            body.scope = Scope(outer.namespace, outer, {node.variable: item})
            if node.condition is not None:
                keep = evaluate(body, node.condition)
                if not isinstance(keep, bool):
                    body.fail("AD0210", "the condition must be true or false", node.condition.span, describe(keep))
                if not keep:
                    continue
            result.append(evaluate(body, node.value))
    finally:
        body.scope = outer
    return result


def _set(body: Body, node: ast.SetExpr) -> Any:
    body.fail(
        "AD0213",
        "a set in braces gives a parameter's options",
        node.span,
        hint="Write `d in {64, 128} = 128` in the parameter list; a list is [64, 128].",
    )


def _tilde(body: Body, node: ast.Tilde) -> ShapeInit:
    shape = evaluate(body, node.shape)
    if not isinstance(shape, list):
        body.fail("AD0210", "before `~` stands a shape", node.shape.span, describe(shape), hint="For example `param([d] ~ zeros)`.")
    return ShapeInit(tuple(shape), initialiser(body, node.init))


def initialiser(body: Body, node: ast.Expr) -> Init:
    """A distribution: `zeros`, `normal(0.02)`, `inv_softplus(loguniform(1e-3, 0.1))`, or a number (constant)."""
    if isinstance(node, ast.If) and isinstance(condition := evaluate(body, node.condition), bool):
        return initialiser(body, node.then if condition else node.otherwise)
    if isinstance(node, ast.Name) and not body.scope.has(node.id):
        return _initialiser(body, node.id, [], node)
    if isinstance(node, ast.Call) and isinstance(node.function, ast.Name) and node.function.id in INITIALISERS:
        args: list[Any] = []
        for argument in node.arguments:
            if isinstance(argument.value, (ast.Call, ast.Name)) and _names_initialiser(body, argument.value):
                args.append(initialiser(body, argument.value))
            else:
                args.append((argument.name, evaluate(body, argument.value)))
        return _initialiser(body, node.function.id, args, node)
    if isinstance(node, ast.Call) and isinstance(node.function, ast.Name) and not body.scope.has(node.function.id):
        function = lookup(body, node.function.id, body.scope)
        if not isinstance(function, FunctionRecipe):
            return _initialiser(body, node.function.id, [], node)
    value = evaluate(body, node)
    if isinstance(value, Init):
        return value
    if isinstance(value, (int, float, Fraction)) and not isinstance(value, bool):
        return Init("constant", (float(value),))
    if isinstance(value, list):
        return _initialiser(body, "values", [(None, value)], node)
    body.fail(
        "AD0214",
        "after `~` stands a way to initialise",
        node.span,
        describe(value),
        hint="For example zeros, ones, normal(0.02), uniform(-1, 1).",
    )


def _names_initialiser(body: Body, node: ast.Expr) -> bool:
    name = node.function if isinstance(node, ast.Call) else node
    return isinstance(name, ast.Name) and name.id in INITIALISERS and not body.scope.has(name.id)


def _initialiser(body: Body, name: str, args: list[Any], node: ast.Node) -> Init:
    if name not in INITIALISERS:
        body.fail(
            "AD0214",
            f"there is no initialiser called `{name}`",
            node.span,
            "unknown",
            hint=suggestion(name, INITIALISERS, "Known: " + ", ".join(sorted(INITIALISERS))),
        )
    positional = [a[1] if isinstance(a, tuple) else a for a in args if not isinstance(a, tuple) or a[0] is None]
    named = {a[0]: a[1] for a in args if isinstance(a, tuple) and a[0] is not None}
    try:
        return INITIALISERS[name](*positional, **named)
    except (TypeError, ValueError) as error:
        body.fail("AD0214", f"`{name}` cannot be made with these numbers", node.span, str(error).replace("<lambda>()", name)[:120])


# ---- pipes, labels, choices, structures -----------------------------------------------------------------------------------------


def _pipe(body: Body, node: ast.Pipe) -> Any:
    current = evaluate(body, node.stages[0])
    stages: list[Stage] = []
    if not is_values(current):
        stages = [_stage(body, current, node.stages[0])]
    for item in node.stages[1:]:
        if stages:
            stages.append(_stage(body, evaluate(body, item), item))
            continue
        current = _through(body, current, item)
    if not stages:
        return current
    return PipeRecipe("pipe", node.span, stages)


def _through(body: Body, current: Any, item: ast.Expr) -> Any:
    label, inner = (item.label, item.value) if isinstance(item, ast.Labelled) else (None, item)
    if isinstance(inner, ast.If):
        module = _if(body, inner)
    else:
        module = evaluate(body, inner)
    if module is None:
        return current
    if not is_module(module):
        body.fail(
            "AD0209",
            "a pipe leads into a module",
            item.span,
            f"this is {describe(module)}",
            hint="`x -> f` applies f to x. Use arithmetic (`x + y`) or a call (`f(x, y)`) for values.",
        )
    inputs = list(current) if isinstance(current, tuple) else [current]
    return apply.module(body, module, inputs, item.span, label)


def _stage(body: Body, thing: Any, node: ast.Expr) -> Stage:
    if isinstance(thing, LabelledRecipe):
        return Stage(thing.label, thing.inner, node.span)
    if not is_module(thing):
        body.fail("AD0209", "a pipe leads from a value or a module into modules", node.span, f"this is {describe(thing)}")
    return Stage(None, thing, node.span)


def _labelled(body: Body, node: ast.Labelled) -> LabelledRecipe:
    inner = evaluate(body, node.value)
    if not is_module(inner):
        body.fail("AD0209", f"the label `{node.label}` stands before something that is not a module", node.value.span, describe(inner))
    return LabelledRecipe(node.label, node.span, node.label, inner)


def _choice(body: Body, node: ast.Choice) -> Any:
    chosen = body.decide("choice", "choice", [o.span.text for o in node.options], 0, node)
    for option in node.options[:chosen] + node.options[chosen + 1 :]:
        _names_known(body, option)
    return evaluate(body, node.options[chosen])


def _names_known(body: Body, node: ast.Expr) -> None:
    """Refuses a misspelt name in an option that is not taken: a search would silently never take it. Bodies with names of their own are left."""
    if isinstance(node, ast.Name):
        if not node.primed and not _is_known(body, node.id):
            _unknown_name(body, node)
        return
    parts: list[ast.Expr] = []
    if isinstance(node, ast.Call):
        parts = [node.function, *(a.value for a in node.arguments if not a.tilde)]
    elif isinstance(node, ast.Pipe):
        parts = node.stages
    elif isinstance(node, ast.Choice):
        parts = node.options
    elif isinstance(node, ast.Labelled):
        parts = [node.value]
    elif isinstance(node, ast.Binary):
        parts = [node.left, node.right]
    for part in parts:
        _names_known(body, part)


def _is_known(body: Body, name: str) -> bool:
    """Whether a name stands for something here, without asking for what."""
    scope = body.scope
    if scope.has(name) or name in body.reserved or name in INITIALISERS or name in scope.namespace.names:
        return True
    return lookup(body, name, scope) is not None


def _closure(body: Body, node: Any) -> ClosureRecipe:
    names = {ast.Repeat: "repeat", ast.Loop: "loop", ast.Train: "train", ast.Lambda: "block"}
    name = node.kind if isinstance(node, ast.Route) else names[type(node)]
    return body.made_by(node, ClosureRecipe(name, node.span, node, body.scope.snapshot()))


# ---- calls, indices, attributes -------------------------------------------------------------------------------------------------


def _call(body: Body, node: ast.Call) -> Any:
    if isinstance(node.function, ast.Attribute) and node.function.name in ("before", "after"):
        view = depth.part(body, evaluate(body, node.function.value), node)
        if view is not None:
            return view
    callee = evaluate(body, node.function)
    if isinstance(callee, LabelledRecipe):
        callee = callee.inner
    if not is_module(callee):
        body.fail("AD0207", f"{describe(callee)} cannot be called", node.function.span, "not a module or a function")
    positional: list[tuple[Any, ast.Expr]] = []
    named: dict[str, tuple[Any, ast.Argument]] = {}
    for argument in node.arguments:
        if argument.tilde:
            value: Any = initialiser(body, argument.value)
        elif argument.name is not None and _wants_initialiser(callee, argument.name):
            value = initialiser(body, argument.value)
        else:
            value = evaluate(body, argument.value)
        if argument.name is None:
            positional.append((value, argument.value))
        elif argument.name in named:
            body.fail("AD0203", f"`{argument.name}` is given twice", argument.span, "given again here")
        else:
            named[argument.name] = (value, argument)
    if isinstance(callee, depth.Pretrained):
        return depth.pretrained(body, positional, node)
    return apply.call(body, callee, positional, named, node)


def _wants_initialiser(callee: Any, name: str) -> bool:
    if not isinstance(callee, PrimitiveRecipe):
        return False
    return any(p.name == name and p.kind == "init" for p in callee.primitive.params)


def _index(body: Body, node: ast.Index) -> Any:
    thing = evaluate(body, node.value)
    if isinstance(thing, Value):
        return apply.index(body, thing, [_index_item(body, i) for i in node.items], node.span)
    if len(node.items) != 1:
        body.fail("AD0210", f"{describe(thing)} takes one index", node.span)
    item = _index_item(body, node.items[0])
    if isinstance(thing, StaticRange):
        thing = list(thing)
    if isinstance(thing, (list, tuple)):
        if isinstance(item, slice):
            return thing[item]
        if not isinstance(item, int) or not -len(thing) <= item < len(thing):
            body.fail("AD0406", f"there is no item {item} here", node.items[0].span, f"the list has {len(thing)}")
        return thing[item]
    if isinstance(thing, depth.LayersView):
        return thing.slice(body, item, node)
    body.fail("AD0210", f"{describe(thing)} has no items", node.value.span, hint="Only values, lists and labelled repeats can be indexed.")


def _index_item(body: Body, item: ast.Expr) -> Any:
    if isinstance(item, ast.Ellipsis_):
        return Ellipsis
    if isinstance(item, (ast.Slice, ast.Range)):
        low = evaluate(body, item.low) if item.low is not None else None
        high = evaluate(body, item.high) if item.high is not None else None
        for end in (low, high):
            if isinstance(end, bool) or not (end is None or isinstance(end, (int, Poly))):
                body.fail("AD0210", "an index needs whole numbers", item.span, describe(end))
        if item.closed and isinstance(high, int):
            high = high + 1 if high != -1 else None
        return slice(low, high)
    value = evaluate(body, item)
    if isinstance(value, Value):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, Poly)):
        body.fail("AD0210", "an index needs whole numbers", item.span, describe(value))
    return value


def _attribute(body: Body, node: ast.Attribute) -> Any:
    thing = evaluate(body, node.value)
    if isinstance(thing, Alias):
        if node.name in thing.namespace.names:
            return body.made_by(node, declared(body, node.name, *thing.namespace.names[node.name]))
        body.fail(
            "AD0201",
            f"`{thing.name}` has nothing called `{node.name}`",
            node.span,
            "not declared in that file",
            hint=suggestion(node.name, thing.namespace.names),
        )
    if isinstance(thing, DeclaredRecipe) and isinstance(thing.decl, ast.ScanDecl) and node.name == "cell":
        cell = DeclaredRecipe(thing.name, node.span, thing.decl, thing.namespace, dict(thing.args), dict(thing.options), cell=True)
        return body.made_by(node, cell)
    found = depth.attribute(body, thing, node)
    if found is not None:
        return found
    body.fail(
        "AD0215",
        f"{describe(thing)} has no `.{node.name}`",
        node.span,
        hint="`.cell` gives a scan's step; `.before`, `.after` and a label give the parts of a pretrained model; `import … as x` gives `x.name`.",
    )


def call_label(body: Body, what: str, node: ast.Node) -> Label:
    return Label(node.span, what)


def shape_of(body: Body, shape: ast.Shape) -> list[Any]:
    """The dims of a written shape: sizes, names not yet bound (as ast.Name), or Ellipsis."""
    dims: list[Any] = []
    for dim in shape.dims:
        if isinstance(dim, ast.Ellipsis_):
            dims.append(Ellipsis)
        elif isinstance(dim, ast.Name) and not body.scope.has(dim.id) and not _is_constant(body, dim.id):
            dims.append(dim)
        else:
            value = evaluate(body, dim)
            if isinstance(value, Fraction):
                body.fail("AD0407", f"a size must be a whole number, not {value}", dim.span, "this does not divide evenly")
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, bool) or not isinstance(value, (int, Poly)):
                body.fail("AD0210", "a shape holds sizes", dim.span, describe(value))
            if isinstance(value, int) and value < 1:
                body.fail("AD0407", f"a size must be at least 1, not {value}", dim.span)
            dims.append(value)
    return dims


def _is_constant(body: Body, name: str) -> bool:
    entry = body.scope.namespace.names.get(name)
    return entry is not None and isinstance(entry[0], ast.Constant)


_DISPATCH: dict[type, Callable[..., Any]] = {
    ast.Number: _number,
    ast.String: _literal,
    ast.Bool: _literal,
    ast.NoneLit: _none,
    ast.Name: _name,
    ast.Unary: _unary,
    ast.Binary: _binary,
    ast.If: _if,
    ast.Call: _call,
    ast.Index: _index,
    ast.Attribute: _attribute,
    ast.Range: _range,
    ast.ListExpr: _list,
    ast.Comprehension: _comprehension,
    ast.Ellipsis_: _ellipsis,
    ast.TupleExpr: _tuple,
    ast.SetExpr: _set,
    ast.Tilde: _tilde,
    ast.Labelled: _labelled,
    ast.Pipe: _pipe,
    ast.Choice: _choice,
    ast.Repeat: _closure,
    ast.Loop: _closure,
    ast.Route: _closure,
    ast.Train: _closure,
    ast.Lambda: _closure,
}

__all__ = ["ArchError", "Bound", "Handed", "Recipe", "TensorType", "evaluate", "initialiser", "is_module", "is_values", "shape_of"]
