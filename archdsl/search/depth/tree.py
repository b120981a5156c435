"""Monte-Carlo tree search over edits: every node is a whole program, its branches are the edits of it.

The tree is that of the general driver (`drivers.tree`): its Node, its rule, its progressive widening. The general driver itself searches
prefixes of choices and measures leaves; here each node is measured, which is what CoLa and Dr.LLM do.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from archdsl.search.depth.program import Program, Rules, layer_runs
from archdsl.search.drivers.tree import Node, Rule, add, branch

# c is not published for CoLa (sqrt 2 is usual); both take an untried edit at random with chance 0.1.
COLA_TREE = Rule(c=math.sqrt(2), widen=2.0, power=0.5, stray=0.1, penalty=5.0)
DRLLM_TREE = Rule(c=1.8, widen=2.0, power=0.5, stray=0.1, penalty=3.0)
COLA_SIMULATIONS, DRLLM_SIMULATIONS = 200, 50


@dataclass(frozen=True, slots=True)
class Simulation:
    """One walk down the tree: the program it came to, what it was worth, and the tree after it."""

    program: Program
    reward: float
    root: Node


def tree_search(
    reward: Callable[[Program], float], start: Program, depth: int, rules: Rules, rule: Rule, simulations: int, rng: random.Random
) -> Iterator[Simulation]:
    """Walks down by score, tries one new edit, measures the program and tells the nodes above; once for each simulation.

    A node's length penalty is rule.penalty * its own program's layer runs / depth, as in CoLa's formula.
    """
    root = Node()
    for _ in range(simulations):
        node, program = root, start
        taken: list[int] = []
        counts: list[int] = []
        shares = [layer_runs(start) / depth]
        while edits := rules.edits(program, depth):
            option = branch(node, len(edits), rule, rng, rng.choice)
            taken.append(option)
            counts.append(len(edits))
            program = edits[option].apply(program)
            shares.append(layer_runs(program) / depth)
            if option not in node.children:
                break
            node = node.children[option]
        value = reward(program)
        add(root, taken, counts, value, closes=False)
        node = root
        for share, step in zip(shares, [*taken, -1]):
            node.length = node.visits * share  # the mean is the node's own length, not that of what lies below
            node = node.children.get(step, node)
        yield Simulation(program, value, root)
