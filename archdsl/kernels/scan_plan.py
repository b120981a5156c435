"""What a scan's kernel works out, and in which order: numbering of tensors, adjoint statements, what is computed again, which products are dense.

Shared by the emitters of C and of Triton.
"""

from __future__ import annotations

from dataclasses import dataclass

from archdsl.graph.calculus import pullback
from archdsl.graph.expressions import ZERO, Apply, Var, _reach, order, var
from archdsl.kernels.loops import Statement, covers, innermost, reads
from archdsl.recurrence.step import Equation, Step, Tensor, access_text, parse_access, split_index


def size_of(tensor: Tensor) -> int:
    n = 1
    for s in tensor.shape:
        n *= s
    return n


def checkpoint_every(step: Step) -> int:
    """Steps between kept states. Measured for states of 64 to 65536 numbers: 64 while what is recomputed at a time fits a cache, else 32;
    fewer cost more in fresh memory for kept states than they save."""
    floats = sum(size_of(step.tensor(s.before)) for s in step.states)
    return 64 if 64 * floats <= 65536 else 32


@dataclass(frozen=True)
class Dense:
    """target[i] = sum over s of weight[i, s] * source[s + shift] (or weight[s, i]: `turned`): a matrix that stays the same for all times."""

    target: str
    weight: str
    source: str
    shift: int
    turned: bool
    rows: int  # of the sum
    cols: int


def dense_product(equation: Equation, tensors: dict[str, Tensor]) -> Dense | None:
    """The equation as a product with a weight matrix, if it is that and nothing else."""
    body = equation.body
    if len(equation.sums) != 1 or len(equation.free) != 1 or not isinstance(body, Apply) or body.function != "mul":
        return None
    if not all(isinstance(a, Var) for a in body.args):
        return None
    (s, rows), (i, cols) = equation.sums[0], equation.free[0]
    pair = sorted((parse_access(a) for a in body.args if isinstance(a, Var)), key=lambda p: len(p[1]))
    (source, at), (weight, place) = pair
    if tensors[weight].role not in ("weight", "constant") or tensors[source].role in ("weight", "constant"):
        return None
    if len(at) != 1 or sorted(place) != sorted((i, s)) or equation.at != (i,):
        return None
    base, shift = split_index(at[0])
    sizes = tensors[weight].shape == ((cols, rows) if place == (i, s) else (rows, cols))
    if base != s or not sizes or tensors[equation.target].shape != (cols,):
        return None
    return Dense(equation.target, weight, source, shift, place != (i, s), rows, cols)


class Plan:
    """A step as a kernel sees it."""

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
        found = {id(e): dense_product(e, self.tensor) for e in step.equations}
        self.dense = {key: product for key, product in found.items() if product is not None}

    def products(self) -> list[Dense]:
        """The dense products, in the equations' order."""
        return [self.dense[id(e)] for e in self.step.equations if id(e) in self.dense]

    # ---- what the adjoint needs ----

    def adjoint_plan(self) -> tuple[list[tuple[Equation, list[Statement]]], set[str]]:
        """For each equation, last first, the gradients it sends; and the tensors whose values that needs."""
        plan = []
        needed: set[str] = set()
        for equation in reversed(self.step.equations):
            names = [n.name for n in order(*_reach(equation.body)) if isinstance(n, Var)]
            grads = pullback({equation.body: var(f"^{access_text(equation.target, equation.at)}")}, names)
            statements = []
            for name, value in grads.items():
                if value is ZERO:
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
        """Tensors that the next states are made of."""
        wanted = set(self.next_names)
        for equation in reversed(self.step.equations):
            if equation.target in wanted:
                wanted |= {r[0] for r in reads(equation.body)}
        return wanted

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
                direct = covers(statement.target[1], tensor.shape, loops) and self._at_once(equation, statement)
                row.append(direct)
                if not direct:
                    zeroed.append(name)
            writes.append(row)
        graded = self.step.of("temporary", "yield", "state", "input")
        zeroed += [t.name for t in graded if t.name not in seen]
        return zeroed, writes

    def _at_once(self, equation: Equation, statement: Statement) -> bool:
        """Whether one pass gives each entry its whole sum."""
        if id(equation) in self.dense:
            return True
        loops = (*equation.free, *equation.sums)
        names = {split_index(a)[0] for a in statement.target[1]}
        return {n for n, _ in loops} - names <= {innermost(loops, [statement])}
