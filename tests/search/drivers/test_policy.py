"""Policy gradient: the step is the gradient, it learns, and what one layer teaches is shared."""

import math

import pytest

from archdsl.search.base import Choice, Goal, Trial
from archdsl.search.drivers.policy import Policy, PolicyOptions, _Learner
from archdsl.search.drivers.registry import driver
from tests.search.toys import Depth, TwoGoals, search

KINDS = Choice("layers.3/kind", "choice", ("a", "b", "c"), weights=(2, 1, 1))


def test_the_step_is_the_gradient_of_what_it_climbs():
    """(reward - baseline) log p(option) + entropy weight x entropy, by finite differences in the decision's own logits."""
    options = PolicyOptions(rate=1.0, kind=0.0, entropy=0.1, momentum=0.5)
    learner = _Learner(options)
    learner.baseline = 0.2
    own, _ = learner._rows(KINDS)
    own[:] = [0.3, -0.2, 0.5]

    def climbed(logits):
        own[:] = logits
        p = learner.chances(KINDS)
        return (0.9 - 0.2) * math.log(p[1]) - 0.1 * sum(q * math.log(q) for q in p)

    start, h = [0.3, -0.2, 0.5], 1e-6
    slopes = []
    for i in range(3):
        up, down = list(start), list(start)
        up[i] += h
        down[i] -= h
        slopes.append((climbed(up) - climbed(down)) / (2 * h))
    own[:] = start
    learner.learn([(KINDS, 1)], 0.9)
    assert [a - b for a, b in zip(own, start)] == pytest.approx(slopes, abs=1e-6)
    assert learner.baseline == pytest.approx(0.55)


def test_it_begins_as_the_space_draws():
    policy = Policy(PolicyOptions())
    assert policy.chances(Depth(), (Goal("loss"),), [], KINDS) == pytest.approx([0.5, 0.25, 0.25])
    assert Policy(PolicyOptions(by="choices")).chances(Depth(), (Goal("loss"),), [], KINDS) == pytest.approx([1 / 3] * 3)


class LikesSkipping(Depth):
    """A reward that likes layer 3 removed."""

    goals = (Goal("reward", "max"),)

    def measure(self, point):
        return {"reward": 1.0 if point["layers.3/times"] == 0 else 0.0}


@pytest.mark.parametrize("seed", range(3))
def test_a_liked_action_becomes_near_certain(seed):
    space = LikesSkipping()
    policy = driver("policy", {"kind": 0.0})
    history = search(space, policy, 200, seed)
    choice = space._choices(history[0].point)["layers.3/times"]
    assert policy.chances(space, space.goals, history, choice)[0] > 0.9


def test_layers_share_what_they_learn():
    space = LikesSkipping()
    history = search(space, driver("policy"), 100)
    choice = space._choices(history[0].point)["layers.5/times"]
    alone, shared = (driver("policy", {"kind": k}).chances(space, space.goals, history, choice)[0] for k in (0.0, 0.5))
    assert shared > alone


def test_learning_goes_on_where_it_stood():
    """Going on from what was learnt equals learning from the start."""
    space = Depth()
    history = search(space, driver("random"), 60)
    choice = space._choices(history[0].point)["layers.2/times"]
    step_by_step = driver("policy")
    for n in range(61):
        chances = step_by_step.chances(space, space.goals, history[:n], choice)
    assert chances == driver("policy").chances(space, space.goals, history, choice)


def test_rewards_are_places_among_earlier_trials():
    learner = _Learner(PolicyOptions())
    goal = (Goal("loss"),)
    known: list[Trial] = []
    rewards = []
    for i, loss in enumerate([5.0, 3.0, 9.0, 4.0, 3.0]):
        known.append(Trial(i, {"x": i}, "complete", (loss,)))
        rewards.append(learner.reward(known, goal))
    assert rewards == pytest.approx([0.5, 1.0, 0.0, 2 / 3, 3.5 / 4])


def test_several_goals_are_ranked():
    space = TwoGoals()
    assert len(search(space, driver("policy"), 40)) == 40
