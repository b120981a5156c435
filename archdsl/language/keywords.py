"""Contextual keywords: words that mean something only in their place, and are plain names anywhere else.

Only the words of arch_parser.KEYWORDS are reserved. Each word here is told from a name by the token before it and the one after it, so that
a parameter may be called `step`, `state`, `scan` or `skip`.
"""

from __future__ import annotations

from archdsl.language.lexer import Token, kinds

# word -> kind, when it follows a finished expression on its line (two expressions never stand side by side)
_AFTER = {w: w.upper() for w in ("step", "until", "on", "where", "backward", "with", "over", "lengths", "as", "for")}
_AFTER_LINE_END = frozenset(("WITH", "UNTIL", "ON", "BACKWARD"))
# word -> kind, at the start of a statement and followed by what it needs on the same line
_NAMED = {w: w.upper() for w in ("block", "arch", "act", "scan", "state", "param", "aux", "tap")}
_VALUED = {"import": ("IMPORT", "STRING"), "pin": ("PIN", "STRING"), "language": ("LANGUAGE", "NUMBER")}
_CONDITION = {"expect": "EXPECT", "where": "WHERE"}
_COUNTED = {"repeat": "REPEAT", "loop": "LOOP"}
_CALLED = {"route": "ROUTE", "skip": "SKIP"}

CONTEXTUAL = frozenset((*_AFTER, *_NAMED, *_VALUED, *_CONDITION, *_COUNTED, *_CALLED, "train", "reversible"))
DECLARES = frozenset(("BLOCK", "ARCH", "ACT", "SCAN", "EXPECT", "IMPORT"))
STARTS_STATEMENT = DECLARES | {"STATE", "PARAM", "AUX", "TAP", "RETURN", "YIELD", "IN"}

_NAMES = kinds("DOT BLOCK ARCH ACT SCAN STATE PARAM AUX TAP AS OVER FOR")  # a name must follow
_STARTS_CONDITION = kinds("NAME PRIMED NUMBER LPAR NOT MINUS TRUE FALSE STRING LSQB")
_WORDS = kinds("NAME IN IF THEN ELSE OR AND NOT TRUE FALSE NONE RETURN YIELD")


def declares(tokens: list[Token], index: int) -> bool:
    """Whether `block Name`, `arch Name`, `scan name` or `act name` stands here, on one line."""
    following = tokens[index + 1] if index + 1 < len(tokens) else tokens[index]
    return tokens[index].text in ("block", "arch", "scan", "act") and following.kind == "NAME" and not following.newline


def contextual(tokens: list[Token], index: int, out: list[Token], previous: str, start: bool, ends: bool) -> str:
    """The kind of the word tokens[index]: its keyword kind, or NAME.

    previous: kind of the token before; start: a statement starts here; ends: the token before ends an expression.
    """
    word = tokens[index].text
    if word not in CONTEXTUAL or previous in _NAMES:
        return "NAME"
    following = tokens[index + 1]
    after = following.kind if not following.newline else "LINE"
    if ends and word in _AFTER:
        kind = _AFTER[word]
        if not start or (kind in _AFTER_LINE_END and after not in ("ASSIGN", "COMMA", "COLON", "LINE")):
            return kind
    if start or ends:
        if word in _NAMED and after in (_WORDS if previous != "LBRACE" else ("NAME",)):  # `{ tap or x }` is an expression
            return _NAMED[word]
        if word in _VALUED and after == _VALUED[word][1]:
            return _VALUED[word][0]
        applied = previous == "LBRACE" and following.kind in ("LPAR", "LSQB") and following.start == tokens[index].end
        if word in _CONDITION and after in _STARTS_CONDITION and not applied:  # `{ where(c, a, b) }` is an expression
            return _CONDITION[word]
    if word in _COUNTED and after in ("NAME", "NUMBER", "LPAR"):
        return _COUNTED[word]
    if word in _CALLED and after == "LPAR":
        return _CALLED[word]
    if word == "train" and after == "LBRACE":
        return "TRAIN"
    if word == "reversible" and following.text == "repeat":
        return "REVERSIBLE"
    return "NAME"
