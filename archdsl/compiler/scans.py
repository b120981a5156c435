"""Writing scans: the step as written (`cell`), a whole form over time, and the decoding form that keeps the states.

`_forward` is the one place that decides how a scan runs over a sequence: by a kernel where there is one, else by a loop over time.
"""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.body import write_assumptions, write_nodes, write_return
from archdsl.compiler.context import Context
from archdsl.compiler.kernels import write_branch
from archdsl.compiler.members import member, plain, stand_in
from archdsl.compiler.method import Method, returned
from archdsl.compiler.overtime import OverTime
from archdsl.compiler.plan import Needs
from archdsl.graph.ir import Init, Region, ScanState, Value
from archdsl.recurrence.convert import Converted
from archdsl.structural.cell import cell_outputs
from archdsl.structural.reading import live
from archdsl.structural.scan import lead_axes, widened


def scan_methods(context: Context, region: Region, kernel: Converted | None) -> list[str]:
    """`cell` for one step, `forward` over whole sequences, `step` for decoding. kernel: the step, where one can be made of it."""
    methods = [_cell_method(context, region)]
    uses = context.over_time.get(region, [])
    if uses:
        methods.append(_forward(OverTime(context, region, uses[0]), kernel))
        if context.plan.flow is not None:
            methods.append(_step_method(OverTime(context, region, uses[0])))
    return methods


def _cell_method(context: Context, region: Region) -> str:
    """One step: inputs, states, captures; gives the yields, then the new states that are not among them."""
    method = Method(context, region, None, Needs(sizes=set(context.plan.whole(region).needs.sizes)))
    states = [s.before for s in region.states]
    declared = ["self", *method.parameters([*region.inputs, *states, *[inner for _, inner in region.captures]]), *method.extras()]
    ends = cell_outputs(region)
    nodes = live(region, ends)
    method.count(nodes, ends)
    write_assumptions(method)
    write_nodes(method, nodes)
    write_return(method, ends)
    return method.definition("cell", declared, returned(ends), "One step: the yields, then the new states that are not among them.")


def _forward(form: OverTime, kernel: Converted | None) -> str:
    """The whole form: `forward(inputs, captures, states=None, lengths=None)` gives the yields, then the final states.

    Inputs are [batch, lead…, time, body…]. States of sequences that have ended stay as they are.
    """
    method, region = form.method, form.region
    lead = form.lead_name = method.temporary("lead")
    method.assign(lead, form.lead())
    _write_starts(form, lead)
    if kernel is not None:
        write_branch(form, kernel)
    yields = [method.temporary("yields" if len(region.outputs) == 1 else f"yields_{i + 1}") for i in range(len(region.outputs))]
    for name in yields:
        method.assign(name, "[]")
    _write_loop(form, yields)
    stacked = [_stacked(form, name, value) for name, value in zip(yields, region.outputs)]
    method.lines.append(text.statement("return ", text.targets([*stacked, *form.states]), method.indent))
    declared = [*form.given, *form.starts, "lengths: Tensor | None = None", *method.extras()]
    return method.definition("forward", declared, form.result, "Whole sequences: the yields, then the final states.")


def _stacked(form: OverTime, name: str, value: Value) -> str:
    """Source of a yield for all times, from the list of those of each."""
    source = f"torch.stack({name}, {-1 - value.type.rank})"
    if stand_in(form.region) and value.type.kind == "float":
        source += f".to({form.like()}.dtype)"
    return form.stretched(source, value, True) if form.thin(value) else source


def _write_starts(form: OverTime, lead: str) -> None:
    """`if S is None: S = …` for each state."""
    method = form.method
    for state, name in zip(form.region.states, form.states):
        if isinstance(state.init, Value):
            nodes = live(form.region, [state.init])
            method.count(nodes, [state.init])
            write_nodes(method, nodes)
            method.name(state.init)
        with method.block(f"if {name} is None:"):
            method.assign(name, text.tidy(_start(form, state, lead)))


def _start(form: OverTime, state: ScanState, lead: str) -> str:
    """Source of a state's first value, [batch, lead…, body…]."""
    method, type_ = form.method, state.before.type
    shape = f"({', '.join([f'*{lead}', *(method.size(s) for s in type_.sizes)])},)"
    if state.weight is not None:
        return f"{member(state.weight)}.expand{shape}"
    if isinstance(state.init, Value):
        source = method.name(state.init)
        if state.init.type.batched:  # [batch, body] meets [batch, lead, body]
            source += widened(lead_axes(form.node))
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


def _write_loop(form: OverTime, yields: list[str]) -> None:
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
    captured = [method.source[inner] for _, inner in region.captures]
    borrowed = [method.modules[b] for b in region.borrowed]
    extras = [f"{s}={n}" for s, n in method.handed_sizes.items()]
    method.assign(", ".join(news), f"self.cell({', '.join([*given, *form.states, *captured, *borrowed, *extras])})")
    after = dict(zip(ends, news))
    method.context.support.add("advanced")
    for state, name in zip(region.states, form.states):
        new = name
        if state.after is not None:
            new = after[state.after]
            if form.thin(state.after):
                new += f".expand_as({name})"
            if state.after.type.kind != state.before.type.kind:  # whole numbers or bools kept as floats, say
                new += f".to({name}.dtype)"
        method.assign(name, f"advanced({name}, {new}, {time}, lengths)")
    for name, new in zip(yields, news):
        method.line(f"{name}.append({new})")
    method.indent -= 1


def _step_method(form: OverTime) -> str:
    """Decoding: the whole form over the new positions, from the kept states."""
    method, region = form.method, form.region
    method.context.support.add("Clock")
    values = [method.source[v] for v in region.all_inputs] + [method.modules[b] for b in region.borrowed]
    starts = [f'state.get("{s}", {s})' for s in form.states]
    count = len(region.outputs)
    yields = [method.temporary(f"y{i + 1}" if count > 1 else "y") for i in range(count)]
    extras = method.extras()
    handed_on = [f"{s}={n}" for s, n in method.handed_sizes.items()]
    kept = [f'state["{s}"]' for s in form.states]
    call = f"self.forward({', '.join([*values, *starts, 'clock.count', *handed_on])})"
    method.assign(text.targets([*yields, *kept]), call)
    method.lines.append(text.statement("return ", text.targets([*yields, *kept]), method.indent))
    declared = [*form.given, "state: dict", "clock: Clock", *form.starts, *extras]
    return method.definition("step", declared, form.result, "New positions of each sequence, from the states kept so far.")


__all__ = ["scan_methods"]
