"""Convolution in time that never looks ahead, with a decoding form."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Axis, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Slot, Use, elements, param
from archdsl.primitives.conv import BIAS, WEIGHT, kernel, per_axis, sources, taps
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.reach import SAME, Reach, everything, window
from archdsl.primitives.text import call
from archdsl.primitives.traits import Pure


@frozen
class CausalConvAttrs(Attrs):
    k: Size = param("size", 4, "number of taps")
    out: Size | None = param("size", None, "output features; as many as the input's if not said")
    groups: Size = param("size", 1, "feature groups that do not mix; groups = d is depthwise")
    dilation: Size = param("size", 1, "distance between taps")
    bias: Any = BIAS
    weight: Any = WEIGHT
    features: Size = 0
    inner: Size = 0  # features of one group


class CausalConv(Pure[CausalConvAttrs]):
    """x [.., T, d] -> [.., T, out]: output t sees inputs t, t - dilation, … (k of them)."""

    name = "causal_conv"
    category = "weights"
    attributes = CausalConvAttrs
    doc = "Convolution in time that never looks ahead, on time and features as they lie in [T, d]. Weights are those of torch.nn.Conv1d."
    source = "van den Oord et al., WaveNet, 2016"

    def infer(self, use: Use[CausalConvAttrs]) -> list[TensorType]:
        use.rank(0, 2)
        x = require_kind(use, 0, "float")
        features = x.axes[-1].size
        out = features if use.args.out is None else use.args.out
        k, dilation = taps(use, use.args.k, use.args.weight, 1)[0], per_axis(use, "dilation", use.args.dilation, 1, 1)[0]
        inner = use.divides(features, use.args.groups, "features and groups")
        use.divides(out, use.args.groups, "output features and groups")
        use.attrs = replace(use.attrs, k=k, dilation=dilation, out=out, features=features, inner=inner)
        if kernel(use, (out, inner, k), out, use.args.weight, use.args.bias):
            use.fail("AD0260", "kernel and bias of causal_conv are the same for all samples", "this one is batched")
        return [TensorType((*x.axes[:-1], x.axes[-1] if out is features else Axis(out)), x.kind, x.batched)]

    def flops(self, node: Node[CausalConvAttrs]) -> Size:
        return elements(node.outputs[0].type) * node.attrs.inner * (2 * node.attrs.k)

    @staticmethod
    def reach(node: Node[CausalConvAttrs]) -> int:
        """How many positions before its own the kernel reaches."""
        return int((node.attrs.k - 1) * node.attrs.dilation)

    def slots(self, node: Node[CausalConvAttrs]) -> list[Slot]:
        *lead, _, features = node.inputs[0].type.sizes
        reach = self.reach(node)
        return [Slot("recent", (*lead, reach, features))] if reach else []

    def time(self, node: Node[CausalConvAttrs], index: int, axis: int) -> Reach:
        if index > 0:
            return everything("takes a kernel made from the whole sequence")
        if axis == -1:
            return everything("mixes the features")
        return window(self.reach(node)) if axis == -2 else SAME

    def module(self, node: Node[CausalConvAttrs]) -> str | None:
        a = node.attrs
        if node.value_inputs:
            return None
        named = {"dilation": str(a.dilation)} if a.dilation != 1 else {}
        named |= {"groups": str(a.groups)} if a.groups != 1 else {}
        named |= {"bias": "False"} if a.bias is False else {}
        return call("nn.Conv1d", str(a.features), str(a.out), str(a.k), **named)

    def named(self, node: Node[CausalConvAttrs]) -> dict[str, str]:
        a = node.attrs
        return ({"groups": str(a.groups)} if a.groups != 1 else {}) | ({"dilation": str(a.dilation)} if a.dilation != 1 else {})

    def emit(self, node: Node[CausalConvAttrs], args: list[str], e: Emitter) -> str:
        weight, bias = sources(node, node.attrs.bias, args, e)
        return call(e.support("causal_conv"), args[0], weight, *([] if bias == "None" else [bias]), **self.named(node))

    def step(self, node: Node[CausalConvAttrs], args: list[str], e: Emitter) -> str:
        if not e.over_time(node.inputs[0].type.axes[-2]):
            return self.emit(node, args, e)
        return call(e.support("causal_conv_step"), args[0], *sources(node, node.attrs.bias, args, e), e.slot, e.clock, **self.named(node))


PRIMITIVES: tuple[Primitive[Any], ...] = (CausalConv(),)
