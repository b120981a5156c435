"""What classification finds: the class of a recurrence and the exact pieces its other forms are made of.

Pieces are expressions over accesses (archdsl.recurrence.step) in the index names i, j, k, … of the state's axes. They read inputs, constants,
weights and the tensors of `Group.prepare` only, all of which are known for all times before the group runs; a group that comes later may also
read the states (before and after) of the groups before it. A sum over an axis keeps its own name (s, p, r, s1, …), declared beside it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import StrEnum

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Expr
from archdsl.recurrence.step import Equation, Step, Tensor

Sums = tuple[tuple[str, int], ...]


class Kind(StrEnum):
    """Classes of recurrences, most specific first where several hold."""

    MAP = "map"  # no state is read: all times at once
    SOFTMAX = "softmax"  # a ratio of exponentially weighted sums
    TROPICAL = "tropical"  # h' = max(h + a, b), or min
    CONSTANT_DIAGONAL = "constant diagonal"  # h' = a * h + b, a the same at all times
    DIAGONAL = "diagonal"  # h' = a_t * h + b_t, entry by entry
    MATRIX = "matrix"  # S' = decay * S + update, decay one number, or one per row, or one per column
    DELTA = "delta"  # S' = decay * S - sum_r k_r (p_r . S) + update
    BLOCK_DIAGONAL = "block diagonal"  # several states, affine, each entry mixes only with the same entry of the others
    DENSE = "dense affine"  # h' = A h + b
    ELEMENTWISE = "elementwise nonlinear"  # h'[i] depends on h[i] only
    BLOCK = "block nonlinear"  # several states, entry by entry
    NONLINEAR = "nonlinear"



@dataclass(frozen=True)
class Term:
    """coefficient * state[at], summed over `sums`: one term of the affine update of `target` (a state's name before the step)."""

    target: str
    state: str
    at: tuple[str, ...]
    coefficient: Expr
    sums: Sums = ()


@dataclass(frozen=True)
class Outer:
    """scale * left[i] * right[j]: `left` reads the index i only, `right` j only, `scale` neither."""

    scale: Expr
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Decay:
    """The factor on the state. along: "none" (it is 1), "scalar", "row" (reads i only), "column" (reads j only), or "entry" (all indices).

    log: the logarithm of `value` where that is an expression that needs no log of a rounded number (value is exp(…), sigmoid(…), or products
    of such); None otherwise. complex: the state is complex. constant: reads no input. sign: "positive", "unit" (in [0, 1]), or "any" if
    neither is provable from the expression.
    """

    value: Expr
    along: str
    log: Expr | None
    constant: bool
    sign: str
    complex: bool = False


@dataclass(frozen=True)
class Turn:
    """Two states that are one complex number: (u + iv)' = (re + i im) (u + iv) + ….  constant: the factor reads no input."""

    re: Expr
    im: Expr
    constant: bool


@dataclass(frozen=True)
class Removal:
    """One rank-one term of a delta rule: - scale * left[i] * (sum_s right[s] * X[s, j]), with `right` written in the index i.

    X is decay * S if after_decay, else S. For side "column" the sum runs over the second axis: - scale * (sum_s X[i, s] right[s]) left[j],
    with left and right written in j.
    """

    scale: Expr
    left: Expr
    right: Expr
    after_decay: bool


@dataclass(frozen=True)
class Readout:
    """target[…] = sum over one axis of the state of query * state: how a matrix state is read without being written out.

    axis: the summed axis of the state. query: in the state's own index names (i, j). after: reads S' rather than S. The kept axes of the
    state are the target's axes, in order.
    """

    target: str
    state: str
    after: bool
    axis: int
    query: Expr


@dataclass(frozen=True)
class Ratio:
    """A tensor `target` (of the shape of the numerator) that the equations of `Classified.after` read: w / u, or with a bonus for the present
    position (w + exp(bonus) * value) / (u + exp(bonus)), w and u taken before or after the step. bonus and value: in the index names of w."""

    target: str
    after: bool
    bonus: Expr | None = None
    value: Expr | None = None


@dataclass(frozen=True)
class Softmax:
    """w' = exp(log_decay) * w + exp(score) * value; u' = exp(log_decay) * u + exp(score). The ratio w / u is what is read.

    log_decay None: 1. All in the index names of w; u may lack axes of w (then score and log_decay read only u's). maximum: the state that holds
    a running maximum in the spec, if it writes one (m' = max(m + log_decay, score), log_decay and score being the ones without it).
    """

    numerator: str
    denominator: str
    log_decay: Expr | None
    score: Expr
    value: Expr
    ratios: tuple[Ratio, ...]
    maximum: str | None = None


@dataclass(frozen=True)
class Tropical:
    """h' = max(h + add, floor) (or min with sign -1). add: 0 where nothing is added; floor None: nothing to compare with."""

    add: Expr
    floor: Expr | None
    maximum: bool


@dataclass(frozen=True)
class Obstacle:
    """What keeps a group from a parallel form: the smallest expression that is not affine, its text and place, why, and what would help."""

    expr: Expr
    text: str
    span: Span | None
    why: str
    lesson: str = ""


@dataclass(frozen=True, kw_only=True)
class Group(ABC):
    """States that read one another (a strongly connected component), classified on its own; its class says what it is made of.

    prepare: state-free equations to run for all times before this group, in order (with `tensors` they declare beyond the step's own).
    equations: the step's own that depend on these states, in order.
    """

    states: tuple[str, ...]
    reason: str
    prepare: tuple[Equation, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    equations: tuple[Equation, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def kind(self) -> Kind: ...

    @abstractmethod
    def pieces(self) -> list[Expr]:
        """The expressions that its form evaluates, `prepare` and the queries of its readouts aside."""


@dataclass(frozen=True, kw_only=True)
class MapGroup(Group):
    """No state is read: `bias` is the next value of each."""

    bias: dict[str, Expr] = field(hash=False)

    @property
    def kind(self) -> Kind:
        return Kind.MAP

    def pieces(self) -> list[Expr]:
        return list(self.bias.values())


@dataclass(frozen=True, kw_only=True)
class AffineGroup(Group):
    """The update is the sum of `terms` plus `bias` of each state.

    hidden: the states are read by `readouts` only, so they need not be written out for all times.
    """

    terms: tuple[Term, ...]
    bias: dict[str, Expr] = field(hash=False)
    readouts: tuple[Readout, ...] = ()
    hidden: bool = False

    def pieces(self) -> list[Expr]:
        return [*self.bias.values(), *(t.coefficient for t in self.terms)]


@dataclass(frozen=True, kw_only=True)
class DecayedGroup(AffineGroup):
    """One state with a factor of its own for each entry. outers: all of the bias as outer products, or empty if it is not a sum of such."""

    decay: Decay
    outers: tuple[Outer, ...] = ()

    def pieces(self) -> list[Expr]:
        found = [*super().pieces(), *(x for o in self.outers for x in (o.scale, o.left, o.right)), self.decay.value]
        return found if self.decay.log is None else [*found, self.decay.log]


class DiagonalGroup(DecayedGroup):
    """h' = decay * h + bias, entry by entry."""

    @property
    def kind(self) -> Kind:
        return Kind.CONSTANT_DIAGONAL if self.decay.constant else Kind.DIAGONAL


class MatrixGroup(DecayedGroup):
    """S' = decay * S + outers, the decay one number, one per row or one per column."""

    @property
    def kind(self) -> Kind:
        return Kind.MATRIX


@dataclass(frozen=True, kw_only=True)
class DeltaGroup(DecayedGroup):
    """S' = decay * S - removals + bias; `side` is that of the removals (see Removal)."""

    removals: tuple[Removal, ...]
    side: str = "row"

    @property
    def kind(self) -> Kind:
        return Kind.DELTA

    def pieces(self) -> list[Expr]:
        return [*super().pieces(), *(x for r in self.removals for x in (r.scale, r.left, r.right))]


@dataclass(frozen=True, kw_only=True)
class BlockDiagonalGroup(AffineGroup):
    """Several states, each entry affine in the same entry of all of them. turn: if the two states are one complex number."""

    turn: Turn | None = None

    @property
    def kind(self) -> Kind:
        return Kind.BLOCK_DIAGONAL


@dataclass(frozen=True, kw_only=True)
class DenseGroup(AffineGroup):
    """Entries mix. matrix: A in i and s if the update is one product A h or A S, in j and s for S A (side "column"); None if it is not."""

    matrix: Expr | None = None
    side: str = "row"

    @property
    def kind(self) -> Kind:
        return Kind.DENSE

    def pieces(self) -> list[Expr]:
        return super().pieces() if self.matrix is None else [*super().pieces(), self.matrix]


@dataclass(frozen=True, kw_only=True)
class SoftmaxGroup(Group):
    """Its running maximum, if there is one, is in `states` too; the ratios' tensors are in `tensors`."""

    softmax: Softmax

    @property
    def kind(self) -> Kind:
        return Kind.SOFTMAX

    def pieces(self) -> list[Expr]:
        form = self.softmax
        found = [form.log_decay, form.score, form.value, *(x for r in form.ratios for x in (r.bonus, r.value))]
        return [x for x in found if x is not None]


@dataclass(frozen=True, kw_only=True)
class TropicalGroup(Group):
    """h' = max(h + add, floor), or min."""

    tropical: Tropical

    @property
    def kind(self) -> Kind:
        return Kind.TROPICAL

    def pieces(self) -> list[Expr]:
        return [x for x in (self.tropical.add, self.tropical.floor) if x is not None]


@dataclass(frozen=True, kw_only=True)
class NonlinearGroup(Group):
    """obstacle: what keeps it from being affine. mixes: whether entries read one another; if not, steps are Newton's and the tape's to run."""

    obstacle: Obstacle
    mixes: bool

    @property
    def kind(self) -> Kind:
        if self.mixes:
            return Kind.NONLINEAR
        return Kind.ELEMENTWISE if len(self.states) == 1 else Kind.BLOCK

    def pieces(self) -> list[Expr]:
        return [e.body for e in self.equations]


def time_invariant(group: Group) -> bool:
    """Whether the factor on a state kept entry by entry is the same at all times: then the recurrence is a convolution."""
    if isinstance(group, BlockDiagonalGroup):
        return group.turn is not None and group.turn.constant
    return isinstance(group, DiagonalGroup) and group.decay.constant


@dataclass(frozen=True)
class Classified:
    """The class of a step. kind is that of its hardest group; groups stand in an order in which they can be run one after the other.

    after: the equations that no next state needs, in order: run for all times at once once the states (or their readouts, whose targets
    are then given) are known.
    reads: which states each next state reads, by name.
    """

    step: Step
    kind: Kind
    reason: str
    groups: tuple[Group, ...]
    after: tuple[Equation, ...] = ()
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    notes: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        return tuple(s.before for s in self.step.states)

    @property
    def obstacle(self) -> Obstacle | None:
        return next((g.obstacle for g in self.groups if isinstance(g, NonlinearGroup)), None)

    def group_of(self, state: str) -> Group:
        return next(g for g in self.groups if state in g.states)
