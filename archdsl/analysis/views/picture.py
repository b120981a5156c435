"""An architecture as nested boxes and edges, folded for the eye: what the pictures are drawn from.

Equal rounds of a repeat are one box with a count; calls, repeats, loops and the like are opened down to a depth; labelled parts of a pipe
are shown in place. A box that is open holds a scene of its own, whose inputs and outputs are ports on the box's border.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from archdsl.analysis import cost
from archdsl.analysis.matching import words
from archdsl.analysis.views.figures import Looks, part_name, short
from archdsl.analysis.views.table import what
from archdsl.graph.ir import Graph, Instance, Node, Region, Value
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.primitives.patterns import PatternAttrs

MAX_BOXES = 1500
SIGNS = {
    "add": "+", "sub": "−", "mul": "×", "div": "÷", "pow": "xʸ", "matmul": "@", "gt": ">", "lt": "<", "ge": "≥", "le": "≤", "neg": "−x",
}  # fmt: skip
_CATEGORIES = {
    "call": "block", "repeat": "block", "scan": "mixing", "cell": "mixing", "route": "control", "skip": "control", "loop": "control",
    "train": "control",
}  # fmt: skip


@dataclass(eq=False)
class Box:
    """One box.

    category colours it; times is "30 ×" on a folded repeat; scene is what an open box holds; sign makes it a small round one: +, ×.
    """

    id: str
    title: str
    detail: str
    category: str
    shared: bool = False
    times: str = ""
    scene: Scene | None = None
    sign: str = ""


@dataclass(eq=False)
class Edge:
    """A value: from a box's output (or the scene's input: None) to a box's input (or the scene's output: None)."""

    source: Box | None
    output: int
    target: Box | None
    input: int
    label: str


@dataclass(eq=False)
class Scene:
    """What is inside a box, or the whole picture."""

    inputs: list[str]
    outputs: list[str]
    boxes: list[Box] = field(default_factory=list)
    edges: list[Edge] = field(default_factory=list)

    def walk(self) -> Iterator[Box]:
        """Every box, outer ones first."""
        for box in self.boxes:
            yield box
            if box.scene is not None:
                yield from box.scene.walk()


Source = tuple["Box | None", int]


def picture(graph: Graph, depth: int = 2) -> Scene:
    """The scene of a graph with boxes opened `depth` levels down."""
    return _Builder(graph).scene(graph.root, depth, "")


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.costs = cost.Costs()
        self.looks = Looks()
        self.uses: dict[int, int] = {}
        for _, region in graph.walk():
            for node in region.nodes:
                for instance in [node.instance, *node.borrowed]:
                    if instance is not None:
                        self.uses[id(instance)] = self.uses.get(id(instance), 0) + 1
        self.count = 0

    def scene(self, region: Region, depth: int, prefix: str) -> Scene:
        scene = Scene([v.name or "" for v in region.all_inputs], [""] * len(region.outputs))
        known: dict[int, Source] = {id(v): (None, i) for i, v in enumerate(region.all_inputs)}
        for i, state in enumerate(region.states):
            known[id(state.before)] = (None, len(scene.inputs))
            scene.inputs.append(f"{state.name} (state {i + 1})" if len(region.states) > 1 else f"{state.name} (state)")
        self._fill(scene, region, known, depth, prefix)
        ends: list[tuple[Value, str]] = [(v, "") for v in region.outputs]
        ends += [(s.after, f"{s.name}′") for s in region.states if s.after is not None]
        scene.outputs = [name for _, name in ends]
        for i, (value, _) in enumerate(ends):
            source, output = known[id(value)]
            scene.edges.append(Edge(source, output, None, i, str(value.type)))
        return scene

    def _fill(self, scene: Scene, region: Region, known: dict[int, Source], depth: int, prefix: str) -> None:
        for node in region.nodes:
            inner = node.instance.region if node.op == "call" and node.instance is not None else None
            if inner is not None and (inner.kind == "pipe" or _thin(inner)):
                place = {id(v): known[id(w)] for v, w in zip(inner.all_inputs, node.inputs)}
                self._fill(scene, inner, place, depth, f"{prefix}{part_name(node)}.")
                known.update({id(out): place[id(v)] for out, v in zip(node.outputs, inner.outputs)})
                continue
            box = self._box(region, node, depth, prefix)
            scene.boxes.append(box)
            for port, value in zip(_ports(node), node.inputs):
                source, output = known[id(value)]
                scene.edges.append(Edge(source, output, box, port, str(value.type)))
            known.update({id(out): (box, i) for i, out in enumerate(node.outputs)})

    # ---- boxes ----

    def _box(self, region: Region, node: Node, depth: int, prefix: str) -> Box:
        self.count += 1
        instance = node.instance
        name = part_name(node)
        if instance is None and node.occurrence.rstrip("0123456789").rstrip("_") in (node.op, words(node)):
            name = words(node)  # the ordinal of an unnamed operation says nothing
        shared = instance is not None and self.uses.get(id(instance), 0) > 1 and self._weighty(instance)
        box = Box(f"b{self.count}", name, "", _category(node), shared)
        if node.op in ("pointwise", "matmul") and not node.borrowed:
            function, scalars = (node.attrs.function, node.attrs.scalars) if node.op == "pointwise" else (node.op, {})
            if function in SIGNS and not scalars:
                box.sign = SIGNS[function]
            box.title, box.detail = _formula(function, scalars), ""
            return box
        box.detail = self._detail(node, name)
        if node.op not in PRIMITIVES and instance is not None:
            self._open(box, node, instance, depth, prefix + name + ".")
        return box

    def _weighty(self, instance: Instance) -> bool:
        return self.costs.instance_parameters(instance, False) > 0

    def _detail(self, node: Node, name: str) -> str:
        kind = what(node)
        if node.op in ("repeat", "loop"):
            kind = "one set of weights" if node.op == "loop" else "reversible" if node.attrs.get("reversible") else name
        if isinstance(node.attrs, PatternAttrs):
            kind = node.attrs.pattern.replace("->", "→")
        said = [kind.removeprefix(f"{name}, ")] if kind not in (name, "pipe") else []
        if node.op == "attend":
            said.append("causal" if node.attrs.causal else "all positions")
        n = self.costs.instance_parameters(node.instance) if node.instance is not None else 0
        return " · ".join([*said, short(n)] if n else said)

    def _open(self, box: Box, node: Node, instance: Instance, depth: int, prefix: str) -> None:
        rounds = None
        if instance.rounds is not None:
            rounds = [instance.rounds[i] for i in node.attrs.get("indices", range(len(instance.rounds)))]
            box.times = f"{len(rounds)} ×"
        elif node.op == "loop":
            box.times = f"{node.attrs['count']} ×"
        if depth <= 0 or self.count > MAX_BOXES:
            return
        if rounds is None:
            if node.op == "train":
                box.scene = self._train(node, depth - 1, prefix)
            elif instance.region is not None:
                box.scene = self.scene(instance.region, depth - 1, prefix)
            return
        folded = self.looks.runs(rounds)
        if len(folded) == 1 or node.op == "route":
            box.scene = self.scene(rounds[0], depth - 1, prefix)
        else:
            box.scene = self._runs(node, folded, depth - 1, prefix)

    def _runs(self, node: Node, folded: list[tuple[int, int, Region]], depth: int, prefix: str) -> Scene:
        """Rounds that differ: a box for each run of equal ones, in a row."""
        carried = node.attrs["carried"]
        first = folded[0][2]
        scene = Scene([v.name or "" for v in first.all_inputs], [""] * carried)
        sources: list[Source] = [(None, i) for i in range(len(scene.inputs))]
        types = [v.type for v in first.all_inputs]
        for start, end, region in folded:
            self.count += 1
            n = self.costs.parameters(region)
            title = str(start) if start == end else f"{start}..{end}"
            detail = " · ".join(t for t in (_inside(region), short(n) if n else "") if t)
            box = Box(f"b{self.count}", title, detail, "block", False, f"{end - start + 1} ×" if end > start else "")
            if depth > 0 and self.count < MAX_BOXES:
                box.scene = self.scene(region, depth - 1, f"{prefix}{start}.")
            scene.boxes.append(box)
            scene.edges += [Edge(s, o, box, i, str(t)) for i, ((s, o), t) in enumerate(zip(sources, types))]
            sources = [(box, i) for i in range(carried)] + sources[carried:]
            types = [v.type for v in region.outputs] + types[carried:]
        scene.edges += [Edge(s, o, None, i, str(t)) for i, ((s, o), t) in enumerate(zip(sources[:carried], types))]
        return scene

    def _train(self, node: Node, depth: int, prefix: str) -> Scene:
        """Both sides of `train`, side by side."""
        assert node.instance is not None
        other = node.attrs["otherwise"]
        carried, split = node.attrs["carried"], node.attrs["split"]
        captures = range(carried, len(node.inputs))
        scene = Scene([v.name or "" for v in node.inputs], [""] * len(node.outputs))
        sides = [("while training", node.instance, captures[:split]), ("in evaluation", other, captures[split:])]
        for title, instance, captured in sides:
            self.count += 1
            box = Box(f"b{self.count}", title, "" if instance is not None else "unchanged", "control")
            if instance is not None and instance.region is not None:
                box.scene = self.scene(instance.region, depth, prefix)
            scene.boxes.append(box)
            reads = [*range(carried), *captured]
            scene.edges += [Edge(None, i, box, port, str(node.inputs[i].type)) for port, i in enumerate(reads)]
            scene.edges += [Edge(box, i, None, i, str(o.type)) for i, o in enumerate(node.outputs)]
        return scene


def _ports(node: Node) -> list[int]:
    """For each input of an operation the port of its opened box it arrives at; -1 for one that steers the operation (a router's scores)."""
    count = len(node.inputs)
    if node.op == "loop":
        return [i + 1 for i in range(count)] if node.attrs["index"] else list(range(count))
    if node.op in ("skip", "route"):
        return [0, -1, *range(1, count - 1)]
    if node.op in ("scan", "cell") and node.instance is not None and node.instance.region is not None:
        region = node.instance.region
        first, states = len(region.all_inputs), {s.name: i for i, s in enumerate(region.states)}
        if node.op == "cell":
            own = len(region.inputs)
            return [*range(own), *(first + i for i in range(len(states))), *range(own, first)][:count]
        given = {index: first + states[name] for name, index in (node.attrs.get("initial") or {}).items()}
        return [given.get(i, i) for i in range(count)]
    return list(range(count))


def _thin(region: Region) -> bool:
    """A body that is one call and no more: shown as what it calls."""
    return len(region.nodes) == 1 and region.nodes[0].op == "call" and region.outputs == region.nodes[0].outputs


def _inside(region: Region) -> str:
    """The blocks a round is made of, for a closed box."""
    names = []
    for node in region.nodes:
        if node.op == "call" and node.instance is not None and node.instance.region is not None:
            deep = node.instance.region
            while deep.kind == "pipe" or len(deep.instances) == 1:
                below = [i.region for i in deep.instances.values() if i.region is not None]
                if not below:
                    break
                deep = below[-1]
            names.append(deep.name)
    return ", ".join(names[:3])


def _formula(function: str, scalars: dict[int, object]) -> str:
    if not scalars or function not in SIGNS:
        return function
    left = _number(scalars[0]) if 0 in scalars else "x"
    right = _number(scalars[1]) if 1 in scalars else "x"
    return f"{left} {SIGNS[function]} {right}"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _category(node: Node) -> str:
    said = PRIMITIVES[node.op].category if node.op in PRIMITIVES else _CATEGORIES[node.op]
    return said or ("weights" if node.instance is not None and node.instance.weights else "plain")


# ---- leaves, for notations whose edges join leaves -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class LeafEdge:
    """An edge between closed boxes (or the picture's inputs and outputs: None), through the borders of open ones."""

    source: Box | None
    output: int
    target: Box | None
    input: int
    label: str


def leaf_edges(scene: Scene) -> list[LeafEdge]:
    """All edges of a picture with those that cross borders joined up."""
    found: dict[LeafEdge, None] = {}
    _collect(scene, {i: [(None, i)] for i in range(len(scene.inputs))}, found)
    return list(found)


def _collect(scene: Scene, inputs: dict[int, list[Source]], found: dict[LeafEdge, None]) -> dict[int, list[Source]]:
    """Joins the edges of a scene whose inputs come from leaves; returns the leaves its outputs come from."""
    arriving: dict[Box, dict[int, list[Edge]]] = {}
    ends: dict[int, list[Edge]] = {}
    for edge in scene.edges:
        place = ends if edge.target is None else arriving.setdefault(edge.target, {})
        place.setdefault(edge.input, []).append(edge)
    made: dict[tuple[Box, int], list[Source]] = {}

    def leaves(edge: Edge) -> list[Source]:
        if edge.source is None:
            return inputs.get(edge.output, [])
        return made.get((edge.source, edge.output), [])

    for box in scene.boxes:
        if box.scene is None:
            for i, edges in arriving.get(box, {}).items():
                for edge in edges:
                    found.update({LeafEdge(s, o, box, i, edge.label): None for s, o in leaves(edge)})
            made.update({(box, i): [(box, i)] for i in range(_outputs(scene, box))})
            continue
        within = {i: [s for edge in edges for s in leaves(edge)] for i, edges in arriving.get(box, {}).items()}
        for i, sources in _collect(box.scene, within, found).items():
            made[box, i] = sources
    result = {}
    for i, edges in ends.items():
        result[i] = [s for edge in edges for s in leaves(edge)]
    return result


def _outputs(scene: Scene, box: Box) -> int:
    return max((e.output + 1 for e in scene.edges if e.source is box), default=1)


def ends(scene: Scene) -> list[tuple[int, Source, str]]:
    """The leaves that the picture's outputs come from: (output, leaf, label)."""
    found: dict[LeafEdge, None] = {}
    result = _collect(scene, {i: [(None, i)] for i in range(len(scene.inputs))}, found)
    labels = {e.input: e.label for e in scene.edges if e.target is None}
    return [(i, s, labels.get(i, "")) for i, sources in result.items() for s in sources]


__all__ = ["Box", "Edge", "LeafEdge", "Scene", "ends", "leaf_edges", "picture"]
