"""The support library: plain torch functions and classes that emitted files carry along, found by name and copied as text."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from archdsl.primitives.text import module_tree

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = (_PACKAGE / "primitives" / "support", _PACKAGE / "compiler" / "support")
HEADER = (
    "import torch",
    "import torch.nn as nn",
    "import torch.nn.functional as F",
    "from torch import nn",
    "from torch.nn import functional as F",
)  # every emitted file has these

own: dict[str, Path] = {}  # files that came with primitives of a program's own, by the primitive's name


@dataclass(frozen=True)
class Piece:
    """One top-level definition: its text, what it refers to, and the imports that takes."""

    name: str
    text: str
    needs: tuple[str, ...]
    imports: tuple[str, ...]


def shipped_files() -> list[Path]:
    """The files that come with archdsl."""
    return [p for folder in FOLDERS for p in sorted(folder.glob("*.py")) if p.name != "__init__.py"]


def own_files() -> tuple[Path, ...]:
    """The files of registered primitives, each once."""
    return tuple(dict.fromkeys([*own.values()]))


def files() -> list[Path]:
    """The files of the library in reading order, those of registered primitives last."""
    return [*shipped_files(), *own_files()]


def definitions(path: Path) -> list[str]:
    """The names a file of the library defines."""
    return [piece.name for piece in _pieces(path.read_text(encoding="utf-8"))]


def index() -> dict[str, Piece]:
    """Every definition by name. ValueError if two files define the same name."""
    return _index(own_files())


@lru_cache(maxsize=4)
def _index(more: tuple[Path, ...]) -> dict[str, Piece]:
    pieces: dict[str, Piece] = {}
    for path in [*shipped_files(), *more]:
        for piece in _pieces(path.read_text(encoding="utf-8")):
            if piece.name in pieces:
                raise ValueError(f"the support library defines `{piece.name}` twice (second time in {path.name})")
            pieces[piece.name] = piece
    return pieces


def _pieces(text: str) -> list[Piece]:
    tree = module_tree(text)
    lines = text.splitlines()
    imports: dict[str, str] = {}
    own: list[tuple[str, ast.stmt]] = []
    borrowed: set[str] = set()
    for node in _top(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                imports[a.asname or a.name.split(".")[0]] = f"import {a.name}" + (f" as {a.asname}" if a.asname else "")
        elif isinstance(node, ast.ImportFrom):
            if node.module and node.module.startswith("archdsl"):
                borrowed.update(a.asname or a.name for a in node.names)
            elif node.module != "__future__":
                for a in node.names:
                    imports[a.asname or a.name] = f"from {node.module} import {a.name}" + (f" as {a.asname}" if a.asname else "")
        elif name := _defined(node):
            own.append((name, node))
    names = {name for name, _ in own} | borrowed
    out = []
    for name, node in own:
        used = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | _quoted(node)
        needs = tuple(sorted((used & names) - {name}))
        out.append(Piece(name, _lines(node, lines), needs, tuple(sorted({imports[u] for u in used if u in imports}))))
    return out


def _top(tree: ast.Module) -> list[ast.stmt]:
    """Top-level statements, those under `if TYPE_CHECKING:` included."""
    out: list[ast.stmt] = []
    for node in tree.body:
        out.extend(node.body if isinstance(node, ast.If) else [node])
    return out


def _quoted(node: ast.stmt) -> set[str]:
    """Names inside annotations written as strings."""
    found: set[str] = set()
    for item in ast.walk(node):
        if isinstance(item, ast.Constant) and isinstance(item.value, str) and item.value.isidentifier():
            found.add(item.value)
    return found - set(dir(builtins))


def _defined(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return None


def _lines(node: ast.stmt, lines: list[str]) -> str:
    """The text of a definition with its decorators and the comment right above it."""
    start = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))]) - 1
    while start > 0 and lines[start - 1].startswith("#"):
        start -= 1
    return "\n".join(lines[start : node.end_lineno]).rstrip() + "\n"


def collect(names: Iterable[str]) -> tuple[list[Piece], list[str]]:
    """The named definitions and all they need, each after what it needs, and the import lines beyond HEADER. KeyError names one missing."""
    table = index()
    done: dict[str, Piece] = {}

    def visit(name: str) -> None:
        piece = table[name]
        if name in done:
            return
        done[name] = piece  # marked first: two functions may call each other
        for need in piece.needs:
            visit(need)
        done[name] = done.pop(name)

    for name in sorted(set(names)):
        visit(name)
    imports = {line for piece in done.values() for line in piece.imports} - set(HEADER)
    return list(done.values()), sorted(imports)
