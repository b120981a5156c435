"""Calls of regions: one shared region per distinct use, one call node per occurrence."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Label
from archdsl.elaboration.body import Body, build_region
from archdsl.elaboration.dispatch import Application, outputs
from archdsl.elaboration.kinds import DeclaredRecipe, Recipe, Scope
from archdsl.elaboration.nodes import do_not_fit
from archdsl.graph.ir import Axis, Instance, Node, Region, TensorType, Value, attributes, fresh_identity
from archdsl.graph.sizes import Poly


def call_region(
    body: Body,
    base: str,
    key: Hashable,
    new_region: Callable[[str], Region],
    scope: Callable[[], Scope],
    fill_in: Callable[[Body], None],
    inputs: list[Value],
    at: Application,
    recipe: Recipe,
) -> Any:
    """Elaborates (or finds) a region for these inputs and adds the call of an instance of it."""
    inputs = [body.resolve(v) for v in inputs]
    bound = at.bound
    shared = bound.instance if bound is not None else None
    name = bound.name if bound is not None else body.claim(base, at.label, at.span)
    place = bound.owner if bound is not None else body
    region = build_region(
        body, key, lambda: new_region(name), scope, fill_in, name, Label(at.span, f"in `{base}`, used here"), place, recipe
    )
    if bound is None or shared is None:
        published = recipe.options.get("pretrained") if isinstance(recipe, DeclaredRecipe) else None
        instance = body.place(Instance(name, "block", body.region, region=region, pretrained=published), bound)
    else:
        instance = body.borrow(shared)
        if instance.region is not region and not same_region(instance.region, region):
            do_not_fit(body, bound, at.span)
    captured = [body.resolve(outer) for outer, _ in region.captures]
    borrowed = [body.borrow(i) for i in region.borrowed]
    return outputs(body.add("call", [*inputs, *captured], {}, call_types(region, inputs), at.span, instance, borrowed))


def call_types(region: Region, inputs: list[Value]) -> list[TensorType]:
    """Output types as the caller sees them: axes of the inputs keep the caller's identities, new ones get their own."""
    known: dict[int, int] = {}
    ragged: dict[int, str | None] = {}
    for inner, outer in zip(region.inputs, inputs):
        for a, b in zip(inner.type.axes, outer.type.axes):
            known[a.identity] = b.identity
            ragged[a.identity] = b.ragged
    for outer_value, stand_in in region.captures:
        for a, b in zip(stand_in.type.axes, outer_value.type.axes):
            known.setdefault(a.identity, b.identity)
    types = []
    for value in region.outputs:
        axes = []
        for a in value.type.axes:
            if a.identity not in known:
                known[a.identity] = fresh_identity()
            axes.append(Axis(a.size, known[a.identity], ragged.get(a.identity, a.ragged), a.past))
        types.append(TensorType(tuple(axes), value.type.kind, value.type.batched))
    return types


def same_region(a: Region | None, b: Region) -> bool:
    """Whether two regions differ only in sizes that data brings (one instance applied to inputs of two lengths)."""
    if a is None or len(a.nodes) != len(b.nodes) or a.instances.keys() != b.instances.keys():
        return False
    for x, y in zip(a.instances.values(), b.instances.values()):
        if x.op != y.op or x.weights != y.weights:
            return False
        if x.region is not None and (y.region is None or not same_region(x.region, y.region)):
            return False
        if x.rounds is not None and (y.rounds is None or len(x.rounds) != len(y.rounds)):
            return False
        if x.rounds is not None and y.rounds is not None and not all(same_region(p, q) for p, q in zip(x.rounds, y.rounds)):
            return False
    return all(_same_node(m, n) for m, n in zip(a.nodes, b.nodes))


def _same_node(m: Node, n: Node) -> bool:
    if m.op != n.op or len(m.inputs) != len(n.inputs) or m.value_inputs != n.value_inputs:
        return False
    return _alike(attributes(m), attributes(n))


def _alike(a: Any, b: Any) -> bool:
    """Whether two attributes would be written the same way: numbers and texts must agree, sizes that data brings need not."""
    if isinstance(a, Poly) or isinstance(b, Poly):
        return True
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_alike(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b))
    plain = (bool, int, float, str, Fraction, type(None))
    return not (isinstance(a, plain) and isinstance(b, plain)) or a == b
