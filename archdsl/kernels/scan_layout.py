"""What the C of a scan's forward and of its adjoint share: where each tensor lies, and the loops over blocks of sequences."""

from __future__ import annotations

from collections.abc import Sequence

from archdsl.kernels import rows
from archdsl.kernels.loops import Place, Statement, covers, innermost
from archdsl.kernels.scan_parts import Part, Run, takes_place, written
from archdsl.kernels.scan_plan import Dense, Plan, size_of
from archdsl.recurrence.step import Equation, Step, Tensor, split_index

WIDE = 8  # sequences in a block at most


class Layout(Plan):
    """Addresses, pointers and loops that the forward and the adjoint share."""

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
