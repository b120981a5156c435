"""`repeat n { B }`: B anew each round, with weights of its own."""

from __future__ import annotations

from typing import Any

from archdsl.diagnostics import Label, Span
from archdsl.elaboration.body import Body
from archdsl.elaboration.dispatch import Application, applies, outputs
from archdsl.elaboration.kinds import ClosureRecipe, free_names, type_key
from archdsl.elaboration.regions import call_types
from archdsl.elaboration.rounds import captured_by, round_indices, round_region
from archdsl.graph.ir import Instance, Region, Value
from archdsl.language import syntax as ast


@applies(ast.Repeat)
def _repeat(body: Body, recipe: ClosureRecipe, inputs: list[Value], at: Application) -> Any:
    """Rounds whose recipe, types and decisions agree share one region."""
    node, bound = recipe.node, at.bound
    assert isinstance(node, ast.Repeat)
    inputs = [body.resolve(v) for v in inputs]
    indices = round_indices(body, recipe, node.count)
    if not indices:
        return outputs(inputs)
    if bound is not None and bound.instance is not None:
        body.fail("AD0306", "a bound `repeat` can be applied once", at.span, labels=[Label(bound.span, "bound here")])
    name = bound.name if bound is not None else body.claim("repeat", at.label, at.span)
    regions, carried = _unrolled(body, recipe, node, name, indices, inputs, at.span)
    distinct = list(dict.fromkeys(regions))
    captured = captured_by(distinct)
    borrowed = list(dict.fromkeys(x for r in distinct for x in r.borrowed))
    for region in distinct:
        _align(region, captured, borrowed)
    instance = body.place(Instance(name, "repeat", body.region, rounds=regions), bound)
    outer = [body.resolve(v) for v in captured]
    attrs = {"carried": len(inputs), "reversible": node.reversible}
    types = [v.type for v in carried]
    return outputs(body.add("repeat", [*inputs, *outer], attrs, types, at.span, instance, [body.borrow(b) for b in borrowed]))


def _unrolled(
    body: Body, recipe: ClosureRecipe, node: ast.Repeat, name: str, indices: list[Any], inputs: list[Value], span: Span
) -> tuple[list[Region], list[Value]]:
    """The region of each round, and what the last one hands on."""
    uses_index = node.variable is not None and node.variable in free_names(node.body)
    regions: list[Region] = []
    carried = inputs
    last: tuple[Any, Region] | None = None
    for i, index in enumerate(indices):
        local = {node.variable: index} if uses_index and node.variable else {}
        decided = body.below(f"{name}.{i}")
        if last is not None and not local and not decided and body.session.guide is None and last[0] == type_key([v.type for v in carried]):
            region = last[1]  # the common case, a thousand equal layers, costs nothing more
        else:
            region = round_region(body, recipe, node.body, "repeat", name, local, carried, f"{name}.{i}", span)
            last = (type_key([v.type for v in carried]), region)
        regions.append(region)
        types = call_types(region, carried)
        if all(a == b.type for a, b in zip(types, carried)) and len(types) == len(carried):
            continue
        if i + 1 < len(indices) and len(types) != len(inputs):
            body.fail(
                "AD0223",
                f"this repeat carries {len(inputs)} value{'s' if len(inputs) > 1 else ''}, but its body gives {len(types)}",
                node.body.span,
                "each round hands its results to the next",
            )
        carried = [Value(t, body.region) for t in types]
    return regions, carried


def _align(region: Region, captured: list[Value], borrowed: list[Instance]) -> None:
    """Gives every round the same captures and borrowed instances in the same order, so that one call form fits all."""
    own = dict(region.captures)
    region.captures = [(outer, own.get(outer) or Value(outer.type, region, None, outer.name)) for outer in captured]
    region.borrowed = list(borrowed)
