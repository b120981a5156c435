"""Whether two trees say the same: spans, comments and the spelling of numbers aside."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from archdsl.language.syntax import Comment, Node

_PLACES = ("span", "name_span", "label_span", "path_span", "comments")


def same_tree(left: Any, right: Any) -> bool:
    """Structural equality of two nodes, lists of nodes or plain values."""
    stack = [(left, right)]
    while stack:
        a, b = stack.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, (list, tuple)):
            if len(a) != len(b):
                return False
            stack += zip(a, b)
        elif isinstance(a, Node) and not isinstance(a, Comment):
            stack += [(getattr(a, f.name), getattr(b, f.name)) for f in fields(a) if f.name not in _PLACES]
        elif a != b:
            return False
    return True
