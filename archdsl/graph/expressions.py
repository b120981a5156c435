"""Scalar expressions: a graph of shared nodes over the functions of `functions`, simplified as it is built.

Equal expressions are one object, so `is` compares them, a shared part is computed once, and a derivative grows linearly. Build with
`const`, `var`, `call` and the operators; `calculus` differentiates and `torch_text` writes Python.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union
from weakref import WeakValueDictionary

from archdsl.graph.functions import FUNCTIONS


class Expr:
    """Base of the nodes. Immutable; equal nodes are the same object."""

    __slots__ = ("__weakref__",)

    @property
    def args(self) -> tuple[Expr, ...]:
        """The expressions this one is computed from."""
        return ()

    @property
    def is_bool(self) -> bool:
        return False

    def __add__(self, other: Operand) -> Expr:
        return call("add", self, other)

    def __radd__(self, other: Operand) -> Expr:
        return call("add", other, self)

    def __sub__(self, other: Operand) -> Expr:
        return call("sub", self, other)

    def __rsub__(self, other: Operand) -> Expr:
        return call("sub", other, self)

    def __mul__(self, other: Operand) -> Expr:
        return call("mul", self, other)

    def __rmul__(self, other: Operand) -> Expr:
        return call("mul", other, self)

    def __truediv__(self, other: Operand) -> Expr:
        return call("div", self, other)

    def __rtruediv__(self, other: Operand) -> Expr:
        return call("div", other, self)

    def __pow__(self, other: Operand) -> Expr:
        return call("pow", self, other)

    def __rpow__(self, other: Operand) -> Expr:
        return call("pow", other, self)

    def __neg__(self) -> Expr:
        return call("neg", self)

    def __repr__(self) -> str:
        return text(self)


class Const(Expr):
    """A number."""

    __slots__ = ("value",)
    value: int | float | complex


class Var(Expr):
    """An input, by name."""

    __slots__ = ("name",)
    name: str


class Apply(Expr):
    """A function of the table applied to expressions."""

    __slots__ = ("_args", "function")
    function: str
    _args: tuple[Expr, ...]

    @property
    def args(self) -> tuple[Expr, ...]:
        return self._args

    @property
    def is_bool(self) -> bool:
        return FUNCTIONS[self.function].result == "bool"


class Custom(Expr):
    """A value whose derivative is declared: d self / d arguments[i] is slopes[i], whatever `value` says. All are in outer variables."""

    __slots__ = ("arguments", "slopes", "value")
    value: Expr
    arguments: tuple[Expr, ...]
    slopes: tuple[Expr, ...]

    @property
    def args(self) -> tuple[Expr, ...]:
        return (self.value,)

    @property
    def is_bool(self) -> bool:
        return self.value.is_bool


Operand = Union[Expr, int, float, complex]

_nodes: WeakValueDictionary[tuple[Any, ...], Expr] = WeakValueDictionary()
_interning = threading.Lock()


def _node(kind: type[Expr], key: tuple[Any, ...], **fields: Any) -> Any:
    found = _nodes.get(key)
    if found is None:
        made = kind()
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        with _interning:  # another thread may have been quicker
            found = _nodes.setdefault(key, made)
    return found


def const(value: int | float | complex) -> Const:
    """A number; a whole float becomes an int, so 1.0 and 1 are one node."""
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, float) and abs(value) < 2**53 and value == int(value):
        value = int(value)
    node: Const = _node(Const, ("const", repr(value)), value=value)
    return node


def var(name: str) -> Var:
    """An input."""
    node: Var = _node(Var, ("var", name), name=name)
    return node


def apply(function: str, *args: Expr) -> Apply:
    """The node as it stands, not simplified."""
    node: Apply = _node(Apply, (function, *map(id, args)), function=function, _args=args)
    return node


def custom(value: Expr, arguments: Iterable[Expr], slopes: Iterable[Expr]) -> Expr:
    """A value with declared derivatives with respect to the arguments it was computed from; arguments that are numbers need none."""
    pairs = [(a, s) for a, s in zip(arguments, slopes) if not isinstance(a, Const)]
    if not pairs:
        return value
    given, declared = zip(*pairs)
    key = ("custom", id(value), *map(id, given), *map(id, declared))
    node: Expr = _node(Custom, key, value=value, arguments=given, slopes=declared)
    return node


def as_expr(value: Operand) -> Expr:
    return value if isinstance(value, Expr) else const(value)


ZERO, ONE = const(0), const(1)


def call(function: str, *operands: Operand) -> Expr:
    """A function applied, simplified where that keeps or improves the numbers. Truth values and numbers are converted where needed."""
    from archdsl.graph.simplify import simplified

    row = FUNCTIONS[function]
    args = [as_expr(a) for a in operands]
    if len(args) != row.arity:
        raise TypeError(f"{function} takes {row.arity} arguments, not {len(args)}")
    for i, arg in enumerate(args):
        wants_bool = row.takes == "bool" or (row.takes == "where" and i == 0)
        if wants_bool and not arg.is_bool:
            args[i] = const(int(bool(arg.value))) if isinstance(arg, Const) else call("ne", arg, 0)
        elif not wants_bool and arg.is_bool:
            args[i] = apply("where", arg, ONE, ZERO)
    return simplified(function, args)


class Builder:
    """Every function of the table as a method, for derivative rules: `f.exp(x)`."""

    zero, one = ZERO, ONE

    def __getattr__(self, name: str) -> Any:
        return lambda *args: call(name, *args)


def order(*roots: Expr) -> list[Expr]:
    """Every node below the roots once, arguments before what uses them. A Custom's arguments and slopes are not part of its value."""
    seen: set[Expr] = set()
    result: list[Expr] = []
    stack: list[tuple[Expr, bool]] = [(r, False) for r in reversed(roots)]
    while stack:
        node, done = stack.pop()
        if done:
            result.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((a, False) for a in reversed(node.args))
    return result


def variables(*roots: Expr) -> set[str]:
    """Names of the inputs that values depend on."""
    return {n.name for n in order(*roots) if isinstance(n, Var)}


def count_ops(*roots: Expr) -> int:
    """Distinct function applications."""
    return sum(isinstance(n, Apply) for n in order(*roots))


def substitute(root: Expr, values: Mapping[str, Operand]) -> Expr:
    """The expression with others put for inputs, simplified again."""
    done: dict[Expr, Expr] = {}
    for node in order(*_reach(root)):
        if isinstance(node, Var):
            done[node] = as_expr(values[node.name]) if node.name in values else node
        elif isinstance(node, Apply):
            done[node] = call(node.function, *(done[a] for a in node.args))
        elif isinstance(node, Custom):
            done[node] = custom(done[node.value], [done[a] for a in node.arguments], [done[s] for s in node.slopes])
        else:
            done[node] = node
    return done[root]


def _reach(root: Expr) -> Iterator[Expr]:
    """Roots such that `order` meets the arguments and slopes of Custom nodes before the nodes themselves."""
    inner: list[Expr] = []
    frontier = [root]
    while frontier:
        found = [n for n in order(*frontier) if isinstance(n, Custom)]
        frontier = [p for n in found for p in (*n.arguments, *n.slopes)]
        inner[:0] = frontier
    yield from inner
    yield root


def evaluate(root: Expr, values: Mapping[str, float]) -> Any:
    """The value in Python floats; IEEE infinities and NaN instead of exceptions."""
    done: dict[Expr, Any] = {}
    for node in order(root):
        if isinstance(node, Const):
            done[node] = node.value
        elif isinstance(node, Var):
            done[node] = values[node.name]
        elif isinstance(node, Custom):
            done[node] = done[node.value]
        elif isinstance(node, Apply):
            done[node] = fold(node.function, [done[a] for a in node.args])
    return done[root]


def fold(function: str, numbers: Iterable[Any]) -> Any:
    """A function of numbers. Infinity where whole numbers would fill the memory."""
    try:
        result = FUNCTIONS[function].value(*numbers)
        large = isinstance(result, int) and not isinstance(result, bool) and result.bit_length() > 1000
        return float(result) if large else result
    except OverflowError:
        return math.inf


def text(root: Expr) -> str:
    """Readable one-line text, for messages and tests."""
    if isinstance(root, Const):
        return repr(root.value)
    if isinstance(root, Var):
        return root.name
    if isinstance(root, Custom):
        return f"custom({text(root.value)})"
    assert isinstance(root, Apply)
    return f"{root.function}({', '.join(text(a) for a in root.args)})"
