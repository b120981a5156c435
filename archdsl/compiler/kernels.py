"""Writing the kernel's side of a scan: the step as text on the class, and the branch of `forward` that runs it."""

from __future__ import annotations

import textwrap

from archdsl.compiler import text
from archdsl.compiler.body import write_nodes
from archdsl.compiler.members import member, stand_in
from archdsl.compiler.method import Method
from archdsl.compiler.overtime import OverTime
from archdsl.graph.ir import Kind, Node, Region
from archdsl.kernels.c_text import NoC
from archdsl.kernels.scan_source import source
from archdsl.primitives import TABLE
from archdsl.primitives.text import atom
from archdsl.recurrence.convert import Converted, NotElementary, convert
from archdsl.recurrence.text import dumps


def converted(region: Region) -> Converted | None:
    """The step in index notation, if this region is a scan that has one and C can say it."""
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


def write_branch(form: OverTime, found: Converted) -> None:
    """`if self.kernel …: return …`: what can be done for all times before, the kernel, what can be done after."""
    method, region, parts = form.method, form.region, found.parts
    known = dict(method.source)
    with method.block(f"if self.kernel is not None and self.kernel.usable({form.like()}):"):
        before = _with_sources(region, parts.before)
        method.count(before, found.inputs.values())
        write_nodes(method, before)
        call = _call(form, found)
        kinds = [v.type.kind for v in (*found.yields, *(s.before for s in region.states))]
        simple = set(kinds) <= {"float"} and not any(map(form.thin, region.outputs))
        if simple and not parts.after and found.yields == region.outputs:
            method.lines.append(text.statement("return ", call, method.indent))
            return
        names = [method.temporary(v.name or "y") for v in found.yields]
        ends = [method.temporary(f"{s}_end") for s in form.states]
        _take(method, [*names, *ends], kinds, call)
        method.source.update(zip(found.yields, names))
        after = _with_sources(region, parts.after)
        method.count(after, region.outputs)
        write_nodes(method, after)
        results = [method.name(v) for v in region.outputs]
        timed = set(found.yields)
        results = [form.stretched(s, v, v.type.batched or v in timed) if form.thin(v) else s for s, v in zip(results, region.outputs)]
        method.lines.append(text.statement("return ", text.targets([*results, *ends]), method.indent))
    method.source = known  # the loop below knows none of these names


def _call(form: OverTime, found: Converted) -> str:
    """The kernel, called: inputs, weights, first states as they come in, each half of a complex one by itself."""
    method, region = form.method, form.region
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
    return f"self.kernel({text.tuple_of(inputs)}, {text.tuple_of(weights)}, {text.tuple_of(starts)}, lengths{like})"


def _take(method: Method, names: list[str], kinds: list[Kind], call: str) -> None:
    """What the kernel gives, under these names and as these kinds of numbers; it gives floats, and complex numbers in halves."""
    targets = [half for name, kind in zip(names, kinds) for half in ([f"{name}_re", f"{name}_im"] if kind == "complex" else [name])]
    method.assign(", ".join(targets) + ("," if len(targets) == 1 else ""), call)
    for name, kind in zip(names, kinds):
        if kind == "complex":
            method.context.support.add("from_parts")
            method.assign(name, f"from_parts({name}_re, {name}_im)")
        elif kind != "float":
            method.assign(name, f"{name}.{'bool' if kind == 'bool' else 'long'}()")


def _half(source: str, half: str | None) -> str:
    return source if half is None else f"{atom(source)}.{half}"


def _with_sources(region: Region, nodes: list[Node]) -> list[Node]:
    """The nodes, and before them the parameters that they read and that no other node of theirs makes."""
    wanted = {v for n in nodes for v in n.inputs}
    return [*(n for n in region.nodes if not n.inputs and n not in nodes and not wanted.isdisjoint(n.outputs)), *nodes]
