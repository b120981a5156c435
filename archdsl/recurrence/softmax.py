"""Ratios of exponentially weighted sums: attention of one query, streamed. Found by what the yields read, most specific of all.

Two sums that fade alike, the weights of one the exponentials that the other adds: w' = c w + exp(s) v, u' = c u + exp(s), read as w / u. A
running maximum that the spec itself keeps (m' = max(m + log c, s), everything divided by exp(m)) is seen through, since it cancels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archdsl.graph.expressions import ONE, ZERO, Apply, Expr, Var, order
from archdsl.recurrence.affine import Linear, Mono, NotAffine
from archdsl.recurrence.algebra import is_call, log_of, quotient, reads, summed, tensors
from archdsl.recurrence.classes import DiagonalGroup, Group, Ratio, Softmax, SoftmaxGroup, TropicalGroup
from archdsl.recurrence.groups import Inliner
from archdsl.recurrence.step import INDICES, Equation, Step, Tensor, access, parse_access, reindexed, split_index

if TYPE_CHECKING:
    from archdsl.recurrence.classify import Context


@dataclass(frozen=True)
class _Found:
    """A ratio in an equation: the node it stands for, and the states it reads."""

    node: Expr
    numerator: str
    denominator: str
    after: bool
    at: tuple[str, ...]  # the entry of the numerator
    times: Expr  # node is times * ratio
    free: tuple[Expr, Expr]  # what numerator and denominator add to the states, divided by the states' coefficient, in w's index names
    shared: Expr  # the states' coefficient


def join_softmax(
    step: Step, groups: list[Group], after: tuple[Equation, ...], context: Context
) -> tuple[list[Group], tuple[Equation, ...]]:
    """The groups with those that make up a softmax joined, and the yields' equations reading its ratios instead of its states."""
    search = _Search(step, groups, after, context)
    found = [r for e in after for r in search.ratios(e)]
    pairs = list(dict.fromkeys((r.numerator, r.denominator) for r in found))
    if len(pairs) != 1:
        return groups, after
    return search.joined(pairs[0], found) or (groups, after)


class _Search:
    def __init__(self, step: Step, groups: list[Group], after: tuple[Equation, ...], context: Context) -> None:
        self.step, self.groups, self.after, self.context = step, groups, after, context
        self.before = {s.after: s.before for s in step.states} | {s.before: s.before for s in step.states}
        self.by_state = {g.states[0]: g for g in groups if len(g.states) == 1}
        self.inline = Inliner([*context.free, *after], keep=[s.after for s in step.states])

    # ---- ratios ----

    def ratios(self, equation: Equation) -> list[_Found]:
        sizes = dict((*equation.free, *equation.sums))
        found = []
        for node in order(equation.body):
            if is_call(node, "div") and isinstance(node, Apply):
                ratio = self.ratio(node, sizes)
                if ratio is not None:
                    found.append(ratio)
        return found

    def ratio(self, node: Apply, sizes: Mapping[str, int]) -> _Found | None:
        above, below = (self.inline(a, sizes) for a in node.args)
        states = [n for n in self.before if self.diagonal(n)]
        linear = Linear(self.step, states, {})
        linear.sizes.update(sizes)
        try:
            top, bottom = linear.of(above), linear.of(below)
        except NotAffine:
            return None
        if len(top.terms) != 1 or len(bottom.terms) != 1:
            return None
        w, u = top.terms[0], bottom.terms[0]
        if (w.state in self.before.values()) != (u.state in self.before.values()) or not _nested(u, w):
            return None
        times = quotient(w.coefficient, u.coefficient)
        extra = quotient(top.free, times) if times is not None else None
        if times is None or extra is None:
            return None
        names = {split_index(a)[0]: INDICES[k] for k, a in enumerate(w.at)}
        free = reindexed(extra, names), reindexed(bottom.free, names)
        late = w.state not in self.before.values()
        return _Found(node, self.before[w.state], self.before[u.state], late, w.at, times, free, reindexed(u.coefficient, names))

    def diagonal(self, name: str) -> bool:
        return isinstance(self.by_state.get(self.before[name]), DiagonalGroup)

    # ---- the pair ----

    def joined(self, pair: tuple[str, str], found: Sequence[_Found]) -> tuple[list[Group], tuple[Equation, ...]] | None:
        numerator, denominator = (self.by_state[s] for s in pair)
        rename = self.renaming(found[0], pair)
        assert isinstance(numerator, DiagonalGroup) and isinstance(denominator, DiagonalGroup)  # as `ratio` found them
        mine = self.pieces(numerator, denominator, rename)
        if mine is None:
            return None
        log_decay, score, value, maximum = mine
        ratios, targets = [], {}
        made: list[Tensor] = []
        for n, one in enumerate(found):
            bonus = self.bonus(one, maximum, rename)
            if bonus is None:
                return None
            name = self.name("ratio" if not n else f"ratio_{n + 1}")
            made.append(Tensor(name, self.context.shape(pair[0]), "temporary"))
            ratios.append(Ratio(name, one.after, *bonus))
            targets[one.node] = _times(one.times, access(name, one.at))
        members = tuple(s for s in (maximum, *pair) if s is not None)
        pieces = [log_decay, score, value, *(x for r in ratios for x in (r.bonus, r.value) if x is not None)]
        hidden = self.names(members)
        after = self.rewritten(targets)
        if any(tensors(p) & set(self.before) for p in pieces) or self.elsewhere(members, after):
            return None
        shape = Softmax(pair[0], pair[1], None if log_decay is ZERO else log_decay, score, value, tuple(ratios), maximum)
        return self.with_group(members, shape, made, after, pieces, hidden)

    def renaming(self, one: _Found, pair: tuple[str, str]) -> dict[str, str]:
        """From the denominator's index names to the numerator's."""
        assert isinstance(one.node, Apply)
        below = [parse_access(v)[1] for v in reads(one.node.args[1]) if self.before.get(parse_access(v)[0]) == pair[1]]
        at = below[0] if below else one.at[: len(self.context.shape(pair[1]))]
        return {INDICES[k]: INDICES[one.at.index(a)] for k, a in enumerate(at)}

    def pieces(self, w: DiagonalGroup, u: DiagonalGroup, rename: Mapping[str, str]) -> tuple[Expr, Expr, Expr, str | None] | None:
        """log decay, score, value, and the state that holds the running maximum."""
        bias_u = reindexed(u.bias[u.states[0]], rename)
        score = log_of(bias_u)
        value = quotient(w.bias[w.states[0]], bias_u)
        if w.decay.log is None or u.decay.log is None or score is None or value is None or w.decay.complex:
            return None
        other = reindexed(u.decay.log, rename)
        if summed(w.decay.log, _minus(other)) is not ZERO:
            return None
        read = {self.before[n] for n in tensors(other, score) & set(self.before)}
        if not read:
            return other, summed(score), value, None
        maximum = next(iter(read))
        if len(read) != 1 or not isinstance(self.by_state.get(maximum), TropicalGroup):
            return None
        own, new = self.maximum(maximum, rename)
        return summed(other, new, _minus(own)), summed(score, new), value, maximum

    def maximum(self, state: str, rename: Mapping[str, str]) -> tuple[Expr, Expr]:
        """The running maximum before and after the step, in the numerator's index names."""
        at = tuple(rename.get(i, i) for i in INDICES[: len(self.context.shape(state))])
        after = next(s.after for s in self.step.states if s.before == state)
        return access(state, at), access(after, at)

    def bonus(self, one: _Found, maximum: str | None, rename: Mapping[str, str]) -> tuple[Expr | None, Expr | None] | None:
        above, below = one.free
        if above is ZERO and below is ZERO:
            return None, None
        log, scale = log_of(below), log_of(one.shared)
        value = quotient(above, below) if above is not ZERO else ZERO
        if log is None or scale is None or value is None:
            return None
        shift: Expr = ZERO
        if maximum is not None:
            shift = self.maximum(maximum, rename)[one.after]
        return summed(log, _minus(scale), shift), value

    # ---- putting it together ----

    def names(self, members: Iterable[str]) -> set[str]:
        return {n for n, state in self.before.items() if state in members}

    def name(self, base: str) -> str:
        taken = {t.name for t in self.step.tensors}
        while base in taken:
            base += "_"
        return base

    def rewritten(self, targets: Mapping[Expr, Expr]) -> tuple[Equation, ...]:
        """The yields' equations with the ratios' tensors in place, without those that no yield needs any more."""
        changed = [replace(e, body=_replaced(e.body, targets)) for e in self.after]
        needed = set(self.step.yields)
        kept = []
        for equation in reversed(changed):
            if equation.target in needed:
                needed |= tensors(equation.body)
                kept.append(equation)
        return tuple(kept[::-1])

    def elsewhere(self, members: tuple[str, ...], after: Sequence[Equation]) -> bool:
        """Whether something else reads the states."""
        names = self.names(members)
        others = [e for g in self.groups if g.states[0] not in members for e in (*g.prepare, *g.equations)]
        return bool(names & set(self.step.yields)) or any(tensors(e.body) & names for e in (*after, *others))

    def with_group(
        self,
        members: tuple[str, ...],
        found: Softmax,
        made: list[Tensor],
        after: tuple[Equation, ...],
        pieces: list[Expr],
        hidden: set[str],
    ) -> tuple[list[Group], tuple[Equation, ...]]:
        old = [g for g in self.groups if g.states[0] in members]
        prepare = [e for g in old for e in g.prepare if not tensors(e.body) & hidden]
        needed = tensors(*pieces)
        early = []
        for equation in reversed(after):
            if equation.target in needed:
                needed |= tensors(equation.body)
                early.append(equation)
        decay = "the sums fade alike" if found.log_decay is not None else "nothing fades"
        kept = " (the running maximum it keeps cancels)" if found.maximum else ""
        reason = f"what is read is a ratio of two sums with the same exponential weights; {decay}{kept}"
        group = SoftmaxGroup(
            states=members,
            reason=reason,
            prepare=(*prepare, *early[::-1]),
            tensors=(*(t for g in old for t in g.tensors), *made),
            equations=tuple(e for g in old for e in g.equations),
            softmax=found,
        )
        groups = [g for g in self.groups if g not in old or g is old[-1]]
        return [group if g is old[-1] else g for g in groups], tuple(e for e in after if e not in early)


def _nested(u: Mono, w: Mono) -> bool:
    """Whether the denominator's entry is named by indices of the numerator's, all plain and different."""
    return not u.sums and not w.sums and set(u.at) <= set(w.at) and len(set(w.at)) == len(w.at) and all(a.isalpha() for a in w.at)


def _minus(value: Expr) -> Expr:
    return -value


def _times(factor: Expr, value: Var) -> Expr:
    return value if factor is ONE else factor * value


def _replaced(root: Expr, targets: Mapping[Expr, Expr]) -> Expr:
    """The expression with whole parts replaced."""
    from archdsl.graph.expressions import Custom, call, custom

    done: dict[Expr, Expr] = {}
    for node in order(root):
        if node in targets:
            done[node] = targets[node]
        elif isinstance(node, Apply):
            done[node] = call(node.function, *(done[a] for a in node.args))
        elif isinstance(node, Custom):
            done[node] = custom(
                done[node.value], [_replaced(a, targets) for a in node.arguments], [_replaced(s, targets) for s in node.slopes]
            )
        else:
            done[node] = node
    return done[root]
