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

    @property
    def result(self) -> str:
        return f"tuple[{', '.join(['Tensor'] * (len(self.region.outputs) + len(self.states)))}]"

    def lead(self) -> str:
        """Source of the batch and lead shape."""
        shapes = [
            f"{name}.shape[:{-1 - value.type.rank}]" for name, value, timed in zip(self.names, self.region.inputs, self.sequenced) if timed
        ]
        ranks = {outer.type.rank - inner.type.rank for outer, inner, t in zip(self.node.inputs, self.region.inputs, self.sequenced) if t}
        return shapes[0] if ranks == {1} or len(shapes) == 1 else f"torch.broadcast_shapes({', '.join(shapes)})"

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
    lead = method.temporary("lead")
    method.assign(lead, form.lead())
    _write_starts(form, lead)
    if owner.kernel is not None:
        write_branch(form, owner.kernel)
    yields = [method.temporary("yields" if len(region.outputs) == 1 else f"yields_{i + 1}") for i in range(len(region.outputs))]
    for name in yields:
        method.assign(name, "[]")
    _write_loop(form, yields)
    stacked = [f"torch.stack({name}, {-1 - v.type.rank})" for name, v in zip(yields, region.outputs)]
    if stand_in(region):
        stacked = [f"{s}.to({form.like()}.dtype)" if v.type.kind == "float" else s for s, v in zip(stacked, region.outputs)]
    method.lines.append(text.statement("return ", ", ".join([*stacked, *form.states]), method.indent))
    declared = [*form.declared, "lengths: Tensor | None = None", *method.extras()]
    return owner.finish(method, "forward", declared, form.result, "Whole sequences: the yields, then the final states.")


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
        lead_axes = max((o.type.rank - i.type.rank - 1 for o, i in zip(form.node.inputs, form.region.inputs)), default=0)
        if state.init.type.batched and lead_axes > 0:  # [batch, body] meets [batch, lead, body]
            source += f"[:, {', '.join(['None'] * lead_axes)}]"
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
        new = after[id(state.after)] if state.after is not None else name
        if state.after is not None and state.after.type.kind != state.before.type.kind:  # whole numbers or bools kept as floats, say
            new = f"{new}.to({name}.dtype)"
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
    method.assign(", ".join([*yields, *kept]), call)
    method.lines.append(text.statement("return ", ", ".join([*yields, *kept]), method.indent))
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
        parts = [*args[:count], *borrowed]
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


def _started(method: Method, node: Node, name: str, arg: str) -> str:
    """A given initial state, in the state's kind of numbers; one without the lead axes gets them after its batch axis."""
    region, given = body_of(node), node.inputs[node.attrs["initial"][name]].type
    wanted = next(s.before.type for s in region.states if s.name == name)
    lead = max((o.type.rank - i.type.rank - 1 for o, i in zip(node.inputs, region.inputs)), default=0)
    missing = lead + wanted.rank - given.rank
    start = "start_"
    if given.batched and missing > 0:
        start += f"[:, {', '.join(['None'] * missing)}]"
    if given.kind != wanted.kind:
        start += ".long()" if wanted.kind == "int" else f".to({method.placement(wanted.kind)})"
    return arg if start == "start_" else text.substitute(start, {"start_": arg})


def _state_name(region: Region, name: str) -> str:
    """The keyword of an initial state: as `Whole` names it."""
    scope = Scope(RESERVED | {"lengths"})
    for value in region.all_inputs:
        scope.claim(value.name or "x")
    for instance in region.borrowed:
        scope.claim(attribute(instance.name))
    return {s.name: scope.claim(s.name) for s in region.states}[name]


__all__ = ["scan_forward", "scan_methods", "write_scan"]
