"""What an expression begins and ends with: a few places read differently depending on it, and need parentheses."""

from __future__ import annotations

from collections.abc import Container

from archdsl.language import syntax as s


def left_edge(node: s.Expr) -> s.Expr:
    """The innermost expression that starts where this one starts."""
    while True:
        if isinstance(node, s.Binary):
            node = node.left
        elif isinstance(node, s.Pipe):
            node = node.stages[0]
        elif isinstance(node, s.Choice):
            node = node.options[0]
        elif isinstance(node, s.Call):
            node = node.function
        elif isinstance(node, (s.Index, s.Attribute)):
            node = node.value
        elif isinstance(node, s.Range):
            node = node.low
        else:
            return node


def right_edge(node: s.Expr) -> s.Expr:
    """The innermost expression that ends where this one ends."""
    while True:
        if isinstance(node, s.Binary):
            node = node.right
        elif isinstance(node, s.Unary):
            node = node.operand
        elif isinstance(node, s.Pipe):
            node = node.stages[-1]
        elif isinstance(node, s.Choice):
            node = node.options[-1]
        elif isinstance(node, s.Labelled):
            node = node.value
        elif isinstance(node, s.If):
            node = node.otherwise
        elif isinstance(node, s.Range):
            node = node.high
        else:
            return node


def ends_in_train(node: s.Expr) -> bool:
    """`train { … }` without `else`: an `else` behind it would be taken for its own."""
    edge = right_edge(node)
    return isinstance(edge, s.Train) and edge.otherwise is None


def calls_router(node: s.Expr) -> bool:
    """Ends in `route(…)`, `skip(…)` or the name `train`: a body behind it would be taken for its own."""
    edge = right_edge(node)
    if isinstance(edge, s.Name):
        return edge.id == "train"
    return isinstance(edge, s.Call) and isinstance(edge.function, s.Name) and edge.function.id in ("route", "skip")


def begins_with_body(node: s.Expr) -> bool:
    return isinstance(left_edge(node), s.Lambda)


def plain_start(node: s.Expr, reserved: Container[str]) -> bool:
    """Begins with a name, a number or a parenthesis, as the count of a `repeat` or `loop` must to be told from a name's other uses."""
    edge = left_edge(node)
    if isinstance(edge, s.Number):
        return edge.value >= 0
    if isinstance(edge, s.Name):
        return edge.id not in reserved and not edge.primed
    return isinstance(edge, (s.TupleExpr, s.Route))


def reads_as_condition(node: s.Expr) -> bool:
    """Begins with a value called `where` or `expect` and an operator: first in a body, that would read as a condition."""
    edge = left_edge(node)
    return isinstance(node, (s.Binary, s.Pipe, s.Choice)) and isinstance(edge, s.Name) and edge.id in ("where", "expect")
