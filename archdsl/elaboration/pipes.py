"""Pipes, labels and choices; closures where they are written."""

from __future__ import annotations

from typing import Any

from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, applies, apply, evaluate, evaluates
from archdsl.elaboration.kinds import ClosureRecipe, LabelledRecipe, Module, PipeRecipe, Scope, Stage, type_key
from archdsl.elaboration.names import is_known, unknown_name
from archdsl.elaboration.regions import call_region
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Region, Value
from archdsl.language import syntax as ast

MAX_STAGES = 65_536  # of a pipe, with those of the pipes it is made of


@evaluates(ast.Pipe)
def _pipe(body: Body, node: ast.Pipe) -> Any:
    current = evaluate(body, node.stages[0])
    stages: list[Stage] = []
    if not _is_values(current):
        stages += _stages(body, current, node.stages[0])
    for item in node.stages[1:]:
        if stages:
            stages += _stages(body, evaluate(body, item), item)
            continue
        current = _through(body, current, item)
    if not stages:
        return current
    if len(stages) > MAX_STAGES:
        body.fail("AD0404", "this pipe would be too long", node.span, f"{len(stages):,} stages; at most {MAX_STAGES:,}")
    return PipeRecipe("pipe", node.span, stages)


def _is_values(thing: Any) -> bool:
    """A value, or a tuple holding at least one."""
    return isinstance(thing, Value) or (isinstance(thing, tuple) and any(isinstance(t, Value) for t in thing))


def _through(body: Body, current: Any, item: ast.Expr) -> Any:
    label, inner = (item.label, item.value) if isinstance(item, ast.Labelled) else (None, item)
    module = evaluate(body, inner)
    if module is None:
        return current
    if not isinstance(module, Module):
        body.fail(
            "AD0209",
            "a pipe leads into a module",
            item.span,
            f"this is {describe(module)}",
            hint="`x -> f` applies f to x. Use arithmetic (`x + y`) or a call (`f(x, y)`) for values.",
        )
    inputs = list(current) if isinstance(current, tuple) else [current]
    return apply(body, module, inputs, Application(item.span, label))


def _stages(body: Body, thing: Any, node: ast.Expr) -> list[Stage]:
    if isinstance(thing, LabelledRecipe):
        return [Stage(thing.label, thing.inner, node.span)]
    if isinstance(thing, PipeRecipe):
        return thing.stages
    if not isinstance(thing, Module):
        body.fail("AD0209", "a pipe leads from a value or a module into modules", node.span, f"this is {describe(thing)}")
    return [Stage(None, thing, node.span)]


@evaluates(ast.Labelled)
def _labelled(body: Body, node: ast.Labelled) -> LabelledRecipe:
    inner = evaluate(body, node.value)
    if not isinstance(inner, Module):
        body.fail("AD0209", f"the label `{node.label}` stands before something that is not a module", node.value.span, describe(inner))
    return LabelledRecipe(node.label, node.span, node.label, inner)


@evaluates(ast.Choice)
def _choice(body: Body, node: ast.Choice) -> Any:
    chosen = body.decide("choice", "choice", [o.span.text for o in node.options], 0, node)
    for option in node.options[:chosen] + node.options[chosen + 1 :]:
        _names_known(body, option)
    return evaluate(body, node.options[chosen])


def _names_known(body: Body, node: ast.Expr) -> None:
    """Refuses a misspelt name in an option that is not taken: a search would silently never take it. Bodies with names of their own are left."""
    if isinstance(node, ast.Name):
        if not node.primed and not is_known(body, node.id):
            unknown_name(body, node)
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


@evaluates(ast.Repeat, ast.Loop, ast.Route, ast.Train, ast.Lambda)
def _closure(body: Body, node: Any) -> ClosureRecipe:
    names = {ast.Repeat: "repeat", ast.Loop: "loop", ast.Train: "train", ast.Lambda: "block"}
    name = node.kind if isinstance(node, ast.Route) else names[type(node)]
    return body.made_by(node, ClosureRecipe(name, node.span, node, body.scope.snapshot()))


# ---- applying -------------------------------------------------------------------------------------------------------------------


@applies(LabelledRecipe)
def _apply_labelled(body: Body, recipe: LabelledRecipe, inputs: list[Value], at: Application) -> Any:
    return apply(body, recipe.inner, inputs, Application(at.span, recipe.label, at.bound))


@applies(PipeRecipe)
def _apply_pipe(body: Body, recipe: PipeRecipe, inputs: list[Value], at: Application) -> Any:
    """Stage by stage; one that is labelled or bound has a region of its own."""
    if at.label is not None or at.bound is not None:
        return _pipe_region(body, recipe, inputs, at)
    return _in_turn(body, recipe.stages, inputs)


def _in_turn(body: Body, stages: list[Stage], inputs: list[Value]) -> Any:
    current: Any = tuple(inputs)
    for stage in stages:
        given = list(current) if isinstance(current, tuple) else [current]
        current = apply(body, stage.module, given, Application(stage.span, stage.label))
    return current


def _pipe_region(body: Body, recipe: PipeRecipe, inputs: list[Value], at: Application) -> Any:
    def fill_in(child: Body) -> None:
        child.region.inputs = [Value(v.type, child.region) for v in inputs]
        result = _in_turn(child, recipe.stages, child.region.inputs)
        child.region.outputs = [child.resolve(v) for v in (result if isinstance(result, tuple) else (result,))]

    base = at.label or (at.bound.name if at.bound else "pipe")
    return call_region(
        body,
        base,
        (recipe.key(), base, type_key([v.type for v in inputs])),
        lambda name: Region(name, "pipe", recipe.span),
        lambda: Scope(body.scope.namespace),
        fill_in,
        inputs,
        at,
        recipe,
    )
