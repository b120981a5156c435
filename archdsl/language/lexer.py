"""Text -> raw tokens and comments. Whatever is no token of the language is told here and replaced, so that parsing can go on."""

from __future__ import annotations

import re
from typing import NamedTuple

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Source, Span
from archdsl.language.arch_parser import KEYWORDS, SYMBOLS
from archdsl.language.foreign import FOREIGN, LOOKALIKES
from archdsl.language.limits import MAX_DIGITS, MAX_FILE_BYTES, MAX_INT, MAX_NAME, MAX_TOKENS
from archdsl.language.syntax import Comment


class Token(NamedTuple):
    """A token: its kind in the grammar, its text, its place, and whether a line end stands before it."""

    kind: str
    text: str
    start: int
    end: int
    newline: bool


def kinds(names: str) -> frozenset[str]:
    """Kinds of tokens, given as words."""
    return frozenset(names.split())


_SIGNS = sorted([*SYMBOLS, *FOREIGN, ";"], key=len, reverse=True)
_MASTER = re.compile(
    r"""(?P<NAME>[A-Za-z_][A-Za-z0-9_]*)(?P<PRIME>'(?![A-Za-z0-9_']))?
    |(?P<BLANK>[ \t]+)|(?P<LINE>(?:\r\n?|\n)[ \t]*)
    |(?P<NUMBER>[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:[eE][+-]?[0-9]+)?(?P<TAIL>[A-Za-z_0-9]*))
    |(?P<COMMENT>\#[^\r\n]*)|(?P<OPEN>\"\"\"|/\*)|(?P<STRING>"(?:\\.|[^"\\\r\n])*")
    |(?P<SIGN>"""
    + "|".join(re.escape(s) for s in _SIGNS)
    + r")|(?P<BAD>(?:.|\n))",
    re.VERBOSE,
)
_NUMBER = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+(_[0-9]+)*)?([eE][+-]?[0-9]+)?")
_ESCAPES = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_QUOTED = re.compile(r"'[^'\r\n]*'")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_WORD = re.compile(r"\w+")


def tokenize(source: Source, problems: Collector) -> tuple[list[Token], list[Comment]]:
    """The tokens of a text, separators not yet decided, and its comments. The last token has kind END.

    Errors: AD0104 to AD0109, AD0116, AD0117, AD0132 for what is no token; AD0110 to AD0113 for limits (a text too long stops at once).
    """
    text = source.text
    if len(text) > MAX_FILE_BYTES or len(text.encode("utf-8", "replace")) > MAX_FILE_BYTES:
        note = f"A spec may have {MAX_FILE_BYTES // 1024} KiB."
        raise ArchError(Diagnostic("AD0110", f"{source.name} is too large for a spec", Span(source, 0, 0), note=note))
    return _Lexer(source, problems).run()


def unescape(text: str) -> str:
    """The value of a string token; escapes other than those of the language were told before and stand for themselves."""
    inner = text[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), inner) if "\\" in inner else inner


def _point(char: str) -> str:
    return f"U+{ord(char):04X}"


class _Lexer:
    def __init__(self, source: Source, problems: Collector) -> None:
        self.source = source
        self.text = source.text
        self.problems = problems
        self.tokens: list[Token] = []
        self.comments: list[Comment] = []
        self.newline = True

    def run(self) -> tuple[list[Token], list[Comment]]:
        text, match, tokens = self.text, _MASTER.match, self.tokens
        position, length = (1 if self.text.startswith("\ufeff") else 0), len(self.text)
        while position < length:
            found = match(text, position)
            assert found is not None  # BAD takes any character
            kind, end = found.lastgroup, found.end()
            if kind == "BLANK":
                pass
            elif kind == "LINE":
                self.newline = True
            elif kind == "NAME":
                word = found.group()
                tokens.append(Token(KEYWORDS.get(word, "NAME"), word, position, end, self.newline))
                self.newline = False
                if end - position > MAX_NAME:
                    self.long_name(position, end)
            elif kind == "SIGN" and (sign := SYMBOLS.get(found.group())) is not None:
                if sign == "DOT" and (text[end : end + 1].isdigit() or (tokens and tokens[-1].kind == "NUMBER")):
                    position = self.half_number(position)
                    continue
                tokens.append(Token(sign, found.group(), position, end, self.newline))
                self.newline = False
            else:
                end = self.rare(kind or "BAD", found, position)
            position = end
            if len(tokens) > MAX_TOKENS:
                note = f"A spec may have {MAX_TOKENS:,} tokens (names, numbers and signs)."
                raise ArchError(Diagnostic("AD0113", "this spec has too many tokens", Span(self.source, position, position), note=note))
        tokens.append(Token("END", "", length, length, True))
        return tokens, self.comments

    def rare(self, kind: str, found: re.Match[str], start: int) -> int:
        """Everything but names, blanks and plain signs. Returns where to go on."""
        text, end = found.group(), found.end()
        if kind == "COMMENT":
            self.comments.append(Comment(Span(self.source, start, end), text.rstrip(), self.newline))
            return end
        if kind == "OPEN":
            return self.doc(start) if text == '"""' else self.block_comment(start)
        if kind == "SIGN":
            if text == ";":
                self.put("SEMI", text, start, end)
            else:
                self.foreign(text, start, end)
        elif kind == "PRIME":
            if text[:-1] in KEYWORDS:
                self.tell("AD0128", f"`{text[:-1]}` is a reserved word", start, end, "cannot be a name", hint="Choose another name.")
            self.put("PRIMED", text, start, end)
            if end - start > MAX_NAME + 1:
                self.long_name(start, end)
        elif kind == "NUMBER":
            self.number(text, start, end, bool(found["TAIL"]))
        elif kind == "STRING":
            self.string(text, start, end)
        else:
            return self.bad(text, start)
        return end

    # ---- the kinds ----

    def put(self, kind: str, text: str, start: int, end: int) -> None:
        self.tokens.append(Token(kind, text, start, end, self.newline))
        self.newline = False

    def tell(self, code: str, title: str, start: int, end: int, label: str = "", note: str = "", hint: str = "") -> None:
        self.problems.add(Diagnostic(code, title, Span(self.source, start, end), label, note=note, hint=hint))

    def long_name(self, start: int, end: int) -> None:
        note = f"A name may have {MAX_NAME} characters."
        self.tell("AD0111", "this name is too long", start, end, f"{end - start} characters", note=note)

    def number(self, text: str, start: int, end: int, tail: bool) -> None:
        whole = not tail and not any(c in text for c in ".eE")
        if tail or not _NUMBER.fullmatch(text):
            hint = "A name starts with a letter; there are no hexadecimal numbers." if tail else "Put `_` between two digits: `100_000`."
            self.tell("AD0109", f"`{text[:40]}` is not a number", start, end, "not a number", hint=hint)
            text = "1"
        elif whole and (len(text.replace("_", "")) > MAX_DIGITS or int(text) > MAX_INT):
            note = "Whole numbers go up to 2 ** 53 (9_007_199_254_740_992), written with at most 18 digits."
            self.tell("AD0112", "this number is too large", start, end, "too large", note=note)
            text = "1"
        elif not whole and (len(text) > 64 or float(text) == float("inf")):
            note = "A number with a point or an exponent is a 64-bit float (below 1.8e308), written with at most 64 characters."
            self.tell("AD0112", "this number is too large or too long", start, end, "not representable", note=note)
            text = "1.0"
        self.put("NUMBER", text, start, end)

    def half_number(self, dot: int) -> int:
        """`.5` and `5.`: a point has digits on both sides."""
        end = dot + 1
        while self.text[end : end + 1].isdigit():
            end += 1
        number = self.tokens[-1] if self.tokens and self.tokens[-1].kind == "NUMBER" and self.tokens[-1].end == dot else None
        start = number.start if number else dot
        text = self.text[start:end]
        fixed = f"0{text}" if not number else f"{text}0" if end == dot + 1 else text
        self.tell("AD0109", f"`{text[:40]}` is not a number", start, end, "a point has digits on both sides", hint=f"Write `{fixed[:40]}`.")
        if not number:
            self.put("NUMBER", "1", start, end)
        return end

    def string(self, text: str, start: int, end: int) -> None:
        for found in re.finditer(r"\\(.)", text):
            if found[1] not in _ESCAPES:
                at = start + found.start()
                hint = 'The escapes are `\\n`, `\\t`, `\\"` and `\\\\`.'
                self.tell("AD0105", f"`{found[0]}` is not an escape", at, at + 2, "unknown escape", hint=hint)
        control = _CONTROL.search(text)
        if control:
            self.tell("AD0107", "this string holds a control character", start, end, _point(control[0]), hint="Write `\\n` or `\\t`.")
        self.put("STRING", text, start, end)

    def doc(self, start: int) -> int:
        end = self.text.find('"""', start + 3)
        if end < 0:
            self.tell("AD0104", "this doc string is not closed", start, start + 3, "opened here", hint='Close it with `"""`.')
            return len(self.text)
        control = _CONTROL.search(self.text, start, end)
        if control:
            self.tell("AD0107", "this doc string holds a control character", control.start(), control.end(), _point(control[0]))
        self.put("DOC", self.text[start : end + 3], start, end + 3)
        return end + 3

    def block_comment(self, start: int) -> int:
        self.tell("AD0117", "comments start with `#`", start, start + 2, "not a comment here", hint="Put `#` before each line.")
        end = self.text.find("*/", start + 2)
        return end + 2 if end >= 0 else self.line_end(start)

    def line_end(self, start: int) -> int:
        ends = [e for e in (self.text.find("\n", start), self.text.find("\r", start)) if e >= 0]
        return min(ends, default=len(self.text))

    def foreign(self, text: str, start: int, end: int) -> None:
        title, hint, instead = FOREIGN[text]
        self.tell("AD0116", title, start, end, "of another language", hint=hint)
        if instead:
            self.put(SYMBOLS.get(instead) or KEYWORDS[instead], instead, start, end)

    def bad(self, char: str, start: int) -> int:
        """A character that starts no token."""
        previous = self.tokens[-1] if self.tokens and not self.newline else None
        if char == '"':
            end = self.line_end(start)
            self.tell("AD0104", "this string is not closed", start, end, "opened here", hint='Close it with `"` on the same line.')
            self.put("STRING", '""', start, end)
            return end
        if char == "'":
            return self.apostrophe(previous, start)
        word = _WORD.match(self.text, start)
        if word:
            self.odd_word(word.group(), previous, start)
            return word.end()
        instead = LOOKALIKES.get(char, "")
        if instead == '"':
            end = self.line_end(start)
            self.tell("AD0108", "these are not the quotes of a string", start, start + 1, _point(char), hint='Strings have `"`.')
            self.put("STRING", '""', start, end)
            return end
        shown = f"`{char}`" if char.isprintable() else f"the character U+{ord(char):04X}"
        if instead:
            self.tell("AD0108", f"{shown} only looks like `{instead}`", start, start + 1, _point(char), hint=f"Type `{instead}`.")
            self.put(SYMBOLS.get(instead) or KEYWORDS.get(instead) or ("SEMI" if instead == ";" else "NAME"), instead, start, start + 1)
        else:
            self.tell("AD0107", f"{shown} has no meaning here", start, start + 1, _point(char), hint="Remove it.")
        return start + 1

    def apostrophe(self, previous: Token | None, start: int) -> int:
        quoted = _QUOTED.match(self.text, start)
        if quoted and not (previous and previous.kind in ("NAME", "PRIMED") and (previous.end == start or quoted.group()[1] == " ")):
            hint = f'Write "{quoted.group()[1:-1]}".'
            self.tell("AD0106", "strings have double quotes", start, quoted.end(), "single quotes", hint=hint)
            self.put("STRING", '""', start, quoted.end())
            return quoted.end()
        name = previous.text.rstrip("'") if previous and previous.kind in ("NAME", "PRIMED") else "S"
        hint = f"The next value of a state is written `{name}'`, one mark directly after the name."
        self.tell("AD0132", "this `'` belongs to no name", start, start + 1, "stands alone", hint=hint)
        if previous and previous.kind == "NAME":
            self.tokens[-1] = previous._replace(kind="PRIMED", text=previous.text + "'", end=start + 1)
        return start + 1

    def odd_word(self, word: str, previous: Token | None, start: int) -> None:
        """Letters outside ASCII: a look-alike hides in a name, or a name is in another script."""
        joined = previous is not None and previous.end == start and previous.kind in ("NAME", "NUMBER")
        at = next(i for i, c in enumerate(word) if not c.isascii())
        note = "Names consist of the letters a to z and A to Z, digits and `_`, so that two names that look alike are alike."
        hint = "Spell Greek letters out: `alpha`, `beta`, `sigma`."
        label = _point(word[at])
        self.tell("AD0108", f"`{word[at]}` cannot stand in a name", start + at, start + at + 1, label, note=note, hint=hint)
        if not joined:
            self.put("NAME", "x", start, start + len(word))
