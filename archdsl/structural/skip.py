"""`skip` (mixture of depths): the region sees only the positions that go through: in training the best, else those scored above 0.

Inputs: the value, one score per position, then what the region captures. attrs: capacity (the share that goes through in training), gated
(whether results are weighed by their scores), predict (weight of the side loss that makes the scores say which positions go through).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Axis, Node, Region
from archdsl.structural.base import Feed, Structural, body_of, instance_of, single_positions
from archdsl.structural.time import Place, Time, joined
from archdsl.structural.writer import Form, Run, Writer


class Skip(Structural):
    name = "skip"
    category = "control"
    keeps_types = True

    def feeds(self, node: Node) -> list[Feed]:
        return [Feed(node, instance_of(node), body_of(node), (0, *range(2, len(node.inputs))), node.borrowed)]

    def own(self, node: Node) -> int:
        return 2

    def flow(self, node: Node, time: Time) -> list[Place]:
        single_positions(node, time)
        (feed,) = self.feeds(node)
        time.below([time.look(feed.region, feed.places(time))])
        x, scores = (time.place(v) for v in node.inputs[:2])
        return [joined([x, scores], x)]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        return [(body_of(node), Fraction(node.attrs["capacity"]).limit_denominator(1000))]

    def what(self, node: Node) -> str:
        return f"skip, capacity {node.attrs['capacity']:g}"

    # ---- emission ----

    def measured(self, node: Node, form: Form) -> Axis | None:
        return None if form.stepping else _positions(node)

    def keeps(self, node: Node, form: Form) -> bool:
        return form.stepping and not form.row_wise(body_of(node))

    def write(self, node: Node, w: Writer) -> None:
        x, scores = w.name(node.inputs[0]), w.name(node.inputs[1])
        for value in node.inputs[2:]:
            w.name(value)
        use = _Use(w, node, x, scores, w.fresh(node.outputs[0]))
        if w.stepping:
            use.step() if self.keeps(node, w) else use.everywhere()
            return
        lengths = w.lengths(_positions(node))
        with w.block("if self.training:"):
            limit = f"{w.literal(node.attrs['capacity'])}{f', {lengths}' if lengths else ''}"
            use.pack(f"best_positions({scores}, {limit})", "best_positions")
            if node.attrs["predict"]:
                use.predict(lengths)
        with w.block("else:"):
            if w.row_wise(body_of(node)):
                use.everywhere()
                return
            if w.looks_ahead(body_of(node)):
                _refuse(node)
            w.support("open_positions")
            use.pack(f"chosen_first(open_positions({scores}, {lengths}))", "chosen_first")


class _Use:
    def __init__(self, w: Writer, node: Node, x: str, scores: str, name: str):
        self.w, self.node, self.x, self.scores, self.name = w, node, x, scores, name
        (self.run,) = w.runs
        self.whole = w.whole_form(body_of(node))
        self.order, self.count = w.temporary("order"), w.temporary("count")
        self.gated = "" if node.attrs["gated"] else ", gated=False"

    def everywhere(self) -> None:
        """The body works on each position alone: run it on all, keep what was chosen."""
        w = self.w
        w.support("mix_skipped")
        through = w.call(self.whole, w.path, [self.x, *(w.name(v) for v in self.node.inputs[2:])])
        w.assign(self.name, f"mix_skipped({self.x}, {through}, {self.scores}, {self.scores} > 0{self.gated})")

    def pack(self, choice: str, support: str) -> None:
        """The chosen positions to the front, through the body, and back."""
        self.w.support(support, "at_positions", "put_back")
        self.w.assign(f"{self.order}, {self.count}", choice)
        self._through(self._call(self.whole, "", "clock"))

    def predict(self, lengths: str | None) -> None:
        """The side loss that makes the scores say which positions are among the best."""
        w = self.w
        w.support("choice_loss")
        loss = w.fresh(self.node.outputs[1])
        given = f"{self.scores}, {self.order}, {self.count}{f', {lengths}' if lengths else ''}"
        w.assign(loss, f"{w.literal(self.node.attrs['predict'])} * choice_loss({given})")

    def step(self) -> None:
        """Decoding: the body keeps its own count of the positions it has seen."""
        w = self.w
        w.support("open_positions", "chosen_first", "inner_clock", "at_positions", "put_back")
        slot, clock = w.temporary("slot"), w.temporary("inner")
        w.assign(slot, w.slot(self.node.occurrence))
        w.assign(f"{self.order}, {self.count}", f"chosen_first(open_positions({self.scores}, clock.count))")
        w.assign(clock, f"inner_clock({slot}, {self.count}, {self.x}.shape[-2], clock.limit)")
        self._through(self._call(self.run, f'{slot}.setdefault("body", {{}})', clock))
        w.line(f"{clock}.advance()")

    def _through(self, call: str) -> None:
        through = self.w.temporary("through")
        self.w.assign(through, call)
        self.w.assign(self.name, f"put_back({self.x}, {through}, {self.scores}, {self.order}, {self.count}{self.gated})")

    def _call(self, run: Run, slot: str, clock: str) -> str:
        args = [f"at_positions({self.x}, {self.order}, -2)"]
        time = _positions(self.node).identity
        for value in self.node.inputs[2:]:
            places = [i - value.type.rank for i, a in enumerate(value.type.axes) if a.identity == time]
            source = self.w.name(value)
            args.append(f"at_positions({source}, {self.order}, {places[0]})" if places else source)
        return self.w.call(run, self.w.path, args, slot, clock, f"{self.count}.squeeze(-1)")


def _positions(node: Node) -> Axis:
    """The axis whose positions go through or not."""
    return node.inputs[0].type.axes[-2]


def _refuse(node: Node) -> None:
    """Packed positions are followed by ones that must not be seen: a causal body does not look, one with lengths knows where to stop."""
    raise ArchError(
        Diagnostic(
            "AD0702",
            "the body of `skip` looks at later positions",
            node.origin.span,
            "not causal, and its input has no lengths",
            node.origin.via,
            "Outside training each sequence lets its own number of positions through, so the body must know where they end.",
            "Declare the input with `lengths`, or use a causal body.",
        )
    )


SKIP = Skip()
