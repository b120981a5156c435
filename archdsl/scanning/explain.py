"""A recurrence in words: its equations, its class and why, what each coefficient is, the forms it has and what they cost, and which one runs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping

from archdsl.diagnostics.render import quoted
from archdsl.graph.expressions import ONE, ZERO, Expr, count_ops
from archdsl.graph.ir import Instance, Region
from archdsl.kernels.build import NoCompiler, compiler
from archdsl.kernels.scan_source import checkpoint_every
from archdsl.primitives import TABLE
from archdsl.recurrence.classes import (
    AffineGroup,
    BlockDiagonalGroup,
    Classified,
    Decay,
    DecayedGroup,
    DeltaGroup,
    DenseGroup,
    Group,
    Kind,
    MatrixGroup,
    NonlinearGroup,
    Obstacle,
    Softmax,
    SoftmaxGroup,
    TropicalGroup,
    time_invariant,
)
from archdsl.recurrence.classify import classify
from archdsl.recurrence.convert import Converted, NotElementary, convert
from archdsl.recurrence.infix import infix
from archdsl.recurrence.step import INDICES, Step, access_text
from archdsl.scanning.choose import Available, available, choose

WIDTH = 110
BATCH = 8

CLASSES = {
    Kind.MAP: "no recurrence",
    Kind.SOFTMAX: "softmax: a ratio of exponentially weighted sums",
    Kind.TROPICAL: "tropical: sums are maxima, products are sums",
    Kind.CONSTANT_DIAGONAL: "diagonal affine, the same at all times",
    Kind.DIAGONAL: "diagonal affine",
    Kind.MATRIX: "matrix state: a decayed sum of outer products",
    Kind.DELTA: "delta rule: a decay less products of low rank",
    Kind.BLOCK_DIAGONAL: "affine, small matrices entry by entry",
    Kind.DENSE: "dense affine",
    Kind.ELEMENTWISE: "nonlinear, entry by entry",
    Kind.BLOCK: "nonlinear, entry by entry over several states",
    Kind.NONLINEAR: "nonlinear",
}


def explain_scan(scan: Region | Instance | Converted, sizes: Mapping[str, int] | None = None, device: str = "cpu") -> str:
    """What a scan is and how it runs, as lines of text.

    sizes: "T" the time steps and "batch" the sequences that the choice of a form is made for (many, and 8, where not given).
    """
    given = dict(sizes or {})
    region = scan.region if isinstance(scan, Instance) else scan
    if isinstance(region, Converted):
        return "\n".join(_lines(region, given, device))
    assert region is not None
    try:
        return "\n".join(_lines(convert(region, TABLE), given, device))
    except NotElementary as problem:
        return "\n".join(_plain_loop(problem))


def scan_summary(region: Region) -> str:
    """The class of a scan and the reason, in one line."""
    try:
        found = classify(convert(region, TABLE).step, verify=False)
    except NotElementary as problem:
        return f"runs as a plain loop: {problem.reason}"
    return f"{_class(found)} ({found.reason})"


def _class(found: Classified) -> str:
    if found.kind is Kind.BLOCK_DIAGONAL and not any(isinstance(g, BlockDiagonalGroup) and g.turn is None for g in found.groups):
        return "diagonal affine, complex" + (", the same at all times" if all(map(time_invariant, found.groups)) else "")
    return CLASSES[found.kind]


def _plain_loop(problem: NotElementary) -> list[str]:
    said = [f"Class: none. The step can't be written entry by entry: {problem.reason}."]
    if problem.span is not None:
        said += quoted(problem.span, "here")
    return [*said, "It runs as a plain torch loop over time, and step by step while decoding."]


def _lines(converted: Converted, sizes: Mapping[str, int], device: str) -> list[str]:
    step = converted.step
    found = classify(step)
    said = ["Equations (entry by entry; a prime marks the state after the step)", *(f"  {line}" for line in str(step).split("\n"))]
    said += _around(converted)
    several = f"; {len(found.groups)} groups of states, one after the other" if len(found.groups) > 1 else ""
    said += ["", *_wrapped(f"Class: {_class(found)}{several}", "")]
    for group in found.groups:
        said += _group(group, found)
    for note in found.notes:
        said += _wrapped(f"Note: {note}", "  ")
    said += ["", *_state(step), "", *_forms(found, sizes, device)]
    return said


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False)


def _around(converted: Converted) -> list[str]:
    """What is done for all times at once, outside the loop."""
    parts = {"before": converted.parts.before, "after": converted.parts.after}
    said = []
    for when, nodes in parts.items():
        if nodes:
            names = list(dict.fromkeys(n.op if n.instance is None else n.instance.name for n in nodes))
            said.append(f"  {when} the loop, for all times at once: {', '.join(names)}")
    return said


# ---- one group ------------------------------------------------------------------------------------------------------------------------


def _group(group: Group, found: Classified) -> list[str]:
    names = ", ".join(group.states)
    said = _wrapped(f"{names}: {group.reason}", "  ") if len(found.groups) > 1 else _wrapped(_sentence(group.reason), "  ")
    rows = _pieces(group)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        said.append(f"    {name:{width}}  {value}")
    if isinstance(group, NonlinearGroup):
        said += _obstacle(group.obstacle)
    return said


def _sentence(text: str) -> str:
    return (text if text.startswith("`") else text[:1].upper() + text[1:]) + "."


def _pieces(group: Group) -> list[tuple[str, str]]:
    """Names of the coefficients and what they are."""
    if isinstance(group, SoftmaxGroup):
        return _softmax(group.softmax)
    if isinstance(group, TropicalGroup):
        better = "max" if group.tropical.maximum else "min"
        floor = infix(group.tropical.floor) if group.tropical.floor is not None else "nothing"
        return [(f"added to {group.states[0]}", infix(group.tropical.add)), (f"{better} with", floor)]
    return _affine(group) if isinstance(group, AffineGroup) else []


def _affine(group: AffineGroup) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    state = group.states[0]
    if isinstance(group, DecayedGroup):
        rows += _decay(state, group.decay)
        if isinstance(group, DeltaGroup):
            rows += [("taken away", f"{_scaled(r.scale, r.left)}, times {_read(group, r.right, r.after_decay)}") for r in group.removals]
    elif isinstance(group, BlockDiagonalGroup) and group.turn is not None:
        rows += [("factor, real part", infix(group.turn.re)), ("factor, imaginary part", infix(group.turn.im))]
    elif isinstance(group, DenseGroup) and group.matrix is not None:
        rows.append((f"matrix on {state}", f"{infix(group.matrix)}, {'from the left' if group.side == 'row' else 'from the right'}"))
    else:
        for term in group.terms:
            sums = "".join(f"sum_{n} " for n, _ in term.sums)
            rows.append((f"{term.target}' takes", f"{sums}{_scaled(term.coefficient, None)} * {access_text(term.state, term.at)}"))
    rows += [(f"added to {name}", infix(bias)) for name, bias in group.bias.items() if bias is not ZERO]
    for readout in group.readouts:
        state_name = f"{readout.state}'" if readout.after else readout.state
        at = ",".join(INDICES[:2])
        query = "" if readout.query is ONE else f"{_scaled(readout.query, None)} * "
        rows.append((f"{readout.target} reads", f"sum over {INDICES[readout.axis]} of {query}{state_name}[{at}]"))
    return rows


def _scaled(scale: Expr, value: Expr | None) -> str:
    if value is None:
        shown = infix(scale)
        return f"({shown})" if " + " in shown or " - " in shown or shown.startswith("if ") else shown
    return infix(scale * value)


def _read(group: DeltaGroup, right: Expr, after_decay: bool) -> str:
    side = "row" if group.side == "row" else "column"
    what = f"decayed {group.states[0]}" if after_decay else group.states[0]
    return f"what {infix(right)} reads of {what} along its {'first' if side == 'row' else 'last'} axis"


def _decay(state: str, decay: Decay) -> list[tuple[str, str]]:
    if decay.value is ZERO:
        return []
    along = {"none": "", "scalar": "one number", "row": "one per row", "column": "one per column", "entry": "one per entry"}[decay.along]
    kinds = [along, "the same at all times" if decay.constant else "", "complex" if decay.complex else ""]
    kinds.append("between 0 and 1" if decay.sign == "unit" and decay.along != "none" else "")
    tail = ", ".join(k for k in kinds if k)
    rows = [(f"decay of {state}", "none" if decay.along == "none" else f"{infix(decay.value)}{f' ({tail})' if tail else ''}")]
    if decay.log is not None and decay.along != "none":
        rows.append(("its logarithm", infix(decay.log)))
    return rows


def _softmax(form: Softmax) -> list[tuple[str, str]]:
    rows = [
        ("score", infix(form.score)),
        ("value", infix(form.value)),
        ("log decay", infix(form.log_decay) if form.log_decay is not None else "none"),
    ]
    for ratio in form.ratios:
        if ratio.bonus is not None:
            rows.append(
                ("the present, once more", f"score {infix(ratio.bonus)}, value {infix(ratio.value if ratio.value is not None else ZERO)}")
            )
    if form.maximum is not None:
        rows.append(("running maximum", f"{form.maximum}, which cancels"))
    return rows


def _obstacle(obstacle: Obstacle) -> list[str]:
    said = []
    if obstacle.span is not None:
        said += [f"   {line}" for line in quoted(obstacle.span, "here")]
    return said + _wrapped(obstacle.lesson, "    ")


# ---- state and forms ------------------------------------------------------------------------------------------------------------------


def _count(step: Step) -> int:
    return sum(math.prod(step.tensor(s.before).shape) for s in step.states)


def _state(step: Step) -> list[str]:
    shapes = ", ".join(f"{s.before} [{', '.join(map(str, step.tensor(s.before).shape))}]" for s in step.states)
    n = _count(step)
    return [f"State while decoding: {shapes}: {_number(n)} for each sequence and head, whatever its length ({4 * n:,} bytes in float32)"]


def _number(n: int) -> str:
    return f"{n:,} number" + ("s" if n != 1 else "")


def work(step: Step) -> int:
    """Operations of one step, about: each function application and each addition of a sum is one."""
    total = 0
    for equation in step.equations:
        entries = math.prod(size for _, size in (*equation.free, *equation.sums))
        total += entries * (count_ops(equation.body) + bool(equation.sums))
    return total


def _forms(found: Classified, sizes: Mapping[str, int], device: str) -> list[str]:
    time = sizes.get("T")
    said = ["Forms"]
    rows = available(found)
    width = max(len(row.form) for row in rows)
    for row in rows:
        if row.ok:
            said.append(f"  {row.form:{width}}  yes  {_cost(row, found, time)}")
        else:
            said.append(f"  {row.form:{width}}  no   {_shortened(row.reason, found)}")
    batch = sizes.get("batch", BATCH)
    compiler = _has_compiler()
    choice = choose(found, batch, time, device, compiler)
    why = _sentence(_shortened(choice.reason, found))
    shown = "many" if time is None else f"{time:,}"
    said += _wrapped(f"Chosen on {device} for {batch} sequences of {shown} steps: {choice.form}. {why}", "")
    if device == "cpu" and choice.form == "kernel":
        other = choose(found, batch, time, "cuda", compiler)
        why = _sentence(_shortened(other.reason.removeprefix("cuda: "), found))
        said += _wrapped(f"On a GPU: {other.form}. {why}", "")
    return said


def _shortened(reason: str, found: Classified) -> str:
    """A reason without the one that stands under the class already."""
    for group in found.groups:
        if isinstance(group, NonlinearGroup):
            reason = reason.replace(group.reason, "it is nonlinear in its state")
    return reason


def _has_compiler() -> bool:
    try:
        compiler()
    except NoCompiler:
        return False
    return True


def _cost(row: Available, found: Classified, time: int | None) -> str:
    """Work per step, what runs side by side, and memory."""
    step = found.step
    n, ops = _count(step), work(step)
    length = f"{time:,}" if time is not None else "T"
    if row.form == "step":
        return f"about {ops:,} operations; keeps {_number(n)}"
    if row.form == "kernel":
        every = checkpoint_every(step)
        return f"about {ops:,} operations a step, {length} steps in order; training keeps one state in {every}"
    if row.form == "attention matrix":
        return f"about {length} x {_readout_width(step)} operations a step; {length} x {length} numbers for each sequence and head"
    if row.form == "convolution":
        return f"about {n:,} x 10 log2({length}) operations a step; keeps {length} x {_number(n)}"
    if row.form == "newton":
        return f"a few rounds of about {ops + 6 * n:,} operations a step; keeps {length} x {_number(n)}"
    if any(g.hidden for g in found.groups if isinstance(g, (MatrixGroup, DeltaGroup))):
        chunk = 64
        work_in = chunk * _readout_width(step) + 4 * n
        return f"about {work_in:,} operations a step in chunks of {chunk}, {length}/{chunk} chunks in order; keeps a state for each chunk"
    if any(isinstance(g, DenseGroup) for g in found.groups):
        return f"about {2 * ops:,} operations a step, chunks side by side, twice; keeps {length} x {_number(n)}"
    return f"about {ops + 3 * n:,} operations a step, log2({length}) or sqrt({length}) rounds; keeps {length} x {_number(n)}"


def _readout_width(step: Step) -> int:
    return max((2 * sum(step.tensor(s.before).shape) for s in step.states), default=1)
