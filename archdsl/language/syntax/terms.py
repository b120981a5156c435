"""Expressions and statements: one holds the other, as a block without a name stands in an expression."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from archdsl.diagnostics import Span


@dataclass(eq=False, slots=True, weakref_slot=True)
class Node:
    """Base of all nodes. Nodes compare by identity, so they can key memo tables."""

    span: Span


# ---- expressions ----------------------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Number(Node):
    value: int | float


@dataclass(eq=False, slots=True)
class String(Node):
    value: str


@dataclass(eq=False, slots=True)
class Bool(Node):
    value: bool


@dataclass(eq=False, slots=True)
class NoneLit(Node):
    """`none`."""


@dataclass(eq=False, slots=True)
class Name(Node):
    """A name; `primed` for the next state `S'` of a scan."""

    id: str
    primed: bool = False


@dataclass(eq=False, slots=True)
class Unary(Node):
    op: str  # "-", "not"
    operand: Expr


@dataclass(eq=False, slots=True)
class Binary(Node):
    op: str  # + - * / // % ** @ == != < <= > >= and or
    left: Expr
    right: Expr


@dataclass(eq=False, slots=True)
class If(Node):
    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(eq=False, slots=True)
class Argument(Node):
    """`value`, `name=value` or `name ~ value` (an initialiser: tilde is set; with no name it belongs to `shape ~ dist`, see Tilde)."""

    name: str | None
    value: Expr
    tilde: bool = False


@dataclass(eq=False, slots=True)
class Call(Node):
    function: Expr
    arguments: list[Argument]


@dataclass(eq=False, slots=True)
class Slice(Node):
    """One item of an index that is a range with optional ends: `a..b`, `a..=b`, `..b`, `a..`, `..`."""

    low: Expr | None
    high: Expr | None
    closed: bool


@dataclass(eq=False, slots=True)
class Index(Node):
    """`value[item, …]`; an item is an expression or a Slice."""

    value: Expr
    items: list[Expr]


@dataclass(eq=False, slots=True)
class Attribute(Node):
    value: Expr
    name: str


@dataclass(eq=False, slots=True)
class Range(Node):
    """`low..high` (half-open) or `low..=high` (closed) as a value: loop bounds, domains."""

    low: Expr
    high: Expr
    closed: bool


@dataclass(eq=False, slots=True)
class ListExpr(Node):
    """`[a, b]`; also a shape where a shape is meant, then items may be Ellipsis_ (`..`)."""

    items: list[Expr]


@dataclass(eq=False, slots=True)
class Comprehension(Node):
    """`[value for name in source]`, optionally `if condition`."""

    value: Expr
    variable: str
    source: Expr
    condition: Expr | None


@dataclass(eq=False, slots=True)
class Ellipsis_(Node):
    """`..` inside a shape: any axes."""


@dataclass(eq=False, slots=True)
class TupleExpr(Node):
    items: list[Expr]


@dataclass(eq=False, slots=True)
class SetExpr(Node):
    """`{a, b, c}`: the options of a parameter's domain."""

    items: list[Expr]


@dataclass(eq=False, slots=True)
class Tilde(Node):
    """`shape ~ distribution`: a shape with an initialiser."""

    shape: Expr
    init: Expr


@dataclass(eq=False, slots=True)
class Labelled(Node):
    """`label: module`."""

    label: str
    label_span: Span
    value: Expr


@dataclass(eq=False, slots=True)
class Pipe(Node):
    """`a -> b -> c`, flat: association does not matter."""

    stages: list[Expr]


@dataclass(eq=False, slots=True)
class Choice(Node):
    """`a | b | c`: decided at each expansion; the first is the default."""

    options: list[Expr]


@dataclass(eq=False, slots=True)
class Repeat(Node):
    """`repeat n { body }`, `repeat i in a..b { body }`; weights are made anew each round. `reversible repeat …` sets the flag."""

    variable: str | None
    count: Expr  # a number, or a Range when variable is set (a list is allowed too)
    body: Body
    reversible: bool = False


@dataclass(eq=False, slots=True)
class Loop(Node):
    """`loop n { body }`, `loop i in a..b until halt(…) { body }`, `loop n step h { body }`: one instance applied n times."""

    variable: str | None
    count: Expr
    until: Expr | None
    step: Expr | None
    body: Body


@dataclass(eq=False, slots=True)
class Route(Node):
    """`route(router, experts=n, …) { expert }`, `skip(router, capacity=c) { body }`, and other router forms with a trailing body."""

    kind: str  # "route" | "skip"
    arguments: list[Argument]
    body: Body


@dataclass(eq=False, slots=True)
class Train(Node):
    """`train { a } else { b }`: a in training mode, b in evaluation. `otherwise` None means the identity."""

    training: Body
    otherwise: Body | None


@dataclass(eq=False, slots=True)
class Lambda(Node):
    """An anonymous block `{ in x, h; … return … }` used as a module, or `{ expr }`."""

    body: Body


Expr = Union[
    Number,
    String,
    Bool,
    NoneLit,
    Name,
    Unary,
    Binary,
    If,
    Call,
    Slice,
    Index,
    Attribute,
    Range,
    ListExpr,
    Comprehension,
    Ellipsis_,
    TupleExpr,
    SetExpr,
    Tilde,
    Labelled,
    Pipe,
    Choice,
    Repeat,
    Loop,
    Route,
    Train,
    Lambda,
]

# ---- statements -----------------------------------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Shape(Node):
    """A written shape with its element kind: `int[T]`, `[.., d]`, `[heads: n, n]` (groups holds `heads`)."""

    kind: str  # "float" (default) | "int" | "bool" | "complex"
    dims: list[Expr]
    groups: list[Expr] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Input(Node):
    """`in x: [T, d] lengths where T % 2 == 0`; shape None in an anonymous block (`in x, h`) means any shape."""

    name: str
    name_span: Span
    shape: Shape | None
    lengths: bool
    where: Expr | None
    over: str | None = None  # scans: the axis run over, if not the one before the body
    default: Expr | None = None  # `in m: [..] = none`: an input that may be left out


@dataclass(eq=False, slots=True)
class State(Node):
    """`state S: [n, m] = 0` (scans); init may be a number, a value expression or a learned initialiser `~ dist`."""

    name: str
    name_span: Span
    shape: Shape
    init: Expr | None
    learned: bool = False  # `state h: [n] ~ zeros`


@dataclass(eq=False, slots=True)
class Target(Node):
    """A bound name; `primed` for a scan's next state."""

    id: str
    primed: bool = False


@dataclass(eq=False, slots=True)
class Bind(Node):
    """`a, b = expr`."""

    targets: list[Target]
    value: Expr


@dataclass(eq=False, slots=True)
class ParamDecl(Node):
    """`param R: [heads: n, n] ~ normal(0.02)` as a statement."""

    name: str
    name_span: Span
    shape: Shape
    init: Expr | None


@dataclass(eq=False, slots=True)
class Where(Node):
    """`where condition` on its own line."""

    condition: Expr


@dataclass(eq=False, slots=True)
class Aux(Node):
    """`aux name = expr`: a side loss, collected by path."""

    name: str
    value: Expr


@dataclass(eq=False, slots=True)
class Tap(Node):
    """`tap name = expr`: an inner value made readable by path."""

    name: str
    value: Expr


@dataclass(eq=False, slots=True)
class Return(Node):
    values: list[Expr]


@dataclass(eq=False, slots=True)
class Yield(Node):
    values: list[Expr]


Statement = Union[Input, State, Bind, ParamDecl, Where, Aux, Tap, Return, Yield]


@dataclass(eq=False, slots=True)
class Body(Node):
    """Statements between braces, or a single expression (then `expression` is set and `statements` empty)."""

    statements: list[Statement]
    expression: Expr | None = None
