"""Loop nests over the rows of a matrix, as C with explicit vectors: what the compiler does not find for itself in the plain nests of loops.py.

A nest whose innermost loop is over a last axis of whole vectors, with sums, differences, products and quotients inside, is written so that
- sums over the rows stay in registers until the last row, and sums along a row until its end;
- factors that are one number for the whole row are multiplied with each other first, and taken out of sums along it;
- neighbouring nests over the same matrix become one: an entry is loaded once, changed in a register and stored once, or not at all if
  nobody reads it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from archdsl.graph.expressions import ONE, Apply, Const, Custom, Expr, Var, as_expr, call, order
from archdsl.graph.functions import FUNCTIONS
from archdsl.kernels.c_text import constant, function
from archdsl.kernels.loops import WIDEST, Loops, Place, Statement, index_names, innermost, nest, reads
from archdsl.recurrence.step import access, parse_access, reindexed

MOST = 128  # numbers in a row: eight of the widest vectors, of which a few fit the registers at a time


@dataclass(frozen=True)
class Nest:
    """`for all loops: statements`. before: lines that must stand in front of it."""

    loops: Loops
    statements: tuple[Statement, ...]
    before: tuple[str, ...] = ()

    @property
    def inner(self) -> str:
        return innermost(self.loops, self.statements)

    @property
    def outer(self) -> Loops:
        return tuple((n, s) for n, s in self.loops if n != self.inner)

    @property
    def names(self) -> set[str]:
        return {n for n, _ in self.loops}

    def accesses(self) -> tuple[list[Place], list[Place]]:
        """What it writes and what it reads."""
        return [s.target for s in self.statements], [r for s in self.statements for r in reads(s.value)]

    def renamed(self, names: dict[str, str]) -> Nest:
        def place(target: Place) -> Place:
            return parse_access(reindexed(access(*target), names))  # type: ignore[arg-type]

        statements = [Statement(place(s.target), reindexed(s.value, names), s.fresh) for s in self.statements]
        return replace(self, loops=tuple((names[n], s) for n, s in self.loops), statements=tuple(statements))


def fitting(one: Nest) -> bool:
    """Whether a nest has a form with vectors."""
    inner, outer = one.inner, one.outer
    size = dict(one.loops).get(inner, 0)
    if not outer or size % WIDEST or not 0 < size <= MOST:
        return False
    written, read = one.accesses()
    rows = [n for n, _ in outer]
    for place in (*written, *read):
        if any(inner in index_names((a,)) for a in place[1][:-1]):
            return False
    for place in written:
        used = index_names(place[1])
        prefix = rows[: len(used - {inner})]
        if used - {inner} != set(prefix) or (place[1] and place[1][-1] != inner and inner in used):
            return False
        if any(r[0] == place[0] and r != place for r in read):
            return False
    return all(_is_vector_code(s.value, inner) and _varies(s.value, inner) for s in one.statements)


def _varies(value: Expr, inner: str) -> bool:
    return any(inner in index_names(r[1]) for r in reads(value))


def _is_vector_code(value: Expr, inner: str) -> bool:
    return all(FUNCTIONS[n.function].vector for n in order(value) if isinstance(n, Apply) and _varies(n, inner))


def joined(nests: Sequence[Nest]) -> list[list[Nest]]:
    """Runs of nests that can be one, with the same names of loops; a run of one may be any nest."""
    runs: list[list[Nest]] = []
    for one in nests:
        if runs and fitting(one) and fitting(runs[-1][0]) and (same := _joining(runs[-1], one)) is not None:
            runs[-1].append(same)
        else:
            runs.append([one])
    return runs


def _joining(run: list[Nest], one: Nest) -> Nest | None:
    """A nest with the loops' names of a run, if it may run row by row with it."""
    first = run[0]
    if [s for _, s in first.outer] != [s for _, s in one.outer] or dict(first.loops)[first.inner] != dict(one.loops)[one.inner]:
        return None
    names = dict(zip([n for n, _ in one.outer], [n for n, _ in first.outer], strict=True)) | {one.inner: first.inner}
    moved = one.renamed(names)
    new_writes, new_reads = moved.accesses()
    for other in run:
        writes, seen = other.accesses()
        pairs = [(a, b, set(b[1]) == first.names) for a in writes for b in new_reads]
        pairs += [(a, b, set(b[1]) == first.names) for a in seen for b in new_writes]
        pairs += [(a, b, True) for a in writes for b in new_writes]  # sums add up in order
        if any(a[0] == b[0] and not (a == b and whole) for a, b, whole in pairs):
            return None
    return moved


def replaces(run: Sequence[Nest], old: str, new: str) -> bool:
    """Whether entries of `new` may be written where those of `old` stood: each is a whole new entry, and depends on no other entry of `old`."""
    if not fitting(run[0]):
        return False
    places = {p for one in run for places in one.accesses() for p in places if p[0] in (old, new)}
    if len({p[1] for p in places}) != 1 or not all(index_names(p[1]) == run[0].names and len(p[1]) == len(run[0].names) for p in places):
        return False
    first = next((s for one in run for s in one.statements if s.target[0] == new), None)
    return first is not None and first.fresh


def lines(run: Sequence[Nest], address: Callable[[Place], str], dead: set[str], indent: str = "    ") -> list[str]:
    """C for a run of `joined`. dead: tensors that nobody reads after it, so that their entries need no store."""
    if not fitting(run[0]):
        return [f"{indent}{line}" for one in run for line in one.before] + [
            line for one in run for line in nest(one.loops, one.statements, address, indent)
        ]
    return [f"{indent}{line}" for one in run for line in one.before] + _Rows(run, address, dead).text(indent)


@dataclass
class _Rows:
    run: Sequence[Nest]
    address: Callable[[Place], str]
    dead: set[str]
    names: dict[Expr, str] = field(default_factory=dict)
    held: dict[Place, str] = field(default_factory=dict)  # entries in a register
    count: int = 0

    def __post_init__(self) -> None:
        first = self.run[0]
        self.inner, self.outer = first.inner, first.outer
        self.size = dict(first.loops)[self.inner]
        self.depth = {n: k + 1 for k, (n, _) in enumerate(self.outer)}
        self.most = len(self.outer)
        levels = range(self.most + 1)
        self.numbers: list[list[str]] = [[] for _ in levels]  # at the start of each level
        self.vectors: list[list[str]] = [[] for _ in levels]  # in a loop over vectors there
        self.body: list[str] = []
        self.ends: list[list[str]] = [[] for _ in levels]  # at the end of each level
        self.stores: list[list[str]] = [[] for _ in levels]  # in a loop over vectors there
        self.totals: dict[str, str] = {}

    def text(self, indent: str) -> list[str]:
        for one in self.run:
            self.nest(one)
        for place, name in self.held.items():
            if place[0] not in self.dead:
                self.body.append(f"{self.vector(place)} = {name};")
        return [f"{indent}{{", *self.level(0, indent + "    "), f"{indent}}}"]

    def level(self, k: int, pad: str) -> list[str]:
        out = [pad + line for line in self.numbers[k]]
        if k == self.most:
            out += self.over_vectors(self.body, pad)
        else:
            out += self.over_vectors(self.vectors[k], pad)
            name, size = self.outer[k]
            out += [f"{pad}for (int {name} = 0; {name} < {size}; {name}++) {{", *self.level(k + 1, pad + "    "), f"{pad}}}"]
        return out + [pad + line for line in self.ends[k]] + self.over_vectors(self.stores[k], pad)

    def over_vectors(self, body: list[str], pad: str) -> list[str]:
        if not body:
            return []
        head = [f"{pad}PRAGMA(GCC unroll {MOST // WIDEST * 2})", f"{pad}for (int v_ = 0; v_ < {self.size} / LANES; v_++) {{"]
        return [*head, f"{pad}    const int {self.inner} = v_ * LANES;", *(f"{pad}    {line}" for line in body), f"{pad}}}"]

    def fresh(self, letter: str) -> str:
        self.count += 1
        return f"{letter}{self.count}_"

    def vector(self, place: Place) -> str:
        return f"VEC({self.address(place)})"

    # ---- levels ----

    def where(self, node: Expr) -> tuple[int, bool]:
        """The outermost level at which a value is known, and whether it is a vector."""
        used = {i for r in reads(node) for i in index_names(r[1])}
        return max((self.depth[i] for i in used if i in self.depth), default=0), self.inner in used

    def grouped(self, node: Expr) -> Expr:
        """The expression with the factors of its products in the order in which they are known: numbers first, by level."""
        if isinstance(node, Custom):
            return self.grouped(node.value)
        if not isinstance(node, Apply) or not self.where(node)[1]:
            return node
        if node.function not in ("mul", "neg"):
            return call(node.function, *(self.grouped(a) for a in node.args))
        numbers, vectors = self.product(node)
        return _times([_times(numbers), _times(vectors)])

    def product(self, node: Expr) -> tuple[list[Expr], list[Expr]]:
        """The factors of a product: numbers by level, vectors by level."""
        factors: list[Expr] = []
        stack = [node]
        while stack:
            top = stack.pop()
            if isinstance(top, Custom):
                stack.append(top.value)
            elif isinstance(top, Apply) and top.function == "mul" and self.where(top)[1]:
                stack += reversed(top.args)
            elif isinstance(top, Apply) and top.function == "neg":
                factors.append(as_expr(-1))
                stack.append(top.args[0])
            else:
                factors.append(self.grouped(top))
        factors.sort(key=lambda f: self.where(f)[0])
        return [f for f in factors if not self.where(f)[1]], [f for f in factors if self.where(f)[1]]

    # ---- values ----

    def value(self, node: Expr) -> str:
        """The C name of a value; what it needs is written at the level where it is known first."""
        for part in order(node):
            if part not in self.names:
                self.names[part] = self.written(part)
        return self.names[node]

    def written(self, node: Expr) -> str:
        level, is_vector = self.where(node)
        if isinstance(node, Const):
            return constant(node.value)
        if isinstance(node, Custom):
            return self.names[node.value]
        args = [self.names[a] for a in node.args]
        if not is_vector:
            name = self.fresh("s")
            text = self.address(parse_access(node)) if isinstance(node, Var) else function(node.function, args)  # type: ignore[attr-defined]
            self.numbers[level].append(f"const {'int' if node.is_bool else 'real'} {name} = {text};")
            return name
        if isinstance(node, Var):
            place = parse_access(node)
            if place in self.held:
                return self.held[place]
            text = self.vector(place)
        else:
            text = function(node.function, args)  # type: ignore[attr-defined]
        if level == self.most:
            name = self.fresh("x")
            self.body.append(f"const vec {name} = {text};")
            return name
        name = self.fresh("h")
        self.numbers[level].append(f"vec {name}[{self.size} / LANES];")
        self.vectors[level].append(f"{name}[v_] = {text};")
        return f"{name}[v_]"

    # ---- statements ----

    def nest(self, one: Nest) -> None:
        made: list[tuple[Place, str]] = []
        for statement in one.statements:
            target, value = statement.target, self.grouped(statement.value)
            used = index_names(target[1])
            if used == one.names:
                made.append((target, self.entry(target, value, statement.fresh)))
            elif self.inner in used:
                self.column(target, value)
            else:
                self.row(target, value, statement.fresh)
        for place, name in made:
            self.held[place] = name
            stale = [n for n in self.names if any(r[0] == place[0] for r in reads(n))]
            for node in stale:
                del self.names[node]

    def entry(self, target: Place, value: Expr, fresh: bool) -> str:
        text = self.value(value)
        if not fresh:
            text = f"{self.value(access(*target))} + {text}"
        name = self.fresh("x")
        self.body.append(f"const vec {name} = {text};")
        return name

    def column(self, target: Place, value: Expr) -> None:
        """A sum over the rows, in a register for each vector of the row."""
        level = len(index_names(target[1])) - 1
        name = self.fresh("c")
        self.numbers[level].append(f"vec {name}[{self.size} / LANES] = {{0}};")
        self.body.append(f"{name}[v_] += {self.value(value)};")
        self.stores[level].append(f"{self.vector(target)} += {name}[v_];")

    def row(self, target: Place, value: Expr, fresh: bool) -> None:
        """A sum along the row, and over the rows if the target is one for several."""
        level = len(index_names(target[1]))
        numbers, vectors = self.product(value) if isinstance(value, Apply) and value.function in ("mul", "neg") else ([], [value])
        total = f"{self.value(_times(numbers))} * {self.along(_times(vectors))}" if numbers else self.along(_times(vectors))
        cell = self.address(target)
        if level == self.most:
            self.ends[level].append(f"{cell} {'=' if fresh else '+='} {total};")
            return
        name = self.fresh("a")
        self.numbers[level].append(f"real {name} = 0;")
        self.ends[self.most].append(f"{name} += {total};")
        self.ends[level].append(f"{cell} += {name};")

    def along(self, core: Expr) -> str:
        """The sum of a vector along the row."""
        text = self.value(core)
        if text not in self.totals:
            name = self.fresh("r")
            self.numbers[self.most].append(f"vec {name} = {{0}};")
            self.body.append(f"{name} += {text};")
            self.ends[self.most].append(f"const real {name}t = total({name});")
            self.totals[text] = f"{name}t"
        return self.totals[text]


def _times(factors: Sequence[Expr]) -> Expr:
    found: Expr = ONE
    for factor in factors:
        found = call("mul", found, factor)
    return found
