"""Rules of mistakes.py about declarations, statements and bodies: incomplete, or in the wrong place."""

from __future__ import annotations

from archdsl.diagnostics import Diagnostic
from archdsl.language.lexer import Token
from archdsl.language.situation import BEGINS, HEADERS, INFIX, STOPS, Situation, is_word

DECLARATION_WORDS = {"block": "Name", "arch": "Name", "scan": "name", "act": "name(x)"}
DECLARATIONS = (*HEADERS, "EXPECT", "IMPORT", "PIN", "LANGUAGE")
STATEMENTS = ("IN", "STATE", "PARAM", "AUX", "TAP", "WHERE", "RETURN", "YIELD")


# ---- shapes and bodies that are missing ----


def shape(at: Situation) -> Diagnostic | None:
    """`in x [T, d]`, `state S = 0`, `in x: T, d`: a declaration of a value without its shape."""
    first = at.first
    if first.kind not in ("IN", "STATE", "PARAM") or at.in_brackets or len(at.statement) < 2 or at.has("ASSIGN", "TILDE", "WHERE"):
        return None
    name = at.statement[1].text
    form = {"IN": f"in {name}: [T, d]", "STATE": f"state {name}: [n, m] = 0", "PARAM": f"param {name}: [d] ~ zeros"}[first.kind]
    if at.previous.kind == "NAME" and at.accepts("LSQB") and at.token.kind != "LSQB":
        return at.say("AD0118", "a shape stands in brackets", "not a shape", f"Write `{form}`.", at=at.previous)
    if at.previous.kind == "COLON" or (at.previous.kind == "NAME" and len(at.statement) == 2 and at.accepts("COLON")):
        return at.say("AD0118", f"`{name}` is declared without a shape", "expected `: [..]` before this", f"Write `{form}`.")
    return None


def bodiless(at: Situation) -> Diagnostic | None:
    """`repeat 3` and `train` without a body."""
    heads = [t for t in at.statement if t.kind in ("REPEAT", "LOOP")]
    if at.previous.text == "train" and at.complete and (at.token.kind in BEGINS or is_word(at.token)):
        return at.say("AD0136", "`train` takes a body in braces", "expected `{` before this", "Write `train { f } else { g }`.")
    if not heads or not at.complete or not at.accepts("LBRACE") or not (at.token.kind in STOPS or at.token.kind == "ARROW"):
        return None
    word = heads[-1].text
    return at.say("AD0136", f"this `{word}` has no body", "expected `{` before this", f"Write `{word} 4 {{ … }}`.")


# ---- statements and declarations in the wrong place ----


def misplaced(at: Situation) -> Diagnostic | None:
    """Statements at the top of a file, declarations inside a body."""
    token = at.token
    if at.statement or token.kind not in (*STATEMENTS, *DECLARATIONS):
        return None
    if token.kind in STATEMENTS and not at.inside:
        title = f"`{token.text}` belongs in a body"
        return at.say("AD0141", title, "at the top of the file", "Put it between the braces of a block, an arch or a scan.")
    if token.kind in DECLARATIONS and at.inside:
        title = f"`{token.text}` cannot stand inside a body"
        hint = "Move it to the top of the file. An anonymous block is written `{ in x; return … }`."
        return at.say("AD0140", title, "inside braces", hint)
    return None


def header(at: Situation) -> Diagnostic | None:
    """A declaration that lacks its name, its body, its inputs or its condition."""
    first, token = at.first, at.token
    unnamed = first.kind == "NAME" and first.text in DECLARATION_WORDS and len(at.statement) == 1 and not at.inside
    if unnamed and token.kind in ("LPAR", "LBRACE", "STRING"):
        hint = f"Write `{first.text} {DECLARATION_WORDS[first.text]} …`."
        return at.say("AD0146", f"this `{first.text}` has no name", "expected a name before this", hint)
    if first.text == "expect" and len(at.statement) == 1 and token.kind in STOPS:
        return at.say("AD0146", "this `expect` has no condition", "nothing follows", "Write `expect params < 1_000_000`.", at=first)
    if first.kind not in HEADERS or at.in_brackets or at.has("ASSIGN", "LBRACE"):
        return None
    name = at.statement[1].text if len(at.statement) > 1 else "Name"
    if first.kind == "ACT":
        title, hint = "an activation is one equation", f"Write `act {name}(x) = …`."
    elif first.kind == "SCAN":
        title, hint = "a scan has a body in braces", f"Write `scan {name} {{ in …; state …; …; yield … }}`."
    else:
        title, hint = f"this {first.text} has no body", f"Write `{first.text} {name} {{ … }}` or `{first.text} {name} = …`."
    return at.say("AD0146", title, "not expected", hint)


def kind(at: Situation) -> Diagnostic | None:
    """`heads: 8` in a list of parameters."""
    if at.previous.kind != "COLON" or at.first.kind not in HEADERS or at.inside != "LPAR" or at.token.kind == "NAME":
        return None
    name = at.tokens[at.index - 2].text
    hint = f"A default is written `{name} = {at.token.text}`, a kind `{name}: int`."
    return at.say("AD0143", "a kind stands after `:`", "not a kind", hint, "The kinds are module, value, int, float, str, bool, list.")


def body(at: Situation) -> Diagnostic | None:
    """A body behind something that takes none."""
    if at.token.kind != "LBRACE" or not at.complete:
        return None
    before = at.previous
    if before.text in ("repeat", "loop"):
        return at.say("AD0136", f"`{before.text}` needs a count", "expected a number before this", f"Write `{before.text} 4 {{ … }}`.")
    note = "Only `repeat`, `loop`, `route(…)`, `skip(…)` and `train` take a body behind them."
    hint = "Pass a body as an argument: `residual({ in x; return … })`, or pipe into it: `f -> { … }`."
    return at.say("AD0136", "a body cannot stand here", "not expected", hint, note)


def bare(at: Situation) -> Diagnostic | None:
    """An expression where a statement is expected."""
    token = at.token
    starts = not at.statement and token.kind in BEGINS | {"MINUS"}
    first = at.first.kind in BEGINS | {"MINUS"}
    ends = at.complete and token.kind == "SEP" and first and not at.has("ASSIGN")
    plain = all(t.kind in ("NAME", "PRIMED") for t in at.statement) and len(at.statement) == 1
    goes_on = plain and (token.kind in ("LPAR", "LSQB", "DOT") or token.kind in INFIX or token.kind in STOPS)
    if at.in_brackets or not (starts or ends or goes_on) or (token.kind == "ASSIGN"):
        return None
    if ends and at.has("CMP") and any(t.text == "==" for t in at.statement):
        sign = next(t for t in at.statement if t.text == "==")
        return at.say("AD0121", "`==` compares; `=` binds a name", "at the start of a statement", "Write `=`.", at=sign)
    rest = at.rest()
    place = at.range(at.first, (rest or at.statement)[-1])
    assign = _bare_assign(rest)
    if assign is not None and at.statement:
        place = at.range(at.first, rest[assign - 1])
        return at.say("AD0139", "only a name can stand before `=`", "not a name", "Write `name = …`.", at=place)
    if not at.inside:
        hint = "Write `arch Name { … }` or `block Name = …` around it; a constant is `name = value`."
        return at.say("AD0137", "this expression declares nothing", "at the top of the file", hint, at=place)
    if at.first.kind == "IF":
        hint = "A conditional is a value: write `y = if c then a else b`."
        return at.say(
            "AD0137", "this conditional is not used", "its value goes nowhere", hint, "There are no statements within `if`.", at=place
        )
    hint = "Use it: `y = …`, or `return …` for the result."
    return at.say("AD0137", "this expression is not used", "its value goes nowhere", hint, "A statement alone changes nothing.", at=place)


def _bare_assign(tokens: list[Token]) -> int | None:
    """The place of the first `=` outside brackets."""
    depth = 0
    for position, token in enumerate(tokens):
        depth += (token.kind in ("LPAR", "LSQB", "LBRACE", "LSET")) - (token.kind in ("RPAR", "RSQB", "RBRACE"))
        if token.kind == "ASSIGN" and depth == 0 and position:
            return position
    return None
