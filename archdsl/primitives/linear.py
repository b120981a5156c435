"""Linear maps of the last axis."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from archdsl.graph.ir import Attrs, Axis, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, elements, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, given_value, known, switch, value_node_type, weight
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import atom, call
from archdsl.primitives.traits import Pure
from archdsl.recurrence.definition import Definition, Moves, NotElementary, sizes_of
from archdsl.recurrence.step import INDICES, access, reindexed

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter


@frozen
class LinearAttrs(Attrs):
    out: Size = param("size", doc="size of the last axis of the output")
    bias: Any = param("any", True, "true, false, how it begins (bias ~ zeros), or a value [out]")
    weight: TensorType | Init | None = param(
        "value", None, "how the weight begins (weight ~ normal(0.02)), or a value [out, n] to use as the weight"
    )


class Linear(Pure[LinearAttrs]):
    """x [.., n] -> [.., out]: x W^T + b with W [out, n]."""

    name = "linear"
    category = "weights"
    short = "h"
    attributes = LinearAttrs
    doc = "Linear map of the last axis. Weight and bias begin uniform within 1/sqrt(inputs), as in torch.nn.Linear."

    def infer(self, use: Use[LinearAttrs]) -> list[TensorType]:
        use.rank(0, 1)
        x = require_kind(use, 0, "float", "complex")
        out, inputs = use.args.out, x.axes[-1].size
        batched = x.batched
        bound = 1 / math.sqrt(inputs) if isinstance(inputs, int) else 0.0
        given = use.args.weight
        if isinstance(given, TensorType):
            self._matrix(use, given, out, inputs)
            batched = batched or given.batched
        else:
            known(use, "out", use.args.out, "The weight's shape depends on it.")
            weight(use, "weight", (out, inputs), given_init(use.args.weight, Init("uniform", (-bound, bound))), x.kind)
        bias = use.args.bias
        if isinstance(bias, TensorType):
            if bias.rank != 1:
                use.fail("AD0303", "the bias of linear must have one axis", f"this one is {bias}")
            use.same(bias.axes[-1].size, out, "bias and outputs")
            batched = batched or bias.batched
        elif switch(use, "bias", bias):
            weight(use, "bias", (out,), given_init(bias, Init("uniform", (-bound, bound))), x.kind)
        elif bias is None:
            use.attrs = replace(use.attrs, bias=False)
        return [TensorType((*x.axes[:-1], Axis(out)), x.kind, batched)]

    def _matrix(self, use: Use[LinearAttrs], given: TensorType, out: Size, inputs: Size) -> None:
        if given.rank != 2:
            use.fail("AD0303", "a weight of linear must have two axes, [out, in]", f"this one is {given}", hint="Use rearrange.")
        use.same(given.axes[0].size, out, "rows of the weight and outputs")
        use.same(given.axes[1].size, inputs, "columns of the weight and inputs")

    def flops(self, node: Node[LinearAttrs]) -> Size:
        return elements(node.outputs[0].type) * node.inputs[0].type.axes[-1].size * 2

    def time(self, node: Node[LinearAttrs], index: int, axis: int) -> Reach:
        if index == 0 and axis < -1:
            return SAME
        return everything("sums over the axis" if index == 0 else "takes a weight made from the whole sequence")

    def module(self, node: Node[LinearAttrs]) -> str | None:
        weights = node.instance.weights if node.instance is not None else {}
        matrix, bias = weights.get("weight"), weights.get("bias")
        if matrix is None or matrix.kind != "float" or (node.value_inputs and bias is None):
            return None
        out, inputs = matrix.shape
        return call("Linear", str(inputs), str(out), **({} if bias is not None else {"bias": "False"}))

    def emit(self, node: Node[LinearAttrs], args: list[str], e: Emitter) -> str:
        matrix, bias = given_value(node, args, "weight"), given_value(node, args, "bias")
        if self.module(node) is not None and matrix is None and bias is None:
            return call(e.self, args[0])
        if bias is None and node.attrs.bias is not False:
            bias = e.weight("bias")
        kinds = [value_node_type(node, name) for name in ("weight", "bias")]
        if not any(t is not None and t.batched for t in kinds):
            return call(e.support("linear"), args[0], matrix or e.weight("weight"), *([bias] if bias is not None else []))
        named = {"batched": "True"} if kinds[0] is not None and kinds[0].batched else {}
        x = args[0] if node.inputs[0].type.batched else f"{atom(args[0])}[None]"
        return call(e.support("linear_by_value"), x, matrix or e.weight("weight"), *([bias] if bias is not None else []), **named)

    def moves(self, node: Node[LinearAttrs]) -> Moves:
        return "around"

    def equations(self, node: Node[LinearAttrs], c: Converter) -> Definition:
        instance = node.instance
        if node.value_inputs:
            raise NotElementary("`linear` is given a computed weight", node.origin.span)
        if instance is None or instance.owner is not c.region:
            raise NotElementary("a linear map with a computed weight", node.origin.span)
        x = c.held(c.known[node.inputs[0]], "t")
        out = INDICES[len(x.shape) - 1]
        matrix = instance.weights["weight"].shape
        body = access(c.weight(instance.name, "weight", matrix), (out, "s")) * reindexed(x.body, {out: "s"})
        shape = sizes_of(node.outputs[0])
        result = c.whole(c.define(body, shape, node.outputs[0].name or instance.name, sums=(("s", x.shape[-1]),)))
        if "bias" not in instance.weights:
            return result
        bias = c.weight(instance.name, "bias", (matrix[0],))
        return Definition(shape, result.body + access(bias, (out,)))


PRIMITIVES: tuple[Primitive[Any], ...] = (Linear(),)
