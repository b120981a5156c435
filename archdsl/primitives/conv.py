"""Convolutions over space and time: conv1d-3d, their transposes, depthwise ones."""

from __future__ import annotations

import math
from typing import Any

from archdsl.graph.ir import Axis, Init, Node, TensorType
from archdsl.graph.sizes import Size, decide_compare, floordiv
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Param, Primitive, Slot, Use, elements
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, option, show, switch, weight
from archdsl.primitives.text import call

BIAS = Param("bias", "any", True, "true, false, or how the bias begins")
WEIGHT = Param("weight", "init", None, "how the kernel begins; uniform within 1/sqrt(inputs) if not said")
PADDING = Param("padding", "any", "same", '"same" (ceil(n / stride) positions, centred), "valid", a number or one per axis')


def per_axis(use: Use, name: str, count: int, least: int) -> list[int]:
    """A parameter given once or once per spatial axis, as a list."""
    value = use.args[name]
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count or not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values):
        words = "a whole number" if count == 1 else f"a whole number, or a list of {count}"
        use.fail("AD0261", f"`{name}` of {use.primitive.name} must be {words}, each at least {least}", f"it is {show(value)}")
    return values


def one_or_all(values: Any) -> str:
    """Source of one number per axis, shortened to one where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def kernel_inits(use: Use, shape: tuple[Size, ...], out: Size) -> None:
    """Declares kernel and bias as torch.nn begins them: uniform within 1/sqrt(fan in)."""
    fan = math.prod(s for s in shape[1:] if isinstance(s, int))
    bound = 1 / math.sqrt(max(fan, 1))
    weight(use, "weight", shape, given_init(use, "weight", Init("uniform", (-bound, bound))))
    if switch(use, "bias"):
        weight(use, "bias", (out,), given_init(use, "bias", Init("uniform", (-bound, bound))))


class Conv(Primitive):
    """x [.., c, *space] -> [.., out, *space']."""

    dims = 1
    depthwise = False
    transposed = False

    def __init__(self, name: str, dims: int, depthwise: bool = False):
        self.name, self.dims, self.depthwise = name, dims, depthwise
        self.params = (
            *(() if depthwise else (Param("out", "size", doc="output channels"),)),
            Param("k", "list", 3, "kernel size, one or one per axis"),
            Param("stride", "list", 1, "step between outputs"),
            PADDING,
            Param("dilation", "list", 1, "distance between the kernel's taps"),
            *(() if depthwise else (Param("groups", "size", 1, "channel groups that do not mix"),)),
            BIAS,
            WEIGHT,
            Param("mode", "str", "zeros", 'what padding holds: "zeros", "reflect", "replicate" or "circular"'),
        )
        over = "axis" if dims == 1 else f"{dims} axes"
        self.doc = f"{'Depthwise c' if depthwise else 'C'}onvolution over the last {over}, channels before."

    def infer(self, use: Use) -> list[TensorType]:
        use.rank(0, self.dims + 1)
        x = require_kind(use, 0, "float")
        n = self.dims
        channels, space = x.axes[-n - 1].size, x.axes[-n:]
        option(use, "mode", ("zeros", "reflect", "replicate", "circular"))
        k, stride, dilation = per_axis(use, "k", n, 1), per_axis(use, "stride", n, 1), per_axis(use, "dilation", n, 1)
        padding = self.padding(use, k, dilation)
        out = channels if self.depthwise else use.args["out"]
        groups = channels if self.depthwise else use.args["groups"]
        use.attrs |= {"k": k, "stride": stride, "dilation": dilation, "padding": padding}
        use.attrs |= {"out": out, "groups": groups, "channels": channels}
        inner = use.divides(channels, groups, "input channels and groups")
        use.divides(out, groups, "output channels and groups")
        kernel_inits(use, (out, inner, *k), out)
        axes = [self.axis_after(use, *item) for item in zip(space, k, stride, dilation, padding)]
        return [TensorType((*x.axes[: -n - 1], Axis(out), *axes), x.kind, x.batched)]

    def padding(self, use: Use, k: list[int], dilation: list[int]) -> list[tuple[int, int]]:
        """Zeros before and after each axis."""
        value = use.args["padding"]
        if value == "same":
            return [(d * (n - 1) // 2, d * (n - 1) - d * (n - 1) // 2) for n, d in zip(k, dilation)]
        if value == "valid":
            return [(0, 0)] * self.dims
        return [(p, p) for p in per_axis(use, "padding", self.dims, 0)]

    def axis_after(self, use: Use, axis: Axis, k: int, stride: int, dilation: int, padding: tuple[int, int]) -> Axis:
        """The output axis: same identity while the size is kept, lengths carried along through strides."""
        rest = sum(padding) - dilation * (k - 1)
        if rest == 0 and stride == 1:
            return axis
        size = floordiv(axis.size + (rest - 1), stride, use.facts) + 1
        if decide_compare("<", size, 1, use.facts):
            span = f"{axis.size} positions, but the kernel spans {dilation * (k - 1) + 1}"
            use.fail("AD0321", f"{self.name} has nothing left of an axis", span, hint='Use a smaller kernel, or padding="same".')
        return Axis(size, ragged=f"{axis.ragged};{rest - 1},{stride}" if axis.ragged is not None else None)

    def flops(self, node: Node) -> Size:
        inner, *kernel = node.instance.weights["weight"].shape[1:] if node.instance is not None else (0,)
        return elements(node.outputs[0].type) * (2 * inner * math.prod(kernel))

    def time(self, node: Node, index: int, axis: int) -> str | None:
        if axis < -self.dims - 1:
            return None
        if axis == -self.dims - 1:
            return "mixes the channels"
        i = axis + self.dims
        if node.attrs["k"][i] == 1 and node.attrs["stride"][i] == 1 and node.attrs["padding"][i] == (0, 0):
            return None
        return "looks ahead along the axis"

    def module(self, node: Node) -> str | None:
        a = node.attrs
        named = {"stride": one_or_all(a["stride"])} if set(a["stride"]) != {1} else {}
        if self.symmetric(node) and set(a["padding"]) != {(0, 0)}:
            named["padding"] = one_or_all([before for before, _ in a["padding"]])
        named |= {"dilation": one_or_all(a["dilation"])} if set(a["dilation"]) != {1} else {}
        named |= {"groups": str(a["groups"])} if a["groups"] != 1 else {}
        named |= {"bias": "False"} if a["bias"] is False else {}
        named |= {"padding_mode": f'"{a["mode"]}"'} if a["mode"] != "zeros" and self.symmetric(node) else {}
        return call(f"nn.Conv{self.dims}d", str(a["channels"]), str(a["out"]), one_or_all(a["k"]), **named)

    @staticmethod
    def symmetric(node: Node) -> bool:
        return all(before == after for before, after in node.attrs["padding"])

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        x, a = node.inputs[0].type, node.attrs
        text = self.zeroed(node, args[0], e)
        if not self.symmetric(node):
            ends = [str(p) for pair in reversed(a["padding"]) for p in pair]
            mode = {} if a["mode"] == "zeros" else {"mode": f'"{a["mode"]}"'}
            text = call("F.pad", text, f"({', '.join(ends)})", **mode)
        return lifted(node, text, x, self.dims, e)

    def zeroed(self, node: Node, text: str, e: Emitter) -> str:
        """The input with zeros beyond each sequence's length, where a kernel would reach them."""
        x = node.inputs[0].type
        for i in range(-self.dims, 0):
            lengths = e.lengths(x.axes[i]) if x.batched and x.axes[i].ragged is not None else None
            if lengths is not None and node.attrs["k"][i + self.dims] > 1:
                text = call(e.support("zero_beyond"), text, lengths, str(i))
        return text


def lifted(node: Node, text: str, x: TensorType, dims: int, e: Emitter) -> str:
    """A call of the module on [batch, c, *space], with other leading axes folded into the batch."""
    if x.rank == dims + 1:
        return call(e.self, text)
    return call(e.support("over_lead_axes"), e.self, text, str(dims + 1))


class Deconv(Conv):
    """Transposed convolution: x [.., c, *space] -> [.., out, *space']."""

    transposed = True

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
            WEIGHT,
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
        kernel_inits(use, (channels, use.divides(out, groups, "output channels and groups"), *k), out)
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
        inner, *kernel = node.instance.weights["weight"].shape[1:] if node.instance is not None else (0,)
        return elements(node.inputs[0].type) * (2 * inner * math.prod(kernel))

    def time(self, node: Node, index: int, axis: int) -> str | None:
        if axis < -self.dims - 1:
            return None
        return "mixes the channels" if axis == -self.dims - 1 else "changes the axis"

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


class CausalConv(Primitive):
    """x [.., T, d] -> [.., T, out]: output t sees inputs t, t - dilation, … (k of them)."""

    name = "causal_conv"
    params = (
        Param("k", "size", doc="number of taps"),
        Param("out", "size", None, "output features; as many as the input's if not said"),
        Param("groups", "size", 1, "feature groups that do not mix; groups = d is depthwise"),
        Param("dilation", "size", 1, "distance between taps"),
        BIAS,
        WEIGHT,
    )
    doc = "Convolution in time that never looks ahead, on time and features as they lie in [T, d]. Weights are those of torch.nn.Conv1d."
    source = "van den Oord et al., WaveNet, 2016"

    def infer(self, use: Use) -> list[TensorType]:
        use.rank(0, 2)
        x = require_kind(use, 0, "float")
        features = x.axes[-1].size
        out = features if use.args["out"] is None else use.args["out"]
        k, dilation = per_axis(use, "k", 1, 1)[0], per_axis(use, "dilation", 1, 1)[0]
        inner = use.divides(features, use.args["groups"], "features and groups")
        use.divides(out, use.args["groups"], "output features and groups")
        kernel_inits(use, (out, inner, k), out)
        use.attrs |= {"k": k, "dilation": dilation, "out": out, "features": features}
        return [TensorType((*x.axes[:-1], x.axes[-1] if out is features else Axis(out)), x.kind, x.batched)]

    def flops(self, node: Node) -> Size:
        inner, k = node.instance.weights["weight"].shape[1:] if node.instance is not None else (0, 0)
        return elements(node.outputs[0].type) * (2 * inner * k)

    def slots(self, node: Node) -> list[Slot]:
        *lead, _, features = node.inputs[0].type.sizes
        reach = (node.attrs["k"] - 1) * node.attrs["dilation"]
        return [Slot("recent", (*lead, reach, features))] if reach else []

    def time(self, node: Node, index: int, axis: int) -> str | None:
        return "mixes the features" if axis == -1 else None

    def module(self, node: Node) -> str | None:
        a = node.attrs
        named = {name: str(a[name]) for name in ("dilation", "groups") if a[name] != 1} | ({"bias": "False"} if a["bias"] is False else {})
        return call("nn.Conv1d", str(a["features"]), str(a["out"]), str(a["k"]), **named)

    def named(self, node: Node) -> dict[str, str]:
        return {name: str(node.attrs[name]) for name in ("groups", "dilation") if node.attrs[name] != 1}

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        texts = [args[0], e.weight("weight"), *([e.weight("bias")] if node.attrs["bias"] is not False else [])]
        return call(e.support("causal_conv"), *texts, **self.named(node))

    def step(self, node: Node, args: list[str], e: Emitter) -> str:
        if not e.over_time(node.inputs[0].type.axes[-2]):
            return self.emit(node, args, e)
        texts = [args[0], e.weight("weight"), e.weight("bias") if node.attrs["bias"] is not False else "None", e.slot, e.clock]
        return call(e.support("causal_conv_step"), *texts, **self.named(node))


PRIMITIVES: tuple[Primitive, ...] = (
    *(Conv(f"conv{n}d", n) for n in (1, 2, 3)),
    *(Conv(f"depthwise_conv{n}d", n, depthwise=True) for n in (1, 2, 3)),
    *(Deconv(f"deconv{n}d", n) for n in (1, 2, 3)),
    CausalConv(),
)
