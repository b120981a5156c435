"""Writing one method: statements in order, with values that are used once put inside the expression that uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from archdsl.compiler import text
from archdsl.compiler.context import Context
from archdsl.compiler.flow import Flow
from archdsl.compiler.members import member, stand_in
from archdsl.compiler.names import RESERVED, Scope, attribute
from archdsl.compiler.nodetext import Ask, Definition, NodeText, Placement, lengths_source, mark
from archdsl.compiler.plan import Needs, readings
from archdsl.graph.ir import Axis, Instance, Kind, Node, Region, Value
from archdsl.graph.sizes import Poly, Size, source
from archdsl.primitives import TABLE as PRIMITIVES
from archdsl.structural import TABLE as STRUCTURAL
from archdsl.structural.reading import reads

INLINE = 88  # a value is put inside another expression only while that stays this short
COMMENT = 100  # shapes are noted only on lines that stay this short


class Method:
    """The text of one method of one region's class: its whole form (flow None) or a step form.

    A value is in one of three states: not made yet; pending (its expression is known and used once, so it waits to be put inside its user);
    or written (`source` holds the name to call it by).
    """

    def __init__(self, context: Context, region: Region, flow: Flow | None, needs: Needs):
        self.context, self.region, self.flow, self.needs = context, region, flow, needs
        self.indent = 2
        self.lines: list[str] = []
        self.scope = Scope(RESERVED | context.globals)
        self.source: dict[Value, str] = {}
        self.pending: dict[Value, str] = {}
        self.uses: Counter[Value] = Counter()
        self.modules: dict[Instance, str] = {}  # local names of borrowed ones
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
            self.source[value] = name
            out.append(f"{name}: Tensor")
        for instance in self.region.borrowed:
            name = self.scope.claim(attribute(instance.name))
            self.modules[instance] = name
            out.append(f"{name}: {'Tensor' if '' in instance.weights else 'nn.Module'}")
        return out

    def extras(self) -> list[str]:
        """Declarations of lengths and sizes that must be handed in; claims their names."""
        out = []
        for ragged in sorted(self.needs.lengths):
            keyword = self.context.plan.keyword(ragged)
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
            self.uses.update(reads(node))
        self.uses.update(ends)

    # ---- values ----

    def name(self, value: Value) -> str:
        """A name (or another short, repeatable expression) for a value; a pending one is written now."""
        if value in self.pending:
            self._write(value, self.pending.pop(value))
        return self.source[value]

    def expression(self, value: Value) -> str:
        """The value's expression, to be used exactly once."""
        if value in self.pending:
            return self.pending.pop(value)
        return self.source[value]

    def flush(self) -> None:
        """Writes everything pending: before a block whose lines may run more than once, or never."""
        for value in [v for node in self.region.nodes for v in node.outputs if v in self.pending]:
            self._write(value, self.pending.pop(value))

    def fresh(self, value: Value) -> str:
        """Claims a local name for a value."""
        name = self.scope.claim(value.name or short_name(value))
        self.source[value] = name
        return name

    def temporary(self, base: str) -> str:
        return self.scope.claim(base)

    def _write(self, value: Value, expression: str) -> None:
        self.assign(self.fresh(value), expression, str(value.type) if value.type.rank else "")

    def targets(self, values: Iterable[Value]) -> list[str]:
        """Names for results, `_` for those that are not used."""
        return [self.fresh(v) if self.uses[v] else "_" for v in values]

    def define(self, values: Sequence[Value], expression: str) -> None:
        """Gives values their expression: kept pending, made an alias, or written."""
        if len(values) > 1:
            self.assign(", ".join(self.targets(values)), expression)
            return
        (value,) = values
        if is_path(expression):
            self.source[value] = expression
        elif self.uses[value] == 1 and value.name is None and len(expression) <= INLINE:
            self.pending[value] = expression
        else:
            self._write(value, expression)

    def compose(self, values: Sequence[Value], make: Callable[[list[str]], str]) -> str:
        """The expression `make(sources)` with pending values put inside where that keeps it short and runs each exactly once."""
        return self._put(values, text.tidy(make([mark(i) for i in range(len(values))])), {})

    def place(self, made: NodeText, values: Sequence[Value]) -> str:
        """The text of a primitive node that reads these values, as `compose` would put it."""
        return self._put(values, made.expressions[0], self.answers(made))

    def _put(self, values: Sequence[Value], template: str, known: dict[str, str]) -> str:
        counts, deferred = text.usage(template)
        waiting: dict[str, Value] = {}
        for i, value in enumerate(values):
            if value in self.pending:
                waiting[mark(i)] = value
            else:
                known[mark(i)] = self.source[value]
        for place, value in list(waiting.items()):
            if counts.get(place, 0) != 1 or place in deferred:
                del waiting[place]
                if place in counts:
                    known[place] = self.name(value)
        while waiting:
            inside = {place: self.pending[value] for place, value in waiting.items()}
            full = text.fill(template, known | inside)
            longest = max(inside, key=lambda place: len(inside[place]))
            if len(full) <= INLINE or len(inside[longest]) < 12:
                for value in waiting.values():
                    del self.pending[value]
                return full
            known[longest] = self.name(waiting.pop(longest))
        return text.fill(template, known)

    # ---- what primitive nodes ask for ----

    def answers(self, made: NodeText) -> dict[str, str]:
        """Sources for the places of a text; what it calls is noted."""
        self.context.support |= made.support
        return {f"**{place}" if isinstance(ask, Placement) else place: self._answer(ask, made.node) for place, ask in made.asks.items()}

    def _answer(self, ask: Ask, node: Node) -> str:
        if isinstance(ask, Poly):
            return self.size(ask)
        if isinstance(ask, Instance):
            return self.instance(ask, node)
        if isinstance(ask, Definition):
            return self.context.define(ask.name, ask.source)
        return self.placement(ask.kind) if isinstance(ask, Placement) else self.batch

    # ---- instances, sizes, lengths ----

    def instance(self, instance: Instance, node: Node | None = None) -> str:
        """Source of an instance: an attribute of this class, the parameter it was handed in as, or a part of what `node` goes through."""
        known = self.modules.get(instance)
        if known is not None:
            return known
        through: Instance | None = node.through if node is not None else None
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
                if axis.size == size and value in self.source:
                    return f"{self.source[value]}.shape[{i - value.type.rank}]"
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
            if symbol not in wanted or value not in self.source:
                continue
            size = value.type.axes[axis].size
            shape = f"{self.source[value]}.shape[{axis}]"
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
        if changes:
            self.context.support.add("changed_lengths")
        return lengths_source(self.context.plan.keyword(base), changes)

    def placement(self, kind: Kind) -> str:
        """Keyword arguments that give a new tensor this method's device, and the dtype that goes with a kind of numbers."""
        inputs = [v for v in self.region.all_inputs if v in self.source]
        floats = [f"{self.source[v]}.dtype" for v in inputs if v.type.kind == "float"]
        weights = [self.instance(i) + (f".{n}" if n else "") for i in self._instances() for n, w in i.weights.items() if w.kind == "float"]
        near = [self.source[v] for v in inputs] + weights
        floats += [f"{w}.dtype" for w in weights] + [f"{self.source[v]}.dtype.to_real()" for v in inputs if v.type.kind == "complex"]
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
        return next(f"{self.source[v]}.shape[0]" for v in values if v.type.batched and v in self.source)

    def over_time(self, axis: Axis) -> bool:
        return self.flow is not None and axis.identity in self.flow.time

    # ---- lines that hold others ----

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head`, and what is written inside the context below it."""
        self.line(head)
        self.indent += 1
        yield
        self.indent -= 1

    def definition(self, name: str, declared: list[str], result: str, doc: str = "") -> str:
        """The whole method: signature, docstring, sizes, body."""
        head = f"    def {name}({', '.join(declared)}) -> {result}:\n"
        if len(head) > text.WIDTH + 1:
            inner = f"        {', '.join(declared)}\n"
            if len(inner) > text.WIDTH + 1:
                inner = "".join(f"        {d},\n" for d in declared)
            head = f"    def {name}(\n{inner}    ) -> {result}:\n"
        written = f'        """{doc}"""\n' if doc else ""
        return head + written + "".join(self.prologue()) + "".join(self.lines)


def returned(values: Sequence[Value]) -> str:
    """The annotation of what a method returns."""
    return "Tensor" if len(values) == 1 else f"tuple[{', '.join(['Tensor'] * len(values))}]"


def is_path(expression: str) -> bool:
    """`self.a.b`, a name or a number: as short as a variable, so it needs none."""
    return all(part.isidentifier() for part in expression.split(".")) or expression.isdigit()


def short_name(value: Value) -> str:
    """A name for a value the spec left unnamed, from the op that made it."""
    node = value.node
    if node is None:
        return "x"
    structural = STRUCTURAL.get(node.op)
    by_part = structural.by_part if structural is not None else node.op not in ("linear", "param")
    if node.instance is not None and by_part:
        return attribute(node.instance.name.lower())
    return (structural or PRIMITIVES[node.op]).short or attribute(node.op)


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


__all__ = ["Method", "is_path", "returned", "short_name"]
