"""Normalisations."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Axis, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, known, number, option, show, switch, weight
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted
from archdsl.recurrence.definition import Moves

EPS = param("number", 1e-5, "added to the variance")
SAVES = param("str", "input", 'what the backward pass keeps: "input", or "output", which the layer behind it keeps as well')
ONES, ZEROS = Init("ones"), Init("zeros")


def start(use: Use[Any], axis: int, eps: float) -> tuple[TensorType, int]:
    """A norm's input, and its axis as a negative position."""
    use.rank(0, 1)
    x = require_kind(use, 0, "float")
    number(use, "eps", eps, 0)
    return x, use.axis(0, axis)


def declare(use: Use[Any], name: str, asked: Any, size: Any, default: Init, as_weight: str) -> bool:
    """Declares a per-channel weight if the switch `name` asks for one."""
    if not switch(use, name, asked):
        return False
    weight(use, as_weight, (size,), given_init(asked, default))
    return True


def known_size(use: Use[Any], size: Any) -> int:
    """The size of a normalised axis where it must be known."""
    if not isinstance(size, int):
        use.fail("AD0305", f"`partial` of {use.primitive.name} needs an axis of known size", f"this one is {size}")
    return size


def by_output(use: Use[Any], saves: str, axis: int, **plain: tuple[Any, object]) -> bool:
    """Whether the backward pass starts from the output; there it must be the last axis, normalised and nothing more.

    plain: by parameter, what it is and what it must be.
    """
    if option(use, "saves", saves, ("input", "output")) == "input":
        return False
    for name, (given, wanted) in plain.items():
        if given != wanted or isinstance(given, Init):
            use.fail(
                "AD0260",
                f'saves="output" of {use.primitive.name} needs {name}={show(wanted)}',
                f"it is {show(given)}",
                hint="A scale or bias can be part of the linear layer that follows.",
            )
    if axis != -1:
        use.fail("AD0260", f'saves="output" of {use.primitive.name} works along the last axis', f"axis is {use.args.axis}")
    return True


def ragged_after(node: Node[Any], axis: int) -> tuple[int, Axis] | None:
    """The ragged axis among those after the channels, with its negative position."""
    axes = node.inputs[0].type.axes
    return next(((i, axes[i]) for i in range(axis + 1, 0) if axes[i].ragged is not None), None)


def along(normalised: int, axis: int, reason: str) -> Reach:
    """A norm's time rule where only one axis is looked at."""
    return everything(reason) if axis == normalised else SAME


@frozen
class RMSNormAttrs(Attrs):
    eps: float = param("number", 1e-6, "added to the mean square")
    scale: Any = param("any", True, "true, false, or how the scale begins (ones)")
    axis: int = param("int", -1, "the axis normalised")
    unit_offset: bool = param("bool", False, "the scale is 1 + weight and the weight begins at zero (Gemma)")
    bias: Any = param("any", False, "true, false, or how a bias begins (zeros)")
    partial: float = param("number", 1, "share of the features, the first ones, whose mean square counts for all")
    outside: bool = param("bool", False, "eps is added to the root and not under it")
    saves: str = SAVES
    features: int | None = None  # how many count for the mean square, where not all do
    output: bool = False  # the backward pass starts from the output


class RMSNorm(Uncounted[RMSNormAttrs]):
    """x / sqrt(mean(x²) + eps) * weight. partial and outside are options of the paper (pRMSNorm; its code's eps)."""

    name = "rmsnorm"
    category = "norm"
    attributes = RMSNormAttrs
    doc = "Root mean square normalisation of one axis, in float32 inside."
    source = "Zhang & Sennrich, Root mean square layer normalization, 2019, arXiv:1910.07467"

    def infer(self, use: Use[RMSNormAttrs]) -> list[TensorType]:
        a = use.args
        x, axis = start(use, a.axis, a.eps)
        size = x.axes[axis].size
        number(use, "partial", a.partial, 0, 1, above=True)
        features = None if a.partial == 1 else max(1, int(known_size(use, size) * a.partial))
        plain = {"scale": (a.scale, False), "bias": (a.bias, False), "partial": (a.partial, 1), "outside": (a.outside, False)}
        output = by_output(use, a.saves, axis, **plain)
        scale = declare(use, "scale", a.scale, size, ZEROS if a.unit_offset else ONES, "weight")
        bias = declare(use, "bias", a.bias, size, ZEROS, "bias")
        use.attrs = replace(a, axis=axis, features=features, output=output, scale=scale, bias=bias)
        return [x]

    def time(self, node: Node[RMSNormAttrs], index: int, axis: int) -> Reach:
        return along(node.attrs.axis, axis, "averages over the axis")

    def plain(self, node: Node[RMSNormAttrs]) -> bool:
        a = node.attrs
        return bool(a.axis == -1 and a.scale and not (a.unit_offset or a.bias or a.features or a.outside))

    def module(self, node: Node[RMSNormAttrs]) -> str | None:
        return call("nn.RMSNorm", str(node.inputs[0].type.axes[-1].size), eps=repr(float(node.attrs.eps))) if self.plain(node) else None

    def emit(self, node: Node[RMSNormAttrs], args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        if node.attrs.output:
            return call(f"{e.support('NormByOutput')}.apply", args[0], repr(float(node.attrs.eps)), "False")
        named = {"axis": str(node.attrs.axis)} if node.attrs.axis != -1 else {}
        named |= {"unit_offset": "True"} if node.attrs.unit_offset else {}
        named |= {"bias": e.weight("bias")} if node.attrs.bias else {}
        named |= {"features": str(node.attrs.features)} if node.attrs.features else {}
        named |= {"outside": "True"} if node.attrs.outside else {}
        scale = e.weight("weight") if node.attrs.scale else "None"
        return call(e.support("rms_norm"), args[0], scale, repr(float(node.attrs.eps)), **named)

    def moves(self, node: Node[RMSNormAttrs]) -> Moves:
        return "before"


@frozen
class LayerNormAttrs(Attrs):
    eps: float = EPS
    bias: Any = param("any", True, "true, false, or how the bias begins (zeros)")
    scale: Any = param("any", True, "true, false, or how the scale begins (ones)")
    axis: int = param("int", -1, "the axis normalised")
    saves: str = SAVES
    output: bool = False  # the backward pass starts from the output


class LayerNorm(Uncounted[LayerNormAttrs]):
    """(x - mean) / sqrt(variance + eps) * weight + bias."""

    name = "layernorm"
    category = "norm"
    attributes = LayerNormAttrs
    doc = "Layer normalisation of one axis."
    source = "Ba, Kiros & Hinton, Layer normalization, 2016, arXiv:1607.06450"

    def infer(self, use: Use[LayerNormAttrs]) -> list[TensorType]:
        a = use.args
        x, axis = start(use, a.axis, a.eps)
        output = by_output(use, a.saves, axis, scale=(a.scale, False), bias=(a.bias, False))
        scale = declare(use, "scale", a.scale, x.axes[axis].size, ONES, "weight")
        bias = declare(use, "bias", a.bias, x.axes[axis].size, ZEROS, "bias")
        use.attrs = replace(a, axis=axis, output=output, scale=scale, bias=bias)
        return [x]

    def time(self, node: Node[LayerNormAttrs], index: int, axis: int) -> Reach:
        return along(node.attrs.axis, axis, "averages over the axis")

    def plain(self, node: Node[LayerNormAttrs]) -> bool:
        return bool(node.attrs.axis == -1 and node.attrs.scale)

    def module(self, node: Node[LayerNormAttrs]) -> str | None:
        if not self.plain(node):
            return None
        eps = {} if node.attrs.eps == 1e-5 else {"eps": repr(float(node.attrs.eps))}
        return call("nn.LayerNorm", str(node.inputs[0].type.axes[-1].size), **eps, **({} if node.attrs.bias else {"bias": "False"}))

    def emit(self, node: Node[LayerNormAttrs], args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        if node.attrs.output:
            return call(f"{e.support('NormByOutput')}.apply", args[0], repr(float(node.attrs.eps)), "True")
        texts = [e.weight("weight") if node.attrs.scale else "None", e.weight("bias") if node.attrs.bias else "None"]
        named = {"axis": str(node.attrs.axis)} if node.attrs.axis != -1 else {}
        return call(e.support("layer_norm"), args[0], *texts, repr(float(node.attrs.eps)), **named)

    def moves(self, node: Node[LayerNormAttrs]) -> Moves:
        return "before"


@frozen
class BatchNormAttrs(Attrs):
    axis: int = param("int", 0, "the channels' axis")
    eps: float = EPS
    momentum: float = param("number", 0.1, "share of the new statistics in the running ones")
    scale: Any = param("any", True, "true, or how the scale begins (scale ~ zeros); false together with bias=false")
    bias: Any = param("any", True, "true, or how the bias begins; false together with scale=false")
    affine: bool = True  # it has a scale and a bias


class BatchNorm(Uncounted[BatchNormAttrs]):
    """Per-channel normalisation by the batch's statistics in training, by running ones in evaluation."""

    name = "batchnorm"
    category = "norm"
    attributes = BatchNormAttrs
    doc = "Batch normalisation; padding of ragged batches counts for no statistics."
    source = "Ioffe & Szegedy, Batch normalization, 2015"

    def infer(self, use: Use[BatchNormAttrs]) -> list[TensorType]:
        a = use.args
        x, axis = start(use, a.axis, a.eps)
        number(use, "momentum", a.momentum, 0, 1)
        size = x.axes[axis].size
        scale, bias = declare(use, "scale", a.scale, size, ONES, "weight"), declare(use, "bias", a.bias, size, ZEROS, "bias")
        if scale != bias:
            use.fail("AD0260", "batchnorm has both scale and bias, or neither", "only one of them here", hint="Leave both or neither.")
        use.attrs = replace(a, axis=axis, affine=scale)
        if not scale:  # `none` is false
            use.attrs = replace(use.attrs, scale=False, bias=False)
        weight(use, "running_mean", (size,), ZEROS, trainable=False)
        weight(use, "running_var", (size,), ONES, trainable=False)
        weight(use, "num_batches_tracked", (), ZEROS, "int", trainable=False)
        return [x]

    def time(self, node: Node[BatchNormAttrs], index: int, axis: int) -> Reach:
        return along(node.attrs.axis, axis, "has one scale per entry of the axis")

    def module(self, node: Node[BatchNormAttrs]) -> str | None:
        x, axis = node.inputs[0].type, node.attrs.axis
        a = node.attrs
        named = {"eps": repr(float(a.eps))} if a.eps != 1e-5 else {}
        named |= {"momentum": repr(float(a.momentum))} if a.momentum != 0.1 else {}
        named |= {} if node.attrs.affine else {"affine": "False"}
        return call(f"nn.BatchNorm{min(max(x.rank - 1, 1), 3)}d", str(x.axes[axis].size), **named)

    def emit(self, node: Node[BatchNormAttrs], args: list[str], e: Emitter) -> str:
        x, axis = node.inputs[0].type, node.attrs.axis
        ragged = next(((i, a) for i, a in zip(range(-x.rank, 0), x.axes) if a.ragged is not None), None)
        lengths = e.lengths(ragged[1]) if ragged is not None and x.batched else None
        if x.batched and axis == -x.rank and x.rank <= 4 and lengths is None:
            return call(e.self, args[0])
        if not x.batched:
            return call(e.support("batch_norm"), f"{args[0]}[None]", e.self, str(axis)) + "[0]"
        named = {"lengths": lengths, "ragged": str(ragged[0])} if lengths is not None and ragged is not None else {}
        return call(e.support("batch_norm"), args[0], e.self, str(axis), **named)


@frozen
class GroupNormAttrs(Attrs):
    groups: Size = param("size", doc="number of groups")
    eps: float = EPS
    axis: int = param("int", 0, "the channels' axis; axes before it are left alone, so -1 normalises each position by itself")
    scale: Any = param("any", True, "true, false, or how the scale begins (ones)")
    bias: Any = param("any", True, "true, false, or how the bias begins (zeros)")


class GroupNorm(Uncounted[GroupNormAttrs]):
    """Normalisation over groups of channels and all axes after the channels."""

    name = "groupnorm"
    category = "norm"
    attributes = GroupNormAttrs
    doc = "Group normalisation; padding of ragged batches counts for no statistics."
    source = "Wu & He, Group normalization, 2018"

    def infer(self, use: Use[GroupNormAttrs]) -> list[TensorType]:
        a = use.args
        x, axis = start(use, a.axis, a.eps)
        size = x.axes[axis].size
        groups = self.groups(use, size)
        use.divides(size, groups, "channels and groups")
        scale = declare(use, "scale", a.scale, size, ONES, "weight")
        bias = declare(use, "bias", a.bias, size, ZEROS, "bias")
        use.attrs = replace(a, axis=axis, groups=groups, scale=scale, bias=bias)
        return [x]

    def groups(self, use: Use[GroupNormAttrs], channels: Any) -> Any:
        return known(use, "groups", use.args.groups, "Each group has statistics of its own.")

    def time(self, node: Node[GroupNormAttrs], index: int, axis: int) -> Reach:
        return everything("averages over the axis") if axis >= node.attrs.axis else SAME

    def plain(self, node: Node[GroupNormAttrs]) -> bool:
        x = node.inputs[0].type
        after = ragged_after(node, node.attrs.axis)
        first = node.attrs.axis == -x.rank and x.batched
        return bool(first and node.attrs.scale and node.attrs.bias and after is None)

    def module(self, node: Node[GroupNormAttrs]) -> str | None:
        if not (node.attrs.scale and node.attrs.bias):
            return None
        eps = {} if node.attrs.eps == 1e-5 else {"eps": repr(float(node.attrs.eps))}
        return call("nn.GroupNorm", str(node.attrs.groups), str(node.inputs[0].type.axes[node.attrs.axis].size), **eps)

    def emit(self, node: Node[GroupNormAttrs], args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        axis = node.attrs.axis
        after = ragged_after(node, axis)
        lengths = e.lengths(after[1]) if after is not None and node.inputs[0].type.batched else None
        named = {"lengths": lengths, "ragged": str(after[0])} if lengths is not None and after is not None else {}
        texts = [e.weight("weight") if node.attrs.scale else "None", e.weight("bias") if node.attrs.bias else "None"]
        groups = e.size(node.attrs.groups)
        return call(e.support("group_norm"), args[0], groups, *texts, repr(float(node.attrs.eps)), str(axis), **named)


@frozen
class InstanceNormAttrs(GroupNormAttrs):
    groups: Size = 0
    eps: float = EPS
    axis: int = param("int", 0, "the channels' axis; statistics are taken over all axes after it")
    scale: Any = param("any", False, "true, false, or how the scale begins (ones)")
    bias: Any = param("any", False, "true, false, or how the bias begins (zeros)")


class InstanceNorm(GroupNorm):
    """Each channel by itself: group norm with one channel per group."""

    name = "instancenorm"
    attributes = InstanceNormAttrs
    doc = "Instance normalisation: each channel of each sample by its own statistics."
    source = "Ulyanov, Vedaldi & Lempitsky, Instance normalization, 2016"

    def groups(self, use: Use[GroupNormAttrs], channels: Any) -> Any:
        return channels


@frozen
class L2NormAttrs(Attrs):
    axis: int = param("int", -1, "the axis given length one")
    eps: float = param("number", 1e-12, "added to the sum of squares")


class L2Norm(Uncounted[L2NormAttrs]):
    """x / sqrt(sum(x²) + eps)."""

    name = "l2norm"
    category = "norm"
    attributes = L2NormAttrs
    doc = "Scales vectors to length one."

    def infer(self, use: Use[L2NormAttrs]) -> list[TensorType]:
        x, axis = start(use, use.args.axis, use.args.eps)
        use.attrs = replace(use.args, axis=axis)
        return [x]

    def time(self, node: Node[L2NormAttrs], index: int, axis: int) -> Reach:
        return along(node.attrs.axis, axis, "sums over the axis")

    def emit(self, node: Node[L2NormAttrs], args: list[str], e: Emitter) -> str:
        named = {"axis": str(node.attrs.axis)} if node.attrs.axis != -1 else {}
        named |= {"eps": repr(float(node.attrs.eps))} if node.attrs.eps != 1e-12 else {}
        return call(e.support("l2_norm"), args[0], **named)

    def moves(self, node: Node[L2NormAttrs]) -> Moves:
        return "before"


PRIMITIVES: tuple[Primitive[Any], ...] = (RMSNorm(), LayerNorm(), BatchNorm(), GroupNorm(), InstanceNorm(), L2Norm())
