"""Depth programs: parts of an arch instance applied again in another order (skip, loop, reorder), no weight copied.

`base = pretrained(SmolLM2, "smollm2-135m")` is one instance of an arch. `base.before(layers)`, `base.layers`, `base.layers[a..b]`,
`base.layers[i]` and `base.after(layers)` are modules over its parts: its instances, its weights, one state slot per occurrence. Nodes made
from a view carry `through`, the base instance that owns what they use.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from archdsl.diagnostics import Label, Span, suggestion
from archdsl.elaboration.arguments import Named, Positional
from archdsl.elaboration.binding import bind_parameters
from archdsl.elaboration.blocks import fill_block
from archdsl.elaboration.body import Body, Bound, build_region
from archdsl.elaboration.dispatch import Application, applies, attributes, calls, items, outputs
from archdsl.elaboration.kinds import DeclaredRecipe, Module, Pretrained, Scope, type_key
from archdsl.elaboration.shapes import input_types
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Instance, Node, Published, Region, TensorType, Value
from archdsl.language import syntax as ast


@applies(Pretrained)
def _applied(body: Body, callee: Pretrained, inputs: list[Value], at: Application) -> NoReturn:
    body.fail(
        "AD0203",
        "`pretrained` takes an arch and the name of its weights",
        at.span,
        hint='For example `pretrained(SmolLM2, "smollm2-135m")`.',
    )


@calls(Pretrained)
def _pretrained(body: Body, callee: Pretrained, positional: Positional, named: Named, node: ast.Call) -> DeclaredRecipe:
    """`pretrained(Arch, "name")`: the arch, to be filled with published weights when it is built."""
    things = [v for v, _ in positional]
    if len(things) != 2 or not isinstance(things[1], str):
        _applied(body, callee, [], Application(node.span))
    arch = things[0]
    if not isinstance(arch, DeclaredRecipe) or not isinstance(arch.decl, ast.BlockDecl) or not arch.decl.is_arch:
        body.fail("AD0233", "`pretrained` needs an arch", positional[0][1].span, f"this is {describe(arch)}")
    published = _published(body, things[1], positional[1][1].span)
    return DeclaredRecipe(arch.name, node.span, arch.decl, arch.namespace, dict(arch.args), {**arch.options, "pretrained": published})


def _published(body: Body, name: str, span: Span) -> Published:
    """The weights of that name; a path stays below the spec's folder, as imports do."""
    loader = body.session.loader
    places = loader.reach(name, body.scope.namespace)
    if places is None:
        body.fail(
            "AD0603",
            f'the weights "{name}" lie outside',
            span,
            "outside the folder of the spec",
            note="A spec may read only files in its own folder (and below), so that a spec from elsewhere is safe to open.",
            hint="Name weights that a package carries, copy the file beside the spec, or give it by hand: `--weights`, `build(weights=…)`.",
        )
    return Published(name, tuple(places), loader.roots, span)


@attributes(Bound)
def _layers(body: Body, thing: Bound, node: ast.Attribute) -> LayersView | None:
    """`base.layers`: a labelled repeat of a bound arch; None if the thing is not a bound arch."""
    if not _is_base(thing):
        return None
    return LayersView(node.name, node.span, thing)


def part(body: Body, thing: Any, node: ast.Call) -> PartView | None:
    """`base.before(layers)` and `base.after(layers)`; None if the thing is not a bound arch."""
    if not _is_base(thing):
        return None
    assert isinstance(node.function, ast.Attribute)
    arguments = node.arguments
    if len(arguments) != 1 or arguments[0].name is not None or not isinstance(arguments[0].value, ast.Name):
        body.fail(
            "AD0203",
            f"`.{node.function.name}` takes the label of a repeat",
            node.span,
            hint=f"For example `base.{node.function.name}(layers)`.",
        )
    return PartView(arguments[0].value.id, node.span, thing, node.function.name == "before")


def _is_base(thing: Any) -> bool:
    return isinstance(thing, Bound) and isinstance(thing.recipe, DeclaredRecipe) and isinstance(thing.recipe.decl, ast.BlockDecl)


def _region(body: Body, base: Bound, types: list[TensorType] | None, span: Span) -> Region:
    """The base's region; elaborated from these input types, or the arch's own, if no part was applied before."""
    if base.instance is not None and base.instance.region is not None:
        return base.instance.region
    recipe = base.recipe
    decl = recipe.decl
    lengths = {a.ragged for v in base.owner.region.inputs for a in v.type.axes if a.ragged} if types is None else set()

    def fill_in(child: Body) -> None:
        bind_parameters(child, recipe.name, decl.parameters, recipe.args, set(), span)
        child.region.params = {n: v for n, v in child.scope.local.items() if isinstance(v, (int, float, str, bool))}
        given = types if types is not None else _measured(input_types(child, decl), lengths)
        fill_block(child, decl, given, [], span)

    key = ("base", recipe.key(), type_key(types) if types is not None else frozenset(lengths))
    region = build_region(
        base.owner,
        key,
        lambda: Region(recipe.name, "block", decl.span, doc=decl.doc),
        lambda: Scope(recipe.namespace),
        fill_in,
        base.name,
        Label(span, f"in `{recipe.name}`, used here"),
        recipe=recipe,
    )
    base.owner.place(Instance(base.name, "block", base.owner.region, region=region, pretrained=recipe.options.get("pretrained")), base)
    return region


def _measured(types: list[TensorType], lengths: set[str]) -> list[TensorType]:
    """The base's own input types, their lengths those of the arch around it: it hands on what it was given itself."""
    own = {a.ragged for t in types for a in t.axes if a.ragged}
    if len(own) != 1 or len(lengths) > 1:
        return types
    name = next(iter(lengths), None)
    return [replace(t, axes=tuple(replace(a, ragged=name) if a.ragged else a for a in t.axes)) for t in types]


def _layers_node(body: Body, region: Region, label: str, span: Span) -> Node:
    for node in region.nodes:
        if node.op == "repeat" and node.instance is not None and node.instance.name == label:
            return node
    known = [n.instance.name for n in region.nodes if n.op == "repeat" and n.instance is not None]
    body.fail(
        "AD0215",
        f"`{region.name}` has no repeat labelled `{label}`",
        span,
        "not found in its body",
        hint=suggestion(label, known, f"It has {', '.join(known) or 'none'}."),
    )


@dataclass(eq=False)
class View(Module):
    """Part of a bound arch, as a module."""

    name: str
    span: Span
    base: Bound


@dataclass(eq=False)
class PartView(View):
    """What comes before (or after) a labelled repeat in the arch's body."""

    before: bool = True

    def key(self) -> Hashable:
        return ("part", self.base, self.name, self.before)


@dataclass(eq=False)
class LayersView(View):
    """Rounds of a labelled repeat, all of them or some, in any order."""

    indices: list[int] | None = None

    def key(self) -> Hashable:
        return ("layers", self.base, self.name, tuple(self.indices) if self.indices is not None else None)


@applies(PartView)
def _apply_part(body: Body, part: PartView, inputs: list[Value], at: Application) -> Any:
    inputs = [body.resolve(v) for v in inputs]
    region = _region(body, part.base, [v.type for v in inputs] if part.before else None, at.span)
    split = _layers_node(body, region, part.name, at.span)
    if part.before:
        starts, wanted = region.inputs, split.inputs[: split.attrs["carried"]]
    else:
        starts, wanted = split.outputs, region.outputs
    if len(inputs) != len(starts):
        body.fail("AD0203", f"this part takes {len(starts)} value{'s' if len(starts) > 1 else ''}, not {len(inputs)}", at.span)
    for value, start in zip(inputs, starts):
        if value.type.sizes != start.type.sizes or value.type.kind != start.type.kind:
            body.fail("AD0301", f"this part of `{region.name}` takes {start.type}", at.span, f"given {value.type}")
    known = dict(zip(starts, inputs))
    return outputs([_copy(body, part.base, region, v, known, split, at.span) for v in wanted])


@items(LayersView)
def _some_layers(body: Body, layers: LayersView, found: list[Any], node: ast.Index) -> LayersView:
    """`base.layers[a..b]`, `base.layers[i]`."""
    item = found[0]
    region = _region(body, layers.base, None, node.span)
    rounds = _layers_node(body, region, layers.name, node.span).instance.rounds or []  # type: ignore[union-attr]
    all_of = layers.indices if layers.indices is not None else list(range(len(rounds)))
    if isinstance(item, slice):
        for end in (item.start, item.stop):
            if end is not None and (not isinstance(end, int) or not -len(all_of) <= end <= len(all_of)):
                body.fail("AD0406", f"there is no layer {end}", node.span, f"`{layers.name}` has {len(all_of)}")
        return LayersView(layers.name, node.span, layers.base, all_of[item])
    if not isinstance(item, int) or not -len(all_of) <= item < len(all_of):
        body.fail("AD0406", f"there is no layer {item}", node.span, f"`{layers.name}` has {len(all_of)}")
    return LayersView(layers.name, node.span, layers.base, [all_of[item]])


@applies(LayersView)
def _apply_layers(body: Body, layers: LayersView, inputs: list[Value], at: Application) -> Any:
    span, base = at.span, layers.base
    inputs = [body.resolve(v) for v in inputs]
    region = _region(body, base, None, span)
    split = _layers_node(body, region, layers.name, span)
    carried = split.attrs["carried"]
    assert split.instance is not None and split.instance.rounds is not None and base.instance is not None
    if len(inputs) != carried:
        body.fail("AD0203", f"these layers take {carried} value{'s' if carried > 1 else ''}, not {len(inputs)}", span)
    for value, start in zip(inputs, split.inputs):
        if value.type.sizes != start.type.sizes:
            body.fail("AD0301", f"the layers of `{region.name}` take {start.type}", span, f"given {value.type}")
    if len(split.inputs) > carried or split.borrowed:
        body.fail(
            "AD0232",
            f"the layers of `{region.name}` use values from outside the repeat",
            span,
            "so they can't be applied apart from it",
        )
    indices = layers.indices if layers.indices is not None else list(range(len(split.instance.rounds)))
    if not indices:
        return outputs(inputs)
    attrs, through = {**split.attrs, "indices": indices}, body.borrow(base.instance)
    return outputs(body.add("repeat", inputs, attrs, [v.type for v in inputs], span, split.instance, [], layers.name, through=through))


def _copy(body: Body, base: Bound, region: Region, wanted: Value, known: dict[Value, Value], split: Node, span: Span) -> Value:
    """Re-makes a value of the base's body here, with all it depends on up to the known values: inputs in order, each before its use."""
    assert base.instance is not None
    open_ = [wanted]
    while open_:
        value = open_[-1]
        if value in known:
            open_.pop()
            continue
        node = value.node
        if node is None or node is split:
            body.fail(
                "AD0232",
                f"this part of `{region.name}` also needs a value from the other side of `{split.instance.name if split.instance else 'the repeat'}`",
                span,
                f"`{value.name or 'a value'}` is made there",
            )
        missing = [v for v in node.inputs if v not in known]
        if missing:
            open_ += reversed(missing)
            continue
        inputs, types = [known[v] for v in node.inputs], [o.type for o in node.outputs]
        through = body.borrow(base.instance)
        outs = body.add(
            node.op, inputs, node.attrs, types, span, node.instance, node.borrowed, through=through, value_inputs=node.value_inputs
        )
        known.update(zip(node.outputs, outs))
    return known[wanted]
