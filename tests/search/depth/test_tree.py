"""Tree search over edits: bookkeeping by hand, branching, the papers' settings."""

from __future__ import annotations

import math
import random

import pytest

from archdsl.search.depth.program import COLA, DRLLM, Rules, identity, layer_runs
from archdsl.search.depth.tree import COLA_TREE, DRLLM_TREE, tree_search
from archdsl.search.drivers.tree import Node, Rule, branch

pytestmark = pytest.mark.row("cola")
SKIPS = Rules("skips", skip=(1,), repeat=(), times=())


@pytest.mark.parametrize(("rules", "rule"), [(COLA, COLA_TREE), (DRLLM, DRLLM_TREE)], ids=["cola", "dr-llm"])
def test_the_root_branches_and_paths_do_not_shrink_to_nothing(rules, rule):
    """The released code adds a child only below the last one, so that a search is a walk to the empty program."""
    for seed in range(3):
        steps = list(tree_search(lambda _: 0.0, identity(16), 16, rules, rule, 50, random.Random(seed)))
        root = steps[-1].root
        assert root.visits == 50
        assert 5 < len(root.children) <= math.ceil(2 * 50**0.5) + 15  # widening, and the untried edits taken by chance
        assert sum(child.visits for child in root.children.values()) == 50
        assert min(layer_runs(step.program) for step in steps) >= 4


def test_the_settings_are_those_of_the_papers():
    assert (COLA_TREE.penalty, COLA_TREE.stray) == (5.0, 0.1)
    assert (DRLLM_TREE.c, DRLLM_TREE.penalty, DRLLM_TREE.stray) == (1.8, 3.0, 0.1)
    assert (COLA.skip, COLA.repeat, COLA.times) == ((1, 2, 3, 4),) * 3
    assert (DRLLM.skip, DRLLM.repeat, DRLLM.times, DRLLM.cap) == ((1, 2), (1,), (1,), 2.0)


def test_bookkeeping_by_hand():
    """Three layers, skips only, rewards known: visits, sums and scores after three simulations."""
    worth = {(1, 2): 1.0, (0, 2): 0.0, (0, 1): 0.5}
    rule = Rule(c=1.0, widen=3.0, power=0.0, stray=0.0, penalty=0.6)  # all three edits are tried at once
    steps = list(tree_search(lambda p: worth.get(p, 0.0), identity(3), 3, SKIPS, rule, 3, random.Random(0)))
    assert {step.program for step in steps} == set(worth)
    root = steps[-1].root
    assert (root.visits, root.reward) == (3, 1.5)
    for option, program in enumerate([(1, 2), (0, 2), (0, 1)]):
        child = root.children[option]
        assert (child.visits, child.reward, child.length) == (1, worth[program], pytest.approx(2 / 3))
        assert child.score(root.visits, rule) == pytest.approx(worth[program] + math.sqrt(math.log(3)) - 0.6 * 2 / 3)
    assert branch(root, 3, rule, random.Random(0), random.choice) == 0


def test_the_penalty_is_on_the_nodes_own_length():
    """Many visits below a node do not change its length: |P| / L of its own program, as in CoLa's formula."""
    rule = Rule(c=1.0, widen=1.0, power=0.0, stray=0.0, penalty=0.0)  # a chain
    *_, last = tree_search(lambda _: 0.0, identity(5), 5, SKIPS, rule, 4, random.Random(0))
    node, length = last.root, 5
    while node.children:
        assert node.length / node.visits == pytest.approx(length / 5)
        (node,) = node.children.values()
        length -= 1
    assert length == 1
    assert isinstance(node, Node)


def test_seeds_differ_and_repeat():
    def programs(seed: int) -> list:
        return [s.program for s in tree_search(lambda p: len(p) / 20, identity(10), 10, COLA, COLA_TREE, 30, random.Random(seed))]

    assert programs(1) == programs(1)
    assert programs(1) != programs(2)
