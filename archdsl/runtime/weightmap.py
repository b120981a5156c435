"""Weight maps: declared YAML that says where each weight of a spec lies in a published format, and which settings must agree.

    spec: SmolLM2
    gguf:
      architecture: llama
      config: { llama.embedding_length: d, llama.block_count: depth }
      weights:
        table.weight: token_embd.weight
        "layers.{i}.residual.f.Attention.q_proj.weight": { from: "blk.{i}.attn_q.weight", apply: [{ rotary_halves: { heads: heads } }] }

`{i}` stands for a number and means the same on both sides; `{i+1}` on the right shifts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from archdsl.diagnostics import ArchError, Diagnostic, Span, suggestion
from archdsl.runtime.transforms import TRANSFORM_NAMES, Transform
from archdsl.runtime.yamlfile import Place, parse_yaml, read_yaml

Format = Literal["gguf", "huggingface"]
_HOLE = re.compile(r"\{([a-z])(?:\+(\d{1,4}))?\}")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Rule(_Strict):
    """Where one weight comes from: one tensor, or several joined along an axis, then transforms in order."""

    source: list[str] = Field(alias="from", min_length=1, max_length=64)
    axis: int = 0
    apply: list[Transform] = Field(default=[], max_length=8)
    otherwise: str | None = None

    @field_validator("source", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("apply", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        return [_transform(item) for item in value] if isinstance(value, list) else value


class Section(_Strict):
    """The part of a map for one format.

    architecture: the families it serves. config: the file's setting -> a parameter of the spec, a number, or {value: …}. weights: the
    spec's name -> where it comes from. prefix: what some files put before every name. ignore: tensors of the file that are not needed.
    keep: weights of the spec that no file has. same: tensors that, if present, must equal another one (tied in the spec).
    """

    architecture: list[str] = Field(min_length=1, max_length=16)
    config: dict[str, int | float | str | dict[Literal["value"], int | float | str | bool]] = {}
    weights: dict[str, Rule]
    prefix: str = ""
    ignore: list[str] = []
    keep: list[str] = []
    same: dict[str, str] = {}

    @field_validator("architecture", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("weights", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: {"from": rule} if isinstance(rule, str | list) else rule for name, rule in value.items()}

    @cached_property
    def patterns(self) -> list[tuple[re.Pattern[str], str, Rule]]:
        return [(compile_pattern(name), name, rule) for name, rule in self.weights.items()]

    def find(self, name: str) -> tuple[str, Rule, dict[str, int]] | None:
        """The rule for a weight, with the numbers its holes stand for."""
        for pattern, written, rule in self.patterns:
            match = pattern.fullmatch(name)
            if match:
                return written, rule, {key: int(value) for key, value in match.groupdict().items()}
        return None


class MapFile(_Strict):
    spec: str | None = None
    gguf: Section | None = None
    huggingface: Section | None = None


@dataclass(frozen=True)
class WeightMap:
    """A checked map and where each of its lines stands."""

    name: str
    file: MapFile
    spans: Mapping[Place, Span] = field(repr=False, default_factory=dict)

    def section(self, format_: str) -> Section | None:
        return getattr(self.file, format_) if format_ in ("gguf", "huggingface") else None

    def span(self, *place: str | int) -> Span | None:
        """The span of a line of the map, or of the nearest enclosing one."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.spans:
                return self.spans[place[:length]]
        return None


def _transform(item: Any) -> Any:
    """`transpose` and `{split: {…}}` as the tagged form pydantic reads; anything else is left for it to refuse."""
    if isinstance(item, str):
        return {"kind": item}
    if isinstance(item, dict) and len(item) == 1:
        ((kind, options),) = item.items()
        if isinstance(options, dict) and "kind" not in options:
            return {"kind": kind, **options}
    return item


def compile_pattern(written: str) -> re.Pattern[str]:
    """`layers.{i}.f` as a regular expression in which each hole is a number (equal wherever its letter recurs)."""
    parts, seen, at = [], set(), 0
    for hole in _HOLE.finditer(written):
        parts.append(re.escape(written[at : hole.start()]))
        letter = hole.group(1)
        parts.append(f"(?P={letter})" if letter in seen else rf"(?P<{letter}>\d{{1,9}})")
        seen.add(letter)
        at = hole.end()
    return re.compile("".join(parts) + re.escape(written[at:]))


def fill(written: str, numbers: Mapping[str, int]) -> str:
    """A source name with its holes filled."""
    return _HOLE.sub(lambda hole: str(numbers[hole.group(1)] + int(hole.group(2) or 0)), written)


def load_weight_map(path: str | Path) -> WeightMap:
    """Reads and checks a map. Raises ArchError AD0804 with the line of each mistake."""
    data, spans = read_yaml(path, "AD0804")
    return _checked(str(path), data, spans)


def parse_weight_map(text: str, name: str = "<map>") -> WeightMap:
    """`load_weight_map` for a text at hand."""
    from archdsl.diagnostics import Source

    data, spans = parse_yaml(Source(name, text), "AD0804")
    return _checked(name, data, spans)


def shipped_maps() -> list[Path]:
    """Every map that lies beside a shipped spec."""
    from archdsl.share import share

    return sorted(share("specs").rglob("*.weights.yaml"))


def _checked(name: str, data: Any, spans: dict[Place, Span]) -> WeightMap:
    if not isinstance(data, dict):
        raise ArchError(Diagnostic("AD0804", "a weight map is a YAML mapping", spans.get(()), hint="Begin with `gguf:` or `huggingface:`."))
    try:
        file = MapFile.model_validate(data)
    except ValidationError as error:
        raise ArchError(*_explain(error, spans)) from None
    result = WeightMap(name, file, spans)
    problems = [problem for format_ in ("gguf", "huggingface") for problem in _holes(result, format_)]
    if problems:
        raise ArchError(*problems)
    return result


def _holes(map_: WeightMap, format_: str) -> Iterable[Diagnostic]:
    """Every hole on the right of a rule must also be on its left."""
    section = map_.section(format_)
    for written, rule in (section.weights if section else {}).items():
        known = {hole.group(1) for hole in _HOLE.finditer(written)}
        for source in [*rule.source, *([rule.otherwise] if rule.otherwise else [])]:
            for hole in _HOLE.finditer(source):
                if hole.group(1) not in known:
                    label = f"`{{{hole.group(1)}}}` does not occur in `{written}`"
                    yield Diagnostic("AD0804", "a source name has an unknown hole", map_.span(format_, "weights", written), label)


def _explain(error: ValidationError, spans: Mapping[Place, Span]) -> list[Diagnostic]:
    """pydantic's findings in our words, each at its line; one for each place."""
    found: dict[Place, Diagnostic] = {}
    for item in error.errors(include_url=False, include_context=True):
        loc = tuple(part for part in item["loc"] if part not in TRANSFORM_NAMES)
        place = next(loc[:n] for n in range(len(loc), -1, -1) if loc[:n] in spans)  # drops the names of union members
        if place in found:
            continue
        last, kind = str(loc[-1]) if item["type"] in ("extra_forbidden", "missing") else str(place[-1] if place else "map"), item["type"]
        span = spans.get((*place, ""), spans[place]) if kind == "extra_forbidden" else spans[place]
        found[place] = Diagnostic("AD0804", *_wording(kind, last, item, span))
    return list(found.values())


def _wording(kind: str, last: str, item: Any, span: Span) -> tuple[str, Span, str, tuple[()], str, str]:
    """Title, span, label, labels, note and hint of one finding."""
    hint = ""
    if kind == "extra_forbidden":
        title, hint = f"`{last}` means nothing here", suggestion(last, _FIELDS)
    elif kind == "missing":
        title = f"`{last}` is missing"
    elif kind == "union_tag_invalid":
        title, hint = "this transform is not known", f"Known: {', '.join(TRANSFORM_NAMES)}."
    elif kind == "union_tag_not_found":
        title = "a transform is a name, or one name with its options"
        hint = "For instance `apply: [transpose, {split: {axis: 0, parts: 3, part: 1}}]`."
    elif kind == "value_error":
        title = str(item["ctx"]["error"])
    else:
        title = f"`{last}` has a value of the wrong kind"
        if len(item["loc"]) and str(item["loc"][-1]) == last:
            hint = item["msg"].replace("Input should be", "It should be") + "."
    return title, span, "", (), "", hint


_FIELDS = sorted({alias for model in (MapFile, Section, Rule) for alias in (f.alias or n for n, f in model.model_fields.items())})
