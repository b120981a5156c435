"""Normalisations."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Axis, Init, Node, TensorType
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Param, Primitive, Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, known, number, option, show, switch, weight
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call
from archdsl.primitives.traits import Uncounted
from archdsl.recurrence.definition import Moves

EPS = Param("eps", "number", 1e-5, "added to the variance")
SAVES = Param("saves", "str", "input", 'what the backward pass keeps: "input", or "output", which the layer behind it keeps as well')
ONES, ZEROS = Init("ones"), Init("zeros")


def start(use: Use) -> tuple[TensorType, int]:
    """Checks a norm's input, axis and eps; the axis is left as a negative position in the attributes."""
    use.rank(0, 1)
    x = require_kind(use, 0, "float")
    number(use, "eps", 0)
    axis = use.axis(0, use.args["axis"])
    use.attrs["axis"] = axis
    return x, axis


def declare(use: Use, name: str, size: Any, default: Init, as_weight: str) -> bool:
    """Declares a per-channel weight if the switch `name` asks for one."""
    if not switch(use, name):
        return False
    weight(use, as_weight, (size,), given_init(use, name, default))
    return True


def known_size(use: Use, size: Any) -> int:
    """The size of a normalised axis where it must be known."""
    if not isinstance(size, int):
        use.fail("AD0305", f"`partial` of {use.primitive.name} needs an axis of known size", f"this one is {size}")
    return size


def by_output(use: Use, **plain: object) -> bool:
    """Whether the backward pass starts from the output; there it must be the last axis, normalised and nothing more."""
    if option(use, "saves", ("input", "output")) == "input":
        return False
    for name, value in plain.items():
        if use.args[name] != value or isinstance(use.args[name], Init):
            use.fail(
                "AD0260",
                f'saves="output" of {use.primitive.name} needs {name}={show(value)}',
                f"it is {show(use.args[name])}",
                hint="A scale or bias can be part of the linear layer that follows.",
            )
    if use.attrs["axis"] != -1:
        use.fail("AD0260", f'saves="output" of {use.primitive.name} works along the last axis', f"axis is {use.args['axis']}")
    return True


def ragged_after(node: Node, axis: int) -> tuple[int, Axis] | None:
    """The ragged axis among those after the channels, with its negative position."""
    axes = node.inputs[0].type.axes
    return next(((i, axes[i]) for i in range(axis + 1, 0) if axes[i].ragged is not None), None)


def along(node: Node, axis: int, reason: str) -> Reach:
    """A norm's time rule where only one axis is looked at."""
    return everything(reason) if axis == node.attrs["axis"] else SAME


class RMSNorm(Uncounted):
    """x / sqrt(mean(x²) + eps) * weight. partial and outside are options of the paper (pRMSNorm; its code's eps)."""

    name = "rmsnorm"
    category = "norm"
    params = (
        Param("eps", "number", 1e-6, "added to the mean square"),
        Param("scale", "any", True, "true, false, or how the scale begins (ones)"),
        Param("axis", "int", -1, "the axis normalised"),
        Param("unit_offset", "bool", False, "the scale is 1 + weight and the weight begins at zero (Gemma)"),
        Param("bias", "any", False, "true, false, or how a bias begins (zeros)"),
        Param("partial", "number", 1, "share of the features, the first ones, whose mean square counts for all"),
        Param("outside", "bool", False, "eps is added to the root and not under it"),
        SAVES,
    )
    doc = "Root mean square normalisation of one axis, in float32 inside."
    source = "Zhang & Sennrich, Root mean square layer normalization, 2019, arXiv:1910.07467"

    def infer(self, use: Use) -> list[TensorType]:
        x, axis = start(use)
        size = x.axes[axis].size
        number(use, "partial", 0, 1, above=True)
        use.attrs["features"] = None if use.args["partial"] == 1 else max(1, int(known_size(use, size) * use.args["partial"]))
        use.attrs["output"] = by_output(use, scale=False, bias=False, partial=1, outside=False)
        use.attrs["scale"] = declare(use, "scale", size, ZEROS if use.args["unit_offset"] else ONES, "weight")
        use.attrs["bias"] = declare(use, "bias", size, ZEROS, "bias")
        return [x]

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return along(node, axis, "averages over the axis")

    def plain(self, node: Node) -> bool:
        a = node.attrs
        return bool(a["axis"] == -1 and a["scale"] and not (a["unit_offset"] or a["bias"] or a["features"] or a["outside"]))

    def module(self, node: Node) -> str | None:
        return call("nn.RMSNorm", str(node.inputs[0].type.axes[-1].size), eps=repr(float(node.attrs["eps"]))) if self.plain(node) else None

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        if node.attrs["output"]:
            return call(f"{e.support('NormByOutput')}.apply", args[0], repr(float(node.attrs["eps"])), "False")
        named = {"axis": str(node.attrs["axis"])} if node.attrs["axis"] != -1 else {}
        named |= {"unit_offset": "True"} if node.attrs["unit_offset"] else {}
        named |= {"bias": e.weight("bias")} if node.attrs["bias"] else {}
        named |= {"features": str(node.attrs["features"])} if node.attrs["features"] else {}
        named |= {"outside": "True"} if node.attrs["outside"] else {}
        scale = e.weight("weight") if node.attrs["scale"] else "None"
        return call(e.support("rms_norm"), args[0], scale, repr(float(node.attrs["eps"])), **named)

    def moves(self, node: Node) -> Moves:
        return "before"


class LayerNorm(Uncounted):
    """(x - mean) / sqrt(variance + eps) * weight + bias."""

    name = "layernorm"
    category = "norm"
    params = (
        EPS,
        Param("bias", "any", True, "true, false, or how the bias begins (zeros)"),
        Param("scale", "any", True, "true, false, or how the scale begins (ones)"),
        Param("axis", "int", -1, "the axis normalised"),
        SAVES,
    )
    doc = "Layer normalisation of one axis."
    source = "Ba, Kiros & Hinton, Layer normalization, 2016, arXiv:1607.06450"

    def infer(self, use: Use) -> list[TensorType]:
        x, axis = start(use)
        use.attrs["output"] = by_output(use, scale=False, bias=False)
        use.attrs["scale"] = declare(use, "scale", x.axes[axis].size, ONES, "weight")
        use.attrs["bias"] = declare(use, "bias", x.axes[axis].size, ZEROS, "bias")
        return [x]

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return along(node, axis, "averages over the axis")

    def plain(self, node: Node) -> bool:
        return bool(node.attrs["axis"] == -1 and node.attrs["scale"])

    def module(self, node: Node) -> str | None:
        if not self.plain(node):
            return None
        eps = {} if node.attrs["eps"] == 1e-5 else {"eps": repr(float(node.attrs["eps"]))}
        return call("nn.LayerNorm", str(node.inputs[0].type.axes[-1].size), **eps, **({} if node.attrs["bias"] else {"bias": "False"}))

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        if node.attrs["output"]:
            return call(f"{e.support('NormByOutput')}.apply", args[0], repr(float(node.attrs["eps"])), "True")
        texts = [e.weight(w) if node.attrs[name] else "None" for name, w in (("scale", "weight"), ("bias", "bias"))]
        named = {"axis": str(node.attrs["axis"])} if node.attrs["axis"] != -1 else {}
        return call(e.support("layer_norm"), args[0], *texts, repr(float(node.attrs["eps"])), **named)

    def moves(self, node: Node) -> Moves:
        return "before"


class BatchNorm(Uncounted):
    """Per-channel normalisation by the batch's statistics in training, by running ones in evaluation."""

    name = "batchnorm"
    category = "norm"
    params = (
        Param("axis", "int", 0, "the channels' axis"),
        EPS,
        Param("momentum", "number", 0.1, "share of the new statistics in the running ones"),
        Param("scale", "any", True, "true, or how the scale begins (scale ~ zeros); false together with bias=false"),
        Param("bias", "any", True, "true, or how the bias begins; false together with scale=false"),
    )
    doc = "Batch normalisation; padding of ragged batches counts for no statistics."
    source = "Ioffe & Szegedy, Batch normalization, 2015"

    def infer(self, use: Use) -> list[TensorType]:
        x, axis = start(use)
        number(use, "momentum", 0, 1)
        size = x.axes[axis].size
        scale, bias = declare(use, "scale", size, ONES, "weight"), declare(use, "bias", size, ZEROS, "bias")
        if scale != bias:
            use.fail("AD0260", "batchnorm has both scale and bias, or neither", "only one of them here", hint="Leave both or neither.")
        use.attrs["affine"] = scale
        weight(use, "running_mean", (size,), ZEROS, trainable=False)
        weight(use, "running_var", (size,), ONES, trainable=False)
        weight(use, "num_batches_tracked", (), ZEROS, "int", trainable=False)
        return [x]

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return along(node, axis, "has one scale per entry of the axis")

    def module(self, node: Node) -> str | None:
        x, axis = node.inputs[0].type, node.attrs["axis"]
        named = {name: repr(float(node.attrs[name])) for name, usual in (("eps", 1e-5), ("momentum", 0.1)) if node.attrs[name] != usual}
        named |= {} if node.attrs["affine"] else {"affine": "False"}
        return call(f"nn.BatchNorm{min(max(x.rank - 1, 1), 3)}d", str(x.axes[axis].size), **named)

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        x, axis = node.inputs[0].type, node.attrs["axis"]
        ragged = next(((i, a) for i, a in zip(range(-x.rank, 0), x.axes) if a.ragged is not None), None)
        lengths = e.lengths(ragged[1]) if ragged is not None and x.batched else None
        if x.batched and axis == -x.rank and x.rank <= 4 and lengths is None:
            return call(e.self, args[0])
        if not x.batched:
            return call(e.support("batch_norm"), f"{args[0]}[None]", e.self, str(axis)) + "[0]"
        named = {"lengths": lengths, "ragged": str(ragged[0])} if lengths is not None and ragged is not None else {}
        return call(e.support("batch_norm"), args[0], e.self, str(axis), **named)


class GroupNorm(Uncounted):
    """Normalisation over groups of channels and all axes after the channels."""

    name = "groupnorm"
    category = "norm"
    params: tuple[Param, ...] = (
        Param("groups", "size", doc="number of groups"),
        EPS,
        Param("axis", "int", 0, "the channels' axis; axes before it are left alone, so -1 normalises each position by itself"),
        Param("scale", "any", True, "true, false, or how the scale begins (ones)"),
        Param("bias", "any", True, "true, false, or how the bias begins (zeros)"),
    )
    doc = "Group normalisation; padding of ragged batches counts for no statistics."
    source = "Wu & He, Group normalization, 2018"

    def infer(self, use: Use) -> list[TensorType]:
        x, axis = start(use)
        size = x.axes[axis].size
        use.attrs["groups"] = groups = self.groups(use, size)
        use.divides(size, groups, "channels and groups")
        use.attrs["scale"] = declare(use, "scale", size, ONES, "weight")
        use.attrs["bias"] = declare(use, "bias", size, ZEROS, "bias")
        return [x]

    def groups(self, use: Use, channels: Any) -> Any:
        return known(use, "groups", "Each group has statistics of its own.")

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return everything("averages over the axis") if axis >= node.attrs["axis"] else SAME

    def plain(self, node: Node) -> bool:
        x = node.inputs[0].type
        after = ragged_after(node, node.attrs["axis"])
        first = node.attrs["axis"] == -x.rank and x.batched
        return bool(first and node.attrs["scale"] and node.attrs["bias"] and after is None)

    def module(self, node: Node) -> str | None:
        if not (node.attrs["scale"] and node.attrs["bias"]):
            return None
        eps = {} if node.attrs["eps"] == 1e-5 else {"eps": repr(float(node.attrs["eps"]))}
        return call("nn.GroupNorm", str(node.attrs["groups"]), str(node.inputs[0].type.axes[node.attrs["axis"]].size), **eps)

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        if self.plain(node):
            return call(e.self, args[0])
        axis = node.attrs["axis"]
        after = ragged_after(node, axis)
        lengths = e.lengths(after[1]) if after is not None and node.inputs[0].type.batched else None
        named = {"lengths": lengths, "ragged": str(after[0])} if lengths is not None and after is not None else {}
        texts = [e.weight(w) if node.attrs[name] else "None" for name, w in (("scale", "weight"), ("bias", "bias"))]
        groups = e.size(node.attrs["groups"])
        return call(e.support("group_norm"), args[0], groups, *texts, repr(float(node.attrs["eps"])), str(axis), **named)


class InstanceNorm(GroupNorm):
    """Each channel by itself: group norm with one channel per group."""

    name = "instancenorm"
    params = (
        EPS,
        Param("axis", "int", 0, "the channels' axis; statistics are taken over all axes after it"),
        Param("scale", "any", False, "true, false, or how the scale begins (ones)"),
        Param("bias", "any", False, "true, false, or how the bias begins (zeros)"),
    )
    doc = "Instance normalisation: each channel of each sample by its own statistics."
    source = "Ulyanov, Vedaldi & Lempitsky, Instance normalization, 2016"

    def groups(self, use: Use, channels: Any) -> Any:
        return channels


class L2Norm(Uncounted):
    """x / sqrt(sum(x²) + eps)."""

    name = "l2norm"
    category = "norm"
    params = (Param("axis", "int", -1, "the axis given length one"), Param("eps", "number", 1e-12, "added to the sum of squares"))
    doc = "Scales vectors to length one."

    def infer(self, use: Use) -> list[TensorType]:
        return [start(use)[0]]

    def time(self, node: Node, index: int, axis: int) -> Reach:
        return along(node, axis, "sums over the axis")

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        named = {"axis": str(node.attrs["axis"])} if node.attrs["axis"] != -1 else {}
        named |= {"eps": repr(float(node.attrs["eps"]))} if node.attrs["eps"] != 1e-12 else {}
        return call(e.support("l2_norm"), args[0], **named)

    def moves(self, node: Node) -> Moves:
        return "before"


PRIMITIVES: tuple[Primitive, ...] = (RMSNorm(), LayerNorm(), BatchNorm(), GroupNorm(), InstanceNorm(), L2Norm())
