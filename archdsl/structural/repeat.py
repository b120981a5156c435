"""`repeat`: the rounds of an instance one after another, each on what the one before gave.

Inputs: the values that are carried, then what any round captures (the same for all). attrs: carried; reversible; indices and through where a
depth program runs some of another arch's rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from archdsl.graph.ir import Node, Region
from archdsl.structural.base import Applied, Drawn, Feed, Outputs, Structural, carried, hands_on, instance_of
from archdsl.structural.time import Place, Time
from archdsl.structural.writer import Run, Writer


class Repeat(Structural):
    name = "repeat"
    short = "x"
    by_part = False
    opened = True
    row = True
    alike = True

    def feeds(self, node: Node) -> list[Feed]:
        instance, takes = instance_of(node), tuple(range(len(node.inputs)))
        rounds = instance.rounds or []
        return [Feed(node, instance, rounds[i], takes, node.borrowed, i) for i in rounds_of(node)]

    def own(self, node: Node) -> int:
        return carried(node)

    def applied(self, node: Node) -> Applied:
        return Applied()

    def flow(self, node: Node, time: Time) -> list[Place]:
        count, places = carried(node), [time.place(v) for v in node.inputs]
        current, seen = places[:count], []
        for feed in self.feeds(node):
            seen.append(time.look(feed.region, (*current, *places[count:])))
            current = seen[-1].outputs[:count]
        time.below(seen)
        return current

    def needed(self, node: Node, used: Outputs, depends: Callable[[Region, Outputs], Outputs]) -> list[Outputs | None]:
        """What one round hands to the next may be needed there only."""
        count = carried(node)
        kept: Outputs = frozenset(i for i in used if i < count)
        found: list[Outputs | None] = []
        for feed in reversed(self.feeds(node)):
            found.append(kept)
            kept = frozenset(i for i in depends(feed.region, kept) if i < count)
        return found[::-1]

    def executions(self, node: Node) -> list[tuple[Region, Any]]:
        chosen = [feed.region for feed in self.feeds(node)]
        return [(region, chosen.count(region)) for region in dict.fromkeys(chosen)]

    def problems(self, node: Node) -> Iterator[str]:
        return hands_on(node, self.feeds(node), 0, 0)

    # ---- inverse ----

    def goes_back(self, node: Node) -> bool:
        return bool(node.attrs["reversible"])

    def undone(self, node: Node, unknown: list[int]) -> list[tuple[Region, tuple[int, ...]]] | None:
        count = carried(node)
        if unknown != list(range(count)):
            return None
        return [(feed.region, tuple(range(count))) for feed in reversed(self.feeds(node))]

    def write_inverse(self, node: Node, unknown: list[int], inverses: list[tuple[str, Region]], w: Writer) -> None:
        outs, captured = [w.name(v) for v in node.outputs], [w.name(v) for v in node.inputs[carried(node) :]]
        names = [w.fresh(node.inputs[i]) for i in unknown]
        w.assign(", ".join(names), ", ".join(outs))
        item = w.temporary(singular(instance_of(node).name))
        with w.block(f"for {item} in reversed({_chosen(node, w)}):"):
            run = w.whole_form(self.feeds(node)[0].region)
            w.assign(", ".join(names), w.call(run, f"{item}.{inverses[0][0]}", [*names, *captured]))

    # ---- listing and drawing ----

    def what(self, node: Node) -> str:
        return f"{'reversible ' if self.goes_back(node) else ''}repeat, {len(rounds_of(node))} x"

    def note(self, node: Node) -> str:
        return "reversible" if self.goes_back(node) else ""

    def drawn(self, node: Node) -> Drawn:
        rounds = [feed.region for feed in self.feeds(node)]
        return Drawn(rounds, len(rounds))

    # ---- emission ----

    def write(self, node: Node, w: Writer) -> None:
        captured = [w.name(v) for v in node.inputs[carried(node) :]]
        names = w.begin(node.inputs[: carried(node)], node.outputs)
        runs, target, args = w.runs, ", ".join(names), [*names, *captured]
        if len({run.form for run in runs}) > 1:  # rounds stand differently to the decoded axis
            for place, (run, i) in enumerate(zip(runs, rounds_of(node))):
                w.assign(target, w.call(run, f"{w.path}[{i}]", args, _slot(w.slot(node.occurrence), place)))
            return
        if w.undone and not runs[0].decodes:
            w.support("reversed_rounds")
            call = w.call(runs[0], "", args)
            w.assign(target, f"reversed_rounds({_chosen(node, w)}, {len(names)}, {call[1:]}")
            return
        _write_loop(node, w, runs[0], target, args)


def _write_loop(node: Node, w: Writer, run: Run, target: str, args: list[str]) -> None:
    """`for layer in self.layers: x = layer(x)`."""
    rounds, item = _chosen(node, w), w.temporary(singular(instance_of(node).name))
    if run.form is not None:
        slots, number = w.temporary("slots"), w.temporary("i")
        w.assign(slots, w.slot(node.occurrence))
        with w.block(f"for {number}, {item} in enumerate({rounds}):"):
            w.assign(target, w.call(run, item, args, _slot(slots, number)))
        return
    with w.block(f"for {item} in {rounds}:"):
        call = w.call(run, item, args)
        if node.attrs["reversible"] and w.whole:  # inner values are computed again for the backward pass instead of being kept
            w.support("recomputed")
            call = f"recomputed({item}, {call[len(item) + 1 :]}"
        w.assign(target, call)


def _slot(slots: str, number: int | str) -> str:
    return f"{slots}.setdefault({number}, {{}})"


def _chosen(node: Node, w: Writer) -> str:
    """Source of the rounds that run: all, a slice, or a list of them."""
    indices, count = rounds_of(node), len(instance_of(node).rounds or [])
    if indices == list(range(count)):
        return w.path
    if indices == list(range(indices[0], indices[-1] + 1)):
        return f"{w.path}[{indices[0]}:{indices[-1] + 1}]"
    return f"[{', '.join(f'{w.path}[{i}]' for i in indices)}]"


def rounds_of(node: Node) -> list[int]:
    """The rounds that run, in order: all of them, or those a depth program chose."""
    chosen: list[int] | None = node.attrs.get("indices")
    return list(range(len(instance_of(node).rounds or []))) if chosen is None else chosen


def singular(name: str) -> str:
    """`layers` -> layer; a name for one of them in any case."""
    return name[:-1] if name.endswith("s") and len(name) > 2 else f"{name}_round"


REPEAT = Repeat()
