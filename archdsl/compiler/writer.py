"""What a structural operation is given to write one of its nodes into a method (see structural/writer.py)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from archdsl.compiler import text
from archdsl.compiler.causality import findings
from archdsl.compiler.context import Context
from archdsl.compiler.flow import Flows
from archdsl.compiler.members import plain
from archdsl.compiler.method import Method
from archdsl.compiler.names import RESERVED, Scope, attribute, identifier
from archdsl.compiler.nodetext import slot_source
from archdsl.compiler.plan import NodeForm, Variant
from archdsl.graph.ir import Instance, Node, Region, Value
from archdsl.graph.sizes import symbol
from archdsl.structural.time import FIXED, Place
from archdsl.structural.writer import Run


class NodeWriter(NodeForm):
    """One node in one method."""

    def __init__(self, method: Method, node: Node):
        super().__init__(method.context.plan, method.flow, node)
        self._method, self._node = method, node
        self.name, self.fresh, self.temporary = method.name, method.fresh, method.temporary
        self.targets, self.define, self.compose = method.targets, method.define, method.compose
        self.line, self.block, self.lengths, self.placement = method.line, method.block, method.lengths, method.placement

    # ---- what it runs ----

    @property
    def path(self) -> str:
        assert self._node.instance is not None
        return self.instance(self._node.instance)

    @cached_property
    def runs(self) -> list[Variant]:
        method = self._method
        return self._plan.of(method.region, method.flow).runs[self._node]

    def whole_form(self, region: Region) -> Variant:
        return self._plan.whole(region)

    @property
    def undone(self) -> bool:
        return self._node in self._method.context.inversions.undone

    def instance(self, instance: Instance) -> str:
        return self._method.instance(instance, self._node)

    def call(
        self,
        run: Run,
        path: str,
        args: Sequence[str],
        slot: str = "",
        clock: str = "clock",
        lengths: str | None = None,
        borrowed: Sequence[Instance] | None = None,
    ) -> str:
        assert isinstance(run, Variant)
        needs = self._plan.handed(run)
        parts = [*args, *map(self.instance, self._node.borrowed if borrowed is None else borrowed)]
        if run.form is not None:
            parts += [slot, clock]
        for ragged in sorted(needs.lengths):
            keyword = self._plan.keyword(ragged)
            parts.append(f"{keyword}={lengths or (keyword if ragged in self._method.needs.lengths else None)}")
        parts += self._sized(needs.sizes)
        return f"{path}{'.' + run.form if run.form is not None else ''}({', '.join(parts)})"

    def sizes(self, region: Region) -> list[str]:
        return self._sized(self._plan.whole(region).needs.sizes)

    def _sized(self, symbols: set[str]) -> list[str]:
        return [f"{name}={self._method.size(symbol(name))}" for name in sorted(symbols)]

    def state_names(self, region: Region) -> dict[str, str]:
        return state_names(self._method.context, region)

    def slot(self, name: str) -> str:
        return slot_source(name)

    def counted(self, instance: Instance) -> str:
        return f'self.loop_counts["{identifier(instance.name)}"]'

    # ---- values and lines ----

    def alias(self, value: Value, source: str) -> None:
        self._method.source[value] = source

    def begin(self, values: Sequence[Value], outputs: Sequence[Value]) -> list[str]:
        method, names = self._method, []
        for value, out in zip(values, outputs):
            if value in method.pending:
                expression = method.expression(value)
                names.append(method.fresh(out))
                method.assign(names[-1], expression)
            elif method.uses[value] == 1 and method.source[value].isidentifier() and self._node.inputs.count(value) == 1:
                names.append(method.source[value])
                method.source[out] = names[-1]
            else:
                names.append(method.fresh(out))
                method.assign(names[-1], method.source[value])
        return names

    def assign(self, target: str, expression: str) -> None:
        self._method.assign(target, text.tidy(expression))

    def support(self, *names: str) -> None:
        self._method.context.support.update(names)

    def literal(self, value: float | bool | None) -> str:
        return plain(value)

    # ---- questions ----

    def looks_ahead(self, region: Region) -> bool:
        axis = region.inputs[0].type.axes[-2]
        if axis.ragged is not None and self._plan.whole(region).needs.lengths:
            return False
        places = (Place(True, (-2,)), *[FIXED] * (len(region.all_inputs) - 1))
        return bool(findings(Flows(axis.size).of(region, places))[0])


def state_names(context: Context, region: Region) -> dict[str, str]:
    """What the form over time of a scan calls the first values of its states, next to its other arguments."""
    scope = Scope(RESERVED | context.globals | {"lengths"})
    for value in region.all_inputs:
        scope.claim(value.name or "x")
    for instance in region.borrowed:
        scope.claim(attribute(instance.name))
    return {s.name: scope.claim(s.name) for s in region.states}


__all__ = ["NodeWriter", "state_names"]
