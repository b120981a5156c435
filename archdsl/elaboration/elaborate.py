"""From a loaded file to a checked graph: picks the arch, sets its parameters, elaborates its body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic, Label, Source, Span, suggestion
from archdsl.elaboration.body import Body, Decisions, Session
from archdsl.elaboration.evaluate import evaluate
from archdsl.elaboration.kinds import DeclaredRecipe, Poison, Scope
from archdsl.elaboration.statements import fill
from archdsl.elaboration.structure import bind_parameters
from archdsl.graph.ir import Axis, Graph, Region, TensorType, Value
from archdsl.graph.polynomial import SizeTooLarge
from archdsl.graph.sizes import Poly, symbol
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
    session: Session


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
    return Elaborated(graph, session.collector.warnings, session)


def _fill(body: Body, decl: ast.BlockDecl, overrides: Mapping[str, Any], inputs: list[TensorType] | None) -> None:
    """Elaborates the arch and checks it as a whole."""
    bind_parameters(body, decl.name, decl.parameters, _overrides(body, decl, overrides), set(), decl.name_span)
    body.region.params = {n: v for n, v in body.scope.local.items() if isinstance(v, (int, float, str, bool))}
    types = inputs if inputs is not None else [_input_type(body, s) for s in _inputs(decl)]
    if decl.on is not None and not types:
        types = [_shape_type(body, decl.on, "x", False)]
    body.session.building.append(decl.name)
    fill(body, decl.body, types, decl.name, decl.name_span)
    _within_budget(body, decl)
    _own_acts(body, body.scope.namespace)
    _unused(body)


def _inputs(decl: ast.BlockDecl) -> list[ast.Input]:
    return [s for s in decl.body.statements if isinstance(s, ast.Input) and s.default is None]


def _input_type(body: Body, statement: ast.Input) -> TensorType:
    if statement.shape is None:
        body.fail(
            "AD0309",
            f"the input `{statement.name}` of an arch needs a shape",
            statement.name_span,
            "no shape",
            hint=f"For example `in {statement.name}: int[T]` for tokens, or `in {statement.name}: [3, H, W]` for images.",
        )
    return _shape_type(body, statement.shape, statement.name, statement.lengths)


def _shape_type(body: Body, shape: ast.Shape, name: str, lengths: bool) -> TensorType:
    """The type an arch's input has: unknown names become symbolic sizes, the same name the same axis size.

    Lengths run along the first axis whose size the data brings ([T, d], [channels, T]); along the first where all are known.
    """
    axes = []
    for dim in shape.dims:
        if isinstance(dim, ast.Ellipsis_):
            body.fail("AD0309", f"the input `{name}` of an arch needs a definite shape", dim.span, "`..` is for blocks")
        known = body.scope.find(dim.id) if isinstance(dim, ast.Name) else evaluate(body, dim)
        if isinstance(dim, ast.Name) and known is None:
            known = symbol(dim.id)
        if isinstance(known, bool) or not isinstance(known, (int, Poly)):
            body.fail("AD0210", "a shape holds sizes", dim.span, f"`{dim.span.text}` is not one")
        if isinstance(known, int) and known < 1:
            body.fail("AD0407", f"a size must be at least 1, not {known}", dim.span)
        axes.append(Axis(known))
    if lengths:
        if not axes:
            body.fail("AD0309", f"`{name}` has no axis for its lengths to run along", shape.span)
        at = next((i for i, axis in enumerate(axes) if isinstance(axis.size, Poly)), 0)
        axes[at] = replace(axes[at], ragged=name)
    return TensorType(tuple(axes), shape.kind)  # type: ignore[arg-type]


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
    from archdsl.elaboration.structure import lower

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
    counts: dict[int, int] = {}

    def count(region: Region) -> int:
        if id(region) not in counts:
            total = len(region.nodes)
            for instance in region.instances.values():
                children = instance.rounds if instance.rounds is not None else [instance.region] if instance.region else []
                total += sum(count(child) for child in children)
            counts[id(region)] = total
        return counts[id(region)]

    operations = count(body.region)
    if operations > MAX_OPERATIONS:
        body.fail("AD0403", f"`{decl.name}` expands to too many operations", decl.name_span, f"{operations:,}; at most {MAX_OPERATIONS:,}")


def _unused(body: Body) -> None:
    """A module bound to a name and never applied is most likely a mistake."""
    from archdsl.elaboration.kinds import Bound

    for name, thing in body.scope.local.items():
        if isinstance(thing, Bound) and thing.instance is None and not _weightless(thing):
            body.session.collector.add(
                Diagnostic("AD0231", f"`{name}` is never applied", thing.span, "so it makes no weights", severity="warning")
            )


def _weightless(bound: Any) -> bool:
    from archdsl.elaboration.kinds import ClosureRecipe, DeclaredRecipe, FunctionRecipe

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


__all__ = ["Elaborated", "Label", "Span", "Value", "decision_tree", "decisions", "elaborate", "pick_arch"]
