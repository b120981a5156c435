"""Small spaces, one for each way in which decisions come about."""

SPACES = {
    "cells": """
block Op = relu | gelu | silu
block Cell(d, k in {1, 2} = 1) {
    in x: [T, d]
    a = x -> linear(k * d) -> Op -> linear(d)
    b = x -> (linear(d) | causal_conv(3)) -> Op
    return a + b
}
arch Net(d in 16..=18 = 16) {
    in x: [T, 8]
    return x -> linear(d) -> Cell(d) -> (mean(axis=0) | sum(axis=0))
}
""",
    "grammar": """
block T(d) = linear(d) | (T(d) -> relu -> T(d)) | Around(T(d))
block Around(f) { in x: [..]; return x + f(x) }
arch Tree(d = 8) { in x: [d]; return x -> T(d) }
""",
    "handed on": """
block Stack(f, n = 3) = repeat n { step: f -> relu }
block Mix = linear(8) | (linear(4) -> linear(8))
arch A(n in 1..=3 = 2) { in x: [8]; return x -> Stack(Mix, n) }
""",
    "recipes": """
block P(d) = linear(d)
block Q(d) = linear(d) -> (relu | tanh)
arch A(F in {P, Q} = P) { in x: [8]; return x -> F(8) -> repeat 2 { F(8) } }
""",
    "index": """
arch A { in x: [8]; return x -> layers: repeat i in 1..=4 { linear(8 * i) -> (relu | gelu) -> linear(8) } }
""",
    "captured": """
block Op(d) = linear(d) | (linear(2 * d) -> linear(d))
arch A {
    in x: [8]
    h = x -> linear(8)
    return x -> repeat 3 { in z; return z + h -> Op(8) }
}
""",
    "shared": """
block Op(d) = linear(d) | (linear(2 * d) -> linear(d))
arch A {
    in x: [8]
    f = Op(8)
    return x -> repeat 2 { f -> (relu | tanh) } -> f
}
""",
    "types": """
block Grow = linear(8) | linear(12) | (linear(8) -> relu)
arch A { in x: [8]; return x -> Grow -> Grow -> (linear(8) | { in x: [12]; return x }) }
""",
    "reversible": """
block F = linear(8) | (linear(16) -> relu -> linear(8))
block Turn { in a: [8], b: [8]; y = a + F(b); return b, y }
arch A {
    in x: [8]
    a, b = (x, x) -> reversible repeat 3 { Turn }
    return a + b
}
""",
    "constants": """
act_ = relu | gelu
w = 8
arch A { in x: [8]; return x -> linear(w) -> act_ -> linear(w) -> act_ }
""",
    "modes": """
block F = linear(8) | (linear(16) -> relu -> linear(8))
arch A(n in {1, 2, 4} = 2) {
    in x: [8]
    return x -> loop n { F } -> train { dropout(0.1) | dropout(0.2) } else { linear(8) | relu }
}
""",
    "depends": """
arch A(a in {1, 2, 3} = 1, b in {1, 2, 3} = 1) {
    in x: [8]
    return x -> (if a * b > 4 then repeat a { linear(8) | relu } else linear(8) | gelu)
}
""",
}
COUNTS = {
    "cells": 3 * 2 * 3 * 2 * 3 * 2,
    "handed on": 2 + 2**2 + 2**3,
    "recipes": 1 + 2**3,
    "index": 2**4,
    "captured": 2**3,
    "shared": 2 * 2**2,
    "types": 12,
    "reversible": 2**3,
    "constants": 2**2,
    "modes": 3 * 2 * 2 * 2,
    "depends": 6 * 2 + 4 + 8 + 8,
}
