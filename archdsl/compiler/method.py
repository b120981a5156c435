"""Writing one method: statements in order, with values that are used once put inside the expression that uses them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archdsl.compiler import text
from archdsl.compiler.flow import Flow
from archdsl.compiler.members import member, stand_in
from archdsl.compiler.names import RESERVED, Scope, attribute, identifier
from archdsl.compiler.plan import Needs, readings
from archdsl.compiler.structure import reads
from archdsl.graph.ir import Axis, Instance, Kind, Node, Value
from archdsl.graph.sizes import Poly, Size, source
from archdsl.primitives import TABLE

if TYPE_CHECKING:
    from archdsl.compiler.module import ModuleWriter

INLINE = 88  # a value is put inside another expression only while that stays this short
STATE_KEYS = ("clock", "fixed")  # of a state dict, beside the slots
COMMENT = 100  # shapes are noted only on lines that stay this short


class Method:
    """The text of one method of one region's class: its whole form (flow None) or a step form.

    A value is in one of three states: not made yet; pending (its expression is known and used once, so it waits to be put inside its user);
    or written (`source` holds the name to call it by).
    """

    def __init__(self, owner: ModuleWriter, flow: Flow | None, needs: Needs, indent: int = 2):
        self.owner, self.region, self.flow, self.needs = owner, owner.region, flow, needs
        self.indent = indent
        self.lines: list[str] = []
        self.scope = Scope(RESERVED | owner.file.globals)
        self.source: dict[int, str] = {}
        self.pending: dict[int, str] = {}
        self.uses: dict[int, int] = {}
        self.modules: dict[int, str] = {}  # id(Instance) -> local name of a borrowed one
        self.size_names: dict[str, str] = {}
        self.handed_sizes: dict[str, str] = {}
        self.frozen_sizes: set[str] = set()
        self.given: list[Value] = self.region.all_inputs  # the values whose shapes are known from the start

    # ---- parameters ----

    def parameters(self, values: Iterable[Value], default: str = "x") -> list[str]:
        """Claims a name for each input value; returns their annotated declarations."""
        out = []
        for value in values:
            name = self.scope.claim(value.name or default)
            self.source[id(value)] = name
            out.append(f"{name}: Tensor")
        for instance in self.region.borrowed:
            name = self.scope.claim(attribute(instance.name))
            self.modules[id(instance)] = name
            out.append(f"{name}: {'Tensor' if '' in instance.weights else 'nn.Module'}")
        return out

    def extras(self) -> list[str]:
        """Declarations of lengths and sizes that must be handed in; claims their names."""
        out = []
        for ragged in sorted(self.needs.lengths):
            keyword = self.owner.plan.keyword(ragged)
            self.scope.taken.add(keyword)
            out.append(f"{keyword}: Tensor | None = None")
        for symbol in sorted(self.needs.sizes):
            self.handed_sizes[symbol] = self.size_names[symbol] = self.scope.claim(symbol)
            out.append(f"{self.handed_sizes[symbol]}: int = 1")
        return out

    # ---- writing ----

    def line(self, statement: str) -> None:
        self.lines.append(text.INDENT * self.indent + statement + "\n")

    def assign(self, target: str, expression: str, comment: str = "") -> None:
        """`target = expression`, laid out, with a comment where there is room."""
        written = text.statement(f"{target} = ", expression, self.indent)
        if comment and written.count("\n") == 1 and len(written) + len(comment) + 3 <= COMMENT:
            written = f"{written[:-1]}  # {comment}\n"
        self.lines.append(written)

    def count(self, nodes: Iterable[Node], ends: Iterable[Value]) -> None:
        """Counts the uses of every value by these nodes and at the end."""
        for node in nodes:
            for value in reads(node):
                self.uses[id(value)] = self.uses.get(id(value), 0) + 1
        for value in ends:
            self.uses[id(value)] = self.uses.get(id(value), 0) + 1

    # ---- values ----

    def name(self, value: Value) -> str:
        """A name (or another short, repeatable expression) for a value; a pending one is written now."""
        if id(value) in self.pending:
            self._write(value, self.pending.pop(id(value)))
        return self.source[id(value)]

    def expression(self, value: Value) -> str:
        """The value's expression, to be used exactly once."""
        if id(value) in self.pending:
            return self.pending.pop(id(value))
        return self.source[id(value)]

    def flush(self) -> None:
        """Writes everything pending: before a block whose lines may run more than once, or never."""
        for value, expression in [(v, self.pending[id(v)]) for v in self._order if id(v) in self.pending]:
            del self.pending[id(value)]
            self._write(value, expression)

    @property
    def _order(self) -> list[Value]:
        return [v for node in self.region.nodes for v in node.outputs]

    def fresh(self, value: Value) -> str:
        """Claims a local name for a value."""
        name = self.scope.claim(value.name or short_name(value))
        self.source[id(value)] = name
        return name

    def temporary(self, base: str) -> str:
        return self.scope.claim(base)

    def _write(self, value: Value, expression: str) -> None:
        self.assign(self.fresh(value), expression, str(value.type) if value.type.rank else "")

    def define(self, values: list[Value], expression: str) -> None:
        """Gives values their expression: kept pending, made an alias, or written."""
        if len(values) > 1:
            names = [self.fresh(v) if self.uses.get(id(v)) else "_" for v in values]
            self.assign(", ".join(names), expression)
            return
        (value,) = values
        if is_path(expression):
            self.source[id(value)] = expression
        elif self.uses.get(id(value)) == 1 and value.name is None and len(expression) <= INLINE:
            self.pending[id(value)] = expression
        else:
            self._write(value, expression)

    def compose(self, values: list[Value], make: object) -> str:
        """The expression `make(args)` with pending values put inside where that keeps it short and runs each exactly once."""
        assert callable(make)
        args, waiting = [], {}
        for i, value in enumerate(values):
            if id(value) in self.pending:
                marker = f"pending_{i}_"
                waiting[marker] = value
                args.append(marker)
            else:
                args.append(self.source[id(value)])
        template = make(args)
        counts, deferred = text.usage(template)
        for marker, value in list(waiting.items()):
            if counts.get(marker, 0) != 1 or marker in deferred:
                template = text.substitute(template, {marker: self.name(value)}) if marker in counts else template
                del waiting[marker]
        while waiting:
            full = text.substitute(template, {m: self.pending[id(v)] for m, v in waiting.items()})
            if len(full) <= INLINE:
                break
            marker = max(waiting, key=lambda m: len(self.pending[id(waiting[m])]))
            if len(self.pending[id(waiting[marker])]) < 12:
                break
            template = text.substitute(template, {marker: self.name(waiting.pop(marker))})
        return text.substitute(template, {m: self.pending.pop(id(v)) for m, v in waiting.items()})

    # ---- instances, sizes, lengths ----

    def instance(self, instance: Instance, node: Node | None = None) -> str:
        """Source of an instance: an attribute of this class, the parameter it was handed in as, or a part of what `node` goes through."""
        known = self.modules.get(id(instance))
        if known is not None:
            return known
        through: Instance | None = node.attrs.get("through") if node is not None else None
        if through is not None and instance.owner is not self.region:
            return member(instance, self.instance(through))
        return member(instance)

    def size(self, size: Size) -> str:
        """Source of a size."""
        if not isinstance(size, Poly):
            return str(size)
        exact = self._exact(size)
        if exact is not None and size.name is None:
            return exact
        return source(size, {symbol: self._symbol(symbol) for symbol in size.symbols()})

    def _exact(self, size: Poly) -> str | None:
        for value in self.given:
            for i, axis in enumerate(value.type.axes):
                if axis.size == size and id(value) in self.source:
                    return f"{self.source[id(value)]}.shape[{i - value.type.rank}]"
        return None

    def _symbol(self, symbol: str) -> str:
        if symbol not in self.size_names:
            self.size_names[symbol] = self.scope.claim(symbol)
        return self.size_names[symbol]

    def prologue(self) -> list[str]:
        """Lines that read the sizes used off the inputs' shapes. Call when the body is written."""
        wanted = {s: n for s, n in self.size_names.items() if s not in self.handed_sizes}
        lines = []
        for symbol, value, axis in readings(self.given):
            if symbol not in wanted or id(value) not in self.source:
                continue
            size = value.type.axes[axis].size
            shape = f"{self.source[id(value)]}.shape[{axis}]"
            expression = shape if isinstance(size, Poly) and size.name else text.substitute(_solved(size, symbol), {"size_": shape})
            lines.append(text.INDENT * 2 + f"{wanted.pop(symbol)} = {expression}\n")
        if wanted:
            raise ValueError(f"{self.region.name}: no input shows the size{'s' if len(wanted) > 1 else ''} {', '.join(wanted)}")
        return lines

    def lengths(self, axis: Axis) -> str | None:
        """Source of the lengths along an axis."""
        if axis.ragged is None:
            return None
        if self.over_time(axis):
            return "clock.count"
        base, *changes = axis.ragged.split(";")
        keyword = self.owner.plan.keyword(base)
        if not changes:
            return keyword
        self.owner.file.support.add("changed_lengths")
        return f'changed_lengths({keyword}, "{";".join(c for c in changes if set(c) <= set("0123456789-*,"))}")'

    def placement(self, kind: Kind) -> str:
        """Keyword arguments that give a new tensor this method's device, and the dtype that goes with a kind of numbers."""
        inputs = [v for v in self.region.all_inputs if id(v) in self.source]
        floats = [f"{self.source[id(v)]}.dtype" for v in inputs if v.type.kind == "float"]
        weights = [self.instance(i) + (f".{n}" if n else "") for i in self._instances() for n, w in i.weights.items() if w.kind == "float"]
        near = [self.source[id(v)] for v in inputs] + weights
        floats += [f"{w}.dtype" for w in weights] + [f"{self.source[id(v)]}.dtype.to_real()" for v in inputs if v.type.kind == "complex"]
        if like := stand_in(self.region):
            floats.append(f"self.{like}.dtype")
        dtype = floats[0] if floats else "torch.get_default_dtype()"
        if kind == "complex":
            dtype += ".to_complex()"
        text_ = {"int": "", "bool": "dtype=torch.bool", "float": f"dtype={dtype}", "complex": f"dtype={dtype}"}[kind]
        return ", ".join(p for p in ([f"device={near[0]}.device"] if near else []) + [text_] if p)

    def _instances(self) -> list[Instance]:
        return [*self.region.instances.values(), *self.region.borrowed]

    @property
    def batch(self) -> str:
        """Source of the batch size."""
        values = [*self.region.all_inputs, *self.region.outputs]  # of an inverse, the outputs are what is given
        return next(f"{self.source[id(v)]}.shape[0]" for v in values if v.type.batched and id(v) in self.source)

    def over_time(self, axis: Axis) -> bool:
        return self.flow is not None and axis.identity in self.flow.time

    def slot(self, occurrence: str) -> str:
        key = identifier(occurrence)
        return f'state.setdefault("{key + "_" if key in STATE_KEYS else key}", {{}})'


class NodeEmitter:
    """What a primitive sees while it writes its text (see emit.py)."""

    def __init__(self, method: Method, node: Node, stepping: bool):
        self._method, self._node, self._stepping = method, node, stepping

    @property
    def self(self) -> str:
        assert self._node.instance is not None
        return self._method.instance(self._node.instance, self._node)

    def weight(self, name: str) -> str:
        return f"{self.self}.{name}" if name else self.self

    def module_source(self, name: str) -> str:
        return self._method.instance(self._node.attrs[name], self._node)

    def define(self, name: str, source: str) -> str:
        return self._method.owner.file.define(name, source)

    training = "self.training"

    def placement(self, kind: Kind) -> str:
        return self._method.placement(kind)

    @property
    def batch(self) -> str:
        return self._method.batch

    def support(self, name: str) -> str:
        self._method.owner.file.support.add(name)
        return name

    def size(self, size: Size) -> str:
        return self._method.size(size)

    def lengths(self, axis: Axis) -> str | None:
        if axis.ragged is not None and not self._stepping and self._method.over_time(axis):
            return None
        return self._method.lengths(axis)

    @property
    def slot(self) -> str:
        return self._method.slot(self._node.occurrence)

    @property
    def clock(self) -> str:
        return "clock"

    def over_time(self, axis: Axis) -> bool:
        return self._stepping and self._method.over_time(axis)


def is_path(expression: str) -> bool:
    """`self.a.b`, a name or a number: as short as a variable, so it needs none."""
    return all(part.isidentifier() for part in expression.split(".")) or expression.isdigit()


_SHORT = {"call": "h", "repeat": "x", "loop": "x", "scan": "y", "cell": "h", "route": "y", "skip": "y", "train": "y"}


def short_name(value: Value) -> str:
    """A name for a value the spec left unnamed, from the op that made it."""
    node = value.node
    if node is None:
        return "x"
    if node.instance is not None and node.op not in ("repeat", "loop", "linear", "param"):
        return attribute(node.instance.name.lower())
    return (TABLE[node.op].short if node.op in TABLE else _SHORT[node.op]) or attribute(node.op)


def _solved(size: Size, symbol: str) -> str:
    """The symbol as an expression of `size_`, for a size that is linear in it."""
    assert isinstance(size, Poly)
    slope = size.terms[((symbol, 1),)]
    constant = size.constant
    expression = "size_" if not constant else f"size_ - {constant}" if constant > 0 else f"size_ + {-constant}"
    numerator, denominator = (slope.numerator, slope.denominator)
    if denominator != 1:
        expression = f"({expression}) * {denominator}"
    return f"({expression}) // {numerator}" if numerator != 1 else expression


__all__ = ["Method", "NodeEmitter", "is_path", "short_name"]
