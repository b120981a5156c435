"""Tables of vectors, and logits from the same table."""

from __future__ import annotations

import math
from typing import Any

from archdsl.graph.ir import Attrs, Axis, Init, Instance, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, elements, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, known, switch, weight
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise, Pure


@frozen
class EmbeddingAttrs(Attrs):
    vocab: Size = param("size", doc="number of rows")
    d: Size = param("size", doc="size of a row")
    weight: Init | None = param("init", None, "how the table begins; normal(0.02) if not said")


class Embedding(Elementwise[EmbeddingAttrs]):
    """ids int[..] -> [.., d]: one learned row per id."""

    name = "embedding"
    category = "table"
    short = "x"
    inputs = ("ids",)
    attributes = EmbeddingAttrs
    doc = "A learned vector for each id. The table begins normal with standard deviation 0.02."

    def infer(self, use: Use[EmbeddingAttrs]) -> list[TensorType]:
        ids = require_kind(use, 0, "int")
        vocab = known(use, "vocab", use.args.vocab, "The table has that many rows.")
        d = known(use, "d", use.args.d, "The table's rows have that size.")
        weight(use, "weight", (vocab, d), given_init(use.args.weight, Init("normal", (0.02,))))
        return [TensorType((*ids.axes, Axis(d)), "float", ids.batched)]

    def module(self, node: Node[EmbeddingAttrs]) -> str | None:
        return call("nn.Embedding", str(node.attrs.vocab), str(node.attrs.d))

    def emit(self, node: Node[EmbeddingAttrs], args: list[str], e: Emitter) -> str:
        return call(e.self, args[0])


@frozen
class UnembedAttrs(Attrs):
    table: Instance = param("module", doc="an embedding (or linear) that has been applied before")
    bias: Any = param("any", False, "true or how it begins: a bias of its own")
    transposed: bool = False  # the table is a linear's, whose transpose is applied


class Unembed(Pure[UnembedAttrs]):
    """x [.., d] -> [.., vocab]: the transpose of another instance's map."""

    name = "unembed"
    category = "table"
    attributes = UnembedAttrs
    doc = "Logits with an embedding's weights: tied input and output tables. Given a linear, it applies its transpose (a tied decoder)."
    source = "Press & Wolf, Using the output embedding to improve language models, 2017"

    def infer(self, use: Use[UnembedAttrs]) -> list[TensorType]:
        use.rank(0, 1)
        x = require_kind(use, 0, "float")
        table = use.args.table
        if not isinstance(table, Instance) or table.op not in ("embedding", "linear") or "weight" not in table.weights:
            what = f"`{table.name}` is a {table.op}" if isinstance(table, Instance) else "this is no instance"
            title = "unembed needs an embedding or a linear with a weight of its own"
            use.fail("AD0262", title, what, hint="Bind it first: table = embedding(vocab, d).")
        rows, columns = table.weights["weight"].shape
        out, inner = (rows, columns) if table.op == "embedding" else (columns, rows)
        use.attrs = replace(use.attrs, transposed=table.op == "linear")
        use.same(x.axes[-1].size, inner, f"the input's last axis and the rows of `{table.name}`")
        if switch(use, "bias", use.args.bias):
            bound = 1 / math.sqrt(inner)
            weight(use, "bias", (out,), given_init(use.args.bias, Init("uniform", (-bound, bound))))
        elif use.args.bias is None:
            use.attrs = replace(use.attrs, bias=False)
        return [TensorType((*x.axes[:-1], Axis(out)), x.kind, x.batched)]

    def flops(self, node: Node[UnembedAttrs]) -> Size:
        return elements(node.outputs[0].type) * node.inputs[0].type.axes[-1].size * 2

    def time(self, node: Node[UnembedAttrs], index: int, axis: int) -> Reach:
        return SAME if axis < -1 else everything("sums over the axis")

    def emit(self, node: Node[UnembedAttrs], args: list[str], e: Emitter) -> str:
        table = f"{e.module_source(node.attrs.table)}.weight" + (".T" if node.attrs.transposed else "")
        return call(e.support("linear"), args[0], table, *([e.weight("bias")] if node.attrs.bias is not False else []))


PRIMITIVES: tuple[Primitive[Any], ...] = (Embedding(), Unembed())
