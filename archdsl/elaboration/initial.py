"""What stands after `~`: how a weight begins."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import suggestion
from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import evaluate, evaluates
from archdsl.elaboration.kinds import FunctionRecipe, ShapeInit
from archdsl.elaboration.names import lookup
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Init
from archdsl.language import syntax as ast
from archdsl.primitives.initialisers import TABLE as INITIALISERS


@evaluates(ast.Tilde)
def _tilde(body: Body, node: ast.Tilde) -> ShapeInit:
    shape = evaluate(body, node.shape)
    if not isinstance(shape, list):
        body.fail("AD0234", "before `~` stands a shape", node.shape.span, describe(shape), hint="For example `param([d] ~ zeros)`.")
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
