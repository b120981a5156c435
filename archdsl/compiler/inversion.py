"""Writing inverses: which regions need one, and the methods that compute them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.compiler import text
from archdsl.compiler.body import write_node
from archdsl.compiler.inverse import Inverse, Inverses, Obstacle, Step, random, reversible
from archdsl.compiler.method import Method, NodeEmitter
from archdsl.compiler.module import returned
from archdsl.compiler.names import identifier
from archdsl.compiler.plan import Plan, Probe, probe, shown_by
from archdsl.compiler.structure import CALLS, carried, feeds
from archdsl.graph.ir import Graph, Node, Region
from archdsl.primitives import TABLE

if TYPE_CHECKING:
    from archdsl.compiler.module import ModuleWriter

DOC = "What the model was given, found again from {}."


class Inversions:
    """The inverses of one file: of rounds that keep nothing while training, and of the whole model where it has one."""

    def __init__(self, graph: Graph, plan: Plan):
        self.plan, self.inverses = plan, Inverses()
        self.methods: dict[int, dict[tuple[int, ...], Inverse]] = {}  # id(region) -> the inverses to write
        self.repeats: set[int] = set()  # id(node) of repeats that keep nothing
        for _, region in graph.walk():
            for node in region.nodes:
                if node.op == "repeat" and node.attrs.get("reversible"):
                    found = reversible(node, self.inverses)
                    if not isinstance(found, Obstacle) and self._add(found):
                        self.repeats.add(id(node))
        whole = self.inverses.of(graph.root)
        if isinstance(whole, Inverse) and any(step.unknown for step in whole.steps):
            self._add([whole])

    def of(self, region: Region) -> list[Inverse]:
        """The inverses to write for a region."""
        return list(self.methods.get(id(region), {}).values())

    def draws(self, region: Region) -> list[str]:
        """The parts of a region that draw random numbers on the way back: it may meet them in another order."""
        nodes = {id(s.node): s.node for i in self.of(region) for s in i.steps if not s.unknown and random(s.node)}
        return [identifier(n.instance.name) for n in nodes.values() if n.op == "call" and n.instance is not None]

    def _add(self, found: list[Inverse]) -> bool:
        """Takes in inverses and those they go through; False, and nothing, if one needs a size that nothing it is given shows."""
        new: dict[int, Inverse] = {}
        waiting = list(found)
        while waiting:
            inverse = waiting.pop()
            if id(inverse) in new:
                continue
            if not self._readable(inverse):
                return False
            new[id(inverse)] = inverse
            waiting += [inner for step in inverse.steps for inner in self.inverses.below(step)]
        for inverse in new.values():
            self.methods.setdefault(id(inverse.region), {})[inverse.unknown] = inverse
        return True

    def _readable(self, inverse: Inverse) -> bool:
        wanted: set[str] = set()
        for step in inverse.steps:
            wanted |= self._sizes(step)
        return wanted <= shown_by(inverse.given) | self.plan.of(inverse.region, None).sizes

    def _sizes(self, step: Step) -> set[str]:
        node = step.node
        if node.op in CALLS:
            return set().union(*(self.plan.of(feed.region, None).sizes for feed in feeds(node)))
        if not step.unknown:
            return probe(node, None).sizes
        notes = Probe(node, None)
        names = [f"arg{i}" for i in range(len(node.inputs))]
        TABLE[node.op].solve(node, list(step.unknown), [f"out{i}" for i in range(len(node.outputs))], names, notes)
        return notes.symbols


def write_inverses(owner: ModuleWriter) -> list[str]:
    """The inverse methods of one class."""
    return [_Writer(owner, inverse).text() for inverse in owner.file.inversions.of(owner.region)]


class _Writer:
    """One inverse method."""

    def __init__(self, owner: ModuleWriter, inverse: Inverse):
        self.owner, self.inverse, self.region = owner, inverse, inverse.region
        self.inverses = owner.file.inversions.inverses
        self.method = Method(owner, None, owner.plan.of(self.region, None))

    def text(self) -> str:
        inverse, method = self.inverse, self.method
        root = self.region is self.owner.plan.graph.root
        method.given = inverse.given
        declared = ["self", *self._outputs(inverse.outputs if root else range(len(self.region.outputs)))]
        missing = {id(v) for v in inverse.wanted}
        declared += method.parameters([v for v in self.region.all_inputs if id(v) not in missing])
        declared += method.extras()
        named = ", ".join(d.partition(":")[0] for d in declared[1 : 1 + len(inverse.outputs)])
        for step in inverse.steps:
            method.count([] if step.unknown else [step.node], step.node.outputs if step.unknown else [])
        method.count([], inverse.wanted)
        for step in inverse.steps:
            self._step(step)
        method.lines.append(text.statement("return ", ", ".join(method.name(v) for v in inverse.wanted), method.indent))
        return self.owner.finish(method, inverse.name, declared, returned(inverse.wanted), DOC.format(named) if root else "")

    def _outputs(self, indices: range | tuple[int, ...]) -> list[str]:
        """Declares the outputs; one that stands twice is read the first time."""
        declared = []
        for i in indices:
            value = self.region.outputs[i]
            name = self.method.scope.claim(value.name or "y")
            self.method.source.setdefault(id(value), name)
            declared.append(f"{name}: Tensor")
        return declared

    def _step(self, step: Step) -> None:
        node, method = step.node, self.method
        if not step.unknown:
            write_node(method, node)
        elif node.op == "repeat":
            self._repeat(node)
        elif node.op in CALLS:
            self._call(step)
        else:
            outs = [method.name(v) for v in node.outputs]
            args = ["" if i in step.unknown else method.name(v) for i, v in enumerate(node.inputs)]
            texts = TABLE[node.op].solve(node, list(step.unknown), outs, args, NodeEmitter(method, node, False))
            for i, expression in zip(step.unknown, texts):
                method.assign(method.fresh(node.inputs[i]), expression)

    def _call(self, step: Step) -> None:
        from archdsl.compiler.structural import borrowed_by, call_text

        node, method = step.node, self.method
        (inner,) = self.inverses.below(step)
        assert node.instance is not None
        args = [method.name(v) for v in node.outputs] + [method.name(v) for i, v in enumerate(node.inputs) if i not in step.unknown]
        path = f"{method.instance(node.instance, node)}.{inner.name}"
        call = call_text(method, path, inner.region, None, args, borrowed_by(method, node), "")
        targets = [method.fresh(node.inputs[i]) for i in step.unknown]
        method.assign(", ".join(targets), text.tidy(call))

    def _repeat(self, node: Node) -> None:
        from archdsl.compiler.structural import borrowed_by, call_text, chosen_rounds, singular

        method, count = self.method, carried(node)
        outs, captured = [method.name(v) for v in node.outputs], [method.name(v) for v in node.inputs[count:]]
        names = [method.fresh(v) for v in node.inputs[:count]]
        method.assign(", ".join(names), ", ".join(outs))
        assert node.instance is not None
        item = method.temporary(singular(node.instance.name))
        method.line(f"for {item} in reversed({chosen_rounds(method, node)}):")
        method.indent += 1
        region = feeds(node)[0].region
        call = call_text(method, f"{item}.inverse", region, None, [*names, *captured], borrowed_by(method, node), "")
        method.assign(", ".join(names), text.tidy(call))
        method.indent -= 1


__all__ = ["Inversions", "write_inverses"]
