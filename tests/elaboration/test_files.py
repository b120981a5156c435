"""The files of elaboration stand in a row: none imports itself by way of others, and none imports inside a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import get_args

from archdsl.elaboration import dispatch
from archdsl.elaboration import elaborate as entrance
from archdsl.elaboration.kinds import Module
from archdsl.language import syntax

ROOM = Path(__file__).parents[2] / "archdsl" / "elaboration"
FILES = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in ROOM.glob("*.py")}


def imported(tree: ast.AST) -> Iterator[str]:
    """The files of this room that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "archdsl.elaboration":
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("archdsl.elaboration."):
            yield node.module.split(".")[2]


def test_no_file_imports_itself_by_way_of_others() -> None:
    TopologicalSorter({name: set(imported(tree)) for name, tree in FILES.items()}).prepare()  # raises CycleError


def test_elaborate_brings_in_every_file() -> None:
    """A file enters its functions when it is imported: one that nobody imports would be missing."""
    reached, waiting = set(), ["elaborate"]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imported(FILES[name])
    assert sorted(reached) == sorted(FILES.keys() - {"__init__"})


def test_no_import_stands_in_a_function() -> None:
    functions = [f for tree in FILES.values() for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    assert [f.name for f in functions for n in ast.walk(f) if isinstance(n, (ast.Import, ast.ImportFrom))] == []


def test_every_expression_and_every_module_is_entered() -> None:
    assert entrance.elaborate
    assert [kind for kind in get_args(syntax.Expr) if kind not in dispatch._evaluators] == [syntax.Slice]  # it stands in an index only
    kinds, leaves = [Module], []
    while kinds:
        below = kinds.pop().__subclasses__()
        kinds += below
        leaves += [kind for kind in below if not kind.__subclasses__()]
    assert [kind for kind in leaves if kind not in dispatch._appliers] == []
