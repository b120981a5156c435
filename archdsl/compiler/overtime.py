"""The names that the forms of a scan over time share."""

from __future__ import annotations

from archdsl.compiler.context import Context
from archdsl.compiler.members import stand_in
from archdsl.compiler.method import Method
from archdsl.compiler.plan import Needs
from archdsl.compiler.writer import state_names
from archdsl.graph.ir import Node, Region, Value
from archdsl.recurrence.split import stateful


class OverTime:
    """A method whose inputs are [batch, lead…, time, body…] and whose states have names. node: one of the uses, which shows the shapes."""

    def __init__(self, context: Context, region: Region, node: Node):
        self.context, self.region, self.node = context, region, node
        self.method = Method(context, region, None, Needs(sizes=set(context.plan.whole(region).needs.sizes)))
        values = self.method.parameters(region.all_inputs)
        self.states = list(state_names(context, region).values())
        self.method.scope.taken |= {"lengths", *self.states}
        self.given = ["self", *values]  # declarations without those of the states
        self.starts = [f"{s}: Tensor | None = None" for s in self.states]
        self.sequenced: list[bool] = list(node.attrs["sequenced"])
        self.names = [self.method.source[v] for v in region.inputs]
        timed = [(o.type, i.type) for o, i, t in zip(node.inputs, region.inputs, self.sequenced) if t]
        self.uneven = len({(outer.batched, outer.sizes[: outer.rank - inner.rank - 1]) for outer, inner in timed}) > 1
        self.stateful = stateful(region)
        self.lead_name = "lead"

    @property
    def result(self) -> str:
        return f"tuple[{', '.join(['Tensor'] * (len(self.region.outputs) + len(self.states)))}]"

    def lead(self) -> str:
        """Source of the batch and lead shape."""
        given = [g[:3] for g in zip(self.names, self.node.inputs, self.region.inputs, self.sequenced) if g[3]]
        shapes = [f"{name}.shape[:{-1 - inner.type.rank}]" for name, _, inner in given]
        if {outer.type.rank - inner.type.rank for _, outer, inner in given} == {1}:  # the batch axis, which some may lack
            return next((shape for shape, (_, outer, _) in zip(shapes, given) if outer.type.batched), shapes[0])
        return shapes[0] if len(shapes) == 1 else f"torch.broadcast_shapes({', '.join(shapes)})"

    def thin(self, value: Value) -> bool:
        """Whether a value may lack batch or lead axes: it comes from no state, and not from inputs that all have them."""
        return id(value) not in self.stateful and (self.uneven or not value.type.batched)

    def stretched(self, source: str, value: Value, timed: bool) -> str:
        """A thin value as [batch, lead…, time, body…]; timed: it has its time axis."""
        name, inner = next((n, i) for n, i, t in zip(self.names, self.region.inputs, self.sequenced) if t)
        time = "-1" if timed else f"{name}.shape[{-1 - inner.type.rank}]"
        return f"{source}.expand(({', '.join([f'*{self.lead_name}', time, *['-1'] * value.type.rank])}))"

    def like(self) -> str:
        """A tensor whose dtype and device new states take: an input of floats, or the buffer that stands in for one."""
        numbers = {v.type.kind: name for name, v in zip(self.names[::-1], self.region.inputs[::-1])}
        return numbers.get("float") or numbers.get("complex") or f"self.{stand_in(self.region)}"


__all__ = ["OverTime"]
