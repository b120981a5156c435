"""Blocks, declared or written in place, and acts applied to values."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import Label, Span
from archdsl.elaboration.acts import lower
from archdsl.elaboration.binding import bind_parameters
from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, applies
from archdsl.elaboration.kinds import ClosureRecipe, DeclaredRecipe, PrimitiveRecipe, Scope, type_key
from archdsl.elaboration.nodes import primitive
from archdsl.elaboration.regions import call_region
from archdsl.elaboration.shapes import match_shape
from archdsl.elaboration.statements import fill
from archdsl.graph.ir import Region, TensorType, Value
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES


@applies(ast.BlockDecl)
def _block(body: Body, recipe: DeclaredRecipe, inputs: list[Value], at: Application) -> Any:
    decl = recipe.decl
    assert isinstance(decl, ast.BlockDecl)
    value_names = [n for n, v in recipe.args.items() if isinstance(v, Value)]
    values = [*inputs, *(recipe.args[n] for n in value_names)]
    plain = {n: v for n, v in recipe.args.items() if n not in value_names}
    stripped = DeclaredRecipe(recipe.name, recipe.span, decl, recipe.namespace, plain)

    def fill_in(child: Body) -> None:
        bind_parameters(child, recipe.name, decl.parameters, plain, set(value_names), at.span)
        child.region.params = {n: v for n, v in child.scope.local.items() if isinstance(v, (int, float, str, bool))}
        fill_block(child, decl, [v.type for v in values], value_names, at.span)

    return call_region(
        body,
        recipe.name,
        (stripped.key(), tuple(value_names), type_key([v.type for v in values])),
        lambda name: Region(recipe.name, "block", decl.span, doc=decl.doc),
        lambda: Scope(recipe.namespace),
        fill_in,
        values,
        at,
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


@applies(ast.Lambda)
def _written(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    """`{ … }`."""
    assert isinstance(recipe.node, ast.Lambda)
    syntax = recipe.node.body
    base = at.label or "block"
    return call_region(
        body,
        base,
        (recipe.key(), syntax, type_key([v.type for v in inputs])),
        lambda name: Region(name, "block", syntax.span),
        lambda: Scope(recipe.scope.namespace, recipe.scope),
        lambda child: fill(child, syntax, [v.type for v in inputs], base, at.span),
        inputs,
        at,
        recipe,
    )


@applies(ast.ActDecl)
def _act(body: Body, recipe: DeclaredRecipe, inputs: list[Value], at: Application) -> Any:
    lowered = lower(body, recipe, at.span)
    if len(inputs) != len(lowered.inputs):
        wanted = len(lowered.inputs)
        body.fail(
            "AD0203",
            f"`{recipe.name}` takes {wanted} value{'s' if wanted > 1 else ''}, not {len(inputs)}",
            at.span,
            labels=[Label(recipe.decl.name_span, "declared here")],
        )
    options = {n: v for n, v in recipe.options.items() if n not in {x.name for x in lowered.learned}}
    return primitive(body, PrimitiveRecipe(recipe.name, at.span, PRIMITIVES["act"], {"act": lowered, **options}), inputs, at)
