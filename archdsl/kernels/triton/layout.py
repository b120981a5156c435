"""Where a step's tensors live in a program: which axis is cut into blocks, one per program, and which parts of the inputs are read.

States and what is made from them are held in registers, whole except along one axis that nothing sums over or mixes; inputs and weights are
read from memory, in parts (views) where a step takes a slice of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from archdsl.graph.expressions import Var, order
from archdsl.kernels.loops import Place
from archdsl.kernels.triton.triton_text import NoTriton
from archdsl.recurrence.step import Equation, Step, parse_access, split_index

LARGEST = 1 << 14  # numbers in one block of registers
AIM = 1 << 11
MEMORY = ("input", "constant", "weight")


def padded(size: int) -> int:
    """The next power of two: what a block's side must be."""
    return 1 << max(size - 1, 0).bit_length()


@dataclass(frozen=True)
class View:
    """A part of an input: per axis a fixed number (size 0) or an offset and a size."""

    name: str
    axes: tuple[tuple[int, int], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(s for _, s in self.axes if s)

    def overlaps(self, other: View) -> bool:
        return all(a < b + max(m, 1) and b < a + max(n, 1) for (a, n), (b, m) in zip(self.axes, other.axes))


@dataclass(frozen=True)
class Axis:
    """One axis of a block: how many entries there are in all, how many a program holds, and whether programs share it out."""

    size: int
    held: int
    cut: bool

    @property
    def name(self) -> str:
        """The variable that holds the entries' numbers."""
        return "rc" if self.cut else f"r{self.size}"


class Layout:
    """The axes of every tensor of a step, and of every index of its equations. Raises NoTriton."""

    def __init__(self, step: Step, block: int | None = None) -> None:
        self.step = step
        self.shape = {t.name: t.shape for t in step.tensors}
        self.role = {t.name: t.role for t in step.tensors}
        self.parent: dict[tuple[object, ...], tuple[object, ...]] = {}
        self.size: dict[tuple[object, ...], int] = {}
        self.views: list[View] = []
        for k, equation in enumerate(step.equations):
            self._join(k, equation)
        for a, b in ((a, b) for i, a in enumerate(self.views) for b in self.views[:i] if a.name == b.name):
            if a.overlaps(b):
                raise NoTriton(f"parts of `{a.name}` that overlap")
        for state in step.states:
            for axis in range(len(self.shape[state.before])):
                self._unite(("t", state.before, axis), ("t", state.after, axis), self.shape[state.before][axis])
        self.cut = self._choose()
        self.held = 0
        self._hold(block)

    # ---- which axes are one axis ----

    def _find(self, node: tuple[object, ...]) -> tuple[object, ...]:
        while self.parent.setdefault(node, node) != node:
            node = self.parent[node]
        return node

    def _unite(self, a: tuple[object, ...], b: tuple[object, ...], size: int) -> None:
        self.parent[self._find(a)] = self._find(b)
        self.size[self._find(b)] = size

    def _join(self, number: int, equation: Equation) -> None:
        sizes = dict((*equation.free, *equation.sums))
        for name, at in [(equation.target, equation.at), *places(equation)]:
            owner = self.view(name, at, sizes) if self.role[name] in MEMORY else name
            kept = [a for a in at if split_index(a)[0]]
            if owner == name:
                self._whole(name, at, sizes)
            elif owner not in self.views:
                assert isinstance(owner, View)
                self.views.append(owner)
            for axis, index in enumerate(kept):
                base = split_index(index)[0]
                self._unite(("t", owner, axis), ("e", number, base), sizes[base])

    def _whole(self, name: str, at: Sequence[str], sizes: dict[str, int]) -> None:
        for index, size in zip(at, self.shape[name]):
            base, offset = split_index(index)
            if not base or offset or sizes[base] != size:
                raise NoTriton(f"a part of `{name}`, which is held in registers")
        if len(set(at)) < len(at):
            raise NoTriton(f"a diagonal of `{name}`")

    def view(self, name: str, at: Sequence[str], sizes: dict[str, int]) -> View:
        """The part of an input that an access reads."""
        parts = [split_index(a) for a in at]
        bases = [b for b, _ in parts if b]
        if len(set(bases)) < len(bases):
            raise NoTriton(f"a diagonal of `{name}`")
        return View(name, tuple((offset, sizes[base] if base else 0) for base, offset in parts))

    def _choose(self) -> tuple[object, ...] | None:
        """The axis to share out between programs: the largest one of a state that nothing mixes along."""
        mixed = set()
        for k, equation in enumerate(self.step.equations):
            mixed |= {self._find(("e", k, name)) for name, _ in equation.sums}
            groups = [[("e", k, name) for name, _ in (*equation.free, *equation.sums)]]
            for group in groups:
                roots = [self._find(g) for g in group]
                mixed |= {r for r in roots if roots.count(r) > 1}
        held = [t.name for t in self.step.tensors if t.role not in MEMORY]
        for owner, rank in [*((n, len(self.shape[n])) for n in held), *((v, len(v.sizes)) for v in self.views)]:
            roots = [self._find(("t", owner, axis)) for axis in range(rank)]
            mixed |= {r for r in roots if roots.count(r) > 1}
        states = [s.before for s in self.step.states]
        found = {self._find(("t", n, axis)) for n in states for axis in range(len(self.shape[n]))} - mixed
        return max(found, key=lambda r: (self.size.get(r, 0), str(r)), default=None)

    # ---- sizes ----

    def _hold(self, block: int | None) -> None:
        blocks = [(t.shape, [self._cut("t", t.name, a) for a in range(len(t.shape))]) for t in self.step.tensors if t.role not in MEMORY]
        for k, e in enumerate(self.step.equations):
            loops = (*e.free, *e.sums)
            blocks.append((tuple(s for _, s in loops), [self._cut("e", k, n) for n, _ in loops]))
        whole = 1
        for shape, cut in blocks:
            held = 1
            for size, shared in zip(shape, cut):
                held *= 1 if shared else padded(size)
            whole = max(whole, held)
        if self.cut is not None:
            aim = max(1, AIM // whole)
            self.held = min(padded(self.size[self.cut]), block or min(aim, 128))
        if whole * max(self.held, 1) > LARGEST:
            raise NoTriton(f"{whole * max(self.held, 1)} numbers in one block, more than registers hold")
        self.largest = whole * max(self.held, 1)

    def _cut(self, kind: str, owner: object, axis: object) -> bool:
        return self.cut is not None and self._find((kind, owner, axis)) == self.cut

    @property
    def blocks(self) -> int:
        """Programs per sequence."""
        return 1 if self.cut is None else -(-self.size[self.cut] // self.held)

    def _axis(self, kind: str, owner: object, axis: object, size: int) -> Axis:
        cut = self._cut(kind, owner, axis)
        return Axis(size, self.held if cut else padded(size), cut)

    def axes(self, owner: str | View) -> tuple[Axis, ...]:
        """The axes of a tensor held in registers, or of a view."""
        sizes = owner.sizes if isinstance(owner, View) else self.shape[owner]
        return tuple(self._axis("t", owner, k, s) for k, s in enumerate(sizes))

    def loops(self, number: int) -> dict[str, Axis]:
        """The axes of an equation's indices, in its order."""
        e = self.step.equations[number]
        return {n: self._axis("e", number, n, s) for n, s in (*e.free, *e.sums)}

    def shared(self, owner: str | View) -> bool:
        """Whether programs hold different parts of a tensor; otherwise each holds all of it and their gradients add up."""
        return any(a.cut for a in self.axes(owner))


def places(equation: Equation) -> Iterator[Place]:
    """The accesses of an equation, those of declared slopes too."""
    from archdsl.graph.expressions import _reach

    for node in order(*_reach(equation.body)):
        if isinstance(node, Var):
            yield parse_access(node)


__all__ = ["Axis", "Layout", "View", "padded", "places"]
