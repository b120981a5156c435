"""Steps at the edge of what a scan is: states that stay, move on, change places or are never read, and yields of whatever there is."""

from __future__ import annotations

import random

# name -> the step
STEPS = {
    "delay": "state last: [d] = 0; last' = x; yield last",
    "both": "state last: [d] = 0; last' = x; yield last, last'",
    "two back": "state a: [d] = 0; state b: [d] = 1; b' = a; a' = x; yield b",
    "swapped": "state a: [d] = 0; state b: [d] = 1; a' = b; b' = a; yield a + x",
    "swapped alone": "state a: [d] = 0; state b: [d] = 1; a' = b; b' = a; yield a, b'",
    "round": "state a: [d] = 0; state b: [d] = 1; state c: [d] = 2; a' = b; b' = c; c' = a; yield a * x, c",
    "stays": "state a: [d] = 2; a' = a; yield a + x",
    "stays alone": "state a: [d] = 2; a' = a; yield a",
    "set to nothing": "state a: [d] = 2; a' = zeros([d]); yield a + x",
    "set to one": "state a: [d] = 2; a' = ones([d]); yield a, a'",
    "set to a weight": "param w: [d] ~ normal(1); state a: [d] = 2; a' = w; yield a + x",
    "a weight alone": "param w: [d] ~ normal(1); state a: [d] = 2; a' = w; yield a, w",
    "never read": "state a: [d] = 2; a' = 0.5 * a + x; yield x",
    "never read, never its own": "state a: [d] = 2; a' = x; yield 3 * x",
    "nothing kept": "yield 2 * x, x",
    "nothing kept, one yield": "yield 2 * x",
    "one next for two": "state a: [d] = 2; state b: [d] = 0; n = 0.5 * a + b + x; a' = n; b' = n; yield a - b, n",
    "one input for two": "state a: [d] = 2; state b: [d] = 0; a' = x; b' = x; yield a - b",
    "next of another": "state a: [d] = 2; state b: [d] = 0; a' = 0.5 * a + x; b' = a'; yield b",
    "made before": "state a: [d] = 0; a' = linear(d)(x); yield a",
    "made before and after": "state a: [d] = 0; a' = linear(d)(x); yield linear(d)(a)",
    "one yield thrice": "state a: [d] = 2; a' = 0.5 * a + x; yield a', a, a'",
    "without axes": "state a: [] = 1; a' = sum(x); yield a",
    "matrix": "state S: [d, d] = 0; S' = diag(x); yield x @ S, S",
    "times nothing": "state a: [d] = 1; a' = 0 * a; yield a + x",
    "cancelled": "state a: [d] = 1; a' = a - a + x; yield a",
    "learned start": "state a: [d] ~ normal(1); a' = x; yield a",
    "complex": "state z: complex[d] = 0; state w: complex[d] = 1; z' = complex(x, x); w' = z; yield real(w) + imag(z), real(z)",
    "real in complex": "state z: complex[d] = 0; z' = x; yield imag(z) + real(z)",
    "bools": "state b: bool[d] = 0; b' = x > 0; yield b",
}  # fmt: skip

NEXT = ("x", "{own}", "{other}", "{before}", "zeros([d])", "w", "tanh(x)", "0.5 * {own} + x", "0.5 * {other} - w", "linear(d)(x)", "{own} * {other}")  # fmt: skip
YIELDS = ("x", "{one}", "{one}'", "w", "{one} + x", "{one} * {two}'", "2 * x", "linear(d)({one})")


def drawn(seed: int) -> str:
    """A step of two or three states, put together at random."""
    rng = random.Random(seed)
    states = list("abc")[: rng.choice((2, 2, 3))]
    parts = ["param w: [d] ~ normal(1)", *(f"state {s}: [d] = {rng.choice((0, 1, 0.5))}" for s in states)]
    given: list[str] = []
    for s in rng.sample(states, len(states)):
        value = rng.choice(NEXT if given else [n for n in NEXT if "before" not in n])
        other = rng.choice([o for o in states if o != s])
        parts.append(f"{s}' = " + value.format(own=s, other=other, before=f"{rng.choice(given)}'" if given else ""))
        given.append(s)
    chosen = rng.sample(YIELDS, rng.choice((1, 2, 3)))
    return "; ".join([*parts, "yield " + ", ".join(y.format(one=rng.choice(states), two=rng.choice(states)) for y in chosen)])
