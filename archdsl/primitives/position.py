"""Positions: rotary, learned, sinusoidal."""

from __future__ import annotations

from typing import Any

from archdsl.graph.ir import Attrs, Axis, Init, Node, TensorType, frozen, replace
from archdsl.graph.sizes import Size, decide_compare
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.parameters import given_init, given_value, known, number, option, show, weight
from archdsl.primitives.reach import SAME, Reach, everything
from archdsl.primitives.text import call, method
from archdsl.primitives.traits import Elementwise, Uncounted

BASE = param("number", 10_000, "wavelengths grow up to 2 pi times this")
LAYOUT = param("bool", True, "sines and cosines in turn; if false all sines come first")
OFFSET = param("int", 0, "the first position's number")


def at(e: Emitter, axis: Axis, stepping: bool) -> dict[str, str]:
    """The clock as a keyword argument, where the positions of a decoding step are asked for."""
    return {"clock": e.clock} if stepping and e.over_time(axis) else {}


def waves(node: Node[Any]) -> dict[str, str]:
    """The options of a sinusoidal code that differ from the usual."""
    named = {"base": repr(float(node.attrs.base))} if node.attrs.base != 10_000 else {}
    return named | ({} if node.attrs.interleaved else {"interleaved": "False"})


@frozen
class RotaryAttrs(Attrs):
    base: float = BASE
    dim: Size | None = param("size", None, "how many leading features are turned; all if not said")
    interleaved: bool = param("bool", False, "pairs are neighbours (GPT-J) and not halves (Llama, NeoX)")
    scaling: Any = param("str", None, 'context extension: "linear", "ntk", "llama3" or "yarn"; "closed": speeds down to 1 / base')
    factor: float = param("number", 1.0, "scaling: how much longer the context becomes")
    low: float = param("number", 1.0, "llama3: turns below which a speed is fully scaled; yarn: beta_slow")
    high: float | None = param("number", None, "llama3: turns above which a speed is kept (4); yarn: beta_fast (32)")
    original: Size = param("size", 8192, "scaling: context the model was trained with")
    offset: int = OFFSET
    positions: TensorType | None = param("value", None, "positions to use in place of 0, 1, 2, …: a value [T]")
    turned: Size | None = None  # how many features are turned, where not all are


class Rotary(Uncounted[RotaryAttrs]):
    """x [.., T, c] with each pair of features turned by an angle that grows with the position."""

    name = "rotary"
    attributes = RotaryAttrs
    doc = "Rotary position embedding of queries or keys."
    source = "Su et al., RoFormer, 2021"

    def infer(self, use: Use[RotaryAttrs]) -> list[TensorType]:
        use.rank(0, 2)
        x = require_kind(use, 0, "float")
        features = x.axes[-1].size
        size = features if use.args.dim is None else use.args.dim
        use.divides(size, 2, "features of rotary, taken in pairs")
        if decide_compare(">", size, features, use.facts):
            use.fail("AD0261", "rotary cannot turn more features than there are", f"dim is {size}, the last axis is {features}")
        number(use, "base", use.args.base, 0, above=True)
        number(use, "factor", use.args.factor, 0, above=True)
        option(use, "scaling", use.args.scaling, (None, "linear", "ntk", "llama3", "yarn", "closed"))
        use.attrs = replace(use.attrs, turned=None if use.args.dim is None else size)
        use.attrs = replace(use.attrs, scaling=self._scaling(use))
        given = use.args.positions
        batched = x.batched
        if isinstance(given, TensorType):
            if given.rank != 1:
                use.fail("AD0303", "`positions` of rotary must have one axis", f"it is {given}")
            use.same(given.axes[0].size, x.axes[-2].size, "positions and the axis before the last")
            batched = batched or given.batched
        return [TensorType(x.axes, x.kind, batched)]

    def _scaling(self, use: Use[RotaryAttrs]) -> tuple[Any, ...] | None:
        a = use.args
        kind, factor, low, high = a.scaling, float(a.factor), float(a.low), a.high
        if kind in (None, "closed"):
            return None if kind is None else (kind,)
        if kind in ("linear", "ntk"):
            return (kind, factor)
        original = known(use, "original", use.args.original, "The speeds are scaled relative to it.")
        high = float((4.0 if kind == "llama3" else 32.0) if high is None else high)
        if high <= low:
            use.fail("AD0261", "`high` of rotary must be above `low`", f"high is {show(high)}, low is {show(low)}")
        return (kind, factor, low, high, original) if kind == "llama3" else (kind, factor, high, low, original)

    def time(self, node: Node[RotaryAttrs], index: int, axis: int) -> Reach:
        return everything("turns pairs along the axis") if index == 0 and axis == -1 else SAME

    def options(self, node: Node[RotaryAttrs]) -> dict[str, str]:
        a = node.attrs
        named = {"base": repr(float(a.base))} if a.base != 10_000 else {}
        named |= {"size": str(a.turned)} if a.turned is not None else {}
        named |= {"interleaved": "True"} if a.interleaved else {}
        named |= {"scaling": repr(a.scaling)} if a.scaling is not None else {}
        return named | ({"offset": str(a.offset)} if a.offset else {})

    def emit(self, node: Node[RotaryAttrs], args: list[str], e: Emitter) -> str:
        positions = given_value(node, args, "positions")
        x = args[0]
        if positions is not None and not node.inputs[0].type.batched:
            x = method(x, "unsqueeze", "0") if node.outputs[0].type.batched else x
        return call(e.support("rotary"), x, **self.options(node), **({"positions": positions} if positions is not None else {}))

    def step(self, node: Node[RotaryAttrs], args: list[str], e: Emitter) -> str:
        if given_value(node, args, "positions") is not None or not e.over_time(node.inputs[0].type.axes[-2]):
            return self.emit(node, args, e)
        return call(e.support("rotary_step"), args[0], e.clock, **self.options(node))


@frozen
class PositionAttrs(Attrs):
    max: Size = param("size", doc="rows of the table: the longest sequence")
    init: Init | None = param("init", None, "how the table begins; normal(0.02) if not said")
    offset: int = OFFSET


class Position(Uncounted[PositionAttrs]):
    """x [.., T, d] + table[0:T]."""

    name = "position"
    category = "table"
    attributes = PositionAttrs
    doc = "Adds a learned vector for each position."

    def infer(self, use: Use[PositionAttrs]) -> list[TensorType]:
        use.rank(0, 2)
        x = require_kind(use, 0, "float")
        rows = known(use, "max", use.args.max, "The table has that many rows.")
        if decide_compare(">", x.axes[-2].size + use.args.offset, rows, use.facts):
            use.fail("AD0322", f"position has {rows} rows", f"the input has {x.axes[-2].size} positions", hint="Give a larger `max`.")
        weight(use, "weight", (rows, x.axes[-1].size), given_init(use.args.init, Init("normal", (0.02,))))
        return [x]

    def time(self, node: Node[PositionAttrs], index: int, axis: int) -> Reach:
        return everything("has one table column per entry of the axis") if axis == -1 else SAME

    def rows(self, node: Node[PositionAttrs], args: list[str], e: Emitter, stepping: bool) -> str:
        x = node.inputs[0].type
        named = at(e, x.axes[-2], stepping) | ({"offset": str(node.attrs.offset)} if node.attrs.offset else {})
        return call(e.support("add_positions"), args[0], e.weight("weight"), **named)

    def emit(self, node: Node[PositionAttrs], args: list[str], e: Emitter) -> str:
        return self.rows(node, args, e, stepping=False)

    def step(self, node: Node[PositionAttrs], args: list[str], e: Emitter) -> str:
        return self.rows(node, args, e, stepping=True)


@frozen
class SinusoidalAttrs(Attrs):
    base: float = BASE
    offset: int = OFFSET
    interleaved: bool = LAYOUT


class Sinusoidal(Uncounted[SinusoidalAttrs]):
    """x [.., T, d] + fixed sines and cosines of the position."""

    name = "sinusoidal"
    attributes = SinusoidalAttrs
    doc = "Adds the fixed sinusoidal encoding of each position."
    source = "Vaswani et al., Attention is all you need, 2017"

    def infer(self, use: Use[SinusoidalAttrs]) -> list[TensorType]:
        use.rank(0, 2)
        number(use, "base", use.args.base, 0, above=True)
        return [require_kind(use, 0, "float")]

    def time(self, node: Node[SinusoidalAttrs], index: int, axis: int) -> Reach:
        return everything("encodes along the axis") if axis == -1 else SAME

    def coded(self, node: Node[SinusoidalAttrs], args: list[str], e: Emitter, stepping: bool) -> str:
        named = at(e, node.inputs[0].type.axes[-2], stepping)
        named |= waves(node)
        named |= {"offset": str(node.attrs.offset)} if node.attrs.offset else {}
        return call(e.support("add_sinusoid"), args[0], **named)

    def emit(self, node: Node[SinusoidalAttrs], args: list[str], e: Emitter) -> str:
        return self.coded(node, args, e, stepping=False)

    def step(self, node: Node[SinusoidalAttrs], args: list[str], e: Emitter) -> str:
        return self.coded(node, args, e, stepping=True)


@frozen
class SignalAttrs(Attrs):
    d: Size = param("size", doc="size of the encoding")
    base: float = BASE
    interleaved: bool = LAYOUT


class Signal(Elementwise[SignalAttrs]):
    """index int[..] -> [.., d]: the sinusoidal encoding of a number, such as a loop's index or a diffusion step."""

    name = "signal"
    inputs = ("index",)
    attributes = SignalAttrs
    doc = "Sines and cosines of a number at geometrically spaced speeds."
    source = "Vaswani et al., Attention is all you need, 2017"

    def infer(self, use: Use[SignalAttrs]) -> list[TensorType]:
        index = require_kind(use, 0, "int", "float")
        number(use, "base", use.args.base, 0, above=True)
        return [TensorType((*index.axes, Axis(use.args.d)), "float", index.batched)]

    def emit(self, node: Node[SignalAttrs], args: list[str], e: Emitter) -> str:
        named = waves(node)
        return call(e.support("sinusoid"), args[0], e.size(node.attrs.d), *(f"{n}={t}" for n, t in named.items()), e.placement("float"))


PRIMITIVES: tuple[Primitive[Any], ...] = (Rotary(), Position(), Sinusoidal(), Signal())
