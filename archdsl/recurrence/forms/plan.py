"""Which form each group of states takes, or why it has none. Knows nothing of torch, so that a file can be explained quickly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archdsl.graph.expressions import ZERO, Expr
from archdsl.recurrence.algebra import indices, powers, product
from archdsl.recurrence.classes import Classified, DeltaGroup, DenseGroup, Group, MatrixGroup, NonlinearGroup, Readout, SoftmaxGroup

Shapes = Mapping[str, tuple[int, ...]]


class Unsupported(Exception):
    """A group has no parallel form here; the text says why. It runs as a kernel, or as the plain loop."""


@dataclass(frozen=True)
class Setting:
    """How forms run.

    engine: of linear scans: "in_order", "two_level" (sqrt(T) steps) or "tree" (log T). convolve: by FFT where coefficients are the same at
    all times. chunk, sub: sizes of chunks of matrix states and of their parts. newton: nonlinear cells by Newton's method, not in order.
    segment: times worked on at once (0: all); each is worked out again in the backward pass, so that only the states between are kept.
    fla: call flash-linear-attention's kernels where they fit. low: the dtype (of torch) in which those get their tensors; None: that of the run.
    """

    engine: str = "two_level"
    convolve: bool = False
    chunk: int = 64
    sub: int = 16
    newton: bool = False
    segment: int = 0
    fla: bool = False
    low: Any = None


@dataclass(frozen=True)
class MatrixPlan:
    """direct: chunks give all that reads the state, which is never written out. turned: keys stand along the second axis.
    queries: each readout's factor along the summed axis, and the rest."""

    direct: bool
    turned: bool
    queries: tuple[tuple[Expr, Expr], ...] = ()


def shapes_of(classified: Classified) -> dict[str, tuple[int, ...]]:
    return {t.name: t.shape for t in classified.step.tensors} | {t.name: t.shape for g in classified.groups for t in g.tensors}


def matrix_plan(group: MatrixGroup | DeltaGroup, rank: int) -> MatrixPlan:
    """How a matrix or delta group runs. Raises Unsupported."""
    along, axes = group.decay.along, {r.axis for r in group.readouts}
    delta = isinstance(group, DeltaGroup)
    if delta and rank == 2 and not group.outers and any(v is not ZERO for v in group.bias.values()):
        raise Unsupported("what the delta rule inserts is not a sum of outer products")
    turned = group.side == "column" if isinstance(group, DeltaGroup) else along == "column" or (along in ("none", "scalar") and axes == {1})
    if rank == 2 and along not in ("none", "scalar", "column" if turned else "row"):
        if delta:
            raise Unsupported("the decay stands along another axis than the key")
        return MatrixPlan(False, turned)
    queries = [q for q in map(split_query, group.readouts) if q is not None]
    fits = axes == {1 if turned else 0} and len(queries) == len(group.readouts)
    return MatrixPlan(group.hidden and fits and rank == 2, turned, tuple(queries))


def split_query(readout: Readout) -> tuple[Expr, Expr] | None:
    """A readout's query as a factor along the summed axis and one along the kept axis; None if they do not come apart."""
    summed, kept = ("i", "j") if readout.axis == 0 else ("j", "i")
    inside: dict[Expr, int] = {}
    outside: dict[Expr, int] = {}
    for factor, times in powers(readout.query).items():
        names = indices(factor)
        if {summed, kept} <= names:
            return None
        (outside if kept in names else inside)[factor] = times
    return product(inside), product(outside)


def check(group: Group, shapes: Shapes) -> None:
    """Raises Unsupported if a group has no form in torch but the plain loop."""
    if isinstance(group, (MatrixGroup, DeltaGroup)):
        matrix_plan(group, len(shapes[group.states[0]]))
    elif isinstance(group, DenseGroup) and group.matrix is None:
        raise Unsupported("several states that mix all their entries")
    elif isinstance(group, SoftmaxGroup):
        wide, narrow = shapes[group.softmax.numerator], shapes[group.softmax.denominator]
        if wide[: len(narrow)] != narrow:
            raise Unsupported("the denominator's axes are not the first of the numerator's")
    elif isinstance(group, NonlinearGroup) and group.mixes:
        raise Unsupported(group.reason)


def unsupported(classified: Classified) -> str | None:
    """Why a step has no form in torch but the plain loop; None if it has one."""
    shapes = shapes_of(classified)
    try:
        for group in classified.groups:
            check(group, shapes)
    except Unsupported as reason:
        return str(reason)
    return None
