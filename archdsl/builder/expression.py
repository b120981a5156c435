"""Expressions of the language as Python objects: operators, calls and indexing build the syntax tree, nothing is computed.

from archdsl.builder import label, names as n, repeat
x >> label("q_proj", n.linear(64, bias=False)) >> n.silu          # x -> q_proj: linear(64, bias=false) -> silu
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from fractions import Fraction
from typing import Any, NoReturn, Union

from archdsl.diagnostics import ArchError, Diagnostic, Source, Span
from archdsl.language import syntax as s

HERE = Span(Source("<builder>", ""), 0, 0)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def wrong(title: str, hint: str = "") -> NoReturn:
    """Stops with AD0921: the builder was asked for something the language can't say."""
    raise ArchError(Diagnostic("AD0921", title, hint=hint))


def checked_name(name: str) -> str:
    """A name that may stand in a spec."""
    from archdsl.language.arch_parser import KEYWORDS

    if not isinstance(name, str) or not _NAME.fullmatch(name):
        wrong(f"{name!r} is not a name", "A name has letters, digits and `_`, and begins with a letter or `_`.")
    if name in KEYWORDS:
        wrong(f"`{name}` is a word of the language", "Choose another name.")
    return name


def placeless(node: Any) -> Any:
    """A parsed tree with all places forgotten, so that it prints in the order in which the program put it."""
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, (list, tuple)):
            stack += item
        elif isinstance(item, s.Node):
            for f in fields(item):
                value = getattr(item, f.name)
                if isinstance(value, Span):
                    setattr(item, f.name, HERE)
                else:
                    stack.append(value)
    return node


class E:
    """An expression. Attributes, calls, indices and operators give larger ones; `node` is the tree."""

    __slots__ = ("node",)

    def __init__(self, node: Any) -> None:
        self.node = node

    # ---- application ----

    def __call__(self, *arguments: Any, **named: Any) -> E:
        given = [s.Argument(HERE, None, tree(a)) for a in arguments]
        for name, value in named.items():
            learned = isinstance(value, Begins)
            given.append(s.Argument(HERE, checked_name(name), tree(value.distribution if learned else value), learned))
        return E(s.Call(HERE, self.node, given))

    def __getattr__(self, name: str) -> E:
        if name.startswith("_"):  # asked for by Python's and notebooks' own protocols
            raise AttributeError(name)
        return E(s.Attribute(HERE, self.node, checked_name(name)))

    def __getitem__(self, items: Any) -> E:
        return E(s.Index(HERE, self.node, [tree(i) for i in (items if isinstance(items, tuple) else (items,))]))

    # ---- operators ----

    def __rshift__(self, other: Any) -> E:
        return pipe(self, other)

    def __rrshift__(self, other: Any) -> E:
        return pipe(other, self)

    def __or__(self, other: Any) -> E:
        return choice(self, other)

    def __ror__(self, other: Any) -> E:
        return choice(other, self)

    def __neg__(self) -> E:
        return E(s.Unary(HERE, "-", self.node))

    def __eq__(self, other: object) -> E:  # type: ignore[override]
        return _binary("==", self, other)

    def __ne__(self, other: object) -> E:  # type: ignore[override]
        return _binary("!=", self, other)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        wrong("an expression of a spec is neither true nor false", "Write `when(condition, a, b)`, and one comparison at a time.")

    def __iter__(self) -> NoReturn:
        wrong(
            "an expression of a spec can't be taken apart in Python", 'Bind its parts by name: `q, k, v = body.let("q, k, v", expression)`.'
        )

    def __str__(self) -> str:
        from archdsl.language import unparse

        return unparse(s.Constant(HERE, "x", HERE, self.node)).removeprefix("x = ")

    def __repr__(self) -> str:
        return f"<{self}>"


def _binary(op: str, left: Any, right: Any) -> E:
    return E(s.Binary(HERE, op, tree(left), tree(right)))


def _operator(op: str) -> tuple[Callable[[E, Any], E], Callable[[E, Any], E]]:
    return (lambda self, other: _binary(op, self, other)), (lambda self, other: _binary(op, other, self))


for _python, _op in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@"}.items():
    _left, _right = _operator(_op)
    setattr(E, f"__{_python}__", _left)
    setattr(E, f"__r{_python}__", _right)
for _python, _op in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items():
    setattr(E, f"__{_python}__", _operator(_op)[0])


class Begins:
    """How a parameter begins: `linear(8, bias=begins(names.zeros))` is `linear(8, bias ~ zeros)`."""

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution


begins = Begins

Value = Union[E, int, float, Fraction, str, bool, None, list, tuple, range, slice]


def tree(value: Any) -> Any:
    """The syntax tree of an expression or a Python value. A str is a string of the language; use `names` or `code` for a name.

    None is `none`, a list a list, a tuple several values, a range or slice a range, `...` the `..` of a shape; a set has no order and is refused.
    """
    if isinstance(value, E):
        return value.node
    if isinstance(value, s.Node):
        return value
    if value is None:
        return s.NoneLit(HERE)
    if value is Ellipsis:
        return s.Ellipsis_(HERE)
    if isinstance(value, bool):
        return s.Bool(HERE, value)
    if isinstance(value, Fraction):
        return s.Binary(HERE, "/", _number(value.numerator), _number(value.denominator))
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, str):
        return s.String(HERE, value)
    if isinstance(value, list):
        return s.ListExpr(HERE, [tree(v) for v in value])
    if isinstance(value, tuple):
        return s.TupleExpr(HERE, [tree(v) for v in value])
    if isinstance(value, range):
        return _range(value)
    if isinstance(value, slice):
        if value.step is not None:
            wrong("a slice of a spec has no step")
        low, high = (None if v is None else tree(v) for v in (value.start, value.stop))
        return s.Slice(HERE, low, high, False)
    wrong(f"a {type(value).__name__} has no place in a spec", "Numbers, strings, lists, tuples, ranges and expressions have.")


def _number(value: int | float) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        wrong(f"{value} can't be written in a spec", "Infinity has the name `inf` in formulas.")
    if value < 0 or (value == 0 and math.copysign(1, value) < 0):
        return s.Unary(HERE, "-", s.Number(HERE, -value))
    return s.Number(HERE, value)


def _range(value: range) -> s.Range:
    if value.step != 1:
        wrong("a range of a spec counts by one", "Write a list for other steps.")
    return s.Range(HERE, tree(value.start), tree(value.stop), False)


# ---- what has no operator in Python ---------------------------------------------------------------------------------------------------


class Names:
    """Any name of the language: `names.linear`, or `names("linear")`."""

    def __getattr__(self, name: str) -> E:
        if name.startswith("_"):  # asked for by Python's and notebooks' own protocols
            raise AttributeError(name)
        return self(name)

    def __call__(self, name: str) -> E:
        return E(s.Name(HERE, checked_name(name)))


names = Names()


def code(text: str) -> E:
    """An expression written as text: `code("4 * d")`. Raises ArchError if it does not parse."""
    from archdsl.language import parse_expression

    return E(placeless(parse_expression(Source("<builder>", text))))


def pipe(*stages: Any) -> E:
    """`a -> b -> c`."""
    flat: list[Any] = []
    for stage in stages:
        node = tree(stage)
        flat += node.stages if isinstance(node, s.Pipe) else [node]
    return E(s.Pipe(HERE, flat))


def choice(*options: Any) -> E:
    """`a | b | c`: a place where a search may choose; the first is the default."""
    flat: list[Any] = []
    for option in options:
        node = tree(option)
        flat += node.options if isinstance(node, s.Choice) else [node]
    return E(s.Choice(HERE, flat))


def label(name: str, module: Any) -> E:
    """`name: module`."""
    return E(s.Labelled(HERE, checked_name(name), HERE, tree(module)))


def when(condition: Any, then: Any, otherwise: Any) -> E:
    """`if condition then a else b`."""
    return E(s.If(HERE, tree(condition), tree(then), tree(otherwise)))


def both(left: Any, right: Any) -> E:
    """`a and b`."""
    return _binary("and", left, right)


def either(left: Any, right: Any) -> E:
    """`a or b`."""
    return _binary("or", left, right)


def negate(value: Any) -> E:
    """`not a`."""
    return E(s.Unary(HERE, "not", tree(value)))


def span(low: Any, high: Any, closed: bool = False) -> E:
    """`low..high`, or `low..=high`."""
    return E(s.Range(HERE, tree(low), tree(high), closed))


def one_of(*options: Any) -> E:
    """`{a, b, c}`: a parameter's domain."""
    return E(s.SetExpr(HERE, [tree(o) for o in options]))


def starts(shape: Any, distribution: Any) -> E:
    """`shape ~ distribution`: `names.param(starts([d], names.ones))`."""
    return E(s.Tilde(HERE, tree(shape), tree(distribution)))


def each(value: Any, variable: str, source: Any, condition: Any = None) -> E:
    """`[value for variable in source if condition]`."""
    return E(s.Comprehension(HERE, tree(value), checked_name(variable), tree(source), None if condition is None else tree(condition)))


def after(state: E) -> E:
    """The next state of a scan: `S'`."""
    if not isinstance(state.node, s.Name):
        wrong("only a state has a next value")
    return E(s.Name(HERE, state.node.id, True))
