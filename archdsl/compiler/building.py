"""From emitted source to a module: the text is compiled as it is shown, under a name that tracebacks and inspect can open."""

from __future__ import annotations

import hashlib
import linecache
import sys
import threading
import types
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from archdsl.compiler.file import write
from archdsl.compiler.names import camel
from archdsl.graph.ir import Graph

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from torch import nn

    Fill = Callable[[nn.Module], set[str]]

RECENT = 32  # modules kept although no model built from them lives: a search compiles thousands of candidates


@dataclass
class _Loaded:
    """A module, and the living models that `build` made from it."""

    module: types.ModuleType
    models: WeakSet[nn.Module] = field(default_factory=WeakSet)


_loaded: OrderedDict[str, _Loaded] = OrderedDict()  # the latest used last
_registering = threading.Lock()


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
    known = _loaded.get(name)
    if known is None:
        module = types.ModuleType(name)
        module.__file__ = filename
        module.__loader__ = _Loader(text)  # type: ignore[assignment]
        exec(compile(text, filename, "exec"), module.__dict__)
        known = _Loaded(module)
    with _registering:
        if name not in _loaded:
            sys.modules[name] = known.module
            linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        known = _loaded.setdefault(name, known)  # another thread may have been quicker
        _loaded.move_to_end(name)
        _forget()
    return known.module


def _forget() -> None:
    """Drops what was not used for long and has no living model; those that live need their module to be compiled or inspected."""
    unused = [name for name, loaded in _loaded.items() if not loaded.models]
    for name in unused[:-RECENT]:
        module = _loaded.pop(name).module
        sys.modules.pop(name, None)
        linecache.cache.pop(str(module.__file__), None)


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
    root = compile_graph(graph, text)
    model: Any = blank(root, device, kind)
    if known := _loaded.get(root.__module__):
        known.models.add(model)
    initialise_all(model, seed, fill(model))
    model.spec_source = text
    return model
