"""YAML read strictly: size limit, no aliases, no tags, no duplicate keys; and where each value stands, for messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from archdsl.diagnostics import ArchError, Diagnostic, Source, Span

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16

Place = tuple[str | int, ...]


def read_yaml(path: str | Path, code: str) -> tuple[Any, dict[Place, Span]]:
    """Plain data of a YAML file, and the span of every key and value by its place, e.g. ("gguf", "weights", 0).

    Problems raise ArchError with the given code.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise ArchError(Diagnostic(code, f"cannot read `{path}`", note=str(error))) from None
    if text is None:
        raise ArchError(Diagnostic(code, f"`{path}` is too large", note=f"It has {size} bytes; at most {MAX_BYTES} are read."))
    return parse_yaml(Source(str(path), text), code)


def parse_yaml(source: Source, code: str) -> tuple[Any, dict[Place, Span]]:
    """`read_yaml` for a text at hand."""
    spans: dict[Place, Span] = {}
    try:
        for event in yaml.parse(source.text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                _fail(code, "aliases are not allowed here", _span(source, event), "Write the value out.")
        node = yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = min(mark.index, len(source.text)) if mark else 0
        _fail(code, f"this is not valid YAML: {error.problem}", Span(source, at, at + 1))
    except (yaml.YAMLError, RecursionError) as error:
        _fail(code, f"this is not valid YAML: {type(error).__name__}", Span(source, 0, 1))
    if node is None:
        return None, {(): Span(source, 0, 1)}
    return _plain(node, (), spans, source, code), spans


def _span(source: Source, node: Any) -> Span:
    return Span(source, node.start_mark.index, max(node.end_mark.index, node.start_mark.index + 1))


def _fail(code: str, title: str, span: Span, hint: str = "") -> Any:
    raise ArchError(Diagnostic(code, title, span, hint=hint))


def _plain(node: Any, place: Place, spans: dict[Place, Span], source: Source, code: str) -> Any:
    spans[place] = _span(source, node)
    if len(place) > MAX_DEPTH:
        _fail(code, "this is nested too deeply", spans[place], f"At most {MAX_DEPTH} levels are read.")
    if not node.tag.startswith("tag:yaml.org,2002:") or "/" in node.tag:
        _fail(code, f"the tag `{node.tag}` is not allowed", spans[place], "Leave it out.")
    if isinstance(node, yaml.ScalarNode):
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError):
            return _fail(code, "this value cannot be read", spans[place], "Put it in quotes if it is meant as text.")
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*place, i), spans, source, code) for i, item in enumerate(node.value)]
    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            _fail(code, "a key must be plain text", _span(source, key_node))
        key = key_node.value
        if key in found:
            _fail(code, f"`{key}` is given twice", _span(source, key_node), "Keep one of the two.")
        found[key] = _plain(value_node, (*place, key), spans, source, code)
        spans[(*place, key, "")] = _span(source, key_node)
    return found
