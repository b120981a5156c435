"""Writing `skip` (mixture of depths): the body sees only the positions that go through: in training the best, else those scored above 0."""

from __future__ import annotations

from archdsl.compiler import text
from archdsl.compiler.causality import findings
from archdsl.compiler.flow import FIXED, Flow, Flows, Place
from archdsl.compiler.members import plain
from archdsl.compiler.method import Method
from archdsl.compiler.plan import moving, row_wise
from archdsl.compiler.structural import borrowed_by, call_text
from archdsl.compiler.structure import body_of
from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Node, Region


def write_skip(method: Method, node: Node) -> None:
    """One `skip` node."""
    region = body_of(node)
    x, scores = method.name(node.inputs[0]), method.name(node.inputs[1])
    for value in node.inputs[2:]:
        method.name(value)
    name = method.fresh(node.outputs[0])
    use = _Use(method, node, region, x, scores, name)
    if method.flow is not None and moving(method.flow, node):
        use.step() if not row_wise(region) else use.everywhere("clock.count")
        return
    axis = node.inputs[0].type.axes[-2]
    lengths = method.lengths(axis)
    method.line("if self.training:")
    method.indent += 1
    use.pack(f"best_positions({scores}, {plain(node.attrs['capacity'])}{f', {lengths}' if lengths else ''})", "best_positions")
    if node.attrs["predict"]:
        use.predict(lengths)
    method.indent -= 1
    method.line("else:")
    method.indent += 1
    if row_wise(region):
        use.everywhere(None)
    else:
        _require_causal(method, node, region)
        method.owner.file.support.add("open_positions")
        use.pack(f"chosen_first(open_positions({scores}, {lengths}))", "chosen_first")
    method.indent -= 1


class _Use:
    def __init__(self, method: Method, node: Node, region: Region, x: str, scores: str, name: str):
        self.method, self.node, self.region = method, node, region
        self.x, self.scores, self.name = x, scores, name
        self.path = method.instance(node.instance, node)  # type: ignore[arg-type]
        self.borrowed = borrowed_by(method, node)
        ((_, self.flow),) = method.owner.plan.runs(node, method.flow)
        self.order, self.count = method.temporary("order"), method.temporary("count")
        self.gated = "" if node.attrs["gated"] else ", gated=False"

    def everywhere(self, count: str | None) -> None:
        """The body works on each position alone: run it on all, keep what was chosen."""
        self._need("mix_skipped")
        args = [self.x, *(self.method.name(v) for v in self.node.inputs[2:])]
        through = call_text(self.method, self.path, self.region, None, args, self.borrowed, "")
        self.method.assign(self.name, text.tidy(f"mix_skipped({self.x}, {through}, {self.scores}, {self.scores} > 0{self.gated})"))

    def pack(self, choice: str, support: str) -> None:
        """The chosen positions to the front, through the body, and back."""
        self._need(support, "at_positions", "put_back")
        self.method.assign(f"{self.order}, {self.count}", choice)
        self._through(self._call(None, "", "clock"))

    def predict(self, lengths: str | None) -> None:
        """The side loss that makes the scores say which positions are among the best."""
        self._need("choice_loss")
        loss = self.method.fresh(self.node.outputs[1])
        given = f"{self.scores}, {self.order}, {self.count}{f', {lengths}' if lengths else ''}"
        self.method.assign(loss, f"{plain(self.node.attrs['predict'])} * choice_loss({given})")

    def step(self) -> None:
        """Decoding: the body keeps its own count of the positions it has seen."""
        self._need("open_positions", "chosen_first", "inner_clock", "at_positions", "put_back")
        method = self.method
        slot, clock = method.temporary("slot"), method.temporary("inner")
        method.assign(slot, method.slot(self.node.occurrence))
        method.assign(f"{self.order}, {self.count}", f"chosen_first(open_positions({self.scores}, clock.count))")
        method.assign(clock, f"inner_clock({slot}, {self.count}, {self.x}.shape[-2], clock.limit)")
        self._through(self._call(self.flow, f'{slot}.setdefault("body", {{}})', clock))
        method.line(f"{clock}.advance()")

    def _through(self, call: str) -> None:
        through = self.method.temporary("through")
        self.method.assign(through, call)
        self.method.assign(self.name, f"put_back({self.x}, {through}, {self.scores}, {self.order}, {self.count}{self.gated})")

    def _call(self, flow: Flow | None, slot: str, clock: str) -> str:
        args = [f"at_positions({self.x}, {self.order}, -2)"]
        time = self.node.inputs[0].type.axes[-2].identity
        for value in self.node.inputs[2:]:
            places = [i - value.type.rank for i, a in enumerate(value.type.axes) if a.identity == time]
            source = self.method.name(value)
            args.append(f"at_positions({source}, {self.order}, {places[0]})" if places else source)
        call = call_text(self.method, self.path, self.region, flow, args, self.borrowed, slot, clock, f"{self.count}.squeeze(-1)")
        return text.tidy(call)

    def _need(self, *names: str) -> None:
        self.method.owner.file.support.update(names)


def _require_causal(method: Method, node: Node, region: Region) -> None:
    """Packed positions are followed by ones that must not be seen: a causal body does not look, one with lengths knows where to stop."""
    axis = region.inputs[0].type.axes[-2]
    if axis.ragged is not None and method.owner.plan.of(region, None).lengths:
        return
    places = (Place(True, (-2,)), *[FIXED] * (len(region.all_inputs) - 1))
    if findings(Flows(axis.size).of(region, places))[0]:
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
