"""The core of a scan's region as equations in index notation, or the reason why it has none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from archdsl.diagnostics import Span
from archdsl.graph.expressions import Const, Expr, Var, const
from archdsl.graph.ir import Node, Region, Value
from archdsl.recurrence.definition import Definition, NotElementary, Pair, Table, sizes_of
from archdsl.recurrence.split import Parts, split
from archdsl.recurrence.step import INDICES, Equation, StateOf, Step, Tensor, access, reindexed
from archdsl.recurrence.whole import large


@dataclass
class Converted:
    """The step, the parts around it, and which region values its tensors stand for."""

    step: Step
    parts: Parts
    inputs: dict[str, Value]  # tensor name -> value handed in (entries)
    halves: dict[str, str]  # tensor name of an input -> "real" or "imag", if its value is complex
    weights: dict[str, tuple[str, str]]  # tensor name -> (instance, weight) of the region
    yields: list[Value]  # what the yield tensors are, in order: a complex value is two


def convert(region: Region, primitives: Table) -> Converted:
    """Index notation of a scan, from what its primitives say of themselves. Raises NotElementary."""
    parts = split(region, primitives)
    return Converter(region, parts, primitives).run()


@dataclass
class Converter:
    """Builds the step of a region. Primitives write their equations through it: `known` has what each value is so far."""

    region: Region
    parts: Parts
    primitives: Table
    known: dict[Value, Any] = field(default_factory=dict)  # Definition, or Pair if it is complex
    tensors: dict[str, Tensor] = field(default_factory=dict)
    equations: list[Equation] = field(default_factory=list)
    weights: dict[str, tuple[str, str]] = field(default_factory=dict)
    inputs: dict[str, Value] = field(default_factory=dict)
    halves: dict[str, str] = field(default_factory=dict)
    span: Span | None = None

    def run(self) -> Converted:
        region, parts = self.region, self.parts
        uses: dict[Value, int] = {}
        for value in [v for n in parts.core for v in n.inputs] + parts.exits:
            uses[value] = uses.get(value, 0) + 1
        self.uses = uses
        self.counting = large(region.nodes)
        states = []
        for state in region.states:
            if state.before.type.kind == "int":
                raise NotElementary(f"the state {state.name} counts in whole numbers")
            states.append((state, self.declared(state.before, state.name, "state")))
        constant = {v for v in region.inputs if not v.type.batched} | {inner for _, inner in region.captures}
        for value in parts.entries:
            if value in constant and value.type.batched:
                raise NotElementary("the step uses a value from outside the scan")
            role = "input" if value.type.batched else "constant"
            names = self.declared(value, value.name or "x", role)
            self.inputs |= dict.fromkeys(names, value)
            if len(names) == 2:
                self.halves |= dict(zip(names, ("real", "imag")))
        after = {s.after: s for s in region.states if s.after is not None}
        for node in parts.core:
            self.span = node.origin.span
            self.node(node)
            for out in node.outputs:
                if out in after:
                    self.tensors_of(out, f"{after[out].name}'", "next")
        # A next state may be an input or a state itself (h' = x): it still needs a tensor of its own.
        ends: list[StateOf] = []
        for state, names in states:
            if state.after is None:
                raise NotElementary(f"the state {state.name} never changes")
            start = state.init.args[0] if not isinstance(state.init, Value) and state.init.kind == "constant" else 0.0
            if not isinstance(state.init, Value) and state.init.kind == "ones":
                start = 1.0
            afters = self.tensors_of(state.after, f"{state.name}'", "next", len(names))
            taken = {end.after for end in ends}  # two states may have one next value: each keeps a tensor of its own
            afters = tuple(self.copied(n, f"{state.name}'", "next") if n in taken else n for n in afters)
            ends += [StateOf(name, after_name, float(start) if k == 0 else 0.0) for k, (name, after_name) in enumerate(zip(names, afters))]
        yields = [name for v in parts.exits for name in self.tensors_of(v, v.name or "y", "yield")]
        step = Step(tuple(self.tensors.values()), tuple(self.equations), tuple(ends), tuple(yields))
        return Converted(step, parts, self.inputs, self.halves, self.weights, list(parts.exits))

    # ---- tensors ----

    def declare(self, base: str, shape: tuple[int, ...], role: str, lead: int = 0) -> str:
        base = re.sub(r"[^A-Za-z0-9_']", "_", base) or "t"
        name, count = base, 1
        while name in self.tensors:
            count += 1
            name = f"{base.rstrip(chr(39))}_{count}{chr(39) if base.endswith(chr(39)) else ''}"
        self.tensors[name] = Tensor(name, shape, role, lead)
        return name

    def whole(self, name: str) -> Definition:
        shape = self.tensors[name].shape
        return Definition(shape, access(name, tuple(INDICES[: len(shape)])))

    def declared(self, value: Value, base: str, role: str) -> tuple[str, ...]:
        """The tensor of a value from outside; two, if it is complex."""
        shape = sizes_of(value)
        if value.type.kind != "complex":
            name = self.declare(base, shape, role)
            self.known[value] = self.whole(name)
            return (name,)
        names = (self.declare(f"{base}_re", shape, role), self.declare(f"{base}_im", shape, role))
        self.known[value] = Pair(*map(self.whole, names))
        return names

    def tensors_of(self, value: Value, base: str, role: str, count: int = 1) -> tuple[str, ...]:
        """Tensors holding a value, with that role: one, or two for a complex value (or a real one that `count` says is to be complex)."""
        found = self.known[value]
        if isinstance(found, Pair) or count == 2:
            pair = found if isinstance(found, Pair) else Pair(found, Definition(found.shape, const(0)))
            stem, prime = base.rstrip("'"), "'" if base.endswith("'") else ""
            names = (self.tensor_of(pair.re, f"{stem}_re{prime}", role), self.tensor_of(pair.im, f"{stem}_im{prime}", role))
            self.known[value] = Pair(*map(self.whole, names))
            return names
        name = self.tensor_of(found, base, role)
        self.known[value] = self.whole(name)
        return (name,)

    def tensor_of(self, definition: Definition, base: str, role: str) -> str:
        """A tensor holding this, with that role; an equation is added unless one of that role stands for it already."""
        definition = self.solid(definition)
        if isinstance(definition.body, Var):
            name = definition.body.name.partition("[")[0]
            tensor = self.tensors[name]
            same = definition.body.name == access(name, tuple(INDICES[: len(tensor.shape)])).name and tensor.shape == definition.shape
            if same and (tensor.role == role or (tensor.role == "next" and role == "yield")):
                return name
            if same and tensor.role == "temporary" and role in ("next", "yield"):
                self.tensors[name] = Tensor(name, tensor.shape, role)
                return name
        return self.define(definition.body, definition.shape, base, role)

    def define(self, body: Expr, shape: tuple[int, ...], base: str, role: str = "temporary", sums: tuple[tuple[str, int], ...] = ()) -> str:
        name = self.declare(base, shape, role)
        at = tuple(INDICES[: len(shape)])
        self.equations.append(Equation(name, at, tuple(zip(at, shape)), sums, body, self.span))
        return name

    def copied(self, name: str, base: str, role: str) -> str:
        """Another tensor with the same entries."""
        whole = self.whole(name)
        return self.define(whole.body, whole.shape, base, role)

    def solid(self, definition: Definition) -> Definition:
        """diag(v) as a full matrix."""
        if not definition.diagonal:
            return definition
        n = definition.shape[0]
        name = self.define(definition.body, (n,), "v")
        full = self.declare("D", (n, n), "temporary")
        zero = Equation(full, ("i", "j"), (("i", n), ("j", n)), (), const(0), self.span)
        self.equations += [zero, Equation(full, ("i", "i"), (("i", n),), (), access(name, ("i",)), self.span)]
        return self.whole(full)

    def held(self, definition: Definition, base: str = "t") -> Definition:
        """The definition as a plain access: worked out once, read many times."""
        if isinstance(definition.body, (Var, Const)):
            return definition
        return self.whole(self.define(definition.body, definition.shape, base))

    # ---- nodes ----

    def node(self, node: Node) -> None:
        primitive = self.primitives.get(node.op)
        if primitive is None:
            raise NotElementary(f"`{node.op}` has no index notation", node.origin.span)
        if node in self.counting:
            raise NotElementary("whole numbers that may become large are counted in the step", node.origin.span)
        result: Definition | list[Definition] | list[Definition | Pair]
        if any(v.type.kind == "complex" for v in (*node.inputs, *node.outputs)):
            result = primitive.complex_equations(node, self)
        else:
            result = primitive.equations(node, self)
        for out, definition in zip(node.outputs, result if isinstance(result, list) else [result]):
            # Read in several places: worked out once.
            if isinstance(definition, Definition) and self.uses.get(out, 0) > 1 and not definition.diagonal:
                definition = self.held(definition, out.name or "t")
            self.known[out] = definition

    def arg(self, value: Value, rank: int) -> Expr:
        """An operand as an expression of the last axes of a result of that rank; size-1 axes stretch."""
        definition = self.known[value]
        if definition.diagonal:
            definition = self.solid(definition)
        if len(definition.shape) < rank and definition.shape:
            definition = self.held(definition, value.name or "t")
        shift = rank - len(definition.shape)
        names = {INDICES[k]: INDICES[k + shift] for k in range(len(definition.shape))}
        return reindexed(definition.body, names) if shift else definition.body

    def stretched(self, value: Value, shape: tuple[int, ...]) -> Expr:
        body = self.arg(value, len(shape))
        own = self.known[value].shape
        shift = len(shape) - len(own)
        fixed = {INDICES[k + shift]: "0" for k, size in enumerate(own) if size == 1 and shape[k + shift] != 1}
        return reindexed(body, fixed) if fixed else body

    def vector(self, value: Value) -> Definition:
        return self.held(self.solid(self.known[value]), value.name or "t")

    def weight(self, instance: str, weight: str, shape: tuple[int, ...], lead: int = 0) -> str:
        """The tensor that stands for a weight of an instance of the region; `lead` axes before the written ones are not part of it."""
        for name, place in self.weights.items():
            if place == (instance, weight):
                return name
        name = self.declare(f"{instance}_{weight}" if weight else instance, shape[lead:], "weight", lead)
        self.weights[name] = (instance, weight)
        return name


__all__ = ["Converted", "Converter", "NotElementary", "convert"]
