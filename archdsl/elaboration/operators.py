"""Literals, operators and conditions: arithmetic on numbers at once, on values as operations of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from archdsl.elaboration import statics
from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, evaluate, evaluates
from archdsl.elaboration.kinds import Module, PrimitiveRecipe
from archdsl.elaboration.nodes import pointwise, primitive
from archdsl.elaboration.statics import StaticError, describe
from archdsl.graph.functions import OPERATORS
from archdsl.graph.ir import Value
from archdsl.graph.sizes import Poly
from archdsl.language import syntax as ast
from archdsl.primitives import TABLE as PRIMITIVES


@evaluates(ast.Number, ast.String, ast.Bool)
def _literal(body: Body, node: Any) -> Any:
    return node.value


@evaluates(ast.NoneLit)
def _none(body: Body, node: ast.NoneLit) -> None:
    return None


@evaluates(ast.Unary)
def _unary(body: Body, node: ast.Unary) -> Any:
    operand = evaluate(body, node.operand)
    if isinstance(operand, Value):
        return pointwise(body, "neg" if node.op == "-" else "not_", [operand], node.span)
    if node.op == "not":
        if not isinstance(operand, bool):
            body.fail("AD0236", f"`not` needs true or false, not {describe(operand)}", node.span)
        return not operand
    if operand == math.inf:
        return -math.inf
    return _static(body, node, lambda: statics.binary("-", 0, operand, body.session.facts))


@evaluates(ast.Binary)
def _binary(body: Body, node: ast.Binary) -> Any:
    left = evaluate(body, node.left)
    if node.op in ("and", "or") and isinstance(left, bool):
        if left is (node.op == "or"):
            return left
        right = evaluate(body, node.right)
        if isinstance(right, bool):
            return right
        body.fail("AD0236", f"`{node.op}` needs true or false on both sides", node.right.span, describe(right))
    right = evaluate(body, node.right)
    if node.op in ("==", "!=") and any(a is None and isinstance(b, (Value, Module)) for a, b in ((left, right), (right, left))):
        return node.op == "!="  # known here: a value or a module is never `none`
    if isinstance(left, Value) or isinstance(right, Value):
        return _of_values(body, node, left, right)
    for side, where in ((left, node.left), (right, node.right)):
        if isinstance(side, Module):
            _module_in_arithmetic(body, node, side, where)
    if node.op == "@":
        body.fail("AD0210", "`@` multiplies two values", node.span, f"not {describe(left)} and {describe(right)}")
    return _static(body, node, lambda: statics.binary(node.op, left, right, body.session.facts))


def _of_values(body: Body, node: ast.Binary, left: Any, right: Any) -> Any:
    """An operation at least one side of which is a value."""
    sides = ((left, node.left), (right, node.right))
    for side, where in sides:
        if isinstance(side, Module):
            _module_in_arithmetic(body, node, side, where)
        if isinstance(side, (bool, int, float, Fraction, Value)) or (isinstance(side, Poly) and node.op != "@"):
            continue
        body.fail("AD0210", f"`{node.op}` cannot combine a value with {describe(side)}", where.span, describe(side))
    if node.op != "@":
        return pointwise(body, OPERATORS[node.op], [left, right], node.span)
    for side, where in sides:
        if not isinstance(side, Value):
            body.fail("AD0210", "`@` multiplies two values", where.span, f"this is {describe(side)}", hint="Use `*` to scale by a number.")
    return primitive(body, PrimitiveRecipe("matmul", node.span, PRIMITIVES["matmul"]), [left, right], Application(node.span))


def _module_in_arithmetic(body: Body, node: ast.Binary, side: Any, where: ast.Expr) -> None:
    body.fail(
        "AD0237",
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


@evaluates(ast.If)
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
        return pointwise(body, "where", [condition, then, otherwise], node.span)
    if not isinstance(condition, bool):
        body.fail(
            "AD0236", "the condition of an `if` must be true or false", node.condition.span, describe(condition), hint="Compare: `n == 0`."
        )
    taken = node.then if condition else node.otherwise
    if body.naming is not None and body.naming[0] is node:
        body.naming = (taken, body.naming[1])  # `A = if fixed then buffer(…) else param(…)` names either
    return evaluate(body, taken)
