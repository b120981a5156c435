"""C for a scan: one function that runs the steps, one that runs their adjoints, from the step's equations and nothing else.

Parallel over blocks of sequences (batch x lead axes), in order over time, vectors over the last axes. Where the step multiplies by weight
matrices, a block holds several sequences, so that a matrix is read once for all of them; else it holds one. The forward keeps the states of
every C-th step; the adjoint runs the steps between two of them again, then walks back. Gradients of such matrices are left to one product
over all times: the adjoint writes out its two factors. Names in the source are numbers: no text of a spec gets into it.
"""

from __future__ import annotations

from collections.abc import Sequence

from archdsl.graph.calculus import NoDerivative
from archdsl.kernels import rows
from archdsl.kernels.c_text import NoC, constant
from archdsl.kernels.loops import Place, Statement, covers, innermost
from archdsl.kernels.scan_parts import Part, Run, joined_runs, takes_place, written
from archdsl.kernels.scan_plan import Dense, Plan, checkpoint_every, size_of
from archdsl.recurrence.step import Equation, Step, Tensor, split_index

WIDE = 8  # sequences in a block at most
KEEP = 65536  # numbers that temporaries of one chunk may take rather than be worked out twice


def source(step: Step) -> str:
    """The whole C file, without the functions of vector_math.h and scan_math.h in front of it. Raises NoC."""
    return _Source(step).text()


class _Source(Plan):
    def __init__(self, step: Step) -> None:
        super().__init__(step)
        self.weight_place = {t.name: k for k, t in enumerate(self.weights)}
        self.input_place = {t.name: k for k, t in enumerate(self.inputs)}

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
        return f"t{self.number[place[0]]}[{self.offset(place)}]"

    def adjoint_address(self, place: Place) -> str:
        """Tensors by name; their gradients under the name with a leading `^`."""
        name, at = place
        if name.startswith("^"):
            return f"g{self.number[name[1:]]}[{self.offset((name[1:], at))}]"
        return self.primal(place)

    # ---- the step ----

    def equations(self, wanted: set[str] | None = None) -> list[Part]:
        parts: list[Part] = []
        written: set[str] = set()
        for equation in self.step.equations:
            if wanted is not None and equation.target not in wanted:
                continue
            product = self.dense.get(id(equation))
            if product is not None:
                matrix = ("w" if product.turned else "turned") + str(self.number[product.weight])
                parts.append(self.multiplied(product, matrix, f"t{self.number[product.source]}", f"t{self.number[product.target]}", True))
            else:
                parts.append(Part([], nest=self.equation(equation, written)))
            written.add(equation.target)
        return parts

    def multiplied(self, product: Dense, matrix: str, x: str, y: str, forward: bool, fresh: bool = True) -> Part:
        """y = matrix x for all sequences of the block that run at this time. Backward x is the target's gradient, y the source's."""
        rows, cols = (product.rows, product.cols) if forward else (product.cols, product.rows)
        shift = f" + {product.shift}" if product.shift else ""
        x_shift, y_shift = (shift, "") if forward else ("", shift)
        return Part(
            [f"x[count] = {x}{x_shift}, y[count++] = {y}{y_shift};", f"dense({rows}, {cols}, {matrix}, x, y, count, {int(fresh)});"], True
        )

    def equation(self, equation: Equation, written: set[str]) -> rows.Nest:
        tensor = self.tensor[equation.target]
        loops = (*equation.free, *equation.sums)
        whole = covers(equation.at, tensor.shape, equation.free)
        statement = Statement((equation.target, equation.at), equation.body, True)
        if not equation.sums:
            return rows.Nest(loops, (statement,))
        # A sum over an outer loop adds to what stands there, so that must begin at zero.
        inner = innermost(loops, [statement])
        alone = {name for name, _ in equation.sums} == {inner}
        before: tuple[str, ...] = ()
        if not (alone and whole) and equation.target not in written:
            before = (f"memset(t{self.number[tensor.name]}, 0, sizeof(real) * {size_of(tensor)});",)
        return rows.Nest(loops, (Statement(statement.target, statement.value, alone),), before)

    # ---- text ----

    def text(self) -> str:
        try:
            return "\n".join([f"#define KEPT(T) (((T) + {self.every - 1}) / {self.every})", *self.forward(), "", *self.backward(), ""])
        except NoDerivative as problem:
            raise NoC(str(problem)) from None

    def temporaries(self) -> list[Tensor]:
        yields_only = {t.name for t in self.yields if t.role == "yield"}
        return [t for t in self.step.of("temporary", "yield") if t.name not in yields_only]

    def outside(self) -> list[str]:
        """Pointers to what is the same for all of a block."""
        lines = []
        for k, tensor in enumerate(self.weights):
            lead = f" + head * {size_of(tensor)}" if tensor.lead else ""
            lines.append(f"const real *w{self.number[tensor.name]} = weight[{k}]{lead};")
            if any(p.weight == tensor.name for p in self.dense.values()):
                lines.append(f"const real *turned{self.number[tensor.name]} = turned[{k}]{lead};")
        return lines

    def weight_names(self) -> list[str]:
        return [f"const real *t{self.number[t.name]} = w{self.number[t.name]};" for t in self.weights]

    def pointers(self, yields: bool) -> list[str]:
        """Pointers to one sequence's inputs (and yields) at time t."""
        lines = [f"const real *t{self.number[t.name]} = in[{k}] + (n * T + t) * {size_of(t)};" for k, t in enumerate(self.inputs)]
        if yields:
            for k, tensor in enumerate(self.yields):
                if tensor.role == "yield":
                    lines.append(f"real *t{self.number[tensor.name]} = out[{k}] + (n * T + t) * {size_of(tensor)};")
        return lines

    def scratch(self, tensors: list[tuple[str, int]]) -> tuple[dict[str, int], int]:
        """Where each array lies in one sequence's scratch, and how long that is."""
        at, places = 0, {}
        for name, size in tensors:
            places[name] = at
            at += (size + 15) // 16 * 16
        return places, max(at, 16)

    def open_block(self, total: int) -> list[str]:
        """The parallel loop over blocks; n and `own` are set by `member`."""
        width = "width" if self.dense else "1"
        return [
            "{",
            f"const long group = N / L, rows = (group + {width} - 1) / {width}, blocks = rows * L;",
            "PRAGMA(omp parallel for schedule(static) num_threads(threads))",
            "for (long block = 0; block < blocks; block++) {",
            f"    const long head = block % L, first_of_block = block / L * {width};",
            f"    const int wide = {'group - first_of_block < width ? group - first_of_block : width' if self.dense else '1'};",
            f"    real *scratch = aligned_alloc(64, wide * {total} * sizeof(real));",
            f"    long last[{WIDE if self.dense else 1}], most = 0;",
            *("    " + x for x in self.outside()),
            "    for (int w = 0; w < wide; w++) {",
            "        last[w] = lengths ? lengths[(first_of_block + w) * L + head] : T;",
            "        if (last[w] > most) most = last[w];",
            "    }",
        ]

    def member(self, lines: list[str], total: int, pad: str, condition: str = "") -> list[str]:
        """`lines` for each sequence of the block."""
        return [
            f"{pad}for (int w = 0; w < wide; w++) {{",
            *([f"{pad}    if (!({condition})) continue;"] if condition else []),
            f"{pad}    const long n = (first_of_block + w) * L + head;",
            f"{pad}    real *own = scratch + (long)w * {total};",
            *(pad + "    " + x for x in lines),
            f"{pad}}}",
        ]

    def multiplied_names(self) -> set[str]:
        """What dense products read and write, and the gradients of that."""
        names = {n for p in self.dense.values() for n in (p.source, p.target)}
        return names | {f"^{n}" for n in names}

    def written(self, runs: Sequence[Run], passing: set[str]) -> list[Part]:
        """All as lines. passing: tensors that mean nothing once these parts have run."""
        return written(runs, self.adjoint_address, passing, self.multiplied_names())

    def in_place(self, runs: Sequence[Run]) -> set[str]:
        """States whose gradient can take the place of that of the next state."""
        pairs = [(f"^{before.name}", f"^{after.name}") for before, after in zip(self.befores, self.nexts)]
        others = self.multiplied_names()
        return {new[1:] for new, old in pairs if not {old, new} & others and takes_place(runs, old, new)}

    def parts(self, parts: list[Part], names: list[str], total: int, pad: str) -> list[str]:
        """Runs of local lines per sequence, and dense products for all that run at time t."""
        out: list[str] = []
        local: list[str] = []
        for part in [*parts, None]:
            if part is not None and not part.dense:
                local += part.lines
                continue
            if local:
                out += self.member([*names, *local], total, pad, "t < last[w]")
                local = []
            if part is not None:
                out += [f"{pad}{{", f"{pad}    const real *x[{WIDE}];", f"{pad}    real *y[{WIDE}];", f"{pad}    int count = 0;"]
                out += self.member([*names, part.lines[0]], total, pad + "    ", "t < last[w]")
                out += [f"{pad}    {part.lines[1]}", f"{pad}}}"]
        return out

    def forward(self) -> list[str]:
        states = [(f"t{self.number[t.name]}", size_of(t)) for t in (*self.befores, *self.nexts)]
        rest = [(f"t{self.number[t.name]}", size_of(t)) for t in self.temporaries()]
        places, total = self.scratch([*states, *rest])
        moving = [f"at_{name}" for name, _ in states]
        names = [f"real *{name} = own + at_{name};" for name, _ in states] + [f"real *{name} = own + {places[name]};" for name, _ in rest]
        names += [*self.weight_names(), *self.pointers(True)]
        start: list[str] = []
        for k, (state, tensor) in enumerate(zip(self.step.states, self.befores)):
            name, size = f"(own + at_t{self.number[tensor.name]})", size_of(tensor)
            start.append(f"if (begin[{k}]) memcpy({name}, begin[{k}] + n * {size}, sizeof(real) * {size});")
            start.append(f"else for (int i = 0; i < {size}; i++) {name}[i] = {constant(state.start)};")
            start.append(f"if (!last[w]) memcpy(end[{k}] + n * {size}, {name}, sizeof(real) * {size});")
        for k, tensor in enumerate(self.yields):
            size = size_of(tensor)
            start.append(f"memset(out[{k}] + (n * T + last[w]) * {size}, 0, sizeof(real) * (T - last[w]) * {size});")
        keep = [f"if (kept[0] && t % {self.every} == 0) {{"]
        finish: list[str] = []
        for k, (before, after) in enumerate(zip(self.befores, self.nexts)):
            a, b, size = f"t{self.number[before.name]}", f"t{self.number[after.name]}", size_of(before)
            keep.append(f"    memcpy(kept[{k}] + (n * KEPT(T) + t / {self.every}) * {size}, {a}, sizeof(real) * {size});")
            finish.append(f"if (t + 1 == last[w]) memcpy(end[{k}] + n * {size}, {b}, sizeof(real) * {size});")
        for k, tensor in enumerate(self.yields):
            if tensor.role != "yield":
                size = size_of(tensor)
                finish.append(f"memcpy(out[{k}] + (n * T + t) * {size}, t{self.number[tensor.name]}, sizeof(real) * {size});")
        equations = self.written(joined_runs(self.equations()), {t.name for t in self.temporaries()} - {t.name for t in self.yields})
        swap = []
        for before, after in zip(self.befores, self.nexts):
            a, b = f"at_t{self.number[before.name]}", f"at_t{self.number[after.name]}"
            swap.append(f"        const long swap_{a} = {a}; {a} = {b}; {b} = swap_{a};")
        return [
            "void forward(long N, long T, long L, int threads, int width, real **in, real **weight, real **turned, real **begin,",
            "             const int64_t *lengths, real **out, real **end, real **kept)",
            *self.open_block(total),
            *(f"    long {name} = {places[name[3:]]};" for name in moving),
            *self.member(start, total, "    "),
            "    for (long t = 0; t < most; t++) {",
            *self.parts([Part([*keep, "}"]), *equations, Part(finish)], names, total, "        "),
            *swap,
            "    }",
            "    free(scratch);",
            "}",
            "}",
        ]

    # ---- the adjoint ----

    def backward(self) -> list[str]:
        plan, needed = self.adjoint_plan()
        states, again = self.for_states(), self.recomputed(needed)
        held = self.held(states, again)
        again -= {t.name for t in held}
        temporaries = [t for t in self.step.of("temporary", "yield") if t.name in again | states and t not in held]
        parts = [(f"t{self.number[t.name]}", size_of(t)) for t in temporaries]
        parts += [(f"g{self.number[t.name]}", size_of(t)) for t in self.step.of("temporary", "yield")]
        moving = [(f"g{self.number[t.name]}", size_of(t)) for t in (*self.befores, *self.nexts)]
        runs = [(f"run{self.number[t.name]}", size_of(t) * (self.every + 1)) for t in self.befores]
        runs += [(f"held{self.number[t.name]}", size_of(t) * self.every) for t in held]
        places, total = self.scratch([*moving, *parts, *runs])
        names = [f"real *{name} = own + at_{name};" for name, _ in moving] + [f"real *{name} = own + {places[name]};" for name, _ in parts]
        for before, after in zip(self.befores, self.nexts):
            at, size = f"own + {places[f'run{self.number[before.name]}']}", size_of(before)
            names += [f"real *t{self.number[before.name]} = {at} + step * {size};"]
            names += [f"real *t{self.number[after.name]} = {at} + (step + 1) * {size};"]
        names += [f"real *t{self.number[t.name]} = own + {places[f'held{self.number[t.name]}']} + step * {size_of(t)};" for t in held]
        names += [*self.weight_names(), *self.pointers(False)]
        passing = {t.name for t in temporaries}
        replayed = self.parts(self.written(joined_runs(self.equations(states)), passing), names, total, "            ")
        names += [f"real *g{self.number[t.name]} = din[{k}] + (n * T + t) * {size_of(t)};" for k, t in enumerate(self.inputs)]
        names += self.weight_gradients()
        walk = joined_runs([*self.equations(again), *self.adjoints(plan)])
        passing |= {f"^{t.name}" for t in (*self.nexts, *self.step.of("temporary", "yield"))}
        back = self.written(walk, passing)
        in_place = self.in_place(walk)
        for before, after in zip(self.befores, self.nexts):
            if before.name in in_place:
                names.append(f"g{self.number[before.name]} = g{self.number[after.name]};")
        swap = []
        for before, after in zip(self.befores, self.nexts):
            if before.name in in_place:
                continue
            a, b = f"at_g{self.number[after.name]}", f"at_g{self.number[before.name]}"
            swap.append(f"            const long swap_{a} = {a}; {a} = {b}; {b} = swap_{a};")
        load = []
        for k, tensor in enumerate(self.befores):
            size, run = size_of(tensor), places[f"run{self.number[tensor.name]}"]
            load.append(f"memcpy(own + {run}, kept[{k}] + (n * KEPT(T) + chunk) * {size}, sizeof(real) * {size});")
        return [
            "void backward(long N, long T, long L, int threads, int width, real **in, real **weight, real **turned, const int64_t *lengths,",
            "              real **kept, real **dout, real **dend, real **din, real **dweight, real **dbegin, real **factor)",
            *self.open_block(total),
            "    const int me = THREAD;",
            *(f"    long at_{name} = {places[name]};" for name, _ in moving),
            *self.member(self.beginning(), total, "    "),
            "    for (long chunk = KEPT(most) - 1; chunk >= 0; chunk--) {",
            f"        const long first = chunk * {self.every}, steps = most - first < {self.every} ? most - first : {self.every};",
            *self.member(load, total, "        ", "first < last[w]"),
            "        for (long step = 0; step < steps; step++) {",
            "            const long t = first + step;",
            *replayed,
            "        }",
            "        for (long step = steps - 1; step >= 0; step--) {",
            "            const long t = first + step;",
            *self.parts(back, names, total, "            "),
            *swap,
            "        }",
            "    }",
            *self.member(self.ending(), total, "    ", "last[w]"),
            "    free(scratch);",
            "}",
            "}",
        ]

    def held(self, states: set[str], again: set[str]) -> list[Tensor]:
        """Temporaries that running the steps again works out, and that the walk back needs as well: kept for a chunk if that is little."""
        found = []
        floats = 0
        for tensor in self.step.of("temporary", "yield"):
            size = size_of(tensor) * self.every
            if tensor.name in states & again and floats + size <= KEEP:
                floats += size
                found.append(tensor)
        return found

    def weight_gradients(self) -> list[str]:
        lines = []
        for k, tensor in enumerate(self.weights):
            lead = f" + head * {size_of(tensor)}" if tensor.lead else ""
            rows = "L" if tensor.lead else "1"
            lines.append(f"real *g{self.number[tensor.name]} = dweight[{k}] + me * {rows} * {size_of(tensor)}{lead};")
        return lines

    def beginning(self) -> list[str]:
        """Before the walk back: what lies beyond a sequence's end gets no gradient."""
        lines = []
        for k, tensor in enumerate(self.inputs):
            size = size_of(tensor)
            lines.append(f"memset(din[{k}] + (n * T + last[w]) * {size}, 0, sizeof(real) * (T - last[w]) * {size});")
        for k, size in enumerate(self.factor_sizes()):
            if size:
                lines.append(f"memset(factor[{k}] + (n * T + last[w]) * {size}, 0, sizeof(real) * (T - last[w]) * {size});")
        for k, tensor in enumerate(self.befores):
            size = size_of(tensor)
            lines.append(f"if (!last[w] && dend[{k}]) memcpy(dbegin[{k}] + n * {size}, dend[{k}] + n * {size}, sizeof(real) * {size});")
            lines.append(f"if (!last[w] && !dend[{k}]) memset(dbegin[{k}] + n * {size}, 0, sizeof(real) * {size});")
        return lines

    def ending(self) -> list[str]:
        lines = []
        for k, (before, after) in enumerate(zip(self.befores, self.nexts)):
            size = size_of(before)
            lines.append(f"memcpy(dbegin[{k}] + n * {size}, own + at_g{self.number[after.name]}, sizeof(real) * {size});")
        return lines

    def factor_sizes(self) -> list[int]:
        """For each dense product two arrays [N, T, size]: the target's gradient, and the source; 0 for a source that is an input."""
        sizes = []
        for product in self.products():
            sizes += [product.cols, 0 if product.source in self.input_place else product.rows]
        return sizes

    def adjoints(self, plan: list[tuple[Equation, list[Statement]]]) -> list[Part]:
        """One step back: gradients of the next states and the yields become those of the states, the inputs and the weights."""
        touched: set[str] = set()
        lines: list[str] = []
        for k, after in enumerate(self.nexts):
            g, size = f"g{self.number[after.name]}", size_of(after)
            lines.append(f"if (t + 1 == last[w] && dend[{k}]) memcpy({g}, dend[{k}] + n * {size}, sizeof(real) * {size});")
            lines.append(f"if (t + 1 == last[w] && !dend[{k}]) memset({g}, 0, sizeof(real) * {size});")
        for k, tensor in enumerate(self.yields):
            g, size = f"g{self.number[tensor.name]}", size_of(tensor)
            touched.add(tensor.name)
            if tensor.role == "yield":
                lines.append(f"if (dout[{k}]) memcpy({g}, dout[{k}] + (n * T + t) * {size}, sizeof(real) * {size});")
                lines.append(f"else memset({g}, 0, sizeof(real) * {size});")
            else:
                lines.append(f"if (dout[{k}]) {{")
                lines.append(f"    const real *d = dout[{k}] + (n * T + t) * {size};")
                lines.append(f"    PRAGMA(omp simd) for (int i = 0; i < {size}; i++) {g}[i] += d[i];")
                lines.append("}")
        touched |= self.next_names
        zeroed, writes = self.first_writes(plan, touched)
        lines += [f"memset(g{self.number[name]}, 0, sizeof(real) * {size_of(self.tensor[name])});" for name in zeroed]
        parts = [Part(lines)]
        for (equation, statements), fresh in zip(plan, writes):
            product = self.dense.get(id(equation))
            if product is not None:
                parts += self.dense_adjoint(product, statements, fresh)
                continue
            loops = (*equation.free, *equation.sums)
            groups: dict[str, list[Statement]] = {}
            for statement, first in zip(statements, fresh):
                marked = Statement(statement.target, statement.value, first)
                groups.setdefault(innermost(loops, [marked]), []).append(marked)
            parts += [Part([], nest=rows.Nest(loops, tuple(group))) for group in groups.values()]
        return parts

    def dense_adjoint(self, product: Dense, statements: list[Statement], fresh: list[bool]) -> list[Part]:
        place = 2 * self.products().index(product)
        g, x = f"g{self.number[product.target]}", f"t{self.number[product.source]}"
        shift = f" + {product.shift}" if product.shift else ""
        lines = [f"memcpy(factor[{place}] + (n * T + t) * {product.cols}, {g}, sizeof(real) * {product.cols});"]
        if product.source not in self.input_place:
            lines.append(f"memcpy(factor[{place + 1}] + (n * T + t) * {product.rows}, {x}{shift}, sizeof(real) * {product.rows});")
        matrix = ("turned" if product.turned else "w") + str(self.number[product.weight])
        first = any(f for s, f in zip(statements, fresh) if s.target[0] == f"^{product.source}")
        return [Part(lines), self.multiplied(product, matrix, g, f"g{self.number[product.source]}", False, first)]


__all__ = ["checkpoint_every", "source"]
