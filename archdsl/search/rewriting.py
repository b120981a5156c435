"""A spec's text with its decisions put in: each choice becomes the option taken, each domain a default.

A place of the file can run many times, with other decisions each time. Where they differ, rounds of a repeat are written out, a block gets a
variant for each way it ran, and a block that hands one module to many places is written where it is used, so that each place can have its
own. `Conflict` is raised where none of this says it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from archdsl.diagnostics import Source
from archdsl.graph.ir import Value
from archdsl.language import parse_expression
from archdsl.language import syntax as ast
from archdsl.language.format import unparse
from archdsl.language.loader import Namespace
from archdsl.search.tracing import Ran, Trace


class Conflict(Exception):
    """One expression stands for several things."""


@dataclass(frozen=True)
class Here:
    """Where an expression ran. within: the runs that count. env: parameters to be replaced by what was given for them, and where."""

    path: str
    namespace: Namespace
    within: str = ""
    env: dict[str, tuple[Any, Here]] = field(default_factory=dict)
    use: ast.Name | None = None  # inside a constant: the name that stands for it


@dataclass(eq=False)
class Variant:
    """A declaration as it ran."""

    name: str  # stands in the text until names are given
    original: Any
    declaration: Any


class Rewriter:
    def __init__(self, trace: Trace, main: Namespace, inline: bool) -> None:
        self.trace = trace
        self.main = main
        self.inline = inline  # whether blocks that are one choice are written as the option taken
        self.variants: dict[tuple[int, str], Variant] = {}
        self.needed: dict[str, tuple[Any, Namespace]] = {}  # names that the text uses, and what they stand for
        self.aliases: set[str] = set()

    # ---- declarations ----

    def arch(self, decl: ast.BlockDecl, given: Iterable[str]) -> ast.BlockDecl:
        made: ast.BlockDecl = self._declaration(decl, set(given), Here("", self.main))
        return made

    def _declaration(self, decl: Any, given: set[str], here: Here) -> Any:
        """A declaration with the decisions of one run; itself if it had none."""
        env: dict[str, tuple[Any, Here]] = {}
        parameters = []
        for parameter in decl.parameters:
            default = self._default(parameter, here) if parameter.name not in given else None
            if default is None:
                parameters.append(parameter)
                continue
            try:
                written = self.write(default, here)
            except Conflict:  # one recipe, another variant at each place: written at the places
                env[parameter.name] = (default, here)
                continue
            same = parameter.domain is None and written is parameter.default
            parameters.append(parameter if same else replace(parameter, domain=None, default=written))
        here = replace(here, env=env)
        body = self.write(decl.body, here)
        extra = {"on": self.write(decl.on, here)} if getattr(decl, "on", None) is not None else {}
        if body is decl.body and len(parameters) == len(decl.parameters) and all(a is b for a, b in zip(parameters, decl.parameters)):
            return decl
        return replace(decl, parameters=parameters, body=body, **extra)

    def _default(self, parameter: ast.Parameter, here: Here) -> Any:
        """What a parameter is where nothing is given for it: the option taken, or its default."""
        taken = self.trace.decided.get((here.path, parameter))
        if taken is None:
            return parameter.default
        index, text = taken[0]
        if isinstance(parameter.domain, ast.SetExpr):
            return parameter.domain.items[index]
        return parse_expression(Source("domain", text))

    def _variant(self, ran: Ran) -> Variant | None:
        """The declaration that a run used, as it ran; None if it is the original."""
        recipe, needed, aliases = ran.recipe, dict(self.needed), set(self.aliases)
        made = self._declaration(recipe.decl, set(recipe.args), Here(ran.path, recipe.namespace))
        if made is recipe.decl:
            self.needed, self.aliases = needed, aliases
            return None
        key = (recipe.decl, unparse(made))
        if key not in self.variants:
            self.variants[key] = Variant(f"{recipe.decl.name}__{len(self.variants)}", recipe.decl, made)
        return self.variants[key]

    # ---- expressions ----

    def write(self, node: Any, here: Here) -> Any:
        """A node as it ran; the same object if nothing in it was decided."""
        if isinstance(node, ast.Choice):
            return self._choice(node, here)
        if isinstance(node, ast.Name):
            return self._name(node, here)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in here.namespace.aliases:
                self.aliases.add(node.value.id)
            runs = self._runs(node, here)
            return self._callee(node, runs) or self._fields(node, here)
        if isinstance(node, ast.Call):
            return self._call(node, here)
        if isinstance(node, ast.Repeat):
            return self._repeat(node, here)
        if isinstance(node, (ast.Lambda, ast.Loop, ast.Route, ast.Train)):
            return self._closure(node, here)
        if isinstance(node, ast.Pipe):
            stages = [self.write(s, here) for s in node.stages]
            if all(a is b for a, b in zip(stages, node.stages)):
                return node
            return replace(node, stages=[part for s in stages for part in (s.stages if isinstance(s, ast.Pipe) else [s])])
        return self._fields(node, here)

    def _fields(self, node: Any, here: Here) -> Any:
        """A node with its parts written."""
        if isinstance(node, list):
            items = [self._fields(n, here) if isinstance(n, list) else self.write(n, here) for n in node]
            return node if all(a is b for a, b in zip(items, node)) else items
        if not isinstance(node, ast.Node):
            return node
        changed = {}
        for f in dataclasses.fields(node):
            old = getattr(node, f.name)
            if isinstance(old, (ast.Node, list)):
                new = self._fields(old, here) if isinstance(old, list) else self.write(old, here)
                if new is not old:
                    changed[f.name] = new
        return replace(node, **changed) if changed else node

    def _choice(self, node: ast.Choice, here: Here) -> Any:
        taken = {index for index, _ in self.trace.decided.get((here.path, node), [(0, "")])}
        if here.use:
            taken = {self.trace.uses.get((here.path, here.use, node), 0)}
        if len(taken) > 1:
            raise Conflict
        return self.write(node.options[taken.pop()], here)

    def _name(self, node: ast.Name, here: Here) -> Any:
        if node.id in here.env and not node.primed:
            given, where = here.env[node.id]
            return self.write(given, replace(where, within=here.path))
        entry = here.namespace.names.get(node.id)
        if entry is None:
            return node
        if isinstance(entry[0], ast.Constant):
            written = self._constant(node, entry, here)
            if written is not entry[0].value:
                return written
        runs = self._runs(node, here)
        if runs and self.inline and all(_one_choice(r.recipe, self.main) and not r.recipe.args for r in runs):
            return self._alike(self._inlined(node, r, here) for r in runs)
        made = self._callee(node, runs)
        if made is None:
            self._need(node.id, *entry)
        return made or node

    def _constant(self, node: ast.Name, entry: tuple[Any, Namespace], here: Here) -> Any:
        """What a constant stands for, if that was decided here; else its own expression."""
        value = entry[0].value
        runs = self._runs(node, here)
        if runs and isinstance(value, (ast.Name, ast.Call)):
            self.trace.ran.setdefault((here.path, value), runs)
        return self.write(value, replace(here, namespace=entry[1], use=node))

    def _need(self, name: str, decl: Any, home: Namespace) -> None:
        if self.needed.setdefault(name, (decl, home))[0] is not decl:
            raise Conflict

    def _runs(self, node: Any, here: Here) -> list[Ran]:
        return [r for r in self.trace.ran.get((here.path, node), []) if r.path.startswith(here.within)]

    def _callee(self, node: Any, runs: list[Ran]) -> Any:
        """The name of the variant that all runs used; None for the original."""
        found = dict.fromkeys(self._variant(r) for r in runs if hasattr(r.recipe, "decl"))
        if len(found) > 1:
            raise Conflict
        variant = next(iter(found), None)
        return ast.Name(node.span, variant.name) if variant is not None else None

    def _call(self, node: ast.Call, here: Here) -> Any:
        runs = [r for r in self._runs(node, here) if hasattr(r.recipe, "decl")]
        if runs and self.inline and all(_one_choice(r.recipe, self.main) and self._configures(node, r.recipe) for r in runs):
            return self._alike(self._inlined(node, r, here) for r in runs)
        try:
            arguments = self._fields(node.arguments, here)
            function = self._callee(node, runs) or self.write(node.function, here)
        except Conflict:
            if not runs or not all(self._configures(node, r.recipe) for r in runs):
                raise
            return self._alike(self._inlined(node, r, here) for r in runs)
        if arguments is node.arguments and function is node.function:
            return node
        return replace(node, function=function, arguments=arguments)

    def _alike(self, written: Iterable[Any]) -> Any:
        found = {unparse(w): w for w in written}
        if len(found) > 1:
            raise Conflict
        return next(iter(found.values()))

    # ---- blocks in place ----

    def _configures(self, node: ast.Call, recipe: Any) -> bool:
        """Whether a call gives a block its parameters and nothing else, so that the block's body can stand in its place."""
        return (
            isinstance(recipe.decl, ast.BlockDecl)
            and isinstance(node.function, (ast.Name, ast.Attribute))
            and len(recipe.args) == len(node.arguments)
            and not any(isinstance(v, Value) for v in recipe.args.values())
        )

    def _inlined(self, node: ast.Call | ast.Name, ran: Ran, here: Here) -> Any:
        """A block's body in place of its call, what was given put in for the parameters."""
        decl = ran.recipe.decl
        inner = Here(ran.path, ran.recipe.namespace)
        arguments = node.arguments if isinstance(node, ast.Call) else []
        named = {a.name: a.value for a in arguments if a.name is not None}
        positional = iter([a.value for a in arguments if a.name is None])
        env: dict[str, tuple[Any, Here]] = {}
        for parameter in decl.parameters:
            given = named.get(parameter.name)
            if given is None and parameter.name in ran.recipe.args:
                given = next(positional)
            default = self._default(parameter, inner) if given is None else None
            env[parameter.name] = (given, here) if given is not None else (default, replace(inner, env=dict(env)))
        inner = replace(inner, env=env)
        if decl.on is None and decl.body.expression is not None:
            return self.write(decl.body.expression, inner)
        body = self.write(decl.body, inner)
        if decl.on is not None:
            at = decl.span
            statements = [ast.Input(at, "x", at, self.write(decl.on, inner), False, None)]
            if body.expression is None:
                raise Conflict
            body = ast.Body(at, [*statements, ast.Return(at, [ast.Pipe(at, [ast.Name(at, "x"), body.expression])])])
        return ast.Lambda(decl.span, body)

    # ---- closures ----

    def _closure(self, node: Any, here: Here) -> Any:
        runs = self._runs(node, here)
        if not runs:
            return self._fields(node, here)
        changed: dict[str, Any] = {}
        for f in dataclasses.fields(node):
            old = getattr(node, f.name)
            if isinstance(old, ast.Body):
                new = self._body(old, [r for r in runs if r.span is old.span], here)
            elif isinstance(old, (ast.Node, list)):
                where = here if isinstance(node, ast.Lambda) else replace(here, path=runs[0].user)
                new = self._fields(old, where) if isinstance(old, list) else self.write(old, where)
            else:
                continue
            if new is not old:
                changed[f.name] = new
        return replace(node, **changed) if changed else node

    def _body(self, body: ast.Body, runs: list[Ran], here: Here) -> ast.Body:
        """A body that reads the same in all its runs."""
        found = {unparse(ast.Lambda(body.span, b)): b for b in (self.write(body, self._inside(r, here)) for r in runs)}
        if len(found) > 1:
            raise Conflict
        return next(iter(found.values()), body)

    def _inside(self, ran: Ran, here: Here) -> Here:
        return replace(here, path=ran.path, within="")

    def _repeat(self, node: ast.Repeat, here: Here) -> Any:
        runs = self._runs(node, here)
        if not runs:
            return self._fields(node, here)
        uses: dict[str, list[Ran]] = {}
        for ran in runs:
            uses.setdefault(ran.path.rpartition(".")[0], []).append(ran)
        return self._alike(self._rounds(node, rounds, here) for rounds in uses.values())

    def _rounds(self, node: ast.Repeat, runs: list[Ran], here: Here) -> Any:
        """A repeat as it ran: itself if all rounds are alike, else a pipe of the runs of equal rounds."""
        count = self.write(node.count, replace(here, path=runs[0].user))
        groups: list[list[Any]] = []
        for i, ran in enumerate(runs):
            body = self.write(node.body, self._inside(ran, here))
            text = unparse(ast.Lambda(body.span, body))
            if groups and groups[-1][0] == text:
                groups[-1][2] += 1
            else:
                groups.append([text, body, 1, i])
        if len(groups) == 1:
            body = groups[0][1]
            return node if body is node.body and count is node.count else replace(node, count=count, body=body)
        if node.reversible:
            return _branches(node, count, groups)
        return ast.Pipe(node.span, [part for g in groups for part in self._group(node, *g[1:])])

    def _group(self, node: ast.Repeat, body: ast.Body, times: int, start: int) -> list[Any]:
        from archdsl.elaboration.kinds import free_names

        at = node.span
        if node.variable is not None and node.variable in free_names(body):
            return [ast.Repeat(at, node.variable, self._indices(node, start, times), body)]
        if times > 1:
            return [ast.Repeat(at, None, ast.Number(at, times), body)]
        if body.expression is None or isinstance(body.expression, (ast.Pipe, ast.Labelled)):
            return [ast.Lambda(at, body)]
        return [body.expression]

    def _indices(self, node: ast.Repeat, start: int, times: int) -> Any:
        """The indices of some rounds; a count or a range that begins at a plain number can be cut."""
        at, count = node.span, node.count
        if isinstance(count, ast.Range):
            if not isinstance(count.low, ast.Number):
                raise Conflict
            start += int(count.low.value)
        elif not isinstance(count, (ast.Number, ast.Name)):
            raise Conflict
        return ast.Range(at, ast.Number(at, start), ast.Number(at, start + times), False)


def _branches(node: ast.Repeat, count: Any, groups: list[list[Any]]) -> ast.Repeat:
    """A reversible repeat cannot be cut: its rounds choose by their index."""
    at = node.span
    if node.variable is not None or any(g[1].expression is None for g in groups):
        raise Conflict
    name = ast.Name(at, "round_index")
    *former, last = groups
    body = last[1].expression
    for _, each, times, start in reversed(former):
        body = ast.If(at, ast.Binary(at, "<", name, ast.Number(at, start + times)), each.expression, body)
    indices = ast.Range(at, ast.Number(at, 0), count, False)
    return ast.Repeat(at, name.id, indices, ast.Body(at, [], body), True)


def _one_choice(recipe: Any, main: Namespace) -> bool:
    """Whether a block of the file is nothing but a choice."""
    decl = getattr(recipe, "decl", None)
    return recipe.namespace is main and isinstance(decl, ast.BlockDecl) and decl.on is None and isinstance(decl.body.expression, ast.Choice)
