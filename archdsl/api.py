"""The Python face of archdsl: `load`, `parse`, `build`, and the Spec they give."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archdsl.analysis.checked import Checked
from archdsl.analysis.contracts import check_contracts
from archdsl.analysis.witness import check_own
from archdsl.diagnostics import Diagnostic
from archdsl.elaboration.elaborate import elaborate, pick_arch
from archdsl.graph.ir import instances
from archdsl.language.loader import Loader, Namespace
from archdsl.primitives import TABLE
from archdsl.primitives.custom import load_wanted_plugins, own_primitives
from archdsl.share import share

if TYPE_CHECKING:
    import networkx
    import torch
    from torch import nn


@dataclass(eq=False)
class Spec(Checked):
    """A checked architecture. Everything but `build` and `emit` is known without torch."""

    loader: Loader
    overrides: dict[str, Any]
    noticed: list[Diagnostic] = field(default_factory=list)  # warnings met while elaborating; `warnings` has all

    @cached_property
    def warnings(self) -> list[Diagnostic]:
        """What is allowed and probably not meant; about scans and reversible repeats too."""
        from archdsl.compiler.inverse import reversible_warnings
        from archdsl.recurrence.advice import scan_warnings

        return [*self.noticed, *scan_warnings(self.graph, TABLE), *reversible_warnings(self.graph)]

    def at(self, **overrides: Any) -> Spec:
        """The same arch with some parameters set otherwise. Its contracts are not checked again."""
        return _spec(self.namespace, self.loader, self.name, {**self.overrides, **overrides}, None, False)

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
                from archdsl.runtime.pretrained import find_published
                from archdsl.runtime.weights import load_weights

                part = Checked(replace(self.graph, root=instance.region, arguments=instance.region.params), self.namespace)
                report = load_weights(model.get_submodule(path), find_published(instance.pretrained), spec=part)
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
    if os.environ.get("ARCHDSL_VERIFY") and own_primitives():
        check_own(done.graph)
    texts = [e.span.text for e in checked]
    return Spec(done.graph, namespace, loader, dict(overrides), done.warnings, contracts=texts)


__all__ = ["Spec", "build", "check_text", "find", "load", "parse", "pick_arch"]
