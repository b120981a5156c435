"""Writing a whole file: header, imports, the support it uses, one class per distinct region, and `create`."""

from __future__ import annotations

import os
import re
import textwrap

from archdsl.compiler import guard
from archdsl.compiler.context import Context
from archdsl.compiler.module import OWN, ModuleWriter
from archdsl.compiler.names import camel, identifier
from archdsl.compiler.verify import verify
from archdsl.graph.ir import Graph, Region, subregions
from archdsl.primitives import library
from archdsl.structural.reading import feeds

CREATE = '''def create(device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> {root}:
    """The model with its initial weights; the same seed gives the same weights."""
    return created({root}, device, dtype, seed)
'''


def write(graph: Graph, hash_line: str = "") -> str:
    """A complete Python file for a graph: readable classes and the support they use. It runs with torch alone."""
    if os.environ.get("ARCHDSL_VERIFY"):
        verify(graph)
    context = Context(graph)
    classes = _classes(context)
    pieces, imports = library.collect({*context.support, "created"})
    parts = ["\n\n# ---- support ----\n"] + [f"\n\n{piece.text}" for piece in pieces]
    if context.definitions:
        parts += ["\n\n# ---- activations ----\n"] + [f"\n\n{source.rstrip()}\n" for source in context.definitions.values()]
    parts += ["\n\n# ---- model ----\n"] + [f"\n\n{text}" for text in classes]
    parts += ["\n\n", CREATE.format(root=context.classes[graph.root])]
    body = "".join(parts)
    guard.check("".join([*classes, *context.definitions.values()]), (piece.name for piece in pieces))
    return _header(graph, hash_line) + "\n" + _imports(imports, body) + body


def _classes(context: Context) -> list[str]:
    """The text of each class, inner ones first; regions whose classes read alike share one."""
    order = _order(context.graph)
    context.uses([region for region, _ in order])
    texts: dict[str, str] = {}  # text without the name -> name
    for region, parent in order:
        text = ModuleWriter(context, region).text()
        if text not in texts:
            texts[text] = context.scope.claim(_class_name(region, parent))
        context.classes[region] = texts[text]
    return [text.replace(f"class {OWN}(", f"class {name}(", 1) for text, name in texts.items()]


def _order(graph: Graph) -> list[tuple[Region, str]]:
    """Every distinct region, innermost first, with the name its class takes its prefix from."""
    seen: set[Region] = set()
    out: list[tuple[Region, str]] = []

    def visit(region: Region, parent: str) -> None:
        if region in seen:
            return
        seen.add(region)
        named = region.name if region.kind in ("arch", "block", "scan") and region.name[:1].isalpha() else parent
        for _, child in subregions(region):
            visit(child, named)
        for node in region.nodes:
            for feed in feeds(node):
                visit(feed.region, named)
        out.append((region, parent))

    visit(graph.root, graph.name)
    return out


def _header(graph: Graph, hash_line: str) -> str:
    doc = graph.doc or graph.root.doc or ""
    lines = [f"{identifier(graph.name)}: {_words(doc)}" if doc else identifier(graph.name)]
    if hash_line:
        lines.append("")
        lines.append(_words(hash_line))
    lines += ["", "Written by archdsl from a spec. It needs torch alone."]
    return '"""' + "\n".join(lines) + '\n"""\n'


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
