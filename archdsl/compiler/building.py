"""From emitted source to a module: the text is compiled as it is shown, under a name that tracebacks and inspect can open."""

from __future__ import annotations

import hashlib
import linecache
import sys
import types
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from archdsl.compiler.file import write
from archdsl.compiler.names import camel
from archdsl.graph.ir import Graph

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    Fill = Callable[[nn.Module], set[str]]

MAX_LOADED = 256  # a search compiles thousands of candidates; models already built live on when their module is forgotten
_loaded: OrderedDict[str, types.ModuleType] = OrderedDict()


def compile_graph(graph: Graph, source: str | None = None) -> type[nn.Module]:
    """The root class of a graph. The module it lives in has a name made from the hash of its source; equal sources share it."""
    text = write(graph) if source is None else source
    module = load_source(text, camel(graph.name))
    root: type[nn.Module] = vars(module)[module.create.__annotations__["return"]]
    return root


def load_source(text: str, title: str) -> types.ModuleType:
    """Runs emitted source as a module. Only text written by `emit` may come here."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    name, filename = f"archdsl_emitted.{title}_{digest}", f"<archdsl {title} {digest}>"
    if name in _loaded:
        _loaded.move_to_end(name)
        return _loaded[name]
    code = compile(text, filename, "exec")
    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
    module = types.ModuleType(name)
    module.__file__ = filename
    module.__loader__ = _Loader(text)  # type: ignore[assignment]
    exec(code, module.__dict__)
    sys.modules[name] = _loaded[name] = module
    while len(_loaded) > MAX_LOADED:
        old, dropped = _loaded.popitem(last=False)
        sys.modules.pop(old, None)
        linecache.cache.pop(str(dropped.__file__), None)
    return module


class _Loader:
    """Gives inspect the source of an emitted module."""

    def __init__(self, text: str):
        self.text = text

    def get_source(self, name: str) -> str:
        return self.text


def build(
    graph: Graph,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "float32",
    seed: int = 0,
    source: str | None = None,
    fill: Fill = lambda model: set(),
) -> Any:
    """The module of a graph with its initial weights (the same seed gives the same weights), on a device, in a dtype.

    `spec_source` on the module is the Python text it runs. fill: sets weights from elsewhere, and names those that need no first values:
    drawing them takes longer than reading them.
    """
    import torch

    from archdsl.compiler.support.creating import blank, initialise_all

    text = write(graph) if source is None else source
    kind = getattr(torch, dtype) if isinstance(dtype, str) else dtype
    model: Any = blank(compile_graph(graph, text), device, kind)
    initialise_all(model, seed, fill(model))
    model.spec_source = text
    return model
