"""The Python face of archdsl: `load`, `parse`, `build`, and the Spec they give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.analysis import cost
from archdsl.analysis.contracts import check_contracts
from archdsl.diagnostics import Diagnostic
from archdsl.elaboration.elaborate import decisions, elaborate, pick_arch
from archdsl.graph.ir import Assumption, Decision, Graph, instances, weights
from archdsl.language.loader import Loader, Namespace
from archdsl.primitives.custom import load_wanted_plugins
from archdsl.share import share

if TYPE_CHECKING:
    import networkx
    import torch
    from torch import nn


@dataclass(eq=False)
class Spec:
    """A checked architecture.

    Everything but `build` and `emit` is known without torch. `flops`, `state_bytes` and `activation_bytes` are numbers, or polynomials in the
    sizes that data brings (T, H, …) when these are not given.
    """

    graph: Graph
    namespace: Namespace
    loader: Loader
    overrides: dict[str, Any]
    noticed: list[Diagnostic] = field(default_factory=list)  # warnings met while elaborating; `warnings` has all
    contracts: list[str] = field(default_factory=list)  # the `expect` conditions that were checked and hold
    costs: cost.Costs = field(default_factory=cost.Costs)

    @property
    def name(self) -> str:
        return self.graph.name

    @cached_property
    def warnings(self) -> list[Diagnostic]:
        """What is allowed and probably not meant; about scans and reversible repeats too."""
        from archdsl.compiler.inverse import reversible_warnings
        from archdsl.recurrence.advice import scan_warnings

        return [*self.noticed, *scan_warnings(self.graph), *reversible_warnings(self.graph)]

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

    def at(self, **overrides: Any) -> Spec:
        """The same arch with some parameters set otherwise. Its contracts are not checked again."""
        return _spec(self.namespace, self.loader, self.name, {**self.overrides, **overrides}, None, False)

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

    def emit(self) -> str:
        """The Python source of the module: readable, and runnable with torch alone."""
        from archdsl.compiler import emit

        return emit(self.graph)

    def build(
        self,
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype = "float32",
        seed: int = 0,
        weights: str | os.PathLike[str] | None = None,
        strict: bool = True,
    ) -> nn.Module:
        """The nn.Module. `weights` is a .gguf or .safetensors file, a Hugging Face folder, or a name such as "smollm2-135m".

        Parts written as `pretrained(Arch, "name")` get their published weights, unless `weights` are given for the whole.
        """
        from archdsl.compiler import build as build_module

        def fill(model: Any) -> set[str]:
            if weights is None:
                return self._fill_pretrained(model)
            from archdsl.runtime.weights import load_weights

            model.weights_report = load_weights(model, weights, spec=self, strict=strict)
            return set(model.weights_report.loaded)

        model: nn.Module = build_module(self.graph, device, dtype, seed, fill)
        return model

    def _fill_pretrained(self, model: nn.Module) -> set[str]:
        """Loads the published weights of the parts written as `pretrained(Arch, "name")`; their names."""
        found: set[str] = set()
        for path, instance in instances(self.graph.root):
            if instance.pretrained is not None and instance.region is not None:
                from archdsl.runtime.weights import load_weights

                part = model.get_submodule(path)
                report = load_weights(part, instance.pretrained, spec=self, spec_params=instance.region.params)
                found |= {f"{path}.{name}" if path else name for name in report.loaded}
        return found

    def network(self) -> networkx.MultiDiGraph:
        """The whole architecture as one networkx graph, an operation a node (archdsl.analysis.network)."""
        from archdsl.analysis.network import network

        return network(self)

    def _repr_html_(self) -> str:
        from archdsl.analysis.views import html

        return html(self)

    def __repr__(self) -> str:
        given = ", ".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"<{self.name}({given}): {self.parameters:,} parameters>"


def _at(figure: Any, sizes: Mapping[str, int]) -> Any:
    missing = cost.symbols(figure) - sizes.keys()
    return figure if missing else cost.at(figure, sizes)


def load(
    path: str | os.PathLike[str],
    *,
    arch: str | None = None,
    decisions: Mapping[str, int] | None = None,
    contracts: bool = True,
    root: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Spec:
    """Reads, checks and elaborates a spec file. `overrides` set the arch's parameters: `load("gpt2.arch", d=1024)`.

    A path that does not exist but names a shipped spec ("language/smollm2.arch" or "smollm2") is taken from the library.
    Raises ArchError with everything found wrong.
    """
    loader = Loader(Path(root) if root is not None else None)
    return _spec(loader.load(find(path)), loader, arch, overrides, decisions, contracts)


def parse(
    text: str,
    *,
    name: str = "<text>",
    arch: str | None = None,
    decisions: Mapping[str, int] | None = None,
    contracts: bool = True,
    root: str | os.PathLike[str] | None = None,
    **overrides: Any,
) -> Spec:
    """Like `load`, for a spec given as text. Imports are looked up in `root`, if given, and in the library."""
    loader = Loader(Path(root) if root is not None else None)
    return _spec(loader.text(text, name), loader, arch, overrides, decisions, contracts)


def build(
    path: str | os.PathLike[str], *, device: str = "cpu", dtype: str = "float32", seed: int = 0, weights: Any = None, **overrides: Any
) -> Any:
    """`load(path, **overrides).build(…)` in one call."""
    return load(path, **overrides).build(device=device, dtype=dtype, seed=seed, weights=weights)


def find(path: str | os.PathLike[str]) -> Path:
    """A spec's file: the path itself, or a shipped spec by its path or bare name."""
    given = Path(path)
    if given.exists():
        return given
    library = share("specs")
    text = str(path)
    for candidate in (library / text, library / f"{text}.arch"):
        if candidate.is_file() and candidate.resolve().is_relative_to(library.resolve()):
            return candidate
    if "/" not in text and "\\" not in text:
        matches = sorted(p for p in library.rglob("*.arch") if p.stem == text.removesuffix(".arch"))
        if len(matches) == 1:
            return matches[0]
    return given


def check_text(text: str, root: Path | None = None, name: str = "spec.arch") -> Spec:
    """Checks a text as the command `archdsl check` would (the golden tests' entry point)."""
    loader = Loader(root)
    return _spec(loader.text(text, name), loader, None, {}, None, True)


def _spec(
    namespace: Namespace,
    loader: Loader,
    arch: str | None,
    overrides: Mapping[str, Any],
    decided: Mapping[str, int] | None,
    contracts: bool,
) -> Spec:
    load_wanted_plugins()
    done = elaborate(namespace, loader, arch, overrides, decided)
    checked = check_contracts(namespace, loader, done, arch, overrides) if contracts and not decided else []
    texts = [e.span.text for e in checked]
    return Spec(done.graph, namespace, loader, dict(overrides), done.warnings, texts)


__all__ = ["Spec", "build", "check_text", "find", "load", "parse", "pick_arch"]
