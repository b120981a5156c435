"""The canonical form of a text or a tree: `archdsl fmt`, diffs, and specs written by programs."""

from __future__ import annotations

from archdsl.diagnostics import Collector, Source
from archdsl.language import syntax as s
from archdsl.language.comments import Remarks
from archdsl.language.layout import arrange
from archdsl.language.lexer import Token, tokenize, unescape
from archdsl.language.parser import parse
from archdsl.language.pretty import HARD, Doc, concat, layout
from archdsl.language.statements import Line, Printer

_TIGHT = (s.ActDecl, s.Constant, s.Expect)


def format_text(source: Source) -> str:
    """The text in canonical form. Comments, blank lines (one in a row) and deliberate line breaks are kept; doing it twice changes nothing.

    Raises ArchError if the text does not parse.
    """
    file = parse(source)
    problems = Collector()
    tokens = arrange(tokenize(source, problems)[0], source, problems)
    remarks = Remarks(source, file)
    printer = Printer(remarks)
    docs = _docs(tokens)
    lines = _header(tokens, printer) + [(e.order, e.end, e.text) for e in remarks.entries.get(file, [])]
    if file.doc is not None:
        lines.append((tokens[0].start, tokens[0].end, printer.doc(file.doc)))
    first = file.doc is None and not file.imports and not file.pins and file.version is None
    for position, node in enumerate([*file.imports, *file.declarations]):
        start = docs.get(node.span.start, node.span.start)
        doc = printer.declaration(node, first and position == 0)
        lines.append((start, node.span.end, concat(doc, *printer.behind(node))))
    lines.sort(key=lambda line: (line[0], line[1]))
    text = layout(printer.stacked(lines, remarks.entries.get(file, [])))
    return "" if not text.strip() else text


def unparse(node: s.Node) -> str:
    """Any node in canonical form, without a final newline (a File ends in one). Spans are not read, so built trees print as parsed ones."""
    printer = Printer()
    if isinstance(node, s.File):
        return _whole(node, printer)
    doc = printer.declaration(node, first=False)
    return layout(doc).rstrip("\n")


def _whole(file: s.File, printer: Printer) -> str:
    head: list[Doc] = [printer.doc(file.doc)] if file.doc else []
    head += [f"language {file.version}"] if file.version is not None else []
    head += [printer.import_(i) for i in file.imports]
    head += [_pin(printer, path, digest) for path, digest in file.pins]
    parts: list[Doc] = []
    for position, doc in enumerate(head):
        parts += [HARD, doc] if position else [doc]
    previous: s.Node | None = None
    for node in file.declarations:
        tight = isinstance(node, s.Expect) and previous is not None
        tight = tight or (isinstance(node, _TIGHT) and type(node) is type(previous))
        if parts:
            parts += [HARD] if tight else [HARD, HARD]
        parts.append(printer.declaration(node, not parts))
        previous = node
    return layout(concat(*parts)) if parts else ""


def _pin(printer: Printer, path: str, digest: str) -> str:
    return f"pin {printer.quoted(path)} {printer.quoted(digest)}"


def _header(tokens: list[Token], printer: Printer) -> list[Line]:
    """The lines that leave no node: the version and the pins."""
    lines: list[Line] = []
    for position, token in enumerate(tokens):
        if token.kind == "LANGUAGE":
            lines.append((token.start, tokens[position + 1].end, f"language {tokens[position + 1].text}"))
        elif token.kind == "PIN":
            path, digest = tokens[position + 1 : position + 3]
            lines.append((token.start, digest.end, _pin(printer, unescape(path.text), unescape(digest.text))))
    return lines


def _docs(tokens: list[Token]) -> dict[int, int]:
    """Start of a declaration -> start of the doc string before it."""
    return {
        tokens[position + 2].start: token.start
        for position, token in enumerate(tokens[:-2])
        if position and token.kind == "DOC" and tokens[position + 1].kind == "SEP"
    }
