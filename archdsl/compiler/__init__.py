"""The compiler: graph -> readable Python source -> nn.Module. Nothing here imports torch until a module is built.

The functions import what they need when called: primitives import `archdsl.primitives.emitter`, and the writers import the primitives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    from archdsl.graph.ir import Graph

    Fill = Callable[[nn.Module], set[str]]


def emit(graph: Graph, hash_line: str = "") -> str:
    """A complete Python file for a graph: readable classes and the support they use. It runs with torch alone."""
    from archdsl.compiler.file import write

    return write(graph, hash_line)


def compile_graph(graph: Graph, source: str | None = None) -> type[nn.Module]:
    """The root class of a graph (of `source`, if its text is at hand already)."""
    from archdsl.compiler.building import compile_graph as make

    return make(graph, source)


def build(
    graph: Graph, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32", seed: int = 0, fill: Fill = lambda model: set()
) -> Any:
    """The nn.Module of a graph with its initial weights; the same seed gives the same weights.

    fill: sets weights from elsewhere before any is drawn, and names those that it has set, as in the model's state_dict.
    """
    from archdsl.compiler.building import build as make

    return make(graph, device, dtype, seed, fill=fill)


__all__ = ["build", "compile_graph", "emit"]
