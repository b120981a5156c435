"""The depth program that a checked spec applies, read off its graph: through loops, repeats, choices and blocks alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from archdsl.graph.ir import Instance, Node, Region, Value, attributes
from archdsl.search.depth.program import Damped, Item, Program, canonical

_WRAPPERS = ("call", "loop", "repeat")


class NotAProgram(Exception):
    """The spec does something else between the two parts of its base. Says what."""


@dataclass(frozen=True, slots=True)
class Read:
    """What a graph applies. stack: the labelled repeat, None if no layer is applied at all."""

    program: Program
    stack: Instance | None


def read_program(root: Region) -> Read:
    """The program of an arch's root region. Raises NotAProgram."""
    reader = _Reader()
    parts = [i for i, node in enumerate(root.nodes) if node.through is not None]
    within = root.nodes[parts[0] : parts[-1] + 1] if parts else []
    nodes = [node for node in within if "indices" in attributes(node) or node.through is None]
    items = reader.chain(nodes, None)[0]
    return Read(canonical(items), reader.stack)


class _Reader:
    def __init__(self) -> None:
        self.stack: Instance | None = None

    def chain(self, nodes: Sequence[Node], values: Sequence[Value] | None) -> tuple[list[Item], Sequence[Value] | None]:
        """The items of nodes that hand on the carried values one after another, and the last values. values: what goes in, if known."""
        items: list[Item] = []
        for node in nodes:
            taken = node.inputs[: attributes(node).get("carried", len(node.inputs))]
            if values is not None and list(map(id, taken)) != list(map(id, values)):
                raise NotAProgram("the layers do not stand in one chain")
            items += self.node(node)
            values = node.outputs
        return items, values

    def node(self, node: Node) -> list[Item]:
        if "indices" in attributes(node):
            if self.stack is not None and node.instance is not self.stack:
                raise NotAProgram("it leads through more than one stack")
            self.stack = node.instance
            return list(node.attrs["indices"])
        if node.op not in _WRAPPERS or node.instance is None:
            raise NotAProgram(f"it applies `{node.op}` between the layers")
        if node.op == "repeat":
            rounds = node.instance.rounds or []
            return [item for region in rounds for item in self.region(region)]
        assert node.instance.region is not None
        body = self.region(node.instance.region)
        if node.op == "call":
            return body
        if node.attrs.get("until") is not None or not isinstance(node.attrs["count"], int):
            raise NotAProgram("a loop in it ends by itself, so it has no fixed depth")
        step = node.attrs.get("step")
        if step is None:
            return body * node.attrs["count"]
        return [Damped(exact(step), tuple(body))] * node.attrs["count"]

    def region(self, region: Region) -> list[Item]:
        items, values = self.chain(region.nodes, region.inputs)
        if list(map(id, values or ())) != list(map(id, region.outputs)):
            raise NotAProgram("a block in it gives back something else than its layers make")
        return items


def exact(step: float) -> Fraction:
    """The plain fraction that a step was written as, if it was."""
    plain = Fraction(step).limit_denominator(10_000)
    return plain if float(plain) == float(step) else Fraction(step)
