"""Diagnostics as text: title, source lines with the places marked, note and hint.

Colours are ANSI codes, and only on request: nothing else is imported, so that an error costs a run no start-up time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from archdsl.diagnostics.diagnostic import Diagnostic, Source, Span

WIDTH = 120  # columns of a source line shown; longer lines are cut around the mark
TAB = 4
_PAINT = {"error": "1;31", "warning": "1;33", "title": "1", "gutter": "34", "primary": "31", "secondary": "36", "hint": "32"}


@dataclass(frozen=True)
class _Mark:
    """A place to point at: columns [start, end) of a line as displayed."""

    source: Source
    line: int
    start: int
    end: int
    text: str
    primary: bool


def render_all(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """Several diagnostics, an empty line between two."""
    return "\n\n".join(render(d, color) for d in diagnostics)


def render(diagnostic: Diagnostic, color: bool = False) -> str:
    """One diagnostic in full, without a final newline. `color` adds ANSI codes and changes nothing else."""
    d = diagnostic
    head = _paint(f"{d.severity}[{d.code}]", d.severity, color) + _paint(f": {_clean(d.title)}", "title", color)
    marks = [_mark(d.span, d.label, True)] if d.span else []
    marks += [_mark(item.span, item.text, False) for item in d.labels]
    gutter = max((len(str(m.line)) for m in marks), default=1)
    lines = [head]
    for number, source in enumerate(_in_order(m.source for m in marks)):
        own = [m for m in marks if m.source is source]
        arrow = "-->" if number == 0 else ":::"
        column = _column(source, d.span.start) if number == 0 and d.span else None
        place = f"{_clean(source.name)}:{own[0].line}" + (f":{column}" if column else "")
        lines.append(_paint(f"{' ' * gutter}{arrow} ", "gutter", color) + place)
        lines += _snippet(own, gutter, color)
    remarks = [(word, text) for word, text in (("note", d.note), ("hint", d.hint)) if text]
    if marks and remarks:
        lines.append(" " * (gutter + 1) + _paint("|", "gutter", color))
    for word, text in remarks:
        lines += _remark(word, _clean(text), gutter, color)
    return "\n".join(line.rstrip() for line in lines)


def quoted(span: Span, text: str = "") -> list[str]:
    """The line of a place with a caret under it, as in a diagnostic."""
    mark = _mark(span, text, True)
    return [line.rstrip() for line in _snippet([mark], len(str(mark.line)), False)]


def _in_order(sources: Iterable[Source]) -> list[Source]:
    return list({id(s): s for s in sources}.values())


def _column(source: Source, offset: int) -> int:
    return source.position(offset)[1]


def _mark(span: Span, text: str, primary: bool) -> _Mark:
    source = span.source
    line, column = source.position(min(span.start, len(source.text)))
    end_line, end_column = source.position(min(max(span.end, span.start), len(source.text)))
    raw = source.line(line).rstrip("\r")
    stop = end_column - 1 if end_line == line else len(raw.rstrip())
    start = _width(raw[: column - 1])
    end = max(_width(raw[:stop]), start + 1)
    return _Mark(source, line, start, end, _clean(text), primary)


def _snippet(marks: list[_Mark], gutter: int, color: bool) -> list[str]:
    """The marked lines of one source in order of their numbers, each with one row per mark."""
    bar = _paint("|", "gutter", color)
    empty = f"{' ' * (gutter + 1)}{bar}"
    lines = [empty]
    previous = 0
    for number in sorted({m.line for m in marks}):
        if previous and number > previous + 1:
            lines.append(_paint("." * max(gutter, 3), "gutter", color))
        previous = number
        here = sorted((m for m in marks if m.line == number), key=lambda m: (not m.primary, m.start))
        text, shift = _cut(_display(here[0].source.line(number).rstrip("\r")), here[0])
        lines.append(f"{_paint(f'{number:>{gutter}}', 'gutter', color)} {bar} {text}")
        for mark in here:
            start = max(mark.start - shift, 0)
            length = max(min(mark.end - shift, WIDTH) - start, 1)
            sign = ("^" if mark.primary else "-") * length
            shown = _paint(f"{sign} {mark.text}".rstrip(), "primary" if mark.primary else "secondary", color)
            lines.append(f"{empty} {' ' * min(start, WIDTH)}{shown}")
    return lines


def _remark(word: str, text: str, gutter: int, color: bool) -> list[str]:
    """`= note: …`, wrapped at the width of a source line."""
    import textwrap

    head = f"{' ' * (gutter + 1)}= {word}: "
    rows = textwrap.wrap(text, WIDTH - len(head), break_long_words=False, break_on_hyphens=False) or [""]
    sign = f"{' ' * (gutter + 1)}{_paint('=', 'gutter', color)} {_paint(word, 'hint' if word == 'hint' else 'title', color)}: "
    return [sign + rows[0], *(" " * len(head) + row for row in rows[1:])]


# ---- display columns ----


def _char_width(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) == "Mn":
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _width(text: str) -> int:
    """Columns a text takes once displayed."""
    return sum(_char_width(c) for c in _display(text))


def _display(text: str) -> str:
    """A source line as shown: tabs as blanks, control characters as a replacement sign of one column."""
    if text.isascii() and text.isprintable():
        return text
    out: list[str] = []
    column = 0
    for char in text:
        if char == "\t":
            shown = " " * (TAB - column % TAB)
        elif not char.isprintable() and char != " ":
            shown = "\ufffd"
        else:
            shown = char
        out.append(shown)
        column += sum(_char_width(c) for c in shown)
    return "".join(out)


def _cut(text: str, mark: _Mark) -> tuple[str, int]:
    """The part of a long line around its mark, and how many columns were cut before it (less the sign put there)."""
    if len(text) <= WIDTH and _width(text) <= WIDTH:
        return text, 0
    first = max(mark.start - WIDTH // 3, 0) if mark.end > WIDTH - 10 else 0
    out: list[str] = []
    column = begun = taken = 0
    for char in text:
        width = _char_width(char)
        if column >= first:
            if not out:
                begun = column
            if taken + width > WIDTH - 2:
                out.append("…")
                break
            out.append(char)
            taken += width
        column += width
    return ("…" if begun else "") + "".join(out), begun - (1 if begun else 0)


def _clean(text: str) -> str:
    """Text from a user's file made safe for a terminal: no control characters, no escape sequences."""
    return text if text.isprintable() else "".join(c if c.isprintable() or c == " " else "\ufffd" for c in text.replace("\n", " "))


def _paint(text: str, role: str, color: bool) -> str:
    return f"\x1b[{_PAINT[role]}m{text}\x1b[0m" if color and text else text
