"""Convolutions over space and time: conv1d to conv3d, and depthwise ones."""

from __future__ import annotations

import math
from typing import Any, Protocol, TypeVar

from archdsl.graph.ir import Attrs, Axis, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_compare, floordiv
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, elements, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, given_value, option, show, switch, value_node_type, weight
from archdsl.primitives.reach import SAME, Reach, everything, window
from archdsl.primitives.text import atom, call
from archdsl.primitives.traits import Pure


class Kernel(Protocol):
    """What attributes of convolutions have in common: the kernel's size along each axis."""

    @property
    def k(self) -> list[int]: ...


K = TypeVar("K", bound=Kernel)
BIAS = param("any", True, "true, false, or how the bias begins")
WEIGHT = param("value", None, "how the kernel begins (uniform within 1/sqrt(inputs) if not said), or a value [out, in, *k]")
PADDING = param("any", "same", '"same" (ceil(n / stride) positions, centred), "valid", a number or one per axis')


def per_axis(use: Use[Any], name: str, value: Any, count: int, least: int) -> list[int]:
    """A parameter given once or once per spatial axis, as a list."""
    values = list(value) if isinstance(value, (list, tuple)) else [value] * count
    if len(values) != count or not all(isinstance(v, int) and not isinstance(v, bool) and v >= least for v in values):
        words = "a whole number" if count == 1 else f"a whole number, or a list of {count}"
        use.fail("AD0261", f"`{name}` of {use.primitive.name} must be {words}, each at least {least}", f"it is {show(value)}")
    return values


def one_or_all(values: Any) -> str:
    """Source of one number per axis, shortened to one where all are equal."""
    return str(values[0]) if len(set(values)) == 1 else f"({', '.join(map(str, values))})"


def taps(use: Use[Any], k: Any, given: Any, count: int) -> list[int]:
    """The kernel's size along each axis: `k`, or that of a kernel `given` as a value."""
    if not isinstance(given, TensorType):
        return per_axis(use, "k", k, count, 1)
    if given.rank != count + 2:
        use.fail("AD0303", f"a kernel of {use.primitive.name} has {count + 2} axes, [out, in / groups, *k]", f"this one is {given}")
    sizes = [s for s in given.sizes[2:] if isinstance(s, int)]
    if len(sizes) < count:
        use.fail("AD0305", f"the kernel of {use.primitive.name} must have a known size", f"it is {given}")
    return sizes


def kernel(use: Use[Any], shape: tuple[Size, ...], out: Size, given: Any, bias: Any) -> bool:
    """Declares kernel and bias as torch.nn begins them, uniform within 1/sqrt(fan in), or checks those given as values.

    True if one of them is a value of its own for each sample.
    """
    fan = math.prod(s for s in shape[1:] if isinstance(s, int))
    usual = Init("uniform", (-1 / math.sqrt(max(fan, 1)), 1 / math.sqrt(max(fan, 1))))
    if isinstance(given, TensorType):
        for wanted, size in zip(shape, given.sizes):
            use.same(size, wanted, f"the kernel {given} and what {use.primitive.name} needs")
    else:
        weight(use, "weight", shape, given_init(given, usual))
    if isinstance(bias, TensorType):
        if bias.rank != 1:
            use.fail("AD0303", f"the bias of {use.primitive.name} must have one axis", f"this one is {bias}")
        use.same(bias.axes[0].size, out, "bias and output channels")
    elif switch(use, "bias", bias):
        weight(use, "bias", (out,), given_init(bias, usual))
    elif bias is None:
        use.attrs = replace(use.attrs, bias=False)
    return any(isinstance(t, TensorType) and t.batched for t in (given, bias))


def sources(node: Node[Any], bias: Any, args: list[str], e: Emitter) -> tuple[str, str]:
    """Source of kernel and bias (or `None`), each a weight or a value."""
    added = given_value(node, args, "bias") or (e.weight("bias") if bias is not False else "None")
    return given_value(node, args, "weight") or e.weight("weight"), added


@frozen
class ConvAttrs(Attrs):
    out: Size = param("size", doc="output channels")
    k: list[int] = param("list", 3, "kernel size, one or one per axis")
    stride: list[int] = param("list", 1, "step between outputs")
    padding: list[tuple[int, int]] = PADDING  # before and after each axis
    dilation: list[int] = param("list", 1, "distance between the kernel's taps")
    groups: Size = param("size", 1, "channel groups that do not mix")
    bias: Any = BIAS
    weight: Any = WEIGHT
    mode: str = param("str", "zeros", 'what padding holds: "zeros", "reflect", "replicate" or "circular"')
    channels: Size = 0
    inner: Size = 0  # channels of one group


@frozen
class DepthwiseAttrs(ConvAttrs):
    out: Size = 0
    groups: Size = 0


class Kernels(Pure[K]):
    """Base: a kernel that runs over the last `dims` axes."""

    category = "weights"
    dims = 1

    def zeroed(self, node: Node[K], text: str, e: Emitter) -> str:
        """The input with zeros beyond each sequence's length, where a kernel would reach them."""
        x = node.inputs[0].type
        for i in range(-self.dims, 0):
            lengths = e.lengths(x.axes[i]) if x.batched and x.axes[i].ragged is not None else None
            if lengths is not None and node.attrs.k[i + self.dims] > 1:
                text = call(e.support("zero_beyond"), text, lengths, str(i))
        return text


class Conv(Kernels[ConvAttrs]):
    """x [.., c, *space] -> [.., out, *space']."""

    depthwise = False

    def __init__(self, name: str, dims: int, depthwise: bool = False):
        self.name, self.dims, self.depthwise = name, dims, depthwise
        self.attributes = DepthwiseAttrs if depthwise else ConvAttrs
        if name == "conv1d":
            self.causal_form = "Use `causal_conv`, which pads on the left only."
        over = "axis" if dims == 1 else f"{dims} axes"
        self.doc = f"{'Depthwise c' if depthwise else 'C'}onvolution over the last {over}, channels before."

    def infer(self, use: Use[ConvAttrs]) -> list[TensorType]:
        use.rank(0, self.dims + 1)
        x = require_kind(use, 0, "float")
        n = self.dims
        channels, space = x.axes[-n - 1].size, x.axes[-n:]
        option(use, "mode", use.args.mode, ("zeros", "reflect", "replicate", "circular"))
        k, stride = taps(use, use.args.k, use.args.weight, n), per_axis(use, "stride", use.args.stride, n, 1)
        dilation = per_axis(use, "dilation", use.args.dilation, n, 1)
        padding = self.padding(use, k, dilation)
        out = channels if self.depthwise else use.args.out
        groups = channels if self.depthwise else use.args.groups
        inner = use.divides(channels, groups, "input channels and groups")
        use.divides(out, groups, "output channels and groups")
        use.attrs = replace(use.attrs, k=k, stride=stride, dilation=dilation, padding=padding)
        use.attrs = replace(use.attrs, out=out, groups=groups, channels=channels, inner=inner)
        batched = kernel(use, (out, inner, *k), out, use.args.weight, use.args.bias) or x.batched
        axes = [self.axis_after(use, *item) for item in zip(space, k, stride, dilation, padding)]
        return [TensorType((*x.axes[: -n - 1], Axis(out), *axes), x.kind, batched)]

    def padding(self, use: Use[ConvAttrs], k: list[int], dilation: list[int]) -> list[tuple[int, int]]:
        """Zeros before and after each axis."""
        value: Any = use.args.padding
        if value == "same":
            return [(d * (n - 1) // 2, d * (n - 1) - d * (n - 1) // 2) for n, d in zip(k, dilation)]
        if value == "valid":
            return [(0, 0)] * self.dims
        return [(p, p) for p in per_axis(use, "padding", use.args.padding, self.dims, 0)]

    def axis_after(self, use: Use[ConvAttrs], axis: Axis, k: int, stride: int, dilation: int, padding: tuple[int, int]) -> Axis:
        """The output axis: same identity while the size is kept, lengths carried along through strides."""
        rest = sum(padding) - dilation * (k - 1)
        if rest == 0 and stride == 1:
            return axis
        size = floordiv(axis.size + (rest - 1), stride, use.facts) + 1
        if decide_compare("<", size, 1, use.facts):
            span = f"{axis.size} positions, but the kernel spans {dilation * (k - 1) + 1}"
            use.fail("AD0321", f"{self.name} has nothing left of an axis", span, hint='Use a smaller kernel, or padding="same".')
        return Axis(size, ragged=f"{axis.ragged};{rest - 1},{stride}" if axis.ragged is not None else None)

    def flops(self, node: Node[ConvAttrs]) -> Size:
        return elements(node.outputs[0].type) * node.attrs.inner * (2 * math.prod(node.attrs.k))

    def time(self, node: Node[ConvAttrs], index: int, axis: int) -> Reach:
        if index > 0:
            return everything("takes a kernel made from the whole sequence")
        if axis < -self.dims - 1:
            return SAME
        if axis == -self.dims - 1:
            return everything("mixes the channels")
        a, i = node.attrs, axis + self.dims
        k, stride, dilation, (before, after) = a.k[i], a.stride[i], a.dilation[i], a.padding[i]
        if (k, stride, before, after) == (1, 1, 0, 0):
            return SAME
        reason = "looks ahead along the axis"
        if node.attrs.mode != "zeros":  # what is padded comes from elsewhere
            return everything(reason)
        return window(before, dilation * (k - 1) - before, reason, stride)

    def module(self, node: Node[ConvAttrs]) -> str | None:
        a = node.attrs
        if node.value_inputs:
            return None
        named = {"stride": one_or_all(a.stride)} if set(a.stride) != {1} else {}
        if self.symmetric(node) and set(a.padding) != {(0, 0)}:
            named["padding"] = one_or_all([before for before, _ in a.padding])
        named |= {"dilation": one_or_all(a.dilation)} if set(a.dilation) != {1} else {}
        named |= {"groups": str(a.groups)} if a.groups != 1 else {}
        named |= {"bias": "False"} if a.bias is False else {}
        named |= {"padding_mode": f'"{a.mode}"'} if a.mode != "zeros" and self.symmetric(node) else {}
        return call(f"nn.Conv{self.dims}d", str(a.channels), str(a.out), one_or_all(a.k), **named)

    @staticmethod
    def symmetric(node: Node[ConvAttrs]) -> bool:
        return all(before == after for before, after in node.attrs.padding)

    def emit(self, node: Node[ConvAttrs], args: list[str], e: Emitter) -> str:
        x, a = node.inputs[0].type, node.attrs
        text = self.zeroed(node, args[0], e)
        ends = f"({', '.join(str(p) for pair in reversed(a.padding) for p in pair)})"
        mode = {} if a.mode == "zeros" else {"mode": f'"{a.mode}"'}
        if node.value_inputs:
            return self.by_value(node, [text, *sources(node, a.bias, args, e), ends], mode, e)
        if not self.symmetric(node):
            text = call("F.pad", text, ends, **mode)
        return lifted(node, text, x, self.dims, e)

    def by_value(self, node: Node[ConvAttrs], texts: list[str], mode: dict[str, str], e: Emitter) -> str:
        """The call where kernel or bias are values."""
        a = node.attrs
        named = {"stride": str(tuple(a.stride))} if set(a.stride) != {1} else {}
        named |= {"dilation": str(tuple(a.dilation))} if set(a.dilation) != {1} else {}
        named |= {"groups": e.size(a.groups)} if a.groups != 1 else {}
        given = value_node_type(node, "weight")
        named |= {"batched": "True"} if given is not None and given.batched else {}
        x = node.inputs[0].type
        if node.outputs[0].type.batched and not x.batched:
            texts[0] = f"{atom(texts[0])}[None]"
        return call(e.support("conv_by_value"), *texts, **named, **mode)


def lifted(node: Node[Any], text: str, x: TensorType, dims: int, e: Emitter) -> str:
    """A call of the module on [batch, c, *space], with other leading axes folded into the batch."""
    if x.rank == dims + 1:
        return call(e.self, text)
    return call(e.support("over_lead_axes"), e.self, text, str(dims + 1))


PRIMITIVES: tuple[Primitive[Any], ...] = (
    *(Conv(f"conv{n}d", n) for n in (1, 2, 3)),
    *(Conv(f"depthwise_conv{n}d", n, depthwise=True) for n in (1, 2, 3)),
)
