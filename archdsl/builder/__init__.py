"""Specs written by a Python program: what it builds prints as an `.arch` file and reads back.

import archdsl
from archdsl.builder import names as n, repeat

b = archdsl.Builder("A small decoder.")
b.use("std/transformer.arch")
with b.arch("Tiny", vocab=256, d=64, depth=archdsl.builder.parameter(4, within=range(2, 9))) as a:
    tokens = a.input("tokens", "int[T]", lengths=True)
    table = a.let("table", n.embedding(a.vocab, a.d))
    layer = n.residual(n.rmsnorm >> n.Attention(4)) >> n.residual(n.rmsnorm >> n.SwiGLU(4 * a.d))
    a.returns(table(tokens) >> repeat(a.depth, layer) >> n.rmsnorm >> n.unembed(table))
b.expect("causal")
print(b.text())
spec = b.spec(d=128)
"""

from archdsl.builder.body import Body, inside, lambda_, loop, repeat, route, shape_of, skip, train
from archdsl.builder.builder import Builder, Parameter, parameter
from archdsl.builder.expression import (
    E,
    after,
    begins,
    both,
    choice,
    code,
    each,
    either,
    label,
    names,
    negate,
    one_of,
    pipe,
    span,
    starts,
    when,
)

__all__ = [
    "Body",
    "Builder",
    "E",
    "Parameter",
    "after",
    "begins",
    "both",
    "choice",
    "code",
    "each",
    "either",
    "inside",
    "label",
    "lambda_",
    "loop",
    "names",
    "negate",
    "one_of",
    "parameter",
    "pipe",
    "repeat",
    "route",
    "shape_of",
    "skip",
    "span",
    "starts",
    "train",
    "when",
]
