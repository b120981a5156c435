"""What each primitive of a scan's step is in index notation."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from archdsl.graph.expressions import Expr, call, const, custom, substitute
from archdsl.graph.ir import Node
from archdsl.recurrence.definition import Definition, NotElementary, sizes_of
from archdsl.recurrence.step import INDICES, SUMMED, Equation, access, reindexed

if TYPE_CHECKING:
    from archdsl.recurrence.convert import Converter


def _pointwise(c: Converter, node: Node) -> Definition:
    shape = sizes_of(node.outputs[0])
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


def _act(c: Converter, node: Node) -> Definition:
    act = node.attrs["act"]
    if act.learned:
        raise NotElementary(f"the activation {act.name} has learned parameters", node.origin.span)
    shape = sizes_of(node.outputs[0])
    given = {name: c.stretched(v, shape) for name, v in zip(act.inputs, node.inputs)}
    value = substitute(act.forward, given)
    if act.custom:
        slopes = [substitute(act.backward[name], given) for name in act.inputs]
        value = custom(value, [given[name] for name in act.inputs], slopes)
    return Definition(shape, value)


def _diag(c: Converter, node: Node) -> Definition:
    inner = c.known[id(node.inputs[0])]
    return Definition(inner.shape, inner.body, True)


def _outer(c: Converter, node: Node) -> Definition:
    a, b = (c.vector(v) for v in node.inputs)
    return Definition(sizes_of(node.outputs[0]), call("mul", a.body, reindexed(b.body, {"i": "j"})))


def _matmul(c: Converter, node: Node) -> Definition:
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
    return c.whole(c.define(call("mul", x, y), sizes_of(node.outputs[0]), node.outputs[0].name or "m", sums=(("s", size),)))


def _dot(c: Converter, node: Node) -> Definition:
    a, b = (c.vector(v) for v in node.inputs)
    body = call("mul", reindexed(a.body, {"i": "s"}), reindexed(b.body, {"i": "s"}))
    return c.whole(c.define(body, (), node.outputs[0].name or "d", sums=(("s", a.shape[0]),)))


def _linear(c: Converter, node: Node) -> Definition:
    instance = node.instance
    if instance is None or len(node.inputs) != 1 or instance.owner is not c.region:
        raise NotElementary("a linear map with a computed weight", node.origin.span)
    x = c.held(c.known[id(node.inputs[0])], "t")
    rank = len(x.shape)
    out = INDICES[rank - 1]
    matrix = instance.weights["weight"].shape
    w = _weight(c, instance.name, "weight", matrix)
    body = call("mul", access(w, (out, "s")), reindexed(x.body, {out: "s"}))
    shape = sizes_of(node.outputs[0])
    result = c.whole(c.define(body, shape, node.outputs[0].name or instance.name, sums=(("s", x.shape[-1]),)))
    if "bias" in instance.weights:
        b = _weight(c, instance.name, "bias", (matrix[0],))
        return Definition(shape, call("add", result.body, access(b, (out,))))
    return result


def _weight(c: Converter, instance: str, weight: str, shape: tuple[int, ...], lead: int = 0) -> str:
    for name, place in c.weights.items():
        if place == (instance, weight):
            return name
    name = c.declare(f"{instance}_{weight}" if weight else instance, shape[lead:], "weight", lead)
    c.weights[name] = (instance, weight)
    return name


def _param(c: Converter, node: Node) -> Definition:
    assert node.instance is not None
    shape = node.instance.weights[""].shape
    return c.whole(_weight(c, node.instance.name, "", shape, node.attrs.get("lead", 0)))


def _filled(number: float) -> Callable[[Converter, Node], Definition]:
    def rule(c: Converter, node: Node) -> Definition:
        return Definition(sizes_of(node.outputs[0]), const(number))

    return rule


def _full(c: Converter, node: Node) -> Definition:
    return Definition(sizes_of(node.outputs[0]), const(float(node.attrs["value"])))


def _split(c: Converter, node: Node) -> list[Definition]:
    source = c.held(c.known[id(node.inputs[0])], node.inputs[0].name or "t")
    rank = len(source.shape)
    sizes = [sizes_of(o) for o in node.outputs]
    axis = next((k for k in range(rank) if sizes[0][k] != source.shape[k]), rank - 1)
    start, found = 0, []
    for shape in sizes:
        name = INDICES[axis]
        found.append(Definition(shape, reindexed(source.body, {name: f"{name}+{start}"} if start else {})))
        start += shape[axis]
    return found


def _concat(c: Converter, node: Node) -> Definition:
    shape = sizes_of(node.outputs[0])
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


def _reduce(scale: bool) -> Callable[[Converter, Node], Definition]:
    def rule(c: Converter, node: Node) -> Definition:
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
        shape = sizes_of(node.outputs[0])
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


def _slice(c: Converter, node: Node) -> Definition:
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
    return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


def _squeeze(c: Converter, node: Node) -> Definition:
    source = c.held(c.known[id(node.inputs[0])])
    given = node.attrs["axis"]
    rank = len(source.shape)
    dropped = {a % rank for a in (given if isinstance(given, (list, tuple)) else [given])}
    names, out = {}, 0
    for k in range(rank):
        names[INDICES[k]] = "0" if k in dropped else INDICES[out]
        out += k not in dropped
    return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


def _unsqueeze(c: Converter, node: Node) -> Definition:
    source = c.held(c.known[id(node.inputs[0])])
    rank = len(source.shape) + 1
    new = node.attrs["axis"] % rank
    names = {INDICES[k]: INDICES[k if k < new else k + 1] for k in range(rank - 1)}
    return Definition(sizes_of(node.outputs[0]), reindexed(source.body, names))


RULES: dict[str, Callable[[Converter, Node], Definition | list[Definition]]] = {
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
