"""Writing the kernel's side of a scan: the step as text on the class, and the branch of `forward` that runs it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from archdsl.compiler import text
from archdsl.compiler.members import member, stand_in
from archdsl.graph.ir import Node, Region
from archdsl.primitives import TABLE
from archdsl.primitives.text import atom
from archdsl.recurrence.convert import Converted, NotElementary, convert
from archdsl.recurrence.text import dumps

if TYPE_CHECKING:
    from archdsl.compiler.scans import Whole


def converted(region: Region) -> Converted | None:
    """The step in index notation, if this region is a scan that has one and C can say it."""
    from archdsl.kernels.c_text import NoC
    from archdsl.kernels.scan_source import source

    if region.kind != "scan":
        return None
    try:
        found = convert(region, TABLE)
        source(found.step)
    except (NotElementary, NoC):
        return None
    return found if found.step.of("input") else None


def step_lines(found: Converted) -> list[str]:
    """The class attribute that holds the step: readable equations as comments, then the text a kernel is made from."""
    comments = [f"    # {line}\n" for line in str(found.step).split("\n") if len(line) < 110]
    lines = textwrap.wrap(dumps(found.step), 116, break_long_words=False, break_on_hyphens=False)
    return ["\n", *comments, '    step_text = """\n', *(line + "\n" for line in lines), '    """\n']


def write_branch(form: Whole, found: Converted) -> None:
    """`if self.kernel …: return …`: what can be done for all times before, the kernel, what can be done after."""
    from archdsl.compiler.body import write_nodes

    method, region, parts = form.method, form.region, found.parts
    method.line(f"if self.kernel is not None and self.kernel.usable({form.like()}):")
    method.indent += 1
    entries = list(found.inputs.values())
    before = _with_sources(region, parts.before)
    method.count(before, entries)
    write_nodes(method, before)
    given = {name: _half(method.name(value), found.halves.get(name)) for name, value in found.inputs.items()}
    by_instance = {i.name: i for i in region.instances.values()}

    def weight(name: str) -> str:
        if name in given:
            return given[name]
        instance, part = found.weights[name]
        path = member(by_instance[instance])
        return f"{path}.{part}" if part else path

    inputs = [given[t.name] for t in found.step.of("input")]
    weights = [weight(t.name) for t in found.step.of("constant", "weight")]
    complex_ = [s.before.type.kind == "complex" for s in region.states]
    starts = [half for s, two in zip(form.states, complex_) for half in ([f"{s}.real", f"{s}.imag"] if two else [s])]
    like = f", {form.like()}" if stand_in(region) else ""
    call = f"self.kernel({_tuple(inputs)}, {_tuple(weights)}, {_tuple(starts)}, lengths{like})"
    kinds = [v.type.kind for v in (*found.yields, *(s.before for s in region.states))]
    simple = set(kinds) <= {"float"} and not any(map(form.thin, region.outputs))
    if simple and not parts.after and [id(v) for v in found.yields] == [id(v) for v in region.outputs]:
        method.lines.append(text.statement("return ", call, method.indent))
        method.indent -= 1
        return
    names = [method.temporary(v.name or "y") for v in found.yields]
    ends = [method.temporary(f"{s}_end") for s in form.states]
    made = list(zip([*names, *ends], kinds))
    targets = [half for name, kind in made for half in ([f"{name}_re", f"{name}_im"] if kind == "complex" else [name])]
    method.assign(", ".join(targets) + ("," if len(targets) == 1 else ""), call)
    for name, kind in made:
        if kind == "complex":
            method.owner.file.support.add("from_parts")
            method.assign(name, f"from_parts({name}_re, {name}_im)")
        elif kind != "float":  # a kernel gives floats
            method.assign(name, f"{name}.{'bool' if kind == 'bool' else 'long'}()")
    for value, name in zip(found.yields, names):
        method.source[id(value)] = name
    after = _with_sources(region, parts.after)
    method.count(after, region.outputs)
    write_nodes(method, after)
    timed = {id(v) for v in found.yields}
    results = [method.name(v) for v in region.outputs]
    results = [form.stretched(s, v, v.type.batched or id(v) in timed) if form.thin(v) else s for s, v in zip(results, region.outputs)]
    method.lines.append(text.statement("return ", text.targets([*results, *ends]), method.indent))
    method.indent -= 1
    # The loop below knows none of these names.
    for node in (*before, *after):
        for value in node.outputs:
            _forget(method, value)
    for value in found.yields:
        _forget(method, value)


def _half(source: str, half: str | None) -> str:
    return source if half is None else f"{atom(source)}.{half}"


def _with_sources(region: Region, nodes: list[Node]) -> list[Node]:
    """The nodes, and before them the parameters that they read and that no other node of theirs makes."""
    wanted = {id(v) for n in nodes for v in n.inputs}
    return [*(n for n in region.nodes if not n.inputs and n not in nodes and any(id(o) in wanted for o in n.outputs)), *nodes]


def _forget(method: Any, value: Any) -> None:
    method.source.pop(id(value), None)


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
