"""Triton for a scan: forward and adjoint, from the step's equations, by the plan of the C emitter (scan_source.py).

One program per sequence and block of the shared-out axis, in order over time, states in registers. The forward keeps the states of every
C-th step; the adjoint runs the steps between two of them again into scratch memory, then walks back. Names in the source are numbers.
"""

from __future__ import annotations

from archdsl.graph.calculus import NoDerivative
from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, order
from archdsl.kernels.loops import Place
from archdsl.kernels.scan_source import _Source
from archdsl.kernels.triton.layout import MEMORY, Axis, Layout, View
from archdsl.kernels.triton.parts import in_parts
from archdsl.kernels.triton.triton_text import NoTriton, constant, function
from archdsl.recurrence.step import Equation, Step, parse_access

Owner = str | View


class Emitter:
    """Text of the two kernels of a step. Raises NoTriton. `block`: entries of the shared-out axis in a program; chosen if None."""

    def __init__(self, step: Step, block: int | None = None) -> None:
        self.step = step = in_parts(step)
        self.layout = Layout(step, block)
        self.plan = _Source(step)
        self.number = self.plan.number
        self.of_view = {v: k for k, v in enumerate(self.layout.views)}
        self.inputs = [v for v in self.layout.views if self.layout.role[v.name] == "input"]
        self.fixed = [v for v in self.layout.views if self.layout.role[v.name] != "input"]
        self.place = {t.name: k for role in (("input",), ("constant", "weight")) for k, t in enumerate(step.of(*role))}
        self.lead = {t.name: t.lead for t in step.tensors}
        self.fresh = 0
        self.constants: dict[Const, str] = {}

    def text(self) -> str:
        try:
            return "\n".join([*self.kernel(True), "", *self.kernel(False), ""])
        except NoDerivative as problem:
            raise NoTriton(str(problem)) from None

    # ---- addresses ----

    def owner(self, place: Place, loops: dict[str, Axis]) -> Owner:
        name, at = place
        sizes = {n: a.size for n, a in loops.items()}
        return self.layout.view(name, at, sizes) if self.layout.role[name] in MEMORY else name

    def variable(self, owner: Owner, grad: bool = False) -> str:
        letter = "g" if grad else ""
        return f"{letter}x{self.of_view[owner]}" if isinstance(owner, View) else f"{letter}t{self.number[owner]}"

    def blank(self, owner: Owner) -> str:
        held = [str(a.held) for a in self.layout.axes(owner)]
        return f"tl.zeros(({', '.join(held)}{',' if len(held) == 1 else ''}), DT)" if held else "tl.full((), 0.0, DT)"

    def spread(self, axes: tuple[Axis, ...], k: int, name: str) -> str:
        if len(axes) < 2:
            return name
        return f"{name}[{', '.join(':' if k == i else 'None' for i in range(len(axes)))}]"

    def offsets(self, owner: Owner) -> str:
        """Offsets of a block's entries in one time's tensor."""
        axes = self.layout.axes(owner)
        shape = self.layout.shape[owner.name if isinstance(owner, View) else owner]
        parts = owner.axes if isinstance(owner, View) else tuple((0, s) for s in shape)
        terms, stride, k = [], 1, len(axes) - 1
        for (offset, size), whole in zip(reversed(parts), reversed(shape)):
            if offset:
                terms.append(str(offset * stride))
            if size:
                terms.append(f"{self.spread(axes, k, axes[k].name)} * {stride}")
                k -= 1
            stride *= whole
        return " + ".join(terms) or "0"

    def mask(self, axes: tuple[Axis, ...]) -> str:
        tests = [self.spread(axes, k, f"({a.name} < {a.size})") for k, a in enumerate(axes) if a.cut or a.held != a.size]
        return " & ".join(tests)

    def local(self, owner: Owner) -> tuple[str, int]:
        """Offsets in a program's own memory, padding and all, and how much it is."""
        axes = self.layout.axes(owner)
        terms, stride = [], 1
        for k in range(len(axes) - 1, -1, -1):
            terms.append(f"{self.spread(axes, k, f'tl.arange(0, {axes[k].held})')} * {stride}")
            stride *= axes[k].held
        return " + ".join(terms) or "0", stride

    def load(self, owner: Owner, base: str) -> str:
        mask = self.mask(self.layout.axes(owner))
        return f"tl.load({base} + {self.offsets(owner)}{f', mask={mask}, other=0.0' if mask else ''})"

    def store(self, owner: Owner, base: str, value: str) -> str:
        """Whole tensors are written by each program: they all write the same."""
        mask = self.mask(self.layout.axes(owner))
        axes = self.layout.axes(owner)
        wide = f"tl.broadcast_to({value}, {self.shape(axes)})" if axes else value
        return f"tl.store({base} + {self.offsets(owner)}, {wide}{f', mask={mask}' if mask else ''})"

    def shape(self, axes: tuple[Axis, ...]) -> str:
        return f"({', '.join(str(a.held) for a in axes)},)"

    def elements(self, name: str) -> int:
        n = 1
        for s in self.layout.shape[name]:
            n *= s
        return n

    # ---- equations ----

    def values(self, roots: list[Expr], loops: dict[str, Axis]) -> tuple[list[str], dict[Expr, str]]:
        lines: list[str] = []
        names: dict[Expr, str] = {}
        for node in order(*roots):
            if isinstance(node, Const):
                names[node] = self.constants.setdefault(node, f"c{len(self.constants)}")
                continue
            if isinstance(node, Custom):
                names[node] = names[node.value]
                continue
            if isinstance(node, Var):
                text = self.read(parse_access(node), loops)
            else:
                assert isinstance(node, Apply)
                text = function(node.function, [names[a] for a in node.args], node.args)
            self.fresh += 1
            names[node] = f"v{self.fresh}"
            lines.append(f"{names[node]} = {text}")
        return lines, names

    def read(self, place: Place, loops: dict[str, Axis]) -> str:
        """A block with the axes of the loops, of size one where it does not depend on them."""
        name, at = place
        grad = name.startswith("^")
        name = name.removeprefix("^")
        text = self.variable(self.owner((name, at), loops), grad)
        bases = [a.partition("+")[0] for a in at if not a.partition("+")[0].isdigit()]
        wanted = [n for n in loops if n in bases]
        if wanted != bases:
            text = f"tl.permute({text}, ({', '.join(str(bases.index(n)) for n in wanted)}))"
        if not bases or len(bases) == len(loops):
            return text
        return f"{text}[{', '.join(':' if n in bases else 'None' for n in loops)}]"

    def folded(self, value: str, at: tuple[str, ...], loops: dict[str, Axis]) -> str:
        """A value over all loops, summed to the entries of `at` and turned to its order."""
        bases = [a.partition("+")[0] for a in at if not a.partition("+")[0].isdigit()]
        if not loops:
            return value
        axes = tuple(loops.values())
        text = f"tl.broadcast_to({value}, {self.shape(axes)})"
        summed = [k for k, n in enumerate(loops) if n not in bases]
        mask = " & ".join(
            self.spread(axes, k, f"({axes[k].name} < {axes[k].size})") for k in summed if axes[k].cut or axes[k].held != axes[k].size
        )
        if mask:
            text = f"tl.where({mask}, {text}, zero)"
        for k in reversed(summed):
            text = f"tl.sum({text}, axis={k})"
        left = [n for n in loops if n in bases]
        if left != bases:
            text = f"tl.permute({text}, ({', '.join(str(left.index(n)) for n in bases)}))"
        return text

    def run(self, equations: list[tuple[int, Equation]]) -> list[str]:
        lines = []
        for number, e in equations:
            loops = self.layout.loops(number)
            found, names = self.values([e.body], loops)
            lines += [*found, f"{self.variable(e.target)} = {self.folded(names[e.body], e.at, loops)}"]
        return lines

    def adjoints(self) -> list[str]:
        lines = []
        plan, _ = self.plan.adjoint_plan()
        count = len(self.step.equations)
        for back, (_, statements) in enumerate(plan):
            loops = self.layout.loops(count - 1 - back)
            found, names = self.values([s.value for s in statements], loops)
            lines += found
            for s in statements:
                target = (s.target[0][1:], s.target[1])
                g = self.variable(self.owner(target, loops), True)
                lines.append(f"{g} = {g} + {self.folded(names[s.value], s.target[1], loops)}")
        return lines

    # ---- kernels ----

    def kernel(self, forward: bool) -> list[str]:
        self.constants = {}
        body = self.forward() if forward else self.backward()
        sizes = sorted({a.size for a in self.all_axes() if not a.cut})
        count = self.layout.blocks
        head = ["n = tl.program_id(0).to(tl.int64)", "block = tl.program_id(1).to(tl.int64)", f"me = n * {count} + block"]
        if self.layout.held:
            head.append(f"rc = block * {self.layout.held} + tl.arange(0, {self.layout.held})")
        held = {a.size: a.held for a in self.all_axes() if not a.cut}
        head += [f"r{s} = tl.arange(0, {held[s]})" for s in sizes]
        head += ["zero = tl.full((), 0.0, DT)", "one = tl.full((), 1.0, DT)"]
        head += [f"{name} = {constant(node)}" for node, name in self.constants.items()]
        head += ["last = T", "if LENGTHS:", "    last = tl.load(lengths + n)"]
        for v in self.fixed:
            k, size = self.place[v.name], self.elements(v.name)
            head.append(f"{self.variable(v)} = {self.load(v, f'w{k} + (n % L) * {size}' if self.lead[v.name] else f'w{k}')}")
        name = "forward" if forward else "backward"
        return ["@triton.jit", f"def {name}({', '.join(self.arguments(forward))}):", *("    " + x for x in (*head, *body))]

    def all_axes(self) -> list[Axis]:
        found = [a for t in self.step.tensors if t.role not in MEMORY for a in self.layout.axes(t.name)]
        found += [a for v in self.layout.views for a in self.layout.axes(v)]
        return found + [a for k in range(len(self.step.equations)) for a in self.layout.loops(k).values()]

    def arguments(self, forward: bool) -> list[str]:
        s, ks = len(self.step.states), range(len(self.step.states))
        names = [f"i{k}" for k in range(len(self.step.of("input")))] + [f"w{k}" for k in range(len(self.step.of("constant", "weight")))]
        if forward:
            names += [f"b{k}" for k in ks] + [f"y{k}" for k in range(len(self.step.yields))] + [f"e{k}" for k in ks]
        else:
            names += [f"dy{k}" for k in range(len(self.step.yields))] + [f"de{k}" for k in ks] + [f"scratch{k}" for k in range(s)]
            names += [f"di{k}" for k in range(len(self.step.of("input")))]
            names += [f"dw{k}" for k in range(len(self.step.of("constant", "weight")))] + [f"db{k}" for k in ks]
        return [*names, *(f"kept{k}" for k in ks), "lengths", "N", "T", "L", *(f"{x}: tl.constexpr" for x in ("DT", "KEEP", "LENGTHS"))]

    def inputs_at(self) -> list[str]:
        return [
            f"{self.variable(v)} = {self.load(v, f'i{self.place[v.name]} + (n * T + t) * {self.elements(v.name)}')}" for v in self.inputs
        ]

    def states(self) -> list[tuple[int, str, str]]:
        return [(k, s.before, s.after) for k, s in enumerate(self.step.states)]

    def forward(self) -> list[str]:
        every = self.plan.every
        out = [f"{self.variable(b)} = {self.load(b, f'b{k} + n * {self.elements(b)}')}" for k, b, _ in self.states()]
        loop = ["if KEEP:", f"    if t % {every} == 0:"] if self.step.states else []
        for k, before, _ in self.states():
            at, size = self.local(before)
            loop.append(
                f"        tl.store(kept{k} + (me * ((T + {every - 1}) // {every}) + t // {every}) * {size} + {at}, {self.variable(before)})"
            )
        loop += [*self.inputs_at(), *self.run(list(enumerate(self.step.equations)))]
        for k, name in enumerate(self.step.yields):
            loop.append(self.store(name, f"y{k} + (n * T + t) * {self.elements(name)}", self.variable(name)))
        loop += self.moved()
        out += ["for t in range(0, last):", *("    " + x for x in loop)]
        return out + [self.store(b, f"e{k} + n * {self.elements(b)}", self.variable(b)) for k, b, _ in self.states()]

    def moved(self) -> list[str]:
        """The next states become the states: at once, as one may be another's value before."""
        befores = ", ".join(self.variable(b) for _, b, _ in self.states())
        wide = [f"{self.variable(a)} + {self.blank(b)}" for _, b, a in self.states()]
        return [f"{befores} = {', '.join(wide)}"] if befores else []

    def arriving(self, name: str, base: str) -> str:
        text = self.load(name, base)
        return text if self.layout.shared(name) or self.layout.blocks == 1 else f"tl.where(block == 0, {text}, zero)"

    def backward(self) -> list[str]:
        every = self.plan.every
        _, needed = self.plan.adjoint_plan()
        numbered = list(enumerate(self.step.equations))
        again, wanted = self.plan.recomputed(needed), self.plan.for_states()
        out = [f"g{self.variable(a)} = {self.arriving(b, f'de{k} + n * {self.elements(b)}')}" for k, b, a in self.states()]
        out += [f"{self.variable(v, True)} = {self.blank(v)}" for v in self.fixed]
        replay, back = ["t = first + step"], ["step = count - 1 - back", "t = first + step"]
        start, end = [], []
        for k, before, after in self.states():
            at, size = self.local(before)
            row = f"scratch{k} + (me * {every + 1} + %s) * {size} + {at}"
            start.append(f"{self.variable(before)} = tl.load(kept{k} + (me * ((T + {every - 1}) // {every}) + chunk) * {size} + {at})")
            replay.append(f"tl.store({row % 'step'}, {self.variable(before)})")
            end.append(f"tl.store({row % 'count'}, {self.variable(before)})")
            back += [f"{self.variable(before)} = tl.load({row % 'step'})", f"{self.variable(after)} = tl.load({row % '(step + 1)'})"]
        replay += [*self.inputs_at(), *self.run([(k, e) for k, e in numbered if e.target in wanted]), *self.moved()]
        back += [*self.inputs_at(), *self.run([(k, e) for k, e in numbered if e.target in again])]
        back += self.step_back()
        chunk = [f"first = chunk * {every}", f"count = tl.minimum(last - first, {every})", *start]
        chunk += ["for step in range(0, count):", *("    " + x for x in replay), *end, "tl.debug_barrier()"]
        chunk += ["for back in range(0, count):", *("    " + x for x in back), "tl.debug_barrier()"]
        out += [f"chunks = (last + {every - 1}) // {every}", "for turn in range(0, chunks):", "    chunk = chunks - 1 - turn"]
        out += ["    " + x for x in chunk]
        for k, before, after in self.states():
            out.append(self.store(before, self.partial(before, f"db{k}", "n", "N"), f"g{self.variable(after)}"))
        for v in self.fixed:
            out.append(self.store(v, self.partial(v, f"dw{self.place[v.name]}", "n", "N"), self.variable(v, True)))
        return out

    def partial(self, owner: Owner, pointer: str, row: str, rows: str) -> str:
        """Where a gradient goes: a place of each program's own, added up afterwards, where programs share the tensor."""
        name = owner.name if isinstance(owner, View) else owner
        own = "" if self.layout.shared(owner) else f"block * {rows} + "
        return f"{pointer} + ({own}{row}) * {self.elements(name)}"

    def step_back(self) -> list[str]:
        lines = []
        nexts = self.plan.next_names
        for t in self.step.of("temporary", "yield", "state"):
            if t.name not in nexts:
                lines.append(f"g{self.variable(t.name)} = {self.blank(t.name)}")
        lines += [f"{self.variable(v, True)} = {self.blank(v)}" for v in self.inputs]
        for k, name in enumerate(self.step.yields):
            g = f"g{self.variable(name)}"
            lines.append(f"{g} = {g} + {self.arriving(name, f'dy{k} + (n * T + t) * {self.elements(name)}')}")
        lines += self.adjoints()
        for v in self.inputs:
            lines.append(self.store(v, self.partial(v, f"di{self.place[v.name]}", "n * T + t", "N * T"), self.variable(v, True)))
        return lines + [f"g{self.variable(a)} = g{self.variable(b)}" for _, b, a in self.states()]
