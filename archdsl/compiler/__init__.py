"""The compiler: graph -> readable Python source -> nn.Module. Nothing here imports torch until a module is built.

The functions import what they need when called: checking a spec needs no more than causality and inverses, and stays quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from archdsl.compiler.building import Fill
    from archdsl.graph.ir import Graph


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
