"""The networkx views."""

from __future__ import annotations

import networkx
import pytest

import archdsl
from archdsl.analysis.network import network, region_network
from archdsl.diagnostics import ArchError


def test_flat_network_of_smollm2() -> None:
    spec = archdsl.load("smollm2")
    graph = spec.network()
    assert networkx.is_directed_acyclic_graph(graph)
    assert sum(d["parameters"] for _, d in graph.nodes(data=True)) == spec.parameters
    owners = {path.rpartition(".")[0] for path in spec.weight_shapes}
    assert {d["path"] for _, d in graph.nodes(data=True) if d["parameters"]} == owners
    assert networkx.has_path(graph, "in.tokens", "out.0")
    attend = graph.nodes["layers.7.residual.f.Attention.attend"]
    assert attend["op"] == "attend"
    assert [str(s) for s in attend["shapes"][0]] == ["9", "T", "64"]


def test_shared_instances_have_one_path() -> None:
    graph = network(archdsl.parse("arch A { in x: [T, 8]; f = linear(8); return f(f(x)) }"))
    uses = {n: d["path"] for n, d in graph.nodes(data=True) if d["op"] == "linear"}
    assert len(uses) == 2
    assert set(uses.values()) == {"f"}


def test_parallel_edges_and_places() -> None:
    graph = network(archdsl.parse("arch A { in x: [T, 8]; return x - x }"))
    edges = [d["input"] for _, to, d in graph.edges(data=True) if not to.startswith("out")]
    assert sorted(edges) == [0, 1]


def test_one_region() -> None:
    spec = archdsl.load("smollm2")
    graph = region_network(spec.graph.root)
    assert graph.nodes["layers"]["op"] == "repeat"
    assert len(graph.nodes["layers"]["bodies"]) == 30
    scan = archdsl.parse("scan s { in k: [n]; state S: [n] = 0; S' = 0.5 * S + k; yield S' }\narch A { in x: [T, 8]; return s(x) }")
    step = region_network(network(scan).nodes["s"]["bodies"][0])
    assert {"in.k", "in.S", "out.0", "out.S'"} <= set(step)


def test_too_long_for_a_flat_graph() -> None:
    spec = archdsl.parse("arch A { in x: [T, 8]; return x -> repeat 400 { repeat 400 { linear(8) } } }")
    with pytest.raises(ArchError) as caught:
        network(spec)
    assert caught.value.diagnostics[0].code == "AD0403"
