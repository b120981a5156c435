"""Blocks, pipes, acts and anonymous blocks applied to values: one shared region per distinct use, one call node per occurrence."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import ArchError, Label, Span
from archdsl.elaboration import apply
from archdsl.elaboration.body import Body, build_region
from archdsl.elaboration.evaluate import evaluate
from archdsl.elaboration.kinds import (
    MODULES,
    POISON,
    Bound,
    ClosureRecipe,
    DeclaredRecipe,
    Handed,
    LabelledRecipe,
    PipeRecipe,
    PrimitiveRecipe,
    Scope,
    StaticRange,
    type_key,
)
from archdsl.elaboration.statements import bind, fill, match_shape
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Axis, Instance, Region, TensorType, Value, fresh_identity
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES

# ---- calls of regions -----------------------------------------------------------------------------------------------------------


def call_region(
    body: Body,
    op: str,
    base: str,
    key: Hashable,
    new_region: Callable[[str], Region],
    scope: Callable[[], Scope],
    fill_in: Callable[[Body], None],
    inputs: list[Value],
    span: Span,
    label: str | None,
    bound: Bound | None,
    recipe: Any,
) -> Any:
    """Elaborates (or finds) a region for these inputs and adds the call of an instance of it."""
    inputs = [body.resolve(v) for v in inputs]
    shared = bound is not None and bound.instance is not None
    name = bound.name if bound is not None else body.claim(base, label, span)
    place = bound.owner if bound is not None else body
    region = build_region(body, key, lambda: new_region(name), scope, fill_in, name, Label(span, f"in `{base}`, used here"), place, recipe)
    instance: Instance
    if shared:
        assert bound is not None and bound.instance is not None
        instance = body.borrow(bound.instance)
        if instance.region is not region and not same_region(instance.region, region):
            apply._do_not_fit(body, bound, span)
    else:
        published = recipe.options.get("pretrained") if isinstance(recipe, DeclaredRecipe) else None
        instance = body.place(Instance(name, op, body.region, region=region, pretrained=published), bound)
    return call_node(body, op, instance, region, inputs, {}, span)


def call_node(body: Body, op: str, instance: Instance, region: Region, inputs: list[Value], attrs: dict[str, Any], span: Span) -> Any:
    captured = [body.resolve(outer) for outer, _ in region.captures]
    borrowed = [body.borrow(i) for i in region.borrowed]
    types = call_types(region, inputs)
    values = body.add("call" if op == "block" else op, [*inputs, *captured], attrs, types, span, instance, borrowed)
    return apply.outputs(values)


def call_types(region: Region, inputs: list[Value]) -> list[TensorType]:
    """Output types as the caller sees them: axes of the inputs keep the caller's identities, new ones get their own."""
    known: dict[int, int] = {}
    ragged: dict[int, str | None] = {}
    for inner, outer in zip(region.inputs, inputs):
        for a, b in zip(inner.type.axes, outer.type.axes):
            known[a.identity] = b.identity
            ragged[a.identity] = b.ragged
    for outer_value, stand_in in region.captures:
        for a, b in zip(stand_in.type.axes, outer_value.type.axes):
            known.setdefault(a.identity, b.identity)
    types = []
    for value in region.outputs:
        axes = []
        for a in value.type.axes:
            if a.identity not in known:
                known[a.identity] = fresh_identity()
            axes.append(Axis(a.size, known[a.identity], ragged.get(a.identity, a.ragged), a.past))
        types.append(TensorType(tuple(axes), value.type.kind, value.type.batched))
    return types


def same_region(a: Region | None, b: Region) -> bool:
    """Whether two regions differ only in sizes that data brings (one instance applied to inputs of two lengths)."""
    if a is None or len(a.nodes) != len(b.nodes) or a.instances.keys() != b.instances.keys():
        return False
    for x, y in zip(a.instances.values(), b.instances.values()):
        if x.op != y.op or x.weights != y.weights:
            return False
        if x.region is not None and (y.region is None or not same_region(x.region, y.region)):
            return False
        if x.rounds is not None and (y.rounds is None or len(x.rounds) != len(y.rounds)):
            return False
        if x.rounds is not None and y.rounds is not None and not all(same_region(p, q) for p, q in zip(x.rounds, y.rounds)):
            return False
    return all(m.op == n.op and len(m.inputs) == len(n.inputs) and _alike(m.attrs, n.attrs) for m, n in zip(a.nodes, b.nodes))


def _alike(a: Any, b: Any) -> bool:
    """Whether two attributes would be written the same way: numbers and texts must agree, sizes that data brings need not."""
    if isinstance(a, Poly) or isinstance(b, Poly):
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b))
    plain = (bool, int, float, str, Fraction, type(None))
    return not (isinstance(a, plain) and isinstance(b, plain)) or a == b


# ---- blocks ---------------------------------------------------------------------------------------------------------------------


def block(body: Body, recipe: DeclaredRecipe, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    decl = recipe.decl
    assert isinstance(decl, ast.BlockDecl)
    value_names = [n for n, v in recipe.args.items() if isinstance(v, Value)]
    values = [*inputs, *(recipe.args[n] for n in value_names)]
    plain = {n: v for n, v in recipe.args.items() if n not in value_names}
    stripped = DeclaredRecipe(recipe.name, recipe.span, decl, recipe.namespace, plain)

    def fill_in(child: Body) -> None:
        bind_parameters(child, recipe.name, decl.parameters, plain, set(value_names), span)
        child.region.params = {n: v for n, v in child.scope.local.items() if isinstance(v, (int, float, str, bool))}
        fill_block(child, decl, [v.type for v in values], value_names, span)

    return call_region(
        body,
        "block",
        recipe.name,
        (stripped.key(), tuple(value_names), type_key([v.type for v in values])),
        lambda name: Region(recipe.name, "block", decl.span, doc=decl.doc),
        lambda: Scope(recipe.namespace),
        fill_in,
        values,
        span,
        label,
        bound,
        recipe,
    )


def fill_block(child: Body, decl: ast.BlockDecl, types: list[TensorType], value_names: list[str], span: Span) -> None:
    count = len(types) - len(value_names)
    extra = [Value(t, child.region, None, n) for t, n in zip(types[count:], value_names)]
    for name, value in zip(value_names, extra):
        child.scope.local[name] = value
    if decl.on is not None:
        if count != 1:
            child.fail(
                "AD0203", f"`{decl.name}` takes 1 value, not {count}", span, f"given {count}", labels=[Label(decl.on.span, "its input")]
            )
        match_shape(child, decl.on, types[0], decl.name)
    fill(child, decl.body, types[:count], decl.name, span)
    child.region.inputs += extra


def bind_parameters(child: Body, owner: str, parameters: list[ast.Parameter], args: dict[str, Any], values: set[str], span: Span) -> None:
    """Enters parameters in order: the argument, the decision over a domain, or the default (which may use earlier parameters)."""
    for parameter in parameters:
        name = parameter.name
        if name in values:
            continue
        if name in args:
            thing = args[name]
        elif parameter.domain is not None:
            thing = _from_domain(child, parameter)
        elif parameter.default is not None:
            thing = evaluate(child, parameter.default)
        else:
            child.scope.local[name] = POISON
            child.fail(
                "AD0204",
                f"`{owner}` needs `{name}`",
                span,
                "not given",
                labels=[Label(parameter.span, "it has no default")],
                hint=f"Write `{owner}({name}=…)`.",
            )
        if isinstance(thing, LabelledRecipe):
            thing = thing.inner
        if isinstance(thing, MODULES) and not isinstance(thing, (Bound, Handed)):
            thing = Handed(name, thing)
        elif isinstance(thing, Handed):
            thing = Handed(name, thing.recipe)
        bind(child, name, thing, parameter.span)


def _from_domain(child: Body, parameter: ast.Parameter) -> Any:
    assert parameter.domain is not None
    if isinstance(parameter.domain, ast.SetExpr):
        texts = [item.span.text for item in parameter.domain.items]
        options = [evaluate(child, item) for item in parameter.domain.items]
    else:
        domain = evaluate(child, parameter.domain)
        if not isinstance(domain, (StaticRange, list)):
            child.fail("AD0210", f"the domain of `{parameter.name}` is a set or a range", parameter.domain.span, describe(domain))
        if len(domain) > 65536:
            child.fail("AD0404", f"the domain of `{parameter.name}` is too large", parameter.domain.span, f"{len(domain):,} values")
        options = list(domain)
        texts = [str(o) for o in options]
    if not options:
        child.fail("AD0222", f"the domain of `{parameter.name}` is empty", parameter.domain.span, "nothing to choose from")
    default = 0
    if parameter.default is not None:
        wanted = evaluate(child, parameter.default)
        if parameter.default.span.text in texts:
            default = texts.index(parameter.default.span.text)
        elif any(not isinstance(o, MODULES) and type(o) is type(wanted) and o == wanted for o in options):
            default = next(i for i, o in enumerate(options) if type(o) is type(wanted) and o == wanted)
        else:
            child.fail(
                "AD0222",
                f"the default of `{parameter.name}` is not in its domain",
                parameter.default.span,
                f"not one of {', '.join(texts[:8])}{' …' if len(texts) > 8 else ''}",
            )
    return options[child.decide(parameter.name, "domain", texts, default, parameter)]


# ---- pipes, anonymous blocks ----------------------------------------------------------------------------------------------------


def pipe_region(body: Body, recipe: PipeRecipe, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    """A labelled or bound pipe: a region of its own."""

    def fill_in(child: Body) -> None:
        values = [Value(v.type, child.region) for v in inputs]
        child.region.inputs = values
        result = apply.module(child, PipeRecipe(recipe.name, recipe.span, recipe.stages), list(values), span, None)
        child.region.outputs = [child.resolve(v) for v in (result if isinstance(result, tuple) else (result,))]

    base = label or (bound.name if bound else "pipe")
    return call_region(
        body,
        "block",
        base,
        (recipe.key(), base, type_key([v.type for v in inputs])),
        lambda name: Region(name, "pipe", recipe.span),
        lambda: Scope(body.scope.namespace),
        fill_in,
        inputs,
        span,
        label,
        bound,
        recipe,
    )


def closure(body: Body, recipe: ClosureRecipe, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    from archdsl.elaboration import repeats

    node = recipe.node
    if isinstance(node, ast.Repeat):
        return repeats.repeat(body, recipe, node, inputs, span, label, bound)
    if isinstance(node, ast.Loop):
        return repeats.loop(body, recipe, node, inputs, span, label, bound)
    if isinstance(node, ast.Route):
        return repeats.route(body, recipe, node, inputs, span, label, bound)
    if isinstance(node, ast.Train):
        return repeats.train(body, recipe, node, inputs, span, label, bound)
    return anonymous(body, recipe, node.body, "block", inputs, span, label, bound)


def anonymous(
    body: Body, recipe: ClosureRecipe, syntax: ast.Body, base: str, inputs: list[Value], span: Span, label: str | None, bound: Bound | None
) -> Any:
    return call_region(
        body,
        "block",
        label or base,
        (recipe.key(), id(syntax), type_key([v.type for v in inputs])),
        lambda name: Region(name, "block", syntax.span),
        lambda: Scope(recipe.scope.namespace, recipe.scope),
        lambda child: fill(child, syntax, [v.type for v in inputs], label or base, span),
        inputs,
        span,
        label,
        bound,
        recipe,
    )


# ---- activations ----------------------------------------------------------------------------------------------------------------


def lower(body: Body, recipe: DeclaredRecipe, span: Span) -> Any:
    """The lowered form of an act with its static arguments; lowered once per distinct arguments."""
    from archdsl.graph.acts import lower_act

    assert isinstance(recipe.decl, ast.ActDecl)
    parameters = recipe.decl.parameters
    scope = Scope(recipe.namespace)
    child = Body(body.session, body.region, scope, body, body.via, body.decisions, body.path)
    bind_parameters(child, recipe.name, parameters, recipe.args, set(), span)
    arguments = {p.name: scope.local[p.name] for p in parameters}
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
            body.fail("AD0210", f"`{name}` of {recipe.name} must be a number", span, describe(value))

    def resolver(namespace: Any) -> Any:
        def resolve(name: str) -> Any:
            entry = namespace.names.get(name) or body.session.loader.prelude().names.get(name)
            return (entry[0], resolver(entry[1])) if entry is not None and isinstance(entry[0], ast.ActDecl) else None

        return resolve

    learned = {x.name for x in recipe.decl.learned}
    for name, value in recipe.options.items():
        if name in learned:
            if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
                body.fail("AD0210", f"`{name}` of {recipe.name} begins with a number", span, describe(value))
            arguments[name] = value
    key = ("act", id(recipe.decl), tuple(sorted(arguments.items())))
    cache = body.session.lowered
    if key not in cache:
        try:
            cache[key] = lower_act(recipe.decl, arguments, resolver(recipe.namespace))
        except ArchError as error:
            raise ArchError(*(d.with_labels(Label(span, f"`{recipe.name}` is used here")) for d in error.diagnostics)) from None
    return cache[key]


def act(body: Body, recipe: DeclaredRecipe, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    lowered = lower(body, recipe, span)
    if len(inputs) != len(lowered.inputs):
        wanted = len(lowered.inputs)
        body.fail(
            "AD0203",
            f"`{recipe.name}` takes {wanted} value{'s' if wanted > 1 else ''}, not {len(inputs)}",
            span,
            labels=[Label(recipe.decl.name_span, "declared here")],
        )
    options = {n: v for n, v in recipe.options.items() if n not in {x.name for x in lowered.learned}}
    primitive = PrimitiveRecipe(recipe.name, span, PRIMITIVES["act"], {"act": lowered, **options})
    return apply.primitive(body, primitive, inputs, span, label, bound)


def scan(body: Body, recipe: DeclaredRecipe, inputs: list[Value], span: Span, label: str | None, bound: Bound | None) -> Any:
    from archdsl.elaboration import scans

    return scans.scan(body, recipe, inputs, span, label, bound)


__all__ = ["Axis", "TensorType", "act", "block", "call_node", "call_region", "call_types", "closure", "pipe_region", "scan"]
