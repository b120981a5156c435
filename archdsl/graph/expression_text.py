"""Expressions and acts as text and back: what an emitted module carries, so that a kernel can be made from it wherever archdsl is at hand.

JSON of plain lists; reading it builds expressions from the function table only, so a text can name nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

from archdsl.graph.acts import Act, Learned
from archdsl.graph.calculus import derivative
from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, _reach, apply, const, custom, order, var
from archdsl.graph.functions import FUNCTIONS

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def listing(root: Expr) -> list[Any]:
    """Nodes in order, the root last; each names its arguments by number, so shared parts stay shared."""
    number: dict[Expr, int] = {}
    rows: list[Any] = []
    for node in order(*_reach(root)):
        number[node] = len(rows)
        if isinstance(node, Const):
            rows.append(node.value)
        elif isinstance(node, Var):
            rows.append(node.name)
        elif isinstance(node, Custom):
            rows.append(["custom", number[node.value], [number[a] for a in node.arguments], [number[s] for s in node.slopes]])
        else:
            assert isinstance(node, Apply)
            rows.append([node.function, *(number[a] for a in node.args)])
    return rows


def expression(rows: list[Any], variable: re.Pattern[str] = _NAME) -> Expr:
    """The expression of a listing whose variables match a pattern. Raises ValueError for anything `listing` does not write."""
    nodes: list[Expr] = []
    for row in rows:
        if isinstance(row, str):
            if not variable.fullmatch(row):
                raise ValueError(f"not a variable: {row}")
            nodes.append(var(row))
        elif isinstance(row, (int, float)) and not isinstance(row, bool):
            nodes.append(const(row))
        elif row[0] == "custom":
            nodes.append(custom(nodes[row[1]], [nodes[i] for i in row[2]], [nodes[i] for i in row[3]]))
        elif row[0] in FUNCTIONS and len(row) == 1 + FUNCTIONS[row[0]].arity:
            nodes.append(apply(row[0], *(nodes[i] for i in row[1:])))
        else:
            raise ValueError(f"not a function: {row[0]}")
    return nodes[-1]


def dump_act(act: Act) -> str:
    """What an act computes, as one line of JSON: its inputs, its learned numbers, its value. Slopes follow from the value."""
    value = {"inputs": list(act.inputs), "learned": [p.name for p in act.learned], "value": listing(act.forward)}
    return json.dumps(value, separators=(", ", ": "))


def load_act(text: str) -> Act:
    """The act of a text, with its derivatives. Raises ValueError (NoDerivative too) for anything `dump_act` does not write."""
    try:
        data = json.loads(text)
        inputs, learned = ([_name(n) for n in data[part]] for part in ("inputs", "learned"))
        value = expression(data["value"])
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"not the text of an activation: {error}") from None
    slopes = tuple((name, derivative(value, name)) for name in (*inputs, *learned))
    declared = any(isinstance(n, Custom) for n in order(value))
    return Act("act", (), tuple(inputs), tuple(Learned(n, False, 0.0) for n in learned), value, slopes, declared)


def _name(text: Any) -> str:
    if not isinstance(text, str) or not _NAME.fullmatch(text):
        raise ValueError(f"not a name: {text}")
    return text
