"""What must hold of every graph, as a table of rules. Run in tests, and before emission where ARCHDSL_VERIFY is set."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from archdsl.graph.ir import Graph, Instance, Node, Region, TensorType
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.base import types_differ
from archdsl.structural.reading import feeds

Rule = Callable[[Region], Iterator[str]]


def _ops_known(region: Region) -> Iterator[str]:
    for node in region.nodes:
        if node.op not in STRUCTURAL and node.op not in PRIMITIVES:
            yield f"{_at(node)}: there is no op `{node.op}`"
        if node.op in STRUCTURAL and node.instance is None:
            yield f"{_at(node)}: a structural node without an instance"


def _inputs_in_reach(region: Region) -> Iterator[str]:
    """A node reads the region's inputs, stand-ins of captured values, states, and what earlier nodes made."""
    seen = {*region.all_inputs, *(s.before for s in region.states)}
    for node in region.nodes:
        for i, value in enumerate(node.inputs):
            if value not in seen:
                yield f"{_at(node)}: input {i} ({value.name or value.type}) is not in reach here"
        seen.update(node.outputs)
    ends = [*region.outputs, *region.aux.values(), *region.taps.values(), *(s.after for s in region.states if s.after is not None)]
    for value in ends:
        if value not in seen:
            yield f"a result ({value.name or value.type}) is not made here"


def _outputs_typed(region: Region) -> Iterator[str]:
    for node in region.nodes:
        for i, value in enumerate(node.outputs):
            if value.node is not node or value.index != i or value.region is not region:
                yield f"{_at(node)}: output {i} does not point back to its node"
            if not isinstance(value.type, TensorType):
                yield f"{_at(node)}: output {i} has no type"


def _names_unique(region: Region) -> Iterator[str]:
    seen: set[str] = set()
    for node in region.nodes:
        if not node.occurrence or node.occurrence in seen:
            yield f"{_at(node)}: the occurrence {node.occurrence!r} is empty or used twice"
        seen.add(node.occurrence)
    for name, instance in region.instances.items():
        if instance.name != name:
            yield f"the instance {instance.name!r} is kept under {name!r}"
        if instance.owner is not region:
            yield f"the instance {name!r} is kept here but owned elsewhere"


def _instances_in_reach(region: Region) -> Iterator[str]:
    reach = {*region.instances.values(), *region.borrowed}
    for node in region.nodes:
        through = node.through
        parts = set(through.region.instances.values()) if through is not None and through.region is not None else set()
        for instance in [*([node.instance] if node.instance is not None else []), *node.borrowed]:
            if instance not in reach | parts:
                yield f"{_at(node)}: the instance {instance.name!r} is neither owned nor borrowed here"


def _calls_fit(region: Region) -> Iterator[str]:
    """Each region below gets as many values as it takes, of fitting types, and the instances it borrows in its order."""
    for node in region.nodes:
        for feed in feeds(node):
            given, wanted = feed.inputs, feed.wanted
            if len(given) != len(wanted):
                yield f"{_at(node)}: {feed.region.name} takes {len(wanted)} values, not {len(given)}"
                continue
            if [_made(i) for i in feed.borrowed] != [_made(i) for i in feed.region.borrowed]:
                yield f"{_at(node)}: the instances handed to {feed.region.name} are not the ones it borrows"
            if STRUCTURAL[node.op].keeps_types:
                yield from (f"{_at(node)}: {problem}" for problem in types_differ(given, wanted))


def _made(instance: Instance) -> tuple[str, str]:
    return instance.name, instance.op


def _operations_agree(region: Region) -> Iterator[str]:
    """What each structural operation says of its own nodes."""
    for node in region.nodes:
        if node.op in STRUCTURAL and node.instance is not None:
            yield from (f"{_at(node)}: {problem}" for problem in STRUCTURAL[node.op].problems(node))


def _captures_from_outside(region: Region) -> Iterator[str]:
    for outer, inner in region.captures:
        if outer.region is region or inner.region is not region:
            yield f"the capture {inner.name or inner.type} does not come from outside"


def _states_complete(region: Region) -> Iterator[str]:
    for state in region.states:
        if state.after is None:
            yield f"the state {state.name!r} has no next value"


RULES: tuple[Rule, ...] = (
    _ops_known,
    _inputs_in_reach,
    _outputs_typed,
    _names_unique,
    _instances_in_reach,
    _calls_fit,
    _operations_agree,
    _captures_from_outside,
    _states_complete,
)


def problems(graph: Graph) -> list[str]:
    """Every broken rule, with the path of the region it is broken in."""
    return [f"{path or graph.name}: {problem}" for path, region in graph.walk() for rule in RULES for problem in rule(region)]


def verify(graph: Graph) -> None:
    """Raises ValueError with all broken rules."""
    found = problems(graph)
    if found:
        raise ValueError("this graph is not well formed:\n" + "\n".join(found))


def _at(node: Node) -> str:
    return node.occurrence or node.op
