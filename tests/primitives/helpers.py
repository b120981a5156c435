"""A primitive checked, written and run on its own: no parser, no compiler."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F

from archdsl.diagnostics import ArchError, Collector, Source, Span
from archdsl.graph.ir import Axis, Kind, Node, Origin, Region, TensorType, Value
from archdsl.graph.sizes import Facts, Poly, Size, source, symbol
from archdsl.primitives import TABLE
from archdsl.primitives.base import Use
from archdsl.primitives.library import shipped_files

SPAN = Span(Source("test.arch", "x"), 0, 1)
REGION = Region("test", "block", SPAN)


def support_functions() -> dict[str, Any]:
    """Everything that emitted text may call, by name."""
    import importlib

    found: dict[str, Any] = {}
    for path in shipped_files():
        module = importlib.import_module(f"archdsl.{path.parts[-3]}.support.{path.stem}")
        found.update({name: thing for name, thing in vars(module).items() if getattr(thing, "__module__", None) == module.__name__})
    return found


SUPPORT = support_functions()


def size(written: Any) -> Size:
    """A size from a number, a symbol's name or a size."""
    return symbol(written) if isinstance(written, str) else written


def value(*sizes: Any, kind: Kind = "float", batched: bool = True, ragged: Sequence[int] = ()) -> Value:
    """A value of a type; sizes may be axes, to give two values the same axis. `ragged` numbers axes that have lengths."""
    axes = [s if isinstance(s, Axis) else Axis(size(s)) for s in sizes]
    axes = [Axis(a.size, a.identity, "x") if i in ragged else a for i, a in enumerate(axes)]
    return Value(TensorType(tuple(axes), kind, batched), REGION)


def check(primitive: str, *values: Value, facts: Facts | None = None, value_inputs: dict[str, int] | None = None, **args: Any) -> Node:
    """The node that a use of a primitive makes. The use itself is kept in LAST."""
    p = TABLE[primitive]
    use = Use(p, p.attributes(**args), [v.type for v in values], Origin(SPAN), facts or Facts(), Collector(), [], {})
    types = p.infer(use)
    node = Node(primitive, list(values), use.attrs, [], Origin(SPAN), occurrence=primitive, value_inputs=value_inputs or {})
    node.outputs = [Value(t, REGION, node, None, i) for i, t in enumerate(types)]
    LAST[:] = [use]
    return node


LAST: list[Use] = []


def assumed() -> list[str]:
    """What the last use assumed, as text."""
    return [f"{a.left} {a.relation} {a.right}" for a in LAST[0].assumptions]


def warned() -> list[str]:
    """Codes of warnings of the last use."""
    return [d.code for d in LAST[0].collector.warnings]


def refused(primitive: str, *values: Value, **args: Any) -> Any:
    """The diagnostic that a wrong use gives."""
    try:
        node = check(primitive, *values, **args)
    except ArchError as error:
        (diagnostic,) = error.diagnostics
        assert diagnostic.title
        return diagnostic
    raise AssertionError(f"{primitive} accepted this: {[str(v.type) for v in node.outputs]}")


class FakeEmitter:
    """Answers what primitives ask while they write; sizes are numbers from a table."""

    self = "self"
    slot = "slot"
    clock = "clock"

    def __init__(self, sizes: dict[str, int] | None = None, lengths: bool = False, time: Axis | None = None) -> None:
        self.sizes, self.has_lengths, self.time = sizes or {}, lengths, time
        self.supports: set[str] = set()

    def weight(self, name: str) -> str:
        return f"self.{name}"

    def support(self, name: str) -> str:
        assert name in SUPPORT, f"no support function {name}"
        self.supports.add(name)
        return name

    def size(self, size: Size) -> str:
        if isinstance(size, Poly):
            return source(size, {name: str(number) for name, number in self.sizes.items()})
        return str(size)

    def lengths(self, axis: Axis) -> str | None:
        return "lengths" if axis.ragged and self.has_lengths else None

    def placement(self, kind: Kind) -> str:
        return "dtype=" + {"float": "torch.float64", "int": "torch.int64", "bool": "torch.bool", "complex": "torch.complex128"}[kind]

    def over_time(self, axis: Axis) -> bool:
        return self.time is not None and axis.identity == self.time.identity


def written(node: Node, *names: str, emitter: FakeEmitter | None = None, step: bool = False) -> str:
    """The text of a node; inputs are called a, b, c … unless names are given."""
    p = TABLE[node.op]
    args = list(names) or [chr(ord("a") + i) for i in range(len(p.reads(node)))]
    e = emitter or FakeEmitter()
    return (p.step if step else p.emit)(node, args, e)  # type: ignore[arg-type]


def run(
    node: Node,
    *tensors: Any,
    sizes: dict[str, int] | None = None,
    lengths: Any = None,
    ragged: bool = False,
    time: Axis | None = None,
    slot: dict[str, Any] | None = None,
    clock: Any = None,
    weights: dict[str, Any] | None = None,
) -> Any:
    """What the node's text is worth for these inputs; with a clock its step form."""
    emitter = FakeEmitter(sizes, ragged or lengths is not None, time)
    names = [f"x{i}" for i in range(len(tensors))]
    text = written(node, *names, emitter=emitter, step=clock is not None)
    scope = {"torch": torch, "nn": nn, "F": F, "lengths": lengths, "slot": slot, "clock": clock, **SUPPORT, **dict(zip(names, tensors))}
    scope["self"] = SimpleNamespace(**(weights or {}))
    return eval(text, scope)


def matches(node: Node, result: Any, batch: int = 1, sizes: dict[str, int] | None = None) -> None:
    """Requires results to have the sizes the shape rule announced, behind `batch` leading axes."""
    results = result if isinstance(result, (tuple, list)) else [result]
    assert len(results) == len(node.outputs)
    for tensor, out in zip(results, node.outputs):
        e = FakeEmitter(sizes)
        expected = [eval(e.size(s)) for s in out.type.sizes]
        lead = batch if out.type.batched else 0
        assert list(tensor.shape[lead:]) == expected, (tuple(tensor.shape), str(out.type))
        kinds = {"float": tensor.is_floating_point(), "complex": tensor.is_complex(), "bool": tensor.dtype == torch.bool}
        assert kinds.get(out.type.kind, tensor.dtype in (torch.int64, torch.int32)), (tensor.dtype, out.type.kind)
