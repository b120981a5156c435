"""Loop nests in C over equations in index notation: which loop runs innermost, what is worked out at which level, what is summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archdsl.graph.expressions import Apply, Const, Custom, Expr, Var, order
from archdsl.kernels.c_text import constant, function
from archdsl.recurrence.step import parse_access, split_index

WIDEST = 16  # numbers in the widest vector

Loops = tuple[tuple[str, int], ...]
Place = tuple[str, tuple[str, ...]]  # a tensor and the indices of one entry


@dataclass(frozen=True)
class Statement:
    """target[at] = value, or += value. `fresh`: the first write to the target, which covers it whole."""

    target: Place
    value: Expr
    fresh: bool


def index_names(at: Sequence[str]) -> set[str]:
    return {split_index(a)[0] for a in at} - {""}


def reads(value: Expr) -> list[Place]:
    return [parse_access(n) for n in order(value) if isinstance(n, Var)]


def innermost(loops: Loops, statements: Sequence[Statement]) -> str:
    """The loop to vectorise: the one that walks most tensors along their last axis and none along another."""
    sizes = dict(loops)

    def score(index: str) -> float:
        total = 0.0
        for statement in statements:
            for place, weight in [(statement.target, 2.0), *((r, 1.0) for r in reads(statement.value))]:
                names = [split_index(a)[0] for a in place[1]]
                if index in names[:-1]:
                    total -= 8 * weight * len(names)
                elif names and names[-1] == index:
                    total += weight * len(names)
            if index not in index_names(statement.target[1]):
                total -= 1.5  # a sum over the vector: one addition tree per pass
        return total + min(sizes[index], 64) / 64

    return max((name for name, _ in loops), key=score, default="")


def nest(loops: Loops, statements: Sequence[Statement], address: Callable[[Place], str], indent: str = "    ") -> list[str]:
    """C for `for all loops: statements`. Statements share what they have in common; each part is worked out in the outermost loop it can be."""
    inner = innermost(loops, statements)
    nested = [(n, s) for n, s in loops if n != inner] + [(n, s) for n, s in loops if n == inner]
    depth = {name: k + 1 for k, (name, _) in enumerate(nested)}
    names, at_level = _values([s.value for s in statements], depth, address)
    out: list[str] = []
    before: list[list[str]] = [[] for _ in range(len(nested) + 1)]  # set-up of sums, by level
    after: list[list[str]] = [[] for _ in range(len(nested) + 1)]
    body: list[str] = []
    sums: list[str] = []
    # Sums along the vector stay in its lanes until its end, where a tree adds them.
    in_lanes = bool(inner) and dict(loops)[inner] % WIDEST == 0 and any(inner not in index_names(s.target[1]) for s in statements)
    for number, statement in enumerate(statements):
        used = index_names(statement.target[1])
        cell = address(statement.target)
        if inner and inner not in used:
            total = f"sum{number}"
            sums.append(total)
            before[len(nested) - 1].append(f"real {total}[LANES] ALIGNED = {{0}};" if in_lanes else f"real {total} = 0;")
            body.append(f"{total}{f'[{inner} - {inner}0]' if in_lanes else ''} += {names[statement.value]};")
            fresh = statement.fresh and used == set(depth) - {inner}
            after[len(nested) - 1].append(f"{cell} {'=' if fresh else '+='} {f'lanes({total})' if in_lanes else total};")
        else:
            fresh = statement.fresh and used == set(depth)
            body.append(f"{cell} {'=' if fresh else '+='} {names[statement.value]};")

    def write(k: int, pad: str) -> None:
        out.extend(pad + line for line in at_level[k])
        out.extend(pad + line for line in before[k])
        if k == len(nested):
            out.extend(pad + line for line in body)
        else:
            name, size = nested[k]
            first, last = "0", str(size)
            if k == len(nested) - 1:
                reduction = f" reduction(+:{', '.join(sums)})" if sums and not in_lanes else ""
                if in_lanes:
                    out.append(f"{pad}for (int {name}0 = 0; {name}0 < {size}; {name}0 += LANES)")
                    first, last = f"{name}0", f"{name}0 + LANES"
                out.append(f"{pad}PRAGMA(omp simd{reduction})")
            out.append(f"{pad}for (int {name} = {first}; {name} < {last}; {name}++) {{")
            write(k + 1, pad + "    ")
            out.append(f"{pad}}}")
        out.extend(pad + line for line in after[k])

    write(0, indent + "    ")
    return [f"{indent}{{", *out, f"{indent}}}"]


def _values(roots: list[Expr], depth: dict[str, int], address: Callable[[Place], str]) -> tuple[dict[Expr, str], list[list[str]]]:
    """The C name of each part of some expressions, and the lines that work them out, by the loop they stand in (0: outside all)."""
    names: dict[Expr, str] = {}
    level: dict[Expr, int] = {}
    at_level: list[list[str]] = [[] for _ in range(len(depth) + 1)]
    for node in _shared_order(roots):
        if isinstance(node, Const):
            names[node], level[node] = constant(node.value), 0
            continue
        if isinstance(node, Var):
            place = parse_access(node)
            level[node] = max((depth[i] for i in index_names(place[1])), default=0)
            text = address(place)
        elif isinstance(node, Custom):
            names[node], level[node] = names[node.value], level[node.value]
            continue
        else:
            assert isinstance(node, Apply)
            level[node] = max((level[a] for a in node.args), default=0)
            text = function(node.function, [names[a] for a in node.args])
        names[node] = f"v{len(names)}"
        at_level[level[node]].append(f"const {'int' if node.is_bool else 'real'} {names[node]} = {text};")
    return names, at_level


def covers(statement_at: Sequence[str], shape: Sequence[int], loops: Loops) -> bool:
    """Whether writing target[at] for all loops reaches every entry exactly once per value of the other loops."""
    sizes = dict(loops)
    seen = set()
    for index, size in zip(statement_at, shape):
        name, offset = split_index(index)
        if not name or offset or sizes.get(name) != size or name in seen:
            return False
        seen.add(name)
    return True


def _shared_order(values: Sequence[Expr]) -> list[Expr]:
    return order(*values)
