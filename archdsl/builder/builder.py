"""The file being written: imports, declarations, contracts; text and spec of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archdsl.builder.body import Body, shape_of
from archdsl.builder.expression import HERE, E, checked_name, code, placeless, tree, wrong
from archdsl.diagnostics import Source
from archdsl.language import syntax as s

if TYPE_CHECKING:
    from archdsl.api import Spec


@dataclass(frozen=True)
class Parameter:
    """A block's parameter with more than a default: a kind ("module", "int", …), a domain, or no default (`...`)."""

    default: Any = ...
    kind: str | None = None
    within: Any = None


def parameter(default: Any = ..., *, kind: str | None = None, within: Any = None) -> Parameter:
    """A parameter: `parameter(kind="module")`, `parameter(6, within=range(2, 13))`, `parameter(128, within=[64, 128, 256])`.

    within: a range, a list of options, or an expression (`span`, `one_of`). Without a default it must be given at each use.
    """
    return Parameter(default, kind, within)


class Builder:
    """Collects declarations. `text()` is the file in canonical form, `spec()` the checked architecture, `file()` the syntax tree."""

    def __init__(self, doc: str | None = None) -> None:
        self.doc = doc
        self._imports: list[s.Import] = []
        self._declarations: list[Any] = []
        self._version: int | None = None
        self._pins: list[tuple[str, str]] = []

    @classmethod
    def from_text(cls, text: str, name: str = "<text>") -> Builder:
        """A builder that begins with the declarations of a spec (its comments are not kept). Raises ArchError if it does not parse."""
        from archdsl.language import parse

        file = placeless(parse(Source(name, text)))
        made = cls(file.doc)
        made._imports, made._declarations = list(file.imports), list(file.declarations)
        made._version, made._pins = file.version, list(file.pins)
        return made

    # ---- declarations ----

    def use(self, path: str, name: str | None = None) -> None:
        """`import "path"`, optionally `as name`."""
        self._imports.append(s.Import(HERE, path, HERE, None if name is None else checked_name(name)))

    @contextmanager
    def arch(self, name: str, *, doc: str | None = None, on: Any = None, **parameters: Any) -> Iterator[Body]:
        """`arch name(parameters) { … }`; parameters by default value, `...` (must be given), or `parameter(…)`."""
        body = Body(tuple(parameters))
        yield body
        self._block(name, parameters, on, body.tree(), True, doc)

    @contextmanager
    def block(self, name: str, *, doc: str | None = None, on: Any = None, **parameters: Any) -> Iterator[Body]:
        """`block name(parameters) { … }`."""
        body = Body(tuple(parameters))
        yield body
        self._block(name, parameters, on, body.tree(), False, doc)

    def pointfree(self, name: str, module: Any, *, doc: str | None = None, on: Any = None, **parameters: Any) -> E:
        """`block name(parameters) on [.., d] = module`; returns the block's name."""
        value = module(Body(tuple(parameters))) if callable(module) and not isinstance(module, E) else module
        self._block(name, parameters, on, s.Body(HERE, [], tree(value)), False, doc)
        return E(s.Name(HERE, name))

    def _block(self, name: str, parameters: Mapping[str, Any], on: Any, body: s.Body, is_arch: bool, doc: str | None) -> None:
        made = s.BlockDecl(HERE, checked_name(name), HERE, _parameters(parameters), shape_of(on), body, is_arch, doc)
        self._declarations.append(made)

    @contextmanager
    def scan(self, name: str, *, doc: str | None = None, **parameters: Any) -> Iterator[Body]:
        """`scan name(parameters) { in …; state …; S' = …; yield … }`."""
        body = Body(tuple(parameters))
        yield body
        self._declarations.append(s.ScanDecl(HERE, checked_name(name), HERE, _parameters(parameters), body.tree(), doc))

    def act(
        self,
        name: str,
        forward: Any,
        *,
        inputs: str = "x",
        learned: Mapping[str, Any] | None = None,
        backward: Any = None,
        **parameters: Any,
    ) -> E:
        """`act name(parameters)(x; learned) = forward backward …`; formulas are expressions or text. Returns the act's name."""
        taken = [checked_name(i.strip()) for i in inputs.split(",")]
        extra = [s.LearnedParameter(HERE, checked_name(n), *_learned(v)) for n, v in (learned or {}).items()]
        value, slope = (None if f is None else tree(code(f) if isinstance(f, str) else f) for f in (forward, backward))
        made = s.ActDecl(HERE, checked_name(name), HERE, _parameters(parameters), taken, extra, value, slope)  # type: ignore[arg-type]
        self._declarations.append(made)
        return E(s.Name(HERE, name))

    def constant(self, name: str, value: Any) -> E:
        """`name = value` at the top of the file."""
        self._declarations.append(s.Constant(HERE, checked_name(name), HERE, tree(value)))
        return E(s.Name(HERE, name))

    def expect(self, condition: Any, **overrides: Any) -> None:
        """`expect condition with d=1024`, on the arch declared last; the condition is an expression or text."""
        archs = [d for d in self._declarations if isinstance(d, s.BlockDecl) and d.is_arch]
        if not archs:
            wrong("a contract needs an arch above it", "Declare the arch first.")
        given = [s.Argument(HERE, checked_name(n), tree(v)) for n, v in overrides.items()]
        node = tree(code(condition) if isinstance(condition, str) else condition)
        self._declarations.append(s.Expect(HERE, node, given, archs[-1].name))

    def declare(self, text: str) -> None:
        """Declarations written as text. Raises ArchError if they do not parse."""
        from archdsl.language import parse

        file = placeless(parse(Source("<builder>", text)))
        self._imports += file.imports
        archs = [d.name for d in self._declarations if isinstance(d, s.BlockDecl) and d.is_arch]
        for declaration in file.declarations:
            if isinstance(declaration, s.Expect) and declaration.arch is None and archs:
                declaration.arch = archs[-1]
            self._declarations.append(declaration)

    # ---- results ----

    def file(self) -> s.File:
        """The syntax tree."""
        return s.File(HERE, self.doc, self._version, list(self._imports), list(self._declarations), [], list(self._pins))

    def text(self) -> str:
        """The file in canonical form. Parsing it gives `file()` again."""
        from archdsl.language import unparse

        return unparse(self.file())

    def spec(
        self, *, root: str | os.PathLike[str] | None = None, arch: str | None = None, contracts: bool = True, **overrides: Any
    ) -> Spec:
        """The checked architecture, as `archdsl.parse` gives it. Raises ArchError with everything found wrong."""
        from archdsl import api

        return api.parse(self.text(), name="<builder>", root=root, arch=arch, contracts=contracts, **overrides)

    def __str__(self) -> str:
        return self.text()


def _parameters(given: Mapping[str, Any]) -> list[s.Parameter]:
    found = []
    for name, value in given.items():
        p = value if isinstance(value, Parameter) else Parameter(value)
        default = None if p.default is ... else tree(p.default)
        found.append(s.Parameter(HERE, checked_name(name), p.kind, _domain(p.within), default))
    return found


def _domain(within: Any) -> Any:
    if within is None:
        return None
    if isinstance(within, (list, tuple)):
        return s.SetExpr(HERE, [tree(v) for v in within])
    if isinstance(within, range) and within.step == 1 and len(within):
        return s.Range(HERE, tree(within.start), tree(within.stop - 1), True)
    return tree(within)


def _learned(value: Any) -> tuple[s.Shape | None, Any]:
    """A learned parameter: a number, or (shape, number) as in `("[axis]", 0.25)`."""
    if isinstance(value, tuple):
        shape, start = value
        return shape_of(shape), tree(start)
    return None, tree(value)


__all__ = ["Builder", "Parameter", "parameter"]
