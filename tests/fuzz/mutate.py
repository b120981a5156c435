"""Seeded mutations of real specs: swapped, dropped, doubled and foreign tokens, changed numbers, spliced lines."""

from __future__ import annotations

import random
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOKEN = re.compile(r'"[^"\n]*"|[A-Za-z_]\w*\'?|\d[\d_.]*(?:e-?\d+)?|\s+|->|\.\.=?|[<>=!]=|\*\*|//|.', re.DOTALL)
FOREIGN = [
    "0", "1", "-1", "2", "7", "3.5", "1e9", "9007199254740993", "none", "true", '"x"', '"t c -> c t"', "[]", "[1, 2]", "..", "..=", "->", "|",
    "~", "@", "**", "/", "%", "(", ")", "{", "}", "[", "]", ",", ";", "=", "==", "in", "T", "d", "x", "linear", "relu", "repeat", "loop 2", "state",
    "yield", "if", "then", "else", "zeros", "param([4] ~ ones)", "concat(x, x)", "mean(x, axis=0)", "x'", "attend(x, x, x)", "\n", "'", "\\", "\0",
]  # fmt: skip


def corpus() -> list[str]:
    """The shipped specs, the hard specs and the value model's examples."""
    texts = [p.read_text() for p in sorted(ROOT.glob("specs/**/*.arch")) if p.stem != "activations"]
    texts += [p.read_text() for p in sorted((ROOT / "tests" / "hard").glob("*.arch"))]
    page = (ROOT / "docs" / "language" / "value-model.md").read_text()
    texts += re.findall(r"^```arch [^\n]*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return texts


def mutated(seed: int, texts: list[str]) -> str:
    """One mutated text; the same seed gives the same text."""
    rng = random.Random(seed)
    tokens = TOKEN.findall(rng.choice(texts))
    if rng.random() < 0.6:
        return _same_kind(tokens, rng, texts)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        i = rng.randrange(len(tokens))
        kind = rng.randrange(7)
        if kind == 0:
            del tokens[i]
        elif kind == 1:
            tokens.insert(i, tokens[i])
        elif kind == 2:
            j = rng.randrange(len(tokens))
            tokens[i], tokens[j] = tokens[j], tokens[i]
        elif kind == 3:
            tokens[i] = rng.choice(FOREIGN)
        elif kind == 4:
            tokens.insert(i, rng.choice(FOREIGN))
        elif kind == 5:
            tokens[i] = rng.choice(tokens)
        else:
            other = TOKEN.findall(rng.choice(texts))
            j = rng.randrange(len(other))
            tokens[i : i + 3] = other[j : j + rng.randrange(1, 12)]
        if not tokens:
            tokens = [" "]
    return "".join(tokens)


NUMBERS = ["0", "1", "2", "3", "7", "8", "16", "4097", "-1", "0.5", "1e-5", "100_000", "T", "d", "n"]
KEYWORDS = frozenset(
    [
        "arch",
        "block",
        "scan",
        "act",
        "import",
        "expect",
        "in",
        "return",
        "state",
        "yield",
        "repeat",
        "loop",
        "if",
        "then",
        "else",
        "where",
        "lengths",
        "until",
        "reversible",
        "for",
    ]
)


def _same_kind(tokens: list[str], rng: random.Random, texts: list[str]) -> str:
    """Names for names, numbers for numbers: texts that mostly parse and then meet the checker."""
    names = [t for t in TOKEN.findall(rng.choice(texts)) + tokens if t[0].isalpha() and t not in KEYWORDS]
    for _ in range(rng.choice([1, 1, 2, 4])):
        spots = [i for i, t in enumerate(tokens) if (t[0].isalnum() or t[0] == '"') and t not in KEYWORDS]
        if not spots:
            break
        i = rng.choice(spots)
        if tokens[i][0].isdigit():
            tokens[i] = rng.choice(NUMBERS)
        elif tokens[i][0] == '"':
            tokens[i] = rng.choice([tokens[i].replace(" ", "  ", 1), '"' + tokens[i][2:], '"t c -> c t"', '"a b -> (a b)"', '""'])
        else:
            tokens[i] = rng.choice(names or ["x"]) if rng.random() < 0.8 else rng.choice(NUMBERS)
    return "".join(tokens)
