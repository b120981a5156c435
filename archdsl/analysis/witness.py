"""Whether primitives of one's own do what they say of time: each use alone, in numbers. Run where ARCHDSL_VERIFY is set.

One position of an input is changed, and what moves must be allowed to by `time`; the step form must give what the whole form gives, and keep
no more than `slots` says. A use that cannot run alone on made-up numbers (it needs a module, or a size that its inputs do not show) is passed
over; what a primitive calls UNDECLARED is not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from archdsl.diagnostics import ArchError, Diagnostic
from archdsl.graph.ir import Graph, Instance, Node, Region, Value, attributes
from archdsl.graph.sizes import Poly, evaluate
from archdsl.primitives import TABLE
from archdsl.primitives.custom import own_primitives

if TYPE_CHECKING:
    import torch

    from archdsl.compiler.flow import Flow

LENGTHS = (12, 120)  # what symbols of sizes are tried as: multiples of most numbers
TRIED = 16  # positions of an axis that are changed, one by one: from both ends
CLOSE = 1e-9  # of the largest entry, in float64


def check_own(graph: Graph) -> None:
    """Raises ArchError AD0924 with every use of one's own primitives that is not as they say."""
    own = own_primitives()
    found = []
    for _, region in graph.walk():
        for node in region.nodes:
            if node.op in own:
                found += [*_contradictions(node, graph)][:1]
    if found:
        raise ArchError(*found)


def _contradictions(node: Node, graph: Graph) -> Iterator[Diagnostic]:
    made = next((m for length in LENGTHS if (m := _Alone.made(node, graph, length)) is not None), None)
    if made is not None:
        yield from made.moved()
        yield from made.stepped()


class _Alone:
    """One use as a model of its own, with inputs of float64 numbers."""

    def __init__(self, node: Node, graph: Graph, length: int):
        self.node, self.primitive, self.length = node, TABLE[node.op], length
        region = Region("alone", "arch", node.origin.span)
        inputs = [Value(v.type, region, name=f"x{i}") for i, v in enumerate(node.inputs)]
        self.alone = Node(node.op, inputs, node.attrs, [], node.origin, occurrence=node.occurrence, value_inputs=node.value_inputs)
        self.alone.outputs = [Value(v.type, region, self.alone, index=i) for i, v in enumerate(node.outputs)]
        if node.instance is not None:
            given = node.instance
            self.alone.instance = Instance(given.name, given.op, region, given.weights, node=self.alone)
            region.instances[given.name] = self.alone.instance
        region.inputs, region.nodes, region.outputs = inputs, [self.alone], list(self.alone.outputs)
        self.graph = Graph("Alone", region, graph.facts, {})
        self.model: Any = None
        self.inputs: list[torch.Tensor] = []
        self.whole: list[torch.Tensor] = []  # what it gives

    @classmethod
    def made(cls, node: Node, graph: Graph, length: int) -> _Alone | None:
        """The use, run once; None where it cannot run like this."""
        if node.through is not None or any(isinstance(value, Instance) for value in attributes(node).values()):
            return None
        alone = cls(node, graph, length)
        try:
            alone.build()
            alone.whole = alone.run(alone.inputs)
        except (RuntimeError, ValueError, IndexError, AssertionError):
            return None
        return alone

    def build(self) -> None:
        import torch

        from archdsl.compiler.building import build

        self.model = build(self.graph, dtype="float64").eval()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            for weight in self.model.parameters():  # none stays zero, which could hide what it multiplies
                weight += 0.1 * torch.randn_like(weight)
            self.inputs = [self._drawn(v) for v in self.alone.inputs]

    def _drawn(self, value: Value) -> torch.Tensor:
        import torch

        sizes = [evaluate(s, dict.fromkeys(s.symbols(), self.length)) if isinstance(s, Poly) else s for s in value.type.sizes]
        shape = [*([2] if value.type.batched else []), *map(int, sizes)]
        if value.type.kind in ("int", "bool"):
            return torch.randint(0, 2, shape, dtype=torch.int64 if value.type.kind == "int" else torch.bool)
        return torch.randn(shape, dtype=torch.complex128 if value.type.kind == "complex" else torch.float64)

    def run(self, inputs: list[Any], form: Callable[..., Any] | None = None) -> list[Any]:
        """What a form gives, as a list; draws are the same each time."""
        import torch

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            result = (form or self.model)(*inputs)
        return list(result) if isinstance(result, tuple) else [result]

    # ---- what moves ----

    def moved(self) -> Iterator[Diagnostic]:
        """Changes of one position that reach where `time` says they do not."""
        for i, value in enumerate(self.alone.inputs):
            for axis in range(-value.type.rank, 0):
                reach = self.primitive.time(self.node, i, axis)
                if reach.low is None and reach.high is None:
                    continue
                for position in _positions(self.inputs[i].shape[axis]):
                    for place in self._places(self._changed(i, axis, position), value.type.axes[axis].identity):
                        if not reach.admits(place, position):
                            yield self._said(
                                f"changing position {position} of `{self._port(i)}` along its axis {axis + value.type.rank} "
                                f"moves position {place} of the result",
                                f"There `time` says that position i reads {reach}.",
                                "Let `time` tell what is read: everything(…) with the reason, EARLIER, or window(…).",
                            )

    def _changed(self, index: int, axis: int, position: int) -> list[torch.Tensor]:
        import torch

        inputs = [x.clone() for x in self.inputs]
        there = inputs[index].select(axis, position)
        there.copy_(1 - there if there.dtype == torch.int64 else ~there if there.dtype == torch.bool else 2 * there + 1)
        return self.run(inputs)

    def _places(self, outputs: list[torch.Tensor], identity: int) -> Iterator[int]:
        """The positions of the results that differ, along the axis that goes on from the input's."""
        for value, before, after in zip(self.alone.outputs, self.whole, outputs):
            axes = [j - value.type.rank for j, a in enumerate(value.type.axes) if a.identity == identity]
            if len(axes) == 1:
                differ = _apart(before, after).movedim(axes[0], 0)
                yield from differ.reshape(differ.shape[0], -1).any(1).nonzero().flatten().tolist()

    def _port(self, index: int) -> str:
        ports = self.primitive.inputs
        return ports[min(index, len(ports) - 1)] if ports else str(index)

    # ---- the step form ----

    def stepped(self) -> Iterator[Diagnostic]:
        """Where decoding position by position gives something else than the whole, or keeps what `slots` does not name."""
        from archdsl.compiler.causality import causality

        report = causality(self.graph)
        past = any(a.past for v in self.alone.inputs for a in v.type.axes)  # kept by the `history` that it comes from
        if not report.decodable or report.flow is None or past or self.primitive.random(self.node):
            return
        try:
            joined, state = self._decoded(report.flow)
        except RuntimeError as error:
            yield self._said("decoding it position by position fails", str(error).split("\n")[0])
            return
        if any(a.shape != b.shape or bool(_apart(a, b).any()) for a, b in zip(self.whole, joined)):
            yield self._said(
                "decoding it position by position gives something else than the whole",
                "What depends on earlier positions, or on which position it is, needs a step form of its own.",
                "Give `step`, with `e.clock` for the positions and `e.slot` for what is kept.",
            )
            return
        kept = {name for key, slot in state.items() if key not in ("clock", "fixed") for name in slot}
        unnamed = kept - {slot.name for slot in self.primitive.slots(self.node)}
        if unnamed:
            yield self._said(f"its step form keeps `{min(unnamed)}`, which `slots` does not name", hint="Let `slots` give a Slot for it.")

    def _decoded(self, flow: Flow) -> tuple[list[torch.Tensor], dict[str, Any]]:
        """The outputs of all positions decoded one by one, and the state at the end."""
        import torch

        along = [flow.place(v).axis for v in self.alone.inputs]
        results: list[list[torch.Tensor]] = []
        state: dict[str, Any] = {}
        for position in range(self.length):
            parts = [x if axis is None else x.narrow(axis, position, 1) for x, axis in zip(self.inputs, along)]
            decoded = [x for x, axis in zip(parts, along) if axis is not None]
            out, state = self.run([*decoded, state], self.model.step) if state else self.run(parts, self.model.prefill)
            results.append(list(out) if isinstance(out, tuple) else [out])
        axes = [flow.place(v).axes[0] for v in self.alone.outputs]
        return [torch.cat([r[i] for r in results], axis) for i, axis in enumerate(axes)], state

    def _said(self, label: str, note: str = "", hint: str = "") -> Diagnostic:
        origin = self.node.origin
        return Diagnostic("AD0924", f"`{self.node.op}` does not do what it says", origin.span, label, origin.via, note, hint)


def _positions(size: int) -> list[int]:
    """All positions of a short axis, those at both ends of a long one."""
    return list(range(size)) if size <= TRIED else [*range(TRIED // 2), *range(size - TRIED // 2, size)]


def _apart(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Where two tensors differ by more than rounding."""
    import torch

    if a.dtype in (torch.bool, torch.int64):
        return a != b
    largest = float(a.abs().nan_to_num(0, 0, 0).max()) if a.numel() else 0.0
    return ~torch.isclose(a, b, rtol=0, atol=CLOSE * (1 + largest), equal_nan=True)


__all__ = ["check_own"]
