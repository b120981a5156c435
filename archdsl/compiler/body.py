"""Writing the statements of a region into a method, node by node."""

from __future__ import annotations

from archdsl.compiler import structural, text
from archdsl.compiler.method import Method, NodeEmitter
from archdsl.compiler.plan import kept, moving, shown
from archdsl.compiler.structure import CALLS, live, reads
from archdsl.graph.ir import Assumption, Node, Origin, Value
from archdsl.graph.sizes import Poly
from archdsl.primitives import TABLE


def write_body(method: Method, ends: list[Value] | None = None) -> None:
    """The whole body: assertions, nodes, side losses and taps, the return."""
    region = method.region
    outputs = region.outputs if ends is None else ends
    side = [] if method.flow is not None else [*region.aux.values(), *region.taps.values()]
    nodes = live(region, outputs)
    main = {id(n) for n in nodes}
    extra = [n for n in live(region, side) if id(n) not in main]
    method.count([*nodes, *extra], [*outputs, *side])
    write_assumptions(method)
    write_nodes(method, nodes)
    if side:
        _write_side(method, extra)
    write_return(method, outputs)


def write_return(method: Method, outputs: list[Value]) -> None:
    if len(outputs) == 1:
        expression = method.expression(outputs[0])
    else:
        expression = ", ".join(method.name(v) for v in outputs)
    method.lines.append(text.statement("return ", expression, method.indent))


def write_nodes(method: Method, nodes: list[Node]) -> None:
    """Nodes in order; in a step form those that stay the same over the steps come first and are kept."""
    flow = method.flow
    if flow is not None:
        constant = [n for n in nodes if not moving(flow, n) and not kept(flow, n)]
        keep = [n for n in nodes if kept(flow, n)]
        for node in constant:
            write_node(method, node)
        if keep:
            _write_kept(method, keep, [n for n in nodes if moving(flow, n)])
        nodes = [n for n in nodes if moving(flow, n)]
    for node in nodes:
        write_node(method, node)


def _write_kept(method: Method, nodes: list[Node], after: list[Node]) -> None:
    """`if "fixed" not in state:` compute, keep; then unpack what later nodes use."""
    used = {id(v) for n in after for v in reads(n)} | {id(v) for v in method.region.outputs}
    edge = [v for n in nodes for v in n.outputs if id(v) in used]
    if not edge:
        return
    method.flush()
    outer = dict(method.source)
    method.line('if "fixed" not in state:')
    method.indent += 1
    for node in nodes:
        write_node(method, node)
    names = [method.name(v) for v in edge]
    method.line(f'state["fixed"] = {text.tuple_of(names)}')
    method.indent -= 1
    method.source = outer
    targets = []
    for value, name in zip(edge, names):
        target = name if name.isidentifier() else method.temporary("kept")
        method.source[id(value)] = target
        targets.append(target)
    method.line(f'{text.targets(targets)} = state["fixed"]')


def write_node(method: Method, node: Node) -> None:
    """One node."""
    if node.op in CALLS:
        structural.write(method, node)
        return
    primitive = TABLE[node.op]
    stepping = method.flow is not None and moving(method.flow, node)
    emitter = NodeEmitter(method, node, stepping)
    form = primitive.step if stepping else primitive.emit
    method.define(node.outputs, method.compose(reads(node), lambda args: form(node, args, emitter)))


def write_assumptions(method: Method) -> None:
    """Shape equations that could not be proved, and what the spec states of its inputs, as assertions with a message for people."""
    root = method.region is method.owner.plan.graph.root and method.flow is None
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
    graph = method.owner.plan.graph
    relations = {"divisible": "%", "equal": "==", "less_equal": "<="}
    origin, seen = Origin(graph.root.span), shown(graph.root)
    found = [Assumption(a, relations[kind], b, origin) for kind, a, b in graph.facts.stated]
    sizes = [{s for size in (f.left, f.right) if isinstance(size, Poly) for s in size.symbols()} for f in found]
    return [f for f, symbols in zip(found, sizes) if symbols <= seen]


def _message(said: str) -> str:
    return "".join(c for c in said if c.isalnum() or c in " _.,+-*/()=<>%")


def _mentions_time(method: Method, item: Assumption) -> bool:
    size = method.owner.plan.report.size
    symbols = size.symbols() if size is not None else set()
    return any(isinstance(s, Poly) and s.symbols() & symbols for s in (item.left, item.right))


def _write_side(method: Method, extra: list[Node]) -> None:
    """Side losses (while training) and taps (while tapping), with the nodes that only they need."""
    region = method.region
    for table, condition in (("aux", "self.training"), ("taps", "self.tapping")):
        values = getattr(region, table)
        if not values:
            continue
        nodes = [n for n in live(region, values.values()) if any(n is e for e in extra)]
        for value in [v for n in nodes for v in reads(n)] + list(values.values()):
            if id(value) in method.pending or id(value) in method.source:
                method.name(value)
        outer = dict(method.source)
        method.line(f"if {condition}:")
        method.indent += 1
        for node in nodes:
            write_node(method, node)
        for name, value in values.items():
            source = method.expression(value)
            added = f'self.aux.get("{name}", 0.0) + {source}' if table == "aux" else f"{source}.detach()"
            method.line(f'self.{table}["{name}"] = {added}')
        method.indent -= 1
        method.source = {**outer}
