"""The names that the forms of a scan over time share."""

from __future__ import annotations

from archdsl.compiler.context import Context
from archdsl.compiler.members import stand_in
from archdsl.compiler.method import Method
from archdsl.compiler.plan import Needs
from archdsl.compiler.writer import state_names
from archdsl.graph.ir import Node, Region


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

    @property
    def result(self) -> str:
        return f"tuple[{', '.join(['Tensor'] * (len(self.region.outputs) + len(self.states)))}]"

    @property
    def lead_axes(self) -> int:
        """How many axes stand between the batch and time."""
        return max((o.type.rank - i.type.rank - 1 for o, i in zip(self.node.inputs, self.region.inputs)), default=0)

    def lead(self) -> str:
        """Source of the batch and lead shape."""
        shapes = [
            f"{name}.shape[:{-1 - value.type.rank}]" for name, value, timed in zip(self.names, self.region.inputs, self.sequenced) if timed
        ]
        ranks = {outer.type.rank - inner.type.rank for outer, inner, t in zip(self.node.inputs, self.region.inputs, self.sequenced) if t}
        return shapes[0] if ranks == {1} or len(shapes) == 1 else f"torch.broadcast_shapes({', '.join(shapes)})"

    def like(self) -> str:
        """A tensor whose dtype and device new states take: an input of floats, or the buffer that stands in for one."""
        numbers = {v.type.kind: name for name, v in zip(self.names[::-1], self.region.inputs[::-1])}
        return numbers.get("float") or numbers.get("complex") or f"self.{stand_in(self.region)}"


__all__ = ["OverTime"]
