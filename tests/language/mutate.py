"""Seeded damage to valid texts: characters, tokens and lines dropped, doubled, swapped or replaced by hostile ones."""

from __future__ import annotations

import random
import re

_TOKEN = re.compile(r'"[^"\n]*"|#[^\n]*|[A-Za-z_]\w*\'?|\d[\d_.]*|\s+|->|\.\.=?|[<>=!]=|\*\*|//|.', re.DOTALL)
_HOSTILE = [
    *"()[]{}=~|,;:.'\"#@%*-+/<>!&^?$\\`\0\r\n\t",
    *("->", "..", "..=", "**", "//", "==", '"""', "/*", "*/", ":=", "&&", "=>"),
    *("if", "then", "else", "in", "not", "and", "or", "return", "yield", "none", "true"),
    *("repeat", "loop", "loop 2", "route(", "skip(", "train {", "reversible", "until", "step", "with", "on", "where", "backward", "for"),
    *("block", "arch A", "act f", "scan s", "expect", "import", "state S:", "param", "language 1", "pin", "x'", "é", "→"),
    *("1e999", "0.", ".5"),
    *("def f(x):", "lambda x: x", "a b", "x = = y", "{ }", "()", "[]", "((((", "}}}}", "\ufeff", "\u200b", "9" * 30, "(" * 70, "a" * 70),
]


def mutated(seed: int, texts: list[str]) -> str:
    """One damaged text; the same seed and texts give the same result."""
    rng = random.Random(seed)
    text = rng.choice(texts)
    if rng.random() < 0.3:
        return _characters(text, rng)
    parts = _TOKEN.findall(text)
    if rng.random() < 0.3:  # a stretch of the file: smaller, and cut off
        start = rng.randrange(len(parts))
        parts = parts[start : start + rng.randrange(1, 120)]
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 12])):
        at = rng.randrange(len(parts)) if parts else 0
        kind = rng.randrange(6)
        if kind == 0 and parts:
            del parts[at]
        elif kind == 1 and parts:
            parts.insert(at, parts[at])
        elif kind == 2 and parts:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif kind == 3 and parts:
            parts[at] = rng.choice(_HOSTILE)
        elif kind == 4:
            donor = _TOKEN.findall(rng.choice(texts))
            start = rng.randrange(len(donor))
            parts[at:at] = donor[start : start + rng.randrange(1, 20)]
        else:
            parts.insert(at, rng.choice(_HOSTILE))
    return "".join(parts)


def _characters(text: str, rng: random.Random) -> str:
    chars = list(text)
    for _ in range(rng.choice([1, 2, 5, 20])):
        at = rng.randrange(len(chars)) if chars else 0
        kind = rng.randrange(3)
        if kind == 0 and chars:
            del chars[at : at + rng.randrange(1, 4)]
        elif kind == 1:
            chars.insert(at, chr(rng.choice([rng.randrange(128), rng.randrange(0x3000), rng.randrange(0x11_0000)])))
        elif chars:
            chars[at] = rng.choice(_HOSTILE)
    return "".join(chars)
