"""The one contract of a primitive: ports, parameters, shapes, weights, cost, time behaviour, and the Python text it becomes.

A primitive never imports torch here: it is asked for shapes and costs in milliseconds, and for source text when a module is emitted. The
functions that text calls live in `archdsl/primitives/support/` (plain torch, copied into emitted files).
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn

from archdsl.diagnostics import ArchError, Collector, Diagnostic
from archdsl.graph.ir import A, Assumption, Attrs, Axis, Init, Kind, Node, Origin, TensorType, Value, Weight
from archdsl.graph.sizes import Facts, Size, decide_divides, decide_equal
from archdsl.primitives.reach import Reach
from archdsl.recurrence.complex_parts import each_part, product_of_parts
from archdsl.recurrence.definition import Definition, Moves, NotElementary, Pair

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

Category = Literal["weights", "table", "norm", "mixing", ""]
REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a primitive: a field of its attributes, made by `param`."""

    name: str
    kind: str
    default: Any = REQUIRED
    doc: str = ""


def param(kind: str, default: Any = REQUIRED, doc: str = "") -> Any:
    """Declares a field of a primitive's attributes as a parameter that specs set.

    kind: "size" (whole number > 0), "int", "number", "bool", "str", "list" (of sizes or numbers), "init" (a distribution), "shape", "module"
    (an instance, e.g. unembed(table)), "act" (an act recipe), "value" (a tensor: weight=w), "any". A default of None also admits `none`.
    """
    return field(default=MISSING if default is REQUIRED else default, metadata={"param": (kind, default, doc)})


@lru_cache(maxsize=1024)
def parameters(attributes: Any) -> tuple[tuple[Param, ...], tuple[Param, ...]]:
    """The parameters among the fields of an attributes class, in order, and the required ones. The other fields are what `infer` finds out."""
    found = tuple(Param(f.name, *f.metadata["param"]) for f in fields(attributes) if "param" in f.metadata)
    return found, tuple(param for param in found if param.default is REQUIRED)


@dataclass(eq=False, slots=True)
class Use(Generic[A]):
    """One application being checked: its parameters, input types, and where it stands."""

    primitive: Primitive[A]
    args: A  # as given: a value stands as its type
    types: list[TensorType]
    origin: Origin
    facts: Facts
    collector: Collector
    assumptions: list[Assumption]
    weights: dict[str, Weight]
    attrs: A = field(init=False)  # what infer leaves for cost and emission: `use.attrs = replace(use.attrs, axis=axis)`

    def __post_init__(self) -> None:
        self.attrs = self.args

    def fail(self, code: str, title: str, label: str = "", *, note: str = "", hint: str = "") -> NoReturn:
        """Stops with a diagnostic at this use, with the calls it was expanded through."""
        raise ArchError(Diagnostic(code, title, self.origin.span, label, self.origin.via, note, hint))

    def weight(self, name: str, shape: tuple[Size, ...], init: Init, kind: Kind = "float", trainable: bool = True) -> None:
        """Declares a weight. Its sizes must be known numbers."""
        for size in shape:
            if not isinstance(size, int):
                self.fail(
                    "AD0305",
                    f"the weight `{name}` of {self.primitive.name} would have an unknown size",
                    f"{size} is only known when data arrives",
                    hint="Weights need fixed sizes: give that axis a number, or reduce over it first.",
                )
        self.weights[name] = Weight(name, tuple(shape), init, kind, trainable)  # type: ignore[arg-type]

    def same(self, a: Size, b: Size, what: str) -> None:
        """Requires two sizes to be equal: proved, refuted (error), or assumed and asserted."""
        verdict = decide_equal(a, b, self.facts)
        if verdict is False:
            self.fail("AD0301", f"shapes do not fit in {self.primitive.name}", f"{what}: {a} and {b} differ")
        if verdict is None:
            self.assumptions.append(Assumption(a, "==", b, self.origin))

    def divides(self, size: Size, by: Size, what: str) -> Size:
        """size / by, which must be whole: proved, refuted (error), or assumed and asserted."""
        verdict, quotient = decide_divides(size, by, self.facts)
        if verdict is False:
            self.fail("AD0302", f"{what}: {size} is not a multiple of {by}", f"{size} / {by} leaves a remainder")
        if verdict is None:
            self.assumptions.append(Assumption(size, "%", by, self.origin))
        return quotient

    def rank(self, index: int, at_least: int) -> TensorType:
        """The type of an input that must have at least that many axes."""
        kind = self.types[index]
        if kind.rank < at_least:
            self.fail(
                "AD0303",
                f"{self.primitive.name} needs an input with at least {at_least} {'axis' if at_least == 1 else 'axes'}",
                f"this one is {kind}",
            )
        return kind

    def axis(self, index: int, axis: Any) -> int:
        """A written axis number (0 first, negative from the end) as a negative position; checked."""
        rank = self.types[index].rank
        if not isinstance(axis, int) or isinstance(axis, bool) or not -rank <= axis < rank:
            self.fail(
                "AD0304",
                f"{self.primitive.name} has no axis {axis} to work on",
                f"the input is {self.types[index]}: axes 0 to {rank - 1}, or -{rank} to -1",
            )
        return axis - rank if axis >= 0 else axis


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor a primitive keeps between decoding steps, per sequence: shape without batch. `grows` if a size is the time seen so far."""

    name: str
    shape: tuple[Size, ...]
    kind: Kind = "float"
    grows: bool = False
    along: int | None = None  # kept only where this axis (negative) of the first input is time; None: always


# What passes rely on. `Primitive` has no answer to these, so that none is forgotten; archdsl/primitives/traits.py has bases that answer some.
TOLD = {
    "infer": "the types of its outputs; declares weights",
    "emit": "the source text of one use",
    "time": "which positions of an input an output position reads",
    "flops": "how many multiply-adds it does, counted as 2",
    "saved": "how many numbers are kept for the backward pass",
    "slots": "what is kept between decoding steps",
    "random": "whether it draws random numbers while training",
}


class Primitive(Generic[A]):
    """Subclass, fill in, and list it in `archdsl/primitives/__init__.py`. Instances hold no state. The methods in TOLD must be given.

    A is the class of its attributes (see `frozen` in graph/ir.py): its parameters, declared by `param`, and what `infer` finds out. A field's type is
    that of the attribute after `infer`; before, a parameter holds what the spec gave.
    """

    name: str = ""
    inputs: tuple[str, ...] = ("x",)
    variadic: bool = False  # any number of inputs (concat); `inputs` then names the repeated one
    optional: int = 0  # how many trailing inputs may be left out
    several: bool = False  # gives a tuple, also where that holds one value (split)
    attributes: type[A] = Attrs  # type: ignore[assignment]
    open: bool = False  # named arguments beyond its parameters are sizes, handed over as args.named (rearrange, einsum)
    doc: str = ""
    source: str = ""  # paper or specification
    causal_form: str = ""  # what to write where it must not look ahead, for messages
    category: Category = ""  # its colour in pictures; by default that of weights where it has some
    parts: Literal["", "each", "product"] = ""  # of complex numbers, `equations` hold for each part alone, or say a product of two inputs
    short: str = ""  # what a result without a name is called in emitted source; by default as the primitive

    @property
    def params(self) -> tuple[Param, ...]:
        """What specs can set."""
        attributes: Any = self.attributes
        return parameters(attributes)[0]

    @property
    def required(self) -> tuple[Param, ...]:
        """Those without a default."""
        attributes: Any = self.attributes
        return parameters(attributes)[1]

    def untold(self, method: str) -> NoReturn:
        """Stops where a pass asks for what the primitive does not say."""
        raise ArchError(Diagnostic("AD0922", f"`{self.name}` does not say `{method}`", note=f"It tells {TOLD[method]}."))

    # ---- checking ----

    def infer(self, use: Use[A]) -> list[TensorType]:
        """Output types; declares weights through `use.weight`; leaves what emission needs in `use.attrs`. Fails through `use.fail`."""
        self.untold("infer")

    # ---- cost ----

    def flops(self, node: Node[A]) -> Size:
        """Forward multiply-adds counted as 2, for one sequence of the batch. Element-wise work is not counted (as in torch's counter)."""
        self.untold("flops")

    def saved(self, node: Node[A]) -> Size:
        """Elements kept for the backward pass, for one sequence."""
        self.untold("saved")

    def slots(self, node: Node[A]) -> list[Slot]:
        """What decoding keeps for one use."""
        self.untold("slots")

    # ---- time ----

    def time(self, node: Node[A], index: int, axis: int) -> Reach:
        """Which positions of input `index` along its axis `axis` (negative) an output position reads, where that axis is time.

        SAME, EARLIER, window(…) and everything("averages over the axis") of archdsl/primitives/reach.py say most; UNDECLARED is refused wherever
        it matters. What reads earlier positions needs a step form to be decoded.
        """
        self.untold("time")

    @property
    def steps(self) -> bool:
        """Whether it has a step form of its own."""
        return type(self).step is not Primitive.step

    def random(self, node: Node[A]) -> bool:
        """Whether this use draws random numbers while training. A reversible repeat runs it anew on the way back."""
        self.untold("random")

    # ---- inverse ----

    def solvable(self, node: Node[A], unknown: list[int]) -> bool:
        """Whether the inputs at these positions follow from the outputs and the other inputs. What does not say so is not undone."""
        return False

    def solve(self, node: Node[A], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        """Source of those inputs, from the outputs' source and the other inputs' (`args`; empty where unknown). Given with `solvable`."""
        raise ArchError(Diagnostic("AD0922", f"`{self.name}` says that it can be solved, and not how"))

    # ---- in a scan's step ----

    def moves(self, node: Node[A]) -> Moves:
        """Where a use that a scan's step need not run in order is worth doing for all times at once: "before" the loop, or also after it
        ("around", for maps by weights). By default it stays where it is, unless one that moves needs it."""
        return ""

    def equations(self, node: Node[A], c: Converter) -> Definition | list[Definition]:
        """The outputs in index notation, from `c.known` of the inputs. By default there is none: the scan then runs step by step in torch."""
        raise NotElementary(f"`{node.op}` has no index notation", node.origin.span)

    def complex_equations(self, node: Node[A], c: Converter) -> list[Definition | Pair]:
        """The same where complex numbers take part; by default as `parts` says."""
        if self.parts == "each":
            return each_part(c, node, self.equations)
        if self.parts == "product":
            return product_of_parts(c, node, self.equations)
        raise NotElementary(f"`{node.op}` of complex numbers has no index notation", node.origin.span)

    # ---- emission ----

    def reads(self, node: Node[A]) -> list[Value]:
        """The values whose source `emit` and `step` get as `args`, in order. By default the inputs; `diag(a) @ S` reads `a` and `S`.

        A node that no one reads is not emitted.
        """
        return node.inputs

    def module(self, node: Node[A]) -> str | None:
        """Source of the constructor for this instance's weights, e.g. `Linear(576, 192, bias=False)`. None: plain parameters are made."""
        return None

    def emit(self, node: Node[A], args: list[str], e: Emitter) -> str:
        """Source of the whole-sequence expression. `args` are the inputs' source; `e.self` reaches the instance (`self.q_proj`)."""
        self.untold("emit")

    def step(self, node: Node[A], args: list[str], e: Emitter) -> str:
        """Source of the decoding form (inputs hold only the new positions along time). By default the same as `emit`.

        That default is right only where each position reads the same position: a use that reads earlier ones is not decoded without a form.
        """
        return self.emit(node, args, e)


def elements(type_: TensorType) -> Size:
    """Number of elements of one sequence's tensor."""
    n: Size = 1
    for size in type_.sizes:
        n = n * size
    return n


def with_axes(type_: TensorType, axes: tuple[Axis, ...], kind: Kind | None = None) -> TensorType:
    """The same batchedness with other axes."""
    return TensorType(axes, kind or type_.kind, type_.batched)
