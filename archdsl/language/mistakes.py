"""A token that cannot stand where it stands -> a diagnostic that says what was probably meant.

RULES are tried in order; the first that recognises the mistake answers. Each looks only at the tokens of the statement.
"""

from __future__ import annotations

from collections.abc import Callable

from archdsl.diagnostics import Diagnostic, Label
from archdsl.language import forms
from archdsl.language.foreign import WORDS
from archdsl.language.lexer import Token
from archdsl.language.situation import BEGINS, HEADERS, INFIX, RESERVED, STOPS, Situation, is_word, shown

_READABLE = {
    "NAME": "a name", "RPAR": "`)`", "RSQB": "`]`", "RBRACE": "`}`", "LBRACE": "`{`", "COMMA": "`,`", "COLON": "`:`", "ASSIGN": "`=`",
    "THEN": "`then`", "ELSE": "`else`", "IN": "`in`", "LPAR": "`(`", "LSQB": "`[`", "STRING": "a string", "SEP": "the end of the line",
}  # fmt: skip

Rule = Callable[[Situation], Diagnostic | None]


def explain(at: Situation) -> Diagnostic:
    """The diagnostic for a token that the grammar does not accept. Never fails: the last rule takes whatever is left."""
    for rule in RULES:
        diagnostic = rule(at)
        if diagnostic is not None:
            return diagnostic
    return _anything(at)


# ---- habits of other languages ----


def _comment_sign(at: Situation) -> Diagnostic | None:
    line = at.source.position(at.token.start)[0]
    signs = at.tokens[max(at.index - 40, 0) : at.index + 1]
    for one, two in zip(signs, [*signs[1:], at.following]):
        double = one.text == "//" or (one.kind == "MINUS" and two.kind == "MINUS" and one.end == two.start)
        if not double or at.source.position(one.start)[0] != line:
            continue
        if one.newline or (is_word(at.token) and is_word(at.previous)) or at.token in (one, two):
            sign = "//" if one.text == "//" else "--"
            if sign == "//" and at.token is one and not one.newline:
                continue
            place = at.range(one, one if sign == "//" else two)
            return at.say("AD0117", "comments start with `#`", f"if `{sign}` begins a comment, write `#`", "Write `# …`.", at=place)
    return None


def _doc(at: Situation) -> Diagnostic | None:
    if at.token.kind != "DOC":
        return None
    hint = "Put it at the head of the file, directly before a block, arch, act or scan, or first in its body; else use `#`."
    return at.say("AD0138", "a doc string cannot stand here", "", hint)


def _foreign_word(at: Situation) -> Diagnostic | None:
    first = at.first
    if at.statement and len(at.statement) <= 2 and first.kind == "NAME" and first.text in WORDS and at.token.kind != "ASSIGN":
        if is_word(at.token) or at.token.kind in ("COLON", "LPAR", "STRING", "NUMBER", "MULOP", "LBRACE", "NOT") or len(at.statement) == 2:
            return at.say("AD0124", f"`{first.text}` is a word of another language", "not a word of this one", WORDS[first.text], at=first)
    if at.token.text == "elif" and at.complete:
        return at.say("AD0124", "`elif` is a word of another language", "not a word of this one", WORDS["elif"])
    before = at.previous
    if at.statement and before.text in WORDS and before.kind == "NAME" and is_word(at.token):
        return at.say("AD0124", f"`{before.text}` is a word of another language", "not a word of this one", WORDS[before.text], at=before)
    return None


def _braces(at: Situation) -> Diagnostic | None:
    if at.token.kind != "COLON" or at.in_brackets:
        return None
    opens = at.first.kind in HEADERS or at.has("REPEAT", "LOOP", "TRAIN", "IF", "ROUTE", "SKIP")
    if (opens and (at.following.newline or at.following.kind in ("SEP", "END"))) or at.first.kind in HEADERS:
        return at.say("AD0126", "a body stands in braces", "no `:` here", "Write `{ … }`; indentation has no meaning.")
    if len(at.statement) == 1:
        name = at.first.text
        hint = f"A binding is `{name} = …`; an input `in {name}: [..]`; a label stands before a module: `y = x -> {name}: linear(8)`."
        return at.say("AD0134", f"`{name}:` begins no statement", "not expected", hint)
    return None


def _condition_behind(at: Situation) -> Diagnostic | None:
    if at.token.kind != "IF" or not at.complete:
        return None
    return at.say("AD0119", "the condition comes first", "after the value", "Write `if c then a else b`.")


# ---- conditions ----


def _assign(at: Situation) -> Diagnostic | None:
    if at.token.kind != "ASSIGN":
        return None
    if at.previous.kind in RESERVED and at.previous.kind not in ("TRUE", "FALSE", "NONE"):
        return _reserved_word(at, at.previous)
    dangling = _dangling(at)
    if dangling:
        return dangling
    if at.open_if() or at.first.kind in ("WHERE", "EXPECT") or at.has("WHERE"):
        return at.say("AD0120", "`=` binds a name; `==` compares", "in a condition", "Write `==`.")
    if at.first.kind == "PARAM":
        hint = f"Write `param {at.statement[1].text}: [..] ~ zeros`, or `~ constant(0.5)`."
        note = "A weight is learned: what is given is how it is drawn at first."
        return at.say("AD0145", "a weight begins with `~`", "not `=`", hint, note)
    if at.first.kind in ("ACT", "SCAN"):
        return forms.header(at)
    if at.has("ASSIGN") and not at.in_brackets:
        return at.say("AD0139", "a statement has one `=`", "the second", "Bind one name a statement; `==` compares.")
    if at.first.kind in ("RETURN", "YIELD"):
        hint = f"Bind it first, then `{at.first.text}` the name; `==` compares."
        return at.say("AD0139", f"`{at.first.text}` binds no name", "not expected", hint)
    left = at.range(at.first, at.previous) if not at.in_brackets and at.statement else at.span(at.previous)
    hint = "Write `name = …`, or `==` to compare." if not at.in_brackets else "A named argument is `name=value`; `==` compares."
    return at.say("AD0139", "only a name can stand before `=`", "not a name", hint, at=left)


def _dangling(at: Situation) -> Diagnostic | None:
    """`x = f ->` and on the next line `y = …`: the `=` is the first thing amiss, the line before it is the culprit."""
    here = at.index - 1
    while here > 0 and at.tokens[here].kind in ("NAME", "PRIMED", "COMMA") and not at.tokens[here].newline:
        here -= 1
    operator = at.tokens[here - 1] if here > 0 else None
    if operator is None or not at.tokens[here].newline or at.in_brackets or operator.kind not in INFIX | {"COMMA"}:
        return None
    at.resume = here
    if operator.kind == "ARROW":
        return at.say("AD0122", "this pipe has no next stage", "nothing follows on this line", "Add a stage, or remove `->`.", at=operator)
    return at.say("AD0123", f"a value is missing after {shown(operator)}", "nothing follows on this line", "Complete it.", at=operator)


def _comparison(at: Situation) -> Diagnostic | None:
    if at.token.kind != "CMP" or not at.complete:
        return None
    earlier = [t for t in at.statement if t.kind == "CMP"]
    if earlier:
        also = Label(at.span(earlier[-1]), "the first comparison")
        return at.say("AD0131", "comparisons cannot be chained", "the second", "Write `a < b and b < c`.", also=also)
    if at.token.text == "==" and all(t.kind in ("NAME", "PRIMED", "COMMA") for t in at.statement) and not at.in_brackets:
        return at.say("AD0121", "`==` compares; `=` binds a name", "at the start of a statement", "Write `=`.")
    return None


def _then(at: Situation) -> Diagnostic | None:
    condition = at.open_if()
    if condition is None or at.token.kind == "THEN" or not at.complete or not at.accepts("THEN"):
        return None
    also = Label(at.span(condition), "this `if`")
    return at.say("AD0130", "`then` is missing", "expected `then` before this", "Write `if c then a else b`.", also=also)


def _else(at: Situation) -> Diagnostic | None:
    then = at.open_then()
    if then is None or not at.complete or not at.accepts("ELSE") or not (at.token.kind in STOPS or is_word(at.token)):
        return None
    note = "A conditional is a value, so it needs one for each case."
    also = Label(at.span(then), "this `then`")
    return at.say("AD0129", "`else` is missing", "expected `else` before this", "Write `if c then a else b`.", note, also=also)


# ---- names ----


def _reserved_word(at: Situation, token: Token) -> Diagnostic:
    word = token.text
    hint = f"Choose another name, such as `{word}_`."
    return at.say("AD0128", f"`{word}` is a reserved word", "cannot be a name", hint, at=token)


def _reserved(at: Situation) -> Diagnostic | None:
    token = at.token
    if token.kind not in RESERVED or not at.accepts("NAME") or (token.kind in ("RETURN", "YIELD") and token.newline):
        return None
    declared = bool(at.statement) and at.previous.kind in (*HEADERS, "STATE", "PARAM", "AUX", "TAP", "IN", "AS", "OVER", "FOR")
    if declared or at.following.kind in ("ASSIGN", "COMMA", "RPAR", "RSQB", "COLON", "DOT", "ARROW", "SEP"):
        return _reserved_word(at, token)
    return None


# ---- pipes and operators ----


def _pipe(at: Situation) -> Diagnostic | None:
    if at.token.kind == "ARROW" and at.first.kind in HEADERS and not at.has("ASSIGN"):
        return at.say("AD0146", "a header does not tell the result", "not expected", "The body says what it returns.")
    if at.token.kind == "ARROW" and not at.complete:
        label = "nothing stands before it" if at.previous.kind != "ARROW" else "the stage between is missing"
        return at.say("AD0122", "a stage of this pipe is missing", label, "Write `x -> f -> g`.")
    if at.previous.kind == "ARROW" and at.statement and at.token.kind not in BEGINS:
        if at.token.kind in STOPS or is_word(at.token):
            at.resume = at.index if at.token.newline and is_word(at.token) else None
            return at.say("AD0122", "this pipe has no next stage", "nothing follows", "Add a stage, or remove `->`.", at=at.previous)
    if at.previous.kind in ("ARROW", "BAR") and at.token.kind == "IF":
        return at.say("AD0134", "a conditional within a pipe stands in parentheses", "not expected", "Write `x -> (if c then f else g)`.")
    return None


def _returned(at: Situation) -> Diagnostic | None:
    word = at.previous
    if word.kind not in ("RETURN", "YIELD") or at.token.kind not in STOPS:
        return None
    return at.say("AD0125", f"`{word.text}` needs a value", "nothing follows", f"Write `{word.text} x`, on the same line.", at=word)


def _operand(at: Situation) -> Diagnostic | None:
    before, token = at.previous, at.token
    if not at.statement or before.kind not in INFIX | {"COMMA", "THEN", "ELSE", "NOT", "IF", "LPAR", "LSQB", "IN", "WHERE", "EXPECT"}:
        return None
    if token.kind == "IF" and before.kind in INFIX:
        hint = "Write `1 + (if c then a else b)`."
        return at.say("AD0134", "a conditional within an expression stands in parentheses", "not expected", hint)
    if not at.accepts("NAME") or not (token.kind in STOPS or token.kind in INFIX or token.kind in RESERVED):
        return None
    if before.kind in ("DOTS", "DOTSEQ") and token.kind in STOPS:
        hint = "An open end stands only within an index: `layers[3..]`. Write both ends: `0..n`."
        return at.say("AD0147", "this range has no end", "nothing follows", hint, at=before)
    if token.text in ("+", "*", "**") and (token.kind == "PLUS" or before.kind in ("LPAR", "COMMA")):
        return at.say("AD0123", f"{shown(token)} needs a value on its left", "nothing stands before it", "Remove it.")
    if before.kind in ("COMMA", "LPAR", "LSQB"):
        return at.say("AD0123", f"a value is missing before {shown(token)}", "expected a value here", "Add it, or remove the comma.")
    at.resume = at.index if token.newline and is_word(token) else None
    return at.say("AD0123", f"a value is missing after {shown(before)}", "nothing follows", "Complete the expression.", at=before)


# ---- the rest ----


def _side_by_side(at: Situation) -> Diagnostic | None:
    token = at.token
    if not at.complete or not (token.kind in BEGINS or is_word(token)):
        return None
    also = Label(at.span(at.previous), "and this")
    if at.in_brackets:
        return at.say("AD0127", "a comma is missing", f"expected `,` before {shown(token)}", "Separate the items by commas.")
    if token.kind == "WHERE":
        return at.say(
            "AD0133", "`where` cannot stand behind a value", "not expected", "It stands behind an input, or on a line of its own."
        )
    hint = "Statements stand on lines of their own or are separated by `;`; a module is applied by `f(x)` or `x -> f`."
    return at.say("AD0133", "two expressions stand side by side", "this", hint, also=also)


def _signs(at: Situation) -> Diagnostic | None:
    token = at.token
    if token.kind == "TILDE":
        hint = "It stands in arguments (`linear(d, bias ~ zeros)`) and after `state` and `param`."
        return at.say("AD0134", "`~` gives a weight its first value", "no weight here", hint)
    if token.kind == "SEMI":
        hint = "Items are separated by `,`; only an activation's learned parameters stand behind a `;`."
        return at.say("AD0134", "`;` cannot stand here", "within brackets", hint)
    if token.kind == "PRIMED":
        hint = f"`{token.text}` is the next value of a state: it is bound by `{token.text} = …` and may be read."
        return at.say("AD0134", f"{shown(token)} cannot stand here", "a name without `'` is expected", hint)
    if token.kind == "COMMA" and at.inside == "LBRACE" and at.has("COLON"):
        hint = "There are no dictionaries; named values are arguments: `f(a=1, b=2)`."
        return at.say("AD0134", "`,` cannot stand here", "after a labelled module", hint)
    if token.kind == "COLON" and at.inside == "LSQB":
        return at.say("AD0134", "a slice is written with `..`", "not expected", "Write `x[1..3]`, `x[..3]` or `x[1..]`.")
    if token.kind == "COMMA" and not at.in_brackets and at.complete:
        return at.say(
            "AD0134", "several values stand in parentheses", "not expected", "Write `(a, b)`; only `return` and `yield` need none."
        )
    if token.kind == "END":
        return at.say("AD0135", "the file ends too early", f"something is missing after {shown(at.previous)}", "Complete the last line.")
    return None


def _anything(at: Situation) -> Diagnostic:
    token = at.token
    wanted = [text for kind, text in _READABLE.items() if at.accepts(kind)]
    if at.accepts("NUMBER"):
        wanted = ["an expression"]
    label = f"expected {' or '.join(wanted)}" if 0 < len(wanted) <= 4 else "not expected"
    after = f" after {shown(at.previous)}" if at.statement else ""
    return at.say("AD0134", f"{shown(token)} cannot stand{after or ' here'}", label)


RULES: tuple[Rule, ...] = (
    _comment_sign, _doc, _foreign_word, forms.shape, _braces, _condition_behind, _assign, _comparison, _reserved, _pipe, _returned,
    _operand, _then, _else, forms.misplaced, forms.kind, forms.bodiless, forms.header, forms.body, forms.bare, _side_by_side, _signs,
)  # fmt: skip
