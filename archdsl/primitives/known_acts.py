"""Activations torch has a function of its own for, recognised by formula: a user's `relu` that differs is never mistaken for torch's.

Each row is torch's text and the formula, in the form simplification gives it. A name starting with `?` stands for any number; the same name
twice for the same number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from archdsl.graph.expressions import Apply, Builder, Const, Expr, Var, const, var

_f = Builder()
_x, _a, _b = var("x"), var("?a"), var("?b")
_POSITIVE = _f.gt(_x, 0)
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772

Check = Callable[[dict[str, Any]], bool]

_ROWS: tuple[tuple[str, Expr, Check | None], ...] = (
    ("torch.relu({x})", _f.max(_x, 0), None),
    ("F.relu6({x})", _f.min(_f.max(_x, 0), 6), None),
    ("F.hardtanh({x})", _f.min(_f.max(_x, -1), 1), None),
    ("F.hardtanh({x}, {a}, {b})", _f.min(_f.max(_x, _a), _b), lambda n: n["a"] < n["b"]),
    ("F.hardsigmoid({x})", _f.min(_f.max(_x + 3, 0), 6) / 6, None),
    ("F.hardswish({x})", _x * _f.min(_f.max(_x + 3, 0), 6) / 6, None),
    ("F.leaky_relu({x}, {a})", _f.where(_POSITIVE, _x, _a * _x), None),
    ("F.elu({x})", _f.where(_POSITIVE, _x, _f.expm1(_x)), None),
    ("F.elu({x}, {a})", _f.where(_POSITIVE, _x, _a * _f.expm1(_x)), lambda n: n["a"] > 0),
    ("F.celu({x}, {a})", _f.where(_POSITIVE, _x, _a * _f.expm1(_x / _a)), lambda n: n["a"] > 0),
    ("F.selu({x})", _SELU_SCALE * _f.where(_POSITIVE, _x, _SELU_ALPHA * _f.expm1(_x)), None),
    ("F.silu({x})", _x * _f.sigmoid(_x), None),
    ("F.mish({x})", _x * _f.tanh(_f.softplus(_x)), None),
    ("F.gelu({x})", 0.5 * _x * (1 + _f.erf(_x / const(math.sqrt(2)))), None),
    ('F.gelu({x}, approximate="tanh")', 0.5 * _x * (1 + _f.tanh(math.sqrt(2 / math.pi) * (_x + 0.044715 * _x**3))), None),
    ("torch.sigmoid({x})", _f.sigmoid(_x), None),
    ("torch.tanh({x})", _f.tanh(_x), None),
    ("F.logsigmoid({x})", _f.logsigmoid(_x), None),
    ("F.softplus({x})", _f.softplus(_x), None),
    ("F.softplus({x}, {a})", _f.softplus(_a * _x) / _a, lambda n: n["a"] > 0),
    ("F.softsign({x})", _x / (1 + _f.abs(_x)), None),
    ("F.tanhshrink({x})", _x - _f.tanh(_x), None),
    ("F.hardshrink({x}, {a})", _f.where(_f.gt(_f.abs(_x), _a), _x, 0), lambda n: n["a"] >= 0),
    (
        "F.softshrink({x}, {a})",
        _f.where(_f.gt(_x, _a), _x - _a, _f.where(_f.lt(_x, _b), _x + _a, 0)),
        lambda n: n["a"] > 0 and n["b"] == -n["a"],
    ),
    ("F.threshold({x}, {a}, {b})", _f.where(_f.gt(_x, _a), _x, _b), None),
)


def torch_text(forward: Expr, variable: str, source: str) -> str | None:
    """The call of torch's own function if the formula (of one input) has one."""
    if isinstance(forward, Var) and forward.name == variable:
        return source
    for template, pattern, check in _ROWS:
        found: dict[str, Any] = {}
        if _matches(pattern, forward, variable, found) and (check is None or check(found)):
            return template.format(x=source, **found)
    return None


def _matches(pattern: Expr, node: Expr, variable: str, found: dict[str, Any]) -> bool:
    if isinstance(pattern, Var):
        if not pattern.name.startswith("?"):
            return isinstance(node, Var) and node.name == variable
        if not isinstance(node, Const) or isinstance(node.value, complex):
            return False
        return bool(found.setdefault(pattern.name[1:], node.value) == node.value)
    if isinstance(pattern, Apply) and isinstance(node, Apply) and pattern.function == node.function:
        return all(_matches(p, n, variable, found) for p, n in zip(pattern.args, node.args, strict=True))
    return pattern is node
