"""`scan`: a step run at every position of a time axis.

Inputs: whole sequences, what the step captures, then the states it begins with where the caller gives them. The region holds one step; its class
has a form over time (see compiler/scans.py). attrs: sequenced (for each input of the step, whether it has the time axis), initial (state to the
number of the input that brings it), final (whether the last states are results too), body_ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from archdsl.graph.ir import Axis, Node, Region, Value
from archdsl.primitives.base import Slot
from archdsl.structural.base import Feed, Stepped, Structural, body_of, handed, instance_of, single_positions
from archdsl.structural.time import FIXED, Place, Time
from archdsl.structural.writer import Form, Writer


class Scan(Structural):
    name = "scan"
    category = "mixing"
    steps_below = False
    through_time = True

    def feeds(self, node: Node) -> list[Feed]:
        """Inputs and captures; the initial states given by the caller are not among them."""
        region = body_of(node)
        return [Feed(node, instance_of(node), region, tuple(range(len(node.inputs)))[: len(region.all_inputs)], handed(node))]

    def own(self, node: Node) -> int:
        return len(body_of(node).inputs)

    def stepped(self, node: Node) -> Stepped:
        region = body_of(node)
        count, given = len(region.inputs), node.attrs["initial"]
        begin = {s: node.inputs[given[s.name]] for s in region.states if s.name in given}
        return Stepped(region, node.inputs[:count], node.inputs[count:], begin, bool(node.attrs["final"]))

    def flow(self, node: Node, time: Time) -> list[Place]:
        single_positions(node, time)
        (feed,) = self.feeds(node)
        region = feed.region
        inside: list[Place] = []
        moving = any(time.place(v).moving for v in node.inputs)
        recurrent = False
        for i, (value, inner) in enumerate(zip(feed.inputs, region.all_inputs)):
            place = time.place(value) if value is not None else FIXED
            body = inner.type.rank
            recurrent |= i < len(region.inputs) and node.attrs["sequenced"][i] and -1 - body in place.axes
            inside.append(Place(place.moving, tuple(a for a in place.axes if a >= -body)))
        time.below([time.look(region, (*inside, *[Place(moving) for _ in region.states]))])
        places = [Place(moving, self._axes(time, out, step, recurrent)) for out, step in zip(node.outputs, region.outputs)]
        return places + [Place(moving)] * (len(node.outputs) - len(places))

    def _axes(self, time: Time, value: Value, step: Value, recurrent: bool) -> tuple[int, ...]:
        axes, along = time.axes(value), -1 - step.type.rank
        return (along,) if recurrent and along not in axes else axes

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(body_of(node), leading(node.outputs[0], body_of(node).outputs[0]))]

    def slots(self, node: Node) -> list[Slot]:
        out, step = node.outputs[0].type, body_of(node).outputs[0].type
        lead = out.sizes[: max(out.rank - step.rank - 1, 0)]
        return [Slot(s.name, (*lead, *s.before.type.sizes), s.before.type.kind) for s in body_of(node).states]

    def problems(self, node: Node) -> Iterator[str]:
        names = {s.name for s in body_of(node).states}
        for name, index in node.attrs["initial"].items():
            if name not in names or not 0 <= index < len(node.inputs):
                yield f"the initial state {name!r} is not one of the inputs"
        if len(node.attrs["sequenced"]) != len(body_of(node).inputs):
            yield "`sequenced` does not say for each input whether it has a time axis"

    # ---- listing and drawing ----

    def what(self, node: Node) -> str:
        return f"scan {body_of(node).name}"

    def ports(self, node: Node) -> list[int]:
        region = body_of(node)
        states = {s.name: len(region.all_inputs) + i for i, s in enumerate(region.states)}
        given = {index: states[name] for name, index in node.attrs["initial"].items()}
        return [given.get(i, i) for i in range(len(node.inputs))]

    # ---- emission ----

    def measured(self, node: Node, form: Form) -> Axis | None:
        return None if form.stepping else _time(node)

    def keeps(self, node: Node, form: Form) -> bool:
        return form.stepping and form.over_time(_time(node))

    def write(self, node: Node, w: Writer) -> None:
        region, axis = body_of(node), _time(node)
        count, stepping = len(region.all_inputs), w.over_time(axis)
        borrowed = [w.instance(i) for i in handed(node)]
        lengths = None if stepping else w.lengths(axis)
        initial: dict[str, int] = node.attrs["initial"]

        def make(args: list[str]) -> str:
            keyword = w.state_names(region)
            parts = [*(arg + _aligned(node, i) for i, arg in enumerate(args[:count])), *borrowed]
            parts += [w.slot(node.occurrence), "clock"] if stepping else []
            parts += [f"{keyword[state]}={args[i]}{_begun(node, state, w)}" for state, i in initial.items()]
            parts += [f"lengths={lengths}"] if lengths is not None else []
            return f"{w.path}{'.step' if stepping else ''}({', '.join([*parts, *w.sizes(region)])})"

        call = w.compose(node.inputs, make)
        if node.attrs["final"]:
            w.assign(", ".join(w.targets(node.outputs)), call)
        elif len(region.outputs) == 1:
            w.define(node.outputs, f"{call}[0]")
        else:
            w.assign(", ".join([*w.targets(node.outputs), "*_"]), call)


def _time(node: Node) -> Axis:
    """The axis a scan runs over, taken from its first sequenced input."""
    for inner, outer, sequenced in zip(body_of(node).inputs, node.inputs, node.attrs["sequenced"]):
        if sequenced:
            return outer.type.axes[-1 - inner.type.rank]
    raise ValueError("a scan needs an input that has a time axis")


def lead_axes(node: Node) -> int:
    """How many axes stand between batch and time."""
    pairs = zip(node.inputs, body_of(node).inputs, node.attrs["sequenced"])
    return max((o.type.rank - i.type.rank - 1 for o, i, timed in pairs if timed), default=0)


def widened(missing: int) -> str:
    """What gives a batched value axes of size one after its batch axis."""
    return f"[:, {', '.join(['None'] * missing)}]" if missing > 0 else ""


def _aligned(node: Node, place: int) -> str:
    """What gives an input over time as many axes before time as the others have."""
    region, given = body_of(node), node.inputs[place].type
    if place >= len(region.inputs) or not node.attrs["sequenced"][place] or not given.batched:
        return ""
    return widened(lead_axes(node) - (given.rank - region.inputs[place].type.rank - 1))


def _begun(node: Node, state: str, w: Writer) -> str:
    """What makes a state of a value that the caller brings: lead axes after its batch axis where it has none, and the state's kind of numbers."""
    given = node.inputs[node.attrs["initial"][state]].type
    wanted = next(s.before.type for s in body_of(node).states if s.name == state)
    text = widened(lead_axes(node) + wanted.rank - given.rank) if given.batched else ""
    if given.kind != wanted.kind:
        text += ".long()" if wanted.kind == "int" else f".to({w.placement(wanted.kind)})"
    return text


def leading(whole: Value, step: Value) -> Any:
    """How many positions a whole value has for one of a step's."""
    count: Any = 1
    for size in whole.type.sizes[: whole.type.rank - step.type.rank]:
        count = count * size
    return count


SCAN = Scan()
