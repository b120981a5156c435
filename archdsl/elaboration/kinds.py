"""What a name can stand for while a spec is elaborated, besides plain numbers, strings, lists and `ir.Value`.

A *recipe* is a module not yet made: it has a key (what it would make) and can be applied. A *bound* instance (body.py) is a recipe with a
place: the first application makes it, later ones share it. The key of a recipe decides whether two applications may share one elaborated
region.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any
from weakref import WeakKeyDictionary

from archdsl.diagnostics import Span
from archdsl.graph.ir import Init, TensorType
from archdsl.language import syntax as ast
from archdsl.language.loader import Namespace
from archdsl.primitives.base import Primitive


class Poison(Exception):
    """Raised when something already reported makes an expression meaningless; never shown."""


POISON = object()
MISSING = object()


class Module:
    """Base of what can be applied to values. `name` is what an unlabelled instance of it is called."""

    name: str

    def key(self) -> Hashable:
        """What it would make; by default a thing that is like no other."""
        return self


@dataclass(eq=False)
class Recipe(Module):
    """Base of recipes."""

    name: str
    span: Span


@dataclass(eq=False)
class PrimitiveRecipe(Recipe):
    primitive: Primitive
    args: dict[str, Any] = field(default_factory=dict)
    given: tuple[str, ...] = ()

    def key(self) -> Hashable:
        return ("primitive", self.name, freeze(self.args))


@dataclass(eq=False)
class FunctionRecipe(Recipe):
    """A scalar function of functions.py used as a module: `x -> exp`."""

    def key(self) -> Hashable:
        return ("function", self.name)


@dataclass(eq=False)
class DeclaredRecipe(Recipe):
    """A block, act or scan of a file, with the arguments given so far."""

    decl: ast.BlockDecl | ast.ActDecl | ast.ScanDecl
    namespace: Namespace
    args: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)  # scans: final=true, over=…
    cell: bool = False  # scans: one step, `gru.cell(p)`

    def key(self) -> Hashable:
        return ("declared", self.decl, self.cell, freeze(self.args), freeze(self.options))


@dataclass(eq=False)
class Stage:
    label: str | None
    module: Module
    span: Span


@dataclass(eq=False)
class PipeRecipe(Recipe):
    """Stages in a row. A stage is no pipe itself: those of a pipe without a label stand in its place."""

    stages: list[Stage] = field(default_factory=list)

    def key(self) -> Hashable:
        return ("pipe", tuple((s.label, s.module.key()) for s in self.stages))


@dataclass(eq=False)
class LabelledRecipe(Recipe):
    """`label: module` not yet applied."""

    label: str
    inner: Any

    def key(self) -> Hashable:
        return ("label", self.label, freeze(self.inner))


@dataclass(eq=False)
class ClosureRecipe(Recipe):
    """An anonymous block, repeat, loop, route, skip or train: syntax and the names it can see."""

    node: ast.Lambda | ast.Repeat | ast.Loop | ast.Route | ast.Train
    scope: Scope

    def key(self) -> Hashable:
        return ("closure", self.node, self.scope.key(self.node))


@dataclass(eq=False)
class Handed(Module):
    """A recipe received through a module parameter: one instance per body that applies it, named after the parameter."""

    name: str
    recipe: Any

    def key(self) -> Hashable:
        return ("handed", self.name, self._frozen)

    @cached_property
    def _frozen(self) -> Hashable:
        """Kept: a recipe handed down from level to level holds that of the level above, and its key that key."""
        return freeze(self.recipe)


@dataclass(eq=False)
class Pretrained(Recipe):
    """The name `pretrained`."""


@dataclass(frozen=True)
class StaticRange:
    """`a..b` as a value; always half-open inside."""

    low: int
    high: int

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(range(self.low, self.high))

    def __len__(self) -> int:
        return max(0, self.high - self.low)


@dataclass(frozen=True)
class ShapeInit:
    """`shape ~ distribution`."""

    shape: tuple[Any, ...]
    init: Init


@dataclass(eq=False)
class Alias:
    """An import with `as`: its names are reached as attributes."""

    name: str
    namespace: Namespace


def freeze(value: Any) -> Hashable:
    """A hashable stand-in that is equal exactly when two things would elaborate alike."""
    if type(value) in (int, str):
        return value
    if isinstance(value, Module):
        return value.key()
    if isinstance(value, dict):
        return tuple(sorted((k, freeze(v)) for k, v in value.items()))
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *(freeze(v) for v in value))
    if isinstance(value, ShapeInit):
        return ("init", freeze(value.shape), value.init)
    if isinstance(value, (bool, float)):  # True == 1 == 1.0 must not share
        return (type(value).__name__, value)
    hashable: Hashable = value  # a value of the graph is like itself alone
    return hashable


def type_key(types: list[TensorType]) -> Hashable:
    """Types up to renaming of axis identities."""
    seen: dict[int, int] = {}
    return tuple(
        (t.kind, t.batched, tuple((a.size, seen.setdefault(a.identity, len(seen)), a.ragged, a.past) for a in t.axes)) for t in types
    )


class Scope:
    """Names visible in a body: its own, then those of the lexically enclosing bodies, then the file's."""

    __slots__ = ("local", "namespace", "parent")

    def __init__(self, namespace: Namespace, parent: Scope | None = None, local: dict[str, Any] | None = None) -> None:
        self.namespace = namespace
        self.parent = parent
        self.local: dict[str, Any] = local if local is not None else {}

    def find(self, name: str, missing: Any = None) -> Any:
        """The thing a local name stands for (it may be None)."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.local:
                return scope.local[name]
            scope = scope.parent
        return missing

    def has(self, name: str) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.local:
                return True
            scope = scope.parent
        return False

    def visible(self) -> set[str]:
        """All local names in reach, for suggestions."""
        names: set[str] = set()
        scope: Scope | None = self
        while scope is not None:
            names |= scope.local.keys()
            scope = scope.parent
        return names

    def snapshot(self) -> Scope:
        """A frozen copy: a closure sees the names as they are where it is written, whatever is bound later."""
        return Scope(self.namespace, self.parent, dict(self.local))

    def key(self, node: ast.Node) -> Hashable:
        """What the free names of a syntax node stand for."""
        found = ((name, self.find(name, MISSING)) for name in free_names(node))
        return tuple((name, freeze(thing)) for name, thing in found if thing is not MISSING)


_free: WeakKeyDictionary[ast.Node, tuple[str, ...]] = WeakKeyDictionary()


def free_names(node: ast.Node) -> tuple[str, ...]:
    """Every name occurring below a node, sorted: a superset of the free ones, which is enough for a key."""
    known = _free.get(node)
    if known is not None:
        return known
    found: set[str] = set()
    stack: list[Any] = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, ast.Name):
            found.add(item.id + "'" if item.primed else item.id)
        elif isinstance(item, ast.Node):
            kind: Any = type(item)
            stack.extend(getattr(item, field_name) for field_name in _fields(kind))
        elif isinstance(item, list):
            stack.extend(item)
    names = _free[node] = tuple(sorted(found))
    return names


@cache
def _fields(cls: type[Any]) -> tuple[str, ...]:
    return tuple(f.name for f in fields(cls) if f.name not in ("span", "name_span", "label_span", "path_span"))
