"""A step as text and back: what an emitted module carries, so that a kernel can be made from it wherever archdsl is at hand.

JSON of plain lists; reading it builds expressions from the function table only, so a text can name nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, apply, const, custom, order, var
from archdsl.graph.functions import FUNCTIONS
from archdsl.recurrence.step import Equation, StateOf, Step, Tensor

_ACCESS = re.compile(r"[A-Za-z_][A-Za-z0-9_]*'?\[(?:[a-z](?:\+\d+)?|\d+)?(?:,(?:[a-z](?:\+\d+)?|\d+))*\]")
_ROLES = frozenset(("input", "constant", "weight", "state", "next", "yield", "temporary"))


def dumps(step: Step) -> str:
    """The step as one line of JSON."""
    return json.dumps(
        {
            "tensors": [[t.name, list(t.shape), t.role, t.lead] for t in step.tensors],
            "states": [[s.before, s.after, s.start] for s in step.states],
            "yields": list(step.yields),
            "equations": [
                [e.target, list(e.at), [list(f) for f in e.free], [list(s) for s in e.sums], _listing(e.body)] for e in step.equations
            ],
        },
        separators=(", ", ": "),
    )


def loads(text: str) -> Step:
    """The step of a text. Raises ValueError for anything `dumps` does not write."""
    try:
        data = json.loads(text)
        tensors = tuple(Tensor(_name(n), tuple(map(_size, shape)), _role(role), int(lead)) for n, shape, role, lead in data["tensors"])
        states = tuple(StateOf(_name(a), _name(b), float(start)) for a, b, start in data["states"])
        equations = tuple(
            Equation(_name(target), tuple(map(_index, at)), _loops(free), _loops(sums), _expression(body))
            for target, at, free, sums, body in data["equations"]
        )
        return Step(tensors, equations, states, tuple(map(_name, data["yields"])))
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"not the text of a step: {error}") from None


def _listing(body: Expr) -> list[Any]:
    """Nodes in order; each names its arguments by number, so shared parts stay shared."""
    from archdsl.graph.expressions import _reach

    number: dict[Expr, int] = {}
    rows: list[Any] = []
    for node in order(*_reach(body)):
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


def _expression(rows: list[Any]) -> Expr:
    nodes: list[Expr] = []
    for row in rows:
        if isinstance(row, str):
            if not _ACCESS.fullmatch(row):
                raise ValueError(f"not an access: {row}")
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


def _name(text: Any) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*'?", text):
        raise ValueError(f"not a name: {text}")
    return text


def _role(text: Any) -> str:
    if text not in _ROLES:
        raise ValueError(f"not a role: {text}")
    return str(text)


def _index(text: Any) -> str:
    if not isinstance(text, str) or not re.fullmatch(r"[a-z](\+\d+)?|\d+", text):
        raise ValueError(f"not an index: {text}")
    return text


def _size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 2**31:
        raise ValueError(f"not a size: {value}")
    return value


def _loops(rows: list[Any]) -> tuple[tuple[str, int], ...]:
    return tuple((_index(n), _size(s)) for n, s in rows)
