"""Warnings about recurrences: states that grow without bound, divisions by a state, states and yields that nothing reads."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from archdsl.diagnostics import Diagnostic, Label, Span
from archdsl.graph.expressions import Apply, Expr, Var, order
from archdsl.graph.ir import Graph, Node, Region
from archdsl.recurrence.algebra import ANY, Bounds, bounds, tensors
from archdsl.recurrence.classes import Classified, DecayedGroup, Group
from archdsl.recurrence.classify import classify
from archdsl.recurrence.convert import NotElementary, convert
from archdsl.recurrence.definition import Table
from archdsl.recurrence.infix import infix
from archdsl.recurrence.step import Equation, Step, parse_access

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")


def scan_warnings(graph: Graph, primitives: Table) -> list[Diagnostic]:
    """What is doubtful about the scans of an architecture, once for each scan."""
    uses: dict[Region, list[tuple[Region, Node]]] = {}
    regions = [region for _, region in graph.walk()]
    for region in regions:
        for node in region.nodes:
            if node.op in ("scan", "cell") and node.instance is not None and node.instance.region is not None:
                uses.setdefault(node.instance.region, []).append((region, node))
    found: list[Diagnostic] = []
    for region in regions:
        if region.kind == "scan" and region in uses:
            found += [d for d in _scan(region, uses[region], primitives) if not any(_same(d, old) for old in found)]
    return found


def _same(a: Diagnostic, b: Diagnostic) -> bool:
    return (a.code, a.title, a.span) == (b.code, b.title, b.span)


def _scan(region: Region, uses: list[tuple[Region, Node]], primitives: Table) -> Iterator[Diagnostic]:
    yield from _unused_yields(region, uses)
    try:
        step = convert(region, primitives).step
    except NotElementary:
        return
    found = classify(step, verify=False)
    for group in found.groups:
        yield from _growth(found, group)
        yield from _division(step, group)
    # A state that is handed out at the end, or step by step, is of use even if no yield reads it.
    if not any(node.op == "cell" or node.attrs.get("final") for _, node in uses):
        yield from _unread(region, found)


def _place(step: Step, state: str) -> Span | None:
    after = next(s.after for s in step.states if s.before == state)
    return next((e.span for e in reversed(step.equations) if e.target == after), None)


# ---- growth ---------------------------------------------------------------------------------------------------------------------------


def _growth(found: Classified, group: Group) -> Iterator[Diagnostic]:
    if not isinstance(group, DecayedGroup):
        return
    low, high = bounds(group.decay.value)
    if low <= 1 and high >= -1:
        return
    least = low if low > 1 else -high
    (state,) = group.states
    steps = math.ceil(math.log(1e9) / math.log(least))
    shown = infix(group.decay.value)
    what = f"its coefficient is {shown}" if low == high else f"its coefficient is {shown}, at least {least:.6g} in size"
    yield Diagnostic(
        "AD0710",
        f"the state `{state}` grows without bound",
        _place(found.step, state),
        what,
        note=f"Each step multiplies it by more than one in size: by a billion over {steps} steps, and gradients with it.",
        hint="Keep the coefficient within [-1, 1]: a sigmoid, exp of something below zero, or tanh.",
        severity="warning",
    )


# ---- division -------------------------------------------------------------------------------------------------------------------------


def _division(step: Step, group: Group) -> Iterator[Diagnostic]:
    made: dict[str, list[Equation]] = {}
    for equation in step.equations:
        made.setdefault(equation.target, []).append(equation)
    stateful = {*group.states, *(e.target for e in group.equations)}
    seen: set[Bounds] = set()

    def known(node: Var, depth: int = 0) -> Bounds:
        equations = made.get(parse_access(node)[0])
        if not equations or depth > 20:
            return ANY
        sides = []
        for equation in equations:
            low, high = bounds(equation.body, lambda v: known(v, depth + 1))
            count = math.prod(size for _, size in equation.sums)
            sides.append((low * count, high * count))
        return min(s[0] for s in sides), max(s[1] for s in sides)

    for equation in group.equations:
        for node in order(equation.body):
            if not isinstance(node, Apply) or node.function not in ("div", "reciprocal", "rsqrt"):
                continue
            below = node.args[-1]
            low, high = bounds(below, known)
            if not tensors(below) & stateful or low > 0 or high < 0 or (low, high, below) in seen:
                continue
            yield Diagnostic(
                "AD0711",
                f"the update of `{', '.join(group.states)}` divides by what depends on the state",
                equation.span,
                f"`{_written(below, made)}` may be zero",
                note="Where it comes near zero, the state and all gradients through it become huge or NaN, for all later times.",
                hint="Keep it away from zero: `1 + abs(h)`, `sqrt(h ** 2 + 1e-6)`, or divide in the yield instead.",
                severity="warning",
            )
            return


def _written(value: Expr, made: Mapping[str, list[Equation]]) -> str:
    """An expression as text; a sum that stands for itself with what it sums."""
    if isinstance(value, Var):
        equations = made.get(parse_access(value)[0], [])
        if len(equations) == 1 and equations[0].sums:
            return f"sum of {infix(equations[0].body)}"
    return infix(value)


# ---- what nothing reads ---------------------------------------------------------------------------------------------------------------


def _unread(region: Region, found: Classified) -> Iterator[Diagnostic]:
    """States that no yield depends on."""
    names = {s.before: s.before for s in found.step.states} | {s.after: s.before for s in found.step.states}
    before = {s.before for s in found.step.states}
    reached = {names[n] for n in found.step.yields if n in names}
    for equation in found.step.equations:
        made = {n for n in tensors(equation.body) if n in names}
        if made and equation.target not in {s.after for s in found.step.states}:
            reached |= {names[n] for n in made} if _feeds_yield(found.step, equation.target) else set()
    while True:
        more = {r for s in reached for r in found.reads[s]} - reached
        if not more:
            break
        reached |= more
    lost = [s.name for s in region.states if s.name in before - reached]
    if not lost:
        return
    shown = ", ".join(f"`{s}`" for s in lost)
    every = len(lost) == len(before)
    yield Diagnostic(
        "AD0712",
        f"no yield of `{region.name}` depends on {'a state' if every else f'the state {shown}'}",
        _place(found.step, lost[0]),
        f"{shown} is kept for nothing",
        note="Its steps do not depend on one another, so it need not be a scan."
        if every
        else "It costs time and memory and changes no output.",
        hint=f"Yield what the state says (`yield {lost[0]}'`), or leave it out.",
        severity="warning",
    )


def _feeds_yield(step: Step, name: str) -> bool:
    """Whether a yield is computed from a tensor without a next state in between."""
    after = {s.after for s in step.states}
    wanted = {n for n in step.yields if n not in after}
    for equation in reversed(step.equations):
        if equation.target in wanted:
            wanted |= tensors(equation.body) - after
    return name in wanted


def _unused_yields(region: Region, uses: list[tuple[Region, Node]]) -> Iterator[Diagnostic]:
    """Yields that no use of the scan reads, where it has several."""
    count = len(region.outputs)
    if count < 2 or any(node.op == "cell" for _, node in uses):
        return
    read = [any(_used(where, node, k) for where, node in uses) for k in range(count)]
    if not any(read):
        return
    for k, one in enumerate(read):
        value = region.outputs[k]
        if one or (value.name or "").startswith("_"):
            continue
        _, node = uses[0]
        ordinal = ORDINALS[k] if k < len(ORDINALS) else f"{k + 1}th"
        given = f" (`{value.name}`)" if value.name else ""
        yield Diagnostic(
            "AD0713",
            f"the {ordinal} yield of `{region.name}` is never used",
            node.origin.span,
            f"nothing reads its {ordinal} result{given}",
            labels=(Label(value.node.origin.span, "worked out here, at every step"),) if value.node is not None else (),
            hint="Leave it out of the `yield`, or use it.",
            severity="warning",
        )


def _used(where: Region, node: Node, index: int) -> bool:
    value = node.outputs[index]
    if (value.name or "").startswith("_"):
        return True
    kept = [*where.outputs, *where.taps.values(), *where.aux.values()]
    kept += [s.after for s in where.states if s.after is not None]
    kept += [s.init for s in where.states if not hasattr(s.init, "kind")]
    return any(value is v for v in kept) or any(value is v for n in where.nodes for v in n.inputs)
