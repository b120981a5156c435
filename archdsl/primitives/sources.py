"""Values that come from nowhere: parameters, buffers, constants, ranges, random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from archdsl.graph.expressions import const
from archdsl.graph.ir import A, Attrs, Axis, Init, Node, TensorType, frozen, lead_axes, replace
from archdsl.graph.sizes import Poly, Size
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.initialisers import plain
from archdsl.primitives.parameters import show, weight
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise, KeepsNothing
from archdsl.recurrence.definition import Definition, sizes_of

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter

SHAPE = param("shape", doc="sizes of the axes; [] for a scalar")


@frozen
class ShapedAttrs(Attrs):
    shape: list[Size] = SHAPE
    init: Init = None  # type: ignore[assignment]  # of one that says none, `shaped` fills it in


S = TypeVar("S", bound=ShapedAttrs)


def shaped(use: Use[S], default: Init) -> tuple[list[Axis], Init]:
    """The axes and the initialiser of a `shape` argument: `[d]` or `[d] ~ ones`. An item may be a size, or an axis to be the same as."""
    written: Any = use.args.shape
    init = getattr(written, "init", None) or use.args.init or default
    axes = []
    for item in getattr(written, "shape", written):
        if isinstance(item, Axis):
            axes.append(item)
        elif (isinstance(item, int) and not isinstance(item, bool) and item >= 0) or isinstance(item, Poly):
            axes.append(Axis(item))
        else:
            use.fail("AD0261", f"the shape of {use.primitive.name} must be made of sizes", f"{show(item)} is none")
    use.attrs = replace(use.attrs, shape=[a.size for a in axes], init=init)
    return axes, init


class Source(Elementwise[A]):
    """Base: no inputs whose positions could be read, not batched."""

    inputs = ()

    def shape(self, node: Node[A], e: Emitter) -> str:
        """Source of the shape, as one tuple."""
        sizes = [e.size(axis.size) for axis in node.outputs[0].type.axes]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


@frozen
class ParamAttrs(ShapedAttrs):
    init: Init = param("init", None, "how it begins; normal(0.02) if not said")


class Param_(KeepsNothing, Source[ParamAttrs]):
    """A learned tensor."""

    name = "param"
    category = "table"
    short = "w"
    trainable = True
    attributes = ParamAttrs
    doc = "A learned parameter: param([d] ~ zeros)."

    def infer(self, use: Use[ParamAttrs]) -> list[TensorType]:
        axes, init = shaped(use, Init("normal", (0.02,)))
        weight(use, "", tuple(a.size for a in axes), init, trainable=self.trainable)
        return [TensorType(tuple(axes), "float", False)]

    def emit(self, node: Node[ParamAttrs], args: list[str], e: Emitter) -> str:
        return e.weight("")

    def equations(self, node: Node[ParamAttrs], c: Converter) -> Definition:
        assert node.instance is not None
        return c.whole(c.weight(node.instance.name, "", node.instance.weights[""].shape, lead_axes(node)))


class Buffer(Param_):
    """A fixed tensor kept with the weights."""

    name = "buffer"
    trainable = False
    doc = "A tensor that begins like a parameter and is saved with the weights, but not learned: a random projection."


class Filled(KeepsNothing, Source[S]):
    """zeros, ones: a constant tensor."""

    def __init__(self, name: str, attributes: type[S]):
        self.name = name
        self.attributes = attributes
        self.doc = f"A tensor of {name}."

    def infer(self, use: Use[S]) -> list[TensorType]:
        axes, _ = shaped(use, Init(self.name))
        return [TensorType(tuple(axes), "float", False)]

    def emit(self, node: Node[S], args: list[str], e: Emitter) -> str:
        return call(f"torch.{self.name}", self.shape(node, e), e.placement("float"))

    def equations(self, node: Node[S], c: Converter) -> Definition:
        return Definition(sizes_of(node.outputs[0]), const({"zeros": 0.0, "ones": 1.0}[self.name]))


@frozen
class FullAttrs(ShapedAttrs):
    value: float = param("number", doc="the number")


class Full(Filled[FullAttrs]):
    """A tensor of one number."""

    def __init__(self) -> None:
        super().__init__("full", FullAttrs)
        self.doc = "A tensor that holds one number everywhere; whole numbers in a spec give float entries too."

    def emit(self, node: Node[FullAttrs], args: list[str], e: Emitter) -> str:
        return call("torch.full", self.shape(node, e), repr(float(node.attrs.value)), e.placement("float"))

    def equations(self, node: Node[FullAttrs], c: Converter) -> Definition:
        return Definition(sizes_of(node.outputs[0]), const(float(node.attrs.value)))


@frozen
class ArangeAttrs(Attrs):
    n: Any = param("any", doc="how many: a size, or the axis they run along")


class Arange(Source[ArangeAttrs]):
    """0, 1, 2, … as whole numbers; along time, the positions."""

    name = "arange"
    attributes = ArangeAttrs
    doc = "The whole numbers from 0. Over a time axis these are positions: in decoding they go on where the sequence stands."

    def infer(self, use: Use[ArangeAttrs]) -> list[TensorType]:
        n = use.args.n
        axis = n if isinstance(n, Axis) else Axis(n)
        if not isinstance(axis.size, (int, Poly)) or isinstance(axis.size, bool):
            use.fail("AD0261", "arange needs a size", f"{show(n)} is none")
        use.attrs = replace(use.attrs, n=axis.size)
        return [TensorType((axis,), "int", False)]

    def emit(self, node: Node[ArangeAttrs], args: list[str], e: Emitter) -> str:
        return call("torch.arange", e.size(node.attrs.n), e.placement("int"))

    def step(self, node: Node[ArangeAttrs], args: list[str], e: Emitter) -> str:
        axis = node.outputs[0].type.axes[0]
        return call(f"{e.clock}.positions", e.size(axis.size), e.placement("int")) if e.over_time(axis) else self.emit(node, args, e)


@frozen
class EyeAttrs(Attrs):
    n: Size = param("size", doc="rows and columns")


class Eye(Source[EyeAttrs]):
    """The identity matrix."""

    name = "eye"
    attributes = EyeAttrs
    doc = "The identity matrix [n, n]."

    def infer(self, use: Use[EyeAttrs]) -> list[TensorType]:
        return [TensorType((Axis(use.args.n), Axis(use.args.n)), "float", False)]

    def emit(self, node: Node[EyeAttrs], args: list[str], e: Emitter) -> str:
        return call("torch.eye", e.size(node.attrs.n), e.placement("float"))


@frozen
class RandomAttrs(ShapedAttrs):
    init: Init = param("init", None, "the distribution; normal(1) if not said")
    shared: bool = param("bool", False, "one draw for the whole batch")


class Random(Source[RandomAttrs]):
    """A new draw at every call, each sample its own."""

    name = "random"
    attributes = RandomAttrs
    doc = "Random numbers drawn anew in every forward pass, in training and evaluation alike (put it in `train { … }` for training only)."

    def infer(self, use: Use[RandomAttrs]) -> list[TensorType]:
        axes, init = shaped(use, Init("normal", (1.0,)))
        if init.kind not in ("normal", "uniform", "loguniform", "truncated_normal"):
            hint = "Choose normal, uniform, loguniform or truncated_normal."
            use.fail("AD0263", f"random cannot draw from {init}", "not a distribution", hint=hint)
        return [TensorType(tuple(axes), "float", not use.args.shared)]

    def random(self, node: Node[RandomAttrs]) -> bool:
        return True

    def emit(self, node: Node[RandomAttrs], args: list[str], e: Emitter) -> str:
        sizes = [e.size(axis.size) for axis in node.outputs[0].type.axes]
        sizes = sizes if node.attrs.shared else [e.batch, *sizes]
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return call(e.support("draw"), shape, repr(plain(node.attrs.init)), e.placement("float"))


PRIMITIVES: tuple[Primitive[Any], ...] = (
    Param_(),
    Buffer(),
    Filled("zeros", ShapedAttrs),
    Filled("ones", ShapedAttrs),
    Full(),
    Arange(),
    Eye(),
    Random(),
)
