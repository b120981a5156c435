"""Filling a region from a body of statements: inputs and their shapes, bindings, conditions, results."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import ArchError, Label, Span
from archdsl.elaboration import apply
from archdsl.elaboration.body import Body
from archdsl.elaboration.evaluate import evaluate, is_module, shape_of
from archdsl.elaboration.kinds import POISON, Bound, Poison, Scope
from archdsl.elaboration.statics import describe
from archdsl.graph import sizes
from archdsl.graph.ir import Assumption, Axis, Origin, TensorType, Value
from archdsl.graph.sizes import Poly, decide_equal
from archdsl.language import syntax as ast


def fill(body: Body, syntax: ast.Body, types: list[TensorType], owner: str, call_span: Span) -> None:
    """Elaborates a body applied to inputs of these types into `body.region`."""
    if syntax.expression is not None:
        _point_free(body, syntax.expression, types, owner)
        return
    statements = syntax.statements
    declared = [s for s in statements if isinstance(s, ast.Input)]
    _arity(body, declared, types, owner, call_span)
    _reserve(body, statements)
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
            _poison(body, statement)
        except Poison:
            _poison(body, statement)
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
    if is_module(thing):
        if not inputs:
            body.fail("AD0203", f"`{owner}` is applied to nothing", expression.span)
        thing = apply.module(body, thing, list(inputs), expression.span, None)
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
            hint = "Apply it to a value: `x -> module`." if is_module(item) else ""
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


def _reserve(body: Body, statements: list[Any]) -> None:
    for statement in statements:
        if isinstance(statement, ast.Bind):
            body.reserved.update(t.id + ("'" if t.primed else "") for t in statement.targets)
        elif isinstance(statement, ast.State):
            body.reserved.add(statement.name)


def _poison(body: Body, statement: Any) -> None:
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


# ---- inputs ---------------------------------------------------------------------------------------------------------------------


def _input(body: Body, statement: ast.Input, given: TensorType | None) -> None:
    if given is None:
        assert statement.default is not None
        bind(body, statement.name, evaluate(body, statement.default), statement.name_span)
        return
    if statement.shape is not None:
        match_shape(body, statement.shape, given, statement.name)
    value = Value(given, body.region, None, statement.name)
    body.region.inputs.append(value)
    bind(body, statement.name, value, statement.name_span)
    if statement.where is not None:
        require(body, statement.where)


def match_shape(body: Body, shape: ast.Shape, given: TensorType, name: str) -> None:
    """Fits a written shape to a type: binds its size names, checks the others."""
    if shape.kind != given.kind and not (shape.kind == "float" and given.kind == "complex" and not shape.dims):
        body.fail(
            "AD0307",
            f"`{name}` should hold {_kind_word(shape.kind)}, not {_kind_word(given.kind)}",
            shape.span,
            f"the value given is {given}",
            hint="Token ids are `int[T]`; turn them into numbers with `embedding`." if given.kind == "int" else "",
        )
    dims = shape_of(body, shape)
    written = list(shape.dims)
    if Ellipsis in dims:
        split = dims.index(Ellipsis)
        after = len(dims) - split - 1
        if given.rank < len(dims) - 1:
            _rank_mismatch(body, shape, given, name)
        axes = list(given.axes[:split]) + list(given.axes[given.rank - after :] if after else [])
        if body.rest is None:
            body.rest = [a.size for a in given.axes[split : given.rank - after]]
        dims = dims[:split] + dims[split + 1 :]
        written = written[:split] + written[split + 1 :]
    else:
        axes = list(given.axes)
        if len(axes) != len(dims):
            _rank_mismatch(body, shape, given, name)
    for dim, axis, node in zip(dims, axes, written):
        if isinstance(dim, ast.Name) and not body.scope.has(dim.id):
            body.scope.local[dim.id] = axis.size
            body.sizes[dim.id] = dim.span
        else:
            expected = body.scope.find(dim.id) if isinstance(dim, ast.Name) else dim
            _same_size(body, expected, axis.size, node, shape, given, name)


def _same_size(body: Body, expected: Any, actual: Any, node: ast.Node, shape: ast.Shape, given: TensorType, name: str) -> None:
    verdict = decide_equal(expected, actual, body.session.facts)
    if verdict is None:
        body.assume(Assumption(actual, "==", expected, Origin(node.span, body.via)))
    if verdict is False:
        note = f"`{name}` is declared {shape.span.text} and the value given is {given}."
        wanted = f"{node.span.text} is {expected}" if not isinstance(node, ast.Number) else f"{expected} is wanted"
        body.fail(
            "AD0301", f"the shape of `{name}` does not fit", node.span, f"{wanted}, but this axis of the value is {actual}", note=note
        )


def _rank_mismatch(body: Body, shape: ast.Shape, given: TensorType, name: str) -> None:
    count = len([d for d in shape.dims if not isinstance(d, ast.Ellipsis_)])
    more = "at least " if len(shape.dims) != count else ""
    body.fail(
        "AD0303",
        f"`{name}` should have {more}{count} ax{'i' if count == 1 else 'e'}s, not {given.rank}",
        shape.span,
        f"the value given is {given}",
        hint="The batch axis is never written. `[.., d]` takes any number of axes before d.",
    )


def _kind_word(kind: str) -> str:
    return {"float": "numbers", "int": "whole numbers", "bool": "true/false", "complex": "complex numbers"}[kind]


def require(body: Body, condition: ast.Expr) -> None:
    """`where`: at the top it is a fact about the inputs, inside it must be provable or is assumed and asserted."""
    if isinstance(condition, ast.Binary) and condition.op == "and":
        require(body, condition.left)
        require(body, condition.right)
        return
    if isinstance(condition, ast.Binary) and condition.op in ("==", "<", "<=", ">", ">="):
        left, right = evaluate(body, condition.left), evaluate(body, condition.right)
        if isinstance(left, Poly) or isinstance(right, Poly):
            for side, node in ((left, condition.left), (right, condition.right)):
                if isinstance(side, bool) or not isinstance(side, (int, Fraction, Poly)):
                    body.fail("AD0210", "`where` compares sizes", node.span, f"this is {describe(side)}")
            _require_sizes(body, condition, left, right)
            return
    verdict = evaluate(body, condition)
    if verdict is not True:
        if not isinstance(verdict, bool):
            body.fail("AD0210", "`where` needs a condition", condition.span, describe(verdict))
        body.fail("AD0308", "the condition of `where` does not hold", condition.span, "false for this input", note=_terms(body, condition))


def _require_sizes(body: Body, condition: ast.Binary, left: Any, right: Any) -> None:
    facts = body.session.facts
    compare = sizes.decide_equal(left, right, facts) if condition.op == "==" else sizes.decide_compare(condition.op, left, right, facts)
    root = body.region.kind == "arch" and body.parent is None
    if root and condition.op == "==" and isinstance(condition.left, ast.Binary) and condition.left.op == "%" and right == 0:
        size, by = evaluate(body, condition.left.left), evaluate(body, condition.left.right)
        facts.divisible(size, by)
        return
    if root and compare is not True:
        if condition.op == "==":
            facts.equal(left, right)
        elif condition.op in ("<=", "<"):
            facts.less_equal(left if condition.op == "<=" else left + 1, right)
        else:
            facts.less_equal(right if condition.op == ">=" else right + 1, left)
        return
    if compare is False:
        body.fail(
            "AD0308",
            "the condition of `where` does not hold",
            condition.span,
            f"{left} {condition.op} {right} is false",
            note=_terms(body, condition),
        )
    if compare is None and condition.op == "==":
        body.assume(Assumption(left, "==", right, Origin(condition.span, body.via)))
    elif compare is None:
        body.assume(Assumption(left, condition.op, right, Origin(condition.span, body.via)))


def _terms(body: Body, condition: ast.Node) -> str:
    from archdsl.elaboration.kinds import free_names

    known = [(n, body.scope.find(n)) for n in free_names(condition) if body.scope.has(n)]
    return ", ".join(f"{n} is {v}" for n, v in known if isinstance(v, (int, float, Poly)) and not isinstance(v, bool))


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
        bind(body, statement.name, value, statement.span)
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


def bind_target(body: Body, target: ast.Target, thing: Any, statement: ast.Bind) -> None:
    name = target.id + ("'" if target.primed else "")
    if is_module(thing) and not isinstance(thing, Bound):
        from archdsl.elaboration.kinds import Handed, LabelledRecipe

        label = None
        if isinstance(thing, LabelledRecipe):
            label, thing = thing.label, thing.inner
        if not isinstance(thing, Handed):
            body.reserved.discard(name)
            made = Bound(body.claim(label or name, label or name, target.span), thing, body, target.span)
            body.session.keep.append(made)
            thing = made
    elif isinstance(thing, Value) and thing.name is None and thing.region is body.region:
        thing.name = target.id if not target.primed else f"{target.id}_next"
    bind(body, name, thing, target.span)


def bind(body: Body, name: str, thing: Any, span: Span) -> None:
    """Enters a name; a size and a value may not share one."""
    before = body.scope.local.get(name)
    if before is not None and before is not POISON and isinstance(before, Value) != isinstance(thing, Value):
        what = {True: "a value", False: "a size or module"}
        labels = [Label(body.sizes[name], f"`{name}` is a size here")] if name in body.sizes else []
        body.fail(
            "AD0221",
            f"`{name}` is already {what[isinstance(before, Value)]} in this body",
            span,
            f"now it would be {what[isinstance(thing, Value)]}",
            labels=labels,
            note="In one body a name may be bound again, but only to the same sort of thing.",
            hint="Choose another name.",
        )
    body.scope.local[name] = thing


def parameter(body: Body, statement: ast.ParamDecl) -> None:
    """`param R: [n, n] ~ init`: a weight of this body; groups in front of a colon are lead axes (one per head)."""
    from archdsl.elaboration.evaluate import initialiser
    from archdsl.graph.ir import Init, Instance, Weight

    init = initialiser(body, statement.init) if statement.init is not None else Init("zeros")
    dims = _fixed(body, statement.shape, statement.shape.dims)
    lead = _fixed(body, statement.shape, statement.shape.groups)
    name = body.claim(statement.name, statement.name, statement.name_span)
    weight = Weight("", tuple(lead + dims), init, statement.shape.kind)  # type: ignore[arg-type]
    instance = body.place(Instance(name, "param", body.region, {"": weight}))
    kind = TensorType(tuple(Axis(d) for d in dims), statement.shape.kind, False)  # type: ignore[arg-type]
    attrs = {"shape": list(lead + dims), "init": init, "lead": len(lead)}
    [value] = body.add("param", [], attrs, [kind], statement.span, instance)
    value.name = statement.name
    bind(body, statement.name, value, statement.name_span)


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


def child_scope(body: Body, parent: Scope | None, namespace: Any) -> Scope:
    return Scope(namespace, parent)
