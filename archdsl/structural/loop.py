"""`loop`: one region applied again and again, with the same weights.

Inputs: the values that are carried, then what the region captures. attrs: carried, count, start (of the index), index (whether the region takes
it), step (how far each round goes, or None), until (adaptive computation time: threshold, bias, cost; or None), named (whether a built module
may run it more or less often).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from archdsl.graph.ir import Axis, Node, Region
from archdsl.structural.base import Applied, Drawn, Feed, Outputs, Structural, body_of, carried, hands_on, instance_of, types_differ
from archdsl.structural.time import FIXED, Place, Time, joined
from archdsl.structural.writer import Form, Writer


class Loop(Structural):
    name = "loop"
    category = "control"
    short = "x"
    by_part = False

    def feeds(self, node: Node) -> list[Feed]:
        index: tuple[int | None, ...] = (None,) if node.attrs["index"] else ()
        return [Feed(node, instance_of(node), body_of(node), (*index, *range(len(node.inputs))), node.borrowed)]

    def own(self, node: Node) -> int:
        return carried(node)

    def applied(self, node: Node) -> Applied:
        return Applied(node.attrs["count"], node.attrs["step"], node.attrs["until"] is None)

    def flow(self, node: Node, time: Time) -> list[Place]:
        count, index = carried(node), [FIXED] * bool(node.attrs["index"])
        places = [time.place(v) for v in node.inputs]
        current, rest = places[:count], places[count:]
        for _ in range(count + 3):  # what is carried can only begin to move, at least one value a round, and then settle where it has the axis
            seen = time.look(body_of(node), (*index, *current, *rest))
            settled = [joined([a, b], b) for a, b in zip(current, seen.outputs)]
            if settled == current:
                break
            current = settled
        time.below([seen])
        return current

    def needed(self, node: Node, used: Outputs, depends: Callable[[Region, Outputs], Outputs]) -> list[Outputs | None]:
        """What one round hands to the next may be needed there only; whether to go on depends on the first."""
        if node.attrs["until"] is not None:
            return [None]
        count, offset = carried(node), bool(node.attrs["index"])
        kept: Outputs = frozenset(i for i in used if i < count)
        while (more := kept | {i - offset for i in depends(body_of(node), kept) if offset <= i < count + offset}) != kept:
            kept = more
        return [kept]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(body_of(node), node.attrs["count"])]

    def problems(self, node: Node) -> Iterator[str]:
        extra = node.attrs["until"] is not None
        yield from hands_on(node, self.feeds(node), extra, extra and bool(node.attrs["until"]["cost"]))
        count = carried(node)
        yield from types_differ(node.inputs[:count], node.outputs[:count])

    # ---- listing and drawing ----

    def what(self, node: Node) -> str:
        return f"loop, {node.attrs['count']} x"

    def note(self, node: Node) -> str:
        return "one set of weights"

    def drawn(self, node: Node) -> Drawn:
        return Drawn([body_of(node)], node.attrs["count"])

    # ---- emission ----

    def counted(self, node: Node) -> int | None:
        return node.attrs["count"] if node.attrs["named"] else None

    def measured(self, node: Node, form: Form) -> Axis | None:
        until = node.attrs["until"]
        return _halting_axis(node) if form.whole and until is not None and until["cost"] else None

    def write(self, node: Node, w: Writer) -> None:
        (run,) = w.runs
        attrs, count, path = node.attrs, carried(node), w.path
        captured = [w.name(v) for v in node.inputs[count:]]
        names = w.begin(node.inputs[:count], node.outputs)
        start, rounds, slot = attrs["start"] or 0, attrs["count"], ""
        indexed = bool(run.form or attrs["index"] or attrs["until"])
        number = w.temporary("i") if indexed else "_"
        halting = _Halting(w, node, names) if attrs["until"] is not None else None
        if run.form:
            slots = w.temporary("slots")
            w.assign(slots, w.slot(node.occurrence))
            slot = f"{slots}.setdefault({number}, {{}})"
        end = f"{f'{start} + ' if start else ''}{w.counted(instance_of(node))}" if attrs["named"] else str(start + rounds)
        with w.block(f"for {number} in range({f'{start}, ' if start else ''}{end}):"):
            index = [f"torch.tensor({number}, device={names[0]}.device)"] if attrs["index"] else []
            call = w.call(run, path, [*index, *names, *captured], slot)
            if halting is not None:
                halting.round(call, f"{number} == {end} - 1" if attrs["named"] else f"{number} == {start + rounds - 1}")
            elif attrs["step"] is not None:
                _damped(w, names, call, attrs["step"])
            else:
                w.assign(", ".join(names), call)
        if halting is not None:
            halting.end()


def _damped(w: Writer, names: list[str], call: str, step: float) -> None:
    """x <- x + step * (f(x) - x)."""
    if len(names) == 1:
        w.assign(names[0], f"{names[0]} + {w.literal(step)} * ({call} - {names[0]})")
        return
    news = [w.temporary(f"{n}_new") for n in names]
    w.assign(", ".join(news), call)
    for name, new in zip(names, news):
        w.assign(name, f"{name} + {w.literal(step)} * ({new} - {name})")


class _Halting:
    """Adaptive computation time (Graves, 2016): each position stops on its own; the result is the mean of its states by halting share."""

    def __init__(self, w: Writer, node: Node, names: list[str]):
        self.w, self.names, self.node = w, names, node
        self.threshold = node.attrs["until"]["threshold"]
        self.cost = node.attrs["until"]["cost"] if w.whole else 0.0  # a side loss of training
        w.support("halting_share")
        self.left = w.temporary("left")
        self.means = [w.temporary(f"{n}_mean") for n in names]
        w.assign(self.left, f"torch.ones_like({names[0]}[..., :1])")
        for mean, name in zip(self.means, names):
            w.assign(mean, f"torch.zeros_like({name})")
        if self.cost:
            w.support("pondered", "pondering")
            self.ponder = w.temporary("ponder")
            w.assign(self.ponder, f"torch.zeros_like({self.left})")

    def round(self, call: str, last: str) -> None:
        w, left = self.w, self.left
        news = [w.temporary(f"{n}_new") for n in self.names]
        logit, share = w.temporary("logit"), w.temporary("share")
        w.assign(", ".join([*news, logit]), call)
        w.assign(share, f"halting_share({logit}, {left}, {w.literal(self.threshold)}, {last})")
        for name, new, mean in zip(self.names, news, self.means):
            w.assign(mean, f"{mean} + {share} * {new}")
            w.assign(name, f"torch.where({left} > 0, {new}, {name})")
        if self.cost:
            w.assign(self.ponder, f"pondered({self.ponder}, {left}, {share})")
        w.assign(left, f"{left} - {share}")

    def end(self) -> None:
        w, outputs = self.w, self.node.outputs
        for value, mean in zip(outputs, self.means):
            w.alias(value, mean)
        if self.cost:
            axis = _halting_axis(self.node)
            lengths = w.lengths(axis) if axis is not None else None
            w.assign(w.fresh(outputs[-1]), f"{w.literal(self.cost)} * pondering({self.ponder}{f', {lengths}' if lengths else ''})")


def _halting_axis(node: Node) -> Axis | None:
    """The axis of the positions that halt on their own, if there is one."""
    axes = node.inputs[0].type.axes
    return axes[-2] if len(axes) > 1 else None


LOOP = Loop()
