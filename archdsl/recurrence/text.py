"""A step as text and back: what an emitted module carries, so that a kernel can be made from it wherever archdsl is at hand.

JSON of plain lists; reading it builds expressions from the function table only, so a text can name nothing else.
"""

from __future__ import annotations

import json
import re
from typing import Any

from archdsl.graph.expression_text import expression, listing
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
                [e.target, list(e.at), [list(f) for f in e.free], [list(s) for s in e.sums], listing(e.body)] for e in step.equations
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
            Equation(_name(target), tuple(map(_index, at)), _loops(free), _loops(sums), expression(body, _ACCESS))
            for target, at, free, sums, body in data["equations"]
        )
        return Step(tensors, equations, states, tuple(map(_name, data["yields"])))
    except (KeyError, TypeError, IndexError, json.JSONDecodeError) as error:
        raise ValueError(f"not the text of a step: {error}") from None


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
