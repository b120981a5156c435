"""Temporaries read in parts (the four gates of one product) as a tensor per part: blocks of registers cannot be sliced."""

from __future__ import annotations

from archdsl.graph.expressions import Expr, substitute
from archdsl.kernels.triton.layout import places
from archdsl.recurrence.step import Equation, Step, Tensor, access, reindexed, split_index


def in_parts(step: Step) -> Step:
    """The step with an equation for each part that is read; what cannot be split so is left as it stands."""
    shape = {t.name: t.shape for t in step.tensors}
    whole = {e.target: e for e in step.equations if step.tensor(e.target).role == "temporary" and e.at == tuple(n for n, _ in e.free)}
    whole = {n: e for n, e in whole.items() if sum(other.target == n for other in step.equations) == 1}
    tensors, done = list(step.tensors), []
    parts: dict[str, dict[tuple[tuple[int, int], ...], str]] = {n: {} for n in whole}
    read = set(step.yields) | {s.after for s in step.states}
    for equation in reversed(step.equations):
        pieces = [equation] if equation.target in read or equation.target not in whole else []
        for cut, name in parts.get(equation.target, {}).items():
            pieces.append(_piece(whole[equation.target], cut, name))
            tensors.append(Tensor(name, tuple(s for _, s in cut if s), "temporary"))
        for piece in pieces:
            sizes = dict((*piece.free, *piece.sums))
            values: dict[str, Expr] = {}
            for name, at in places(piece):
                cut = tuple((o, sizes[b] if b else 0) for b, o in map(split_index, at))
                if name not in whole or cut == tuple((0, s) for s in shape[name]):
                    read.add(name)
                    continue
                new = parts[name].setdefault(cut, f"{name}_{len(parts[name])}_part")
                values[access(name, at).name] = access(new, tuple(b for b, _ in map(split_index, at) if b))
            body = substitute(piece.body, values) if values else piece.body
            done.append(Equation(piece.target, piece.at, piece.free, piece.sums, body, piece.span))
    used = {e.target for e in done}
    kept = tuple(t for t in tensors if t.role != "temporary" or t.name in used)
    return Step(kept, tuple(reversed(done)), step.states, step.yields)


def _piece(whole: Equation, cut: tuple[tuple[int, int], ...], name: str) -> Equation:
    """The equation of one part."""
    moved, free = {}, []
    for (index, _), (offset, size) in zip(whole.free, cut):
        moved[index] = f"{index}+{offset}" if size and offset else index if size else str(offset)
        if size:
            free.append((index, size))
    return Equation(name, tuple(n for n, _ in free), tuple(free), whole.sums, reindexed(whole.body, moved), whole.span)
