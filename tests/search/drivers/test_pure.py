"""Drivers are functions of (space, goals, history, random numbers, trial number): nothing else tells them what to propose."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from archdsl.search.base import Exhausted, Trial, seeded
from archdsl.search.drivers.registry import NAMES, driver
from tests.search.toys import Conditional, Folded, Ordered, TwoGoals, search, trial

SMALL = {"evolution": {"population": 8}, "nsga2": {"population": 8}, "nsga3": {"population": 8}, "cmaes": {"population": 6}}


def make(name):
    return driver(name, SMALL.get(name, {}))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("toy", [Conditional, TwoGoals])
def test_a_killed_study_goes_on_as_if_nothing_had_happened(name, toy):
    killed, end = (11, 12) if name == "gp" else (15, 24)  # which is slow, and begins at 10
    whole = search(toy(), make(name), end, seed=3)
    resumed = whole[:killed]
    space, fresh = toy(), make(name)  # nothing is left of the process that was killed
    for number in range(killed, end):
        proposal = fresh.propose(space, space.goals, resumed, seeded(3, "trial", number), number)
        resumed.append(trial(space, number, proposal.point, proposal.parents))
    assert resumed == whole


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_does_not_mind_being_asked_out_of_order(name):
    """What a driver caches between calls is for speed alone: another history in between changes nothing."""
    space = Conditional()
    history, other = search(space, driver("random"), 20, 1), search(space, driver("random"), 25, 2)
    asked = make(name)
    first = asked.propose(space, space.goals, history, seeded(1, 20), 20)
    asked.propose(space, space.goals, other, seeded(2, 25), 25)
    asked.propose(space, space.goals, history[:12], seeded(1, 12), 12)
    assert asked.propose(space, space.goals, history, seeded(1, 20), 20) == first


@pytest.mark.parametrize("name", NAMES)
def test_drivers_live_with_whatever_ended(name):
    """Failed, pruned and duplicate trials, values that are no numbers, infeasible ones, and points of another space."""
    space = Conditional()
    history = search(space, driver("random"), 30, 4)
    for i, change in enumerate(
        [
            {"status": "failed", "values": None, "key": ""},
            {"status": "pruned", "values": None, "reports": ((10, 4.0), (20, 3.0))},
            {"status": "pruned", "values": None, "reports": ((10, float("nan")),)},
            {"status": "duplicate", "values": None, "point": history[20].point, "key": history[20].key},
            {"values": (float("nan"),)},
            {"values": (float("inf"),)},
            {"violations": (3.0, -1.0)},
            {"status": "failed", "values": None, "violations": (float("inf"), 0.0, 2.0)},
            {"point": {"mixer": 99}},
            {"point": {"somewhere/else": 0}},
            {"point": {}},
        ]
    ):
        history[i] = replace(history[i], **change)
    for number in range(30, 31 if name == "gp" else 34):
        proposal = make(name).propose(space, space.goals, history, seeded(4, number), number)
        assert space.open(proposal.point) is None  # a whole point of this space
        assert set(proposal.parents) <= set(range(number))
        history.append(trial(space, number, proposal.point))


@pytest.mark.parametrize("name", NAMES)
def test_drivers_live_without_any_result(name):
    space = Conditional()
    history = [Trial(i, p, "failed") for i, p in enumerate(space.sample(seeded(i)) for i in range(25))]
    assert space.open(make(name).propose(space, space.goals, history, seeded(1), 25).point) is None


@pytest.mark.parametrize("name", [n for n in NAMES if n != "exhaustive"])
def test_what_means_the_same_is_not_proposed_again(name):
    """27 points, of which 7 mean something different and 7 mean nothing: the first few trials are all new, and all are found."""
    space = Folded()
    history = search(space, driver(name, {"tries": 200, **({"population": 4} if "population" in SMALL.get(name, {}) else {})}), 6, seed=1)
    assert all(t.status == "complete" for t in history)
    assert len({t.key for t in history}) == 6


@pytest.mark.parametrize("name", NAMES)
def test_the_end_of_a_space_is_said(name):
    space = Folded()
    history = [trial(space, i, point) for i, point in enumerate(space.points())]
    with pytest.raises(Exhausted):
        make(name).propose(space, space.goals, history, seeded(1), len(history))


def test_exhaustive_goes_through_every_point_once_in_order():
    space = Ordered()
    history = [p for p, _ in zip(space.points(), range(40))]
    assert [t.point for t in search(space, driver("exhaustive"), 40)] == history
    assert len(search(Folded(), driver("exhaustive"), 100)) == 27


CHILD = """
import json, sys
from archdsl.search.base import seeded
from archdsl.search.drivers.registry import driver
from tests.search.drivers.test_pure import SMALL
from tests.search.toys import Conditional, search
print(json.dumps({n: [t.point for t in search(Conditional(), driver(n, SMALL.get(n, {})), 14, 5)][10:] for n in sys.argv[1:]}))
"""


def test_another_process_proposes_the_same():
    """With another hash seed, so that no order of a set or of strings' hashes gets in."""
    names = [n for n in NAMES if n != "gp"]  # whose fit goes through floating-point libraries; alike in tests above
    env = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
    done = subprocess.run([sys.executable, "-c", CHILD, *names], env=env, capture_output=True, text=True, check=True)
    here = {n: [t.point for t in search(Conditional(), make(n), 14, 5)][10:] for n in names}
    assert json.loads(done.stdout) == here
