"""From syntax to scalar expressions: the right-hand sides of acts (and of a scan's element-wise parts).

Acts may call acts; a callee is written out in place. A callee with a declared `backward` becomes a Custom node, so its slope survives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import NoReturn, Union

from archdsl.diagnostics import ArchError, Diagnostic, Label, Span, did_you_mean
from archdsl.graph import expressions as ex
from archdsl.graph.calculus import derivative
from archdsl.graph.expressions import Const, Expr
from archdsl.graph.functions import CONSTANTS, FUNCTIONS, OPERATORS
from archdsl.language import syntax

MAX_NODES = 5_000  # applications one act may be written out to
MAX_HEIGHT = 100  # operators and calls stacked in each other, callees included

Entry = Union[Expr, int, float, Fraction]
Resolve = Callable[[str], "syntax.ActDecl | tuple[syntax.ActDecl, Resolve] | None"]

_VARIADIC = ("max", "min")
_MACROS = ("clamp",)


def lower(node: syntax.Expr, env: Mapping[str, Entry], resolve: Resolve) -> Expr:
    """The expression of a syntax tree.

    env: what names stand for (expressions or numbers). resolve: the act a name stands for where the text was written, alone or with the
    resolver of the place it was declared; None if it is no act. Raises ArchError.
    """
    return Lowering(resolve).expression(node, env)


def fail(
    code: str, title: str, span: Span | None, label: str = "", *, labels: tuple[Label, ...] = (), note: str = "", hint: str = ""
) -> NoReturn:
    """Stops with a diagnostic."""
    raise ArchError(Diagnostic(code, title, span, label, labels, note, hint))


class Lowering:
    """One act being written out: what its names mean, which acts are open (against recursion), and the budget."""

    def __init__(self, resolve: Resolve):
        self.resolve = resolve
        self.open: list[syntax.ActDecl] = []
        self.done: dict[tuple[object, ...], Expr] = {}  # acts already written out, by what they were given
        self.nodes = 0
        self.height = 0

    def expression(self, node: syntax.Expr, env: Mapping[str, Entry]) -> Expr:
        self.nodes += 1
        self.height += 1
        if self.nodes > MAX_NODES or self.height > MAX_HEIGHT:
            fail(
                "AD0284", "this activation is too large when written out", node.span, "the limit is reached here",
                note=f"At most {MAX_NODES:,} operations, at most {MAX_HEIGHT} inside each other, counting the acts it calls.",
            )  # fmt: skip
        try:
            return self._expression(node, env)
        finally:
            self.height -= 1

    def _expression(self, node: syntax.Expr, env: Mapping[str, Entry]) -> Expr:
        if isinstance(node, syntax.Number):
            return ex.const(node.value)
        if isinstance(node, syntax.Bool):
            return ex.call("eq", 0, 0 if node.value else 1)
        if isinstance(node, syntax.Name) and not node.primed:
            return self._name(node, env)
        if isinstance(node, syntax.Unary):
            operand = self.expression(node.operand, env)
            return ex.call("neg" if node.op == "-" else "not_", operand)
        if isinstance(node, syntax.Binary) and node.op in OPERATORS:
            return ex.call(OPERATORS[node.op], self.expression(node.left, env), self.expression(node.right, env))
        if isinstance(node, syntax.If):
            return ex.call("where", *(self.expression(part, env) for part in (node.condition, node.then, node.otherwise)))
        if isinstance(node, syntax.Call):
            return self._call(node, env)
        if isinstance(node, syntax.Pipe):
            return self._pipe(node, env)
        what = f"`{node.op}` works on" if isinstance(node, syntax.Binary) else "this is for"
        fail(
            "AD0282", "an activation works entry by entry", node.span, f"{what} whole tensors or other things than numbers",
            hint="Use arithmetic, comparisons, if-then-else and scalar functions here; put anything else in a block.",
        )  # fmt: skip

    def _pipe(self, node: syntax.Pipe, env: Mapping[str, Entry]) -> Expr:
        value = self.expression(node.stages[0], env)
        for stage in node.stages[1:]:
            if isinstance(stage, syntax.Name):
                value = self._apply(stage, stage, [value], {}, {}, env)
            elif isinstance(stage, syntax.Call) and isinstance(stage.function, syntax.Name):
                value = self._apply(stage, stage.function, [value], self._statics(stage, env), {}, env)
            else:
                fail("AD0282", "an activation works entry by entry", stage.span, "only functions and acts can stand here")
        return value

    def _name(self, node: syntax.Name, env: Mapping[str, Entry]) -> Expr:
        if node.id in env:
            return entry(env[node.id])
        if node.id in CONSTANTS:
            return ex.const(CONSTANTS[node.id])
        if self._act(node.id) is not None or node.id in _callable() or node.id in _MACROS:
            fail("AD0282", f"`{node.id}` is a function here without an argument", node.span, hint=f"Apply it: `{node.id}(x)`.")
        near = did_you_mean(node.id, {*env, *CONSTANTS})
        hint = f"Did you mean `{near}`?" if near else f"Known here: {', '.join(sorted(env))}." if env else ""
        fail("AD0280", f"`{node.id}` is not known in this activation", node.span, "no input, parameter or constant", hint=hint)

    # ---- calls ----

    def _call(self, node: syntax.Call, env: Mapping[str, Entry]) -> Expr:
        function, statics = node.function, {}
        if isinstance(function, syntax.Call):  # elu(alpha=0.5)(x): the static group comes first
            statics = self._statics(function, env)
            function = function.function
        if not isinstance(function, syntax.Name):
            fail("AD0282", "an activation works entry by entry", function.span, "only functions and acts can be called here")
        values: list[Expr] = []
        named: dict[str, tuple[Expr, Span]] = {}
        for argument in node.arguments:
            value = self.expression(argument.value, env)
            if argument.name is None:
                values.append(value)
            else:
                named[argument.name] = value, argument.span
        return self._apply(node, function, values, statics, named, env)

    def _statics(self, node: syntax.Call, env: Mapping[str, Entry]) -> dict[str | int, tuple[Expr, Span]]:
        """The arguments of a static group, by name or position."""
        found: dict[str | int, tuple[Expr, Span]] = {}
        for i, argument in enumerate(node.arguments):
            found[argument.name if argument.name is not None else i] = self.expression(argument.value, env), argument.span
        return found

    def _act(self, name: str) -> tuple[syntax.ActDecl, Resolve] | None:
        found = self.resolve(name)
        return found if found is None or isinstance(found, tuple) else (found, self.resolve)

    def _apply(
        self,
        node: syntax.Expr,
        function: syntax.Name,
        values: list[Expr],
        statics: Mapping[str | int, tuple[Expr, Span]],
        named: Mapping[str, tuple[Expr, Span]],
        env: Mapping[str, Entry],
    ) -> Expr:
        name = function.id
        act = None if name in env else self._act(name)
        if act is not None:
            return self._inline(node, *act, values, statics, named)
        if name in env:
            fail("AD0282", f"`{name}` is a value, not a function", function.span, hint=f"To multiply, write `{name} * (...)`.")
        if statics or named:
            span = next(iter([*named.values(), *statics.values()]))[1]
            fail("AD0281", f"`{name}` takes no named or static arguments", span)
        return builtin(function, values, node.span)

    def _inline(
        self,
        node: syntax.Expr,
        decl: syntax.ActDecl,
        resolve: Resolve,
        values: list[Expr],
        statics: Mapping[str | int, tuple[Expr, Span]],
        named: Mapping[str, tuple[Expr, Span]],
    ) -> Expr:
        here = Label(decl.name_span, "declared here")
        if len(values) != len(decl.inputs):
            count = len(decl.inputs)
            fail("AD0281", f"`{decl.name}` takes {count} value{'s' if count != 1 else ''}, not {len(values)}", node.span, labels=(here,))
        given: dict[str, Entry] = {}
        names = [p.name for p in decl.parameters]
        for key, (value, span) in [*statics.items(), *named.items()]:
            name = names[key] if isinstance(key, int) and key < len(names) else key
            learned = any(p.name == name for p in decl.learned)
            if not isinstance(name, str) or (name not in names and not learned):
                fail("AD0281", f"`{decl.name}` has no parameter {key}", span, labels=(here,))
            if not learned and not isinstance(value, Const):
                fail("AD0281", f"`{name}` of {decl.name} must be a number known beforehand", span, labels=(here,))
            given[name] = value
        for p in decl.learned:
            if p.name not in given:
                fail(
                    "AD0281", f"`{decl.name}` learns `{p.name}`, so a call inside an activation must give it", node.span, labels=(here,),
                    hint=f"Write `{decl.name}({'x, ' * len(values)}{p.name}=…)` with a number or a learned parameter of this act.",
                )  # fmt: skip
        made = (decl, *values, *sorted(given.items(), key=lambda item: item[0]))
        if made not in self.done:
            self.done[made] = self.body(decl, dict(zip(decl.inputs, values)), given, resolve, node.span)
        return self.done[made]

    def body(self, decl: syntax.ActDecl, inputs: Mapping[str, Expr], given: Mapping[str, Entry], resolve: Resolve, span: Span) -> Expr:
        """An act's value for given inputs; static parameters not given take their defaults."""
        distinct(decl)
        if decl in self.open:
            fail("AD0283", f"the activation `{decl.name}` uses itself", span, labels=(Label(decl.name_span, "declared here"),))
        outer, self.resolve = self.resolve, resolve
        self.open.append(decl)
        try:
            env = self.environment(decl, given)
            if decl.backward is None:
                return self.expression(decl.forward, {**env, **inputs})
            return self._declared(decl, decl.backward, inputs, env)
        finally:
            self.open.pop()
            self.resolve = outer

    def _declared(self, decl: syntax.ActDecl, backward: syntax.Expr, inputs: Mapping[str, Expr], env: dict[str, Entry]) -> Expr:
        """An act with its own backward: that is the slope of its input; the slopes of learned parameters follow from the formula."""
        if len(decl.inputs) != 1:
            fail(
                "AD0288", "a declared `backward` needs an activation of one input", backward.span,
                f"{decl.name} has {len(decl.inputs)} inputs", hint="Leave it out: the derivative is worked out from the formula.",
            )  # fmt: skip
        (name,) = decl.inputs
        outside = {name: inputs[name], **{k: entry(v) for k, v in env.items()}}
        inside = {k: v if isinstance(v, Const) else ex.var(k) for k, v in outside.items()}
        value = self.expression(decl.forward, inside)
        names = [k for k, v in inside.items() if k == name or not isinstance(v, Const)]
        slopes = [self.expression(backward, inside) if k == name else derivative(value, k) for k in names]
        return ex.custom(ex.substitute(value, outside), [outside[k] for k in names], [ex.substitute(s, outside) for s in slopes])

    def environment(self, decl: syntax.ActDecl, given: Mapping[str, Entry]) -> dict[str, Entry]:
        """Parameters by name: what was given, else the default (which may use earlier parameters)."""
        env: dict[str, Entry] = {}
        for p in decl.parameters:
            if p.name in given:
                env[p.name] = given[p.name]
            elif p.default is None:
                fail("AD0281", f"`{decl.name}` needs a value for `{p.name}`", decl.name_span, hint=f"Write `{decl.name}({p.name}=…)`.")
            else:
                env[p.name] = ex.const(self.number(p.default, env, f"`{p.name}` of {decl.name}"))
        env.update({k: v for k, v in given.items() if k not in env})
        return env

    def number(self, node: syntax.Expr, env: Mapping[str, Entry], what: str) -> int | float:
        """The number an expression is, known beforehand."""
        value = self.expression(node, env)
        if not isinstance(value, Const) or isinstance(value.value, complex):
            fail("AD0281", f"{what} must be a number known beforehand", node.span)
        return value.value


def distinct(decl: syntax.ActDecl) -> None:
    """Requires an input, and names of their own for inputs and parameters."""
    names = [*decl.inputs, *(p.name for p in decl.parameters), *(p.name for p in decl.learned)]
    if not decl.inputs:
        fail("AD0286", f"the activation `{decl.name}` has no input", decl.name_span, hint=f"Write `act {decl.name}(x) = …`.")
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        fail("AD0286", f"`{decl.name}` uses the name `{twice}` twice", decl.name_span, "inputs and parameters need names of their own")


def entry(value: Entry) -> Expr:
    """What a name stands for as an expression."""
    if isinstance(value, Expr):
        return value
    if isinstance(value, Fraction):
        value = value.numerator if value.denominator == 1 else float(value)
    return ex.const(value)


def builtin(function: syntax.Name, values: list[Expr], span: Span) -> Expr:
    """A function of the table, or a short form of several."""
    name = function.id
    if name == "clamp":
        _arity(name, 3, values, span)
        return ex.call("min", ex.call("max", values[0], values[1]), values[2])
    if name in _VARIADIC and len(values) > 2:
        result = values[0]
        for value in values[1:]:
            result = ex.call(name, result, value)
        return result
    if name not in _callable():
        near = did_you_mean(name, {*_callable(), *_MACROS})
        fail(
            "AD0280", f"there is no function or activation `{name}`", function.span, "not known here",
            hint=f"Did you mean `{near}`?" if near else "Import the file that declares it.",
        )  # fmt: skip
    _arity(name, FUNCTIONS[name].arity, values, span)
    return ex.call(name, *values)


def _callable() -> set[str]:
    """Functions that an act may call by name."""
    return {name for name, row in FUNCTIONS.items() if row.named}


def _arity(name: str, arity: int, values: list[Expr], span: Span) -> None:
    if len(values) != arity:
        fail("AD0281", f"`{name}` takes {arity} value{'s' if arity != 1 else ''}, not {len(values)}", span)
