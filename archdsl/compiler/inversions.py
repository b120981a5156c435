"""Which inverses a file holds: of rounds that keep nothing while training, and of the whole model where it has one."""

from __future__ import annotations

from archdsl.compiler.inverse import Inverse, Inverses, Obstacle, Step, random, reversible
from archdsl.compiler.names import identifier
from archdsl.compiler.plan import Plan, shown_by
from archdsl.graph.ir import Graph, Node, Region
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import feeds, goes_back, transparent


class Inversions:
    """The inverses to write."""

    def __init__(self, graph: Graph, plan: Plan):
        self.plan, self.inverses = plan, Inverses()
        self._methods: dict[Region, dict[tuple[int, ...], Inverse]] = {}
        self.undone: set[Node] = set()  # reversible nodes that keep nothing
        for _, region in graph.walk():
            for node in region.nodes:
                if goes_back(node):
                    found = reversible(node, self.inverses)
                    if not isinstance(found, Obstacle) and self._add(found):
                        self.undone.add(node)
        whole = self.inverses.of(graph.root)
        if isinstance(whole, Inverse) and any(step.unknown for step in whole.steps):
            self._add([whole])

    def of(self, region: Region) -> list[Inverse]:
        """The inverses to write for a region."""
        return list(self._methods.get(region, {}).values())

    def draws(self, region: Region) -> list[str]:
        """The parts of a region that draw random numbers on the way back: it may meet them in another order."""
        nodes = dict.fromkeys(s.node for i in self.of(region) for s in i.steps if not s.unknown and random(s.node))
        return [identifier(n.instance.name) for n in nodes if transparent(n) is not None and n.instance is not None]

    def _add(self, found: list[Inverse]) -> bool:
        """Takes in inverses and those they go through; False, and nothing, if one needs a size that nothing it is given shows."""
        new: dict[Inverse, None] = {}
        waiting = list(found)
        while waiting:
            inverse = waiting.pop()
            if inverse in new:
                continue
            if not self._readable(inverse):
                return False
            new[inverse] = None
            waiting += [inner for step in inverse.steps for inner in self.inverses.below(step)]
        for inverse in new:
            self._methods.setdefault(inverse.region, {})[inverse.unknown] = inverse
        return True

    def _readable(self, inverse: Inverse) -> bool:
        wanted: set[str] = set()
        for step in inverse.steps:
            wanted |= self._sizes(step)
        return wanted <= shown_by(inverse.given) | self.plan.whole(inverse.region).needs.sizes

    def _sizes(self, step: Step) -> set[str]:
        node, texts = step.node, self.plan.texts
        if node.op in STRUCTURAL:
            return set().union(*(self.plan.whole(feed.region).needs.sizes for feed in feeds(node)))
        return (texts.solved(node, step.unknown) if step.unknown else texts.whole(node)).symbols


__all__ = ["Inversions"]
