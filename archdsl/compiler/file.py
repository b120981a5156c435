"""Writing a whole file: header, imports, the support it uses, one class per distinct region, and `create`."""

from __future__ import annotations

import os
import re
import textwrap

from archdsl.compiler import guard
from archdsl.compiler.inversion import Inversions
from archdsl.compiler.module import OWN, ModuleWriter
from archdsl.compiler.names import Scope, camel, identifier
from archdsl.compiler.plan import Plan
from archdsl.compiler.structure import feeds
from archdsl.compiler.verify import verify
from archdsl.graph.ir import Graph, Node, Region, subregions
from archdsl.graph.sizes import Size, symbol
from archdsl.primitives import library

CREATE = '''def create(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> {root}:
    """The model with its initial weights; the same seed gives the same weights."""
    return created({root}, device, dtype, seed)
'''


class FileWriter:
    """One emitted file."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.plan = Plan(graph)
        self.inversions = Inversions(graph, self.plan)
        self.support: set[str] = set()
        self.definitions: dict[str, str] = {}  # name -> source of generated functions and classes
        self.globals = set(library.index()) | {"create"}
        self.scan_uses: dict[int, list[Node]] = {}
        self.has_aux = any(region.aux for _, region in graph.walk())
        self._classes: dict[int, str] = {}
        self._written: dict[str, str] = {}  # class text -> name
        self._scope = Scope(set(self.globals))
        self._scope.taken |= {"torch", "nn", "F", "math", "Tensor", "Any"}

    # ---- what the other writers ask ----

    def class_of(self, region: Region) -> str:
        """Name of the class of a region, written before its users."""
        return self._classes[id(region)]

    def symbol(self, name: str) -> Size:
        return symbol(name)

    def define(self, name: str, source: str) -> str:
        """A generated top-level definition, written once; see emit.py."""
        identifier(name)
        for known, text in self.definitions.items():
            if text == _renamed(source, name, known):
                return known
        chosen = self._scope.claim(name)
        self.definitions[chosen] = _renamed(source, name, chosen)
        self.support |= guard.names(self.definitions[chosen]) & library.index().keys()
        return chosen

    # ---- writing ----

    def text(self, hash_line: str = "") -> str:
        """The file."""
        classes = self._write_classes()
        self.support.add("created")
        pieces, imports = library.collect(self.support)
        parts = ["\n\n# ---- support ----\n"] + [f"\n\n{piece.text}" for piece in pieces]
        if self.definitions:
            parts += ["\n\n# ---- activations ----\n"] + [f"\n\n{source.rstrip()}\n" for source in self.definitions.values()]
        parts += ["\n\n# ---- model ----\n"] + [f"\n\n{text}" for text in classes]
        parts += ["\n\n", CREATE.format(root=self.class_of(self.graph.root))]
        body = "".join(parts)
        guard.check("".join([*classes, *self.definitions.values()]), (piece.name for piece in pieces))
        return self._header(hash_line) + "\n" + _imports(imports, body) + body

    def _write_classes(self) -> list[str]:
        texts: list[str] = []
        order = self._order()
        for region, _ in order:
            for node in region.nodes:
                if node.op == "scan" and node.instance is not None:
                    self.scan_uses.setdefault(id(node.instance.region), []).append(node)
        for region, parent in order:
            body = ModuleWriter(self, region).text()
            name = self._written.get(body)
            if name is None:
                name = self._scope.claim(_class_name(region, parent))
                self._written[body] = name
                texts.append(body.replace(f"class {OWN}(", f"class {name}(", 1))
            self._classes[id(region)] = name
        return texts

    def _order(self) -> list[tuple[Region, str]]:
        """Every distinct region, innermost first, with the name its class takes its prefix from."""
        seen: set[int] = set()
        out: list[tuple[Region, str]] = []

        def visit(region: Region, parent: str) -> None:
            if id(region) in seen:
                return
            seen.add(id(region))
            named = region.name if region.kind in ("arch", "block", "scan") and region.name[:1].isalpha() else parent
            for _, child in subregions(region):
                visit(child, named)
            for node in region.nodes:
                for feed in feeds(node):
                    visit(feed.region, named)
            out.append((region, parent))

        visit(self.graph.root, self.graph.name)
        return out

    def _header(self, hash_line: str) -> str:
        doc = self.graph.doc or self.graph.root.doc or ""
        lines = [f"{identifier(self.graph.name)}: {_words(doc)}" if doc else identifier(self.graph.name)]
        if hash_line:
            lines.append("")
            lines.append(_words(hash_line))
        lines += ["", "Written by archdsl from a spec. It needs torch alone."]
        text = "\n".join(lines) + "\n"
        return f'"""{text}"""\n' if len(lines) > 1 else f'"""{text.rstrip()}"""\n'


def _words(text: str) -> str:
    """A spec's own words, made fit for a docstring: printable, no quotes that could end it, no backslashes."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    clean = clean.replace("\\", "/").replace('"', "'").strip()
    return "\n".join(line for raw in clean[:2000].split("\n") for line in textwrap.wrap(raw, 110) or [""])


def _imports(extra: list[str], body: str) -> str:
    """The import lines the body needs."""
    plain = sorted({line for line in extra if line.startswith("import ")})
    froms = sorted({line for line in extra if line.startswith("from ")} | {"from torch import Tensor"})
    standard = [line for line in [*plain, *froms] if "torch" not in line]
    torch_lines = ["import torch", "import torch.nn as nn", *(["import torch.nn.functional as F"] if re.search(r"\bF\.", body) else [])]
    torch_lines += [line for line in [*plain, *froms] if "torch" in line and line not in torch_lines]
    blocks = ["from __future__ import annotations\n"]
    if standard:
        blocks.append("\n".join(standard) + "\n")
    blocks.append("\n".join(torch_lines) + "\n")
    return "\n".join(blocks)


def _class_name(region: Region, parent: str) -> str:
    if region.kind in ("arch", "block", "scan"):
        return camel(region.name)
    return camel(parent) + camel(region.name)


def _renamed(source: str, old: str, new: str) -> str:
    """The definition under another name (it names itself in its first line only)."""
    first, newline, rest = source.strip("\n").partition("\n")
    lines = [first, *rest.split("\n")] if newline else [first]
    at = next(i for i, line in enumerate(lines) if re.match(rf"(class|def)\s+{re.escape(old)}\b", line))
    lines[at] = re.sub(rf"\b{re.escape(old)}\b", new, lines[at], count=1)
    return "\n".join(lines) + "\n"


def write(graph: Graph, hash_line: str = "") -> str:
    """A complete Python file for a graph: readable classes and the support they use. It runs with torch alone."""
    if os.environ.get("ARCHDSL_VERIFY"):
        verify(graph)
    return FileWriter(graph).text(hash_line)
