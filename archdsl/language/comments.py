"""Where each comment of a text goes when the text is printed anew.

A comment at the end of a line stays with the item that ends there; a comment on its own line stays before the item that follows. Where
the printed form has no line to hold it, it moves to its statement. None is lost.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from archdsl.diagnostics import Source
from archdsl.language import syntax as s

_LEAD = re.compile(r"(?:\s|#[^\n]*|->|\||else)*")
_BLANK = re.compile(r"(?:\s|#[^\n]*)*")
_TAIL = re.compile(r"(?:[\s,]|#[^\n]*)*")


class Entry(NamedTuple):
    """A comment that takes a line of its own in a body or a file: sorted by `order`, blank lines judged at start and end."""

    order: int
    start: int
    end: int
    text: str


@dataclass
class _Anchor:
    """A node comments may stay with: a whole line (statement, declaration, import) or an item of a list, pipe, choice or conditional."""

    node: s.Node
    start: int
    end: int
    line: bool
    leads: bool


class Remarks:
    """The comments of a file by the node they stay with (nodes are compared by identity)."""

    def __init__(self, source: Source, file: s.File) -> None:
        self.text = source.text
        self.leading: dict[s.Node, list[str]] = {}
        self.trailing: dict[s.Node, list[str]] = {}
        self.heads: dict[s.Body, list[str]] = {}
        self.entries: dict[s.Body | s.File, list[Entry]] = {}
        self.file = file
        self.bodies: list[s.Body] = []
        self.anchors: list[_Anchor] = []
        self._collect(file)
        self.items = sorted((a for a in self.anchors if not a.line), key=lambda a: (a.start, -a.end))
        self.by_end = sorted(self.anchors, key=lambda a: (a.end, -a.start))
        for comment, body, around in self._places(file.comments):
            if comment.own_line:
                self._own_line(comment, body, around)
            else:
                self._at_end(comment, body, around)

    def line_between(self, start: int, end: int) -> bool:
        return "\n" in self.text[start:end]

    def blank_between(self, start: int, end: int) -> bool:
        return re.search(r"\n[ \t\r]*\n", self.text[start:end]) is not None

    # ---- anchors ----

    def _collect(self, root: s.Node) -> None:
        stack: list[Any] = [root]
        while stack:
            node = stack.pop()
            if isinstance(node, (list, tuple)):
                stack += node
            elif isinstance(node, s.Node):
                if isinstance(node, s.Body) and not (node.expression and node.expression.span.start == node.span.start):
                    self.bodies.append(node)
                bare = isinstance(node, (s.If, s.Pipe, s.Choice, s.Body))  # what stands around their parts are the parts' own parentheses
                for part, line, leads in _anchors(node):
                    start, end = self._with_parentheses(part) if bare else (part.span.start, part.span.end)
                    self.anchors.append(_Anchor(part, start, end, line, leads))
                stack += [getattr(node, f.name) for f in fields(node) if f.name not in ("span", "comments")]

    def _with_parentheses(self, node: s.Node) -> tuple[int, int]:
        start, end, text = node.span.start, node.span.end, self.text
        while True:
            before, behind = start - 1, _BLANK.match(text, end).end()  # type: ignore[union-attr]
            while before >= 0 and text[before].isspace():
                before -= 1
            if before < 0 or text[before] != "(" or not text.startswith(")", behind):
                return start, end
            start, end = before, behind + 1

    # ---- placing ----

    def _places(self, comments: list[s.Comment]) -> Iterator[tuple[s.Comment, s.Body | None, _Anchor | None]]:
        """Each comment with the innermost body around it and the line around it within that body, in one sweep over the text."""
        spans: list[tuple[int, int, s.Body | _Anchor]] = [(b.span.start, -b.span.end, b) for b in self.bodies]
        spans += [(a.start, -a.end, a) for a in self.anchors if a.line]
        spans.sort(key=lambda item: item[:2], reverse=True)
        open_spans: list[tuple[int, s.Body | _Anchor]] = []
        for comment in comments:
            offset = comment.span.start
            while spans and spans[-1][0] < offset:
                start, end, thing = spans.pop()
                while open_spans and open_spans[-1][0] <= start:
                    open_spans.pop()
                open_spans.append((-end, thing))
            while open_spans and open_spans[-1][0] <= offset:
                open_spans.pop()
            body = next((t for _, t in reversed(open_spans) if isinstance(t, s.Body)), None)
            innermost = open_spans[-1][1] if open_spans else None
            yield comment, body, innermost if isinstance(innermost, _Anchor) else None

    def _at_end(self, comment: s.Comment, body: s.Body | None, around: _Anchor | None) -> None:
        offset = comment.span.start
        before = offset - 1
        while before >= 0 and self.text[before] in " \t":
            before -= 1
        if body and before == body.span.start:
            self.heads.setdefault(body, []).append(comment.text)
            return
        best = self._ending(offset)
        if best and not self.line_between(best.end, offset) and not self.text[best.end : offset].strip(" \t,;"):
            self.trailing.setdefault(best.node, []).append(comment.text)
        elif around and not isinstance(around.node, (s.BlockDecl, s.ScanDecl)):
            self.trailing.setdefault(around.node, []).append(comment.text)
        else:
            self._entry(comment, body, around)

    def _own_line(self, comment: s.Comment, body: s.Body | None, around: _Anchor | None) -> None:
        if around is None:
            self._entry(comment, body, None)
            return
        index = bisect_left(self.items, comment.span.end, key=lambda a: a.start)
        following = self.items[index] if index < len(self.items) else None
        if following and following.leads and _LEAD.fullmatch(self.text, comment.span.end, following.start):
            self.leading.setdefault(following.node, []).append(comment.text)
            return
        before = self._ending(comment.span.start)
        if before and not before.line and before.start > around.start and _TAIL.fullmatch(self.text, before.end, comment.span.start):
            self.trailing.setdefault(before.node, []).append(comment.text)
        else:
            self._entry(comment, body, around)

    def _ending(self, offset: int) -> _Anchor | None:
        """The outermost of the anchors that end last before an offset."""
        index = bisect_right(self.by_end, offset, key=lambda a: a.end)
        return self.by_end[index - 1] if index else None

    def _entry(self, comment: s.Comment, body: s.Body | None, around: _Anchor | None) -> None:
        start, end = comment.span.start, comment.span.end
        entry = Entry(around.start, around.start, around.start, comment.text) if around else Entry(start, start, end, comment.text)
        self.entries.setdefault(body or self.file, []).append(entry)


def _anchors(node: s.Node) -> Iterator[tuple[s.Node, bool, bool]]:
    """The children of a node that comments may stay with: (child, is a whole line, may have comments before it)."""
    if isinstance(node, s.File):
        yield from ((n, True, False) for n in (*node.imports, *node.declarations))
    elif isinstance(node, s.Body):
        yield from ((n, True, False) for n in (*node.statements, *([node.expression] if node.expression else [])))
    elif isinstance(node, s.If):
        yield node.then, False, False
        yield node.otherwise, False, True
    elif isinstance(node, (s.Pipe, s.Choice)):
        parts = node.stages if isinstance(node, s.Pipe) else node.options
        yield from ((n, False, position > 0) for position, n in enumerate(parts))
    elif isinstance(node, (s.Call, s.Route)):
        yield from ((n, False, True) for n in node.arguments)
    elif isinstance(node, (s.ListExpr, s.TupleExpr, s.SetExpr, s.Index)):
        yield from ((n, False, True) for n in node.items)
    elif isinstance(node, (s.BlockDecl, s.ScanDecl, s.ActDecl)):
        learned = node.learned if isinstance(node, s.ActDecl) else []
        yield from ((n, False, True) for n in (*node.parameters, *learned))
