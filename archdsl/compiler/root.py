"""Writing the root class: the whole form, and for models that can be decoded `prefill` and `step`."""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.body import write_assumptions, write_body, write_each
from archdsl.compiler.context import Context
from archdsl.compiler.flow import Flow
from archdsl.compiler.method import Method, returned
from archdsl.compiler.plan import Needs, NodeForm, kept, own_lengths, readings
from archdsl.graph.ir import Node, Value
from archdsl.graph.sizes import Poly, symbol
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import live, reads


def root_methods(context: Context) -> list[str]:
    """forward, and prefill, prepare, step where the model can be decoded."""
    methods = [_forward(context)]
    if context.plan.flow is not None:
        decoding = _Decoding(context, context.plan.flow)
        methods += [m for m in (decoding.prefill(), decoding.prepare(), decoding.step()) if m]
    return methods


def _forward(context: Context) -> str:
    root, plan = context.graph.root, context.plan
    method = Method(context, root, None, plan.whole(root).needs)
    values = method.parameters(root.all_inputs)
    method.needs.lengths.update(plan.ragged)  # every declared `lengths` may be given, used or not
    declared = ["self", *values, *method.extras()]
    if context.has_aux:
        context.support.add("clear_aux")
        with method.block("if self.training:"):
            method.line("clear_aux(self)")
    write_body(method)
    return method.definition("forward", declared, returned(root.outputs))


class _Decoding:
    """prefill, prepare and step share what is decoded, what is fixed, and what crosses between."""

    def __init__(self, context: Context, flow: Flow):
        self.context, self.plan, self.flow, self.region = context, context.plan, flow, context.graph.root
        context.support.add("Clock")
        self.nodes = live(self.region, self.region.outputs)
        self.moving = [n for n in self.nodes if flow.moves(n)]
        self.kept = [n for n in self.nodes if kept(flow, n)]
        self.decoded = [v for v in self.region.inputs if flow.place(v).moving]
        self.fixed = [v for v in self.region.inputs if not flow.place(v).moving]
        used = {*(v for n in self.moving for v in reads(n)), *self.region.outputs}
        self.edge = [v for v in [*self.fixed, *(v for n in self.kept for v in n.outputs)] if v in used]
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
        for node in [n for n in self.nodes if n not in self.kept]:
            if node.op not in STRUCTURAL:
                wanted |= self.plan.texts.of(node, self.flow).symbols
            else:
                wanted |= {s for run in self.plan.of(self.region, self.flow).runs[node] for s in self.plan.handed(run).sizes}
        return sorted(wanted & {name for name, value, _ in readings(self.region.all_inputs) if value in self.fixed})

    def _names(self) -> tuple[Method, list[str], list[str]]:
        """A method whose inputs are claimed, and the names of decoded and fixed inputs."""
        method = Method(self.context, self.region, self.flow, Needs())
        method.parameters(self.region.all_inputs)
        return method, [method.source[v] for v in self.decoded], [method.source[v] for v in self.fixed]

    def _result(self, tail: str) -> str:
        outputs = self.region.outputs
        return f"tuple[{returned(outputs)}, {tail}]"

    def prefill(self) -> str:
        """Reads whole prompts."""
        method, decoded, fixed = self._names()
        keyword = self.plan.keyword(self.own) if self.own else None
        names = [method.source[v] for v in self.region.inputs]
        options = [self.plan.keyword(r) for r in self.plan.ragged]
        declared = ["self", *(f"{n}: Tensor" for n in names), *(f"{o}: Tensor | None = None" for o in options), "last_only: bool = False"]
        state = "state"
        method.line(f'{state}: dict = {{"clock": Clock()}}')
        if self.prepared:
            needed = sorted(self._needed())
            args = [*fixed, *(self.plan.keyword(r) for r in needed)]
            method.assign(f'{state}["fixed"]', f"self.prepare({', '.join(args)})")
        args = [*decoded, state, *([keyword] if keyword else []), "last_only=last_only"]
        method.lines.append(text.statement("return ", f"self.step({', '.join(args)})", 2))
        doc = "Reads prompts: the outputs (with `last_only` those of each sequence's last position) and the state for `step`."
        return method.definition("prefill", declared, self._result("dict"), doc)

    def _needed(self) -> set[str]:
        """The lengths that `prepare` takes: those its nodes use, and those it hands through to every step."""
        return (self._lengths_of(self.kept, None) - {self.own}) | set(self.others)

    def _lengths_of(self, nodes: list[Node], flow: Flow | None) -> set[str]:
        """Names of the lengths that nodes use, in step form (a flow) or in whole form."""
        found: set[str] = set()
        for node in nodes:
            if node.op not in STRUCTURAL:
                found |= self.plan.texts.of(node, flow).lengths
                continue
            found |= own_lengths(STRUCTURAL[node.op].measured(node, NodeForm(self.plan, flow, node)))
            for run in self.plan.of(self.region, flow).runs[node]:
                found |= self.plan.handed(run).lengths
        return found

    def prepare(self) -> str:
        """What stays the same over all steps: the encoder, keys of its output."""
        if not self.prepared:
            return ""
        method = Method(self.context, self.region, None, Needs(lengths=self._needed()))
        names = method.parameters(self.fixed)
        declared = ["self", *names, *method.extras()]
        nodes = [n for n in self.nodes if not self.flow.moves(n)]
        method.count(nodes, self.edge)
        write_each(method, nodes)
        parts = [method.name(v) for v in self.edge] + [self.plan.keyword(r) for r in self.others]
        parts += [method.size(symbol(s)) for s in self.sizes]
        method.line(f"return {text.tuple_of(parts)}")
        return method.definition("prepare", declared, "tuple", "What all steps share: results that depend on no decoded input.")

    def step(self) -> str:
        """New positions."""
        flow, plan = self.flow, self.plan
        method = Method(self.context, self.region, flow, Needs())
        names = []
        for value in self.decoded:
            names.append(method.scope.claim(value.name or "x"))
            method.source[value] = names[-1]
        keyword = plan.keyword(self.own) if self.own else None
        method.scope.taken |= {"last_only", "lengths", *(plan.keyword(r) for r in self.others)}
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
        method.count([n for n in self.nodes if n not in self.kept], outputs)
        write_each(method, [n for n in self.nodes if n not in self.moving and n not in self.kept])
        self._write_moving(method)
        results = [method.name(v) for v in outputs]
        method.line("clock.advance()")
        packed = results[0] if len(results) == 1 else f"({', '.join(results)})"
        method.line(f"return {packed}, state")
        doc = "New positions of each sequence: their outputs, and the state, which is updated in place."
        return method.definition("step", declared, self._result("dict"), doc)

    def _unpack(self, method: Method) -> None:
        targets = [method.fresh(v) for v in self.edge] + [self.plan.keyword(r) for r in self.others]
        for name in self.sizes:
            method.handed_sizes[name] = method.size_names[name] = method.scope.claim(name)
            targets.append(method.size_names[name])
        if targets:
            method.line(f'{text.targets(targets)} = state["fixed"]')

    def _write_moving(self, method: Method) -> None:
        """The moving nodes; before the tail that works on each position alone, `last_only` keeps the last positions."""
        cut = self._cut()
        write_each(method, self.moving[:cut])
        crossing = self._crossing(self.moving[cut:])
        self.context.support.add("last_position")
        names = [(method.name(v), v) for v in crossing]
        with method.block("if last_only:"):
            for name, value in names:
                method.line(f"{name} = last_position({name}, clock, {self.flow.place(value).axes[0]})")
        write_each(method, self.moving[cut:])

    def _cut(self) -> int:
        cut = len(self.moving)
        while cut > 0 and self.plan.pointwise_node(self.flow, self.moving[cut - 1]):
            cut -= 1
        while cut < len(self.moving) and len(self._crossing(self.moving[cut:])) > 2:
            cut += 1
        return cut

    def _crossing(self, tail: list[Node]) -> list[Value]:
        """Values along the decoded axis that the tail uses and does not make."""
        made = {v for n in tail for v in n.outputs}
        used = dict.fromkeys([*(v for n in tail for v in reads(n)), *self.region.outputs])
        return [v for v in used if v not in made and self.flow.place(v).axes]
