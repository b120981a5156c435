"""Transposed convolutions."""

from __future__ import annotations

import math

from archdsl.graph.ir import Axis, Node, TensorType
from archdsl.graph.sizes import Size, decide_compare
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Param, Primitive, Use, elements
from archdsl.primitives.conv import BIAS, Conv, kernel, lifted, one_or_all, per_axis
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import show
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call


class Deconv(Conv):
    """Transposed convolution: x [.., c, *space] -> [.., out, *space']."""

    def __init__(self, name: str, dims: int):
        super().__init__(name, dims)
        self.params = (
            Param("out", "size", doc="output channels"),
            Param("k", "list", 2, "kernel size, one or one per axis"),
            Param("stride", "list", None, "factor of enlargement; k if not said"),
            Param("padding", "list", 0, "positions cut off at each end"),
            Param("output_padding", "list", 0, "positions added at the far end"),
            Param("groups", "size", 1, "channel groups that do not mix"),
            BIAS,
            Param("weight", "init", None, "how the kernel begins; uniform within 1/sqrt(inputs) if not said"),
            Param("dilation", "list", 1, "distance between the kernel's taps"),
        )
        self.doc = f"Transposed convolution over the last {dims} axes: with stride = k each position becomes k."

    def infer(self, use: Use) -> list[TensorType]:
        use.rank(0, self.dims + 1)
        x = require_kind(use, 0, "float")
        n = self.dims
        channels, space = x.axes[-n - 1].size, x.axes[-n:]
        k = per_axis(use, "k", n, 1)
        stride = k if use.args["stride"] is None else per_axis(use, "stride", n, 1)
        padding, dilation = per_axis(use, "padding", n, 0), per_axis(use, "dilation", n, 1)
        extra = per_axis(use, "output_padding", n, 0)
        out, groups = use.args["out"], use.args["groups"]
        if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation)):
            use.fail("AD0261", f"`output_padding` of {self.name} must be below the stride (or the dilation)", f"it is {show(extra)}")
        use.attrs |= {"k": k, "stride": stride, "dilation": dilation, "padding": padding}
        use.attrs |= {"output_padding": extra, "channels": channels}
        use.divides(channels, groups, "input channels and groups")
        use.attrs["inner"] = inner = use.divides(out, groups, "output channels and groups")
        if isinstance(use.args["bias"], TensorType):
            use.fail("AD0260", f"the bias of {self.name} cannot be a value", "a value", hint="Leave it out and add it: … bias=false) + b.")
        kernel(use, (channels, inner, *k), out)
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

    def flops(self, node: Node) -> Size:
        return elements(node.inputs[0].type) * node.attrs["inner"] * (2 * math.prod(node.attrs["k"]))

    def time(self, node: Node, index: int, axis: int) -> Reach:
        if index > 0:
            return everything("takes a kernel made from the whole sequence")
        if axis < -self.dims - 1:
            return SAME
        return everything("mixes the channels" if axis == -self.dims - 1 else "changes the axis")

    def module(self, node: Node) -> str | None:
        a = node.attrs
        named = {"stride": one_or_all(a["stride"])} if set(a["stride"]) != {1} else {}
        named |= {name: one_or_all(a[name]) for name in ("padding", "output_padding") if set(a[name]) != {0}}
        named |= {"groups": str(a["groups"])} if a["groups"] != 1 else {}
        named |= {"bias": "False"} if a["bias"] is False else {}
        named |= {"dilation": one_or_all(a["dilation"])} if set(a["dilation"]) != {1} else {}
        return call(f"nn.ConvTranspose{self.dims}d", str(a["channels"]), str(a["out"]), one_or_all(a["k"]), **named)

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return lifted(node, self.zeroed(node, args[0], e), node.inputs[0].type, self.dims, e)


PRIMITIVES: tuple[Primitive, ...] = tuple(Deconv(f"deconv{n}d", n) for n in (1, 2, 3))
