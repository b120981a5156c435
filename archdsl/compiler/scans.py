"""Writing scans: the step as written (`cell`), a whole form over time, and the decoding form that keeps the states.

`scan_forward` is the one place that decides how a scan runs over a sequence: by a kernel where there is one, else by a loop over time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.compiler import text
from archdsl.compiler.body import write_nodes
from archdsl.compiler.kernels import write_branch
from archdsl.compiler.members import member, plain, stand_in
from archdsl.compiler.method import Method
from archdsl.compiler.names import RESERVED, Scope, attribute
from archdsl.compiler.plan import Needs, scan_time
from archdsl.compiler.structure import body_of, cell_outputs, handed, live
from archdsl.graph.ir import Init, Node, Region, ScanState, Value
from archdsl.recurrence.split import stateful

if TYPE_CHECKING:
    from archdsl.compiler.module import ModuleWriter


def scan_methods(owner: ModuleWriter) -> list[str]:
    """`cell` for one step, `forward` over whole sequences, `step` for decoding."""
    methods = [_cell_method(owner)]
    uses = owner.file.scan_uses.get(id(owner.region), [])
    if uses:
        methods.append(scan_forward(owner, uses[0]))
        if owner.plan.flow is not None:
            methods.append(_step_method(owner, uses[0]))
    return methods


def _cell_method(owner: ModuleWriter) -> str:
    """One step: inputs, states, captures; gives the yields, then the new states that are not among them."""
    from archdsl.compiler.body import write_assumptions, write_return
    from archdsl.compiler.module import returned

    region = owner.region
    method = Method(owner, None, Needs(sizes=set(owner.plan.of(region, None).sizes)))
    states = [s.before for s in region.states]
    declared = ["self", *method.parameters([*region.inputs, *states, *[inner for _, inner in region.captures]]), *method.extras()]
    ends = cell_outputs(region)
    nodes = live(region, ends)
    method.count(nodes, ends)
    write_assumptions(method)
    write_nodes(method, nodes)
    write_return(method, ends)
    return owner.finish(method, "cell", declared, returned(ends), "One step: the yields, then the new states that are not among them.")


class Whole:
    """The names that the forms over time share."""

    def __init__(self, owner: ModuleWriter, node: Node):
        self.owner, self.node, self.region = owner, node, owner.region
        self.method = Method(owner, None, Needs(sizes=set(owner.plan.of(owner.region, None).sizes)))
        self.method.scope.taken.add("lengths")
        values = self.method.parameters(self.region.all_inputs)
        self.states = [self.method.scope.claim(s.name) for s in self.region.states]
        starts = [f"{s}: Tensor | None = None" for s in self.states]
        self.declared = ["self", *values, *starts]
        self.sequenced: list[bool] = list(node.attrs["sequenced"])
        self.names = [self.method.source[id(v)] for v in self.region.inputs]
        timed = [(o.type, i.type) for o, i, t in zip(node.inputs, self.region.inputs, self.sequenced) if t]
        self.uneven = len({(outer.batched, outer.sizes[: outer.rank - inner.rank - 1]) for outer, inner in timed}) > 1
        self.stateful = stateful(self.region)
        self.lead_name = "lead"

    @property
    def result(self) -> str:
        return f"tuple[{', '.join(['Tensor'] * (len(self.region.outputs) + len(self.states)))}]"

    def lead(self) -> str:
        """Source of the batch and lead shape."""
        given = [g[:3] for g in zip(self.names, self.node.inputs, self.region.inputs, self.sequenced) if g[3]]
        shapes = [f"{name}.shape[:{-1 - inner.type.rank}]" for name, _, inner in given]
        if {outer.type.rank - inner.type.rank for _, outer, inner in given} == {1}:  # the batch axis, which some may lack
            return next((shape for shape, (_, outer, _) in zip(shapes, given) if outer.type.batched), shapes[0])
        return shapes[0] if len(shapes) == 1 else f"torch.broadcast_shapes({', '.join(shapes)})"

    def thin(self, value: Value) -> bool:
        """Whether a value may lack batch or lead axes: it comes from no state, and not from inputs that all have them."""
        return id(value) not in self.stateful and (self.uneven or not value.type.batched)

    def stretched(self, source: str, value: Value, timed: bool) -> str:
        """A thin value as [batch, lead…, time, body…]; timed: it has its time axis."""
        name, inner = next((n, i) for n, i, t in zip(self.names, self.region.inputs, self.sequenced) if t)
        time = "-1" if timed else f"{name}.shape[{-1 - inner.type.rank}]"
        return f"{source}.expand(({', '.join([f'*{self.lead_name}', time, *['-1'] * value.type.rank])}))"

    def like(self) -> str:
        """A tensor whose dtype and device new states take: an input of floats, or the buffer that stands in for one."""
        numbers = {v.type.kind: name for name, v in zip(self.names[::-1], self.region.inputs[::-1])}
        return numbers.get("float") or numbers.get("complex") or f"self.{stand_in(self.region)}"


def scan_forward(owner: ModuleWriter, node: Node) -> str:
    """The whole form: `forward(inputs, captures, states=None, lengths=None)` gives the yields, then the final states.

    Inputs are [batch, lead…, time, body…]. States of sequences that have ended stay as they are.
    """
    form = Whole(owner, node)
    method, region = form.method, form.region
    lead = form.lead_name = method.temporary("lead")
    method.assign(lead, form.lead())
    _write_starts(form, lead)
    if owner.kernel is not None:
        write_branch(form, owner.kernel)
    yields = [method.temporary("yields" if len(region.outputs) == 1 else f"yields_{i + 1}") for i in range(len(region.outputs))]
    for name in yields:
        method.assign(name, "[]")
    _write_loop(form, yields)
    stacked = [_stacked(form, name, value) for name, value in zip(yields, region.outputs)]
    method.lines.append(text.statement("return ", text.targets([*stacked, *form.states]), method.indent))
    declared = [*form.declared, "lengths: Tensor | None = None", *method.extras()]
    return owner.finish(method, "forward", declared, form.result, "Whole sequences: the yields, then the final states.")


def _stacked(form: Whole, name: str, value: Value) -> str:
    """Source of a yield for all times, from the list of those of each."""
    source = f"torch.stack({name}, {-1 - value.type.rank})"
    if stand_in(form.region) and value.type.kind == "float":
        source += f".to({form.like()}.dtype)"
    return form.stretched(source, value, True) if form.thin(value) else source


def _write_starts(form: Whole, lead: str) -> None:
    """`if S is None: S = …` for each state."""
    method = form.method
    for state, name in zip(form.region.states, form.states):
        if isinstance(state.init, Value):
            nodes = live(form.region, [state.init])
            method.count(nodes, [state.init])
            write_nodes(method, nodes)
            method.name(state.init)
        method.line(f"if {name} is None:")
        method.indent += 1
        method.assign(name, text.tidy(_start(form, state, lead)))
        method.indent -= 1


def _start(form: Whole, state: ScanState, lead: str) -> str:
    """Source of a state's first value, [batch, lead…, body…]."""
    method, type_ = form.method, state.before.type
    shape = f"({', '.join([f'*{lead}', *(method.size(s) for s in type_.sizes)])},)"
    if state.weight is not None:
        return f"{member(state.weight)}.expand{shape}"
    if isinstance(state.init, Value):
        source = method.name(state.init)
        if state.init.type.batched:  # [batch, body] meets [batch, lead, body]
            source = _widened(source, _lead_axes(form.node))
        cast = f".to({form.like()}.dtype)" if state.init.type.kind != type_.kind == "float" else ""
        return f"{source}.expand{shape}{cast}"
    like = form.like()
    kinds = {v.type.kind for v in form.region.inputs}
    dtype = {
        "float": f", dtype={like}.dtype.to_real()" if "complex" in kinds and "float" not in kinds else "",
        "complex": f", dtype={like}.dtype.to_complex()",
        "int": ", dtype=torch.int64",
        "bool": ", dtype=torch.bool",
    }[type_.kind]
    init: Init = state.init
    if init.kind == "zeros":
        return f"{like}.new_zeros({shape}{dtype})"
    value = 1.0 if init.kind == "ones" else init.args[0]
    return f"{like}.new_full({shape}, {plain(value)}{dtype})"


def _write_loop(form: Whole, yields: list[str]) -> None:
    """The loop over time."""
    method, region = form.method, form.region
    now, parts, given = [], [], []
    for name, value, timed in zip(form.names, region.inputs, form.sequenced):
        given.append(method.temporary(f"{name}_t") if timed else name)
        if timed:
            now.append(given[-1])
            parts.append(f"{name}.unbind({-1 - value.type.rank})")
    time = method.temporary("t")
    if len(parts) == 1:
        method.line(f"for {time}, {now[0]} in enumerate({parts[0]}):")
    else:
        head = f"for {time}, ({', '.join(now)}) in "
        method.lines.append(text.statement(head, f"enumerate(zip({', '.join(parts)}))", method.indent).rstrip() + ":\n")
    method.indent += 1
    ends = cell_outputs(region)
    news = [method.temporary("y" if i < len(region.outputs) else "new") for i in range(len(ends))]
    captured = [method.source[id(inner)] for _, inner in region.captures]
    borrowed = [method.modules[id(b)] for b in region.borrowed]
    extras = [f"{s}={n}" for s, n in method.handed_sizes.items()]
    method.assign(", ".join(news), f"self.cell({', '.join([*given, *form.states, *captured, *borrowed, *extras])})")
    after = {id(v): n for v, n in zip(ends, news)}
    method.owner.file.support.add("advanced")
    for state, name in zip(region.states, form.states):
        new = name
        if state.after is not None:
            new = after[id(state.after)]
            if form.thin(state.after):
                new += f".expand_as({name})"
            if state.after.type.kind != state.before.type.kind:  # whole numbers or bools kept as floats, say
                new += f".to({name}.dtype)"
        method.assign(name, f"advanced({name}, {new}, {time}, lengths)")
    for name, new in zip(yields, news):
        method.line(f"{name}.append({new})")
    method.indent -= 1


def _step_method(owner: ModuleWriter, node: Node) -> str:
    """Decoding: the whole form over the new positions, from the kept states."""
    form = Whole(owner, node)
    method, region = form.method, form.region
    method.owner.file.support.add("Clock")
    values = [method.source[id(v)] for v in region.all_inputs] + [method.modules[id(b)] for b in region.borrowed]
    starts = [f'state.get("{s}", {s})' for s in form.states]
    count = len(region.outputs)
    yields = [method.temporary(f"y{i + 1}" if count > 1 else "y") for i in range(count)]
    extras = method.extras()
    handed_on = [f"{s}={n}" for s, n in method.handed_sizes.items()]
    kept = [f'state["{s}"]' for s in form.states]
    call = f"self.forward({', '.join([*values, *starts, 'clock.count', *handed_on])})"
    method.assign(text.targets([*yields, *kept]), call)
    method.lines.append(text.statement("return ", text.targets([*yields, *kept]), method.indent))
    plain_inputs = form.declared[: len(form.declared) - len(form.states)]
    starts_declared = form.declared[len(plain_inputs) :]
    declared = [*plain_inputs, "state: dict", "clock: Clock", *starts_declared, *extras]
    return owner.finish(method, "step", declared, form.result, "New positions of each sequence, from the states kept so far.")


def write_scan(method: Method, node: Node) -> None:
    """The use of a scan in a body."""
    instance = node.instance
    assert instance is not None
    region = body_of(node)
    count = len(region.all_inputs)
    axis = scan_time(node)
    stepping = method.flow is not None and axis.identity in method.flow.time
    path = method.instance(instance, node)
    borrowed = [method.instance(i, node) for i in handed(node)]
    lengths = None if stepping else method.lengths(axis)
    slot = method.slot(node.occurrence)
    initial: dict[str, int] = node.attrs.get("initial") or {}

    def make(args: list[str]) -> str:
        parts = [*(_aligned(node, i, arg) for i, arg in enumerate(args[:count])), *borrowed]
        if stepping:
            parts += [slot, "clock"]
        parts += [f"{_state_name(region, s)}={_started(method, node, s, args[i])}" for s, i in initial.items()]
        if lengths is not None:
            parts.append(f"lengths={lengths}")
        needs = method.owner.plan.of(region, None)
        parts += [f"{s}={method.size(method.owner.file.symbol(s))}" for s in sorted(needs.sizes)]
        return f"{path}{'.step' if stepping else ''}({', '.join(parts)})"

    call = method.compose(node.inputs, make)
    yields = len(region.outputs)
    final = bool(node.attrs.get("final"))
    if not final and yields == 1:
        method.define(node.outputs, text.tidy(f"({call})[0]"))
        return
    targets = [method.fresh(v) if method.uses.get(id(v)) else "_" for v in node.outputs]
    if not final:
        targets.append("*_")
    method.assign(", ".join(targets), call)


def _lead_axes(node: Node) -> int:
    """How many axes stand between batch and time."""
    pairs = zip(node.inputs, body_of(node).inputs, node.attrs["sequenced"])
    return max((o.type.rank - i.type.rank - 1 for o, i, timed in pairs if timed), default=0)


def _widened(arg: str, missing: int) -> str:
    """A batched value with axes of size one after its batch axis."""
    return text.substitute(f"start_[:, {', '.join(['None'] * missing)}]", {"start_": arg}) if missing > 0 else arg


def _aligned(node: Node, place: int, arg: str) -> str:
    """An input over time, with as many axes before time as the others have."""
    region, given = body_of(node), node.inputs[place].type
    if place >= len(region.inputs) or not node.attrs["sequenced"][place] or not given.batched:
        return arg
    return _widened(arg, _lead_axes(node) - (given.rank - region.inputs[place].type.rank - 1))


def _started(method: Method, node: Node, name: str, arg: str) -> str:
    """A given initial state, in the state's kind of numbers; one without the lead axes gets them after its batch axis."""
    region, given = body_of(node), node.inputs[node.attrs["initial"][name]].type
    wanted = next(s.before.type for s in region.states if s.name == name)
    if given.batched:
        arg = _widened(arg, _lead_axes(node) + wanted.rank - given.rank)
    if given.kind == wanted.kind:
        return arg
    return text.substitute("start_.long()" if wanted.kind == "int" else f"start_.to({method.placement(wanted.kind)})", {"start_": arg})


def _state_name(region: Region, name: str) -> str:
    """The keyword of an initial state: as `Whole` names it."""
    scope = Scope(RESERVED | {"lengths"})
    for value in region.all_inputs:
        scope.claim(value.name or "x")
    for instance in region.borrowed:
        scope.claim(attribute(instance.name))
    return {s.name: scope.claim(s.name) for s in region.states}[name]


__all__ = ["scan_forward", "scan_methods", "write_scan"]
