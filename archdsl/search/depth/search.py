"""Searches over depth programs: contiguous blocks, beam, evolution and random edits. Tree search is in tree.py.

Each takes a judge and stops when the judge's budget is spent; what was seen is in `judge.visited`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

from archdsl.search.base import Driver, Exhausted, Goal, Trial, seeded
from archdsl.search.depth.judge import Judge, Spent
from archdsl.search.depth.program import COLA, DRLLM, Edit, Program, Rules, blocks, identity
from archdsl.search.depth.space import DepthSpace
from archdsl.search.depth.tree import COLA_TREE, DRLLM_TREE, tree_search

Search = Callable[[Judge, int, int], None]  # (judge, depth of the stack, seed)

WIDTH, ROUNDS = 4, 4  # beams kept, and edits one upon another that the budget is divided for
PROPOSALS = 5  # proposals per evaluation after which a driver that only repeats itself is stopped


def single_skips(judge: Judge, depth: int, seed: int = 0) -> None:
    """The stack without one layer, for each layer."""
    with suppress(Spent):
        judge(Edit("skip", i, 1).apply(identity(depth)) for i in range(depth))


def sweep(judge: Judge, depth: int, seed: int = 0) -> None:
    """One contiguous block run twice or not at all, for every block (dnhkng's RYS); a random part of them if the budget is smaller."""
    found = [Edit("repeat" if kind == "repeat" else "skip", i, j - i).apply(identity(depth)) for kind, i, j in blocks(depth)]
    seeded(seed, "sweep").shuffle(found)
    with suppress(Spent):
        judge(found)


def beam(judge: Judge, depth: int, seed: int = 0, rules: Rules = COLA, width: int = WIDTH, rounds: int = ROUNDS) -> None:
    """The best `width` programs seen are edited at random in turn; a program is a parent once."""
    rng, fan = seeded(seed, "beam"), max(1, judge.budget // (rounds * width))
    parents, expanded = [identity(depth)], set()
    with suppress(Spent):
        judge(parents)
        while parents:
            expanded |= set(parents)
            share = fan * width // len(parents)
            judge([child for parent in parents for child in _children(parent, share, rules, depth, rng)])
            ranked = sorted(judge.visited, key=lambda p: -judge.visited[p])
            parents = [p for p in ranked[: 2 * width] if p not in expanded][:width] or [p for p in ranked if p not in expanded][:1]


def _children(parent: Program, count: int, rules: Rules, depth: int, rng: random.Random) -> list[Program]:
    edits = rules.edits(parent, depth)
    return [edit.apply(parent) for edit in rng.sample(edits, min(count, len(edits)))]


def drive(judge: Judge, space: DepthSpace, driver: Driver, seed: int) -> None:
    """A driver of the general searches on depth programs, until the budget is spent or it has nothing new."""
    history: list[Trial] = []
    goals = (Goal("margin", "max"),)
    with suppress(Spent, Exhausted):
        for number in range(PROPOSALS * judge.budget):
            proposal = driver.propose(space, goals, history, seeded(seed, driver.name, number), number)
            program = space.program(proposal.point)
            known = program in judge.visited
            value = judge.one(program)
            key = space.candidate(proposal.point).key
            history.append(Trial(number, proposal.point, "duplicate" if known else "complete", None if known else (value,), key))


def evolution(judge: Judge, depth: int, seed: int = 0, rules: Rules = COLA) -> None:
    """Regularised evolution by the general driver."""
    from archdsl.search.drivers.registry import driver

    options = {"population": max(2, min(20, judge.budget // 5)), "crossover": 0.25}
    drive(judge, DepthSpace(depth, rules), driver("evolution", options), seed)


def random_edits(judge: Judge, depth: int, seed: int = 0, rules: Rules = COLA) -> None:
    """A few random edits of the plain order, by the general driver; what the other searches must beat."""
    from archdsl.search.drivers.registry import driver

    drive(judge, DepthSpace(depth, rules), driver("random"), seed)


def mcts_cola(judge: Judge, depth: int, seed: int = 0) -> None:
    """Tree search with CoLa's settings; simulations as the budget allows (CoLa: 200 for each input)."""
    _tree(judge, depth, seed, COLA, "cola")


def mcts_drllm(judge: Judge, depth: int, seed: int = 0) -> None:
    """Tree search with Dr.LLM's settings and edits."""
    _tree(judge, depth, seed, DRLLM, "dr-llm")


def _tree(judge: Judge, depth: int, seed: int, rules: Rules, which: str) -> None:
    start = identity(depth)
    rule = COLA_TREE if which == "cola" else DRLLM_TREE
    with suppress(Spent):
        rng = seeded(seed, "tree", which)
        for _ in tree_search(lambda p: judge.squash(p, start), start, depth, rules, rule, PROPOSALS * judge.budget, rng):
            pass


SEARCHES: dict[str, Search] = {
    "sweep": sweep,
    "beam": beam,
    "evolution": evolution,
    "mcts-cola": mcts_cola,
    "mcts-dr-llm": mcts_drllm,
    "random": random_edits,
}
