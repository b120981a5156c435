"""Weights in and out of a built model: GGUF, Hugging Face folders, and archdsl's own safetensors files.

Loading looks at every name and shape first and changes the model only if they fit, so a failed load leaves it as it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from archdsl.diagnostics import ArchError, Diagnostic, Span, suggestion
from archdsl.runtime.fit import Plan, Unprefixed, check_config, compare, plan
from archdsl.runtime.gguf import GGUFFile
from archdsl.runtime.huggingface import HuggingFaceFolder, SafetensorsFile
from archdsl.runtime.pretrained import KNOWN, find_pretrained
from archdsl.runtime.transforms import FitError
from archdsl.runtime.unread import refuse_unread
from archdsl.runtime.weightmap import Section, WeightMap, load_weight_map, shipped_maps

if TYPE_CHECKING:
    from archdsl.analysis.checked import Checked


class Source(Protocol):
    """What every kind of weights file offers. `shapes` are those of the file; `read` gives one tensor on the CPU.

    `config` holds the settings that a map may compare, `settings` all of them.
    """

    format: str
    path: Path
    shapes: dict[str, tuple[int, ...]]

    @property
    def architecture(self) -> str | None: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    def read(self, name: str) -> torch.Tensor: ...
    def close(self) -> None: ...


@dataclass
class LoadReport:
    """What a load did.

    loaded: weights set. missing: the model's that the file lacks. unexpected: the file's that the model lacks. misfits: both have it, but
    it does not fit (with the reason). kept: left as initialised on purpose. unchecked: settings that could not be compared.
    """

    path: Path
    format: str
    map: str | None = None
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    misfits: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    numbers: int = 0
    seconds: float = 0.0
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return not (self.missing or self.unexpected or self.misfits)

    def __str__(self) -> str:
        from archdsl.runtime.fit import grouped

        by = f" by {Path(self.map).name}" if self.map else ""
        lines = [f"{len(self.loaded)} weights ({self.numbers:,} numbers) from {self.path.name}{by} in {self.seconds:.1f} s"]
        for title, names in (("left as initialised", self.missing + self.kept), ("not used from the file", self.unexpected)):
            lines += [f"{title}: {text}" for text in grouped(names)]
        lines += [f"does not fit: {name}: {why}" for name, why in self.misfits.items()]
        lines += [f"not compared: {text}" for text in self.unchecked]
        return "\n".join(lines)


def open_weights(path: str | os.PathLike[str]) -> GGUFFile | HuggingFaceFolder | SafetensorsFile:
    """Opens a .gguf file, a .safetensors file or a Hugging Face folder, told apart by what is there. Raises AD0801, AD0802."""
    path = Path(path)
    if path.is_dir():
        return HuggingFaceFolder(path)
    if path.suffix == ".gguf" and path.is_file():
        return GGUFFile(path)
    if path.suffix == ".safetensors" and path.is_file():
        return SafetensorsFile(path)
    if not path.exists():
        near = suggestion(path.name, _neighbours(path), "Check the path.")
        raise ArchError(Diagnostic("AD0801", f"there is no `{path}`", hint=near))
    note = "A pickle can run code when opened; it is never read." if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl") else ""
    hint = "Give a .gguf or .safetensors file, or a Hugging Face folder."
    raise ArchError(Diagnostic("AD0801", f"`{path}` is not a weights file", note=note, hint=hint))


def _neighbours(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def load_weights(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    map: WeightMap | str | Path | None = None,
    spec: Checked | None = None,
    spec_params: Mapping[str, Any] | None = None,
    strict: bool = True,
) -> LoadReport:
    """Sets a model's weights from a file.

    path: a .gguf file, a Hugging Face folder, a .safetensors file saved by `save_weights` (names equal), or a known name
    ("smollm2-135m"). map: where foreign names go; by default the one that fits best of the map beside the spec and the shipped maps.
    spec: what the model was built from; its arguments (or spec_params, `{"d": 576, …}`) are compared with the file's settings. With
    strict=False (an edited spec) what fits is loaded and the report lists the rest. Dtype and device of the model are kept; weights on
    the meta device are made on the CPU. Raises AD0801 to AD0806, AD0810 and AD0819.
    """
    start = time.perf_counter()
    source: Source = open_weights(find_pretrained(str(path)) if str(path) in KNOWN else path)
    try:
        names = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        chosen = _choose_map(source, names, map, spec)
        params = dict(spec_params if spec_params is not None else spec.arguments if spec is not None else {})
        report = LoadReport(source.path, source.format, chosen.name if chosen else None)
        section = chosen.section("gguf" if source.format == "gguf" else "huggingface") if chosen else None
        if section and section.prefix:
            source = Unprefixed(source, section.prefix)
        if chosen and section:
            report.unchecked = check_config(source, chosen, section, params, strict)
        report.unchecked += refuse_unread(source, section, strict)
        report.metadata = getattr(source, "metadata", {}) if source.format == "safetensors" else {}
        found = plan(source, names, section, params)
        compare(found, source, section, report)
        if strict and not report.complete:
            raise ArchError(_misfit(report, found, source, chosen))
        _fill(model, source, found, params, report)
    finally:
        source.close()
    report.seconds = time.perf_counter() - start
    return report


def _choose_map(source: Source, names: Mapping[str, Any], given: WeightMap | str | Path | None, spec: Checked | None) -> WeightMap | None:
    """The map to use; None means that names are equal."""
    if isinstance(given, WeightMap):
        return given
    if given is not None:
        return load_weight_map(given)
    equal = sum(name in source.shapes for name in names)
    if source.format == "safetensors" or equal * 2 > len(names):
        return None
    best: tuple[int, WeightMap] | None = None
    for path in dict.fromkeys([*_beside(spec), *shipped_maps()]):
        map_ = load_weight_map(path)
        section: Section | None = map_.section(source.format)
        if section and source.architecture in section.architecture:
            hits = sum(section.find(name) is not None for name in names)
            if hits and (best is None or hits > best[0]):
                best = (hits, map_)
    if best is None:
        raise ArchError(
            Diagnostic(
                "AD0810",
                "no weight map fits this file and this model",
                note=f"`{source.path.name}` is of the family `{source.architecture}`; no shipped map of it knows a name of this model.",
                hint="Write a map (see docs/weights.md) and give it as `map=…`.",
            )
        )
    return best[1]


def _beside(spec: Checked | None) -> list[Path]:
    """The map beside each file the spec was read from: `my.arch` has `my.weights.yaml`. Raises AD0603 for a link that leads elsewhere."""
    if spec is None:
        return []
    home = spec.namespace
    files = [*([] if home.path else [Path(home.source.name)]), *home.files()]  # a text is named by who gave it
    found = [path for file in files if os.path.isfile(path := file.with_suffix(".weights.yaml"))]
    for path in found:
        if not path.resolve().is_relative_to(path.parent.resolve()):
            raise ArchError(
                Diagnostic(
                    "AD0603",
                    f"the weight map `{path.name}` leads outside",
                    note=f"{path} is a link to a place outside the folder of the spec.",
                    hint="Copy the map beside the spec, or give it by hand: `map=…`.",
                )
            )
    return found


def _misfit(report: LoadReport, found: Plan, source: Source, map_: WeightMap | None) -> Diagnostic:
    """All that does not fit, in one diagnostic."""
    from archdsl.runtime.fit import grouped

    lines: list[str] = []
    for name, why in list(report.misfits.items())[:8]:
        lines.append(f"does not fit: {name}: {why}")
    if len(report.misfits) > 8:
        lines.append(f"… and {len(report.misfits) - 8} more that do not fit")
    options = report.unexpected or list(source.shapes)
    near = next((text for name in report.missing if (text := suggestion(found.wanted.get(name, name), options))), "")
    lines += [f"not in the file: {text}" for text in grouped(report.missing, 8)]
    lines += [f"not in the model: {text}" for text in grouped(report.unexpected, 8)]
    span: Span | None = None
    if map_:
        first = next((n for n in [*report.missing, *report.misfits] if n in found.rules), None)
        span = map_.span(source.format, "weights", found.rules[first], "") if first else None
    count = len(report.missing) + len(report.unexpected) + len(report.misfits)
    hint = f"{near} " if near else ""
    return Diagnostic(
        "AD0803",
        f"the weights in `{report.path.name}` do not fit this model ({count} differ, {len(found.sources)} fit)",
        span,
        note="\n".join(lines),
        hint=hint + "For an edited spec, load what fits with strict=False.",
    )


@torch.no_grad()
def _fill(model: nn.Module, source: Source, found: Plan, params: Mapping[str, Any], report: LoadReport) -> None:
    targets = model.state_dict(keep_vars=True)
    for name in found.sources:
        target = targets[name]
        try:
            values = found.read(source, name, params)
        except FitError as error:
            raise ArchError(Diagnostic("AD0803", f"the weight `{name}` cannot be made from this file", note=str(error))) from None
        if target.is_meta:
            _replace(model, name, values.to(target.dtype).contiguous())
        else:
            target.copy_(values)
        report.loaded.append(name)
        report.numbers += values.numel()


def _replace(model: nn.Module, name: str, values: torch.Tensor) -> None:
    owner_path, _, leaf = name.rpartition(".")
    owner = model.get_submodule(owner_path)
    if leaf in owner._parameters:
        old = owner._parameters[leaf]
        owner._parameters[leaf] = nn.Parameter(values, requires_grad=old is None or old.requires_grad)
    else:
        owner._buffers[leaf] = values
