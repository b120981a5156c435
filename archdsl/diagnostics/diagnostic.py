"""One Diagnostic type for every phase: what went wrong, where, why, and how to mend it.

Every phase collects diagnostics in a `Collector` and goes on where it safely can, so that one run reports several mistakes.
A phase that cannot go on raises `ArchError`. Nothing else may escape to a user for bad input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning"]

MAX_ERRORS = 20


@dataclass(frozen=True, eq=False)
class Source:
    """A text and the name it is shown under. Two sources are equal only if they are the same object."""

    name: str
    text: str
    _starts: list[int] = field(default_factory=list, repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column (both from 1) of a character offset."""
        import bisect

        if not self._starts:
            self._starts[:] = [0, *(i + 1 for i, c in enumerate(self.text) if c == "\n")]  # at one stroke: other threads may be reading
        line = bisect.bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of a line (from 1), without its newline."""
        self.position(0)
        start = self._starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)]


@dataclass(frozen=True)
class Span:
    """Characters [start, end) of a source."""

    source: Source
    start: int
    end: int

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """The span from this one's start to the other's end."""
        return Span(self.source, self.start, max(self.end, other.end))


@dataclass(frozen=True)
class Label:
    """A second place that explains the first: 'x comes from here', 'called here'."""

    span: Span
    text: str


@dataclass(frozen=True)
class Diagnostic:
    """One problem.

    title stands alone in a list; label says what is wrong at the span; labels show why (call chain, other side of a mismatch);
    note is one or two plain sentences; hint says how to mend it.
    """

    code: str
    title: str
    span: Span | None = None
    label: str = ""
    labels: tuple[Label, ...] = ()
    note: str = ""
    hint: str = ""
    severity: Severity = "error"

    def with_labels(self, *labels: Label) -> Diagnostic:
        """The same problem with further places appended (used while unwinding through calls)."""
        from dataclasses import replace

        return replace(self, labels=self.labels + labels)

    def to_json(self) -> dict[str, Any]:
        """Plain data for `--json`; lines and columns count from 1."""

        def place(span: Span | None) -> dict[str, Any] | None:
            if span is None:
                return None
            line, column = span.source.position(span.start)
            end_line, end_column = span.source.position(span.end)
            return {
                "file": span.source.name,
                "line": line,
                "column": column,
                "end_line": end_line,
                "end_column": end_column,
            }

        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "label": self.label,
            "place": place(self.span),
            "related": [{"place": place(item.span), "text": item.text} for item in self.labels],
            "note": self.note,
            "hint": self.hint,
        }


class ArchError(Exception):
    """Raised when a phase cannot go on. Carries every diagnostic found so far."""

    def __init__(self, *diagnostics: Diagnostic):
        self.diagnostics = list(diagnostics)
        super().__init__("; ".join(f"{d.code} {d.title}" for d in diagnostics))

    def __str__(self) -> str:
        from archdsl.diagnostics.render import render_all

        return render_all(self.diagnostics)


class Collector:
    """Gathers diagnostics over a run; `check()` raises if any is an error."""

    def __init__(self) -> None:
        self.diagnostics: list[Diagnostic] = []

    def add(self, diagnostic: Diagnostic) -> None:
        diagnostic = _tidied(diagnostic)
        if not any(_same_cause(diagnostic, known) for known in self.diagnostics):
            self.diagnostics.append(diagnostic)
        if len(self.errors) >= MAX_ERRORS:
            raise ArchError(*self.diagnostics)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "error"]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "warning"]

    def check(self) -> None:
        if self.errors:
            raise ArchError(*self.diagnostics)


def _same_cause(a: Diagnostic, b: Diagnostic) -> bool:
    """Equal, or the same complaint within the same expansion (q, k and v that all fail to split into heads): said once."""
    return a == b or (bool(a.labels) and (a.code, a.title, a.labels) == (b.code, b.title, b.labels))


def _tidied(diagnostic: Diagnostic) -> Diagnostic:
    """Drops labels that repeat the place of the problem, and folds a long run of equal ones (a recursion)."""
    from dataclasses import replace

    labels: list[Label] = []
    runs: dict[tuple[Span, str], int] = {}
    for label in diagnostic.labels:
        if label.span == diagnostic.span and label.text.startswith("in `"):
            continue
        key = (label.span, label.text)
        runs[key] = runs.get(key, 0) + 1
        if runs[key] == 1:
            labels.append(label)
    folded = tuple(Label(x.span, f"{x.text} (again and again)") if runs[(x.span, x.text)] > 2 else x for x in labels)
    return replace(diagnostic, labels=folded)
