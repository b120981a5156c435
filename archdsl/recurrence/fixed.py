"""What a step works out from weights alone, taken out of the loop: done once for all times, in plain torch, and handed to the kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archdsl.graph.expressions import Apply, Custom, Expr, Var, call, order
from archdsl.graph.functions import FUNCTIONS
from archdsl.recurrence.step import Equation, Step, Tensor, access, parse_access, split_index

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Hoisted:
    """prelude: equations over weights and constants, in order. step: the rest; its constants include what the prelude makes."""

    prelude: tuple[Equation, ...]
    step: Step
    whole: Step

    def weights(self, given: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The weights of `step` from those of the whole step, both in their own order; differentiable."""
        from archdsl.recurrence.forms.evaluate import Evaluator

        parts = self.whole.of("constant", "weight")
        by_name = {p.name: w for p, w in zip(parts, given)}
        lead = next((w.shape[: w.dim() - len(p.shape)] for p, w in zip(parts, given) if p.lead), ())
        evaluator = Evaluator({p.name: w.reshape(-1, 1, *p.shape) for p, w in zip(parts, given)}, given[0])
        tensors = {t.name: t for t in (*self.whole.tensors, *self.step.tensors)}
        evaluator.run(self.prelude, tensors)
        found = []
        for part in self.step.of("constant", "weight"):
            if part.name in by_name:
                found.append(by_name[part.name])
            else:
                value = evaluator.env[part.name]
                found.append(value.expand(-1, 1, *part.shape).reshape(*(lead if part.lead else ()), *part.shape))
        return found


def hoist(step: Step) -> Hoisted | None:
    """The step without what depends on weights and constants alone; None if there is nothing of the kind that costs."""
    return _Hoister(step).run()


class _Hoister:
    def __init__(self, step: Step) -> None:
        self.step = step
        self.fixed: dict[str, int] = {t.name: t.lead for t in step.of("constant", "weight")}  # name -> lead axes
        self.made: dict[tuple[Expr, tuple[tuple[str, int], ...]], Var] = {}
        self.tensors: dict[str, Tensor] = {}
        self.prelude: list[Equation] = []

    def run(self) -> Hoisted | None:
        whole: dict[str, list[Equation]] = {}
        for equation in self.step.equations:
            whole.setdefault(equation.target, []).append(equation)
        rest: list[Equation] = []
        for equation in self.step.equations:
            name = equation.target
            if name in self.fixed or self.is_fixed_temporary(name, whole[name]):
                self.prelude.append(equation)
            else:
                rest.append(self.reduced(equation))
        costly = any(self.costs(e.body) or e.sums for e in self.prelude)
        return Hoisted(tuple(self.prelude), self.smaller(rest), self.step) if costly else None

    def is_fixed_temporary(self, name: str, equations: list[Equation]) -> bool:
        reads = [self.reads(e.body) for e in equations]
        if self.step.tensor(name).role != "temporary" or not all(r is not None and r <= self.fixed.keys() for r in reads):
            return False
        self.fixed[name] = max((self.fixed[n] for r in reads for n in r or ()), default=0)
        return True

    @staticmethod
    def reads(body: Expr) -> set[str] | None:
        """The tensors an expression reads; None if it holds a declared slope, which stays where it is."""
        nodes = order(body)
        if any(isinstance(n, Custom) for n in nodes):
            return None
        return {parse_access(n)[0] for n in nodes if isinstance(n, Var)}

    @staticmethod
    def costs(body: Expr) -> bool:
        return any(isinstance(n, Apply) and not FUNCTIONS[n.function].cheap for n in order(body))

    def reduced(self, equation: Equation) -> Equation:
        """The equation with its largest fixed parts read from tensors of the prelude."""
        if any(isinstance(n, Custom) for n in order(equation.body)):
            return equation
        sizes = dict((*equation.free, *equation.sums))
        stack: list[Expr] = [equation.body]
        parts: dict[Expr, Var] = {}
        while stack:
            node = stack.pop()
            reads = self.reads(node)
            if isinstance(node, Apply) and reads and reads <= self.fixed.keys():
                if self.costs(node):
                    parts[node] = self.part(node, sizes)
            elif isinstance(node, Apply):
                stack += node.args
        return replace(equation, body=_replaced(equation.body, parts)) if parts else equation

    def part(self, node: Expr, sizes: Mapping[str, int]) -> Var:
        """A fixed expression as an entry of a tensor of its own."""
        used = {split_index(i)[0] for n in order(node) if isinstance(n, Var) for i in parse_access(n)[1]}
        loops = tuple((n, size) for n, size in sizes.items() if n in used)
        if (node, loops) not in self.made:
            taken = {t.name for t in self.step.tensors} | self.tensors.keys()
            name = next(f"fixed_{k}" for k in range(1, len(taken) + 2) if f"fixed_{k}" not in taken)
            lead = max(self.fixed[n] for n in self.reads(node) or ())
            names = tuple(n for n, _ in loops)
            self.tensors[name] = Tensor(name, tuple(size for _, size in loops), "constant", lead)
            self.prelude.append(Equation(name, names, loops, (), node))
            self.made[node, loops] = access(name, names)
        return self.made[node, loops]

    def smaller(self, rest: list[Equation]) -> Step:
        used = {name for e in rest for n in order(e.body) if isinstance(n, Var) for name in [parse_access(n)[0]]}
        used |= {n for e in rest for c in order(e.body) if isinstance(c, Custom) for x in (*c.arguments, *c.slopes) for n in _names(x)}
        tensors = []
        for tensor in (*self.step.tensors, *self.tensors.values()):
            if tensor.name in self.fixed and tensor.name not in used:
                continue
            moved = tensor.role == "temporary" and tensor.name in self.fixed
            tensors.append(replace(tensor, role="constant", lead=self.fixed[tensor.name]) if moved else tensor)
        return Step(tuple(tensors), tuple(rest), self.step.states, self.step.yields)


def _names(body: Expr) -> set[str]:
    return {parse_access(n)[0] for n in order(body) if isinstance(n, Var)}


def _replaced(body: Expr, parts: Mapping[Expr, Var]) -> Expr:
    """The expression with whole parts put for others."""
    done: dict[Expr, Expr] = {}
    for node in order(body):
        if node in parts:
            done[node] = parts[node]
        elif isinstance(node, Apply):
            done[node] = call(node.function, *(done[a] for a in node.args))
        else:
            done[node] = node
    return done[body]


__all__ = ["Hoisted", "hoist"]
