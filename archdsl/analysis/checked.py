"""A checked graph with what is known of it before anything is built: figures, promises that hold, tables and hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archdsl.analysis import cost
from archdsl.elaboration.elaborate import decisions
from archdsl.graph.ir import Assumption, Decision, Graph, instances, weights
from archdsl.language.loader import Namespace


@dataclass(eq=False)
class Checked:
    """What the views, differences and weights files ask of a spec; `archdsl.api.Spec` adds how it was made and how it is built.

    namespace: the file that it was read from. contracts: the `expect` conditions that were checked and hold.
    `flops`, `state_bytes` and `activation_bytes` are numbers, or polynomials in the sizes that data brings (T, H, …) when these are not given.
    """

    graph: Graph
    namespace: Namespace
    contracts: list[str] = field(default_factory=list, kw_only=True)
    costs: cost.Costs = field(default_factory=cost.Costs, kw_only=True)

    @property
    def name(self) -> str:
        return self.graph.name

    @property
    def doc(self) -> str | None:
        return self.graph.doc

    @property
    def arguments(self) -> dict[str, Any]:
        """The arch's parameters as they were set."""
        return self.graph.arguments

    @property
    def parameters(self) -> int:
        """Number of trainable parameters, exact, by formula."""
        return self.costs.parameters(self.graph.root)

    @property
    def buffers(self) -> int:
        """Numbers in the state dict that are not trained."""
        return self.costs.parameters(self.graph.root, False) - self.parameters

    def flops(self, **sizes: int) -> Any:
        """Forward FLOPs of one sequence (a multiply-add is 2), at the given sizes: `spec.flops(T=1024)`."""
        return _at(self.costs.flops(self.graph.root), sizes)

    def state_bytes(self, dtype: str = "float32", **sizes: int) -> Any:
        """Bytes that decoding keeps per sequence after T positions."""
        return _at(cost.state_bytes(self.graph.root, dtype), sizes)

    def activation_bytes(self, dtype: str = "float32", batch: int = 1, **sizes: int) -> Any:
        """Bytes kept for the backward pass."""
        return _at(cost.activation_bytes(self.graph, self.costs, dtype, batch), sizes)

    @property
    def causality(self) -> Any:
        """Whether outputs depend on later inputs, and which operations make them (archdsl.compiler.causality.Report)."""
        from archdsl.compiler.causality import causality

        return causality(self.graph)

    @property
    def assumptions(self) -> list[Assumption]:
        """Shape equations that are neither proved nor refuted; the module asserts them."""
        found: list[Assumption] = []
        for _, region in self.graph.walk():
            found += [a for a in region.assumptions if a not in found]
        return found

    @property
    def decisions(self) -> list[tuple[str, Decision]]:
        """What varies: every choice and domain with its path and what was taken."""
        return decisions(self.graph.root)

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Path -> shape of every weight, in state-dict order."""
        return {path: weight.shape for path, weight in weights(self.graph.root)}

    @property
    def instances(self) -> list[tuple[str, Any]]:
        """The instance table: path and instance."""
        return list(instances(self.graph.root))

    @property
    def structure_hash(self) -> str:
        """Equal for specs that compute the same, whatever their names (archdsl.analysis.canonical)."""
        from archdsl.analysis.canonical import structure_hash

        return structure_hash(self.graph)

    @property
    def interface_hash(self) -> str:
        """Equal for specs whose weights can be exchanged: structure, and the weights' names and shapes."""
        from archdsl.analysis.canonical import interface_hash

        return interface_hash(self.graph)


def graph_of(thing: Checked | Graph) -> Graph:
    """The graph of a spec, or the graph itself."""
    return thing if isinstance(thing, Graph) else thing.graph


def _at(figure: Any, sizes: Mapping[str, int]) -> Any:
    missing = cost.symbols(figure) - sizes.keys()
    return figure if missing else cost.at(figure, sizes)


__all__ = ["Checked", "graph_of"]
