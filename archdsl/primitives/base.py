"""The one contract of a primitive: ports, parameters, shapes, weights, cost, time behaviour, and the Python text it becomes.

A primitive never imports torch here: it is asked for shapes and costs in milliseconds, and for source text when a module is emitted. The
functions that text calls live in `archdsl/primitives/support/` (plain torch, copied into emitted files).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from archdsl.diagnostics import ArchError, Collector, Diagnostic, Label
from archdsl.graph.ir import Assumption, Axis, Init, Kind, Node, Origin, TensorType, Value, Weight
from archdsl.graph.sizes import Facts, Size, decide_divides, decide_equal

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a primitive.

    kind: "size" (whole number > 0), "int", "number", "bool", "str", "list" (of sizes or numbers), "init" (a distribution), "shape", "module"
    (an instance, e.g. unembed(table)), "act" (an act recipe), "value" (a tensor: weight=w), "any". A default of None also admits `none`.
    """

    name: str
    kind: str
    default: Any = REQUIRED
    doc: str = ""


@dataclass(eq=False, slots=True)
class Use:
    """One application being checked: arguments by parameter name, input types, and where it stands."""

    primitive: Primitive
    args: dict[str, Any]
    types: list[TensorType]
    origin: Origin
    facts: Facts
    collector: Collector
    assumptions: list[Assumption]
    weights: dict[str, Weight]
    attrs: dict[str, Any]  # what infer leaves for cost and emission; starts as a copy of args
    input_labels: list[Label] | None = None  # where each input was written, for messages

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


class Primitive:
    """Subclass, fill in, and list it in `archdsl/primitives/__init__.py`. Instances hold no state."""

    name: str = ""
    inputs: tuple[str, ...] = ("x",)
    variadic: bool = False  # any number of inputs (concat); `inputs` then names the repeated one
    optional: int = 0  # how many trailing inputs may be left out
    several: bool = False  # gives a tuple, also where that holds one value (split)
    params: tuple[Param, ...] = ()
    open: bool = False  # named arguments beyond `params` are sizes, handed over as args["named"] (rearrange, einsum)
    doc: str = ""
    source: str = ""  # paper or specification

    # ---- checking ----

    def infer(self, use: Use) -> list[TensorType]:
        """Output types; declares weights through `use.weight`; leaves what emission needs in `use.attrs`. Fails through `use.fail`."""
        raise ArchError(Diagnostic("AD0299", f"{self.name} has no shape rule"))

    # ---- cost ----

    def flops(self, node: Node) -> Size:
        """Forward multiply-adds counted as 2, for one sequence of the batch. Element-wise work is not counted (as in torch's counter)."""
        return 0

    def saved(self, node: Node) -> Size:
        """Elements kept for the backward pass, for one sequence. By default the outputs."""
        total: Size = 0
        for out in node.outputs:
            n: Size = 1
            for s in out.type.sizes:
                n = n * s
            total = total + n
        return total

    def slots(self, node: Node) -> list[Slot]:
        """What decoding keeps for one use."""
        return []

    # ---- time ----

    def time(self, node: Node, index: int, axis: int) -> str | None:
        """How outputs depend on input `index` along its axis `axis` (negative), where that axis is time.

        None: each position on the same position only, or on earlier ones (with a step form). Otherwise a short reason why positions are
        looked at that come later: "averages over the axis", "attends to every position".
        """
        return None

    def random(self, node: Node) -> bool:
        """Whether this use draws random numbers while training."""
        return False

    # ---- inverse ----

    def solvable(self, node: Node, unknown: list[int]) -> bool:
        """Whether the inputs at these positions follow from the outputs and the other inputs."""
        return False

    def solve(self, node: Node, unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        """Source of those inputs, from the outputs' source and the other inputs' (`args`; empty where unknown)."""
        raise NotImplementedError(self.name)

    # ---- emission ----

    def reads(self, node: Node) -> list[Value]:
        """The values whose source `emit` and `step` get as `args`, in order. By default the inputs; `diag(a) @ S` reads `a` and `S`.

        A node that no one reads is not emitted.
        """
        return node.inputs

    def module(self, node: Node) -> str | None:
        """Source of the constructor for this instance's weights, e.g. `Linear(576, 192, bias=False)`. None: plain parameters are made."""
        return None

    def emit(self, node: Node, args: list[str], e: Emitter) -> str:
        """Source of the whole-sequence expression. `args` are the inputs' source; `e.self` reaches the instance (`self.q_proj`)."""
        raise NotImplementedError(self.name)

    def step(self, node: Node, args: list[str], e: Emitter) -> str:
        """Source of the decoding form (inputs hold only the new positions along time). By default the same as `emit`."""
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
