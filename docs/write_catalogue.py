"""Writes docs/catalogue.md: for each paper of docs/catalogue.yaml what is here for it, what proves it, and what is still missing.

A file serves a row when it names the row's paper by its arXiv number (`arXiv:1607.06450`), or the row itself in the form `row: layernorm`,
in a docstring or a comment. In a spec, a note behind or right above a declaration speaks of that declaration, one at the top of the whole file.
A test proves a row when it carries `@pytest.mark.row("layernorm")`.

`write_catalogue.py lines FILE [NAME …]` counts lines of code, of a Python file's classes and functions or of a spec, as the tables do.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from written import main

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "catalogue.yaml"
PAGE = ROOT / "docs" / "catalogue.md"
LINES = ROOT / "tests" / "catalogue" / "lines.yaml"
_CITED = re.compile(r"arXiv:(\d{4}\.\d{4,5})|\brow: ([\w-]+)")
_DECLARED = re.compile(r"^(?:block|arch|act|scan) (\w+)")
_KINDS = {
    "architecture": "Architectures", "primitive": "Primitives", "transform": "Transforms", "training": "Training", "probe": "Probes",
    "theory": "Theory", "decoding": "Decoding", "task": "Tasks", "search": "Search", "outside": "Outside the scope of a spec",
}  # fmt: skip


@dataclass
class Row:
    """One paper, and what was found for it: links as (text, path), proofs as (file, number of tests)."""

    slug: str
    title: str
    source: str
    kind: str
    note: str = ""
    places: list[tuple[str, str]] = field(default_factory=list)
    proofs: dict[str, int] = field(default_factory=dict)


def rows() -> dict[str, Row]:
    """The rows by slug, as docs/catalogue.yaml has them."""
    found = [Row(**entry) for entry in yaml.safe_load(DATA.read_text(encoding="utf-8"))]
    table = {row.slug: row for row in found}
    if len(table) != len(found):
        raise SystemExit(f"{DATA}: a slug stands twice")
    return table


# ---- what is in the repository


def cited(text: str) -> list[tuple[str, str]]:
    """(arXiv number or slug, declaration that the note speaks of or "" for the whole file), in order."""
    lines = text.splitlines()
    top = _head(text)
    found = []
    for number, line in enumerate(lines):
        for match in _CITED.finditer(line):
            found.append((match[1] or match[2], "" if number < top else _spoken_of(lines, number)))
    return list(dict.fromkeys(found))


def _head(text: str) -> int:
    """How many lines the docstring at the top takes."""
    match = re.match(r'"""(?:[^\\]|\\.)*?"""', text, re.DOTALL)
    return match[0].count("\n") + 1 if match else 0


def _spoken_of(lines: list[str], number: int) -> str:
    """The declaration a note stands behind, within, or right above."""
    for line in lines[number:]:
        if declared := _DECLARED.match(line):
            return declared[1]
        if not line.startswith("#"):
            break
    if lines[number].startswith("#"):  # the heading of a section
        return ""
    for line in reversed(lines[:number]):
        if declared := _DECLARED.match(line):
            return declared[1]
        if line and not line.startswith((" ", "\t", "#", "}")):
            break
    return ""


def find_places(table: dict[str, Row]) -> None:
    """Fills in the specs, modules and searches that cite each row."""
    by_name: dict[str, list[Row]] = defaultdict(list)
    for row in table.values():
        by_name[row.slug].append(row)
        if row.source.startswith("arXiv:"):
            by_name[row.source.removeprefix("arXiv:")].append(row)
    for folder, pattern in (("specs", "*.arch"), ("archdsl", "*.py"), ("search", "*.y*ml")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            where = path.relative_to(ROOT).as_posix()
            text = path.read_text(encoding="utf-8")
            for name, declaration in cited(text):
                for row in by_name.get(name, []):
                    label = f"{declaration} ({where.removeprefix('specs/')})" if declaration and folder == "specs" else where
                    if (label, where) not in row.places:
                        row.places.append((label, where))


def marks(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """(test, slug) of every row mark of a test file: on functions, classes, parameters, in `pytestmark`, or by a name given to it."""
    bound = {t.id: list(_slugs(n)) for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)}

    def walk(body: list[ast.stmt], outer: list[str]) -> Iterator[tuple[str, str]]:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                own = outer + [s for d in node.decorator_list for s in (bound.get(d.id, []) if isinstance(d, ast.Name) else _slugs(d))]
            if isinstance(node, ast.ClassDef):
                yield from walk(node.body, own)
            elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                yield from ((node.name, slug) for slug in dict.fromkeys(own))

    return walk(tree.body, bound.get("pytestmark", []))


def _slugs(node: ast.AST) -> Iterator[str]:
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row":
            yield from (a.value for a in call.args if isinstance(a, ast.Constant))


def find_proofs(table: dict[str, Row]) -> list[str]:
    """Fills in the marked tests; gives the slugs marked somewhere that are no row."""
    unknown = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for _, slug in marks(ast.parse(path.read_text(encoding="utf-8"))):
            if slug in table:
                where = path.relative_to(ROOT).as_posix()
                table[slug].proofs[where] = table[slug].proofs.get(where, 0) + 1
            else:
                unknown.add(slug)
    return sorted(unknown)


# ---- lines of code


def python_lines(text: str, names: list[str]) -> int:
    """Lines of a Python file, or of the named classes and functions (`Class.method` too), without blanks, comments and docstrings."""
    tree = ast.parse(text)
    nodes: list[ast.AST] = [_named(tree, name) for name in names] or [tree]
    code = {n for n, line in enumerate(text.splitlines(), 1) if line.strip() and not line.lstrip().startswith("#")}
    inside: set[int] = set()
    for node in nodes:
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) if isinstance(node, (ast.ClassDef, ast.FunctionDef)) else 1
        inside |= set(range(first, getattr(node, "end_lineno", None) or max(code) + 1))
        inside |= {getattr(node, "end_lineno", None) or max(code)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            code -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code & inside)


def _named(tree: ast.Module, name: str) -> ast.AST:
    body: ast.AST = tree
    for part in name.split("."):
        inner = (n for n in ast.iter_child_nodes(body) if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name == part)
        found = next(inner, None)
        if found is None:
            raise SystemExit(f"no class or function {name}")
        body = found
    return body


class Specs:
    """The spec files, parsed once: which declarations of the library each one uses."""

    def __init__(self) -> None:
        from archdsl.diagnostics import Source
        from archdsl.language.parser import parse

        self.files = {}
        for path in sorted((ROOT / "specs").rglob("*.arch")):
            name = path.relative_to(ROOT / "specs").as_posix()
            self.files[name] = parse(Source(name, path.read_text(encoding="utf-8")))
        self.library = {
            d.name: (name, d) for name, f in self.files.items() if name.startswith("std/") for d in f.declarations if _has_name(d)
        }
        self.used = {name: self._reached(f.declarations) for name, f in self.files.items() if not name.startswith("std/")}

    def _reached(self, start: list) -> set[str]:
        own = {d.name for d in start if _has_name(d)}
        found: set[str] = set()
        front = list(start)
        while front:
            new = (names_in(front.pop()) & self.library.keys()) - own - found
            found |= new
            front += [self.library[name][1] for name in new]
        return found

    def lines(self, name: str) -> int:
        """Lines of a spec in canonical form, and of the library's declarations that no other spec uses; no blanks, comments, docstrings."""
        others = set().union(*(used for file, used in self.used.items() if file != name))
        alone = [self.library[block][1] for block in self.used[name] - others]
        return sum(declared_lines(d) for d in [*self.files[name].imports, *self.files[name].declarations, *alone])


def _has_name(declaration: object) -> bool:
    return hasattr(declaration, "name")


def names_in(node: object) -> set[str]:
    """Every name below a node of the syntax tree."""
    from archdsl.language import syntax

    found: set[str] = set()
    stack = [node]
    while stack:
        top = stack.pop()
        if isinstance(top, syntax.Name):
            found.add(top.id)
        if isinstance(top, syntax.Node):
            stack += [getattr(top, slot) for kind in type(top).__mro__ for slot in getattr(kind, "__slots__", ()) if slot != "span"]
        elif isinstance(top, (list, tuple)):
            stack += top
    return found


def declared_lines(node: object) -> int:
    """Lines of one import or declaration as `archdsl fmt` writes it."""
    from archdsl.language import syntax
    from archdsl.language.format import unparse

    if isinstance(node, syntax.Import):
        return 1
    text = re.sub(r'"""(?:[^\\]|\\.)*?"""', "", unparse(node), flags=re.DOTALL)  # type: ignore[arg-type]
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())


# ---- the page

HEAD = """# The catalogue

Written by `make docs` from docs/catalogue.yaml and from what the repository holds. A row lists the files that cite its paper, and the tests
that prove it: `pytest --row SLUG` runs them. A row without a test is not served yet, whatever else is there for it.
"""


def page() -> str:
    """The whole page."""
    table = rows()
    find_places(table)
    unknown = find_proofs(table) if (ROOT / "tests").is_dir() else []
    unknown = [slug for slug in unknown if slug not in ("alpha", "beta")]  # the example in tests/cli/test_rows.py
    if unknown:
        raise SystemExit(f"tests are marked with rows that do not exist: {', '.join(unknown)}")
    served = [row for row in table.values() if row.proofs]
    parts = [HEAD, f"{len(served)} of {len(table)} rows have a proof.\n", _overview(table), _line_table(table)]
    for kind, title in _KINDS.items():
        own = [row for row in served if row.kind == kind]
        if own:
            parts.append(f"## {title}\n\n| row | paper | where | proofs |\n|---|---|---|---|\n" + "".join(map(_line, own)))
    parts.append(_missing(table))
    return "\n".join(parts)


def _overview(table: dict[str, Row]) -> str:
    lines = ["| kind | rows | with a proof |", "|---|---:|---:|"]
    for kind, title in _KINDS.items():
        own = [row for row in table.values() if row.kind == kind]
        lines.append(f"| {title} | {len(own)} | {sum(bool(row.proofs) for row in own)} |")
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    where = ", ".join(f"[{label}](../{path})" for label, path in row.places)
    proofs = ", ".join(f"[{path.removeprefix('tests/')}](../{path}) {count}" for path, count in row.proofs.items())
    return f"| {row.slug} | {row.title} ({_source(row)}) | {' '.join(filter(None, (where, row.note)))} | {proofs} |\n"


def _source(row: Row) -> str:
    return f"[{row.source}](https://arxiv.org/abs/{row.source[6:]})" if row.source.startswith("arXiv:") else row.source


def _line_table(table: dict[str, Row]) -> str:
    given = yaml.safe_load(LINES.read_text(encoding="utf-8")) if LINES.is_file() else None
    if not given:
        return ""
    specs = Specs()
    lines, ratios, without = [], [], []
    for slug, entry in sorted(given.items()):
        if slug not in table:
            raise SystemExit(f"{LINES}: no row is called {slug}")
        if "uncounted" in entry:
            without.append(f"{slug} ({entry['uncounted']})")
            continue
        own = specs.lines(entry["spec"])
        ratios.append(entry["lines"] / own)
        lines.append(
            f"| {slug} | [{entry['spec']}](../specs/{entry['spec']}) {own} | [{entry['lines']}]({entry['public']}) | {ratios[-1]:.1f} "
            f"| {entry['source']} |"
        )
    return "\n".join(
        [
            "## Lines\n",
            "Lines of code, without blank lines, comments and docstrings. A spec's lines are the file in canonical form, contracts included, and",
            "the library's declarations that no other spec uses; a public implementation's are the model's own classes, as the last column says.\n",
            "| row | spec | public implementation | ratio | counted |",
            "|---|---:|---:|---:|---|",
            *lines,
            f"\nMedian ratio over {len(ratios)}: {statistics.median(ratios):.1f}. Not counted: {'; '.join(without)}.\n",
        ]
    )


def _missing(table: dict[str, Row]) -> str:
    lines = ["## Not served yet\n"]
    for kind, title in _KINDS.items():
        own = [row for row in table.values() if row.kind == kind and not row.proofs]
        if own:
            lines.append(f"{title} ({len(own)}): " + ", ".join(row.slug + ("*" if row.places else "") for row in own) + ".\n")
    lines.append("\\* Something that cites the paper is there, without a test that proves the row." if "*" in "".join(lines) else "")
    return "\n".join(lines).rstrip() + "\n"


def count(arguments: list[str]) -> int:
    """Prints the lines of `FILE [NAME …]`; the exit status."""
    if not arguments:
        sys.stderr.write("usage: write_catalogue.py lines FILE [NAME …]\n")
        return 2
    path, names = Path(arguments[0]), arguments[1:]
    if path.suffix == ".arch":
        lines = Specs().lines(path.resolve().relative_to(ROOT / "specs").as_posix())
    else:
        lines = python_lines(path.read_text(encoding="utf-8"), names)
    sys.stdout.write(f"{lines}\n")
    return 0


if __name__ == "__main__":
    sys.exit(count(sys.argv[2:]) if sys.argv[1:2] == ["lines"] else main(PAGE, page))
