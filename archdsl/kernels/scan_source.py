"""C for a scan: one function that runs the steps, one that runs their adjoints, from the step's equations and nothing else.

Parallel over blocks of sequences (batch x lead axes), in order over time, vectors over the last axes. Where the step multiplies by weight
matrices, a block holds several sequences, so that a matrix is read once for all of them; else it holds one. The forward keeps the states of
every C-th step; the adjoint runs the steps between two of them again, then walks back. Gradients of such matrices are left to one product
over all times: the adjoint writes out its two factors. Names in the source are numbers: no text of a spec gets into it.
"""

from __future__ import annotations

from archdsl.graph.calculus import NoDerivative
from archdsl.kernels.c_text import NoC, constant
from archdsl.kernels.scan_adjoint import Adjoint
from archdsl.kernels.scan_layout import WIDE
from archdsl.kernels.scan_parts import Part, joined_runs
from archdsl.kernels.scan_plan import checkpoint_every, size_of
from archdsl.recurrence.step import Step


def source(step: Step) -> str:
    """The whole C file, without the functions of vector_math.h and scan_math.h in front of it. Raises NoC."""
    return _Source(step).text()


class _Source(Adjoint):
    def text(self) -> str:
        try:
            return "\n".join([f"#define KEPT(T) (((T) + {self.every - 1}) / {self.every})", *self.forward(), "", *self.backward(), ""])
        except NoDerivative as problem:
            raise NoC(str(problem)) from None

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


__all__ = ["WIDE", "checkpoint_every", "source"]
