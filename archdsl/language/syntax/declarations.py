"""Declarations, and the file that holds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from archdsl.diagnostics import Span
from archdsl.language.syntax.terms import Argument, Body, Expr, Node, Shape


@dataclass(eq=False, slots=True)
class Parameter(Node):
    """`name`, `name = default`, `name: module`, `name in {…} = default`."""

    name: str
    kind: str | None  # module, value, int, float, str, bool, list, or None
    domain: Expr | None  # SetExpr or Range
    default: Expr | None


@dataclass(eq=False, slots=True)
class BlockDecl(Node):
    """`block X(params) { body }`, `block X(params) on [.., d] = expr`, and `arch X …` (is_arch)."""

    name: str
    name_span: Span
    parameters: list[Parameter]
    on: Shape | None
    body: Body
    is_arch: bool
    doc: str | None = None


@dataclass(eq=False, slots=True)
class LearnedParameter(Node):
    """`beta = 1.0` or `a: [axis] = 0.25` after the semicolon of an act."""

    name: str
    shape: Shape | None
    default: Expr


@dataclass(eq=False, slots=True)
class ActDecl(Node):
    """`act name(statics)(x; learned) = forward backward expr`."""

    name: str
    name_span: Span
    parameters: list[Parameter]
    inputs: list[str]
    learned: list[LearnedParameter]
    forward: Expr
    backward: Expr | None
    doc: str | None = None


@dataclass(eq=False, slots=True)
class ScanDecl(Node):
    """`scan name(params) { in …; state …; S' = …; yield … }`."""

    name: str
    name_span: Span
    parameters: list[Parameter]
    body: Body
    doc: str | None = None


@dataclass(eq=False, slots=True)
class Constant(Node):
    """`name = expr` at the top of a file: a static value."""

    name: str
    name_span: Span
    value: Expr


@dataclass(eq=False, slots=True)
class Expect(Node):
    """`expect condition [with d=1024, depth=24]`: a contract on the arch above it (`arch` names it after parsing, or None)."""

    condition: Expr
    overrides: list[Argument]
    arch: str | None = None


@dataclass(eq=False, slots=True)
class Import(Node):
    """`import "std/transformer.arch"`, optionally `as name` (then its names are reached as `name.X`)."""

    path: str
    path_span: Span
    alias: str | None


Declaration = Union[BlockDecl, ActDecl, ScanDecl, Constant, Expect]


@dataclass(eq=False, slots=True)
class Comment:
    """A `#` comment with the offset it stands at; `own_line` if nothing precedes it on its line."""

    span: Span
    text: str
    own_line: bool


@dataclass(eq=False, slots=True)
class File(Node):
    """A parsed file. `pins` holds `pin "path" "hash"` lines of a written winner; `version` the `archdsl 1` line."""

    doc: str | None
    version: int | None
    imports: list[Import]
    declarations: list[Declaration]
    comments: list[Comment]
    pins: list[tuple[str, str]] = field(default_factory=list)
