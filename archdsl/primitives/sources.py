"""Values that come from nowhere: parameters, buffers, constants, ranges, random draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from archdsl.graph.expressions import const
from archdsl.graph.ir import Axis, Init, Node, TensorType
from archdsl.graph.sizes import Poly
from archdsl.primitives.base import Param, Primitive, Use
from archdsl.primitives.emitter import Emitter
from archdsl.primitives.initialisers import plain
from archdsl.primitives.parameters import show, weight
from archdsl.primitives.text import call
from archdsl.primitives.traits import Elementwise, KeepsNothing
from archdsl.recurrence.definition import Definition, sizes_of

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter

SHAPE = Param("shape", "shape", doc="sizes of the axes; [] for a scalar")


def shaped(use: Use, default: Init) -> tuple[list[Axis], Init]:
    """The axes and the initialiser of a `shape` argument: `[d]` or `[d] ~ ones`. An item may be a size, or an axis to be the same as."""
    written = use.args["shape"]
    init = getattr(written, "init", None) or use.args.get("init") or default
    axes = []
    for item in getattr(written, "shape", written):
        if isinstance(item, Axis):
            axes.append(item)
        elif (isinstance(item, int) and not isinstance(item, bool) and item >= 0) or isinstance(item, Poly):
            axes.append(Axis(item))
        else:
            use.fail("AD0261", f"the shape of {use.primitive.name} must be made of sizes", f"{show(item)} is none")
    use.attrs["shape"] = [a.size for a in axes]
    use.attrs["init"] = init
    return axes, init


class Source(Elementwise):
    """Base: no inputs whose positions could be read, not batched."""

    inputs = ()

    def shape(self, node: Node, e: Emitter) -> str:
        """Source of the shape, as one tuple."""
        sizes = [e.size(axis.size) for axis in node.outputs[0].type.axes]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


class Param_(KeepsNothing, Source):
    """A learned tensor."""

    name = "param"
    category = "table"
    short = "w"
    trainable = True
    params = (SHAPE, Param("init", "init", None, "how it begins; normal(0.02) if not said"))
    doc = "A learned parameter: param([d] ~ zeros)."

    def infer(self, use: Use) -> list[TensorType]:
        axes, init = shaped(use, Init("normal", (0.02,)))
        weight(use, "", tuple(a.size for a in axes), init, trainable=self.trainable)
        return [TensorType(tuple(axes), "float", False)]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return e.weight("")

    def equations(self, node: Node, c: Converter) -> Definition:
        assert node.instance is not None
        return c.whole(c.weight(node.instance.name, "", node.instance.weights[""].shape, node.attrs.get("lead", 0)))


class Buffer(Param_):
    """A fixed tensor kept with the weights."""

    name = "buffer"
    trainable = False
    doc = "A tensor that begins like a parameter and is saved with the weights, but not learned: a random projection."


class Filled(KeepsNothing, Source):
    """zeros, ones: a constant tensor."""

    def __init__(self, name: str):
        self.name = name
        self.params = (SHAPE,)
        self.doc = f"A tensor of {name}."

    def infer(self, use: Use) -> list[TensorType]:
        axes, _ = shaped(use, Init(self.name))
        return [TensorType(tuple(axes), "float", False)]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return call(f"torch.{self.name}", self.shape(node, e), e.placement("float"))

    def equations(self, node: Node, c: Converter) -> Definition:
        return Definition(sizes_of(node.outputs[0]), const({"zeros": 0.0, "ones": 1.0}[self.name]))


class Full(Filled):
    """A tensor of one number."""

    def __init__(self) -> None:
        super().__init__("full")
        self.params = (SHAPE, Param("value", "number", doc="the number"))
        self.doc = "A tensor that holds one number everywhere; whole numbers in a spec give float entries too."

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return call("torch.full", self.shape(node, e), repr(float(node.attrs["value"])), e.placement("float"))

    def equations(self, node: Node, c: Converter) -> Definition:
        return Definition(sizes_of(node.outputs[0]), const(float(node.attrs["value"])))


class Arange(Source):
    """0, 1, 2, … as whole numbers; along time, the positions."""

    name = "arange"
    params = (Param("n", "any", doc="how many: a size, or the axis they run along"),)
    doc = "The whole numbers from 0. Over a time axis these are positions: in decoding they go on where the sequence stands."

    def infer(self, use: Use) -> list[TensorType]:
        n = use.args["n"]
        axis = n if isinstance(n, Axis) else Axis(n)
        if not isinstance(axis.size, (int, Poly)) or isinstance(axis.size, bool):
            use.fail("AD0261", "arange needs a size", f"{show(n)} is none")
        use.attrs["n"] = axis.size
        return [TensorType((axis,), "int", False)]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return call("torch.arange", e.size(node.attrs["n"]), e.placement("int"))

    def step(self, node: Node, args: list[str], e: Emitter) -> str:
        axis = node.outputs[0].type.axes[0]
        return call(f"{e.clock}.positions", e.size(axis.size), e.placement("int")) if e.over_time(axis) else self.emit(node, args, e)


class Eye(Source):
    """The identity matrix."""

    name = "eye"
    params = (Param("n", "size", doc="rows and columns"),)
    doc = "The identity matrix [n, n]."

    def infer(self, use: Use) -> list[TensorType]:
        return [TensorType((Axis(use.args["n"]), Axis(use.args["n"])), "float", False)]

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        return call("torch.eye", e.size(node.attrs["n"]), e.placement("float"))


class Random(Source):
    """A new draw at every call, each sample its own."""

    name = "random"
    params = (
        SHAPE,
        Param("init", "init", None, "the distribution; normal(1) if not said"),
        Param("shared", "bool", False, "one draw for the whole batch"),
    )
    doc = "Random numbers drawn anew in every forward pass, in training and evaluation alike (put it in `train { … }` for training only)."

    def infer(self, use: Use) -> list[TensorType]:
        axes, init = shaped(use, Init("normal", (1.0,)))
        if init.kind not in ("normal", "uniform", "loguniform", "truncated_normal"):
            hint = "Choose normal, uniform, loguniform or truncated_normal."
            use.fail("AD0263", f"random cannot draw from {init}", "not a distribution", hint=hint)
        return [TensorType(tuple(axes), "float", not use.args["shared"])]

    def random(self, node: Node) -> bool:
        return True

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        sizes = [e.size(axis.size) for axis in node.outputs[0].type.axes]
        sizes = sizes if node.attrs["shared"] else [e.batch, *sizes]
        shape = f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
        return call(e.support("draw"), shape, repr(plain(node.attrs["init"])), e.placement("float"))


PRIMITIVES: tuple[Primitive, ...] = (Param_(), Buffer(), Filled("zeros"), Filled("ones"), Full(), Arange(), Eye(), Random())
