"""Arithmetic and scalar functions on values, entry by entry: x + y, exp(x), x > 0, if c then a else b.

What a function is worth and how it is written stands in graph/functions.py; here is how shapes and kinds combine.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from archdsl.graph.expressions import call, const
from archdsl.graph.functions import CALL, COMPARE, FUNCTIONS, NEGATE, POWER, PRODUCT, SUM, ScalarFunction
from archdsl.graph.ir import Attrs, Kind, Node, TensorType, Value, frozen, replace
from archdsl.graph.torch_text import exact_choice
from archdsl.primitives import text as level
from archdsl.primitives.axes import aligned, broadcast, fills, promoted
from archdsl.primitives.base import Primitive, Use, param
from archdsl.primitives.text import atom, method, operand
from archdsl.primitives.traits import Elementwise
from archdsl.recurrence.complex_parts import Parts, parts_of, scalar_of_parts
from archdsl.recurrence.definition import Definition, NotElementary, Pair, sizes_of

if TYPE_CHECKING:
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

_BINDING = {SUM: level.ADD, PRODUCT: level.MULTIPLY, NEGATE: level.NEGATE, POWER: level.POWER, COMPARE: level.COMPARE}


def number(value: Any, e: Emitter) -> str:
    """Source of a static operand: a number or a size."""
    if isinstance(value, float):
        if math.isinf(value):
            return f'float("{value}")'
        return repr(value)
    return repr(value) if isinstance(value, (bool, int)) else e.size(value)


@frozen
class PointwiseAttrs(Attrs):
    function: str = param("str", doc="a scalar function by name")
    scalars: Any = param("any", None, "static operands by position")


class Pointwise(Elementwise[PointwiseAttrs]):
    """One scalar function over values. attrs: function (a row of functions.py), scalars ({position: static operand})."""

    name = "pointwise"
    short = "y"
    variadic = True
    attributes = PointwiseAttrs
    doc = "A scalar function applied entry by entry; shapes are equal, or one side is a scalar or a parameter over the last axes."

    def infer(self, use: Use[PointwiseAttrs]) -> list[TensorType]:
        row = FUNCTIONS[use.args.function]
        scalars: dict[int, Any] = use.args.scalars or {}
        use.attrs = replace(use.attrs, scalars=scalars)
        axes, batched = broadcast(use)
        types = iter(use.types)
        kinds: list[Kind] = [_scalar_kind(scalars[i]) if i in scalars else next(types).kind for i in range(row.arity)]
        return [TensorType(axes, self._kind(use, row, kinds), batched)]

    def _kind(self, use: Use[PointwiseAttrs], row: ScalarFunction, kinds: list[Kind]) -> Kind:
        logical = kinds if row.takes == "bool" else kinds[:1] if row.takes == "where" else []
        for kind in logical:
            if kind != "bool":
                what = "the condition" if row.takes == "where" else f"`{row.name.rstrip('_')}`"
                use.fail("AD0314", f"{what} needs bools", f"this is {kind}", hint="Compare first: x > 0.")
        given = promoted(kinds[1:] if row.takes == "where" else kinds)
        if given == "complex" and not row.complexes:
            use.fail("AD0314", f"`{row.name}` is not defined for complex values", "a complex value", hint="Use real(x), imag(x) or abs(x).")
        if row.result in ("bool", "complex"):
            return row.result
        if row.name == "where":
            return given
        if row.result == "real" or (row.name == "abs" and given == "complex"):
            return "float"
        if row.name == "pow":  # of ints: an int only where no exponent is below zero
            exponent = (use.args.scalars or {}).get(1)
            return promoted((given, "int" if isinstance(exponent, int) and exponent >= 0 else "float"))
        return promoted((given, "int" if row.ints else "float"))

    def emit(self, node: Node[PointwiseAttrs], args: list[str], e: Emitter) -> str:
        row = FUNCTIONS[node.attrs.function]
        scalars: dict[int, Any] = node.attrs.scalars
        rank = node.outputs[0].type.rank
        texts, tensors = [], iter(zip(node.inputs, args))
        for i in range(row.arity):
            if i in scalars:
                texts.append(number(scalars[i], e))
                continue
            value, text = next(tensors)
            text = aligned(text, value, rank)
            if row.name == "pow" and value.type.kind in ("int", "bool") and node.outputs[0].type.kind == "float":
                text = method(text, "to", e.placement("float"))
            texts.append(method(text, "long") if value.type.kind == "bool" and _counts(row, node) else text)
        return _write(row, texts, set(scalars), node, e)

    def solvable(self, node: Node[PointwiseAttrs], unknown: list[int]) -> bool:
        return node.attrs.function in _SOLVED and len(unknown) == 1 and fills(node, unknown[0])

    def solve(self, node: Node[PointwiseAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        row, rank = FUNCTIONS[node.attrs.function], node.outputs[0].type.rank
        scalars: dict[int, Any] = node.attrs.scalars
        places = [i for i in range(row.arity) if i not in scalars]
        wanted = places[unknown[0]]
        known = {i: number(scalar, e) for i, scalar in scalars.items()}
        known |= {places[i]: aligned(text, node.inputs[i], rank) for i, text in enumerate(args) if i != unknown[0]}
        template, tight = _SOLVED[row.name][wanted]
        other = [operand(known[i], tight + 1) for i in range(row.arity) if i != wanted]
        return [template.format(operand(outs[0], tight), *other)]

    def equations(self, node: Node[PointwiseAttrs], c: Converter) -> Definition:
        shape, function = sizes_of(node.outputs[0]), node.attrs.function
        scales = function in ("mul", "neg") or (function == "div" and 0 not in node.attrs.scalars)  # what is zero stays zero
        if scales and len(node.inputs) == 1 and (inner := c.known[node.inputs[0]]).diagonal:
            return Definition(inner.shape, call(function, *_operands(node, const, lambda value: inner.body)), True)
        return Definition(shape, call(function, *_operands(node, const, lambda value: c.stretched(value, shape))))

    def complex_equations(self, node: Node[PointwiseAttrs], c: Converter) -> list[Definition | Pair]:
        shape = sizes_of(node.outputs[0])
        operands: list[Parts] = _operands(node, lambda number: (const(number), None), lambda value: parts_of(c, value, shape))
        re, im = scalar_of_parts(node.attrs.function, operands, node)
        return [Definition(shape, re) if im is None else Pair(Definition(shape, re), Definition(shape, im))]


# function -> for each operand, what it is worth: {0} is the result, {1} the other operand; and how tightly that binds
_SOLVED = {
    "add": (("{0} - {1}", level.ADD), ("{0} - {1}", level.ADD)),
    "sub": (("{0} + {1}", level.ADD), ("{1} - {0}", level.MULTIPLY)),
    "mul": (("{0} / {1}", level.MULTIPLY), ("{0} / {1}", level.MULTIPLY)),
    "div": (("{0} * {1}", level.MULTIPLY), ("{1} / {0}", level.POWER)),
    "neg": (("-{0}", level.NEGATE),),
}


def _operands(node: Node[PointwiseAttrs], fixed: Callable[[complex], Any], varying: Callable[[Value], Any]) -> list[Any]:
    """What stands at each place of the function, for index notation: static numbers and values in their order."""
    scalars: dict[int, Any] = node.attrs.scalars
    values = iter(node.inputs)
    found = []
    for position in range(len(scalars) + len(node.inputs)):
        if position not in scalars:
            found.append(varying(next(values)))
            continue
        number = scalars[position]
        if not isinstance(number, (int, float, Fraction)):
            raise NotElementary("a size that data brings stands in the step", node.origin.span)
        found.append(fixed(float(number) if isinstance(number, Fraction) else number))
    return found


def _scalar_kind(value: Any) -> Kind:
    return "bool" if isinstance(value, bool) else "float" if isinstance(value, float) else "int"


def _counts(row: ScalarFunction, node: Node[PointwiseAttrs]) -> bool:
    """True if bool operands must become numbers first: torch neither subtracts bools nor adds them up."""
    if row.takes != "number" or row.result == "bool":
        return False
    return row.name != "mul" or all(value.type.kind == "bool" for value in node.inputs)


def _write(row: ScalarFunction, texts: list[str], scalars: set[int], node: Node[PointwiseAttrs], e: Emitter) -> str:
    """The torch text, with the forms that torch wants where an operand is a plain number."""
    if row.name == "floordiv":
        whole = node.outputs[0].type.kind == "int"
        ratio = f"{operand(texts[0], level.MULTIPLY)} {'//' if whole else '/'} {operand(texts[1], level.POWER)}"
        return ratio if whole else f"torch.floor({ratio})"
    if scalars and row.name in ("max", "min"):
        (i,) = scalars
        return method(texts[1 - i], "clamp", **{"min" if row.name == "max" else "max": texts[i]})
    if scalars and row.name in ("and_", "or_"):
        return f" {'&' if row.name == 'and_' else '|'} ".join(atom(text) for text in texts)
    if scalars and row.name == "complex":
        (i,) = scalars
        texts[i] = f"torch.full_like({texts[1 - i]}, {texts[i]})"
    if row.name == "where" and scalars >= {1, 2} and node.outputs[0].type.kind == "float":
        if exact_choice(node.attrs.scalars[1], node.attrs.scalars[2]):
            return method(row.torch.format(*texts), "to", e.placement("float"))
        texts[2] = f"torch.full((), {texts[2]}, {e.placement('float')})"
    if row.level == CALL:
        return row.torch.format(*texts)
    tight = _BINDING[row.level]
    if row.arity == 1:
        return row.torch.format(operand(texts[0], tight + 1))
    left = tight if row.level in (SUM, PRODUCT) else tight + 1
    right = level.NEGATE if row.level == POWER and texts[1].startswith("-") else tight + 1
    return row.torch.format(operand(texts[0], left), operand(texts[1], right))


PRIMITIVES: tuple[Primitive[Any], ...] = (Pointwise(),)
