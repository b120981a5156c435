"""Activations. Torch's own function where the formula is one it has; otherwise a generated autograd function that keeps only its inputs, or
where a declared slope takes few values, only which of them."""

from __future__ import annotations

import builtins
import keyword
import textwrap
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from archdsl.graph.expression_text import dump_act
from archdsl.graph.expressions import Custom, Expr, call, custom, substitute, var, variables
from archdsl.graph.ir import Attrs, Init, Node, TensorType, frozen, replace
from archdsl.graph.levels import Levels, levels
from archdsl.graph.sizes import Size, ceildiv
from archdsl.graph.torch_text import to_torch
from archdsl.primitives.axes import require_kind
from archdsl.primitives.base import Primitive, Use, elements, param
from archdsl.primitives.known_acts import torch_text
from archdsl.primitives.text import atom
from archdsl.primitives.traits import Elementwise
from archdsl.recurrence.definition import Definition, Moves, NotElementary, sizes_of

if TYPE_CHECKING:
    from archdsl.graph.acts import Act
    from archdsl.primitives.emitter import Emitter
    from archdsl.recurrence.convert import Converter

_RESERVED = frozenset({"torch", "F", "nn", "ctx", "grad", "self", "Tensor", "Function", *dir(builtins)})
_INDENT = "\n        "


@frozen
class ActivationAttrs(Attrs):
    act: Act = param("act", doc="the activation")
    axis: int | None = param("int", None, "the axis that has its own learned parameters, for activations that have such")


class Activation(Elementwise[ActivationAttrs]):
    """One scalar formula applied to every entry; see archdsl/graph/acts.py for what `act` holds."""

    name = "act"
    short = "y"
    variadic = True
    attributes = ActivationAttrs
    doc = "An activation declared with `act`, entry by entry. All inputs have one shape, which is the output's."

    def infer(self, use: Use[ActivationAttrs]) -> list[TensorType]:
        act: Act = use.args.act
        first = require_kind(use, 0, "float")
        for i in range(1, len(use.types)):
            self._same_shape(use, first, require_kind(use, i, "float"))
        axis = self._axis(use, act)
        use.attrs = replace(use.attrs, axis=axis)
        for p in act.learned:
            shape: tuple[Size, ...] = (first.axes[axis].size,) if p.per_axis and axis is not None else ()
            use.weight(p.name, shape, Init("constant", (p.init,)))
        batched = any(t.batched for t in use.types)
        return [TensorType(first.axes, first.kind, batched)]

    def _same_shape(self, use: Use[ActivationAttrs], first: TensorType, other: TensorType) -> None:
        name = use.args.act.name
        if first.rank != other.rank:
            use.fail("AD0301", f"the inputs of {name} need one shape", f"{first} and {other} differ")
        for a, b in zip(first.sizes, other.sizes, strict=True):
            use.same(a, b, f"the inputs of {name} are {first} and {other}")

    def _axis(self, use: Use[ActivationAttrs], act: Act) -> int | None:
        per_axis = [p.name for p in act.learned if p.per_axis]
        axis = use.args.axis
        if per_axis and axis is None:
            use.fail(
                "AD0287", f"{act.name} learns `{per_axis[0]}` for each entry of an axis: which one?", f"the input is {use.types[0]}",
                hint=f"Name it: `{act.name}(axis=0)`.",
            )  # fmt: skip
        if axis is not None and not per_axis:
            use.fail("AD0287", f"{act.name} learns nothing per axis", "so `axis` means nothing here", hint=f"Leave it out: `{act.name}`.")
        return use.axis(0, axis) if per_axis else None

    def saved(self, node: Node[ActivationAttrs]) -> Size:
        total: Size = 0
        for value in node.inputs:
            total = total + elements(value.type)
        steps = stepped(node.attrs.act)
        return total if steps is None else ceildiv(total * steps.bits, 32)

    def solvable(self, node: Node[ActivationAttrs], unknown: list[int]) -> bool:
        act: Act = node.attrs.act
        return not act.learned and not act.custom and act.forward == var(act.inputs[0])

    def solve(self, node: Node[ActivationAttrs], unknown: list[int], outs: list[str], args: list[str], e: Emitter) -> list[str]:
        return outs

    def emit(self, node: Node[ActivationAttrs], args: list[str], e: Emitter) -> str:
        act: Act = node.attrs.act
        if not act.learned and not act.custom and len(act.inputs) == 1:
            known = torch_text(act.forward, act.inputs[0], args[0])
            if known is not None:
                return known
        for called in ("pack_levels", "unpack_levels") if stepped(act) is not None else ("with_kernel",) if has_kernel(act) else ():
            e.support(called)
        name = e.define(class_name(act.name), class_source(class_name(act.name), act))
        return f"{name}.apply({', '.join([*args, *(self._weight(p.name, p.per_axis, node, e) for p in act.learned)])})"

    def _weight(self, name: str, per_axis: bool, node: Node[ActivationAttrs], e: Emitter) -> str:
        """A learned parameter, shaped to stand along its axis."""
        source = e.weight(name)
        axis: int | None = node.attrs.axis
        if not per_axis or axis in (None, -1):
            return source
        assert axis is not None
        return f"{source}.view({', '.join(['-1', *['1'] * (-axis - 1)])})"

    def moves(self, node: Node[ActivationAttrs]) -> Moves:
        return "before"

    def equations(self, node: Node[ActivationAttrs], c: Converter) -> Definition:
        act: Act = node.attrs.act
        if act.learned:
            raise NotElementary(f"the activation {act.name} has learned parameters", node.origin.span)
        shape = sizes_of(node.outputs[0])
        given = {name: c.stretched(v, shape) for name, v in zip(act.inputs, node.inputs)}
        value = substitute(act.forward, given)
        if act.custom:
            value = custom(value, [given[name] for name in act.inputs], [substitute(act.backward[name], given) for name in act.inputs])
        return Definition(shape, value)


def class_name(act: str) -> str:
    """`gelu_tanh` as a class name: GeluTanh."""
    name = "".join(part[:1].upper() + part[1:] for part in act.split("_")) or "Act"
    return f"{name}Act" if keyword.iskeyword(name) or name in _RESERVED or not name.isidentifier() else name


@lru_cache(maxsize=256)
def stepped(act: Act) -> Levels | None:
    """The steps of a declared slope that takes few values; None for any other act."""
    return levels(act.backward[act.inputs[0]], act.inputs[0]) if act.custom and len(act.inputs) == 1 and not act.learned else None


def has_kernel(act: Act) -> bool:
    """Whether a kernel may be made from its formula: its learned numbers hold for all entries alike."""
    return not any(p.per_axis for p in act.learned)


def _stepped_source(name: str, act: Act, steps: Levels) -> str:
    """The class of an act that keeps which step of its slope each entry is on."""
    names = _local_names(list(act.inputs))
    (like,) = names.values()
    value_alone = act.forward
    while isinstance(value_alone, Custom):
        value_alone = value_alone.value
    known = torch_text(value_alone, act.inputs[0], like)
    lines, (value,) = ([], [known]) if known is not None else to_torch([act.forward], names, like, ["ctx"])
    body = _INDENT.join([*lines, f"return {value}"])
    return f'''class {name}(torch.autograd.Function):
    """{_summary(act)}"""

    @staticmethod
    def forward(ctx, {like}):
        ctx.save_for_backward(pack_levels({like}, {steps.edges}, {steps.closed}, {steps.bits}))
        {body}

    @staticmethod
    def backward(ctx, grad):
        (levels,) = ctx.saved_tensors
        return unpack_levels(levels, {steps.values}, {steps.bits}, grad) * grad
'''


@lru_cache(maxsize=256)
def class_source(name: str, act: Act) -> str:
    """A torch.autograd.Function that computes an act and its declared or derived derivatives, keeping only its inputs.

    Its backward is plain torch, so it can be differentiated again. `formula` is what a kernel is made from (compiler/support/kernels.py).
    """
    steps = stepped(act)
    if steps is not None:
        return _stepped_source(name, act, steps)
    names = _local_names([*act.inputs, *(p.name for p in act.learned)])
    like = names[act.inputs[0]]
    lines, (value,) = to_torch([act.forward], names, like, ["ctx", "grad"])
    if (depends := variables(act.forward)) and not depends & {*act.inputs}:  # on learned numbers alone, which have another shape
        value = f"{atom(value)}.expand_as({like})"
    seed = var("grad of the output")
    slopes: list[Expr] = [call("mul", act.backward[n], seed) for n in names]
    back, grads = to_torch(slopes, {**names, seed.name: "grad"}, like, ["ctx"])
    learned = {p.name for p in act.learned}
    results = [f"{atom(g)}.sum_to_size({names[n]}.shape)" if n in learned else g for n, g in zip(names, grads, strict=True)]
    arguments = ", ".join(names.values())
    body = _INDENT.join([f"ctx.save_for_backward({arguments})", *lines, f"return {value}"])
    used = variables(*act.backward.values())
    opened = ", ".join(names[n] if n in used or n == act.inputs[0] or n in learned else "_" for n in names)
    opened = opened if len(names) > 1 else f"({opened},)"
    reverse = _INDENT.join([f"{opened} = ctx.saved_tensors", *back, *_returned(results)])
    head, formula = ("@with_kernel\n", _formula(act)) if has_kernel(act) else ("", "")
    return f'''{head}class {name}(torch.autograd.Function):
    """{_summary(act)}"""
{formula}
    @staticmethod
    def forward(ctx, {arguments}):
        {body}

    @staticmethod
    def backward(ctx, grad):
        {reverse}
'''


def _formula(act: Act) -> str:
    """The class attribute that holds the act's text."""
    lines = textwrap.wrap(dump_act(act), 116, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["", '    formula = """', *lines, '    """', ""])


def _returned(results: list[str]) -> list[str]:
    if len(results) == 1 or sum(map(len, results)) < 100:
        return [f"return {', '.join(results)}"]
    return ["return (", *(f"    {r}," for r in results), ")"]


def _local_names(names: list[str]) -> dict[str, str]:
    """Python names for an act's variables, its own where they are free."""
    result: dict[str, str] = {}
    for name in names:
        local = f"{name}_" if keyword.iskeyword(name) or name in _RESERVED or not name.isidentifier() else name
        while local in result.values():
            local += "_"
        result[name] = local
    return result


def _summary(act: Act) -> str:
    """One line for the docstring: the formula as written, without anything that could end the string."""
    formula = " ".join(" ".join(line.split("#")[0].split()) for line in act.text.splitlines())
    safe = "".join(c for c in formula if c.isprintable() and c not in '"\\')
    shown = safe if len(safe) <= 90 else f"{safe[:87]}..."
    statics = "".join(f", {name} = {value}" for name, value in act.statics)
    slope = "; the slope is declared, not derived" if act.custom else ""
    return f"{act.name}({', '.join(act.inputs)}) = {shown}{statics}{slope}."


PRIMITIVES: tuple[Primitive[Any], ...] = (Activation(),)
