"""How structural nodes feed the regions below them: one place that knows the order of their inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from archdsl.graph.ir import Instance, Node, Region, Value
from archdsl.primitives import TABLE

CALLS = frozenset({"call", "repeat", "loop", "route", "skip", "train", "scan", "cell"})


@dataclass(frozen=True)
class Feed:
    """One region below a node. `inputs` follows region.all_inputs (None: made by the node itself, as a loop's index); `path` names it."""

    region: Region
    inputs: list[Value | None]
    borrowed: list[Instance]
    path: str


def feeds(node: Node) -> list[Feed]:
    """The regions a structural node runs, with what each receives; [] for a primitive."""
    if node.op not in CALLS or node.instance is None:
        return []
    return list(_FEEDS[node.op](node, node.instance))


def _call(node: Node, instance: Instance) -> Iterator[Feed]:
    assert instance.region is not None
    yield Feed(instance.region, list(node.inputs), node.borrowed, node.occurrence)


def _repeat(node: Node, instance: Instance) -> Iterator[Feed]:
    for i in rounds_of(node):
        yield Feed((instance.rounds or [])[i], list(node.inputs), node.borrowed, f"{node.occurrence}.{i}")


def _loop(node: Node, instance: Instance) -> Iterator[Feed]:
    assert instance.region is not None
    index: list[Value | None] = [None] if node.attrs.get("index") else []
    yield Feed(instance.region, index + list(node.inputs), node.borrowed, node.occurrence)


def _route(node: Node, instance: Instance) -> Iterator[Feed]:
    for i, region in enumerate(instance.rounds or []):
        yield Feed(region, [node.inputs[0], *node.inputs[2:]], node.borrowed, f"{node.occurrence}.{i}")


def _skip(node: Node, instance: Instance) -> Iterator[Feed]:
    assert instance.region is not None
    yield Feed(instance.region, [node.inputs[0], *node.inputs[2:]], node.borrowed, node.occurrence)


def _train(node: Node, instance: Instance) -> Iterator[Feed]:
    assert instance.region is not None
    training, otherwise = instance.region, node.attrs.get("otherwise")
    count, split = len(training.inputs), len(training.inputs) + node.attrs.get("split", len(training.captures))
    cut = node.attrs.get("split_borrowed", len(training.borrowed))
    first: list[Value | None] = list(node.inputs[:split])
    yield Feed(training, first, node.borrowed[:cut], node.occurrence)
    if otherwise is not None and otherwise.region is not None:
        inputs: list[Value | None] = [*node.inputs[:count], *node.inputs[split:]]
        yield Feed(otherwise.region, inputs, node.borrowed[cut:], otherwise.name)


def _scan(node: Node, instance: Instance) -> Iterator[Feed]:
    """Inputs and captures; the initial states given by the caller are not among them."""
    assert instance.region is not None
    count = len(instance.region.all_inputs)
    yield Feed(instance.region, list(node.inputs[:count]), handed(node), node.occurrence)


def _cell(node: Node, instance: Instance) -> Iterator[Feed]:
    """Inputs, captures, then states (written in the node as inputs, states, captures)."""
    region = instance.region
    assert region is not None
    count, states = len(region.inputs), len(region.states)
    given = node.inputs
    yield Feed(region, [*given[:count], *given[count + states :], *given[count : count + states]], handed(node), node.occurrence)


_FEEDS = {
    "call": _call,
    "repeat": _repeat,
    "loop": _loop,
    "route": _route,
    "skip": _skip,
    "train": _train,
    "scan": _scan,
    "cell": _cell,
}


def handed(node: Node) -> list[Instance]:
    """The borrowed instances to hand on to the region: without the node's own instance, which may itself be borrowed."""
    region = node.instance.region if node.instance is not None else None
    extra = len(node.borrowed) - len(region.borrowed) if region is not None else 0
    return node.borrowed[extra:] if extra == 1 and node.borrowed[0] is node.instance else node.borrowed


def rounds_of(node: Node) -> list[int]:
    """The rounds a repeat runs, in order: all of them, or those a depth program chose."""
    assert node.instance is not None
    chosen: list[int] | None = node.attrs.get("indices")
    return list(range(len(node.instance.rounds or []))) if chosen is None else chosen


def body_of(node: Node) -> Region:
    """The region of a structural node that has one."""
    assert node.instance is not None
    assert node.instance.region is not None
    return node.instance.region


def carried(node: Node) -> int:
    """How many leading inputs a repeat or loop hands from round to round."""
    return int(node.attrs.get("carried", len(node.outputs)))


def cell_outputs(region: Region) -> list[Value]:
    """What one step of a scan gives: the yields, then the new states that are not among them."""
    found = list(region.outputs)
    for state in region.states:
        if state.after is not None and all(state.after is not v for v in found):
            found.append(state.after)
    return found


def reads(node: Node) -> list[Value]:
    """The values a node's text uses."""
    return node.inputs if node.op in CALLS else TABLE[node.op].reads(node)


def live(region: Region, ends: Iterable[Value]) -> list[Node]:
    """The nodes that the given values need, in order."""
    wanted = {id(v) for v in ends}
    out = []
    for node in reversed(region.nodes):
        if any(id(v) in wanted for v in node.outputs):
            out.append(node)
            wanted.update(id(v) for v in reads(node))
    return out[::-1]
