"""The tree: bookkeeping by hand, branching, closed branches, and settings that published searches use."""

import math
import random

import pytest

from archdsl.search.base import Exhausted, Goal, Trial, seeded
from archdsl.search.drivers.registry import driver
from archdsl.search.drivers.tree import Node, Rule, add, branch, shut
from tests.search.toys import Depth, Folded, Ordered, Toy, search, trial


def test_uct_by_hand():
    root = Node()
    add(root, [0, 0], [2, 2], 1.0, 0.5)
    add(root, [0, 1], [2, 2], 0.0, 1.5)
    add(root, [1, 0], [2, 2], 1.0, 1.0)
    assert (root.visits, root.reward) == (3, 2.0)
    rule = Rule(c=2.0, penalty=5.0)
    assert root.children[0].score(3, rule) == pytest.approx(0.5 + 2 * math.sqrt(math.log(3) / 2) - 5 * (0.5 + 1.5) / 2)
    assert root.children[1].score(3, rule) == pytest.approx(1.0 + 2 * math.sqrt(math.log(3)) - 5)
    assert root.children[0].closed
    assert not root.closed
    rng = random.Random(0)
    assert branch(root, 2, Rule(), rng, rng.choice) == 1  # nothing is left below the other
    add(root, [1, 1], [2, 2], 0.0)
    assert root.closed


def test_branches_widen_with_visits():
    """1,000 options: after n visits the root has ceil(widen n^power) children, and each of them was visited again."""
    root, rng = Node(), random.Random(0)
    for n in range(100):
        option = branch(root, 1000, Rule(widen=2, power=0.5), rng, rng.choice)
        add(root, [option, rng.randrange(1000)], [1000, 1000], rng.random())
        assert len(root.children) == max(1, math.ceil(2 * math.sqrt(n)))


def test_options_that_lead_nowhere_are_not_followed():
    root, rng = Node(), random.Random(0)
    shut(root, [0, 2])
    assert {branch(root, 3, Rule(stray=0.5), rng, rng.choice) for _ in range(20)} == {1}
    add(root, [1], [3], 0.0)
    assert root.closed


def test_a_stray_takes_what_was_never_tried():
    root, rng = Node(), random.Random(0)
    for _ in range(20):
        add(root, [0], [9], 1.0, closes=False)
        add(root, [1], [9], 0.0, closes=False)
    strict = Rule(c=0.0, widen=0.01, stray=0.0)
    assert {branch(root, 9, strict, rng, rng.choice) for _ in range(50)} == {0}
    taken = [branch(root, 9, Rule(c=0.0, widen=0.01, stray=0.1), rng, rng.choice) for _ in range(1000)]
    assert 60 < sum(option > 1 for option in taken) < 140


class Unrewarding(Ordered):
    def measure(self, point):
        return {"loss": 0.0}


@pytest.mark.parametrize("toy", [Unrewarding, Depth])
def test_the_root_branches(toy):
    """A search that only ever follows one child is a random walk; released code does that."""
    space, mcts = toy(), driver("mcts")
    history = search(space, mcts, 50)
    root, _ = mcts.replay(space, space.goals, history)
    assert root.visits == 50
    assert len(root.children) > 1
    assert max(len(child.children) for child in root.children.values()) > 1
    assert root.visits == sum(child.visits for child in root.children.values())


def test_what_was_tried_is_closed_and_the_end_is_found():
    space = Folded()
    history = search(space, driver("mcts", {"same": "point", "tries": 1000}), 100)
    points = [tuple(t.point.values()) for t in history]
    assert len(points) == len(set(points)) == 27


class Blind(Toy):
    """The second of three branches leads nowhere: its weight says so, or it is found out on the way."""

    def __init__(self, said):
        self.said = said

    def rule(self, made):
        return None if len(made) == 2 else (f"x{len(made)}", ("a", "b", "c"), False)

    def open(self, made):
        from dataclasses import replace

        from archdsl.search.base import Rejected

        if len(made) == 1 and made["x0"] == 1:
            raise Rejected("nothing fits")
        choice = super().open(made)
        if choice is not None and not made:
            return replace(choice, weights=(3, 0, 3) if self.said else None)
        return choice

    def measure(self, point):
        return {"loss": float(sum(point.values()))}


@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("name", ["mcts", "tpe", "nsga2", "policy", "cmaes"])
def test_dead_ends(said, name):
    space = Blind(said)
    points = [{"x0": a, "x1": b} for a in (0, 2) for b in range(3)]
    history = [trial(space, i, p) for i, p in enumerate(points[:5])]
    history += [Trial(n, {"x0": 0, "x1": 0}, "duplicate") for n in range(5, 20)]
    proposal = driver(name, {"tries": 300, **({"startup": 3} if name == "tpe" else {})}).propose(space, space.goals, history, seeded(1), 20)
    assert proposal.point == points[5]


@pytest.mark.parametrize("reward", ["rank", "range", "value"])
def test_lengths_are_penalised(reward):
    """Among programs that score alike, the penalty leads to short ones."""

    class Alike(Depth):
        goals = (Goal("score", "max"),)

        def measure(self, point):
            return {"score": 1.0, "length": float(sum(point.values()))}

    def lengths(**options):
        history = search(Alike(), driver("mcts", {"reward": reward, "length": "length", "full": 8, **options}), 80)
        return sum(t.metrics["length"] for t in history[40:]) / 40

    assert lengths(penalty=5.0) < lengths(penalty=0.0) - 0.5


def test_several_goals_and_exhaustion_are_served():
    space = Folded()
    history = [trial(space, i, p) for i, p in enumerate(space.points())]
    with pytest.raises(Exhausted):
        driver("mcts").propose(space, space.goals, history, seeded(0), 27)
