"""Finding the inverse of a region: the order in which its inputs follow from its outputs.

What is known spreads from both ends. A node whose inputs are known is computed as ever (the branch of a coupling); a node whose outputs are
known gives back the input that is missing, if its primitive says how (the sum of a coupling), and a call, a repeat or its rounds by an inverse
of their own. A product is undone by division: a factor must not be zero.
"""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.diagnostics.diagnostic import Diagnostic, Severity
from archdsl.graph.ir import Graph, Instance, Node, Region, Value
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.base import carried
from archdsl.structural.reading import feeds, goes_back, reads, transparent


@dataclass(frozen=True)
class Step:
    """One node of an inverse: computed forward (`unknown` empty), or solved for its inputs at these positions."""

    node: Node
    unknown: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Inverse:
    """How a region's inputs at the positions `unknown` follow; `outputs` are the positions of the outputs that takes."""

    region: Region
    unknown: tuple[int, ...]
    outputs: tuple[int, ...]
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        """The method that computes it."""
        return "inverse" if len(self.unknown) == len(self.region.inputs) else f"inverse_{'_'.join(map(str, self.unknown))}"

    @property
    def wanted(self) -> list[Value]:
        return [self.region.inputs[i] for i in self.unknown]

    @property
    def given(self) -> list[Value]:
        """What the method takes: the outputs, the inputs that are known, the captured values. Each value once."""
        region, missing = self.region, set(self.wanted)
        return list(dict.fromkeys([*(region.outputs[i] for i in self.outputs), *(v for v in region.all_inputs if v not in missing)]))


@dataclass(frozen=True)
class Obstacle:
    """Why there is no inverse: the node that cannot be undone, or None where the outputs do not determine the inputs."""

    node: Node | None
    reason: str

    def diagnostic(self, title: str, code: str = "AD0714", severity: Severity = "error", hint: str = "") -> Diagnostic:
        span = self.node.origin.span if self.node is not None else None
        via = self.node.origin.via if self.node is not None else ()
        return Diagnostic(code, title, span, self.reason if span else "", via, "" if span else self.reason, hint, severity=severity)


class Inverses:
    """The inverses of a graph's regions, each found once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Region, tuple[int, ...]], Inverse | Obstacle] = {}

    def of(self, region: Region, unknown: tuple[int, ...] | None = None) -> Inverse | Obstacle:
        """The inverse for the inputs at these positions (all of them by default), or what stands in its way."""
        wanted = tuple(range(len(region.inputs))) if unknown is None else unknown
        key = (region, wanted)
        if key not in self._found:
            self._found[key] = _Search(self, region, wanted).run()
        return self._found[key]

    def through(self, node: Node, unknown: list[int]) -> list[Inverse] | Obstacle:
        """The inverses that a structural node's inputs at these positions follow through, in the order they run."""
        regions = STRUCTURAL[node.op].undone(node, unknown)
        return self.each(regions) if regions is not None else Obstacle(node, f"`{said(node)}` cannot be undone")

    def each(self, regions: list[tuple[Region, tuple[int, ...]]]) -> list[Inverse] | Obstacle:
        """The inverses of several regions, or what stands in the way of the first that has none."""
        found: list[Inverse] = []
        for region, positions in regions:
            inverse = self.of(region, positions)
            if isinstance(inverse, Obstacle):
                return inverse
            found.append(inverse)
        return found

    def below(self, step: Step) -> list[Inverse]:
        """The inverses that solving a step goes through; [] for a primitive."""
        if not step.unknown or step.node.op not in STRUCTURAL:
            return []
        found = self.through(step.node, list(step.unknown))
        assert isinstance(found, list)
        return found


class _Search:
    """What is known in one region, and the steps that made it so."""

    def __init__(self, all_: Inverses, region: Region, unknown: tuple[int, ...]):
        self.all, self.region, self.unknown = all_, region, unknown
        missing = {region.inputs[i] for i in unknown} - set(region.outputs)
        self.known = {v for v in [*region.outputs, *region.all_inputs] if v not in missing}
        self.steps: list[Step] = []
        self.obstacle: Obstacle | None = None

    def run(self) -> Inverse | Obstacle:
        wanted = [self.region.inputs[i] for i in self.unknown]
        while not self.known.issuperset(wanted):
            if not (self._forward() or self._backward()):
                return self.obstacle or Obstacle(None, f"what `{self.region.name}` gives does not determine what it was given")
        steps, used = self._needed(wanted)
        outputs = tuple(i for i, v in enumerate(self.region.outputs) if v in used)
        return Inverse(self.region, self.unknown, outputs, steps)

    def _forward(self) -> bool:
        """Computes every node whose inputs are known."""
        changed = False
        for node in self.region.nodes:
            if self.known.issuperset([*node.inputs, *reads(node)]) and not self.known.issuperset(node.outputs):
                self._take(Step(node), node.outputs)
                changed = True
        return changed

    def _backward(self) -> bool:
        """Solves the last node whose outputs are known and whose inputs are not, if one can be."""
        refused: list[tuple[int, Obstacle]] = []
        for node in reversed(self.region.nodes):
            missing = [i for i, v in enumerate(node.inputs) if v not in self.known]
            if not missing or not self.known.issuperset(node.outputs):
                continue
            obstacle = self._refusal(node, missing)
            if obstacle is None:
                self._take(Step(node, tuple(missing)), [node.inputs[i] for i in missing])
                return True
            refused.append((len(missing), obstacle))
        self.obstacle = min(refused, key=lambda r: r[0])[1] if refused else None  # of one input: nothing else could have brought it
        return False

    def _take(self, step: Step, values: list[Value]) -> None:
        self.steps.append(step)
        self.known.update(values)

    def _refusal(self, node: Node, missing: list[int]) -> Obstacle | None:
        """Why a node cannot be solved for the inputs at these positions."""
        if len({node.inputs[i] for i in missing}) < len(missing):
            return Obstacle(node, f"`{said(node)}` takes the same value twice")
        if node.op in STRUCTURAL:
            found = self.all.through(node, missing)
            return found if isinstance(found, Obstacle) else None
        return None if PRIMITIVES[node.op].solvable(node, missing) else Obstacle(node, f"`{said(node)}` cannot be undone")

    def _needed(self, wanted: list[Value]) -> tuple[tuple[Step, ...], set[Value]]:
        """The steps that lead to the wanted values, in order, and every value they use."""
        used = set(wanted)
        made: set[Value] = set()
        kept: list[Step] = []
        for step in reversed(self.steps):
            node = step.node
            values = [node.inputs[i] for i in step.unknown] or node.outputs
            if used.isdisjoint(values):
                continue
            kept.append(step)
            made.update(values)
            others = [v for i, v in enumerate(node.inputs) if i not in step.unknown]
            used.update([*others, *node.outputs] if step.unknown else [*others, *reads(node)])
        return tuple(reversed(kept)), used - made


def said(node: Node) -> str:
    """A node as a spec calls it."""
    if node.op == "pointwise":
        return str(node.attrs.function).rstrip("_")
    if node.op == "act":
        return str(node.attrs.act.name)
    return STRUCTURAL[node.op].said(node) if node.op in STRUCTURAL else node.op


def random(node: Node) -> bool:
    """Whether running a node draws random numbers while training."""
    if node.op in PRIMITIVES:
        return PRIMITIVES[node.op].random(node)
    return any(random(inner) for feed in feeds(node) for inner in feed.region.nodes)


def reversible(node: Node, inverses: Inverses) -> list[Inverse] | Obstacle:
    """The inverses that a `reversible repeat` needs so that nothing but its first inputs and its results must be kept."""
    rounds = STRUCTURAL[node.op].undone(node, list(range(carried(node)))) or []
    found = inverses.each(rounds[:-1])  # the first round comes last, and what it was given is kept
    if isinstance(found, Obstacle):
        return found
    for region in dict.fromkeys(feed.region for feed in feeds(node)):
        if _has_aux(region):
            return Obstacle(None, f"`{region.name}` has a side loss, which is computed in the forward pass only")
    for inverse in found:
        drawn = _drawing(inverse, inverses)
        odd = _met_otherwise(drawn)
        if odd is not None:
            return Obstacle(odd, f"`{said(odd)}` draws in another order on the way back")
    return found


def _drawing(inverse: Inverse, inverses: Inverses) -> list[tuple[Region, Node]]:
    """Every use on the way back that draws random numbers, with the region it stands in."""
    drawn = []
    for step in inverse.steps:
        if not step.unknown and random(step.node):
            drawn.append((inverse.region, step.node))
        drawn += [one for inner in inverses.below(step) for one in _drawing(inner, inverses)]
    return drawn


def _met_otherwise(drawn: list[tuple[Region, Node]]) -> Node | None:
    """A use that would draw other numbers: one that is no part of its own while there are several, or a part that is used twice."""
    seen: dict[Instance, Node] = {}
    for region, node in drawn if len(drawn) > 1 else []:
        if transparent(node) is None or node.instance is None or node.instance.owner is not region:
            return node
        if seen.setdefault(node.instance, node) is not node:
            return node
    return None


def _has_aux(region: Region) -> bool:
    return bool(region.aux) or any(_has_aux(feed.region) for node in region.nodes for feed in feeds(node))


def reversible_warnings(graph: Graph) -> list[Diagnostic]:
    """`reversible repeat` whose rounds have no inverse: they keep what each round was given."""
    inverses, found = Inverses(), []
    for _, region in graph.walk():
        for node in region.nodes:
            if goes_back(node):
                obstacle = reversible(node, inverses)
                if isinstance(obstacle, Obstacle):
                    hint = "A round that adds to one part what a function makes of another can be undone: `return b, a + f(b)`."
                    found.append(obstacle.diagnostic("this `reversible repeat` keeps what each round was given", "AD0715", "warning", hint))
    return found
