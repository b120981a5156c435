"""`where`: conditions on sizes, proved, taken as facts, or assumed and asserted."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import evaluate
from archdsl.elaboration.kinds import free_names
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Assumption, Origin
from archdsl.graph.sizes import Poly, decide_compare, decide_equal
from archdsl.language import syntax as ast


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
                    body.fail("AD0234", "`where` compares sizes", node.span, f"this is {describe(side)}")
            _require_sizes(body, condition, left, right)
            return
    verdict = evaluate(body, condition)
    if verdict is not True:
        if not isinstance(verdict, bool):
            body.fail("AD0236", "`where` needs a condition", condition.span, describe(verdict))
        body.fail("AD0308", "the condition of `where` does not hold", condition.span, "false for this input", note=_terms(body, condition))


def _require_sizes(body: Body, condition: ast.Binary, left: Any, right: Any) -> None:
    facts = body.session.facts
    compare = decide_equal(left, right, facts) if condition.op == "==" else decide_compare(condition.op, left, right, facts)
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
    known = [(n, body.scope.find(n)) for n in free_names(condition) if body.scope.has(n)]
    return ", ".join(f"{n} is {v}" for n, v in known if isinstance(v, (int, float, Poly)) and not isinstance(v, bool))
