"""Which form of a recurrence runs, for given sizes and device, and why. Knows nothing of torch.

On a CPU with a C compiler the answer is always the kernel: measured at 5 to 60 times the torch forms, and the most accurate, since it changes no
order of sums. The other forms are for devices with many cores, and for machines without a compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from archdsl.graph.expressions import Apply, Custom, order
from archdsl.kernels.c_text import NoC
from archdsl.kernels.scan_source import source
from archdsl.recurrence.classes import Classified, DeltaGroup, Group, Kind, MatrixGroup, time_invariant
from archdsl.recurrence.forms.plan import MatrixPlan, Setting, Unsupported, matrix_plan, shapes_of, unsupported

SHORT = 64  # times up to which one chunk, the whole attention matrix, serves
CPU_BUDGET, GPU_BUDGET = 2**24, 2**28  # numbers that the states of one segment may take when they are written out for all times


@dataclass(frozen=True)
class Choice:
    """form: what runs, in words. setting: how the torch forms run; None for the kernel and for the plain loop."""

    form: str
    reason: str
    setting: Setting | None = None


@dataclass(frozen=True)
class Available:
    """A form of a recurrence: whether it exists for this one, and why."""

    form: str
    ok: bool
    reason: str


def choose(
    classified: Classified,
    sequences: int = 1,
    time: int | None = None,
    device: str = "cpu",
    compiler: bool = True,
    training: bool = True,
    triton: bool = False,
) -> Choice:
    """The form for `sequences` (batch x lead axes) of `time` steps (None: many) on a device ("cpu", "cuda", …).

    compiler: whether C kernels can be built here. training: whether gradients will be asked for. triton: whether the step's Triton kernel
    can run on the device.
    """
    if device == "cpu" and compiler:
        return Choice("kernel", "C, forward and adjoint, one step after another: the fastest and the most accurate form on a CPU")
    if not classified.step.of("input"):
        return Choice("loop", "no input says how long it runs")
    reason = unsupported(classified)
    if device == "cuda" and triton and (reason is not None or not _chunks(classified)):
        why = "no parallel form" if reason is not None else "channels and sequences side by side"
        return Choice("triton kernel", f"cuda: steps in order in one kernel, {why} (not measured against the other forms yet)")
    if reason is not None:
        return Choice("loop", f"no parallel form: {reason}")
    where = "no C compiler" if device == "cpu" else device
    setting = _setting(classified, sequences, time, device, training)
    name, why = _named(classified, setting, time)
    return Choice(name, f"{where}: {why}", setting)


def _setting(classified: Classified, sequences: int, time: int | None, device: str, training: bool) -> Setting:
    cpu = device == "cpu"
    shapes = shapes_of(classified)
    written = sum(prod(shapes[s]) for g in classified.groups for s in g.states if not _direct(g, shapes))
    segment = 0
    if written:
        segment = max(64, (CPU_BUDGET if cpu else GPU_BUDGET) // (written * max(sequences, 1)))
    elif training and not (device == "cuda" and installed("fla")):
        segment = 2048  # chunks keep about 20 times their inputs for the backward pass: recomputed beyond this length
    if time is not None and segment >= time:
        segment = 0
    kinds = {g.kind for g in classified.groups}
    return Setting(
        engine="tree",
        convolve=not cpu and all(map(time_invariant, classified.groups)) and (time is None or time >= 1024),
        chunk=64,
        sub=8 if cpu else 16,
        newton=not cpu and (time is None or time >= 256) and bool(kinds & {Kind.ELEMENTWISE, Kind.BLOCK}) and not _branches(classified),
        segment=segment,
        fla=device == "cuda",
    )


def _chunks(classified: Classified) -> bool:
    """Whether products of matrices do the work: on a GPU they have units of their own."""
    shapes = shapes_of(classified)
    return any(_direct(g, shapes) for g in classified.groups)


def _direct(group: Group, shapes: dict[str, tuple[int, ...]]) -> bool:
    if not isinstance(group, (MatrixGroup, DeltaGroup)):
        return False
    plan: MatrixPlan = matrix_plan(group, len(shapes[group.states[0]]))
    return plan.direct


def _branches(classified: Classified) -> bool:
    """Whether a nonlinear step chooses by a comparison or declares its slope: Newton's method needs a true, smooth one."""
    for group in classified.groups:
        for equation in group.equations:
            for node in order(equation.body):
                if isinstance(node, Custom) or (isinstance(node, Apply) and node.function == "where"):
                    return True
    return False


_NAMES = {
    Kind.MAP: ("all at once", "no state is read"),
    Kind.CONSTANT_DIAGONAL: ("parallel scan", "products of coefficients over chunks side by side"),
    Kind.DIAGONAL: ("parallel scan", "products of coefficients over chunks side by side"),
    Kind.BLOCK_DIAGONAL: ("parallel scan", "products of small matrices over chunks side by side"),
    Kind.MATRIX: ("chunked", "all times of a chunk at once, decays as products between two times"),
    Kind.DELTA: ("chunked", "all times of a chunk at once, a triangular system per chunk (WY / UT form)"),
    Kind.DENSE: ("sweeps", "the same matrix over chunks side by side, twice"),
    Kind.SOFTMAX: ("parallel scan", "a running maximum, then sums scaled by it"),
    Kind.TROPICAL: ("parallel scan", "maxima over chunks side by side"),
    Kind.ELEMENTWISE: ("in order", "steps in order without a graph, gradients by one linear scan"),
    Kind.BLOCK: ("in order", "steps in order without a graph, gradients by one linear scan of small matrices"),
}


def _named(classified: Classified, setting: Setting, time: int | None) -> tuple[str, str]:
    name, why = _NAMES.get(classified.kind, ("all at once", "no state is read"))
    if setting.convolve:
        return "convolution", "coefficients are the same at all times: one FFT"
    if setting.newton and classified.kind in (Kind.ELEMENTWISE, Kind.BLOCK):
        return "newton", "all times at once by Newton's method, each iteration a linear scan; in order where it does not converge"
    if name == "chunked":
        if not _chunks(classified):
            return "parallel scan", "the states are read otherwise than through sums, so they are written out, segment by segment"
        if time is not None and time <= SHORT:
            return "attention matrix", "one chunk: queries against keys, times the decays between them"
    return name, why


# ---- what there is ---------------------------------------------------------------------------------------------------------------------


def available(classified: Classified) -> tuple[Available, ...]:
    """All forms of a recurrence, with the reason why each exists or not."""
    reason = unsupported(classified)
    kinds = {g.kind for g in classified.groups}
    rows = [Available("step", True, "as written: decoding, constant memory"), _kernel(classified)]
    parallel = reason is None and not kinds & {Kind.ELEMENTWISE, Kind.BLOCK}
    why = reason or ("it is nonlinear in its state" if not parallel else _NAMES.get(classified.kind, ("", "no state is read"))[1])
    rows.append(Available("parallel scan or chunks", parallel, why))
    shapes = shapes_of(classified)
    alike = [g for g in classified.groups if isinstance(g, MatrixGroup) and g.decay.along in ("none", "scalar")]
    matrix = reason is None and bool(alike) and len(alike) == len(classified.groups) and all(_direct(g, shapes) for g in alike)
    rows.append(
        Available(
            "attention matrix",
            matrix,
            "one decay for all channels" if matrix else "needs a matrix state with no decay or one for all channels",
        )
    )
    same = all(map(time_invariant, classified.groups))
    rows.append(
        Available("convolution", same, "coefficients are the same at all times" if same else "coefficients are not the same at all times")
    )
    cell = reason is None and bool(kinds & {Kind.ELEMENTWISE, Kind.BLOCK})
    smooth = cell and not _branches(classified)
    newton = "entries do not mix and the step is smooth"
    if not smooth:
        newton = "a branch or a declared slope: no true Jacobian" if cell else "for nonlinear cells whose entries do not mix"
    rows.append(Available("newton", smooth, newton))
    return tuple(rows)


def _kernel(classified: Classified) -> Available:
    try:
        source(classified.step)
    except NoC as error:
        return Available("kernel", False, str(error))
    return Available("kernel", True, "C, forward and adjoint")


# ---- helpers -----------------------------------------------------------------------------------------------------------------------------


@cache
def installed(package: str) -> bool:
    from importlib.util import find_spec

    return find_spec(package) is not None


__all__ = ["Available", "Choice", "Setting", "Unsupported", "available", "choose"]
