"""What is done with a thing is decided by its type. Files of this room enter their functions here, and all call each other through here.

So no file needs to know which one evaluates a node or applies a recipe, and a new sort of either is a file of its own. `elaborate.py` imports
the files that enter something.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from archdsl.diagnostics import Span
from archdsl.elaboration.body import Body, Bound
from archdsl.elaboration.kinds import ClosureRecipe, DeclaredRecipe
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Value
from archdsl.language import syntax as ast

F = TypeVar("F", bound=Callable[..., Any])
Table = dict[type, Callable[..., Any]]


@dataclass(eq=False, slots=True)
class Application:
    """One use of a module. span: where it is written. label: the name written with it. bound: the instance it is, if it has a name already.
    base: what its instance is called without label and name, if not after its recipe."""

    span: Span
    label: str | None = None
    bound: Bound | None = None
    base: str | None = None


def _entry(table: Table) -> Callable[..., Callable[[F], F]]:
    """A decorator that enters a function in a table under some types."""

    def under(*types: type) -> Callable[[F], F]:
        def enter(function: F) -> F:
            table.update(dict.fromkeys(types, function))
            return function

        return enter

    return under


_evaluators: Table = {}
_appliers: Table = {}
_callers: Table = {}
_attributes: Table = {}
_items: Table = {}

evaluates = _entry(_evaluators)  # by syntax node: (body, node) -> the thing it stands for
applies = _entry(_appliers)  # by recipe, or what it was declared or written as: (body, recipe, inputs, application) -> values
calls = _entry(_callers)  # by callee: (body, callee, positional, named, node) -> recipe or values
attributes = _entry(_attributes)  # by thing: (body, thing, node) -> thing; None if it has no such attribute
items = _entry(_items)  # by thing: (body, thing, items, node) -> thing


def evaluate(body: Body, node: ast.Expr) -> Any:
    """The thing an expression stands for: a number, a value in the graph or a module, by the kinds of what it is made of."""
    return _evaluators[type(node)](body, node)


def apply(body: Body, thing: Any, inputs: list[Any], at: Application) -> Any:
    """Applies a module to values; a single output comes back as a value, several as a tuple."""
    for item in inputs:
        if not isinstance(item, Value):
            body.fail("AD0237", f"a module is applied to values, not to {describe(item)}", at.span)
    return _appliers[type(thing)](body, thing, inputs, at)


@applies(DeclaredRecipe)
def _declared(body: Body, recipe: DeclaredRecipe, inputs: list[Value], at: Application) -> Any:
    return _appliers[type(recipe.decl)](body, recipe, inputs, at)


@applies(ClosureRecipe)
def _written(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    return _appliers[type(recipe.node)](body, recipe, inputs, at)


def call_of(callee: Any) -> Callable[..., Any] | None:
    """What a call of this does, if it is not plainly applied."""
    return _callers.get(type(callee))


def attribute_of(thing: Any) -> Callable[..., Any] | None:
    """What `thing.name` is found by, if it can have attributes."""
    return _attributes.get(type(thing))


def item_of(thing: Any) -> Callable[..., Any] | None:
    """What `thing[…]` is found by, if it has items."""
    return _items.get(type(thing))


def outputs(values: list[Value]) -> Any:
    """What an application gives: a single value as it is, several as a tuple."""
    return values[0] if len(values) == 1 else tuple(values)
