"""Shared prefixes: programs that begin alike share the runs of that beginning. The states kept are bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from archdsl.search.depth.program import Damped, Item, Program
from archdsl.search.depth.stack import Hidden

MEMORY = 1 << 30


class Work(Protocol):
    """What programs are run on: a batch, and how a layer runs on it."""

    def start(self) -> Hidden: ...
    def layer(self, index: int, hidden: Hidden) -> Hidden: ...


class Prefixes:
    """Runs programs on one batch. `runs` counts the layers really run.

    States are kept by prefix, up to `memory` bytes; the one unused for longest goes first, and of one program's the deepest first. With
    memory=0 each program is run from the start.
    """

    def __init__(self, work: Work, memory: int = MEMORY):
        self.work, self.memory = work, memory
        self.runs = 0
        self.held = 0
        self._start: Hidden | None = None
        self._kept: OrderedDict[Program, Hidden] = OrderedDict()

    def state(self, program: Program) -> Hidden:
        """What the last layer of the program gives."""
        if self._start is None:
            self._start = self.work.start()
        hidden = self._follow((), self._start, program)
        for n in range(len(program), 0, -1):
            if program[:n] in self._kept:
                self._kept.move_to_end(program[:n])
        return hidden

    def _follow(self, before: Program, hidden: Hidden, items: Program) -> Hidden:
        """The state after further items; hidden is the state after `before`."""
        whole = before + items
        known = next((n for n in range(len(whole), len(before), -1) if whole[:n] in self._kept), len(before))
        hidden = self._kept[whole[:known]] if known > len(before) else hidden
        for n in range(known, len(whole)):
            hidden = self._apply(whole[:n], hidden, whole[n])
            self._keep(whole[: n + 1], hidden)
        return hidden

    def _apply(self, before: Program, hidden: Hidden, item: Item) -> Hidden:
        if isinstance(item, Damped):
            changed, share = self._follow(before, hidden, item.body), float(item.step)
            return tuple(x + share * (new - x) for x, new in zip(hidden, changed))
        self.runs += 1
        return self.work.layer(item, hidden)

    def _keep(self, prefix: Program, hidden: Hidden) -> None:
        size = sum(x.numel() * x.element_size() for x in hidden)
        if size > self.memory:
            return
        self._kept[prefix] = hidden
        self.held += size
        while self.held > self.memory:
            _, old = self._kept.popitem(last=False)
            self.held -= sum(x.numel() * x.element_size() for x in old)
