"""The core of a scan's region as equations in index notation, or the reason why it has none."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Const, Expr, Var, call, const, custom, substitute, var
from archdsl.graph.ir import Node, Region, Value
from archdsl.recurrence.split import Parts, split
from archdsl.recurrence.step import INDICES, SUMMED, Equation, StateOf, Step, Tensor, access, reindexed


class NotElementary(Exception):
    """The step holds an operation that has no index notation (an attention, a convolution): it runs as plain torch."""

    def __init__(self, reason: str, span: Span | None = None) -> None:
        super().__init__(reason)
        self.reason, self.span = reason, span


@dataclass
class Definition:
    """What a value of the region is: an expression of its free indices (i, j, …); `diagonal` marks diag(v), given by its vector."""

    shape: tuple[int, ...]
    body: Expr
    diagonal: bool = False


@dataclass
class Converted:
    """The step, the parts around it, and which region values its tensors stand for."""

    step: Step
    parts: Parts
    inputs: dict[str, Value]  # tensor name -> value handed in (entries)
    weights: dict[str, tuple[str, str]]  # tensor name -> (instance, weight) of the region
    yields: list[Value]  # what each yield tensor is, in order


def convert(region: Region) -> Converted:
    """Index notation of a scan. Raises NotElementary."""
    parts = split(region)
    return _Converter(region, parts).run()


@dataclass
class _Converter:
    region: Region
    parts: Parts
    known: dict[int, Definition] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    equations: list[Equation] = field(default_factory=list)
    weights: dict[str, tuple[str, str]] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    span: Span | None = None

    def run(self) -> Converted:
        region, parts = self.region, self.parts
        uses: dict[int, int] = {}
        for value in [v for n in parts.core for v in n.inputs] + parts.exits:
            uses[id(value)] = uses.get(id(value), 0) + 1
        self.uses = uses
        states = []
        for state in region.states:
            name = self.declare(state.name, _sizes(state.before), "state")
            self.known[id(state.before)] = self.whole(name)
            states.append((state, name))
        constant = {id(v) for v in region.inputs if not v.type.batched} | {id(inner) for _, inner in region.captures}
        for value in parts.entries:
            if id(value) in constant and value.type.batched:
                raise NotElementary("the step uses a value from outside the scan")
            role = "input" if value.type.batched else "constant"
            name = self.declare(value.name or "x", _sizes(value), role)
            self.inputs[name] = value
            self.known[id(value)] = self.whole(name)
        after = {id(s.after): s for s in region.states if s.after is not None}
        for node in parts.core:
            self.span = node.origin.span
            self.node(node)
            for out in node.outputs:
                if id(out) in after:
                    self.tensor_of(out, f"{after[id(out)].name}'", "next")
        # A next state may be an input or a state itself (h' = x): it still needs a tensor of its own.
        ends = []
        for state, name in states:
            if state.after is None:
                raise NotElementary(f"the state {state.name} never changes")
            after_name = self.tensor_of(state.after, f"{state.name}'", "next")
            start = state.init.args[0] if not isinstance(state.init, Value) and state.init.kind == "constant" else 0.0
            if not isinstance(state.init, Value) and state.init.kind == "ones":
                start = 1.0
            ends.append(StateOf(name, after_name, float(start)))
        yields = [self.tensor_of(v, v.name or "y", "yield") for v in parts.exits]
        step = Step(tuple(self.tensors.values()), tuple(self.equations), tuple(ends), tuple(yields))
        return Converted(step, parts, self.inputs, self.weights, list(parts.exits))

    # ---- tensors ----

    def declare(self, base: str, shape: tuple[int, ...], role: str, lead: int = 0) -> str:
        base = re.sub(r"[^A-Za-z0-9_']", "_", base) or "t"
        name, count = base, 1
        while name in self.tensors:
            count += 1
            name = f"{base.rstrip(chr(39))}_{count}{chr(39) if base.endswith(chr(39)) else ''}"
        self.tensors[name] = Tensor(name, shape, role, lead)
        return name

    def whole(self, name: str) -> Definition:
        shape = self.tensors[name].shape
        return Definition(shape, access(name, tuple(INDICES[: len(shape)])))

    def tensor_of(self, value: Value, base: str, role: str) -> str:
        """A tensor holding this value, with that role; an equation is added unless one of that role stands for it already."""
        definition = self.solid(self.known[id(value)])
        if isinstance(definition.body, Var):
            name = definition.body.name.partition("[")[0]
            tensor = self.tensors[name]
            same = definition.body.name == access(name, tuple(INDICES[: len(tensor.shape)])).name and tensor.shape == definition.shape
            if same and tensor.role == role:
                return name
            if same and tensor.role == "temporary" and role in ("next", "yield"):
                self.tensors[name] = Tensor(name, tensor.shape, role)
                return name
            if same and tensor.role == "next" and role == "yield":
                return name
        name = self.define(definition.body, definition.shape, base, role)
        self.known[id(value)] = self.whole(name)
        return name

    def define(self, body: Expr, shape: tuple[int, ...], base: str, role: str = "temporary", sums: tuple[tuple[str, int], ...] = ()) -> str:
        name = self.declare(base, shape, role)
        at = tuple(INDICES[: len(shape)])
        self.equations.append(Equation(name, at, tuple(zip(at, shape)), sums, body, self.span))
        return name

    def solid(self, definition: Definition) -> Definition:
        """diag(v) as a full matrix."""
        if not definition.diagonal:
            return definition
        n = definition.shape[0]
        name = self.define(definition.body, (n,), "v")
        full = self.declare("D", (n, n), "temporary")
        zero = Equation(full, ("i", "j"), (("i", n), ("j", n)), (), const(0), self.span)
        self.equations += [zero, Equation(full, ("i", "i"), (("i", n),), (), access(name, ("i",)), self.span)]
        return self.whole(full)

    def held(self, definition: Definition, base: str = "t") -> Definition:
        """The definition as a plain access: worked out once, read many times."""
        if isinstance(definition.body, (Var, Const)):
            return definition
        return self.whole(self.define(definition.body, definition.shape, base))

    # ---- nodes ----

    def node(self, node: Node) -> None:
        rule: Callable[[_Converter, Node], Definition | list[Definition]] | None = RULES.get(node.op)
        if rule is None:
            raise NotElementary(f"`{node.op}` has no index notation", node.origin.span)
        if node.attrs.get("value_inputs"):
            raise NotElementary(f"`{node.op}` is given a computed weight", node.origin.span)
        for value in (*node.inputs, *node.outputs):
            if value.type.kind == "complex":
                raise NotElementary("complex numbers run as plain torch", node.origin.span)
        result = rule(self, node)
        for out, definition in zip(node.outputs, result if isinstance(result, list) else [result]):
            # Read in several places: worked out once.
            if self.uses.get(id(out), 0) > 1 and not definition.diagonal:
                definition = self.held(definition, out.name or "t")
            self.known[id(out)] = definition

    def arg(self, value: Value, rank: int) -> Expr:
        """An operand as an expression of the last axes of a result of that rank; size-1 axes stretch."""
        definition = self.known[id(value)]
        if definition.diagonal:
            definition = self.solid(definition)
        if len(definition.shape) < rank and definition.shape:
            definition = self.held(definition, value.name or "t")
        shift = rank - len(definition.shape)
        names = {INDICES[k]: INDICES[k + shift] for k in range(len(definition.shape))}
        return reindexed(definition.body, names) if shift else definition.body

    def stretched(self, value: Value, shape: tuple[int, ...]) -> Expr:
        body = self.arg(value, len(shape))
        own = self.known[id(value)].shape
        shift = len(shape) - len(own)
        fixed = {INDICES[k + shift]: "0" for k, size in enumerate(own) if size == 1 and shape[k + shift] != 1}
        return reindexed(body, fixed) if fixed else body

    def vector(self, value: Value) -> Definition:
        return self.held(self.solid(self.known[id(value)]), value.name or "t")


def _sizes(value: Value) -> tuple[int, ...]:
    if not all(isinstance(s, int) for s in value.type.sizes):
        raise NotElementary("a size of the step is only known when data arrives")
    return tuple(value.type.sizes)  # type: ignore[arg-type]


# ---- rules ------------------------------------------------------------------------------------------------------------------------


def _pointwise(c: _Converter, node: Node) -> Definition:
    shape = _sizes(node.outputs[0])
    scalars: dict[int, Any] = node.attrs["scalars"]
    values = iter(node.inputs)
    operands: list[Expr] = []
    for position in range(len(scalars) + len(node.inputs)):
        if position in scalars:
            number = scalars[position]
            if not isinstance(number, (int, float, Fraction)):
                raise NotElementary("a size that data brings stands in the step", node.origin.span)
            operands.append(const(float(number) if isinstance(number, Fraction) else number))
        else:
            operands.append(c.stretched(next(values), shape))
    diagonal = [v for v in node.inputs if c.known[id(v)].diagonal]
    if diagonal and len(node.inputs) == 1 and node.attrs["function"] in ("mul", "neg", "div"):
        inner = c.known[id(node.inputs[0])]
        return Definition(
            inner.shape,
            call(node.attrs["function"], *[inner.body if i not in scalars else const(scalars[i]) for i in range(len(operands))]),
            True,
        )
    return Definition(shape, call(node.attrs["function"], *operands))


def _act(c: _Converter, node: Node) -> Definition:
    act = node.attrs["act"]
    if act.learned:
        raise NotElementary(f"the activation {act.name} has learned parameters", node.origin.span)
    shape = _sizes(node.outputs[0])
    given = {name: c.stretched(v, shape) for name, v in zip(act.inputs, node.inputs)}
    value = substitute(act.forward, given)
    if act.custom:
        slopes = [substitute(act.backward[name], given) for name in act.inputs]
        value = custom(value, [given[name] for name in act.inputs], slopes)
    return Definition(shape, value)


def _diag(c: _Converter, node: Node) -> Definition:
    inner = c.known[id(node.inputs[0])]
    return Definition(inner.shape, inner.body, True)


def _outer(c: _Converter, node: Node) -> Definition:
    a, b = (c.vector(v) for v in node.inputs)
    return Definition(_sizes(node.outputs[0]), call("mul", a.body, reindexed(b.body, {"i": "j"})))


def _matmul(c: _Converter, node: Node) -> Definition:
    a, b = (c.known[id(v)] for v in node.inputs)
    if a.diagonal and not b.diagonal:
        left = c.held(Definition(a.shape, a.body), "decay")
        right = c.held(b)
        return Definition(right.shape, call("mul", left.body, right.body))
    if b.diagonal and not a.diagonal:
        left, right = c.held(a), c.held(Definition(b.shape, b.body), "decay")
        last = INDICES[len(left.shape) - 1]
        return Definition(left.shape, call("mul", left.body, reindexed(right.body, {"i": last})))
    left, right = c.held(c.solid(a)), c.held(c.solid(b))
    p, q = len(left.shape), len(right.shape)
    if p > 2 or q > 2 or not p or not q:
        raise NotElementary("a product of tensors with more than two axes", node.origin.span)
    size = left.shape[-1]
    x = reindexed(left.body, {INDICES[p - 1]: "s"})
    y = reindexed(right.body, {"i": "s", "j": "j" if p == 2 else "i"} if q == 2 else {"i": "s"})
    return c.whole(c.define(call("mul", x, y), _sizes(node.outputs[0]), node.outputs[0].name or "m", sums=(("s", size),)))


def _dot(c: _Converter, node: Node) -> Definition:
    a, b = (c.vector(v) for v in node.inputs)
    body = call("mul", reindexed(a.body, {"i": "s"}), reindexed(b.body, {"i": "s"}))
    return c.whole(c.define(body, (), node.outputs[0].name or "d", sums=(("s", a.shape[0]),)))


def _linear(c: _Converter, node: Node) -> Definition:
    instance = node.instance
    if instance is None or len(node.inputs) != 1 or instance.owner is not c.region:
        raise NotElementary("a linear map with a computed weight", node.origin.span)
    x = c.held(c.known[id(node.inputs[0])], "t")
    rank = len(x.shape)
    out = INDICES[rank - 1]
    matrix = instance.weights["weight"].shape
    w = _weight(c, instance.name, "weight", matrix)
    body = call("mul", access(w, (out, "s")), reindexed(x.body, {out: "s"}))
    shape = _sizes(node.outputs[0])
    result = c.whole(c.define(body, shape, node.outputs[0].name or instance.name, sums=(("s", x.shape[-1]),)))
    if "bias" in instance.weights:
        b = _weight(c, instance.name, "bias", (matrix[0],))
        return Definition(shape, call("add", result.body, access(b, (out,))))
    return result


def _weight(c: _Converter, instance: str, weight: str, shape: tuple[int, ...], lead: int = 0) -> str:
    for name, place in c.weights.items():
        if place == (instance, weight):
            return name
    name = c.declare(f"{instance}_{weight}" if weight else instance, shape[lead:], "weight", lead)
    c.weights[name] = (instance, weight)
    return name


def _param(c: _Converter, node: Node) -> Definition:
    assert node.instance is not None
    shape = node.instance.weights[""].shape
    return c.whole(_weight(c, node.instance.name, "", shape, node.attrs.get("lead", 0)))


def _filled(number: float) -> Callable[[_Converter, Node], Definition]:
    def rule(c: _Converter, node: Node) -> Definition:
        return Definition(_sizes(node.outputs[0]), const(number))

    return rule


def _full(c: _Converter, node: Node) -> Definition:
    return Definition(_sizes(node.outputs[0]), const(float(node.attrs["value"])))


def _split(c: _Converter, node: Node) -> list[Definition]:
    source = c.held(c.known[id(node.inputs[0])], node.inputs[0].name or "t")
    rank = len(source.shape)
    sizes = [_sizes(o) for o in node.outputs]
    axis = next((k for k in range(rank) if sizes[0][k] != source.shape[k]), rank - 1)
    start, found = 0, []
    for shape in sizes:
        name = INDICES[axis]
        found.append(Definition(shape, reindexed(source.body, {name: f"{name}+{start}"} if start else {})))
        start += shape[axis]
    return found


def _concat(c: _Converter, node: Node) -> Definition:
    shape = _sizes(node.outputs[0])
    axis = node.attrs["axis"]
    axis = axis + len(shape) if axis < 0 else axis
    parts = [c.known[id(v)] for v in node.inputs]
    name = c.declare(node.outputs[0].name or "c", shape, "temporary")
    start = 0
    for part in parts:
        part = c.solid(part)
        at = [f"{x}+{start}" if k == axis and start else x for k, x in enumerate(INDICES[: len(shape)])]
        free = tuple(zip(INDICES, part.shape))
        c.equations.append(Equation(name, tuple(at), free, (), part.body, c.span))
        start += part.shape[axis]
    return c.whole(name)


def _reduce(scale: bool) -> Callable[[_Converter, Node], Definition]:
    def rule(c: _Converter, node: Node) -> Definition:
        source = c.solid(c.known[id(node.inputs[0])])
        rank = len(source.shape)
        given = node.attrs["axis"]
        axes = (
            sorted({a % rank for a in (given if isinstance(given, (list, tuple)) else [given])}) if given is not None else list(range(rank))
        )
        if len(axes) > len(SUMMED):
            raise NotElementary("a sum over many axes", node.origin.span)
        kept = [k for k in range(rank) if k not in axes]
        keep = bool(node.attrs.get("keep"))
        shape = _sizes(node.outputs[0])
        position = {k: (k if keep else n) for n, k in enumerate(kept)}
        names = {INDICES[a]: s for a, s in zip(axes, SUMMED)} | {INDICES[k]: INDICES[position[k]] for k in kept}
        count = 1
        for a in axes:
            count *= source.shape[a]
        body = reindexed(source.body, names)
        sums = tuple((s, source.shape[a]) for a, s in zip(axes, SUMMED))
        body = call("mul", body, const(1 / count)) if scale else body
        return c.whole(c.define(body, shape, node.outputs[0].name or "m", sums=sums))

    return rule


def _slice(c: _Converter, node: Node) -> Definition:
    source = c.held(c.known[id(node.inputs[0])], node.inputs[0].name or "t")
    names: dict[str, str] = {}
    out = axis = 0
    for kind, *ends in node.attrs["items"]:  # "all", "at" n, "part" (start, stop, …), "new"
        if kind == "new":
            out += 1
            continue
        size = source.shape[axis]
        start = 0 if kind == "all" or ends[0] is None else ends[0]
        if not isinstance(start, int):
            raise NotElementary("an index that data brings", node.origin.span)
        if kind == "at":
            names[INDICES[axis]] = str(start % size)
        else:
            names[INDICES[axis]] = f"{INDICES[out]}+{start % size}" if start else INDICES[out]
            out += 1
        axis += 1
    return Definition(_sizes(node.outputs[0]), reindexed(source.body, names))


def _squeeze(c: _Converter, node: Node) -> Definition:
    source = c.held(c.known[id(node.inputs[0])])
    given = node.attrs["axis"]
    rank = len(source.shape)
    dropped = {a % rank for a in (given if isinstance(given, (list, tuple)) else [given])}
    names, out = {}, 0
    for k in range(rank):
        names[INDICES[k]] = "0" if k in dropped else INDICES[out]
        out += k not in dropped
    return Definition(_sizes(node.outputs[0]), reindexed(source.body, names))


def _unsqueeze(c: _Converter, node: Node) -> Definition:
    source = c.held(c.known[id(node.inputs[0])])
    rank = len(source.shape) + 1
    new = node.attrs["axis"] % rank
    names = {INDICES[k]: INDICES[k if k < new else k + 1] for k in range(rank - 1)}
    return Definition(_sizes(node.outputs[0]), reindexed(source.body, names))


RULES: dict[str, Callable[[_Converter, Node], Definition | list[Definition]]] = {
    "pointwise": _pointwise,
    "act": _act,
    "diag": _diag,
    "outer": _outer,
    "matmul": _matmul,
    "dot": _dot,
    "linear": _linear,
    "param": _param,
    "zeros": _filled(0.0),
    "ones": _filled(1.0),
    "full": _full,
    "split": _split,
    "concat": _concat,
    "sum": _reduce(False),
    "mean": _reduce(True),
    "slice": _slice,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
}
__all__ = ["Converted", "NotElementary", "convert", "var"]
