"""Raw tokens -> the tokens the grammar sees: separators decided, contextual keywords told from names, brackets balanced, depth bounded.

A statement ends at `;` or at a line end, unless the line is plainly unfinished: within `( )` and `[ ]`, after an operator, comma, `=`,
`->`, opening bracket, `then` or `else`, and before a line that begins with an operator, `->`, `|`, `then`, `else`, `with`, `on`,
`until`, `backward` or a closing bracket. A bracket that is never closed is told where it was opened and closed here, so that one slip
gives one error.
"""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Label, Source, Span
from archdsl.language.keywords import DECLARES, STARTS_STATEMENT, contextual, declares
from archdsl.language.lexer import Token, kinds
from archdsl.language.limits import MAX_FLAT, MAX_HEIGHT, MAX_NESTING

ENDS = kinds("NAME PRIMED NUMBER STRING TRUE FALSE NONE RPAR RSQB RBRACE LENGTHS")
OPERATORS = kinds("CMP MULOP POW PLUS MINUS OR AND NOT DOTS DOTSEQ TILDE")
_UNFINISHED = OPERATORS - {"DOTS", "DOTSEQ"} | kinds("ARROW BAR COMMA ASSIGN COLON DOT LPAR LSQB LBRACE LSET IF THEN ELSE IN")
_CONTINUES = OPERATORS - {"NOT"} | kinds("ARROW BAR COMMA DOT THEN ELSE WITH ON UNTIL BACKWARD ASSIGN COLON RPAR RSQB RBRACE LBRACE END")
_CLOSES = {"RPAR": "LPAR", "RSQB": "LSQB", "RBRACE": "LBRACE"}
_OPENS = {"LPAR": ("RPAR", ")"), "LSQB": ("RSQB", "]"), "LBRACE": ("RBRACE", "}"), "LSET": ("RBRACE", "}")}
_GROWS = OPERATORS | {"IF", "ASSIGN", "COLON", "DOT", "REPEAT", "LOOP"}
_FLAT = frozenset(("ARROW", "BAR"))


@dataclass(slots=True)
class _Level:
    """An open bracket, and a bound on the height of the tree read in it so far.

    base: height outside; branches: `if`s of the item; operators and inside: of the stage being read; stages: the tallest stage of the item;
    items: the tallest item before; flat: how many stages.
    """

    token: Token
    kind: str
    base: int = 0
    flat: int = 0
    branches: int = 0
    operators: int = 0
    inside: int = 0
    stages: int = 0
    items: int = 0
    header: bool = False  # the parameter list of a declaration

    def item(self) -> int:
        return self.branches + max(self.stages, self.operators + self.inside)

    def next_stage(self) -> None:
        self.flat += 1
        self.stages = max(self.stages, self.operators + self.inside)
        self.operators = self.inside = 0

    def next_item(self) -> None:
        self.items = max(self.items, self.item())
        self.flat = self.branches = self.operators = self.inside = self.stages = 0


def arrange(tokens: list[Token], source: Source, problems: Collector) -> list[Token]:
    """The final tokens, ending in END. Errors: AD0101 to AD0103 (brackets), AD0114, AD0115 (depth; these stop at once)."""
    return _Layout(tokens, source, problems).run()


class _Layout:
    def __init__(self, tokens: list[Token], source: Source, problems: Collector) -> None:
        self.tokens = tokens
        self.source = source
        self.problems = problems
        self.out: list[Token] = []
        self.levels: list[_Level] = [_Level(tokens[-1], "FILE")]
        self.suspect: Token | None = None  # a `{` closed by a `}` that stands further left than it should

    def run(self) -> list[Token]:
        tokens, out = self.tokens, self.out
        for index, token in enumerate(tokens):
            kind = token.kind
            previous = out[-1].kind if out else "SEP"
            level = self.levels[-1]
            loose = level.kind in ("LBRACE", "FILE")
            if kind == "SEMI":
                self.semicolon(token, loose, previous)
                continue
            fresh = token.newline and loose and previous not in _UNFINISHED
            if token.newline and not fresh and level.kind == "FILE" and declares(tokens, index) and self.at_margin(token):
                fresh = True  # the line before is unfinished, and told so: a declaration is never part of another
            if previous == "DOT" and token.text.isidentifier():
                kind = "NAME"
            elif kind == "NAME":
                kind = contextual(tokens, index, out, previous, fresh or previous in ("SEP", "LBRACE", "DOC"), previous in ENDS)
            forgotten = token.newline and not loose and self.unclosed(token, kind, index, previous)
            if forgotten or (kind == "LBRACE" and level.header and self.unclosed_header(token, previous)):
                loose, fresh, previous, level = True, True, out[-1].kind, self.levels[-1]
            if fresh and level.kind == "LBRACE" and kind in DECLARES and self.unfinished_block(token):
                previous = "RBRACE"
            if self.separates(kind, previous, fresh, loose):
                out.append(Token("SEP", "", token.start, token.start, True))
            if kind in _CLOSES:
                self.close(token, kind)
                continue
            if kind == "LBRACE" and previous == "IN":
                kind = "LSET"
            if kind != token.kind:
                token = token._replace(kind=kind)
            if kind in _OPENS:
                self.open(token, kind, previous in ENDS and kind != "LBRACE")
            elif kind == "END":
                self.close_all(token)
            else:
                self.measure(kind, token)
            out.append(token)
        return out

    # ---- separators ----

    def semicolon(self, token: Token, loose: bool, previous: str) -> None:
        if not loose:
            self.levels[-1].next_item()
            self.out.append(token)
        elif previous not in ("SEP", "LBRACE"):
            self.out.append(token._replace(kind="SEP"))
            self.levels[-1].next_item()

    def separates(self, kind: str, previous: str, fresh: bool, loose: bool) -> bool:
        out = self.out
        if kind in ("RBRACE", "END") and previous == "SEP":
            if out:
                out.pop()
            return False
        if previous in ("SEP", "LBRACE") or not loose or not out:
            return False
        if kind == "DOC" or previous == "DOC":
            wanted = kind not in ("RBRACE", "END")
        elif fresh:
            wanted = kind not in _CONTINUES
        else:  # on one line, a statement keyword may follow a finished statement
            header = len(out) > 1 and out[-2].kind in ("REPEAT", "LOOP", "FOR")
            wanted = previous in ENDS and kind in STARTS_STATEMENT and not (kind == "IN" and header)
        if wanted:
            self.levels[-1].next_item()
        return wanted

    # ---- brackets ----

    def open(self, token: Token, kind: str, postfix: bool) -> None:
        outer = self.levels[-1]
        outer.operators += postfix  # a call or an index stacks upon what stands before it
        header = kind == "LPAR" and len(self.out) > 1 and self.out[-2].kind in ("BLOCK", "ARCH", "SCAN")
        self.levels.append(_Level(token, kind, outer.base + 1 + outer.branches + outer.operators, header=header))
        if len(self.levels) - 1 > MAX_NESTING:
            note = f"Brackets may be nested {MAX_NESTING} deep."
            hint = "Bind inner parts to names, or make blocks of them."
            problem = self.diagnostic("AD0114", "brackets are nested too deeply", token, note=note, hint=hint)
            raise ArchError(*self.problems.diagnostics, problem)
        self.limit(token)

    def close(self, token: Token, kind: str) -> None:
        wanted = _CLOSES[kind]
        levels = self.levels
        opened = levels[-1]
        if not any(_same(level.kind, wanted) for level in levels[1:]):
            if opened.kind in ("LPAR", "LSQB", "LSET"):  # a bracket of another sort is open: take this one for its closing bracket
                sign = _OPENS[opened.kind][1]
                label = Label(self.span(opened.token), "opened here")
                title = f"`{opened.token.text}` is closed by `{token.text}`"
                self.problems.add(self.diagnostic("AD0102", title, token, f"expected `{sign}`", (label,), hint=f"Write `{sign}`."))
                self.shut(token)
                return
            hint = "Remove it, or add the opening bracket."
            self.problems.add(self.diagnostic("AD0102", f"`{token.text}` closes nothing", token, "no bracket is open here", hint=hint))
            return
        while not _same(levels[-1].kind, wanted):
            self.tell_unclosed(levels[-1], token)
            self.shut(token)
        if self.suspect is None and token.newline and self.indent(token) < self.indent(levels[-1].token):
            self.suspect = levels[-1].token
        self.shut(token)

    def shut(self, token: Token) -> None:
        """Closes the innermost bracket at a token, and carries its height outwards."""
        level = self.levels.pop()
        kind, sign = _OPENS[level.kind]
        while self.out[-1].kind == "SEP" and level.kind == "LBRACE":
            self.out.pop()
        if kind == token.kind:
            self.out.append(token._replace(text=sign))
        else:  # a bracket that is not there: where the text before it ends
            end = self.out[-1].end
            self.out.append(Token(kind, sign, end, end, False))
        outer = self.levels[-1]
        outer.inside = max(outer.inside, 1 + max(level.items, level.item()))
        self.limit(token)

    def close_all(self, token: Token) -> None:
        while len(self.levels) > 1:
            self.tell_unclosed(self.levels[-1], token)
            self.shut(token)

    def tell_unclosed(self, level: _Level, at: Token) -> None:
        sign, opened = _OPENS[level.kind][1], level.token
        line = self.source.position(opened.start)[0]
        if any(d.code == "AD0104" and d.span and self.source.position(d.span.start)[0] == line for d in self.problems.diagnostics):
            return  # a string that was not closed took the bracket with it
        code = "AD0103" if level.kind == "LBRACE" else "AD0101"
        if level.kind == "LBRACE" and self.suspect and self.suspect.start > opened.start:
            opened = self.suspect  # its line lies deeper than the line of the `}` that closed it
        labels = () if at.kind == "END" else (Label(self.span(at), f"still open here: `{sign}` is missing"),)
        label = "opened here" if labels else "opened here, and open until the end"
        self.problems.add(self.diagnostic(code, f"`{opened.text}` is not closed", opened, label, labels, hint=f"Add `{sign}`."))

    def unclosed(self, token: Token, kind: str, index: int, previous: str) -> bool:
        """Whether a line within ( or [ plainly begins a new statement, so that the bracket was forgotten; then it is closed."""
        following = self.tokens[index + 1].kind if index + 1 < len(self.tokens) else "END"
        starts = kind in ("RETURN", "YIELD") or (kind in DECLARES and self.at_margin(token))
        if kind in ("NAME", "PRIMED") and following in ("ASSIGN", "COMMA") and previous in ENDS:
            starts = starts or self.indent(token) <= self.indent(self.levels[-1].token)
        if not starts:
            return False
        while self.levels[-1].kind in ("LPAR", "LSQB", "LSET"):
            self.tell_unclosed(self.levels[-1], token)
            self.shut(token)
        return True

    def unclosed_header(self, token: Token, previous: str) -> bool:
        """`block A(n = 3 {`: a body where the list of parameters is still open."""
        depth = 0
        for before in reversed(self.out):
            depth += (before.kind in _CLOSES) - (before.kind in _OPENS)
            if depth < 0 or (depth == 0 and before.kind == "COMMA"):
                break
            if depth == 0 and before.kind in ("REPEAT", "LOOP", "ROUTE", "SKIP", "TRAIN"):
                return False
        if previous not in ENDS:
            return False
        self.tell_unclosed(self.levels[-1], token)
        self.shut(token)
        return True

    def unfinished_block(self, token: Token) -> bool:
        """A declaration at the left margin inside a body: the body's `}` is missing."""
        if not self.at_margin(token):
            return False
        while len(self.levels) > 1:
            self.tell_unclosed(self.levels[-1], token)
            self.shut(token)
        return True

    def indent(self, token: Token) -> int:
        """Blanks at the head of the token's line."""
        text = self.source.text
        start = max(text.rfind("\n", 0, token.start), text.rfind("\r", 0, token.start)) + 1
        return len(text[start : start + 200]) - len(text[start : start + 200].lstrip(" \t"))

    def at_margin(self, token: Token) -> bool:
        return token.start == 0 or self.source.text[token.start - 1] in "\r\n"

    # ---- depth ----

    def measure(self, kind: str, token: Token) -> None:
        level = self.levels[-1]
        if kind in _GROWS:
            if kind == "IF":
                level.branches += 1
            else:
                level.operators += 1
            self.limit(token)
        elif kind in _FLAT:
            level.next_stage()
            if level.flat > MAX_FLAT:
                self.too_long(token, f"A pipe or a choice may have {MAX_FLAT:,} parts.")
        elif kind == "COMMA":
            level.next_item()

    def limit(self, token: Token) -> None:
        level = self.levels[-1]
        if level.base + level.branches + level.operators + level.inside > MAX_HEIGHT:
            self.too_long(token, f"Operators, branches and brackets may add up to {MAX_HEIGHT} within one expression.")

    def too_long(self, token: Token, note: str) -> None:
        problem = self.diagnostic("AD0115", "this expression is too long", token, "here", note=note, hint="Bind parts of it to names.")
        raise ArchError(*self.problems.diagnostics, problem)

    # ---- diagnostics ----

    def span(self, token: Token) -> Span:
        return Span(self.source, token.start, max(token.end, token.start + (token.kind != "END")))

    def diagnostic(
        self, code: str, title: str, token: Token, label: str = "", labels: tuple[Label, ...] = (), note: str = "", hint: str = ""
    ) -> Diagnostic:
        return Diagnostic(code, title, self.span(token), label, labels, note, hint)


def _same(opened: str, wanted: str) -> bool:
    return opened == wanted or (opened == "LSET" and wanted == "LBRACE")
