"""Writing the root class: the whole form, and for models that can be decoded `prefill` and `step`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.compiler import text
from archdsl.compiler.body import write_assumptions, write_body, write_node
from archdsl.compiler.flow import Flow
from archdsl.compiler.method import Method
from archdsl.compiler.module import returned
from archdsl.compiler.plan import Needs, kept, moving, probe, readings
from archdsl.compiler.structure import CALLS, live, reads
from archdsl.graph.ir import Node, Value
from archdsl.graph.sizes import Poly, symbol

if TYPE_CHECKING:
    from archdsl.compiler.module import ModuleWriter


def root_methods(owner: ModuleWriter) -> list[str]:
    """forward, and prefill, prepare, step where the model can be decoded."""
    methods = [_forward(owner)]
    if owner.plan.flow is not None:
        decoding = _Decoding(owner, owner.plan.flow)
        methods += [m for m in (decoding.prefill(), decoding.prepare(), decoding.step()) if m]
    return methods


def _forward(owner: ModuleWriter) -> str:
    method = Method(owner, None, owner.plan.of(owner.region, None))
    values = method.parameters(owner.region.all_inputs)
    for ragged in owner.plan.ragged:  # every declared `lengths` may be given, used or not
        method.needs.lengths.add(ragged)
    declared = ["self", *values, *method.extras()]
    if owner.file.has_aux:
        owner.file.support.add("clear_aux")
        method.line("if self.training:")
        method.line("    clear_aux(self)")
    write_body(method)
    return owner.finish(method, "forward", declared, returned(owner.region.outputs))


class _Decoding:
    """prefill, prepare and step share what is decoded, what is fixed, and what crosses between."""

    def __init__(self, owner: ModuleWriter, flow: Flow):
        self.owner, self.flow, self.region = owner, flow, owner.region
        self.file = owner.file
        self.file.support.add("Clock")
        self.nodes = live(self.region, self.region.outputs)
        self.moving = [n for n in self.nodes if moving(flow, n)]
        self.kept = [n for n in self.nodes if kept(flow, n)]
        self.decoded = [v for v in self.region.inputs if flow.place(v).moving]
        self.fixed = [v for v in self.region.inputs if not flow.place(v).moving]
        used = {id(v) for n in self.moving for v in reads(n)} | {id(v) for v in self.region.outputs}
        self.edge = [v for v in [*self.fixed, *(v for n in self.kept for v in n.outputs)] if id(v) in used]
        self.own = self._own_lengths()
        self.others = sorted(self._lengths_of(self.moving, flow) - {self.own})
        self.sizes = self._fixed_sizes()
        self.prepared = bool(self.edge or self.others or self.sizes)

    def _own_lengths(self) -> str | None:
        """The ragged name of the decoded axis."""
        for value in self.decoded:
            for axis in self.flow.place(value).axes:
                ragged = value.type.axes[axis].ragged
                if ragged is not None:
                    return ragged.partition(";")[0]
        return None

    def _fixed_sizes(self) -> list[str]:
        """The sizes that steps use and only fixed inputs show (the length of a source): handed from `prepare` to every step."""
        wanted = {s for a in self.region.assumptions for size in (a.left, a.right) if isinstance(size, Poly) for s in size.symbols()}
        for node in [n for n in self.nodes if n in self.moving or n not in self.kept]:
            if node.op not in CALLS:
                wanted |= probe(node, self.flow if node in self.moving else None).sizes
            for region, inner in self.owner.plan.runs(node, self.flow):
                wanted |= self.owner.plan.of(region, inner if self.owner.plan.form(region, inner) else None).sizes
        return sorted(wanted & {name for name, value, _ in readings(self.region.all_inputs) if value in self.fixed})

    def _names(self) -> tuple[Method, list[str], list[str]]:
        """A method whose inputs are claimed, and the names of decoded and fixed inputs."""
        method = Method(self.owner, self.flow, Needs())
        method.parameters(self.region.all_inputs)
        return method, [method.source[id(v)] for v in self.decoded], [method.source[id(v)] for v in self.fixed]

    def _result(self, tail: str) -> str:
        outputs = self.region.outputs
        return f"tuple[{returned(outputs)}, {tail}]"

    def prefill(self) -> str:
        """Reads whole prompts."""
        method, decoded, fixed = self._names()
        keyword = self.owner.plan.keyword(self.own) if self.own else None
        names = [method.source[id(v)] for v in self.region.inputs]
        options = [self.owner.plan.keyword(r) for r in self.owner.plan.ragged]
        declared = ["self", *(f"{n}: Tensor" for n in names), *(f"{o}: Tensor | None = None" for o in options), "last_only: bool = False"]
        state = "state"
        method.line(f'{state}: dict = {{"clock": Clock()}}')
        if self.prepared:
            needed = sorted(self._needed())
            args = [*fixed, *(self.owner.plan.keyword(r) for r in needed)]
            method.assign(f'{state}["fixed"]', f"self.prepare({', '.join(args)})")
        args = [*decoded, state, *([keyword] if keyword else []), "last_only=last_only"]
        method.lines.append(text.statement("return ", f"self.step({', '.join(args)})", 2))
        doc = "Reads prompts: the outputs (with `last_only` those of each sequence's last position) and the state for `step`."
        return self.owner.finish(method, "prefill", declared, self._result("dict"), doc)

    def _needed(self) -> set[str]:
        """The lengths that `prepare` takes: those its nodes use, and those it hands through to every step."""
        return (self._lengths_of(self.kept, None) - {self.own}) | set(self.others)

    def _lengths_of(self, nodes: list[Node], flow: Flow | None) -> set[str]:
        """Names of the lengths that nodes use, in step form (a flow) or in whole form."""
        plan = self.owner.plan
        found: set[str] = set()
        for node in nodes:
            if node.op not in CALLS:
                found |= probe(node, flow).lengths
                continue
            found |= plan.own_lengths(node, flow)
            for region, inner in plan.runs(node, flow):
                found |= plan.of(region, inner if plan.form(region, inner) else None).lengths
        return found

    def prepare(self) -> str:
        """What stays the same over all steps: the encoder, keys of its output."""
        if not self.prepared:
            return ""
        method = Method(self.owner, None, Needs(lengths=self._needed()))
        names = method.parameters(self.fixed)
        declared = ["self", *names, *method.extras()]
        nodes = [n for n in self.nodes if not moving(self.flow, n)]
        method.count(nodes, self.edge)
        for node in nodes:
            write_node(method, node)
        parts = [method.name(v) for v in self.edge] + [self.owner.plan.keyword(r) for r in self.others]
        parts += [method.size(symbol(s)) for s in self.sizes]
        method.line(f"return {text.tuple_of(parts)}")
        return self.owner.finish(method, "prepare", declared, "tuple", "What all steps share: results that depend on no decoded input.")

    def step(self) -> str:
        """New positions."""
        owner, flow = self.owner, self.flow
        method = Method(owner, flow, Needs(sizes=set()))
        names = []
        for value in self.decoded:
            names.append(method.scope.claim(value.name or "x"))
            method.source[id(value)] = names[-1]
        keyword = owner.plan.keyword(self.own) if self.own else None
        method.scope.taken |= {"last_only", "lengths", *(owner.plan.keyword(r) for r in self.others)}
        method.needs.lengths |= set(self.others)
        declared = ["self", *(f"{n}: Tensor" for n in names), "state: dict"]
        declared += [f"{keyword}: Tensor | None = None"] if keyword else []
        declared += ["last_only: bool = False"]
        method.line('clock = state["clock"]')
        axis = next(a for a in flow.place(self.decoded[0]).axes)
        method.line(f"clock.begin({names[0]}.shape[{axis}]{f', {keyword}' if keyword else ''})")
        self._unpack(method)
        write_assumptions(method)
        outputs = self.region.outputs
        method.count([n for n in self.nodes if n in self.moving or n not in self.kept], outputs)
        constant = [n for n in self.nodes if n not in self.moving and n not in self.kept]
        for node in constant:
            write_node(method, node)
        self._write_moving(method)
        results = [method.name(v) for v in outputs]
        method.line("clock.advance()")
        packed = results[0] if len(results) == 1 else f"({', '.join(results)})"
        method.line(f"return {packed}, state")
        doc = "New positions of each sequence: their outputs, and the state, which is updated in place."
        return owner.finish(method, "step", declared, self._result("dict"), doc)

    def _unpack(self, method: Method) -> None:
        targets = [method.fresh(v) for v in self.edge] + [self.owner.plan.keyword(r) for r in self.others]
        for name in self.sizes:
            method.handed_sizes[name] = method.size_names[name] = method.scope.claim(name)
            targets.append(method.size_names[name])
        if targets:
            method.line(f'{text.targets(targets)} = state["fixed"]')

    def _write_moving(self, method: Method) -> None:
        """The moving nodes; before the tail that works on each position alone, `last_only` keeps the last positions."""
        cut = self._cut()
        write_nodes(method, self.moving[:cut])
        crossing = self._crossing(self.moving[cut:])
        self.file.support.add("last_position")
        names = [(method.name(v), v) for v in crossing]
        method.line("if last_only:")
        method.indent += 1
        for name, value in names:
            axis = self.flow.place(value).axes[0]
            method.line(f"{name} = last_position({name}, clock, {axis})")
        method.indent -= 1
        write_nodes(method, self.moving[cut:])

    def _cut(self) -> int:
        cut = len(self.moving)
        while cut > 0 and self.owner.plan.pointwise_node(self.flow, self.moving[cut - 1]):
            cut -= 1
        while cut < len(self.moving) and len(self._crossing(self.moving[cut:])) > 2:
            cut += 1
        return cut

    def _crossing(self, tail: list[Node]) -> list[Value]:
        """Values along the decoded axis that the tail uses and does not make."""
        made = {id(v) for n in tail for v in n.outputs}
        used = [v for n in tail for v in reads(n)] + list(self.region.outputs)
        unique = {id(v): v for v in used if id(v) not in made and self.flow.place(v).axes}
        return list(unique.values())


def write_nodes(method: Method, nodes: list[Node]) -> None:
    for node in nodes:
        write_node(method, node)
