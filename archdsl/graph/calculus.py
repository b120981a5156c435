"""Derivatives of expressions, from the rules of the function table.

At a kink the derivative is that of the side the forward takes at the point: max(x, 0) has slope 0 at 0. A choice is differentiated as a
choice, so nothing of the side not taken can reach the result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from archdsl.graph.expressions import ONE, ZERO, Apply, Builder, Custom, Expr, Var, call
from archdsl.graph.functions import FUNCTIONS, Refused

_BUILD = Builder()


class NoDerivative(ValueError):
    """A function without a known derivative stands between a value and a variable. `function` names it, `reason` says why."""

    def __init__(self, function: str, reason: str):
        self.function, self.reason = function, reason
        super().__init__(f"no derivative is known for `{function}`: {reason}")


def partial(node: Apply, index: int) -> Expr:
    """d node / d its argument `index`, in the arguments' terms."""
    row = FUNCTIONS[node.function]
    if isinstance(row.rules, Refused):
        raise NoDerivative(node.function, row.rules.reason)
    rule = row.rules[index]
    return ZERO if rule is None else rule(_BUILD, *node.args)


def derivative(root: Expr, name: str) -> Expr:
    """d root / d name, as an expression that shares parts with root."""
    slopes: dict[Expr, Expr] = {}
    for node in _order_with_arguments(root):
        if isinstance(node, Var):
            slopes[node] = ONE if node.name == name else ZERO
        elif isinstance(node, Custom):
            slopes[node] = _sum(call("mul", slope, slopes[arg]) for arg, slope in zip(node.arguments, node.slopes))
        elif isinstance(node, Apply):
            slopes[node] = _chain(node, slopes)
        else:
            slopes[node] = ZERO
    return slopes[root]


def _chain(node: Apply, slopes: Mapping[Expr, Expr]) -> Expr:
    if node.function == "where":
        condition, then, otherwise = node.args
        return call("where", condition, slopes[then], slopes[otherwise])
    return _sum(call("mul", partial(node, i), slopes[arg]) for i, arg in enumerate(node.args) if slopes[arg] is not ZERO)


def _sum(terms: Iterable[Expr]) -> Expr:
    total: Expr = ZERO
    for term in terms:
        total = call("add", total, term)
    return total


def pullback(seeds: Mapping[Expr, Expr], names: Iterable[str]) -> dict[str, Expr]:
    """Reverse mode: the sum over roots of seed * d root / d name, for each name. `seeds` maps each root to its incoming gradient."""
    total: dict[Expr, Expr] = {}
    for root, seed in seeds.items():
        total[root] = call("add", total.get(root, ZERO), seed)
    for node in reversed(_order_with_arguments(*seeds)):
        grad = total.get(node, ZERO)
        if grad is ZERO:
            continue
        if isinstance(node, Custom):
            for arg, slope in zip(node.arguments, node.slopes):
                _accumulate(total, arg, call("mul", grad, slope))
        elif isinstance(node, Apply):
            for i, arg in enumerate(node.args):
                if isinstance(arg, (Var, Apply, Custom)) and not arg.is_bool:
                    _accumulate(total, arg, call("mul", partial(node, i), grad))
    found = {node.name: grad for node, grad in total.items() if isinstance(node, Var)}
    return {name: found.get(name, ZERO) for name in names}


def _accumulate(total: dict[Expr, Expr], node: Expr, grad: Expr) -> None:
    total[node] = call("add", total.get(node, ZERO), grad)


def _order_with_arguments(*roots: Expr) -> list[Expr]:
    """Nodes in order, where a Custom node depends on its arguments and not on how its value is computed."""
    seen: set[Expr] = set()
    result: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            result.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            needs = node.arguments if isinstance(node, Custom) else node.args
            stack.extend((a, False) for a in reversed(needs))
    return result
