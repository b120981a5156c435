"""The class of a recurrence, from its step alone.

States that read one another are one group; each group is classified by how its next states depend on its states, most specific class first.
What the algebra claims is then checked in numbers (archdsl.recurrence.check); a claim that does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from archdsl.graph.expressions import ONE, ZERO, Custom, Expr
from archdsl.recurrence.affine import NotAffine, diagonals
from archdsl.recurrence.affine_groups import affine_group
from archdsl.recurrence.algebra import indices, powers, product, reads, tensors
from archdsl.recurrence.classes import (
    AffineGroup,
    Classified,
    Group,
    Kind,
    MapGroup,
    NonlinearGroup,
    Obstacle,
    Readout,
    SoftmaxGroup,
    TropicalGroup,
)
from archdsl.recurrence.groups import Dependence, Inliner, Part
from archdsl.recurrence.infix import infix
from archdsl.recurrence.softmax import join_softmax
from archdsl.recurrence.step import INDICES, Equation, Step, access, parse_access, reindexed, split_index
from archdsl.recurrence.tropical import tropical_form

HARDNESS = (
    Kind.MAP, Kind.CONSTANT_DIAGONAL, Kind.DIAGONAL, Kind.TROPICAL, Kind.SOFTMAX, Kind.MATRIX, Kind.BLOCK_DIAGONAL, Kind.DELTA, Kind.DENSE,
    Kind.ELEMENTWISE, Kind.BLOCK, Kind.NONLINEAR,
)  # fmt: skip
LESSON = (
    "A gate that reads the state keeps the steps in order. Gates that read only the input leave the step affine in its state "
    "(minGRU, HGRN, Mamba), which has forms that run over all times at once."
)

DECLARED = "The forward uses the function as it stands, the way back its declared slope; the steps stay in order, and gradients flow by that slope."


def classify(step: Step, verify: bool = True) -> Classified:
    """The class of a step. verify: check every claim in numbers (float64, small sizes) and refuse what fails."""
    context = Context(step)
    groups = [context.group(part) for part in context.dependence.parts()]
    groups, after = join_softmax(step, groups, context.dependence.late(), context)
    groups = _trimmed(groups)
    early = {e.target for g in groups for e in g.prepare}
    after = tuple(e for e in after if e.target not in early)
    groups = [_with_readouts(g, groups, after, step) for g in groups]
    if verify:
        from archdsl.recurrence.check import checked

        groups = [checked(step, g, groups[:k], after) for k, g in enumerate(groups)]
    hardest = max(groups, key=lambda g: HARDNESS.index(g.kind), default=None)
    kind = hardest.kind if hardest is not None else Kind.MAP
    notes = tuple(n for g in groups for n in g.notes)
    return Classified(step, kind, _reason(groups, hardest), tuple(groups), after, context.dependence.reads, notes)


def _trimmed(groups: Sequence[Group]) -> list[Group]:
    """The groups with the state-free equations that their pieces read, each with the first group that needs it."""
    pool = [e for g in groups for e in g.prepare]
    new = {t.name: t for g in groups for t in g.tensors}
    given: set[str] = set()
    found = []
    for group in groups:
        needed = tensors(*group.pieces())
        kept = []
        for equation in reversed(pool):
            if equation.target in needed:
                needed |= tensors(equation.body)
                if equation.target not in given:
                    kept.append(equation)
        given |= {e.target for e in kept}
        targets = {e.target for e in kept} | {r.target for r in (group.softmax.ratios if isinstance(group, SoftmaxGroup) else ())}
        found.append(replace(group, prepare=tuple(kept[::-1]), tensors=tuple(t for t in new.values() if t.name in targets)))
    return found


def _reason(groups: Sequence[Group], hardest: Group | None) -> str:
    if hardest is None:
        return "no state is kept"
    if len(groups) == 1:
        return hardest.reason
    return "; ".join(f"{', '.join(g.states)}: {g.reason}" for g in groups)


@dataclass
class Context:
    """What the classification of all groups of a step shares."""

    step: Step

    def __post_init__(self) -> None:
        self.dependence = Dependence(self.step)
        self.diagonals = diagonals(self.step)
        self.varying = self.dependence.varying()
        self.free: list[Equation] = []  # state-free equations met so far

    def shape(self, name: str) -> tuple[int, ...]:
        return self.step.tensor(name).shape

    def sizes(self, state: str) -> dict[str, int]:
        return dict(zip(INDICES, self.shape(state)))

    def group(self, part: Part) -> Group:
        self.free += part.free
        self.inline = Inliner(self.free, keep=[s.after for s in self.step.states])
        if not part.stateful:
            return self._map(part)
        try:
            return affine_group(self, part)
        except NotAffine as problem:
            return self._tropical(part) or self._nonlinear(part, problem)

    def _map(self, part: Part) -> Group:
        (state,) = part.states
        after = self.dependence.after[state]
        bias: dict[str, Expr] = {state: access(after, tuple(INDICES[: len(self.shape(state))]))}
        reason = "its next value reads no state: what it holds is the previous step's value"
        return MapGroup(states=part.states, reason=reason, prepare=part.free, bias=bias)

    def _tropical(self, part: Part) -> Group | None:
        if len(part.states) != 1:
            return None
        (state,) = part.states
        inline = Inliner([*self.free, *part.stateful], keep=[s.after for s in self.step.states if s.before != state])
        own = access(state, tuple(INDICES[: len(self.shape(state))]))
        value = inline(access(self.dependence.after[state], parse_access(own)[1]), self.sizes(state))
        found = tropical_form(value, own)
        if found is None:
            return None
        word = "maximum" if found.maximum else "minimum"
        what = f"the next state is the {word} of the state plus a number and a number" if found.add is not ZERO else f"a running {word}"
        return TropicalGroup(states=part.states, reason=what, prepare=part.free, equations=part.stateful, tropical=found)

    def _nonlinear(self, part: Part, problem: NotAffine) -> Group:
        equation = problem.equation
        shown = self._shown(problem.expr, part, equation)
        lesson = DECLARED if isinstance(problem.expr, Custom) else LESSON
        obstacle = Obstacle(problem.expr, shown, equation.span if equation is not None else None, problem.why, lesson)
        reason = f"`{shown}`: {problem.why}"
        shapes = {self.shape(s) for s in part.states}
        mixes = len(shapes) != 1 or not elementwise(part, self.dependence, len(shapes.pop()))
        return NonlinearGroup(
            states=part.states, reason=reason, prepare=part.free, equations=part.stateful, obstacle=obstacle, mixes=mixes
        )

    def _shown(self, expr: Expr, part: Part, equation: Equation | None) -> str:
        """The expression as text, with what it is made of written out where that is short."""
        inline = Inliner([*self.free, *part.stateful], keep=[s.after for s in self.step.states])
        loops = dict((*equation.free, *equation.sums)) if equation is not None else {}
        whole = infix(inline(expr, loops))
        return whole if len(whole) <= 80 else infix(expr)


def elementwise(part: Part, dependence: Dependence, rank: int) -> bool:
    """Whether every next entry reads entries of the same place only."""
    own = INDICES[:rank]
    stateful = {e.target for e in part.stateful}
    for equation in part.stateful:
        if equation.sums or equation.at != tuple(own):
            return False
        for name, at in map(parse_access, reads(equation.body)):
            if (name in part.states or name in stateful) and at != tuple(own):
                return False
    return True


# ---- reading a state out --------------------------------------------------------------------------------------------------------------


def _with_readouts(group: Group, groups: Sequence[Group], after: Sequence[Equation], step: Step) -> Group:
    """Finds the sums through which a matrix state is read, and whether they are all there is."""
    if not isinstance(group, AffineGroup):
        return group
    names = {s.before: s.before for s in step.states if s.before in group.states}
    names |= {s.after: s.before for s in step.states if s.before in group.states}
    readouts: list[Readout] = []
    hidden = not any(n in step.yields for n in names)
    for equation in after:
        found = _readout(equation, names, step)
        if found is not None:
            readouts.append(found)
        elif tensors(equation.body) & set(names):
            hidden = False
    for other in groups:
        if other is not group and any(tensors(e.body) & set(names) for e in (*other.prepare, *other.equations)):
            hidden = False
    return replace(group, readouts=tuple(readouts), hidden=hidden and bool(readouts))


def _readout(equation: Equation, names: Mapping[str, str], step: Step) -> Readout | None:
    if len(equation.sums) != 1:
        return None
    summed = equation.sums[0][0]
    factors = powers(equation.body)
    states = [x for x in factors if tensors(x) & set(names)]
    if len(states) != 1 or factors[states[0]] != 1 or not hasattr(states[0], "name"):
        return None
    name, at = parse_access(states[0])  # type: ignore[arg-type]
    plain = [split_index(a) for a in at]
    if len(at) != 2 or summed not in at or any(shift or not base for base, shift in plain):
        return None
    axis = at.index(summed)
    kept = at[1 - axis]
    if kept == summed or equation.at != (kept,):
        return None
    del factors[states[0]]
    query = reindexed(product(factors) if factors else ONE, {summed: INDICES[axis], kept: INDICES[1 - axis]})
    return Readout(equation.target, names[name], name != names[name], axis, query) if indices(query) <= {"i", "j"} else None
