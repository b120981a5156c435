"""Reading a graph of both kinds of operations: what a node uses, what feeds the regions below it, what values need."""

from __future__ import annotations

from collections.abc import Iterable

from archdsl.graph.ir import Node, Region, Value
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.structural import TABLE
from archdsl.structural.base import Feed


def feeds(node: Node) -> list[Feed]:
    """The regions a structural node runs, with what each receives; [] for a primitive."""
    return TABLE[node.op].feeds(node) if node.op in TABLE and node.instance is not None else []


def reads(node: Node) -> list[Value]:
    """The values a node's text uses."""
    return node.inputs if node.op in TABLE else PRIMITIVES[node.op].reads(node)


def live(region: Region, ends: Iterable[Value]) -> list[Node]:
    """The nodes that the given values need, in order."""
    wanted = set(ends)
    out = []
    for node in reversed(region.nodes):
        if not wanted.isdisjoint(node.outputs):
            out.append(node)
            wanted.update(reads(node))
    return out[::-1]


def transparent(node: Node) -> Region | None:
    """The region that a node runs once on its inputs as they are; None for any other node."""
    return node.instance.region if node.op in TABLE and TABLE[node.op].transparent and node.instance is not None else None


def goes_back(node: Node) -> bool:
    """Whether training is to go back through a node by inverses of its regions."""
    return node.op in TABLE and TABLE[node.op].goes_back(node)


__all__ = ["feeds", "goes_back", "live", "reads", "transparent"]
