"""Depth programs: which layers of a stack run, in which order. A program is a tuple of layer numbers and damped parts, its own canonical form.

`base.layers[0..11] -> loop 2 { base.layers[11..14] }` and `base.layers[0..14] -> base.layers[11..14]` are one program. A loop that is not
damped is nothing but repetition; `loop n step s { B }` is n times x <- x + s * (B(x) - x).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, Union


@dataclass(frozen=True, slots=True)
class Damped:
    """x <- x + step * (body(x) - x): a part of which only a share of the change is taken."""

    step: Fraction
    body: Program


Item = Union[int, Damped]
Program = tuple[Item, ...]


def identity(depth: int) -> Program:
    """Each layer once, in order."""
    return tuple(range(depth))


def canonical(items: Iterable[Item]) -> Program:
    """Equal for item lists that compute the same: whole steps are written out, parts that change nothing are left out."""
    found: list[Item] = []
    for item in items:
        if isinstance(item, int):
            found.append(item)
            continue
        body = canonical(item.body)
        if item.step == 1:
            found += body
        elif body and item.step != 0:
            found.append(Damped(item.step, body))
    return tuple(found)


def layer_runs(program: Program) -> int:
    """How many layers the program applies: its depth."""
    return sum(1 if isinstance(item, int) else layer_runs(item.body) for item in program)


def sort_key(program: Program) -> tuple[object, ...]:
    """Programs in this order share the longest beginnings with their neighbours."""
    return tuple((0, item, ()) if isinstance(item, int) else (1, float(item.step), sort_key(item.body)) for item in program)


def prefix_runs(program: Program, before: Program = ()) -> Iterator[Program]:
    """The prefix that each layer run of the program ends. Programs that share a prefix can share the run that ends it.

    Inside a damped part the prefix is what stands before the part, then the part's own beginning: those runs are shared too.
    """
    for item in program:
        if isinstance(item, Damped):
            yield from prefix_runs(item.body, before)
        before = (*before, item)
        if isinstance(item, int):
            yield before


def distinct_runs(programs: Iterable[Program]) -> int:
    """How many layer runs are needed if each prefix is run once."""
    return len({prefix for program in programs for prefix in prefix_runs(program)})


# ---- the program as text --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Run:
    """Layers first, first + 1, … up to before `end`."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Again:
    """Pieces run several times, damped if a step is given."""

    times: int
    step: Fraction | None
    pieces: tuple[Piece, ...]


Piece = Union[Run, Again]


def folded(program: Program) -> tuple[Piece, ...]:
    """The program in few pieces: ascending runs, and loops where a block stands several times in a row."""
    found: list[Piece] = []
    at = 0
    while at < len(program):
        size, times = _fold(program, at)
        item = program[at]
        if isinstance(item, Damped) and size == 1:
            found.append(Again(times, item.step, folded(item.body)))
        elif times > 1:
            found.append(Again(times, None, folded(program[at : at + size])))
        elif isinstance(item, int):
            last = found[-1] if found else None
            if isinstance(last, Run) and last.end == item:
                found[-1] = Run(last.first, item + 1)
            else:
                found.append(Run(item, item + 1))
        at += size * times
    return tuple(found)


def _fold(program: Program, at: int) -> tuple[int, int]:
    """The repetition that begins here and saves most: size of the block and how many times it stands; (1, 1) if none does."""
    best = (0, -1, 1)
    for size in range(1, (len(program) - at) // 2 + 1):
        block, times = program[at : at + size], 1
        while program[at + size * times : at + size * (times + 1)] == block:
            times += 1
        best = max(best, (size * (times - 1), -size, times))
    return -best[1], best[2]


def stages(program: Program, base: str = "base", label: str = "layers") -> list[str]:
    """The program as stages of a pipe in the language: ["base.layers[0..11]", "loop 2 { base.layers[11..14] }"]."""

    def text(piece: Piece) -> str:
        if isinstance(piece, Run):
            return f"{base}.{label}[{piece.first}]" if piece.end == piece.first + 1 else f"{base}.{label}[{piece.first}..{piece.end}]"
        step = f" step {piece.step}" if piece.step is not None else ""
        return f"loop {piece.times}{step} {{ {' -> '.join(map(text, piece.pieces))} }}"

    return [text(piece) for piece in folded(program)]


def short(program: Program) -> str:
    """The program for people: `0..11 (11..14)x2 14..30`; ranges are half-open, a damped loop is `(3..5)x2~1/2`."""

    def text(piece: Piece) -> str:
        if isinstance(piece, Run):
            return str(piece.first) if piece.end == piece.first + 1 else f"{piece.first}..{piece.end}"
        return f"({' '.join(map(text, piece.pieces))})x{piece.times}" + (f"~{piece.step}" if piece.step is not None else "")

    return " ".join(map(text, folded(program))) or "nothing"


# ---- edits ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of a block of `size` items from `at`: skip it, repeat it (`times` more copies), or damp it (`times` steps of 1 / times)."""

    kind: Literal["skip", "repeat", "damp"]
    at: int
    size: int
    times: int = 1

    def apply(self, program: Program) -> Program:
        """The edited program."""
        before, block, after = program[: self.at], program[self.at : self.at + self.size], program[self.at + self.size :]
        if self.kind == "skip":
            return before + after
        if self.kind == "repeat":
            return before + block * (1 + self.times) + after
        return canonical(before + (Damped(Fraction(1, self.times), block),) * self.times + after)


@dataclass(frozen=True, slots=True)
class Rules:
    """Which edits are allowed. cap: longest program, in multiples of the stack's depth. damped: into how many damped steps a block may go."""

    name: str
    skip: tuple[int, ...]
    repeat: tuple[int, ...]
    times: tuple[int, ...]
    damped: tuple[int, ...] = ()
    cap: float = 2.0

    def edits(self, program: Program, depth: int) -> list[Edit]:
        """Every edit of the program, from left to right."""
        room, found = int(self.cap * depth) - layer_runs(program), []
        for at in range(len(program)):
            found += [Edit("skip", at, size) for size in self.skip if at + size <= len(program)]
            for size in self.repeat:
                if at + size > len(program):
                    continue
                cost = layer_runs(program[at : at + size])
                found += [Edit("repeat", at, size, times) for times in self.times if cost * times <= room]
                found += [Edit("damp", at, size, times) for times in self.damped if cost * (times - 1) <= room]
        return found


COLA = Rules("cola", skip=(1, 2, 3, 4), repeat=(1, 2, 3, 4), times=(1, 2, 3, 4))  # arXiv:2507.07996; its cap is not published, 2 assumed
DRLLM = Rules("dr-llm", skip=(1, 2), repeat=(1,), times=(1,))  # arXiv:2510.12773
DAMPED = Rules("damped", skip=(1, 2, 3, 4), repeat=(1, 2, 3, 4), times=(1,), damped=(2, 3, 4))  # after arXiv:2605.23872
RULES: dict[str, Rules] = {rules.name: rules for rules in (COLA, DRLLM, DAMPED)}


def blocks(depth: int) -> Sequence[tuple[str, int, int]]:
    """Every contiguous block [i, j) of a stack: ("repeat", i, j) for each, ("skip", i, j) for each but the whole."""
    pairs = [(i, j) for i in range(depth) for j in range(i + 1, depth + 1)]
    return [("repeat", i, j) for i, j in pairs] + [("skip", i, j) for i, j in pairs if j - i < depth]
