"""Every rule of the graph's verifier holds for elaborated specs, and can be broken."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archdsl.compiler.verify import problems, verify
from archdsl.graph.ir import Graph, Value
from tests.compiler.specs import SPECS, graph


@pytest.mark.parametrize("name", SPECS)
def test_elaborated_graphs_are_well_formed(name: str) -> None:
    assert problems(graph(name)) == []


def _foreign_input(g: Graph) -> None:
    node = g.root.nodes[-1]
    node.inputs = [Value(node.inputs[0].type, g.root), *node.inputs[1:]]


def _unknown_op(g: Graph) -> None:
    g.root.nodes[0].op = "nonsense"


def _same_occurrence(g: Graph) -> None:
    g.root.nodes[0].occurrence = g.root.nodes[1].occurrence


def _lost_output(g: Graph) -> None:
    g.root.nodes[0].outputs[0].node = g.root.nodes[1]


def _renamed_instance(g: Graph) -> None:
    next(iter(g.root.instances.values())).name = "other"


def _lost_instance(g: Graph) -> None:
    g.root.instances.pop("table")


def _call_with_too_many(g: Graph) -> None:
    layer = g.root.instances["layers"].rounds[0]  # type: ignore[index]
    layer.nodes[0].inputs *= 2


def _carries_one_more(g: Graph) -> None:
    node = next(n for n in g.root.nodes if n.op == "repeat")
    node.attrs["carried"] = 2


def _result_from_nowhere(g: Graph) -> None:
    g.root.outputs = [Value(g.root.outputs[0].type, g.root)]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_foreign_input, "not in reach"),
        (_unknown_op, "no op `nonsense`"),
        (_same_occurrence, "used twice"),
        (_lost_output, "does not point back"),
        (_renamed_instance, "is kept under"),
        (_lost_instance, "neither owned nor borrowed"),
        (_call_with_too_many, "takes 1 values, not 2"),
        (_carries_one_more, "carries 2 values"),
        (_result_from_nowhere, "is not made here"),
    ],
)
def test_each_damage_is_found(damage: Callable[[Graph], None], said: str) -> None:
    g = graph("decoder")
    damage(g)
    assert any(said in problem for problem in problems(g))
    with pytest.raises(ValueError, match="not well formed"):
        verify(g)
