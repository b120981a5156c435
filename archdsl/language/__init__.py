"""Text to syntax tree and back. Knows nothing of tensors: names get their meaning in archdsl.graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archdsl.language.compare import same_tree
    from archdsl.language.format import format_text, unparse
    from archdsl.language.parser import parse, parse_expression

_HOMES = {"parse": "parser", "parse_expression": "parser", "format_text": "format", "unparse": "format", "same_tree": "compare"}

__all__ = ["format_text", "parse", "parse_expression", "same_tree", "unparse"]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a run that only reads specs never loads the formatter, and the tables can be generated before they exist.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"archdsl.language.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'archdsl.language' has no attribute '{name}'")
