"""How a file's tensors and a model's weights go together: settings compared, names matched, shapes tried on the meta device."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.runtime.transforms import FitError, quantity
from archdsl.runtime.weightmap import Rule, Section, WeightMap, compile_pattern, fill

if TYPE_CHECKING:
    from archdsl.runtime.weights import LoadReport, Source


class Unprefixed:
    """A source whose names are shown without the prefix that some files put before them."""

    def __init__(self, source: Source, prefix: str):
        self._source, self._full = source, {name.removeprefix(prefix): name for name in source.shapes}
        self.format, self.path = source.format, source.path
        self.architecture, self.config, self.settings = source.architecture, source.config, source.settings
        self.shapes = {name: source.shapes[full] for name, full in self._full.items()}

    def read(self, name: str) -> torch.Tensor:
        return self._source.read(self._full[name])

    def close(self) -> None:
        self._source.close()


@dataclass
class Plan:
    """For each weight that can be set, the file's tensors it is made of; and what stands in the way of the others."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    made: dict[str, Rule] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)  # weight -> the map's line for it
    wanted: dict[str, str] = field(default_factory=dict)  # missing weight -> the name looked for in the file
    misfits: dict[str, str] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)

    def read(self, source: Source, name: str, params: Mapping[str, Any]) -> torch.Tensor:
        """The tensor for one weight. Raises FitError."""
        return _assemble([source.read(part) for part in self.sources[name]], self.made.get(name), params)


def plan(source: Source, names: Mapping[str, tuple[int, ...]], section: Section | None, params: Mapping[str, Any]) -> Plan:
    """Matches names and tries every shape; nothing is read."""
    found = Plan()
    shared = _shared(source)
    for name, shape in names.items():
        if section is None:
            parts, rule = [shared.get(name, name)], None
        else:
            match = section.find(name)
            if match is None:
                if any(compile_pattern(pattern).fullmatch(name) for pattern in section.keep):
                    found.kept.append(name)
                else:
                    found.wanted[name] = name
                continue
            found.rules[name], rule, numbers = match
            parts = _present(rule, numbers, source)
        absent = next((part for part in parts if part not in source.shapes), None)
        if absent is not None:
            found.wanted[name] = absent
            continue
        why = _try(parts, rule, shape, source, params)
        if why:
            found.misfits[name] = why
        else:
            found.sources[name] = parts
            if rule is not None:
                found.made[name] = rule
    return found


def _shared(source: Source) -> dict[str, str]:
    """Names that `save_weights` left out because another name holds the same tensor."""
    metadata = getattr(source, "metadata", {})
    return {key[len("shared:") :]: str(value) for key, value in metadata.items() if key.startswith("shared:")}


def _present(rule: Rule, numbers: Mapping[str, int], source: Source) -> list[str]:
    parts = [fill(part, numbers) for part in rule.source]
    if rule.otherwise and any(part not in source.shapes for part in parts):
        other = fill(rule.otherwise, numbers)
        return [other] if other in source.shapes else parts
    return parts


def _try(parts: list[str], rule: Rule | None, shape: tuple[int, ...], source: Source, params: Mapping[str, Any]) -> str | None:
    """Why a weight of this shape cannot be made of these tensors; None if it can."""
    inputs = [torch.empty(source.shapes[part], device="meta") for part in parts]
    stored = ", ".join(f"{part} {list(source.shapes[part])}" for part in parts)
    try:
        result = tuple(_assemble(inputs, rule, params).shape)
    except FitError as error:
        return f"{error} (the file has {stored})"
    except (RuntimeError, IndexError) as error:
        return f"the map does not suit {stored}: {str(error).splitlines()[0]}"
    if result == shape:
        return None
    became = f", which becomes {list(result)}" if rule is not None and (len(parts) > 1 or rule.apply) else ""
    return f"the model has {list(shape)}, the file has {stored}{became}"


def _assemble(inputs: list[torch.Tensor], rule: Rule | None, params: Mapping[str, Any]) -> torch.Tensor:
    if rule is None:
        return inputs[0]
    x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=rule.axis)
    for transform in rule.apply:
        x = transform.apply(x, params)
    return x


def compare(found: Plan, source: Source, section: Section | None, report: LoadReport) -> None:
    """Enters what is missing, unexpected and unfit into the report; checks tensors that the map says are the same."""
    report.missing = list(found.wanted)
    report.misfits = dict(found.misfits)
    report.kept = found.kept
    used = {part for parts in found.sources.values() for part in parts}
    # A tensor that a misfit names is not also "unexpected": one cause, one line.
    used |= {part for name in found.misfits for part in _rule_parts(name, section)}
    ignored = [compile_pattern(pattern) for pattern in (section.ignore if section else [])]
    same = section.same if section else {}
    for name in source.shapes:
        if name in used or any(pattern.fullmatch(name) for pattern in ignored):
            continue
        if name in same and same[name] in source.shapes:
            if not torch.equal(source.read(name), source.read(same[name])):
                report.misfits[name] = f"the spec ties it to {same[name]}, but in the file the two differ"
            continue
        report.unexpected.append(name)


def _rule_parts(name: str, section: Section | None) -> list[str]:
    match = section.find(name) if section else None
    return [fill(part, match[2]) for part in match[1].source] if match else [name]


def check_config(source: Source, map_: WeightMap, section: Section, params: Mapping[str, Any], strict: bool) -> list[str]:
    """Compares the file's settings with the spec's parameters. Returns what could not be compared; raises AD0805 on a difference."""
    unchecked: list[str] = []
    wrong: list[str] = []
    settings: list[str] = []
    first: str | None = None
    for key, expected in section.config.items():
        if key not in source.config:
            unchecked.append(f"{key} ({'not a plain value' if key in source.settings else 'not in the file'})")
            continue
        theirs = source.config[key]
        try:
            ours = expected["value"] if isinstance(expected, dict) else _number(expected, params)
        except FitError as error:
            unchecked.append(f"{key} ({error})")
            continue
        if not _equal(ours, theirs):
            first = first or key
            said = "the spec" if isinstance(expected, dict) or not isinstance(expected, str) else f"the spec's `{expected}`"
            wrong.append(f"{key} is {theirs} in the file, {said} is {ours}")
            if isinstance(expected, str) and expected in params:
                settings.append(f"--set {expected}={theirs}")
    if wrong and strict:
        raise ArchError(
            Diagnostic(
                "AD0805",
                f"the spec's parameters are not those of `{source.path.name}`",
                map_.span(section_name(source), "config", first or "", ""),
                note="\n".join(wrong),
                hint=f"Build with {' '.join(settings)}." if settings else "Use the spec and the map made for this model.",
            )
        )
    return unchecked + [f"{text} (differs)" for text in wrong]


def section_name(source: Source) -> str:
    return "gguf" if source.format == "gguf" else "huggingface"


def _number(expected: int | float | str, params: Mapping[str, Any]) -> Any:
    return expected if isinstance(expected, float) else quantity(expected, params)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, bool) or isinstance(theirs, bool) or isinstance(ours, str) or isinstance(theirs, str):
        return type(ours) is type(theirs) and ours == theirs
    if not isinstance(theirs, int | float):
        return False
    return math.isclose(ours, theirs, rel_tol=1e-6)  # GGUF keeps settings in float32


def grouped(names: Iterable[str], limit: int = 12) -> list[str]:
    """Names for people: equal ones that differ by one number in a run are one line, `layers.{0..29}.norm.weight (30)`."""
    groups: dict[str, list[int]] = {}
    for name in names:
        number = re.search(r"(?<=\.)\d+(?=\.)", name)
        key = f"{name[: number.start()]}\0{name[number.end() :]}" if number else name
        groups.setdefault(key, []).append(int(number.group()) if number else -1)
    lines = []
    for key, numbers in groups.items():
        if "\0" not in key:
            lines.append(key)
        elif len(numbers) == 1:
            lines.append(key.replace("\0", str(numbers[0])))
        else:
            run = sorted(numbers)
            text = f"{run[0]}..{run[-1]}" if run == list(range(run[0], run[-1] + 1)) else ",".join(map(str, run))
            lines.append(f"{key.replace(chr(0), '{' + text + '}')} ({len(run)})")
    return lines if len(lines) <= limit else [*lines[:limit], f"… and {len(lines) - limit} more"]
