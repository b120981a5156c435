"""A last look at generated source: nothing in it may have come from a spec's text but identifiers, numbers and checked patterns.

The writers only insert names that passed `names.identifier`, numbers, and expressions that were parsed. This is the second fence: the text
must name nothing but torch, its own definitions and a few harmless builtins, and touch no special attribute.
"""

from __future__ import annotations

import ast
import builtins

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


def names(text: str) -> set[str]:
    """Every name a piece of source reads."""
    return {n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name)}


def check(whole: str, generated: str) -> None:
    """Raises ValueError if the generated part reaches for anything it has no business with."""
    top = ast.parse(whole)
    defined = {n.name for n in top.body if isinstance(n, ast.ClassDef | ast.FunctionDef)}
    defined |= {t.id for n in top.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}
    defined |= {n.target.id for n in top.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)}
    tree = ast.parse(generated)
    local = {a.arg for n in ast.walk(tree) if isinstance(n, ast.arguments) for a in [*n.args, *n.kwonlyargs, *n.posonlyargs]}
    local |= {a.arg for n in ast.walk(tree) if isinstance(n, ast.arguments) for a in (n.vararg, n.kwarg) if a is not None}
    local |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    local -= set(dir(builtins)) - BUILTINS
    known = defined | local | BUILTINS | MODULES
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal):
            raise ValueError("generated source may not import")
        if isinstance(node, ast.Name) and node.id not in known:
            raise ValueError(f"generated source names {node.id!r}")
        if isinstance(node, ast.Attribute) and (_reaches(node) or (node.attr.startswith("__") and node.attr not in SPECIAL)):
            raise ValueError(f"generated source reaches for .{node.attr}")


def _reaches(node: ast.Attribute) -> bool:
    """Whether an attribute leads from torch's modules to a part that generated code never needs; one's own parts may have any name."""
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        root = root.value
    return node.attr in FORBIDDEN and isinstance(root, ast.Name) and root.id in MODULES
