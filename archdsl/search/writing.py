"""A winner as a spec: the file of the space without its decisions, with what it needs and nothing else."""

from __future__ import annotations

import dataclasses
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.analysis.canonical import structure_hash
from archdsl.diagnostics import ArchError, Diagnostic, Source
from archdsl.elaboration.body import Session
from archdsl.elaboration.elaborate import elaborate
from archdsl.elaboration.kinds import free_names
from archdsl.language import parse_expression
from archdsl.language import syntax as ast
from archdsl.language.format import format_text, unparse
from archdsl.language.loader import Loader, Namespace
from archdsl.search.base import Point
from archdsl.search.rewriting import Conflict, Rewriter
from archdsl.search.tracing import Trace

if TYPE_CHECKING:
    from archdsl.search.space import SpecSpace


def write(space: SpecSpace, point: Point, key: str) -> str:
    """A point's model as text, without decisions and with the same structure hash. Raises ArchError where the language cannot say it."""
    session = Session(space.loader)
    trace = session.guide = Trace(point, session)
    elaborate(space.namespace, space.loader, space.name, space.overrides, session=session)
    for inline in (True, False):
        try:
            text = format_text(Source("winner", _text(space, point, trace, inline)))
            if _means(space, text) == key:
                return text
        except (Conflict, ArchError):
            continue
    raise ArchError(
        Diagnostic(
            "AD1006",
            f"this point of `{space.name}` cannot be written without its decisions",
            space.arch.name_span,
            note="Parts that the language has no separate place for, such as the experts of one `route`, differ from each other.",
            hint="Move the choice into a parameter with a domain, which decides once for all of them.",
        )
    )


def _means(space: SpecSpace, text: str) -> str:
    """The structure hash of a text."""
    loader = Loader(space.loader.root)
    done = elaborate(loader.text(text, "winner"), loader)
    return structure_hash(done.graph) if not any(r.decisions for _, r in done.graph.walk()) else ""


def _text(space: SpecSpace, point: Point, trace: Trace, inline: bool) -> str:
    writer = Rewriter(trace, space.namespace, inline)
    arch = writer.arch(space.arch, space.overrides)
    arch = replace(arch, parameters=[_given(p, space.overrides) for p in arch.parameters])
    arch = replace(arch, parameters=_used(arch, space))
    spoken = {n for d in (arch, *(v.declaration for v in writer.variants.values())) for n in free_names(d)}
    writer.needed = {n: entry for n, entry in writer.needed.items() if n in spoken}
    names = _names(writer)
    variants = [_renamed(replace(v.declaration, name=v.name), names) for v in writer.variants.values()]
    arch = _renamed(arch, names)
    own = _own(writer, space, [arch, *variants], set(names.values()))
    declarations = [*(d for d in own if isinstance(d, ast.Constant)), *(d for d in own if not isinstance(d, ast.Constant))]
    expects = space.screen.contracts
    file = replace(
        space.namespace.file,
        doc=_lineage(space, point),
        imports=_imports(writer, space, own),
        declarations=[*declarations, *variants, arch, *expects],
        comments=[],
        pins=[],
    )
    return unparse(file)


def _given(parameter: ast.Parameter, overrides: Any) -> ast.Parameter:
    """A parameter whose default is what the space was opened with."""
    if parameter.name not in overrides:
        return parameter
    value = overrides[parameter.name]
    default = value.value if isinstance(value, ast.Argument) else parse_expression(Source("given", _literal(value)))
    return replace(parameter, domain=None, default=default)


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "none" if value is None else str(value)


def _used(arch: ast.BlockDecl, space: SpecSpace) -> list[ast.Parameter]:
    """Parameters that the written arch still speaks of; those that a decision has used up go."""
    domains = {p.name for p in space.arch.parameters if p.domain is not None or p.name in space.overrides}
    kept: list[ast.Parameter] = []
    spoken = set(free_names(arch.body)) | {n for e in space.screen.contracts for n in free_names(e)}
    if arch.on is not None:
        spoken |= set(free_names(arch.on))
    for parameter in reversed(arch.parameters):
        if parameter.name in spoken or parameter.name not in domains:
            kept.append(parameter)
            spoken |= set(free_names(parameter))
    return kept[::-1]


# ---- names ----------------------------------------------------------------------------------------------------------------------


def _names(writer: Rewriter) -> dict[str, str]:
    """The variants' names: the block's own where it has one variant and is not needed itself, else with a number."""
    by_block: dict[Any, list[Any]] = {}
    for variant in writer.variants.values():
        by_block.setdefault(variant.original, []).append(variant)
    names: dict[str, str] = {}
    for group in by_block.values():
        base = group[0].original.name
        alone = len(group) == 1 and base not in writer.needed and base not in names.values()
        for i, variant in enumerate(group):
            name, number = base if alone else f"{base}_{i + 1}", i + 1
            while not alone and (name in writer.needed or name in names.values() or name in writer.main.names):
                number += 1
                name = f"{base}_{number}"
            names[variant.name] = name
    return names


def _renamed(node: Any, names: dict[str, str]) -> Any:
    if isinstance(node, list):
        return [_renamed(n, names) for n in node]
    if not isinstance(node, ast.Node):
        return node
    changed = {f.name: _renamed(getattr(node, f.name), names) for f in dataclasses.fields(node) if f.name != "span"}
    if isinstance(node, ast.Name):
        changed["id"] = names.get(node.id, node.id)
    elif isinstance(node, (ast.BlockDecl, ast.ScanDecl, ast.ActDecl)):
        changed["name"] = names.get(node.name, node.name)
    return replace(node, **changed)


def _own(writer: Rewriter, space: SpecSpace, roots: list[Any], taken: set[str]) -> list[Any]:
    """The file's own declarations that the text still needs, in their order."""
    main = space.namespace
    wanted = {name for name, (_, home) in writer.needed.items() if home is main}
    wanted |= {n for root in roots for n in free_names(root) if n in main.names and main.names[n][1] is main and n not in taken}
    stack = list(wanted)
    while stack:
        for name in free_names(main.names[stack.pop()][0]):
            if name in main.names and main.names[name][1] is main and name not in wanted:
                wanted.add(name)
                stack.append(name)
    wanted -= {space.name}
    return [d for d in main.file.declarations if getattr(d, "name", None) in wanted - taken]


def _imports(writer: Rewriter, space: SpecSpace, own: list[Any]) -> list[ast.Import]:
    """The files that the text still takes names from."""
    main = space.namespace
    homes = {home for _, home in writer.needed.values() if home is not main}
    for decl in own:
        for name in free_names(decl):
            if name in main.names and main.names[name][1] is not main:
                homes.add(main.names[name][1])
    spoken = {n for d in own for n in free_names(d)} | writer.aliases
    span = main.file.span
    found = [ast.Import(span, path, span, None) for path in sorted(_path(home, space) for home in homes)]
    return found + [i for i in main.file.imports if i.alias is not None and i.alias in spoken]


def _path(home: Namespace, space: SpecSpace) -> str:
    assert home.path is not None
    for base in (space.loader.library, space.loader.root):
        if base is not None and home.path.is_relative_to(base):
            return home.path.relative_to(base).as_posix()
    raise Conflict


def _lineage(space: SpecSpace, point: Point) -> str:
    """Where the text comes from."""
    about = (space.namespace.file.doc or space.arch.doc or space.name).strip().rstrip(".")
    source = Path(space.namespace.source.name).name
    origin = "A point of a space" if source.startswith("<") else f"A point of {source}"
    lines = textwrap.wrap(" ".join(f"{path}={index}" for path, index in point.items()), 100, break_long_words=False, break_on_hyphens=False)
    return "\n".join([f"{about}.", "", f"{origin}:", *lines])
