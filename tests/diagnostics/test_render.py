"""Diagnostics as text."""

from __future__ import annotations

import re

from archdsl.diagnostics import Diagnostic, Label, Source, Span
from archdsl.diagnostics.render import WIDTH, render, render_all

TEXT = "arch A {\n    y = x + h\n\tz = f(y)\n}\n"


def at(source: Source, word: str) -> Span:
    start = source.text.index(word)
    return Span(source, start, start + len(word))


def test_a_whole_diagnostic() -> None:
    source = Source("a.arch", TEXT)
    labels = (Label(at(source, "arch"), "in this arch"), Label(at(Source("b.arch", "block f = g\n"), "f"), "declared here"))
    d = Diagnostic("AD0301", "shapes differ", at(source, "x + h"), "[4] and [5]", labels, "A note.", "A hint.")
    assert render(d) == (
        "error[AD0301]: shapes differ\n"
        " --> a.arch:2:9\n"
        "  |\n"
        "1 | arch A {\n"
        "  | ---- in this arch\n"
        "2 |     y = x + h\n"
        "  |         ^^^^^ [4] and [5]\n"
        " ::: b.arch:1\n"
        "  |\n"
        "1 | block f = g\n"
        "  |       - declared here\n"
        "  |\n"
        "  = note: A note.\n"
        "  = hint: A hint."
    )


def test_without_a_place() -> None:
    assert render(Diagnostic("AD0904", "no such command", hint="Try `check`.", severity="warning")) == (
        "warning[AD0904]: no such command\n  = hint: Try `check`."
    )


def test_tabs_count_as_shown() -> None:
    source = Source("a.arch", TEXT)
    lines = render(Diagnostic("AD0001", "t", at(source, "f(y)"), "here")).splitlines()
    assert lines[3] == "3 |     z = f(y)"
    assert lines[4] == "  |         ^^^^ here"


def test_wide_and_combining_characters_keep_the_mark_in_place() -> None:
    source = Source("a.arch", '"中文" e\u0301 X')
    lines = render(Diagnostic("AD0001", "t", at(source, "X"), "here")).splitlines()
    assert lines[4] == "  | " + " " * 9 + "^ here"


def test_several_lines_are_shown_by_their_first() -> None:
    source = Source("a.arch", TEXT)
    lines = render(Diagnostic("AD0001", "t", Span(source, source.text.index("y ="), len(TEXT)), "all this")).splitlines()
    assert lines[3:] == ["2 |     y = x + h", "  |     ^^^^^^^^^ all this"]


def test_gaps_between_lines_and_wide_line_numbers() -> None:
    source = Source("a.arch", "\n" * 8 + "first\n\n\nlast\n")
    d = Diagnostic("AD0001", "t", at(source, "last"), "here", (Label(at(source, "first"), "there"),))
    assert render(d).splitlines()[1:] == [
        "  --> a.arch:12:1",
        "   |",
        " 9 | first",
        "   | ----- there",
        "...",
        "12 | last",
        "   | ^^^^ here",
    ]


def test_long_lines_are_cut_around_the_mark() -> None:
    source = Source("a.arch", "a + " * 100 + "X" + " + b" * 100)
    lines = render(Diagnostic("AD0001", "t", at(source, "X"), "here")).splitlines()
    text, mark = lines[3].removeprefix("1 | "), lines[4].removeprefix("  | ")
    assert len(text) <= WIDTH
    assert text[mark.index("^")] == "X"
    assert text.startswith("…")
    assert text.endswith("…")
    start = Source("a.arch", "X" + " + b" * 100)
    assert render(Diagnostic("AD0001", "t", at(start, "X"))).splitlines()[3].startswith("1 | X + b")


def test_what_a_user_wrote_cannot_drive_the_terminal() -> None:
    source = Source("a\x1b[31m.arch", "x\x1b[2J\x00\r y")
    shown = render(Diagnostic("AD0001", "bad \x1b[0m", Span(source, 0, 1), "\x07", note="\x1b]0;t\x07"))
    assert all(line.isprintable() for line in shown.split("\n"))


def test_colours_change_nothing_else() -> None:
    source = Source("a.arch", TEXT)
    d = Diagnostic("AD0301", "shapes differ", at(source, "x + h"), "here", (Label(at(source, "arch"), "there"),), "A note.", "A hint.")
    plain, coloured = render(d), render(d, color=True)
    assert plain != coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_long_notes_are_wrapped() -> None:
    lines = render(Diagnostic("AD0001", "t", note="word " * 60)).splitlines()
    assert len(lines) == 4
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[2].startswith("          word")


def test_several_are_parted_by_an_empty_line() -> None:
    one, two = Diagnostic("AD0001", "one"), Diagnostic("AD0002", "two")
    assert render_all([one, two]) == "error[AD0001]: one\n\nerror[AD0002]: two"
    assert render_all([]) == ""


def test_places_at_the_very_end() -> None:
    for text in ("", "x", "x\n", "\n\n"):
        source = Source("a.arch", text)
        assert "^" in render(Diagnostic("AD0001", "t", Span(source, len(text), len(text))))
        assert "^" in render(Diagnostic("AD0001", "t", Span(source, len(text) + 5, len(text) + 9)))
