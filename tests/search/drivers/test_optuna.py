"""What Optuna is told and asked: decisions that depend on others, generations, constraints, silence."""

import logging
import warnings
from dataclasses import replace

import optuna
import pytest

from archdsl.search.base import Trial, seeded
from archdsl.search.drivers.bridge import label
from archdsl.search.drivers.common import Walks
from archdsl.search.drivers.nsga import Nsga2, NsgaOptions
from archdsl.search.drivers.registry import driver
from archdsl.search.drivers.tpe import Tpe, TpeOptions
from archdsl.search.fronts import front
from tests.search.toys import Bounded, Conditional, Depth, Ordered, TwoGoals, search, trial


def told(bridge, space, history):
    """The study that a driver makes of a history."""
    done = [t for t in history if t.status == "complete"]
    return bridge._study(space, space.goals, history, done, 1)


def test_a_trial_has_the_decisions_it_met_and_no_others():
    space = Conditional()
    history = search(space, driver("random"), 20)
    study = told(Tpe(TpeOptions()), space, history)
    assert [set(t.params) for t in study.trials] == [{label(c) for c in space._choices(t.point).values()} for t in history]
    kinds = {name: type(d).__name__ for t in study.trials for name, d in t.distributions.items()}
    assert kinds["mixer |3"] == "CategoricalDistribution"  # no order among mixers
    assert kinds["attention/heads <12"] == "IntDistribution"
    assert [t.value for t in study.trials] == [t.values[0] for t in history]


def test_flat_samplers_know_every_decision_of_every_trial():
    space = Conditional()
    history = search(space, driver("random"), 20)
    study = told(Nsga2(NsgaOptions()), space, history)
    union = {name for t in history for name in map(label, space._choices(t.point).values())}
    assert all(set(t.params) == union for t in study.trials)
    for ours, theirs in zip(history, study.trials):
        assert all(theirs.params[label(c)] == ours.point[p] for p, c in space._choices(ours.point).items())


def test_children_come_from_parents():
    """Without mutation a child takes each decision from one of its parents: the best ten of the two generations before it."""
    space = Depth()
    history = search(space, driver("random"), 20)
    for i, t in enumerate(history):  # ten good trials, which all skip layer 0; and ten bad ones
        history[i] = replace(t, point={**t.point, "layers.0/times": 0 if i % 2 else 2}, values=(0.0 if i % 2 else 9.0 + i,), key=str(i))
    nsga = driver("nsga2", {"population": 10, "mutation": 0.0, "same": "point", "tries": 4})
    for number in range(20, 30):
        child = nsga.propose(space, space.goals, history, seeded(number), number).point
        assert child["layers.0/times"] == 0


def test_generations_are_told():
    space = TwoGoals()
    history = search(space, driver("random"), 25)
    study = told(Nsga2(NsgaOptions(population=10)), space, history)
    generations = [next(v for k, v in t.system_attrs.items() if k.endswith("generation")) for t in study.trials]
    assert generations == [0] * 10 + [1] * 10 + [2] * 5


def test_what_was_not_measured_is_still_told():
    space = Bounded()
    history = search(space, driver("random"), 12)
    history[2] = replace(history[2], status="failed", values=None, violations=(7.0,))
    history[3] = replace(history[3], status="failed", values=None, violations=())
    history[4] = replace(history[4], status="pruned", values=None, violations=(), reports=((10, 3.0),))
    study = told(Tpe(TpeOptions()), space, history)
    worst = max(t.values[0] for t in history if t.values)
    assert study.trials[2].value == worst
    assert study.trials[3].state == study.trials[4].state == optuna.trial.TrialState.PRUNED
    assert study.trials[4].intermediate_values == {10: 3.0}
    if hasattr(study.trials[0], "constraints"):
        assert [list(t.constraints.values()) for t in study.trials[:3]] == [list(t.violations) for t in history[:3]]


@pytest.mark.parametrize("name", ["tpe", "nsga2"])
def test_constraints_lead_away(name):
    """From a history where the best losses break the constraint, proposals keep to what is allowed more often than random draws do."""
    space = Bounded()
    history = search(space, driver("random"), 60)
    asked = driver(name, {"tries": 1})
    sums = [sum(asked.propose(space, space.goals, history, seeded(i), 60).point.values()) for i in range(15)]
    drawn = [sum(space.sample(seeded(i)).values()) for i in range(15)]
    assert sum(s <= 20 for s in sums) > sum(s <= 20 for s in drawn)


def test_nothing_is_printed_and_the_log_level_stays(caplog, capfd):
    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("tpe", "nsga2", "nsga3"):
            search(Ordered(), driver(name, {"population": 5} if name != "tpe" else {}), 12)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_point_told_twice_is_not_asked_again():
    """Over many unordered decisions TPE repeats good trials exactly; neighbours are proposed instead."""
    space = Depth(layers=20)
    history = search(space, driver("random"), 60)
    known = {tuple(t.point.values()) for t in history}
    for i in range(5):
        assert tuple(driver("tpe").propose(space, space.goals, history, seeded(i), 60).point.values()) not in known


def test_one_objective_stands_for_several_where_the_sampler_has_one():
    class Single(Tpe):
        one_goal = True

    space = TwoGoals()
    history = search(space, driver("random"), 15)
    study = told(Single(TpeOptions()), space, history)
    assert len(study.directions) == 1
    best = [i for i, t in enumerate(study.trials) if t.value == max(t.value for t in study.trials)]
    assert {history[i].number for i in best} <= {t.number for t in front(history, space.goals)}


def test_an_old_history_does_not_disturb():
    """Trials of a space that has changed since are left out."""
    space = Conditional()
    history = [*search(space, driver("random"), 12), Trial(12, {"gone": 1}, "complete", (0.0,), "gone")]
    assert len(told(Tpe(TpeOptions()), space, history).trials) == 12
    assert Walks().steps(space, {"gone": 1}) is None


def test_trial_numbers_do_not_matter_to_what_is_told():
    space = Ordered()
    history = [trial(space, 100 + i, space.sample(seeded(i))) for i in range(12)]
    moved = [replace(t, number=t.number - 100) for t in history]
    ask = [driver("tpe").propose(space, space.goals, h, seeded(9), 200).point for h in (history, moved)]
    assert ask[0] == ask[1]
