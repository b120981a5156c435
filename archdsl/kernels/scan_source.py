"""C for a scan: one function that runs the steps, one that runs their adjoints, from the step's equations and nothing else.

Parallel over sequences (batch x lead axes), in order over time, vectors over the last axes. The forward keeps the states of every C-th step;
the adjoint recomputes the states between two of them, then walks back. Names in the source are numbers: no text of a spec gets into it.
"""

from __future__ import annotations

from archdsl.graph.calculus import pullback
from archdsl.graph.expressions import Expr, Var, order, var
from archdsl.kernels.c_text import constant
from archdsl.kernels.loops import Place, Statement, covers, innermost, nest, reads
from archdsl.recurrence.step import Equation, Step, Tensor, parse_access, split_index

SEED = "%seed"  # the gradient arriving at an equation's target, as a variable


def source(step: Step) -> str:
    """The whole C file, without the functions of vector_math.h in front of it."""
    return _Source(step).text()


def _size(tensor: Tensor) -> int:
    n = 1
    for s in tensor.shape:
        n *= s
    return n


def checkpoint_every(step: Step) -> int:
    """Steps between kept states: few enough that the states recomputed at a time fit a cache."""
    floats = sum(_size(step.tensor(s.before)) for s in step.states)
    every = 64
    while every > 8 and every * floats > 65536:
        every //= 2
    return every


class _Source:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.number = {t.name: k for k, t in enumerate(step.tensors)}
        self.tensor = {t.name: t for t in step.tensors}
        self.inputs = step.of("input")
        self.weights = step.of("constant", "weight")
        self.nexts = [self.tensor[s.after] for s in step.states]
        self.befores = [self.tensor[s.before] for s in step.states]
        self.next_names = {t.name for t in self.nexts}
        self.yields = [self.tensor[name] for name in step.yields]
        self.every = checkpoint_every(step)

    # ---- addresses ----

    def offset(self, place: Place) -> str:
        name, at = place
        shape = self.tensor[name].shape
        terms: list[str] = []
        stride = 1
        constant = 0
        for index, size in zip(reversed(at), reversed(shape)):
            base, shift = split_index(index)
            constant += shift * stride
            if base:
                terms.append(base if stride == 1 else f"{base} * {stride}")
            stride *= size
        if constant or not terms:
            terms.append(str(constant))
        return " + ".join(terms)

    def primal(self, place: Place) -> str:
        if place[0] == SEED:
            raise AssertionError
        return f"t{self.number[place[0]]}[{self.offset(place)}]"

    def adjoint_address(self, place: Place) -> str:
        """Tensors by name; their gradients under the name with a leading `^`."""
        name, at = place
        if name.startswith("^"):
            return f"g{self.number[name[1:]]}[{self.offset((name[1:], at))}]"
        return self.primal(place)

    # ---- the step ----

    def equations(self, wanted: set[str] | None = None) -> list[str]:
        lines: list[str] = []
        written: set[str] = set()
        for equation in self.step.equations:
            if wanted is not None and equation.target not in wanted:
                continue
            lines += self.equation(equation, written)
            written.add(equation.target)
        return lines

    def equation(self, equation: Equation, written: set[str]) -> list[str]:
        tensor = self.tensor[equation.target]
        loops = (*equation.free, *equation.sums)
        whole = covers(equation.at, tensor.shape, equation.free)
        statement = Statement((equation.target, equation.at), equation.body, True)
        if not equation.sums:
            return nest(loops, [statement], self.primal)
        # A sum over an outer loop adds to what stands there, so that must begin at zero.
        inner = innermost(loops, [statement])
        alone = {name for name, _ in equation.sums} == {inner}
        lines = []
        if not (alone and whole) and equation.target not in written:
            lines.append(f"    memset(t{self.number[tensor.name]}, 0, sizeof(real) * {_size(tensor)});")
        return lines + nest(loops, [Statement(statement.target, statement.value, alone)], self.primal)

    # ---- what the adjoint needs ----

    def adjoint_plan(self) -> tuple[list[tuple[Equation, list[Statement]]], set[str]]:
        """For each equation, last first, the gradients it sends; and the tensors whose values that needs."""
        plan = []
        needed: set[str] = set()
        for equation in reversed(self.step.equations):
            names = [n.name for n in order(*_with_arguments(equation.body)) if isinstance(n, Var)]
            grads = pullback({equation.body: var(f"^{equation.target}[{','.join(equation.at)}]")}, names)
            statements = []
            for name, value in grads.items():
                if _is_zero(value):
                    continue
                target, at = parse_access(var(name))
                statements.append(Statement((f"^{target}", at), value, False))
                needed |= {r[0] for r in reads(value) if not r[0].startswith("^")}
            plan.append((equation, statements))
        return plan, needed

    def recomputed(self, needed: set[str]) -> set[str]:
        """Temporaries to work out again at each step of the adjoint (next states are kept)."""
        wanted = {n for n in needed if n not in self.next_names}
        for equation in reversed(self.step.equations):
            if equation.target in wanted:
                wanted |= {r[0] for r in reads(equation.body) if r[0] not in self.next_names}
        return wanted

    def for_states(self) -> set[str]:
        wanted = set(self.next_names)
        for equation in reversed(self.step.equations):
            if equation.target in wanted:
                wanted |= {r[0] for r in reads(equation.body)}
        return wanted

    # ---- text ----

    def text(self) -> str:
        return "\n".join([*self.forward(), "", *self.backward(), ""])

    def temporaries(self) -> list[Tensor]:
        yields_only = {t.name for t in self.yields if t.role == "yield"}
        return [t for t in self.step.of("temporary", "yield") if t.name not in yields_only]

    def pointers(self, yields: bool) -> list[str]:
        lines = []
        for k, tensor in enumerate(self.inputs):
            lines.append(f"const real *t{self.number[tensor.name]} = in[{k}] + (n * T + t) * {_size(tensor)};")
        if yields:
            for k, tensor in enumerate(self.yields):
                if tensor.role == "yield":
                    lines.append(f"real *t{self.number[tensor.name]} = out[{k}] + (n * T + t) * {_size(tensor)};")
        return lines

    def weight_pointers(self) -> list[str]:
        lines = []
        for k, tensor in enumerate(self.weights):
            lead = f" + (n % L) * {_size(tensor)}" if tensor.lead else ""
            lines.append(f"const real *t{self.number[tensor.name]} = weight[{k}]{lead};")
        return lines

    def scratch(self, tensors: list[tuple[str, int]]) -> tuple[list[str], int]:
        lines, at = [], 0
        for name, size in tensors:
            lines.append(f"real *{name} = scratch + {at};")
            at += (size + 15) // 16 * 16
        return lines, at

    def forward(self) -> list[str]:
        parts = [(f"t{self.number[t.name]}", _size(t)) for t in (*self.befores, *self.nexts, *self.temporaries())]
        lines, total = self.scratch(parts)
        body = [
            "void forward(long N, long T, long L, int threads, real **in, real **weight, real **begin, const int64_t *lengths,",
            "             real **out, real **end, real **kept)",
            "{",
            "PRAGMA(omp parallel for schedule(static) num_threads(threads))",
            "for (long n = 0; n < N; n++) {",
            f"    real *scratch = aligned_alloc(64, {max(total, 16)} * sizeof(real));",
            *("    " + x for x in lines),
            *("    " + x for x in self.weight_pointers()),
            "    const long last = lengths ? lengths[n] : T;",
        ]
        for k, (state, tensor) in enumerate(zip(self.step.states, self.befores)):
            name, size = f"t{self.number[tensor.name]}", _size(tensor)
            body.append(f"    if (begin[{k}]) memcpy({name}, begin[{k}] + n * {size}, sizeof(real) * {size});")
            body.append(f"    else for (int i = 0; i < {size}; i++) {name}[i] = {constant(state.start)};")
        body += ["    for (long t = 0; t < last; t++) {", *("        " + x for x in self.pointers(True))]
        body.append(f"        if (kept[0] && t % {self.every} == 0) {{")
        for k, tensor in enumerate(self.befores):
            size = _size(tensor)
            body.append(
                f"            memcpy(kept[{k}] + (n * KEPT(T) + t / {self.every}) * {size}, t{self.number[tensor.name]}, sizeof(real) * {size});"
            )
        body += ["        }", *("    " + x for x in self.equations())]
        for k, tensor in enumerate(self.yields):
            if tensor.role != "yield":
                size = _size(tensor)
                body.append(f"        memcpy(out[{k}] + (n * T + t) * {size}, t{self.number[tensor.name]}, sizeof(real) * {size});")
        for before, after in zip(self.befores, self.nexts):
            a, b = f"t{self.number[before.name]}", f"t{self.number[after.name]}"
            body.append(f"        real *swap_{a} = {a}; {a} = {b}; {b} = swap_{a};")
        body.append("    }")
        for k, tensor in enumerate(self.yields):
            size = _size(tensor)
            body.append(f"    memset(out[{k}] + (n * T + last) * {size}, 0, sizeof(real) * (T - last) * {size});")
        for k, tensor in enumerate(self.befores):
            size = _size(tensor)
            body.append(f"    memcpy(end[{k}] + n * {size}, t{self.number[tensor.name]}, sizeof(real) * {size});")
        body += ["    free(scratch);", "}", "}"]
        return [f"#define KEPT(T) (((T) + {self.every - 1}) / {self.every})", *body]

    def backward(self) -> list[str]:
        plan, needed = self.adjoint_plan()
        again = self.recomputed(needed)
        states = self.for_states()
        temporaries = [t for t in self.step.of("temporary", "yield") if t.name in again | states]
        parts = [(f"t{self.number[t.name]}", _size(t)) for t in temporaries]
        graded = self.step.of("temporary", "yield", "state", "next")
        parts += [(f"g{self.number[t.name]}", _size(t)) for t in graded]
        parts += [(f"run{self.number[t.name]}", _size(t) * (self.every + 1)) for t in self.befores]
        lines, total = self.scratch(parts)
        body = [
            "void backward(long N, long T, long L, int threads, real **in, real **weight, const int64_t *lengths, real **kept,",
            "              real **dout, real **dend, real **din, real **dweight, real **dbegin)",
            "{",
            "PRAGMA(omp parallel for schedule(static) num_threads(threads))",
            "for (long n = 0; n < N; n++) {",
            f"    real *scratch = aligned_alloc(64, {max(total, 16)} * sizeof(real));",
            "    const int me = THREAD;",
            *("    " + x for x in lines),
            *("    " + x for x in self.weight_pointers()),
            "    const long last = lengths ? lengths[n] : T;",
        ]
        for k, tensor in enumerate(self.weights):
            lead = f" + (n % L) * {_size(tensor)}" if tensor.lead else ""
            rows = "L" if tensor.lead else "1"
            body.append(f"    real *g{self.number[tensor.name]} = dweight[{k}] + me * {rows} * {_size(tensor)}{lead};")
        for k, (before, after) in enumerate(zip(self.befores, self.nexts)):
            size = _size(before)
            body.append(f"    if (dend[{k}]) memcpy(g{self.number[after.name]}, dend[{k}] + n * {size}, sizeof(real) * {size});")
            body.append(f"    else memset(g{self.number[after.name]}, 0, sizeof(real) * {size});")
        for k, tensor in enumerate(self.inputs):
            size = _size(tensor)
            body.append(f"    memset(din[{k}] + (n * T + last) * {size}, 0, sizeof(real) * (T - last) * {size});")
        body += [
            "    for (long chunk = KEPT(last) - 1; chunk >= 0; chunk--) {",
            f"        const long first = chunk * {self.every}, count = last - first < {self.every} ? last - first : {self.every};",
        ]
        body += self.replay(states)
        body += ["        for (long step = count - 1; step >= 0; step--) {", "            const long t = first + step;"]
        body += ["            " + x for x in self.pointers(False)]
        for before, after in zip(self.befores, self.nexts):
            run, size = f"run{self.number[before.name]}", _size(before)
            body.append(f"            real *t{self.number[before.name]} = {run} + step * {size};")
            body.append(f"            real *t{self.number[after.name]} = {run} + (step + 1) * {size};")
        body += ["        " + x for x in self.equations(again)] if again else []
        body += self.adjoints(plan)
        body += ["        }", "    }"]
        for k, (before, after) in enumerate(zip(self.befores, self.nexts)):
            size = _size(before)
            body.append(f"    if (dbegin[{k}]) memcpy(dbegin[{k}] + n * {size}, g{self.number[after.name]}, sizeof(real) * {size});")
        body += ["    free(scratch);", "}", "}"]
        return body

    def replay(self, wanted: set[str]) -> list[str]:
        """The states of one chunk again, from the one kept at its beginning."""
        body = []
        for k, tensor in enumerate(self.befores):
            size = _size(tensor)
            body.append(
                f"        memcpy(run{self.number[tensor.name]}, kept[{k}] + (n * KEPT(T) + chunk) * {size}, sizeof(real) * {size});"
            )
        body += ["        for (long step = 0; step < count; step++) {", "            const long t = first + step;"]
        body += ["            " + x for x in self.pointers(False)]
        for before, after in zip(self.befores, self.nexts):
            run, size = f"run{self.number[before.name]}", _size(before)
            body.append(f"            real *t{self.number[before.name]} = {run} + step * {size};")
            body.append(f"            real *t{self.number[after.name]} = {run} + (step + 1) * {size};")
        body += ["        " + x for x in self.equations(wanted)]
        body.append("        }")
        return body

    def adjoints(self, plan: list[tuple[Equation, list[Statement]]]) -> list[str]:
        """One step back: gradients of the next states and the yields become those of the states, the inputs and the weights."""
        touched: set[str] = set()
        body: list[str] = []
        for k, tensor in enumerate(self.yields):
            g, size = f"g{self.number[tensor.name]}", _size(tensor)
            if tensor.role == "yield":
                body.append(f"            if (dout[{k}]) memcpy({g}, dout[{k}] + (n * T + t) * {size}, sizeof(real) * {size});")
                body.append(f"            else memset({g}, 0, sizeof(real) * {size});")
                touched.add(tensor.name)
            else:
                touched.add(tensor.name)
                body.append(f"            if (dout[{k}]) {{")
                body.append(f"                const real *d = dout[{k}] + (n * T + t) * {size};")
                body.append(f"                PRAGMA(omp simd) for (int i = 0; i < {size}; i++) {g}[i] += d[i];")
                body.append("            }")
        touched |= self.next_names
        for k, tensor in enumerate(self.inputs):
            body.append(f"            real *g{self.number[tensor.name]} = din[{k}] + (n * T + t) * {_size(tensor)};")
        zeroed, writes = self.first_writes(plan, touched)
        for name in zeroed:
            body.append(f"            memset(g{self.number[name]}, 0, sizeof(real) * {_size(self.tensor[name])});")
        for (equation, statements), fresh in zip(plan, writes):
            loops = (*equation.free, *equation.sums)
            groups: dict[str, list[Statement]] = {}
            for statement, first in zip(statements, fresh):
                marked = Statement(statement.target, statement.value, first)
                groups.setdefault(innermost(loops, [self.plain(marked)]), []).append(marked)
            for group in groups.values():
                body += ["        " + x for x in nest(loops, group, self.adjoint_address)]
        for before, after in zip(self.befores, self.nexts):
            a, b = f"g{self.number[after.name]}", f"g{self.number[before.name]}"
            body.append(f"            real *swap_{a} = {a}; {a} = {b}; {b} = swap_{a};")
        return body

    def plain(self, statement: Statement) -> Statement:
        return statement

    def first_writes(self, plan: list[tuple[Equation, list[Statement]]], touched: set[str]) -> tuple[list[str], list[list[bool]]]:
        """Which gradients must begin at zero, and which writes come first and cover their tensor, so that they need not."""
        zeroed: list[str] = []
        seen = set(touched)
        writes: list[list[bool]] = []
        for equation, statements in plan:
            loops = (*equation.free, *equation.sums)
            row = []
            for statement in statements:
                name = statement.target[0][1:]
                tensor = self.tensor[name]
                if tensor.role in ("weight", "constant") or name in seen:
                    row.append(False)
                    continue
                seen.add(name)
                names = {split_index(a)[0] for a in statement.target[1]}
                others = {n for n, _ in loops} - names
                inner = innermost(loops, [statement])
                direct = covers(statement.target[1], tensor.shape, loops) and others <= {inner}
                row.append(direct)
                if not direct:
                    zeroed.append(name)
            writes.append(row)
        graded = self.step.of("temporary", "yield", "state", "input")
        zeroed += [t.name for t in graded if t.name not in seen]
        return zeroed, writes


def _with_arguments(body: Expr) -> list[Expr]:
    from archdsl.graph.expressions import _reach

    return list(_reach(body))


def _is_zero(value: Expr) -> bool:
    from archdsl.graph.expressions import ZERO

    return value is ZERO
