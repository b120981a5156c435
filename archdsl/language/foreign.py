"""Signs and words of other languages, and what is written here instead: plain tables for the diagnostics."""

from __future__ import annotations

_MATHS = ("+", "-", "*", "/", "%", "@", "**")

# sign: (title, hint, the sign taken instead so that parsing goes on; "" drops it)
FOREIGN: dict[str, tuple[str, str, str]] = {
    "&&": ("`&&` is written `and` here", "Write `and`.", "and"),
    "&": ("`&` is written `and` here", "Write `and`.", "and"),
    "||": ("`||` is written `or` here", "Write `or`.", "or"),
    "!": ("`!` is written `not` here", "Write `not x`; unequal is `!=`.", "not"),
    ":=": ("`:=` is written `=` here", "A name is bound with `=`.", "="),
    "===": ("`===` is written `==` here", "There is one equality, `==`.", "=="),
    "!==": ("`!==` is written `!=` here", "There is one inequality, `!=`.", "!="),
    "<>": ("`<>` is written `!=` here", "Write `!=`.", "!="),
    "=>": ("`=>` has no meaning here", "A pipe is written `->`; at least is `>=`.", "->"),
    "|>": ("`|>` is written `->` here", "A pipe is written `x -> f -> g`.", "->"),
    "^": ("`^` has no meaning here", "A power is written `x ** 2`.", "**"),
    "...": ("`...` is written `..` here", "Any axes of a shape, and the ends of a range, are written with two dots.", ".."),
    "?": ("`?` has no meaning here", "A conditional is written `if c then a else b`.", ""),
    "$": ("`$` has no meaning here", "Names consist of letters, digits and `_`.", ""),
    "`": ("a backtick has no meaning here", "Names stand bare; strings have double quotes.", ""),
    "\\": ("`\\` has no meaning here", "A line that ends in `->`, `,` or an operator goes on by itself.", ""),
}
FOREIGN |= {f"{sign}=": (f"`{sign}=` does not exist here", f"Bind a name: `y = x {sign} 1`.", "=") for sign in _MATHS}

# characters that a word processor puts in the place of a sign
LOOKALIKES: dict[str, str] = dict(
    zip("“”„–—−×·÷→≤≥≠¬∧∨＝（），；：", ['"'] * 3 + ["-"] * 3 + ["*"] * 2 + ["/", "->", "<=", ">=", "!=", "not", "and", "or", *"=(),;:"])
)
LOOKALIKES |= {"…": "..", "‘": '"', "’": '"'}

# words that begin a statement, a declaration or an expression elsewhere: hint
WORDS: dict[str, str] = {
    "def": "A block is written `block Name(parameters) { … }`, an activation `act name(x) = …`.",
    "fn": "A block is written `block Name(parameters) { … }`, an activation `act name(x) = …`.",
    "func": "A block is written `block Name(parameters) { … }`, an activation `act name(x) = …`.",
    "function": "A block is written `block Name(parameters) { … }`, an activation `act name(x) = …`.",
    "class": "A block is written `block Name(parameters) { … }`, a whole model `arch Name(parameters) { … }`.",
    "module": "A block is written `block Name(parameters) { … }`, a whole model `arch Name(parameters) { … }`.",
    "model": "A whole model is written `arch Name(parameters) { … }`.",
    "lambda": "An anonymous block is written `{ in x; return x * 2 }`.",
    "let": "A name is bound by `name = value` alone.",
    "var": "A name is bound by `name = value` alone.",
    "const": "A name is bound by `name = value` alone.",
    "val": "A name is bound by `name = value` alone.",
    "for": "Layers in a row are written `repeat i in 0..n { … }`, one layer several times `loop n { … }`; lists `[f(i) for i in 0..n]`.",
    "while": "One layer several times is written `loop n { … }`, with a stop `loop i in 0..8 until halt(threshold=0.99) { … }`.",
    "do": "One layer several times is written `loop n { … }`.",
    "import": 'A file is imported by its path in quotes: `import "std/transformer.arch"`.',
    "from": 'A file is imported by its path in quotes: `import "std/transformer.arch"`.',
    "use": 'A file is imported by its path in quotes: `import "std/transformer.arch"`.',
    "include": 'A file is imported by its path in quotes: `import "std/transformer.arch"`.',
    "elif": "Write `else if … then … else …`.",
    "assert": "A condition on sizes is written `where n % 2 == 0`, a contract on the whole `expect params < 1_000_000`.",
    "print": "A spec prints nothing; `tap name = value` makes an inner value readable.",
    "with": "Nothing is opened here; `with` only follows `expect`.",
    "self": "Layers are named in the body itself: `q = x -> q_proj: linear(d)`.",
    "output": "A body gives its result with `return`.",
    "out": "A body gives its result with `return`.",
    "input": "An input is declared `in x: [T, d]`.",
    "inputs": "An input is declared `in x: [T, d]`.",
    "match": "A choice by condition is written `if c then a else b`.",
    "switch": "A choice by condition is written `if c then a else b`.",
    "case": "A choice by condition is written `if c then a else b`.",
    "type": "Kinds are written after the name: `heads: int`, `f: module`, `in x: [T, d]`.",
}
