"""A small pretty printer: documents of text, possible line breaks and groups, laid out to a width.

A group is printed on one line if it fits, else all its line breaks are taken (after Wadler, "A prettier printer", 2003). Whether a document
must break is known when it is made, and printing keeps its own stack, so deep documents need no recursion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Union

WIDTH = 110
INDENT = 4


@dataclass(frozen=True, slots=True)
class Line:
    """A place to break: flat it is `flat`; a hard one always breaks."""

    flat: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Suffix:
    """A comment put at the end of the line being printed; the line must break behind it."""

    text: str
    hard: bool = True


@dataclass(frozen=True, slots=True)
class IfFlat:
    """Text that is there only if the group around it stays on one line."""

    text: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class Concat:
    parts: tuple[Doc, ...]
    hard: bool


@dataclass(frozen=True, slots=True)
class Indent:
    content: Doc
    hard: bool


@dataclass(frozen=True, slots=True)
class Group:
    content: Doc
    hard: bool


Doc = Union[str, Line, Suffix, IfFlat, Concat, Indent, Group]

LINE = Line(" ")
SOFT = Line("")
HARD = Line("", hard=True)


def must_break(doc: Doc) -> bool:
    """Whether a document cannot be printed on one line."""
    return not isinstance(doc, str) and doc.hard


def concat(*parts: Doc) -> Doc:
    return Concat(parts, any(must_break(p) for p in parts))


def indent(*parts: Doc) -> Doc:
    content = concat(*parts)
    return Indent(content, must_break(content))


def group(*parts: Doc, broken: bool = False) -> Doc:
    """A group; `broken` breaks it (and so those around it) even if it would fit."""
    content = concat(*parts)
    return Group(content, broken or must_break(content))


def join(separator: Doc, parts: Iterable[Doc]) -> Doc:
    out: list[Doc] = []
    for part in parts:
        out += [separator, part] if out else [part]
    return concat(*out)


def flat_width(doc: Doc) -> int:
    """Columns of a document on one line."""
    width, stack = 0, [doc]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            width += len(item)
        elif isinstance(item, Line):
            width += len(item.flat)
        elif isinstance(item, IfFlat):
            width += len(item.text)
        elif isinstance(item, Concat):
            stack += item.parts
        elif not isinstance(item, Suffix):
            stack.append(item.content)
    return width


def flat(doc: Doc) -> str:
    """A document that need not break, as text of one line."""
    return layout(doc, width=1_000_000).rstrip("\n")


def layout(doc: Doc, width: int = WIDTH) -> str:
    """The text of a document; no line ends in a blank."""
    out: list[str] = []
    suffixes: list[str] = []
    column = 0
    stack: list[tuple[int, bool, Doc]] = [(0, False, doc)]  # indentation, flat, document
    while stack:
        depth, flat, item = stack.pop()
        if isinstance(item, str):
            out.append(item)
            column += len(item)
        elif isinstance(item, Concat):
            stack.extend((depth, flat, part) for part in reversed(item.parts))
        elif isinstance(item, Indent):
            stack.append((depth + INDENT, flat, item.content))
        elif isinstance(item, Group):
            fits = not item.hard and (flat or _fits(item.content, width - column, stack))
            stack.append((depth, fits, item.content))
        elif isinstance(item, Suffix):
            suffixes.append(item.text)
        elif isinstance(item, IfFlat):
            out.append(item.text if flat else "")
            column += len(item.text) if flat else 0
        elif flat and not item.hard:
            out.append(item.flat)
            column += len(item.flat)
        else:
            _break(out, suffixes)
            out.append(" " * depth)
            column = depth
    _break(out, suffixes)
    return "".join(out)


def _break(out: list[str], suffixes: list[str]) -> None:
    """Ends a line: trailing blanks go, waiting comments come."""
    while out and not out[-1].strip(" "):
        out.pop()
    if out:
        out[-1] = out[-1].rstrip(" ")
    for text in suffixes:
        out.append(f"  {text}")
    suffixes.clear()
    out.append("\n")


def _fits(doc: Doc, room: int, rest: list[tuple[int, bool, Doc]]) -> bool:
    """Whether a document on one line, and what follows it up to the next possible break, fits into `room` columns."""
    stack: list[tuple[bool, Doc]] = [(True, doc)]
    waiting = len(rest)
    while room >= 0:
        if not stack:
            if waiting == 0:
                return True
            waiting -= 1
            stack.append(rest[waiting][1:])
            continue
        flat, item = stack.pop()
        if isinstance(item, str):
            room -= len(item)
        elif isinstance(item, Concat):
            stack.extend((flat, part) for part in reversed(item.parts))
        elif isinstance(item, Line):
            if item.hard or not flat:
                return True
            room -= len(item.flat)
        elif isinstance(item, IfFlat):
            room -= len(item.text) if flat else 0
        elif isinstance(item, Group):
            stack.append((flat and not item.hard, item.content))
        elif isinstance(item, Indent):
            stack.append((flat, item.content))
    return False
