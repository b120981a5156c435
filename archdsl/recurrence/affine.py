"""Affine forms of a step's tensors: each entry as a sum of coefficients times entries of states, plus what reads no state.

Follows the equations in order, through temporaries and sums; what is not affine raises NotAffine with the smallest expression that is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from archdsl.graph.expressions import ZERO, Const, Custom, Expr, Var, call, const, substitute
from archdsl.recurrence.algebra import indices, is_call, powers, product, reads
from archdsl.recurrence.step import INDICES, Equation, Step, Tensor, access, parse_access, reindexed, split_index

Sums = tuple[tuple[str, int], ...]
SUM_NAMES = "sprquvwxyzabcdefgh"


class NotAffine(Exception):
    """`expr` (in `equation`) depends on the state and is not affine in it."""

    def __init__(self, expr: Expr, why: str) -> None:
        super().__init__(why)
        self.expr, self.why = expr, why
        self.equation: Equation | None = None


@dataclass(frozen=True)
class Mono:
    """coefficient * state[at], summed over `sums`."""

    state: str
    at: tuple[str, ...]
    coefficient: Expr
    sums: Sums = ()


@dataclass(frozen=True)
class Form:
    """The sum of terms plus `free`, which reads no state."""

    free: Expr
    terms: tuple[Mono, ...] = ()


def shifted(index: str, names: Mapping[str, str]) -> str:
    """An index text renamed, as `reindexed` renames accesses."""
    return parse_access(_as_var(reindexed(access("x", (index,)), names)))[1][0]


def _as_var(node: Expr) -> Var:
    assert isinstance(node, Var)
    return node


class Linear:
    """Affine forms of the equations that depend on some states.

    states: the names of the states before the step. equations: those that depend on them, in order; `forms` holds each one's form by tensor.
    Sums of state-free values that come up on the way become equations of their own (`prepare`), of new tensors (`tensors`).
    """

    def __init__(self, step: Step, states: Iterable[str], diagonals: Mapping[str, Expr], made: Iterable[Tensor] = ()) -> None:
        self.step = step
        self.states = set(states)
        self.diagonals = dict(diagonals)
        self.forms: dict[str, list[tuple[Equation, Form]]] = {}
        self.prepare: list[Equation] = []
        self.tensors: list[Tensor] = []
        self.shapes = {t.name: t.shape for t in (*step.tensors, *made)}
        self.sizes: dict[str, int] = {}
        self._count = itertools.count(1)

    def add(self, equation: Equation) -> None:
        """Works out the form of an equation that depends on the states. Raises NotAffine."""
        try:
            self.forms.setdefault(equation.target, []).append((equation, self._form(equation)))
        except NotAffine as problem:
            problem.equation = problem.equation or equation
            raise

    def _form(self, equation: Equation) -> Form:
        self.sizes.update(equation.free)
        names = {s: f"s{next(self._count)}" for s, _ in equation.sums}
        self.sizes.update({names[s]: size for s, size in equation.sums})
        try:
            form = self.of(reindexed(equation.body, names))
        except NotAffine as problem:
            problem.expr = reindexed(problem.expr, {new: old for old, new in names.items()})
            raise
        for name in names.values():
            form = self._summed(form, name, equation)
        return self._merged(form)

    # ---- expressions ----

    def of(self, root: Expr) -> Form:
        """The affine form of an expression in the indices of the equation at hand."""
        done: dict[Expr, Form] = {}
        stack = [root]
        while stack:
            node = stack[-1]
            if node in done:
                stack.pop()
            elif isinstance(node, Var) or not self.stateful(node):
                done[node] = self._variable(node) if isinstance(node, Var) else Form(node)
                stack.pop()
            elif isinstance(node, Custom):
                raise NotAffine(node, "it is an act with a backward of its own, applied to the state")
            else:
                missing = [a for a in node.args if a not in done]
                if missing:
                    stack += missing
                else:
                    done[node] = self._apply(node, done)
                    stack.pop()
        return done[root]

    def stateful(self, node: Expr) -> bool:
        return any(name in self.states or name in self.forms for name in {parse_access(v)[0] for v in reads(node)})

    def _variable(self, node: Var) -> Form:
        name, at = parse_access(node)
        if name in self.states:
            return Form(ZERO, (Mono(name, at, const(1)),))
        if name in self.forms:
            return self._instance(name, at, node)
        return Form(node)

    def _instance(self, name: str, at: tuple[str, ...], node: Var) -> Form:
        """The form of a temporary, at other indices."""
        for equation, form in reversed(self.forms[name]):
            names = self._fit(equation, at, node)
            if names is None:
                continue
            terms = []
            for term in form.terms:
                renamed = dict(names)
                sums = []
                for s, size in term.sums:
                    renamed[s] = f"s{next(self._count)}"
                    self.sizes[renamed[s]] = size
                    sums.append((renamed[s], size))
                terms.append(
                    Mono(term.state, tuple(shifted(a, renamed) for a in term.at), reindexed(term.coefficient, renamed), tuple(sums))
                )
            return Form(reindexed(form.free, names), tuple(terms))
        raise NotAffine(node, "it is read across parts that are written separately")

    def _fit(self, equation: Equation, at: Sequence[str], node: Var) -> dict[str, str] | None:
        names = fit(equation, at, self.sizes)
        if isinstance(names, str):
            raise NotAffine(node, "it is read across parts that are written separately")
        return names

    def _apply(self, node: Expr, done: Mapping[Expr, Form]) -> Form:
        args = [done[a] for a in node.args]
        if is_call(node, "add", "sub"):
            return _plus(args[0], args[1] if is_call(node, "add") else _scaled(args[1], const(-1)))
        if is_call(node, "neg"):
            return _scaled(args[0], const(-1))
        if is_call(node, "mul"):
            a, b = args
            if a.terms and b.terms:
                raise NotAffine(node, "both factors depend on the state")
            return _scaled(a, b.free) if a.terms else _scaled(b, a.free)
        if is_call(node, "div"):
            if args[1].terms:
                raise NotAffine(node, "it divides by what depends on the state")
            below = args[1].free
            quotients = tuple(replace(t, coefficient=call("div", t.coefficient, below)) for t in args[0].terms)
            return Form(call("div", args[0].free, below), quotients)
        if is_call(node, "where") and not args[0].terms:
            condition, a, b = args[0].free, args[1], args[2]
            chosen = tuple(replace(t, coefficient=call("where", condition, t.coefficient, 0)) for t in a.terms)
            other = tuple(replace(t, coefficient=call("where", condition, 0, t.coefficient)) for t in b.terms)
            return Form(call("where", condition, a.free, b.free), chosen + other)
        if not any(a.terms for a in args):  # the state cancelled out
            return Form(call(node.function, *(a.free for a in args)))  # type: ignore[attr-defined]
        raise NotAffine(node, _why(node))

    # ---- sums ----

    def _summed(self, form: Form, name: str, equation: Equation) -> Form:
        """The form summed over one index."""
        terms: list[Mono] = []
        for term in form.terms:
            if name in {split_index(a)[0] for a in term.at}:
                terms.append(self._undelta(Mono(term.state, term.at, term.coefficient, (*term.sums, (name, self.sizes[name])))))
            else:
                terms.append(replace(term, coefficient=self.total(term.coefficient, name, equation)))
        return Form(self.total(form.free, name, equation), tuple(terms))

    def total(self, value: Expr, name: str, equation: Equation) -> Expr:
        """A state-free value summed over an index: read from a tensor of its own."""
        if value is ZERO:
            return ZERO
        if name not in indices(value):
            return call("mul", self.sizes[name], value)
        diagonal = next(
            (d for x in sorted(indices(value) - {name}) if (d := diagonal_of(value, x, name, self.diagonals)) is not None), None
        )
        if diagonal is not None:
            return diagonal
        factors = powers(value)
        outside = product({x: n for x, n in factors.items() if name not in indices(x)})
        inside = product({x: n for x, n in factors.items() if name in indices(x)})
        kept = sorted(indices(inside) - {name})
        names = dict(zip(kept, INDICES)) | {name: "s"}
        shape = tuple(self.sizes[k] for k in kept)
        target = self.declare("sum", shape)
        at = tuple(INDICES[: len(kept)])
        self.prepare.append(
            Equation(target, at, tuple(zip(at, shape)), (("s", self.sizes[name]),), reindexed(inside, names), equation.span)
        )
        return call("mul", outside, access(target, tuple(kept)))

    def declare(self, base: str, shape: tuple[int, ...]) -> str:
        name, count = base, 1
        while name in self.shapes:
            count += 1
            name = f"{base}_{count}"
        self.shapes[name] = shape
        self.tensors.append(Tensor(name, shape, "temporary"))
        return name

    def _undelta(self, term: Mono) -> Mono:
        """Takes out a sum against a matrix that is zero off its diagonal."""
        for name, size in term.sums:
            for x in sorted(indices(term.coefficient) - {name}):
                if self.sizes.get(x) != size:
                    continue
                value = diagonal_of(term.coefficient, x, name, self.diagonals)
                if value is not None:
                    rest = tuple(s for s in term.sums if s[0] != name)
                    return self._undelta(Mono(term.state, tuple(shifted(a, {name: x}) for a in term.at), value, rest))
        return term

    # ---- tidying ----

    def _merged(self, form: Form) -> Form:
        """Terms of the same entry added; those that cancel dropped."""
        found: dict[tuple[str, tuple[str, ...], Sums], Expr] = {}
        for term in form.terms:
            named = sum_names_tidied(term)
            key = (named.state, named.at, named.sums)
            found[key] = call("add", found.get(key, ZERO), named.coefficient)
        return Form(form.free, tuple(Mono(s, at, c, sums) for (s, at, sums), c in found.items() if c is not ZERO))


def fit(equation: Equation, at: Sequence[str], sizes: Mapping[str, int]) -> dict[str, str] | str | None:
    """How to rename an equation's indices so that it gives the entry `at`; None if it writes no such entry, "part" if it writes some only."""
    own_sizes = dict(equation.free)
    names: dict[str, str] = {}
    partial = False
    for own, wanted in zip(equation.at, at):
        base, offset = split_index(own)
        name, shift = split_index(wanted)
        size = own_sizes[base] if base else 1
        extent = sizes[name] if name else 1
        if shift + extent <= offset or shift >= offset + size:
            return None
        moved = f"{name}+{shift - offset}" if name and shift != offset else name or str(shift - offset)
        partial |= shift < offset or shift + extent > offset + size
        partial |= bool(base) and names.setdefault(base, moved) != moved
    return "part" if partial else names


def sum_names_tidied(term: Mono) -> Mono:
    """Summed indices named s, p, r, … in the order in which the access has them."""
    at = [split_index(a)[0] for a in term.at]
    used = {n for n in {*at, *indices(term.coefficient)} if n and n not in dict(term.sums)}
    free = (n for n in SUM_NAMES if n not in used)
    ordered = sorted(term.sums, key=lambda s: at.index(s[0]) if s[0] in at else len(at))
    names = {s: next(free) for s, _ in ordered}
    return Mono(
        term.state,
        tuple(shifted(a, names) for a in term.at),
        reindexed(term.coefficient, names),
        tuple((names[s], size) for s, size in ordered),
    )


def _plus(a: Form, b: Form) -> Form:
    return Form(call("add", a.free, b.free), a.terms + b.terms)


def _scaled(form: Form, factor: Expr) -> Form:
    return Form(call("mul", factor, form.free), tuple(replace(t, coefficient=call("mul", factor, t.coefficient)) for t in form.terms))


_COMPARISONS = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "not_", "where"))


def _why(node: Expr) -> str:
    function = getattr(node, "function", "")
    if function in _COMPARISONS:
        return "which way it goes depends on the state"
    if function in ("max", "min"):
        return "which side is taken depends on the state"
    if function in ("square", "pow"):
        return "the state is multiplied by itself"
    return f"{function} of the state is not affine in the state"


# ---- matrices that are zero off their diagonal ------------------------------------------------------------------------------------------


def diagonal_of(value: Expr, x: str, y: str, known: Mapping[str, Expr]) -> Expr | None:
    """`value` with y set to x, if it is zero wherever x and y differ; None if that is not plain to see."""
    if not zero_off(value, x, y, known):
        return None
    fixed = {}
    for node in reads(value):
        name, at = parse_access(node)
        if name in known and set(at) == {x, y} and len(at) == 2:
            fixed[node.name] = reindexed(known[name], {"i": x})
    return reindexed(substitute(value, fixed), {y: x})


def zero_off(value: Expr, x: str, y: str, known: Mapping[str, Expr]) -> bool:
    if isinstance(value, Const):
        return value is ZERO
    if isinstance(value, Var):
        name, at = parse_access(value)
        return name in known and len(at) == 2 and set(at) == {x, y}
    if is_call(value, "mul"):
        return any(zero_off(a, x, y, known) for a in value.args)
    if is_call(value, "add", "sub"):
        return all(zero_off(a, x, y, known) for a in value.args)
    if is_call(value, "neg", "div"):
        return zero_off(value.args[0], x, y, known)
    return is_call(value, "where") and all(zero_off(a, x, y, known) for a in value.args[1:])


def diagonals(step: Step) -> dict[str, Expr]:
    """Square tensors that are zero off their diagonal, with the diagonal in the index i."""
    found: dict[str, Expr] = {}
    zero: set[str] = set()
    for equation in step.equations:
        shape = step.tensor(equation.target).shape
        if len(shape) != 2 or shape[0] != shape[1]:
            continue
        if equation.body is ZERO and not equation.sums:
            zero.add(equation.target)
        elif equation.at == ("i", "i") and equation.target in zero:
            found[equation.target] = equation.body
        elif equation.at == ("i", "j"):
            value = _diagonal_product(equation, found)
            if value is not None:
                found[equation.target] = value
        else:
            found.pop(equation.target, None)
    return found


def _diagonal_product(equation: Equation, known: Mapping[str, Expr]) -> Expr | None:
    body = equation.body
    for name, _ in equation.sums:
        for x in ("i", "j"):
            value = diagonal_of(body, x, name, known)
            if value is not None:
                body = value
                break
        else:
            return None
    return diagonal_of(body, "i", "j", known)
