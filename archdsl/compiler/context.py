"""One file being written: what its methods ask of the whole, and what they add to it."""

from __future__ import annotations

import re

from archdsl.compiler.inversions import Inversions
from archdsl.compiler.names import Scope, identifier
from archdsl.compiler.plan import Plan
from archdsl.graph.ir import Graph, Node, Region
from archdsl.primitives import library
from archdsl.structural import TABLE as STRUCTURAL


class Context:
    """Filled while classes are written, inner ones first.

    support: functions of the library that the text calls. definitions: generated functions and classes, by name. classes: the class of each
    region written so far. over_time: the nodes that run a region at every position, by region.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.plan = Plan(graph)
        self.inversions = Inversions(graph, self.plan)
        self.support: set[str] = set()
        self.definitions: dict[str, str] = {}
        self.classes: dict[Region, str] = {}
        self.globals = {*library.index(), "create"}
        self.has_aux = any(region.aux for _, region in graph.walk())
        self.over_time: dict[Region, list[Node]] = {}
        self.scope = Scope({*self.globals, "torch", "nn", "F", "math", "Tensor", "Any"})  # of top-level names

    def uses(self, regions: list[Region]) -> None:
        """Notes which nodes run a region over time."""
        for node in [n for region in regions for n in region.nodes]:
            if node.op in STRUCTURAL and STRUCTURAL[node.op].through_time and node.instance is not None and node.instance.region is not None:
                self.over_time.setdefault(node.instance.region, []).append(node)

    def define(self, name: str, source: str) -> str:
        """A generated top-level definition, written once (see primitives/emitter.py); the name it has."""
        identifier(name)
        for known, text in self.definitions.items():
            if text == _renamed(source, name, known):
                return known
        chosen = self.scope.claim(name)
        self.definitions[chosen] = _renamed(source, name, chosen)
        return chosen


def _renamed(source: str, old: str, new: str) -> str:
    """The definition under another name (it names itself in its first line only)."""
    first, newline, rest = source.strip("\n").partition("\n")
    lines = [first, *rest.split("\n")] if newline else [first]
    at = next(i for i, line in enumerate(lines) if re.match(rf"(class|def)\s+{re.escape(old)}\b", line))
    lines[at] = re.sub(rf"\b{re.escape(old)}\b", new, lines[at], count=1)
    return "\n".join(lines) + "\n"


__all__ = ["Context"]
