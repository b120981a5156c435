"""The parts of a step in order: lines, loop nests, products with weight matrices; and which nests run as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Union

from archdsl.kernels import rows
from archdsl.kernels.loops import Place


@dataclass
class Part:
    """Lines or a loop nest for one sequence, or a dense product for all of a block."""

    lines: list[str]
    dense: bool = False
    nest: rows.Nest | None = None


Run = Union[Part, list[rows.Nest]]


def joined_runs(parts: Sequence[Part]) -> list[Run]:
    """The parts, with neighbouring nests that can be one put together."""
    out: list[Run] = []
    waiting: list[rows.Nest] = []
    for part in parts:
        if part.nest is not None:
            waiting.append(part.nest)
            continue
        out += [*rows.joined(waiting), part]
        waiting = []
    return out + rows.joined(waiting)


def written(runs: Sequence[Run], address: Callable[[Place], str], passing: set[str], others: set[str]) -> list[Part]:
    """All as lines. passing: tensors that mean nothing once these have run; others: what parts other than nests read."""
    out: list[Part] = []
    later = set(others)
    for run in reversed(runs):
        if isinstance(run, Part):
            out.append(run)
            continue
        out.append(Part(rows.lines(run, address, passing - later)))
        later |= {place[0] for one in run for place in one.accesses()[1]}
    return out[::-1]


def takes_place(runs: Sequence[Run], old: str, new: str) -> bool:
    """Whether `new` can be written over `old` entry by entry: the run that makes it is the only one that reads the other."""
    users = [run for run in runs if not isinstance(run, Part) and _touched(run) & {old, new}]
    return bool(users) and rows.replaces(users[0], old, new) and not any(old in _touched(run) for run in users[1:])


def _touched(run: Sequence[rows.Nest]) -> set[str]:
    return {place[0] for one in run for places in one.accesses() for place in places}
