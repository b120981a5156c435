"""Activations: an act with its static arguments, lowered to a formula once per distinct arguments (archdsl/graph/acts.py)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import ArchError, Label, Span
from archdsl.elaboration.binding import bind_parameters
from archdsl.elaboration.body import Body, Bound
from archdsl.elaboration.kinds import DeclaredRecipe, Handed, Scope
from archdsl.elaboration.statics import describe
from archdsl.graph.acts import lower_act
from archdsl.language import syntax as ast
from archdsl.stack import with_room

ROOM = 600  # calls that an act may need as it is written out, 100 operators and calls of acts inside each other


def lower(body: Body, recipe: DeclaredRecipe, span: Span) -> Any:
    """The lowered form of an act with its static arguments; lowered once per distinct arguments."""
    decl = recipe.decl
    assert isinstance(decl, ast.ActDecl)
    scope = Scope(recipe.namespace)
    child = Body(body.session, body.region, scope, body, body.via, body.decisions, body.path)
    bind_parameters(child, recipe.name, decl.parameters, recipe.args, set(), span)
    arguments = {p.name: scope.local[p.name] for p in decl.parameters}
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
            body.fail("AD0233", f"`{name}` of {recipe.name} must be a number", span, describe(value))

    def resolver(namespace: Any) -> Any:
        def resolve(name: str) -> Any:
            entry = namespace.names.get(name) or body.session.loader.prelude().names.get(name)
            return (entry[0], resolver(entry[1])) if entry is not None and isinstance(entry[0], ast.ActDecl) else None

        return resolve

    learned = {x.name for x in decl.learned}
    for name, value in recipe.options.items():
        if name in learned:
            if isinstance(value, bool) or not isinstance(value, (int, float, Fraction)):
                body.fail("AD0233", f"`{name}` of {recipe.name} begins with a number", span, describe(value))
            arguments[name] = value
    key = ("act", decl, tuple(sorted(arguments.items())))
    cache = body.session.lowered
    if key not in cache:
        try:
            cache[key] = with_room(ROOM, lambda: lower_act(decl, arguments, resolver(recipe.namespace)))
        except ArchError as error:
            raise ArchError(*(d.with_labels(Label(span, f"`{recipe.name}` is used here")) for d in error.diagnostics)) from None
    return cache[key]


def lowered_act(body: Body, argument: Any, span: Span) -> Any:
    """An act recipe, given as an argument, as its lowered form."""
    while isinstance(argument, (Handed, Bound)):
        argument = argument.recipe
    if isinstance(argument, DeclaredRecipe) and isinstance(argument.decl, ast.ActDecl):
        return lower(body, argument, span)
    body.fail("AD0233", "an activation is asked for here", span, describe(argument))
