"""Transposed convolutions."""

from __future__ import annotations

import math
from typing import Any

from archdsl.graph.ir import Attrs, Axis, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_compare
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, elements, param
from archdsl.primitives.conv import BIAS, Kernels, kernel, lifted, one_or_all, per_axis
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import show
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call


@frozen
class DeconvAttrs(Attrs):
    out: Size = param("size", doc="output channels")
    k: list[int] = param("list", 2, "kernel size, one or one per axis")
    stride: list[int] = param("list", None, "factor of enlargement; k if not said")
    padding: list[int] = param("list", 0, "positions cut off at each end")
    output_padding: list[int] = param("list", 0, "positions added at the far end")
    groups: Size = param("size", 1, "channel groups that do not mix")
    bias: Any = BIAS
    weight: Init | None = param("init", None, "how the kernel begins; uniform within 1/sqrt(inputs) if not said")
    dilation: list[int] = param("list", 1, "distance between the kernel's taps")
    channels: Size = 0
    inner: Size = 0  # output channels of one group


class Deconv(Kernels[DeconvAttrs]):
    """Transposed convolution: x [.., c, *space] -> [.., out, *space']."""

    attributes = DeconvAttrs

    def __init__(self, name: str, dims: int):
        self.name, self.dims = name, dims
        self.doc = f"Transposed convolution over the last {dims} axes: with stride = k each position becomes k."

    def infer(self, use: Use[DeconvAttrs]) -> list[TensorType]:
        use.rank(0, self.dims + 1)
        x = require_kind(use, 0, "float")
        n = self.dims
        channels, space = x.axes[-n - 1].size, x.axes[-n:]
        k = per_axis(use, "k", use.args.k, n, 1)
        stride = k if use.args.stride is None else per_axis(use, "stride", use.args.stride, n, 1)
        padding, dilation = per_axis(use, "padding", use.args.padding, n, 0), per_axis(use, "dilation", use.args.dilation, n, 1)
        extra = per_axis(use, "output_padding", use.args.output_padding, n, 0)
        out, groups = use.args.out, use.args.groups
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
            use.fail("AD0261", f"`output_padding` of {self.name} must be below the stride (or the dilation)", f"it is {show(extra)}")
        use.attrs = replace(use.attrs, k=k, stride=stride, dilation=dilation, padding=padding, output_padding=extra, channels=channels)
        use.divides(channels, groups, "input channels and groups")
        inner = use.divides(out, groups, "output channels and groups")
        use.attrs = replace(use.attrs, inner=inner)
        if isinstance(use.args.bias, TensorType):
            use.fail("AD0260", f"the bias of {self.name} cannot be a value", "a value", hint="Leave it out and add it: … bias=false) + b.")
        kernel(use, (channels, inner, *k), out, use.args.weight, use.args.bias)
        axes = []
        for i, axis in enumerate(space):
            rest = dilation[i] * (k[i] - 1) + extra[i] + 1 - stride[i] - 2 * padding[i]
            size = axis.size * stride[i] + rest
            if decide_compare("<", size, 1, use.facts):
                use.fail("AD0321", f"{self.name} has nothing left of an axis", f"{axis.size} positions become {size}")
            axes.append(axis if stride[i] == 1 and rest == 0 else Axis(size, ragged=self.stretched(axis, stride[i], rest)))
        return [TensorType((*x.axes[: -n - 1], Axis(out), *axes), x.kind, x.batched)]

    @staticmethod
    def stretched(axis: Axis, stride: int, rest: int) -> str | None:
        return None if axis.ragged is None else f"{axis.ragged};*{stride},{rest}"

    def flops(self, node: Node[DeconvAttrs]) -> Size:
        return elements(node.inputs[0].type) * node.attrs.inner * (2 * math.prod(node.attrs.k))

    def time(self, node: Node[DeconvAttrs], index: int, axis: int) -> Reach:
        if index > 0:
            return everything("takes a kernel made from the whole sequence")
        if axis < -self.dims - 1:
            return SAME
        return everything("mixes the channels" if axis == -self.dims - 1 else "changes the axis")

    def module(self, node: Node[DeconvAttrs]) -> str | None:
        a = node.attrs
        named = {"stride": one_or_all(a.stride)} if set(a.stride) != {1} else {}
        named |= {"padding": one_or_all(a.padding)} if set(a.padding) != {0} else {}
        named |= {"output_padding": one_or_all(a.output_padding)} if set(a.output_padding) != {0} else {}
        named |= {"groups": str(a.groups)} if a.groups != 1 else {}
        named |= {"bias": "False"} if a.bias is False else {}
        named |= {"dilation": one_or_all(a.dilation)} if set(a.dilation) != {1} else {}
        return call(f"nn.ConvTranspose{self.dims}d", str(a.channels), str(a.out), one_or_all(a.k), **named)

    def emit(self, node: Node[DeconvAttrs], args: list[str], e: Emitter) -> str:
        return lifted(node, self.zeroed(node, args[0], e), node.inputs[0].type, self.dims, e)


PRIMITIVES: tuple[Primitive[Any], ...] = tuple(Deconv(f"deconv{n}d", n) for n in (1, 2, 3))
