"""Study files: YAML that says what to search and how. Plain data, checked key by key; it cannot name code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Source, Span, suggestion
from archdsl.search.settings import wrong

MAX_BYTES, MAX_DEPTH = 1 << 18, 12
Scalar = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Named(BaseModel):
    """A task or driver: its name alone, or a table of `name` and its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TrainingFile(_Strict):
    """How each candidate is trained; see TrainConfig. eval_every: by default a tenth of the steps."""

    steps: int = Field(default=300, ge=1, le=10_000_000)
    batch: int = Field(default=32, ge=1, le=1_000_000)
    lr: float = Field(default=1e-3, gt=0, le=1e6)
    warmup: int = Field(default=0, ge=0)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    final_lr: float = Field(default=0.1, ge=0, le=1)
    weight_decay: float = Field(default=0.1, ge=0)
    optimizer: Literal["adamw", "adam", "sgd", "rmsprop"] = "adamw"
    clip: float = Field(default=1.0, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    eval_every: int | None = Field(default=None, ge=1)
    eval_batches: int = Field(default=4, ge=1, le=100_000)
    device: str = "cpu"


class PruningFile(_Strict):
    """at: steps at which a trial may be stopped; keep: the share that goes on; after: trials that are spared at first; brackets: with more
    than one, some trials are spared the first steps of `at` (Hyperband)."""

    at: list[int] = Field(min_length=1)
    keep: float = Field(default=0.5, gt=0, lt=1)
    after: int = Field(default=4, ge=1)
    brackets: int = Field(default=1, ge=1, le=16)


class StudyFile(_Strict):
    """What a study file may say. Only `space` must be given."""

    space: str = Field(min_length=1)
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    arch: str | None = None
    set: dict[str, Scalar] = {}
    task: Annotated[Named | None, BeforeValidator(_named)] = None
    goals: Annotated[list[str], BeforeValidator(_listed)] = Field(default=["loss"], min_length=1, max_length=8)
    limits: Annotated[list[str], BeforeValidator(_listed)] = Field(default=[], max_length=32)
    budget: int | float | str = 50
    training: TrainingFile = TrainingFile()
    pruning: PruningFile | None = None
    driver: Annotated[Named, BeforeValidator(_named)] = Named(name="evolution")
    inherit: bool = False
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    jobs: int = Field(default=1, ge=1, le=1024)
    lag: int | None = Field(default=None, ge=1, le=4096)
    baselines: bool = True
    confirm: int = Field(default=3, ge=1, le=100)
    trial_seconds: float | None = Field(default=None, gt=0)
    storage: str | None = None


def read_study(path: Path) -> StudyFile:
    """The study of a file. Raises AD1032 for keys that are not known, AD1040 for what is no YAML or does not fit."""
    return parse_study(Source(str(path), read_text(path)))


def read_text(path: Path, shown: str | None = None) -> str:
    """A study file's text. Raises AD1040."""
    name = shown or str(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise wrong("AD1040", f"{name} is larger than {MAX_BYTES:,} bytes", hint="A study file is short; the space has its own file.")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise wrong("AD1040", f"cannot read {name}", note=error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise wrong("AD1040", f"{name} is not UTF-8 text", note=f"Byte {error.start} can't be read.") from None


def parse_study(source: Source) -> StudyFile:
    """The study that a text says."""
    marks: dict[tuple[Any, ...], tuple[Span, Span]] = {}
    data = _data(source, marks)
    try:
        return StudyFile.model_validate(data)
    except ValidationError as error:
        found = Collector()
        for problem in error.errors():
            found.add(_diagnostic(problem, marks, Span(source, 0, 0)))
        found.check()
        raise


def keys_of(place: tuple[Any, ...]) -> list[str]:
    """The keys that may stand in the table at a place of a study file."""
    kinds: dict[tuple[Any, ...], type[BaseModel]] = {(): StudyFile, ("training",): TrainingFile, ("pruning",): PruningFile}
    return list(kinds[place].model_fields) if place in kinds else []


def _data(source: Source, marks: dict[tuple[Any, ...], tuple[Span, Span]]) -> Any:
    """The plain data of a YAML text, and for each place its key's span and its value's. Raises AD1040."""
    try:
        depth = 0
        for event in yaml.parse(source.text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise _at("AD1040", "a study file has no anchors and aliases", _span(source, event), "Write the value out.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise _at("AD1040", "this study file is nested too deeply", _span(source, event), "")
        node = yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = min(mark.index, max(0, len(source.text) - 1)) if mark else 0
        title = f"this is not YAML: {error.problem or error.context}"
        raise _at("AD1040", title, Span(source, at, at + 1), "A study file is `key: value`, one a line.") from None
    except yaml.YAMLError as error:
        raise wrong("AD1040", f"{source.name} is not YAML", note=" ".join(str(error).split())[:200]) from None
    if not isinstance(node, yaml.MappingNode):
        raise wrong(
            "AD1040", f"{source.name} says nothing: a study file is a table of `key: value`", hint="The least is `space: FILE.arch`."
        )
    return _plain(source, node, (), marks)


def _plain(source: Source, node: Any, place: tuple[Any, ...], marks: dict[tuple[Any, ...], tuple[Span, Span]]) -> Any:
    if isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            marks[(*place, i)] = (_span(source, child), _span(source, child))
        return [_plain(source, child, (*place, i), marks) for i, child in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        table: dict[str, Any] = {}
        for key, child in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            if not name or name in table:
                raise _at("AD1040", f"`{name}` stands here twice" if name else "a key must be a word", _span(source, key), "")
            marks[(*place, name)] = (_span(source, key), _span(source, child))
            table[name] = _plain(source, child, (*place, name), marks)
        return table
    return _scalar(source, node)


def scalar(text: str) -> Any:
    """A value given on the command line, as a study file would read it: a number, true or false, else text."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float) else text


def _scalar(source: Source, node: Any) -> Any:
    try:
        value = yaml.SafeLoader("").construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        raise _at("AD1040", "this value cannot be read", _span(source, node), " ".join(str(error).split())[:120]) from None
    return value if value is None or isinstance(value, bool | int | float | str) else str(node.value)


def _span(source: Source, thing: Any) -> Span:
    start, end = thing.start_mark.index, thing.end_mark.index
    text = source.text[start:end].rstrip()
    return Span(source, start, max(start + 1, start + len(text.partition("\n")[0])))


def _at(code: str, title: str, span: Span, hint: str) -> ArchError:
    return ArchError(Diagnostic(code, title, span, hint=hint))


def _diagnostic(problem: Any, marks: Mapping[tuple[Any, ...], tuple[Span, Span]], top: Span) -> Diagnostic:
    place = tuple(problem["loc"])
    while place and place not in marks and problem["type"] != "missing":
        place = place[:-1]  # what pydantic adds for the members of a union
    name = str(place[-1]) if place else ""
    inner = f" in `{place[-2]}`" if len(place) > 1 and isinstance(place[-2], str) else ""
    if problem["type"] == "extra_forbidden":
        known = keys_of(place[:-1])
        hint = suggestion(name, known, f"There are {', '.join(known)}.")
        return Diagnostic("AD1032", f"a study file has no key `{name}`{inner}", marks[place][0], hint=hint)
    if problem["type"] == "missing":
        span = marks.get(place[:-1], (top, top))[0]
        return Diagnostic("AD1040", f"`{name}` is missing{inner}", span if len(place) > 1 else None, hint=f"Add `{name}: …`.")
    says = problem["msg"].removeprefix("Value error, ")
    says = says[:1].lower() + says[1:]
    title = f"`{name}` does not fit{inner}" if isinstance(place[-1] if place else 0, str) else "this does not fit"
    return Diagnostic("AD1040", title, marks[place][1] if place in marks else top, label=says)


def located(source: Source, place: tuple[Any, ...]) -> Span | None:
    """Where a value stands in a study file that was read."""
    marks: dict[tuple[Any, ...], tuple[Span, Span]] = {}
    try:
        _data(source, marks)
    except ArchError:
        return None
    return marks[place][1] if place in marks else None
