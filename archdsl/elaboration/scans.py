"""Scans: a recurrence's step elaborated once on per-step types, applied along time; `.cell` applies one step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from archdsl.diagnostics import ArchError, Label, Span
from archdsl.elaboration.binding import bind_parameters, bind_target
from archdsl.elaboration.body import Body, build_region
from archdsl.elaboration.dispatch import Application, applies, attributes, evaluate, outputs
from archdsl.elaboration.initial import initialiser
from archdsl.elaboration.kinds import DeclaredRecipe, Poison, Scope, type_key
from archdsl.elaboration.nodes import do_not_fit
from archdsl.elaboration.shapes import match_shape, shape_of
from archdsl.elaboration.statements import parameter, poison, reserve, run
from archdsl.elaboration.statics import describe
from archdsl.graph.ir import Axis, Init, Instance, Region, ScanState, TensorType, Value, Weight
from archdsl.graph.sizes import decide_equal
from archdsl.language import syntax as ast
from archdsl.primitives.axes import promoted


@attributes(DeclaredRecipe)
def _cell_of(body: Body, recipe: DeclaredRecipe, node: ast.Attribute) -> Any:
    """`gru.cell`: the step of a scan."""
    if not isinstance(recipe.decl, ast.ScanDecl) or node.name != "cell":
        return None
    return body.made_by(node, replace(recipe, span=node.span, args=dict(recipe.args), options=dict(recipe.options), cell=True))


@applies(ast.ScanDecl)
def _scan(body: Body, recipe: DeclaredRecipe, inputs: list[Value], at: Application) -> Any:
    """Applies a scan to whole sequences, or (cell) its step to one step's inputs and states."""
    decl = recipe.decl
    assert isinstance(decl, ast.ScanDecl)
    declared = [s for s in decl.body.statements if isinstance(s, ast.Input)]
    states = [s for s in decl.body.statements if isinstance(s, ast.State)]
    inputs = [body.resolve(v) for v in inputs]
    wanted = len(declared) + (len(states) if recipe.cell else 0)
    if len(inputs) != wanted:
        names = [d.name for d in declared] + ([s.name for s in states] if recipe.cell else [])
        body.fail(
            "AD0203",
            f"`{recipe.name}{'.cell' if recipe.cell else ''}` takes {wanted} value{'s' if wanted != 1 else ''}, not {len(inputs)}",
            at.span,
            f"given {len(inputs)}",
            labels=[Label(decl.name_span, f"its inputs: {', '.join(names)}")],
        )
    if recipe.cell:
        return _cell(body, recipe, decl, declared, inputs, at)
    layout = _Layout(body, recipe, declared, inputs, at.span)
    region, instance = _region(body, recipe, decl, layout.steps, at)
    final = recipe.options.get("final", False)
    if not isinstance(final, bool):
        body.fail("AD0233", "`final` is true or false", at.span, describe(final))
    captured = [body.resolve(outer) for outer, _ in region.captures]
    initial, more = _initial(body, recipe, region, layout, len(inputs) + len(captured), at.span)
    attrs = {"sequenced": layout.sequenced, "initial": initial, "final": final, "body_ranks": [t.rank for t in layout.steps]}
    types = [TensorType((*layout.lead, layout.time, *v.type.axes), v.type.kind, True) for v in region.outputs]
    if final:
        types += [TensorType((*layout.lead, *s.before.type.axes), s.before.type.kind, True) for s in region.states]
    borrowed = [body.borrow(i) for i in region.borrowed]
    return outputs(body.add("scan", [*inputs, *captured, *more], attrs, types, at.span, instance, borrowed))


class _Layout:
    """How whole tensors split into lead axes, time and the step's body."""

    def __init__(self, body: Body, recipe: DeclaredRecipe, declared: list[ast.Input], inputs: list[Value], span: Span) -> None:
        self.lead: tuple[Axis, ...] = ()
        self.sequenced: list[bool] = []
        self.steps: list[TensorType] = []
        time: Axis | None = None
        for statement, value in zip(declared, inputs):
            rank = len(statement.shape.dims) if statement.shape is not None else max(value.type.rank - 1, 0)
            type_ = value.type
            if type_.rank == rank and not type_.batched:
                self.sequenced.append(False)
                self.steps.append(type_)
                continue
            if type_.rank < rank + 1:
                body.fail(
                    "AD0303",
                    f"`{statement.name}` of {recipe.name} needs a time axis",
                    span,
                    f"{type_} has {type_.rank}; a step takes {rank} and time comes before them",
                    labels=[Label(statement.span, "declared here")],
                )
            cut = type_.rank - rank - 1
            lead, here = type_.axes[:cut], type_.axes[cut]
            if time is None:
                time = here
            elif decide_equal(time.size, here.size, body.session.facts) is not True:
                body.fail("AD0301", f"the inputs of {recipe.name} have different lengths in time", span, f"{time.size} and {here.size}")
            self._merge(body, recipe, lead, statement, span)
            self.sequenced.append(True)
            self.steps.append(TensorType(type_.axes[cut + 1 :], type_.kind, True))
        if time is None:
            body.fail("AD0303", f"{recipe.name} needs at least one input with a time axis", span)
        self.time = time

    def _merge(self, body: Body, recipe: DeclaredRecipe, lead: tuple[Axis, ...], statement: ast.Input, span: Span) -> None:
        if not lead:
            return
        if not self.lead:
            self.lead = lead
            return
        same = len(lead) == len(self.lead) and all(a.size == b.size or 1 in (a.size, b.size) for a, b in zip(lead, self.lead))
        if not same:
            body.fail(
                "AD0301",
                f"the lead axes of {recipe.name}'s inputs differ",
                span,
                f"`{statement.name}` has [{', '.join(str(a.size) for a in lead)}], the ones before it [{', '.join(str(a.size) for a in self.lead)}]",
                note="Axes before time (heads, say) must be equal for all inputs, or 1.",
            )
        self.lead = tuple(b if a.size == 1 else a for a, b in zip(self.lead, lead))


def _region(body: Body, recipe: DeclaredRecipe, decl: ast.ScanDecl, steps: list[TensorType], at: Application) -> tuple[Region, Instance]:
    bound, span = at.bound, at.span
    name = bound.name if bound is not None else body.claim(recipe.name, at.label, span)
    plain = DeclaredRecipe(recipe.name, recipe.span, decl, recipe.namespace, recipe.args)

    def fill_in(child: Body) -> None:
        bind_parameters(child, recipe.name, decl.parameters, recipe.args, set(), span)
        child.region.params = {n: v for n, v in child.scope.local.items() if isinstance(v, (int, float, str, bool))}
        fill_scan(child, decl, steps, span)

    owner = bound.owner if bound is not None else body
    region = build_region(
        body,
        ("scan", plain.key(), type_key(steps)),
        lambda: Region(recipe.name, "scan", decl.span, doc=decl.doc),
        lambda: Scope(recipe.namespace),
        fill_in,
        name,
        Label(span, f"in `{recipe.name}`, used here"),
        owner,
        recipe,
    )
    if bound is not None and bound.instance is not None:
        if bound.instance.region is not region:
            do_not_fit(body, bound, span)
        return region, body.borrow(bound.instance)
    return region, body.place(Instance(name, "scan", body.region, region=region), bound)


def fill_scan(child: Body, decl: ast.ScanDecl, steps: list[TensorType], span: Span) -> None:
    """Elaborates the step: inputs, states, bindings, next states, yields."""
    pending = iter(steps)
    statements = decl.body.statements
    reserve(child, statements)
    yielded: list[Value] | None = None
    for statement in statements:
        try:
            if isinstance(statement, ast.Input):
                _step_input(child, statement, next(pending))
            elif isinstance(statement, ast.State):
                _state(child, statement)
            elif isinstance(statement, ast.Bind) and any(t.primed for t in statement.targets):
                _next_state(child, statement)
            elif isinstance(statement, ast.Yield):
                yielded = _yields(child, statement)
            elif isinstance(statement, ast.Return):
                child.fail("AD0219", "a scan yields, it does not return", statement.span, hint="Write `yield` for what each step gives.")
            elif isinstance(statement, ast.ParamDecl):
                parameter(child, statement)
            else:
                run(child, statement)
        except ArchError as error:
            child.report(error)
            poison(child, statement)
        except Poison:
            poison(child, statement)
    _complete(child, decl)
    if not any(isinstance(s, ast.Yield) for s in statements):
        child.fail(
            "AD0217",
            f"the scan `{decl.name}` yields nothing",
            decl.name_span,
            "no `yield` in its body",
            hint="End it with what each step gives: `yield h'`.",
        )
    if yielded is None:
        raise Poison
    child.region.outputs = yielded


def _complete(child: Body, decl: ast.ScanDecl) -> None:
    written = {t.id for s in decl.body.statements if isinstance(s, ast.Bind) for t in s.targets if t.primed}
    for state in child.region.states:
        if state.after is None and state.name not in written:
            at = next(s for s in decl.body.statements if isinstance(s, ast.State) and s.name == state.name)
            child.fail(
                "AD0228",
                f"the state `{state.name}` never changes",
                at.name_span,
                f"no `{state.name}' = …` in this scan",
                hint=f"Give its next value: `{state.name}' = …`. A constant is a parameter, not a state.",
            )


def _step_input(child: Body, statement: ast.Input, type_: TensorType) -> None:
    if statement.shape is not None:
        match_shape(child, statement.shape, type_, statement.name)
    value = Value(type_, child.region, None, statement.name)
    child.region.inputs.append(value)
    child.bind(statement.name, value, statement.name_span)


def _state(child: Body, statement: ast.State) -> None:
    dims = shape_of(child, statement.shape)
    for dim in dims:
        if isinstance(dim, ast.Name):
            child.fail(
                "AD0201",
                f"there is no size called `{dim.id}`",
                dim.span,
                "unknown size",
                hint="Sizes come from the inputs' shapes and the scan's parameters.",
            )
        if dim is Ellipsis:
            child.fail("AD0213", "a state needs a full shape", statement.shape.span)
    type_ = TensorType(tuple(Axis(d) for d in dims), statement.shape.kind, True)  # type: ignore[arg-type]
    value = Value(type_, child.region, None, statement.name)
    state = ScanState(statement.name, value, None, Init("zeros"))
    if statement.learned:
        init = initialiser(child, statement.init) if statement.init is not None else Init("zeros")
        child.reserved.discard(statement.name)  # its weight takes its name
        name = child.claim(statement.name, statement.name, statement.name_span)
        sizes = tuple(d for d in dims if isinstance(d, int))
        state.weight = child.place(Instance(name, "param", child.region, {"": Weight("", sizes, init)}))
        state.init = init
    elif statement.init is not None:
        start = evaluate(child, statement.init)
        if isinstance(start, Value):
            if start.type.sizes != type_.sizes:
                child.fail(
                    "AD0301",
                    f"the state `{statement.name}` does not begin with its shape",
                    statement.init.span,
                    f"{start.type} is not {type_}",
                )
            _fits_kind(child, statement.name, type_, start.type, statement.init.span)
            state.init = start
        elif isinstance(start, (int, float)) and not isinstance(start, bool):
            state.init = Init("zeros") if start == 0 else Init("constant", (float(start),))
        else:
            child.fail("AD0239", "a state begins with a number or a value", statement.init.span, describe(start))
    child.region.states.append(state)
    child.bind(statement.name, value, statement.name_span)


def _next_state(child: Body, statement: ast.Bind) -> None:
    thing = evaluate(child, statement.value)
    things = list(thing) if isinstance(thing, (tuple, list)) else [thing]
    if len(things) != len(statement.targets):
        child.fail("AD0220", f"{len(statement.targets)} names for {len(things)} things", statement.span)
    for target, item in zip(statement.targets, things):
        if target.primed:
            item = _checked_state(child, target, item, statement)
        bind_target(child, target, item, statement)


def _checked_state(child: Body, target: ast.Target, item: Any, statement: ast.Bind) -> Value:
    state = next((s for s in child.region.states if s.name == target.id), None)
    if state is None:
        child.fail(
            "AD0229",
            f"`{target.id}` is not a state declared above",
            target.span,
            "no such state yet",
            hint=f"Declare it before its update: `state {target.id}: [n] = 0`.",
        )
    if state.after is not None:
        child.fail("AD0205", f"`{target.id}'` is given twice", target.span, "a step sets each state once")
    if not isinstance(item, Value):
        child.fail("AD0218", f"the next `{target.id}` must be a value", statement.value.span, describe(item))
    item = child.resolve(item)
    want = state.before.type
    same = want.rank == item.type.rank and all(decide_equal(a, b, child.session.facts) for a, b in zip(want.sizes, item.type.sizes))
    if not same:
        child.fail(
            "AD0309",
            f"the state `{target.id}` would change its shape",
            statement.value.span,
            f"it is {want}, its next value {item.type}",
            note="A state keeps its shape from step to step.",
        )
    _fits_kind(child, target.id, want, item.type, statement.value.span)
    state.after = item
    return item


def _fits_kind(child: Body, name: str, want: TensorType, given: TensorType, span: Span) -> None:
    """A state may be given bools and whole numbers where it holds floats, and not the other way: something would get lost."""
    if promoted((want.kind, given.kind)) == want.kind:
        return
    wider = f"{'' if given.kind == 'float' else given.kind}[{', '.join(map(str, want.sizes))}]"
    child.fail(
        "AD0314",
        f"the state `{name}` holds {_ENTRIES[want.kind]} and is given {_ENTRIES[given.kind]}",
        span,
        f"the state is {want}, this is {given}",
        hint=f"Declare it so: `state {name}: {wider}`.",
    )


_ENTRIES = {"bool": "bools", "int": "whole numbers", "float": "real numbers", "complex": "complex numbers"}


def _yields(child: Body, statement: ast.Yield) -> list[Value]:
    values = []
    for expression in statement.values:
        thing = evaluate(child, expression)
        for item in thing if isinstance(thing, tuple) else (thing,):
            if not isinstance(item, Value):
                child.fail("AD0218", "only values can be yielded", expression.span, describe(item))
            values.append(child.resolve(item))
    return values


def _initial(
    body: Body, recipe: DeclaredRecipe, region: Region, layout: _Layout, start: int, span: Span
) -> tuple[dict[str, int], list[Value]]:
    initial: dict[str, int] = {}
    values: list[Value] = []
    for state in region.states:
        given = recipe.options.get(state.name)
        if given is None:
            continue
        if not isinstance(given, Value):
            body.fail("AD0239", f"the initial `{state.name}` must be a value", span, describe(given))
        want = (*(a.size for a in layout.lead), *state.before.type.sizes)
        if given.type.sizes not in (want, state.before.type.sizes):
            body.fail(
                "AD0301", f"the initial `{state.name}` does not fit", span, f"{given.type}, but [{', '.join(map(str, want))}] is wanted"
            )
        _fits_kind(body, state.name, state.before.type, given.type, span)
        initial[state.name] = start + len(values)
        values.append(body.resolve(given))
    return initial, values


def _cell(body: Body, recipe: DeclaredRecipe, decl: ast.ScanDecl, declared: list[ast.Input], inputs: list[Value], at: Application) -> Any:
    """One step: inputs, then states; gives the yields, then the new states that are not among them. Axes before the body's ride along."""
    steps, lead = [], ()
    shapes = [s.shape for s in declared] + [s.shape for s in decl.body.statements if isinstance(s, ast.State)]
    for value, shape in zip(inputs, shapes):
        rank = len(shape.dims) if shape is not None else 1
        cut = max(value.type.rank - rank, 0)
        if cut > len(lead):
            lead = value.type.axes[:cut]  # type: ignore[assignment]
        steps.append(TensorType(value.type.axes[cut:], value.type.kind, True))
    region, instance = _region(body, recipe, decl, steps[: len(declared)], at)
    for state, value, step in zip(region.states, inputs[len(declared) :], steps[len(declared) :]):
        if state.before.type.sizes != step.sizes:
            body.fail("AD0301", f"the state `{state.name}` does not fit", at.span, f"{value.type} given, {state.before.type} wanted")
        _fits_kind(body, state.name, state.before.type, step, at.span)
    results = list(region.outputs)
    results += [s.after for s in region.states if s.after is not None and s.after not in results]
    types = [TensorType((*lead, *v.type.axes), v.type.kind, True) for v in results]
    captured = [body.resolve(outer) for outer, _ in region.captures]
    borrowed = [body.borrow(i) for i in region.borrowed]
    return outputs(body.add("cell", [*inputs, *captured], {"inputs": len(declared)}, types, at.span, instance, borrowed))
