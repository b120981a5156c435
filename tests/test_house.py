"""The house as docs/contributing.md draws it: no import climbs, no file and no function is too long to hold in one's head."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "archdsl"
GENERATED = {"arch_parser.py"}
FILE, FUNCTION = 400, 60


def rooms() -> list[str]:
    """The rooms from the ground up, as the drawing lists them."""
    drawing = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8").partition("## The house")[2]
    return re.findall(r"^(\w+) ", drawing.split("```")[1], re.MULTILINE)


@cache
def trees() -> dict[Path, ast.Module]:
    files = [p for folder in ("archdsl", "docs", "benchmarks", "examples") for p in sorted((ROOT / folder).rglob("*.py"))]
    return {p: ast.parse(p.read_text(encoding="utf-8")) for p in files if p.name not in GENERATED}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, module) of each import of archdsl, wherever it stands; `from archdsl.a import b` may name a module `archdsl.a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)


def arrows() -> Iterator[tuple[str, str, str]]:
    """(from room, to room, where) of each import between rooms. `import archdsl` alone is the Python face."""
    for path, tree in trees().items():
        if not path.is_relative_to(PACKAGE) or (path.parent == PACKAGE and path.name in ("__init__.py", "__main__.py")):
            continue
        for line, module in imported(tree):
            parts = module.split(".")
            if parts[0] == "archdsl" and parts != ["archdsl", "__version__"]:
                target = parts[1] if len(parts) > 1 else "api"
                if target != room(path):
                    yield room(path), target, f"{path.relative_to(ROOT)}:{line} imports {module}"


def test_the_drawing_shows_each_room_once() -> None:
    there = {p.name.removesuffix(".py") for p in PACKAGE.iterdir() if (p.is_dir() and any(p.glob("*.py"))) or p.suffix == ".py"}
    assert sorted(rooms()) == sorted(there - {"__init__", "__main__"})


def test_no_import_climbs() -> None:
    height = {name: i for i, name in enumerate(rooms())}
    assert sorted({where for a, b, where in arrows() if height[b] >= height[a]}) == []


def test_files_and_functions_are_short() -> None:
    long = []
    for path, tree in trees().items():
        where = path.relative_to(ROOT).as_posix()
        lines = path.read_text(encoding="utf-8").count("\n")
        long += [f"{where}: {lines} lines"] if lines > FILE else []
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (taken := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION:
                long.append(f"{where}: {node.name} takes {taken} lines")
    assert long == []


def test_the_files_that_the_page_names_are_there() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"[a-z_-]+(?:/[a-z_-]+)*\.(?:py|arch|lark|md|yaml)", text))
    assert len(named) > 30
    assert sorted(name for name in named if not any((base / name).exists() for base in (ROOT, PACKAGE, ROOT / "docs"))) == []
