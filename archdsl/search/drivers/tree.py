"""A search tree over the choices of points: which branch to try next, by UCT with progressive widening.

Kept apart from the driver because any search by choices can use it: a node needs rewards and a count of options, nothing of a space.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rule:
    """How a branch is chosen.

    c: weight of what is little explored (UCT: Kocsis & Szepesvári 2006). widen, power: a node of n visits has at most ceil(widen * n^power)
    branches (Coulom 2007), so a node of many options goes deep before it has tried them all, and one of few options tries them all soon.
    stray: the chance to take an option that was never tried, whatever the scores. penalty: what a branch loses per length (1 is full length).
    """

    c: float = 1.4
    widen: float = 2.0
    power: float = 0.5
    stray: float = 0.0
    penalty: float = 0.0


@dataclass(slots=True)
class Node:
    """A prefix of choices. reward, length: sums over its visits. closed: every point below was tried."""

    visits: int = 0
    reward: float = 0.0
    length: float = 0.0
    closed: bool = False
    children: dict[int, Node] = field(default_factory=dict)

    def score(self, parent_visits: int, rule: Rule) -> float:
        """UCT: mean reward + c sqrt(ln V / v) - penalty * mean length."""
        explore = rule.c * math.sqrt(math.log(max(parent_visits, 1)) / self.visits)
        return self.reward / self.visits + explore - rule.penalty * self.length / self.visits


def add(root: Node, options: Sequence[int], counts: Sequence[int], reward: float, length: float = 0.0, closes: bool = True) -> None:
    """Counts a finished point: the options taken from the root, and how many there were at each. closes: whether it need not come again."""
    path = [root]
    for option in options:
        path.append(path[-1].children.setdefault(option, Node()))
    for node in path:
        node.visits += 1
        node.reward += reward
        node.length += length
    path[-1].closed = path[-1].closed or closes
    for node, count in zip(reversed(path[:-1]), reversed(counts), strict=True):
        node.closed = len(node.children) == count and all(child.closed for child in node.children.values())


def shut(node: Node, options: Sequence[int]) -> None:
    """Closes options that lead nowhere."""
    for option in options:
        node.children.setdefault(option, Node()).closed = True


def branch(node: Node, count: int, rule: Rule, rng: random.Random, new: Callable[[list[int]], int]) -> int:
    """The option to follow from an open node of `count` options. new: picks among options never tried."""
    untried = [i for i in range(count) if i not in node.children]
    tried = [i for i, child in node.children.items() if not child.closed]
    if untried and rule.stray and rng.random() < rule.stray:
        return rng.choice(untried)
    allowed = math.ceil(rule.widen * node.visits**rule.power)
    if untried and (not tried or sum(child.visits > 0 for child in node.children.values()) < allowed):
        return new(untried)
    return max(tried, key=lambda i: (node.children[i].score(node.visits, rule), -i))
