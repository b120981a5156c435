"""A last look at generated source: nothing in it may have come from a spec's text but identifiers, numbers and checked patterns.

The writers only insert names that passed `names.identifier`, numbers, and expressions that were parsed. This is the second fence: the text
must name nothing but torch, its own definitions and a few harmless builtins, and touch no special attribute.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable

from archdsl.primitives.text import module_tree

BUILTINS = frozenset(
    word
    for line in (
        "abs all any bool dict enumerate float int isinstance len list max min range reversed round set slice sorted str sum super",
        "tuple type zip None True False NotImplementedError ValueError staticmethod property classmethod",
    )
    for word in line.split()
)
MODULES = frozenset({"torch", "nn", "F", "math", "Tensor", "Any"})
FORBIDDEN = frozenset(
    {"load", "save", "hub", "ops", "classes", "jit", "package", "serialization", "multiprocessing", "distributed", "cpp_extension"}
)
SPECIAL = frozenset({"__init__"})


_REFUSED = (ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
_WORDS = frozenset(dir(builtins)) - BUILTINS  # builtins stay what they are: an argument of such a name is refused too


def check(generated: str, support: Iterable[str]) -> None:
    """Raises ValueError if generated text reaches for anything it has no business with. support: names defined beside it."""
    tree = module_tree(generated)
    own = {n.name for n in tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    used: set[str] = set()
    bound: set[str] = set()
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name):
            used.add(node.id)
            if isinstance(node.ctx, ast.Store):
                bound.add(node.id)
        elif isinstance(node, ast.Attribute):
            if (node.attr in FORBIDDEN and _root(node) in MODULES) or (node.attr.startswith("__") and node.attr not in SPECIAL):
                raise ValueError(f"generated source reaches for .{node.attr}")
            waiting.append(node.value)
        elif not isinstance(node, ast.Constant):
            if isinstance(node, _REFUSED):
                raise ValueError("generated source may not import")
            if isinstance(node, ast.arg):
                bound.add(node.arg)
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, ast.AST):
                    waiting.append(value)
                elif isinstance(value, list):
                    waiting += [item for item in value if isinstance(item, ast.AST)]
    unknown = used - own - BUILTINS - MODULES - set(support) - (bound - _WORDS)
    if unknown:
        raise ValueError(f"generated source names {min(unknown)!r}")


def _root(node: ast.Attribute) -> str | None:
    """The name that a chain of attributes starts from: torch's modules have parts that generated code never needs, one's own may have any name."""
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else None
