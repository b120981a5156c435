"""Writing the statements of a region into a method, node by node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from archdsl.compiler import text
from archdsl.compiler.method import Method
from archdsl.compiler.plan import kept, shown
from archdsl.compiler.writer import NodeWriter
from archdsl.graph.ir import Assumption, Node, Origin, Value
from archdsl.graph.sizes import Poly
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import live, reads


def write_body(method: Method) -> None:
    """The whole body: assertions, nodes, side losses and taps, the return."""
    region = method.region
    side = [] if method.flow is not None else [*region.aux.values(), *region.taps.values()]
    nodes = live(region, region.outputs)
    main = set(nodes)
    extra = [n for n in live(region, side) if n not in main]
    method.count([*nodes, *extra], [*region.outputs, *side])
    write_assumptions(method)
    write_nodes(method, nodes)
    if side:
        _write_side(method, extra)
    write_return(method, region.outputs)


def write_return(method: Method, outputs: Sequence[Value]) -> None:
    expression = method.expression(outputs[0]) if len(outputs) == 1 else ", ".join([method.name(v) for v in outputs])
    method.lines.append(text.statement("return ", expression, method.indent))


def write_nodes(method: Method, nodes: Sequence[Node]) -> None:
    """Nodes in order; in a step form those that stay the same over the steps come first and are kept."""
    flow = method.flow
    if flow is None:
        write_each(method, nodes)
        return
    moving = [n for n in nodes if flow.moves(n)]
    keep = [n for n in nodes if kept(flow, n)]
    write_each(method, [n for n in nodes if not flow.moves(n) and n not in keep])
    if keep:
        _write_kept(method, keep, moving)
    write_each(method, moving)


def write_each(method: Method, nodes: Iterable[Node]) -> None:
    """Nodes in order, as they come."""
    for node in nodes:
        write_node(method, node)


def _write_kept(method: Method, nodes: list[Node], after: list[Node]) -> None:
    """`if "fixed" not in state:` compute, keep; then unpack what later nodes use."""
    used = {*(v for n in after for v in reads(n)), *method.region.outputs}
    edge = [v for n in nodes for v in n.outputs if v in used]
    if not edge:
        return
    method.flush()
    outer = dict(method.source)
    with method.block('if "fixed" not in state:'):
        write_each(method, nodes)
        names = [method.name(v) for v in edge]
        method.line(f'state["fixed"] = {text.tuple_of(names)}')
    method.source = outer
    targets = []
    for value, name in zip(edge, names):
        target = name if name.isidentifier() else method.temporary("kept")
        method.source[value] = target
        targets.append(target)
    method.line(f'{text.targets(targets)} = state["fixed"]')


def write_node(method: Method, node: Node) -> None:
    """One node."""
    if node.op in STRUCTURAL:
        STRUCTURAL[node.op].write(node, NodeWriter(method, node))
    else:
        method.define(node.outputs, method.place(method.context.plan.texts.of(node, method.flow), reads(node)))


def write_assumptions(method: Method) -> None:
    """Shape equations that could not be proved, and what the spec states of its inputs, as assertions with a message for people."""
    root = method.region is method.context.graph.root and method.flow is None
    for item in [*(_stated(method) if root else []), *method.region.assumptions]:
        if method.flow is not None and _mentions_time(method, item):
            continue
        left, right = method.size(item.left), method.size(item.right)
        test = f"({left}) % ({right}) == 0" if item.relation == "%" else f"({left}) {item.relation} ({right})"
        said = f"{item.left} {item.relation} {item.right} must hold"
        if item.relation == "%":
            said = f"{item.left} must be a multiple of {item.right}"
        method.lines.append(text.statement("assert ", text.tidy(test) + f', "{_message(said)}"', method.indent))


def _stated(method: Method) -> list[Assumption]:
    """The facts of the spec (`where T % 8 == 0`), as far as the inputs show their sizes."""
    graph = method.context.graph
    relations = {"divisible": "%", "equal": "==", "less_equal": "<="}
    origin, seen = Origin(graph.root.span), shown(graph.root)
    found = [Assumption(a, relations[kind], b, origin) for kind, a, b in graph.facts.stated]
    sizes = [{s for size in (f.left, f.right) if isinstance(size, Poly) for s in size.symbols()} for f in found]
    return [f for f, symbols in zip(found, sizes) if symbols <= seen]


def _message(said: str) -> str:
    return "".join(c for c in said if c.isalnum() or c in " _.,+-*/()=<>%")


def _mentions_time(method: Method, item: Assumption) -> bool:
    size = method.context.plan.report.size
    symbols = size.symbols() if size is not None else set()
    return any(isinstance(s, Poly) and s.symbols() & symbols for s in (item.left, item.right))


def _write_side(method: Method, extra: list[Node]) -> None:
    """Side losses (while training) and taps (while tapping), with the nodes that only they need."""
    region, only = method.region, set(extra)
    for table, condition in (("aux", "self.training"), ("taps", "self.tapping")):
        values: dict[str, Value] = getattr(region, table)
        if not values:
            continue
        nodes = [n for n in live(region, values.values()) if n in only]
        for value in [v for n in nodes for v in reads(n)] + list(values.values()):
            if value in method.pending or value in method.source:
                method.name(value)
        outer = dict(method.source)
        with method.block(f"if {condition}:"):
            write_each(method, nodes)
            for name, value in values.items():
                source = method.expression(value)
                added = f'self.aux.get("{name}", 0.0) + {source}' if table == "aux" else f"{source}.detach()"
                method.line(f'self.{table}["{name}"] = {added}')
        method.source = outer


__all__ = ["write_assumptions", "write_body", "write_each", "write_node", "write_nodes", "write_return"]
