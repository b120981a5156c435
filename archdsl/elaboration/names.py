"""Names and attributes: local ones, those of the file and its imports, the primitives, the functions and the prelude."""

from __future__ import annotations

from typing import Any, NoReturn

from archdsl.diagnostics import suggestion
from archdsl.elaboration import statics
from archdsl.elaboration.body import ROOM, Body
from archdsl.elaboration.dispatch import attribute_of, attributes, evaluate, evaluates
from archdsl.elaboration.kinds import MISSING, POISON, Alias, DeclaredRecipe, FunctionRecipe, Poison, Pretrained, PrimitiveRecipe, Scope
from archdsl.elaboration.library import where_declared
from archdsl.elaboration.statics import describe
from archdsl.graph.functions import CONSTANTS
from archdsl.graph.functions import FUNCTIONS as SCALAR_FUNCTIONS
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.initialisers import TABLE as INITIALISERS
from archdsl.stack import with_room


@evaluates(ast.Name)
def _name(body: Body, node: ast.Name) -> Any:
    name = node.id + "'" if node.primed else node.id
    scope = body.scope
    thing = scope.find(name, MISSING)
    if thing is POISON:
        raise Poison
    if thing is not MISSING:
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
    unknown_name(body, node)


def unknown_name(body: Body, node: ast.Name) -> NoReturn:
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


def _import_hint(name: str) -> str:
    place = where_declared(name)
    return f'The library has it: add `import "{place}"` at the top of the file.' if place else ""


def is_known(body: Body, name: str) -> bool:
    """Whether a name stands for something here, without asking for what."""
    scope = body.scope
    if scope.has(name) or name in body.reserved or name in INITIALISERS or name in scope.namespace.names:
        return True
    return lookup(body, name, scope) is not None


def lookup(body: Body, name: str, scope: Scope) -> Any:
    """A name of the file, its imports, the primitives, the functions or the prelude; None if there is none."""
    span = None
    if name in scope.namespace.names:
        return declared(body, name, *scope.namespace.names[name])
    if name in scope.namespace.aliases:
        return Alias(name, scope.namespace.aliases[name])
    if name == "pretrained":
        return Pretrained(name, span)  # type: ignore[arg-type]
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


def _constant(body: Body, decl: ast.Constant, namespace: Any) -> Any:
    if decl.name in namespace.constants:
        return namespace.constants[decl.name]
    evaluating = body.session.evaluating
    if decl in evaluating:
        body.fail("AD0402", f"the constant `{decl.name}` is defined through itself", decl.name_span, "a circle", hint="Give it a value.")
    evaluating.add(decl)
    outer, decided, nodes = body.scope, len(body.region.decisions), body.session.nodes
    body.scope = Scope(namespace)
    try:
        value = with_room(ROOM, lambda: evaluate(body, decl.value))
    finally:
        body.scope = outer
        evaluating.discard(decl)
    if body.session.nodes > nodes:
        body.fail(
            "AD0240",
            f"the constant `{decl.name}` is a value",
            decl.value.span,
            "a value belongs to one body",
            hint="Bind it in the body that uses it; a module may have a name here and be applied there.",
        )
    if len(body.region.decisions) > decided:
        return value  # a choice decides at each use
    return namespace.constants.setdefault(decl.name, value)


# ---- attributes -----------------------------------------------------------------------------------------------------------------


@evaluates(ast.Attribute)
def _attribute(body: Body, node: ast.Attribute) -> Any:
    thing = evaluate(body, node.value)
    look = attribute_of(thing)
    found = look(body, thing, node) if look is not None else None
    if found is None:
        body.fail(
            "AD0215",
            f"{describe(thing)} has no `.{node.name}`",
            node.span,
            hint="`.cell` gives a scan's step; `.before`, `.after` and a label give the parts of a pretrained model; `import … as x` gives `x.name`.",
        )
    return found


@attributes(Alias)
def _imported(body: Body, thing: Alias, node: ast.Attribute) -> Any:
    if node.name in thing.namespace.names:
        return body.made_by(node, declared(body, node.name, *thing.namespace.names[node.name]))
    body.fail(
        "AD0201",
        f"`{thing.name}` has nothing called `{node.name}`",
        node.span,
        "not declared in that file",
        hint=suggestion(node.name, thing.namespace.names),
    )
