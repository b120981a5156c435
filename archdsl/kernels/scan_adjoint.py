"""C for the adjoint of a scan: the steps between two kept states are run again, then gradients walk back through them."""

from __future__ import annotations

from archdsl.kernels import rows
from archdsl.kernels.loops import Statement, innermost
from archdsl.kernels.scan_layout import Layout
from archdsl.kernels.scan_parts import Part, joined_runs
from archdsl.kernels.scan_plan import Dense, size_of
from archdsl.recurrence.step import Equation, Tensor

KEEP = 65536  # numbers that temporaries of one chunk may take rather than be worked out twice


class Adjoint(Layout):
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
        return [
            "void backward(long N, long T, long L, int threads, int width, real **in, real **weight, real **turned, const int64_t *lengths,",
            "              real **kept, real **dout, real **dend, real **din, real **dweight, real **dbegin, real **factor)",
            *self.open_block(total),
            "    const int me = THREAD;",
            *(f"    long at_{name} = {places[name]};" for name, _ in moving),
            *self.member(self.beginning(), total, "    "),
            "    for (long chunk = KEPT(most) - 1; chunk >= 0; chunk--) {",
            f"        const long first = chunk * {self.every}, steps = most - first < {self.every} ? most - first : {self.every};",
            *self.member(self.loaded(places), total, "        ", "first < last[w]"),
            "        for (long step = 0; step < steps; step++) {",
            "            const long t = first + step;",
            *replayed,
            "        }",
            "        for (long step = steps - 1; step >= 0; step--) {",
            "            const long t = first + step;",
            *self.parts(back, names, total, "            "),
            *self.swapped(in_place),
            "        }",
            "    }",
            *self.member(self.ending(), total, "    ", "last[w]"),
            "    free(scratch);",
            "}",
            "}",
        ]

    def swapped(self, in_place: set[str]) -> list[str]:
        """After a step back the gradients of its states are those of the next states."""
        lines = []
        for before, after in zip(self.befores, self.nexts):
            if before.name not in in_place:
                a, b = f"at_g{self.number[after.name]}", f"at_g{self.number[before.name]}"
                lines.append(f"            const long swap_{a} = {a}; {a} = {b}; {b} = swap_{a};")
        return lines

    def loaded(self, places: dict[str, int]) -> list[str]:
        """The states kept at the beginning of a chunk."""
        lines = []
        for k, tensor in enumerate(self.befores):
            size, run = size_of(tensor), places[f"run{self.number[tensor.name]}"]
            lines.append(f"memcpy(own + {run}, kept[{k}] + (n * KEPT(T) + chunk) * {size}, sizeof(real) * {size});")
        return lines

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
