"""Formulas put together from others, as syntax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from archdsl.diagnostics import Source, Span
from archdsl.language import syntax

_NOWHERE = Span(Source("<composed>", ""), 0, 0)


def named(name: str) -> syntax.Name:
    """A name that no text holds."""
    return syntax.Name(_NOWHERE, name)


def put(node: Any, values: Mapping[str, Any]) -> Any:
    """A copy of an expression with others in place of names."""
    if isinstance(node, syntax.Name):
        return values.get(node.id, node)
    if isinstance(node, list):
        return [put(item, values) for item in node]
    if not isinstance(node, syntax.Node):
        return node
    kept = ("span", "function") if isinstance(node, syntax.Call) else ("span",)  # the function of a call is no value
    return dataclasses.replace(node, **{f.name: put(getattr(node, f.name), values) for f in dataclasses.fields(node) if f.name not in kept})
