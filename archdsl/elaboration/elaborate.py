"""From a loaded file to a checked graph: picks the arch, sets its parameters, elaborates its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, Source, suggestion
from archdsl.elaboration import blocks, calls, depth, lists, loop, operators, pipes, repeat, route, scans, train  # noqa: F401  they enter themselves
from archdsl.elaboration.acts import lower
from archdsl.elaboration.binding import bind_parameters
from archdsl.elaboration.body import Body, Bound, Decisions, Session
from archdsl.elaboration.dispatch import evaluate
from archdsl.elaboration.kinds import ClosureRecipe, DeclaredRecipe, FunctionRecipe, Poison, Scope
from archdsl.elaboration.shapes import input_types, shape_type
from archdsl.elaboration.statements import fill
from archdsl.graph.ir import Graph, Region, TensorType
from archdsl.graph.polynomial import SizeTooLarge
from archdsl.language import parse_expression
from archdsl.language import syntax as ast
from archdsl.language.loader import Loader, Namespace
from archdsl.stack import with_room

START = 850  # calls that must fit at the start, or a stack of its own is taken for the whole


@dataclass(eq=False)
class Elaborated:
    """A graph with the warnings met on the way."""

    graph: Graph
    warnings: list[Diagnostic]


def pick_arch(namespace: Namespace, name: str | None = None) -> ast.BlockDecl:
    """The arch of a file: the named one, or the last."""
    archs = namespace.archs
    if name is not None:
        for decl in archs:
            if decl.name == name:
                return decl
        raise ArchError(
            Diagnostic(
                "AD0230",
                f"{namespace.source.name} has no arch called `{name}`",
                hint=suggestion(name, [a.name for a in archs], f"It has {', '.join(a.name for a in archs) or 'none'}."),
            )
        )
    if not archs:
        blocks = [d for d in namespace.file.declarations if isinstance(d, ast.BlockDecl)]
        span = blocks[-1].name_span if blocks else None
        raise ArchError(
            Diagnostic(
                "AD0230",
                f"{namespace.source.name} declares no arch",
                span,
                "this is a block" if blocks else "",
                note="An `arch` is what can be built; blocks are its parts.",
                hint=f"Write `arch {blocks[-1].name}(…) {{ … }}` instead of `block`."
                if blocks
                else "Write `arch Name(…) { in x: [d]  return … }`.",
            )
        )
    return archs[-1]


def elaborate(
    namespace: Namespace,
    loader: Loader,
    arch: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    decisions: Mapping[str, int] | None = None,
    inputs: list[TensorType] | None = None,
    session: Session | None = None,
) -> Elaborated:
    """Elaborates an arch. `overrides` are argument expressions as text or values; `decisions` maps decision paths to option indices.
    `session` is for a caller with many elaborations of one file, or a guide."""
    decl = pick_arch(namespace, arch)
    session = session or Session(loader)
    region = Region(decl.name, "arch", decl.span, doc=decl.doc or namespace.file.doc)
    body = Body(session, region, Scope(namespace), None, (), decision_tree(decisions or {}))
    try:
        with_room(START, lambda: _fill(body, decl, overrides or {}, inputs))
    except ArchError as error:
        for diagnostic in error.diagnostics:
            session.collector.add(diagnostic)
    except Poison:
        pass
    except SizeTooLarge:
        session.collector.add(
            Diagnostic(
                "AD0404", f"a size of `{decl.name}` grows too large to reason about", decl.name_span, hint="Give some of the sizes numbers."
            )
        )
    except RecursionError:
        session.collector.add(
            Diagnostic("AD0401", f"`{decl.name}` is nested too deeply", decl.name_span, hint="Check that recursive blocks come to an end.")
        )
    session.collector.check()
    graph = Graph(decl.name, region, session.facts, dict(region.params), region.doc, tuple(loader.sources))
    return Elaborated(graph, session.collector.warnings)


def _fill(body: Body, decl: ast.BlockDecl, overrides: Mapping[str, Any], inputs: list[TensorType] | None) -> None:
    """Elaborates the arch and checks it as a whole."""
    bind_parameters(body, decl.name, decl.parameters, _overrides(body, decl, overrides), set(), decl.name_span)
    body.region.params = {n: v for n, v in body.scope.local.items() if isinstance(v, (int, float, str, bool))}
    types = inputs if inputs is not None else input_types(body, decl)
    if decl.on is not None and not types:
        types = [shape_type(body, decl.on, "x", False)]
    body.session.building.append(decl.name)
    fill(body, decl.body, types, decl.name, decl.name_span)
    _within_budget(body, decl)
    _own_acts(body, body.scope.namespace)
    _unused(body)


def _overrides(body: Body, decl: ast.BlockDecl, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments from outside (`--set d=256`, `expect … with d=256`): text is read as an expression of the language."""
    known = {p.name: p for p in decl.parameters}
    given: dict[str, Any] = {}
    for name, value in overrides.items():
        if name not in known:
            raise ArchError(
                Diagnostic(
                    "AD0202",
                    f"`{decl.name}` has no parameter `{name}`",
                    decl.name_span,
                    "declared here",
                    hint=suggestion(name, known, f"It takes {', '.join(known)}." if known else "It takes none."),
                )
            )
        if isinstance(value, ast.Argument):
            value = evaluate(body, value.value)
        elif isinstance(value, str):
            parsed = parse_expression(Source(f"--set {name}", value))
            word = isinstance(parsed, ast.Name) and isinstance(known[name].default, ast.String)
            value = value if word else evaluate(body, parsed)  # a text needs no quotes of its own: --set shortcut=A
        given[name] = value
    return given


def _own_acts(body: Body, namespace: Namespace) -> None:
    """Checks the file's activations, used or not."""
    for decl in namespace.file.declarations:
        if isinstance(decl, ast.ActDecl) and all(p.default is not None for p in decl.parameters):
            apart = Body(body.session, Region("", "block", decl.span), body.scope, body, (), None)  # what it decides belongs to nothing
            try:
                lower(apart, DeclaredRecipe(decl.name, decl.name_span, decl, namespace), decl.name_span)
            except ArchError as error:
                body.report(error)


MAX_OPERATIONS = 1_000_000


def _within_budget(body: Body, decl: ast.BlockDecl) -> None:
    """Equal rounds are elaborated once, so a small file can stand for a huge model: its operations are counted before anything is made."""
    counts: dict[Region, int] = {}

    def count(region: Region) -> int:
        if region not in counts:
            total = len(region.nodes)
            for instance in region.instances.values():
                children = instance.rounds if instance.rounds is not None else [instance.region] if instance.region else []
                total += sum(count(child) for child in children)
            counts[region] = total
        return counts[region]

    operations = count(body.region)
    if operations > MAX_OPERATIONS:
        body.fail("AD0403", f"`{decl.name}` expands to too many operations", decl.name_span, f"{operations:,}; at most {MAX_OPERATIONS:,}")


def _unused(body: Body) -> None:
    """A module bound to a name and never applied is most likely a mistake."""
    for name, thing in body.scope.local.items():
        if isinstance(thing, Bound) and thing.instance is None and not _weightless(thing):
            body.session.collector.add(
                Diagnostic("AD0231", f"`{name}` is never applied", thing.span, "so it makes no weights", severity="warning")
            )


def _weightless(bound: Bound) -> bool:
    recipe = bound.recipe
    return isinstance(recipe, (FunctionRecipe, ClosureRecipe)) or (
        isinstance(recipe, DeclaredRecipe) and isinstance(recipe.decl, ast.ActDecl)
    )


def decision_tree(decisions: Mapping[str, int]) -> Decisions:
    """Flat decision paths (`layers.3.Mixer.choice`) as nested tables; a repeat's round is one step (`layers.3`)."""
    tree: Decisions = {}
    for path, index in decisions.items():
        parts = path.split("/")
        node = tree
        for part in parts[:-1]:
            node = node.setdefault(part, {})
        node.setdefault("", {})[parts[-1]] = index
    return tree


def decisions(region: Region, prefix: str = "") -> list[tuple[str, Any]]:
    """The decision table: every decision with its path (`layers.3/Mixer/choice`), in order of expansion."""
    found: list[tuple[str, Any]] = []
    own = list(reversed(region.decisions))
    for position, (name, instance) in enumerate(region.instances.items()):
        while own and own[-1].after <= position:
            found.append((prefix + own[-1].name, own.pop()))
        if instance.rounds is not None:
            for i, child in enumerate(instance.rounds):
                found += decisions(child, f"{prefix}{name}.{i}/")
        elif instance.region is not None:
            found += decisions(instance.region, f"{prefix}{name}/")
    return found + [(prefix + d.name, d) for d in reversed(own)]


__all__ = ["Elaborated", "decision_tree", "decisions", "elaborate", "pick_arch"]
