"""Where parsing stopped, and the questions that the rules of mistakes.py ask about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from archdsl.diagnostics import Diagnostic, Label, Source, Span
from archdsl.language.arch_parser import KEYWORDS
from archdsl.language.layout import ENDS, OPERATORS
from archdsl.language.lexer import Token, kinds

HEADERS = ("BLOCK", "ARCH", "SCAN", "ACT")
INFIX = OPERATORS - {"NOT"} | {"ASSIGN", "ARROW", "BAR"}
RESERVED = frozenset(KEYWORDS.values())
STOPS = frozenset(("SEP", "SEMI", "COMMA", "RPAR", "RSQB", "RBRACE", "END"))
BEGINS = kinds("NAME PRIMED NUMBER STRING TRUE FALSE NONE LPAR LSQB LBRACE NOT IF REPEAT LOOP REVERSIBLE ROUTE SKIP TRAIN")
_NOTHING = Token("SEP", "", 0, 0, True)


@dataclass
class Situation:
    """tokens[index] cannot stand where it stands; `accepts(kind)` tells whether a token of another kind could.

    statement: the tokens of the statement before it; inside: the kind of the innermost bracket open around it, "" at the top of the file.
    """

    source: Source
    tokens: list[Token]
    index: int
    accepts: Callable[[str], bool]
    statement: list[Token] = field(default_factory=list)
    inside: str = ""
    resume: int | None = None  # set by a rule: the token at which a new statement begins, if the mistake lies before it

    def __post_init__(self) -> None:
        depth, here = 0, self.index - 1
        while here >= 0:
            kind = self.tokens[here].kind
            if kind in ("RPAR", "RSQB", "RBRACE"):
                depth += 1
            elif kind in ("LPAR", "LSQB", "LBRACE", "LSET"):
                depth -= 1
                if depth < 0:
                    self.inside = self.inside or kind
                    if kind == "LBRACE":
                        break
                    depth = 0
            elif kind == "SEP" and depth == 0:
                break
            here -= 1
        self.statement = self.tokens[here + 1 : self.index]
        if not self.inside:
            self.inside = self._outside(here)

    def _outside(self, here: int) -> str:
        """The brace around a statement that is not the first of its body."""
        depth = 0
        for token in reversed(self.tokens[: here + 1]):
            depth += (token.kind in ("RPAR", "RSQB", "RBRACE")) - (token.kind in ("LPAR", "LSQB", "LBRACE", "LSET"))
            if depth < 0:
                return token.kind
        return ""

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    @property
    def previous(self) -> Token:
        return self.tokens[self.index - 1] if self.index else _NOTHING

    @property
    def following(self) -> Token:
        return self.tokens[self.index + 1] if self.index + 1 < len(self.tokens) else _NOTHING

    @property
    def first(self) -> Token:
        return self.statement[0] if self.statement else self.token

    @property
    def complete(self) -> bool:
        """An expression ends right before the token."""
        return bool(self.statement) and self.previous.kind in ENDS

    @property
    def in_brackets(self) -> bool:
        return self.inside in ("LPAR", "LSQB", "LSET")

    def has(self, *kinds: str) -> bool:
        return any(t.kind in kinds for t in self.statement)

    def open_if(self) -> Token | None:
        """The last `if` of the statement that has no `then` yet."""
        waiting: list[Token] = []
        for token in self.statement:
            if token.kind == "IF":
                waiting.append(token)
            elif token.kind == "THEN" and waiting:
                waiting.pop()
        return waiting[-1] if waiting else None

    def open_then(self) -> Token | None:
        """The last `then` of the statement that has no `else` yet."""
        waiting: list[Token] = []
        for token in self.statement:
            if token.kind == "THEN":
                waiting.append(token)
            elif token.kind == "ELSE" and waiting:
                waiting.pop()
        return waiting[-1] if waiting else None

    def rest(self) -> list[Token]:
        """The tokens from the erroneous one to the end of its statement."""
        depth, out = 0, []
        for token in self.tokens[self.index :]:
            if token.kind == "END" or (depth == 0 and token.kind in ("SEP", "RBRACE")):
                break
            depth += (token.kind in ("LPAR", "LSQB", "LBRACE", "LSET")) - (token.kind in ("RPAR", "RSQB", "RBRACE"))
            out.append(token)
        return out

    # ---- making the diagnostic ----

    def span(self, token: Token) -> Span:
        if token.kind in ("SEP", "END") and self.index:  # these have no text: point behind what stands before
            before = self.tokens[self.index - 1]
            return Span(self.source, before.end, before.end)
        return Span(self.source, token.start, token.end)

    def range(self, first: Token, last: Token) -> Span:
        return Span(self.source, first.start, last.end)

    def say(
        self,
        code: str,
        title: str,
        label: str = "",
        hint: str = "",
        note: str = "",
        at: Token | Span | None = None,
        also: Label | None = None,
    ) -> Diagnostic:
        """The diagnostic at the token, or at `at`."""
        place = at if isinstance(at, Span) else self.span(at or self.token)
        return Diagnostic(code, title, place, label, (also,) if also else (), note, hint)


def is_word(token: Token) -> bool:
    """A name or any word of the language, as the user would see it."""
    return token.text.isidentifier()


def shown(token: Token) -> str:
    """A token named in a message."""
    if token.kind == "END":
        return "the end of the file"
    if token.kind == "SEP":
        return "the end of the line" if token.text != ";" else "`;`"
    text = token.text if len(token.text) <= 30 else token.text[:27] + "…"
    return f"`{text}`"
