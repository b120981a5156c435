"""The class of a group whose next states are affine in its states: diagonal, matrix, delta, block diagonal or dense."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from archdsl.graph.expressions import ONE, ZERO, Apply, Expr, call, const, order
from archdsl.recurrence.affine import Form, Linear, Mono, NotAffine
from archdsl.recurrence.algebra import addends, bounds, indices, log_of, powers, product, summed, tensors
from archdsl.recurrence.classes import (
    AffineGroup,
    BlockDiagonalGroup,
    Decay,
    DeltaGroup,
    DenseGroup,
    DiagonalGroup,
    MatrixGroup,
    Outer,
    Removal,
    Term,
    Turn,
)
from archdsl.recurrence.groups import Inliner, Part
from archdsl.recurrence.step import INDICES, Equation, access, reindexed

if TYPE_CHECKING:
    from archdsl.recurrence.classify import Context

ALONG = {frozenset(): "scalar", frozenset("i"): "row", frozenset("j"): "column"}


def affine_group(context: Context, part: Part) -> AffineGroup:
    """Classifies a group, or raises NotAffine."""
    linear = Linear(context.step, part.states, context.diagonals)
    for equation in part.stateful:
        linear.add(equation)
    maker = _Maker(context, part, linear)
    forms = {state: maker.whole(state) for state in part.states}
    made = tuple(linear.prepare)
    context.free += made
    maker.inline = Inliner(context.free, keep=[s.after for s in context.step.states])
    maker.varying = context.dependence.varying(made)
    group = maker.single(part.states[0], forms[part.states[0]]) if len(part.states) == 1 else maker.several(forms)
    return replace(group, prepare=(*part.free, *linear.prepare), tensors=tuple(linear.tensors), equations=part.stateful)


class _Update(NamedTuple):
    """The affine update of one state: its terms, its bias, and the factor on its own entry."""

    states: tuple[str, ...]
    shape: tuple[int, ...]
    terms: tuple[Term, ...]
    bias: dict[str, Expr]
    decay: Decay


class _Maker:
    def __init__(self, context: Context, part: Part, linear: Linear) -> None:
        self.context, self.part, self.linear = context, part, linear
        self.inline = context.inline
        self.varying = context.varying

    # ---- the update as one form ----

    def whole(self, state: str) -> Form:
        """The affine form of a next state, in the indices of the state's axes."""
        parts = self.linear.forms[self.context.dependence.after[state]]
        own = tuple(INDICES[: len(self.context.shape(state))])
        if len(parts) == 1 and parts[0][0].at == own:
            return parts[0][1]
        return self._gathered(state, own, parts)

    def _gathered(self, state: str, own: tuple[str, ...], parts: list[tuple[Equation, Form]]) -> Form:
        """A next state written part by part: its coefficients become tensors that are written part by part."""
        shape = self.context.shape(state)
        bias = self._assembled(f"{state}_bias", shape, [(e.at, e.free, f.free, e) for e, f in parts])
        terms = []
        for name in dict.fromkeys(t.state for _, f in parts for t in f.terms):
            same = [(e, t) for e, f in parts for t in f.terms if t.state == name and t.at == e.at and not t.sums]
            if same:
                value = self._assembled(f"{state}_from_{name}", shape, [(e.at, e.free, t.coefficient, e) for e, t in same])
                terms.append(Mono(name, own, value))
        others = [(e, t) for e, f in parts for t in f.terms if t.at != e.at or t.sums]
        for e, t in others:
            size = self.context.shape(t.state)
            if len(shape) != 1 or len(size) != 1:
                raise NotAffine(t.coefficient, "parts of the state are mixed")
            loops = (*e.free, *t.sums)
            matrix = self.linear.declare(f"{state}_matrix", (shape[0], size[0]))
            self.linear.prepare.append(Equation(matrix, ("i", "j"), (("i", shape[0]), ("j", size[0])), (), ZERO, e.span))
            self.linear.prepare.append(Equation(matrix, (e.at[0], t.at[0]), loops, (), t.coefficient, e.span))
            terms.append(Mono(t.state, ("s",), access(matrix, ("i", "s")), (("s", size[0]),)))
        return Form(bias, tuple(terms))

    def _assembled(
        self, base: str, shape: tuple[int, ...], rows: list[tuple[tuple[str, ...], tuple[tuple[str, int], ...], Expr, Equation]]
    ) -> Expr:
        if all(value is ZERO for _, _, value, _ in rows):
            return ZERO
        name = self.linear.declare(base, shape)
        own = tuple(INDICES[: len(shape)])
        self.linear.prepare.append(Equation(name, own, tuple(zip(own, shape)), (), ZERO, rows[0][3].span))
        for at, loops, value, equation in rows:
            self.linear.prepare.append(Equation(name, at, loops, (), value, equation.span))
        return access(name, own)

    # ---- classes ----

    def single(self, state: str, form: Form) -> AffineGroup:
        shape = self.context.shape(state)
        own = tuple(INDICES[: len(shape)])
        sizes = dict(zip(own, shape))
        same = [t for t in form.terms if t.at == own and not t.sums]
        others = [t for t in form.terms if t not in same]
        bias = self.inline(form.free, sizes)
        decay = self.decay(self.inline(same[0].coefficient, sizes) if same else ZERO, own)
        update = _Update((state,), shape, self.terms(state, form), {state: bias}, decay)
        if not others:
            return self.diagonal(update)
        return self.delta(update, others) or self.dense(update, same, others)

    def diagonal(self, update: _Update) -> DiagonalGroup | MatrixGroup:
        states, shape, terms, bias, decay = update
        outers = self.outers(bias[states[0]]) if len(shape) == 2 else None
        when = self.when(decay.value)
        if len(shape) == 2 and decay.along != "entry" and outers:
            what = {
                "none": "nothing decays",
                "scalar": "one decay for the whole state",
                "row": "one decay per row",
                "column": "one decay per column",
            }[decay.along]
            tail = "" if decay.along == "none" else f", {when}"
            reason = f"the state adds outer products; {what}{tail}"
            return MatrixGroup(states=states, reason=reason, terms=terms, bias=bias, decay=decay, outers=outers)
        reason = f"each entry is a coefficient times itself plus an input, the coefficient {when}"
        return DiagonalGroup(states=states, reason=reason, terms=terms, bias=bias, decay=decay, outers=outers or ())

    def delta(self, update: _Update, others: list[Mono]) -> DeltaGroup | None:
        """decay * S minus products of rank one."""
        states, shape, terms, bias, decay = update
        if decay.value is ZERO or (decay.along == "entry" and len(shape) == 2) or len(shape) > 2:
            return None
        accesses = {t.at for t in others}
        sides = {("s", "j"): "row", ("i", "s"): "column", ("s",): "row"}
        if len(accesses) != 1 or next(iter(accesses)) not in sides:
            return None
        side = sides[next(iter(accesses))]
        removals = []
        for term in others:
            for addend in self.summands(self.inline(term.coefficient, {**dict(zip(INDICES, shape)), **dict(term.sums)})):
                removal = self.removal(addend, side, decay)
                if removal is None:
                    return None
                removals.append(removal)
        ranks = "a product of rank one" if len(removals) == 1 else f"{len(removals)} products of rank one"
        first = "the state" if decay.along == "none" else "the decayed state"
        outers = (self.outers(bias[states[0]]) if len(shape) == 2 else None) or ()
        reason = f"{first} less {ranks}" + (": what it holds along a key is replaced" if len(shape) == 2 else "")
        found = tuple(removals)
        return DeltaGroup(states=states, reason=reason, terms=terms, bias=bias, decay=decay, outers=outers, removals=found, side=side)

    def removal(self, coefficient: Expr, side: str, decay: Decay) -> Removal | None:
        """- scale * left * right of a coefficient in the state's index and s."""
        out = "i" if side == "row" else "j"
        factors = powers(coefficient)
        after = decay.along != "none" and self._take_decay(factors, decay, out)
        parts: dict[str, dict[Expr, int]] = {"": {}, out: {}, "s": {}}
        for factor, times in factors.items():
            names = indices(factor)
            if len(names) > 1 or not names <= {out, "s"}:
                return None
            parts[next(iter(names), "")][factor] = times
        left, right = product(parts[out]), reindexed(product(parts["s"]), {"s": out})
        return Removal(call("neg", product(parts[""])), left, right, after)

    def _take_decay(self, factors: dict[Expr, int], decay: Decay, out: str) -> bool:
        """Divides a product by the decay of the summed entry, if it is all there."""
        other = powers(reindexed(decay.value, {out: "s"}))
        if any(factors.get(x, 0) < n or n < 0 for x, n in other.items()):
            return False
        for x, n in other.items():
            factors[x] -= n
            if not factors[x]:
                del factors[x]
        return True

    def dense(self, update: _Update, same: list[Mono], others: list[Mono]) -> DenseGroup:
        states, shape, terms, bias, decay = update
        reason = "each entry is a sum of entries, with coefficients that read no state"
        general = DenseGroup(states=states, reason=reason, terms=terms, bias=bias)
        sides: dict[tuple[str, ...], str] = {("s",): "row"} if len(shape) == 1 else {("s", "j"): "row", ("i", "s"): "column"}
        found = {sides.get(t.at) if len(shape) <= 2 else None for t in others}
        side = next(iter(found))
        fits = {"row": ("none", "scalar", "row"), "column": ("none", "scalar", "column")}.get(side or "", ())
        if len(found) != 1 or side is None or (same and len(shape) == 2 and decay.along not in fits):
            return general
        out = "i" if side == "row" else "j"
        allowed = {out, "s"}
        matrix: Expr = ZERO
        for term in others:
            if not indices(term.coefficient) <= allowed:
                return general
            matrix = call("add", matrix, term.coefficient)
        if same:
            matrix = call("add", matrix, self._on_diagonal(same[0], out, shape[0] if side == "row" else shape[1]))
        matrix = self.inline(matrix, {out: shape[0 if side == "row" else -1], "s": others[0].sums[0][1]})
        reason = f"each entry mixes all entries, by a matrix that is {self.when(matrix)}"
        return replace(general, reason=reason, matrix=matrix, side=side)

    def _on_diagonal(self, term: Mono, out: str, size: int) -> Expr:
        """A matrix with the coefficient of the entry itself on its diagonal, in the indices out and s."""
        name = self.linear.declare("own", (size, size))
        value = reindexed(term.coefficient, {out: "i"})
        self.linear.prepare.append(Equation(name, ("i", "j"), (("i", size), ("j", size)), (), const(0)))
        self.linear.prepare.append(Equation(name, ("i", "i"), (("i", size),), (), value))
        return access(name, (out, "s"))

    def several(self, forms: dict[str, Form]) -> BlockDiagonalGroup | DenseGroup:
        terms = tuple(t for s, f in forms.items() for t in self.terms(s, f))
        bias = {s: self.inline(f.free, self.context.sizes(s)) for s, f in forms.items()}
        shapes = {self.context.shape(s) for s in forms}
        own = tuple(INDICES[: len(next(iter(shapes)))])
        if len(shapes) == 1 and all(t.at == own and not t.sums for t in terms):
            reason = f"{len(forms)} states, each entry an affine function of the same entry of all of them"
            turn = self.turn(tuple(forms), terms)
            if turn is not None:
                reason = f"two states that are one complex number, times a factor that is {self.when(turn.re + turn.im)}"
            return BlockDiagonalGroup(states=tuple(forms), reason=reason, terms=terms, bias=bias, turn=turn)
        reason = f"{len(forms)} states, each an affine function of all of them"
        return DenseGroup(states=tuple(forms), reason=reason, terms=terms, bias=bias)

    def turn(self, states: tuple[str, ...], terms: tuple[Term, ...]) -> Turn | None:
        """The complex factor, if the 2 x 2 matrix of two states is [[a, -b], [b, a]]."""
        if len(states) != 2:
            return None

        def entry(target: int, state: int) -> Expr:
            total: Expr = ZERO
            for term in terms:
                if term.target == states[target] and term.state == states[state]:
                    total = call("add", total, term.coefficient)
            return total

        re, im = entry(0, 0), entry(1, 0)
        alike = {**addends(call("sub", re, entry(1, 1))), **addends(call("add", im, entry(0, 1)))}
        if any(alike.values()) or im is ZERO:
            return None
        return Turn(re, im, not (tensors(re) | tensors(im)) & self.varying)

    # ---- pieces ----

    def terms(self, state: str, form: Form) -> tuple[Term, ...]:
        sizes = self.context.sizes(state)
        return tuple(Term(state, t.state, t.at, self.inline(t.coefficient, {**sizes, **dict(t.sums)}), t.sums) for t in form.terms)

    def when(self, value: Expr) -> str:
        """Where a coefficient comes from, in words."""
        names = tensors(value)
        if not names & self.varying:
            return "the same at all times"
        states = {n for s in self.context.step.states for n in (s.before, s.after)}
        return "read from other states only" if names & states else "read from the inputs only"

    def decay(self, value: Expr, own: tuple[str, ...]) -> Decay:
        names = indices(value)
        along = "none" if value is ONE else ALONG.get(frozenset(names), "entry") if len(own) == 2 else "entry" if names else "scalar"
        low, high = bounds(value)
        sign = "unit" if low >= 0 and high <= 1 else "positive" if low >= 0 else "any"
        complex_ = any(isinstance(x, Apply) and x.function in ("complex", "conj") for x in order(value))
        if complex_:
            sign = "any"
        log = log_of(value)
        return Decay(value, along, summed(log) if log is not None else None, not tensors(value) & self.varying, sign, complex_)

    def summands(self, value: Expr) -> list[Expr]:
        """A sum's addends, products with sums multiplied out where a factor mixes indices."""
        found = []
        for part, times in addends(value).items():
            found.append(call("mul", times, part))
        return found

    def outers(self, value: Expr) -> tuple[Outer, ...] | None:
        """A matrix as a sum of outer products; None if it is not plainly one."""
        if value is ZERO:
            return ()
        found = []
        for addend in self.summands(value):
            parts: dict[str, dict[Expr, int]] = {"": {}, "i": {}, "j": {}}
            for factor, times in powers(addend).items():
                names = indices(factor)
                if len(names) > 1:
                    return None
                parts[next(iter(names), "")][factor] = times
            found.append(Outer(product(parts[""]), product(parts["i"]), product(parts["j"])))
        return tuple(found)
