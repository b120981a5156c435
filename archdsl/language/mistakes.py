"""A token that cannot stand where it stands -> a diagnostic that says what was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from archdsl.diagnostics import Diagnostic, Source, Span
from archdsl.language.lexer import Token


@dataclass
class Situation:
    """Where parsing stopped: tokens[index] is not accepted; `accepts(kind)` asks what would be."""

    source: Source
    tokens: list[Token]
    index: int
    accepts: Callable[[str], bool]


def explain(at: Situation) -> Diagnostic:
    token = at.tokens[at.index]
    return Diagnostic("AD0134", f"`{token.text}` is not expected here", Span(at.source, token.start, token.end), "not expected")
